//! The reporter: passes each event to the report and the log of a run at the same time. Both outlive the code that
//! emits the events, so everything before a panic is kept.

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

/// The receiver of all events of a run. Clones share one state.
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
    /// Creates the reporter of a run that starts now. `flow` is the log's own.
    #[must_use]
    pub fn new(report: RunReport, log: Log, flow: LogFlow) -> Self {
        Self {
            state: Arc::new(Mutex::new(ReporterState { report, log, early_notices: EarlyNotices::default() })),
            flow,
            started_at: Instant::now(),
        }
    }

    /// Returns a sink whose events this reporter receives.
    #[must_use]
    pub fn event_sender(&self) -> Events {
        let (reporter, redactor) = (self.clone(), self.lock_state().log.redactor().clone());
        Events::new(move |event| reporter.handle_event(event), self.flow.clone()).with_redactor(redactor)
    }

    fn handle_event(&self, event: Event) {
        let at = self.elapsed();
        tracing::debug!(at_ms = at.as_millis(), ?event);
        let mut state = self.lock_state();
        let ReporterState { report, log, early_notices } = &mut *state;
        if report.is_known_fault(&event) {
            return;
        }
        for event in early_notices.put_in_order(event, report) {
            report.fold_event(&event, at);
            log.log_event(&event, at);
        }
    }

    /// Returns the current report.
    #[must_use]
    pub fn report(&self) -> RunReport {
        self.lock_state().report.clone()
    }

    /// Returns the log, for output that is not an event.
    #[must_use]
    pub fn log(&self) -> Log {
        self.lock_state().log.clone()
    }

    /// Reports that the run crashed, and that every migration that may have been running is in doubt.
    pub fn report_crash(&self, fault: Fault) {
        let doubtful = self.lock_state().report.possibly_running();
        doubtful.into_iter().for_each(|index| self.handle_event(Event::InDoubt { index }));
        self.handle_event(Event::Fault(fault));
    }

    /// Writes the last line of the log: the run in one sentence.
    pub fn log_headline(&self) {
        let mut state = self.lock_state();
        let ReporterState { report, log, .. } = &mut *state;
        log.log_headline(report);
    }

    /// Returns the time since the start of the run.
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
        formatter.write_str("Reporter")
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

    fn crashed(sample: sample::SampleEvents) -> (RunReport, String) {
        let buffer = SharedBuffer::default();
        let log = Log::on_stream(Box::new(buffer.clone()), &Runner::default(), ConsoleKind::Pipe, &[]);
        let report = RunReport::new(Some(Command::Migrate), None, &Runner::default());
        let reporter = Reporter::new(report, log, LogFlow::default());
        let events = reporter.event_sender();
        let work = move || {
            sample.into_iter().for_each(|(_, event)| events.emit(event));
            panic!("out of cheese");
        };
        assert!(catch_unwind(AssertUnwindSafe(work)).is_err());
        reporter.report_crash(Fault::new(Code::Bug, "out of cheese"));
        reporter.log_headline();
        (reporter.report(), buffer.text())
    }

    #[test]
    fn a_panic_keeps_the_reported_events_and_leaves_running_migrations_in_doubt() {
        let (report, log) = crashed(sample::events_until_migration());
        assert_eq!((report.outcome(), report.exit_code()), (RunOutcome::InDoubt, 8));
        assert_eq!(
            report.migrations.iter().map(|entry| entry.fate).collect::<Vec<_>>(),
            [super::super::MigrationState::Applied, super::super::MigrationState::InDoubt]
        );
        assert!(log.contains("in doubt: it is unknown whether 0004_drop_name was committed"), "{log}");
        assert!(log.contains("In doubt: it is unknown whether") && !log.contains("nothing was changed"), "{log}");
    }

    #[test]
    fn a_panic_before_the_first_migration_has_changed_nothing() {
        let events: sample::SampleEvents = sample::events_until_migration().into_iter().take(5).collect();
        let (report, log) = crashed(events);
        assert_eq!((report.outcome(), report.exit_code()), (RunOutcome::Failed, Code::Bug.class().exit_code()));
        assert!(log.contains("Failed: nothing was changed"), "{log}");
    }

    #[test]
    fn a_panic_after_the_verification_keeps_its_result() {
        let (report, log) = crashed(sample::successful_events());
        assert!(report.verified && report.in_state(super::super::MigrationState::Applied).count() == 2);
        assert!(log.contains("Failed: 2 of 2 migrations applied to shop, and the ledger confirms it"), "{log}");
    }
}
