//! The only place where work races against signals and the time limit.

use super::{
    backpressure::LogFlow,
    shutdown::{REPORT_BUDGET, STOP_BUDGET, Signals, StopReason},
};
use std::{pin::pin, time::Duration};
use tokio::time::{Instant, sleep_until, timeout};

/// The way in which supervised work ended.
#[derive(Debug)]
pub enum Completion<T> {
    /// It completed.
    Done(T),
    /// Its future was dropped. Dropping does not stop the work: its owner must stop it now.
    Stopped(StopReason),
}

/// Supervises the work of a run, one future after the other.
#[derive(Debug)]
pub struct Supervisor {
    signals: Signals,
    began: Instant,
    deadline: Option<Instant>,
    stopped_at: Option<Instant>,
    flow: LogFlow,
}

impl Supervisor {
    /// Creates a supervisor without a time limit. As soon as the work has to end, `flow` stops throttling.
    #[must_use]
    pub fn new(signals: Signals, flow: LogFlow) -> Self {
        Self { signals, began: Instant::now(), deadline: None, stopped_at: None, flow }
    }

    /// Returns the time since the supervisor was created.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }

    /// Sets the time limit, which counts from the supervisor's creation.
    pub fn set_time_limit(&mut self, limit: Duration) {
        self.deadline = Some(self.began + limit);
    }

    /// Returns the time that is left for stopping the work and for the report; `None` while the run does not have to end.
    /// What the stop did not need is left for the report.
    #[must_use]
    pub fn report_time_left(&self) -> Option<Duration> {
        let until = self.stopped_at? + STOP_BUDGET + REPORT_BUDGET;
        Some(until.saturating_duration_since(Instant::now()))
    }

    /// Runs the work until it completes or has to stop. A signal that arrived earlier counts.
    pub async fn run<T>(&mut self, work: impl Future<Output = T>) -> Completion<T> {
        let work = pin!(work);
        let deadline = self.deadline;
        let time_limit_reached = async {
            match deadline {
                Some(deadline) => sleep_until(deadline).await,
                None => std::future::pending().await,
            }
        };
        let stop = tokio::select! {
            biased;
            _ = self.signals.interrupt.recv() => StopReason::Signal("SIGINT"),
            _ = self.signals.terminate.recv() => StopReason::Signal("SIGTERM"),
            () = time_limit_reached => StopReason::Timeout,
            done = work => return Completion::Done(done),
        };
        self.flow.stop_throttling();
        self.stopped_at.get_or_insert_with(Instant::now);
        Completion::Stopped(stop)
    }

    /// Runs the work that stops the run, for `budget` at most. A further signal changes nothing: the time is short
    /// already, and an interrupted stop knows less about what was committed.
    pub async fn run_for<T>(&self, budget: Duration, work: impl Future<Output = T>) -> Option<T> {
        timeout(budget, work).await.ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::pending;

    fn watch() -> Supervisor {
        Supervisor::new(Signals::install().expect("handlers"), LogFlow::default())
    }

    #[tokio::test(start_paused = true)]
    async fn work_within_the_time_limit_completes() {
        let mut watch = watch();
        assert!(matches!(watch.run(async { 7 }).await, Completion::Done(7)));
        watch.set_time_limit(Duration::from_secs(1));
        assert!(matches!(watch.run(async { 8 }).await, Completion::Done(8)));
    }

    #[tokio::test(start_paused = true)]
    async fn the_report_gets_the_time_that_the_stop_leaves() {
        let mut watch = watch();
        assert_eq!(watch.report_time_left(), None);
        watch.set_time_limit(Duration::from_secs(1));
        assert!(matches!(watch.run(pending::<()>()).await, Completion::Stopped(StopReason::Timeout)));
        assert_eq!(watch.report_time_left(), Some(STOP_BUDGET + REPORT_BUDGET));
        assert_eq!(watch.run_for(Duration::from_secs(3), pending::<()>()).await, None);
        assert!(matches!(watch.run(pending::<()>()).await, Completion::Stopped(StopReason::Timeout)));
        assert_eq!(watch.report_time_left(), Some(Duration::from_secs(2)), "a second reason leaves no more time");
    }

    #[tokio::test(start_paused = true)]
    async fn a_timeout_ends_the_work_and_stops_throttling() {
        let mut watch = watch();
        watch.set_time_limit(Duration::from_secs(1));
        watch.flow.add_unwritten(usize::MAX / 2);
        assert!(matches!(watch.run(pending::<()>()).await, Completion::Stopped(StopReason::Timeout)));
        watch.flow.wait_for_room().await;
    }
}
