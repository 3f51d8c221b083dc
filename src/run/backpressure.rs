//! Backpressure for the log: counts the bytes that are queued and not yet written. Sources of many messages wait until
//! there is room. Messages that are sent without waiting are counted and dropped once the queue is full, and so are
//! most messages after a stop, when no source waits any more.

use std::{
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

/// Queued bytes above which sources of many messages have to wait.
const ROOM: usize = 1 << 20;

/// Queued bytes above which messages are dropped: some sources can't wait.
const MOST: usize = 16 * ROOM;

/// Messages that are still logged while a run is being stopped: enough for a tool to explain its end, too few for a
/// flood to delay it.
const LAST_WORDS: u64 = 1_000;

/// The flow of messages from servers and tools to the log. Clones share one state.
#[derive(Clone, Debug, Default)]
pub struct Flow(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    /// Bytes that are queued and not yet written.
    waiting: usize,
    pace: Pace,
    /// Messages that were logged since throttling stopped.
    last_words: u64,
    /// Messages that were dropped and not reported yet.
    skipped: u64,
    wakers: Vec<Waker>,
}

/// State of throttling: sources wait for room until a stop.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Pace {
    #[default]
    Patient,
    Hurried,
}

impl Flow {
    /// Adds bytes that were queued.
    pub fn grow(&self, bytes: usize) {
        self.state().waiting += bytes;
    }

    /// Subtracts bytes that were written.
    pub fn shrink(&self, bytes: usize) {
        let mut state = self.state();
        state.waiting = state.waiting.saturating_sub(bytes);
        if state.waiting < ROOM / 2 {
            state.wakers.drain(..).for_each(Waker::wake);
        }
    }

    /// Stops throttling: from now on no source waits.
    pub fn hurry(&self) {
        let mut state = self.state();
        state.pace = Pace::Hurried;
        state.wakers.drain(..).for_each(Waker::wake);
    }

    /// Returns whether throttling has stopped.
    #[must_use]
    pub fn is_hurried(&self) -> bool {
        self.state().pace == Pace::Hurried
    }

    /// Returns whether one more message may be logged; counts it as dropped otherwise.
    pub(super) fn takes_message(&self) -> bool {
        let mut state = self.state();
        let takes = match state.pace {
            Pace::Patient => state.waiting < MOST,
            Pace::Hurried => state.waiting < ROOM && state.last_words < LAST_WORDS,
        };
        match (takes, state.pace) {
            (true, Pace::Hurried) => state.last_words += 1,
            (true, Pace::Patient) => {}
            (false, _) => state.skipped += 1,
        }
        takes
    }

    /// Returns the number of messages dropped since the last call.
    pub(super) fn take_skipped(&self) -> u64 {
        std::mem::take(&mut self.state().skipped)
    }

    /// Waits until there is room, unless throttling has stopped. Yields to other tasks now and then in any case.
    pub async fn room(&self) {
        tokio::task::consume_budget().await;
        std::future::poll_fn(|context| self.poll_below(ROOM, context)).await;
    }

    /// Waits until everything is written, without a time limit.
    pub async fn written(&self) {
        std::future::poll_fn(|context| self.poll_written(context)).await;
    }

    /// Polls `work` only while there is room for its messages.
    pub async fn paced<T>(&self, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        std::future::poll_fn(|context| match self.poll_below(ROOM, context) {
            Poll::Ready(()) => work.as_mut().poll(context),
            Poll::Pending => Poll::Pending,
        })
        .await
    }

    fn poll_below(&self, limit: usize, context: &mut Context<'_>) -> Poll<()> {
        let mut state = self.state();
        if state.waiting < limit || state.pace == Pace::Hurried {
            return Poll::Ready(());
        }
        state.wait(context)
    }

    fn poll_written(&self, context: &mut Context<'_>) -> Poll<()> {
        let mut state = self.state();
        if state.waiting == 0 { Poll::Ready(()) } else { state.wait(context) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn wait(&mut self, context: &Context<'_>) -> Poll<()> {
        if !self.wakers.iter().any(|waker| waker.will_wake(context.waker())) {
            self.wakers.push(context.waker().clone());
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use tokio::time::timeout;

    const SOON: Duration = Duration::from_millis(1);

    #[tokio::test(start_paused = true)]
    async fn a_source_of_many_messages_waits_until_half_of_them_are_written() {
        let flow = Flow::default();
        flow.room().await;
        flow.grow(ROOM);
        assert!(timeout(SOON, flow.room()).await.is_err());
        assert!(timeout(SOON, flow.paced(async {})).await.is_err());
        flow.shrink(ROOM / 2 + 1);
        flow.room().await;
        assert!(timeout(SOON, flow.written()).await.is_err());
        flow.shrink(ROOM);
        flow.written().await;
    }

    #[tokio::test(start_paused = true)]
    async fn after_a_stop_no_source_waits_and_few_messages_pass() {
        let flow = Flow::default();
        flow.grow(ROOM);
        flow.hurry();
        timeout(SOON, flow.room()).await.unwrap();
        assert!(!flow.takes_message(), "there is no room");
        flow.shrink(ROOM);
        let taken = (0..LAST_WORDS + 500).filter(|_| flow.takes_message()).count();
        assert_eq!((taken, flow.take_skipped(), flow.take_skipped()), (1_000, 501, 0));
    }

    #[test]
    fn messages_that_can_not_wait_are_dropped_above_the_hard_limit() {
        let flow = Flow::default();
        flow.grow(MOST - 1);
        assert!(flow.takes_message());
        flow.grow(1);
        assert!(!flow.takes_message());
        assert_eq!(flow.take_skipped(), 1);
    }
}
