//! The one place where work races against what can end it.

use super::{
    backpressure::Flow,
    shutdown::{Signals, Stop},
};
use std::{pin::pin, time::Duration};
use tokio::time::{Instant, sleep_until, timeout};

/// How work ended.
#[derive(Debug)]
pub enum Ended<T> {
    /// By itself.
    Done(T),
    /// Its future was dropped. Dropping is not stopping: whoever owns the work must stop it now.
    Stopped(Stop),
}

/// Watches over the run's work, one piece after the other.
#[derive(Debug)]
pub struct Watch {
    signals: Signals,
    began: Instant,
    deadline: Option<Instant>,
    flow: Flow,
}

impl Watch {
    /// Without a time limit yet. Who waits for room in `flow` does not any more as soon as the work has to end.
    #[must_use]
    pub fn new(signals: Signals, flow: Flow) -> Self {
        Self { signals, began: Instant::now(), deadline: None, flow }
    }

    /// The time since the watch began.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }

    /// Limits the whole of the time, which counts from the beginning.
    pub fn limit(&mut self, limit: Duration) {
        self.deadline = Some(self.began + limit);
    }

    /// Lets the work run until it ends or must end. A signal that came before counts.
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

    /// Lets the work that stops the run go on for so long at most. A further signal changes nothing: the time is short
    /// already, and a stop that is cut off knows less of what was committed.
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
    async fn work_that_ends_in_time_has_ended_by_itself() {
        let mut watch = watch();
        assert!(matches!(watch.over(async { 7 }).await, Ended::Done(7)));
        watch.limit(Duration::from_secs(1));
        assert!(matches!(watch.over(async { 8 }).await, Ended::Done(8)));
    }

    #[tokio::test(start_paused = true)]
    async fn ends_work_that_takes_too_long_and_whoever_waits_for_room() {
        let mut watch = watch();
        watch.limit(Duration::from_secs(1));
        watch.flow.grow(usize::MAX / 2);
        assert!(matches!(watch.over(pending::<()>()).await, Ended::Stopped(Stop::Timeout)));
        watch.flow.room().await;
    }
}
