//! Waits for the work of others, observed while they last.

use super::{
    event::{Event, Events},
    long_wait::LongWait,
};
use std::time::Duration;
use tokio::time::Instant;

/// Time after which a wait is long. The first attempts at a lock, with their pauses, take less.
const LONG_WAIT: Duration = Duration::from_secs(60);

/// One wait, from its beginning.
#[derive(Debug)]
pub struct OngoingWait {
    began: Instant,
    is_reported: bool,
}

impl OngoingWait {
    /// Returns a wait that begins now.
    #[must_use]
    pub fn begin() -> Self {
        Self { began: Instant::now(), is_reported: false }
    }

    /// Reports that the wait for `what` is long, as soon as it is, and once. It is called while the wait lasts, with its
    /// present reason.
    pub fn report_when_long(&mut self, what: &str, why: &str, events: &Events) {
        let waited = self.began.elapsed();
        if self.is_reported || waited < LONG_WAIT {
            return;
        }
        self.is_reported = true;
        events.emit(Event::LongWait(LongWait { what: what.to_owned(), why: why.to_owned(), waited }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_long_wait_is_reported_once_with_its_present_reason() {
        let (events, mut receiver) = Events::channel();
        let mut wait = OngoingWait::begin();
        for why in ["held by a", "held by b", "held by c"] {
            wait.report_when_long("the run lock", why, &events);
            tokio::time::advance(Duration::from_secs(31)).await;
            wait.report_when_long("the run lock", why, &events);
        }
        let waited = Duration::from_secs(62);
        let reported = LongWait { what: "the run lock".to_owned(), why: "held by b".to_owned(), waited };
        assert_eq!(receiver.try_recv().ok(), Some(Event::LongWait(reported)));
        assert!(receiver.try_recv().is_err());
    }
}
