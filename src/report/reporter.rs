//! Report and log of one run, told the same events at the same moment. Both outlive whatever tells them: a panic, too, leaves
//! what was told before.

use super::{early_notices::EarlyNotices, log::Log, run_report::RunReport};
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
pub struct Reporter {
    state: Arc<Mutex<ReporterState>>,
    flow: LogFlow,
    started_at: Instant,
}

struct ReporterState {
    report: RunReport,
    log: Log,
    early_notices: EarlyNotices,
}

impl Reporter {
    /// Of a run that begins now. `flow` is that of the log.
    #[must_use]
    pub fn new(report: RunReport, log: Log, flow: LogFlow) -> Self {
        Self {
            state: Arc::new(Mutex::new(ReporterState { report, log, early_notices: EarlyNotices::default() })),
            flow,
            started_at: Instant::now(),
        }
    }

    /// What tells this teller.
    #[must_use]
    pub fn event_sender(&self) -> Events {
        let (teller, redactor) = (self.clone(), self.lock_state().log.redactor().clone());
        Events::new(move |event| teller.handle_event(event), self.flow.clone()).with_redactor(redactor)
    }

    fn handle_event(&self, event: Event) {
        let at = self.elapsed();
        tracing::debug!(at_ms = at.as_millis(), ?event);
        let mut told = self.lock_state();
        let ReporterState { report, log, early_notices } = &mut *told;
        if report.is_known_fault(&event) {
            return;
        }
        for event in early_notices.put_in_order(event, report) {
            report.fold_event(&event, at);
            log.log_event(&event, at);
        }
    }

    /// The report as it is now.
    #[must_use]
    pub fn report(&self) -> RunReport {
        self.lock_state().report.clone()
    }

    /// The log, for what is no event.
    #[must_use]
    pub fn log(&self) -> Log {
        self.lock_state().log.clone()
    }

    /// Tells that the run broke off here, and of every migration that may have been under way that nobody knows what became of
    /// it.
    pub fn report_crash(&self, fault: Fault) {
        let doubtful = self.lock_state().report.possibly_running();
        doubtful.into_iter().for_each(|index| self.handle_event(Event::InDoubt { index }));
        self.handle_event(Event::Fault(fault));
    }

    /// Tells the run in one sentence, as the last line of the log.
    pub fn log_headline(&self) {
        let mut told = self.lock_state();
        let ReporterState { report, log, .. } = &mut *told;
        log.log_headline(report);
    }

    /// The time since the run began.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.started_at.elapsed()
    }

    fn lock_state(&self) -> MutexGuard<'_, ReporterState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Reporter {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Teller")
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::{
            console::ConsoleKind,
            run_outcome::RunOutcome,
            sample::{self, SharedBuffer},
        },
        *,
    };
    use crate::{fault::Code, github::runner::Runner, settings::Command};
    use std::panic::{AssertUnwindSafe, catch_unwind};

    fn broken_off(told: sample::SampleEvents) -> (RunReport, String) {
        let paper = SharedBuffer::default();
        let log = Log::on_stream(Box::new(paper.clone()), &Runner::default(), ConsoleKind::Pipe, &[]);
        let report = RunReport::new(Some(Command::Migrate), None, &Runner::default());
        let teller = Reporter::new(report, log, LogFlow::default());
        let events = teller.event_sender();
        let work = move || {
            told.into_iter().for_each(|(_, event)| events.emit(event));
            panic!("out of cheese");
        };
        assert!(catch_unwind(AssertUnwindSafe(work)).is_err());
        teller.report_crash(Fault::new(Code::Bug, "out of cheese"));
        teller.log_headline();
        (teller.report(), paper.text())
    }

    #[test]
    fn after_a_panic_what_was_told_stays_and_what_was_under_way_is_not_known() {
        let (report, log) = broken_off(sample::events_until_migration());
        assert_eq!((report.outcome(), report.exit_code()), (RunOutcome::InDoubt, 8));
        assert_eq!(
            report.migrations.iter().map(|entry| entry.fate).collect::<Vec<_>>(),
            [super::super::MigrationState::Applied, super::super::MigrationState::InDoubt]
        );
        assert!(log.contains("in doubt: nobody knows whether 0004_drop_name was committed"), "{log}");
        assert!(
            log.contains("In doubt with bug: nobody knows whether") && !log.contains("nothing was changed"),
            "{log}"
        );
    }

    #[test]
    fn a_panic_before_anything_was_begun_has_changed_nothing() {
        let told: sample::SampleEvents = sample::events_until_migration().into_iter().take(5).collect();
        let (report, log) = broken_off(told);
        assert_eq!((report.outcome(), report.exit_code()), (RunOutcome::Failed, Code::Bug.class().exit_code()));
        assert!(log.contains("Failed in stage") && log.contains("with bug: nothing was changed"), "{log}");
    }

    #[test]
    fn a_panic_after_the_proof_leaves_the_proof() {
        let (report, log) = broken_off(sample::successful_events());
        assert!(report.verified && report.in_state(super::super::MigrationState::Applied).count() == 2);
        assert!(log.contains("with bug: 2 of 2 migrations applied"), "{log}");
    }
}
