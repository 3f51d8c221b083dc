//! Report and log of one run, told the same events at the same moment. Both outlive whatever tells them: a panic, too, leaves
//! what was told before.

use super::{early_notices::Early, log::Log, run_report::Report};
use crate::{
    fault::Fault,
    run::{
        backpressure::LogFlow,
        event::{Event, Events},
    },
};
use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// Whom everything is told. A clone is the same teller.
#[derive(Clone)]
pub struct Teller {
    told: Arc<Mutex<Told>>,
    flow: LogFlow,
    began: Instant,
}

struct Told {
    report: Report,
    log: Log,
    early: Early,
}

impl Teller {
    /// Of a run that begins now. `flow` is that of the log.
    #[must_use]
    pub fn new(report: Report, log: Log, flow: LogFlow) -> Self {
        Self { told: Arc::new(Mutex::new(Told { report, log, early: Early::default() })), flow, began: Instant::now() }
    }

    /// What tells this teller.
    #[must_use]
    pub fn events(&self) -> Events {
        let (teller, redactor) = (self.clone(), self.told().log.redactor().clone());
        Events::new(move |event| teller.take(event), self.flow.clone()).with_redactor(redactor)
    }

    fn take(&self, event: Event) {
        let at = self.elapsed();
        tracing::debug!(at_ms = at.as_millis(), ?event);
        let mut told = self.told();
        let Told { report, log, early } = &mut *told;
        if report.has(&event) {
            return;
        }
        for event in early.in_turn(event, report) {
            report.fold(&event, at);
            log.event(&event, at);
        }
    }

    /// The report as it is now.
    #[must_use]
    pub fn report(&self) -> Report {
        self.told().report.clone()
    }

    /// The log, for what is no event.
    #[must_use]
    pub fn log(&self) -> Log {
        self.told().log.clone()
    }

    /// Tells that the run broke off here, and of every migration that may have been under way that nobody knows what became of
    /// it.
    pub fn break_off(&self, fault: Fault) {
        let doubtful = self.told().report.under_way();
        doubtful.into_iter().for_each(|index| self.take(Event::InDoubt { index }));
        self.take(Event::Fault(fault));
    }

    /// Tells the run in one sentence, as the last line of the log.
    pub fn verdict(&self) {
        let mut told = self.told();
        let Told { report, log, .. } = &mut *told;
        log.verdict(report);
    }

    /// The time since the run began.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }

    fn told(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Teller {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Teller")
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::{
            log::Surface,
            run_report::Outcome,
            sample::{self, Paper},
        },
        *,
    };
    use crate::{fault::Code, github::runner::Runner, settings::Command};
    use std::panic::{AssertUnwindSafe, catch_unwind};

    fn broken_off(told: sample::Told) -> (Report, String) {
        let paper = Paper::default();
        let log = Log::to(Box::new(paper.clone()), &Runner::default(), Surface::Pipe, &[]);
        let report = Report::new(Some(Command::Migrate), None, &Runner::default());
        let teller = Teller::new(report, log, LogFlow::default());
        let events = teller.events();
        let work = move || {
            told.into_iter().for_each(|(_, event)| events.emit(event));
            panic!("out of cheese");
        };
        assert!(catch_unwind(AssertUnwindSafe(work)).is_err());
        teller.break_off(Fault::new(Code::Bug, "out of cheese"));
        teller.verdict();
        (teller.report(), paper.text())
    }

    #[test]
    fn after_a_panic_what_was_told_stays_and_what_was_under_way_is_not_known() {
        let (report, log) = broken_off(sample::planned());
        assert_eq!((report.outcome(), report.exit_code()), (Outcome::InDoubt, 8));
        assert_eq!(
            report.migrations.iter().map(|entry| entry.fate).collect::<Vec<_>>(),
            [super::super::Fate::Applied, super::super::Fate::InDoubt]
        );
        assert!(log.contains("in doubt: nobody knows whether 0004_drop_name was committed"), "{log}");
        assert!(
            log.contains("In doubt with bug: nobody knows whether") && !log.contains("nothing was changed"),
            "{log}"
        );
    }

    #[test]
    fn a_panic_before_anything_was_begun_has_changed_nothing() {
        let told: sample::Told = sample::planned().into_iter().take(5).collect();
        let (report, log) = broken_off(told);
        assert_eq!((report.outcome(), report.exit_code()), (Outcome::Failed, Code::Bug.class().exit_code()));
        assert!(log.contains("Failed in stage") && log.contains("with bug: nothing was changed"), "{log}");
    }

    #[test]
    fn a_panic_after_the_proof_leaves_the_proof() {
        let (report, log) = broken_off(sample::success());
        assert!(report.verified && report.with_fate(super::super::Fate::Applied).count() == 2);
        assert!(log.contains("with bug: 2 of 2 migrations applied"), "{log}");
    }
}
