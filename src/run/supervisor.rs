//! The only place where work races against signals and the time limit.

use super::{
    backpressure::Flow,
    shutdown::{Signals, Stop},
};
use std::{pin::pin, time::Duration};
use tokio::time::{Instant, sleep_until, timeout};

/// The way in which supervised work ended.
#[derive(Debug)]
pub enum Ended<T> {
    /// It completed.
    Done(T),
    /// Its future was dropped. Dropping does not stop the work: its owner must stop it now.
    Stopped(Stop),
}

/// Supervises the work of a run, one future after the other.
#[derive(Debug)]
pub struct Watch {
    signals: Signals,
    began: Instant,
    deadline: Option<Instant>,
    flow: Flow,
}

impl Watch {
    /// Creates a supervisor without a time limit. As soon as the work has to end, `flow` stops throttling.
    #[must_use]
    pub fn new(signals: Signals, flow: Flow) -> Self {
        Self { signals, began: Instant::now(), deadline: None, flow }
    }

    /// Returns the time since the supervisor was created.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }

    /// Sets the time limit, which counts from the supervisor's creation.
    pub fn limit(&mut self, limit: Duration) {
        self.deadline = Some(self.began + limit);
    }

    /// Runs the work until it completes or has to stop. A signal that arrived earlier counts.
    pub async fn over<T>(&mut self, work: impl Future<Output = T>) -> Ended<T> {
        let work = pin!(work);
        let deadline = self.deadline;
        let late = async {
            match deadline {
                Some(deadline) => sleep_until(deadline).await,
                None => std::future::pending().await,
            }
        };
        let stop = tokio::select! {
            biased;
            _ = self.signals.interrupt.recv() => Stop::Signal("SIGINT"),
            _ = self.signals.terminate.recv() => Stop::Signal("SIGTERM"),
            () = late => Stop::Timeout,
            done = work => return Ended::Done(done),
        };
        self.flow.hurry();
        Ended::Stopped(stop)
    }

    /// Runs the work that stops the run, for `budget` at most. A further signal changes nothing: the time is short
    /// already, and an interrupted stop knows less about what was committed.
    pub async fn within<T>(&self, budget: Duration, work: impl Future<Output = T>) -> Option<T> {
        timeout(budget, work).await.ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::pending;

    fn watch() -> Watch {
        Watch::new(Signals::install().expect("handlers"), Flow::default())
    }

    #[tokio::test(start_paused = true)]
    async fn work_within_the_time_limit_completes() {
        let mut watch = watch();
        assert!(matches!(watch.over(async { 7 }).await, Ended::Done(7)));
        watch.limit(Duration::from_secs(1));
        assert!(matches!(watch.over(async { 8 }).await, Ended::Done(8)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_timeout_ends_the_work_and_stops_throttling() {
        let mut watch = watch();
        watch.limit(Duration::from_secs(1));
        watch.flow.grow(usize::MAX / 2);
        assert!(matches!(watch.over(pending::<()>()).await, Ended::Stopped(Stop::Timeout)));
        watch.flow.room().await;
    }
}
