//! Backpressure for the log: counts the bytes that are queued and not yet written. Sources of many messages wait until
//! there is room. Messages that are sent without waiting are counted and dropped once the queue is full, and so are
//! most messages after a stop, when no source waits any more.

use std::{
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

/// Queued bytes above which sources of many messages have to wait.
const SOFT_LIMIT: usize = 1 << 20;

/// Queued bytes above which messages are dropped: some sources can't wait.
const HARD_LIMIT: usize = 16 * SOFT_LIMIT;

/// Messages that are still logged while a run is being stopped: enough for a tool to explain its end, too few for a
/// flood to delay it.
const MAX_MESSAGES_AFTER_STOP: u64 = 1_000;

/// The flow of messages from servers and tools to the log. Clones share one state.
#[derive(Clone, Debug, Default)]
pub struct LogFlow(Arc<Mutex<FlowState>>);

#[derive(Debug, Default)]
struct FlowState {
    /// Bytes that are queued and not yet written.
    unwritten: usize,
    pace: Throttle,
    /// Messages that were logged since throttling stopped.
    messages_after_stop: u64,
    /// Messages that were dropped and not reported yet.
    skipped: u64,
    wakers: Vec<Waker>,
}

/// State of throttling: sources wait for room until a stop.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Throttle {
    #[default]
    On,
    Off,
}

impl LogFlow {
    /// Adds bytes that were queued.
    pub fn add_unwritten(&self, bytes: usize) {
        self.state().unwritten += bytes;
    }

    /// Subtracts bytes that were written.
    pub fn remove_unwritten(&self, bytes: usize) {
        let mut state = self.state();
        state.unwritten = state.unwritten.saturating_sub(bytes);
        if state.unwritten < SOFT_LIMIT / 2 {
            state.wakers.drain(..).for_each(Waker::wake);
        }
    }

    /// Stops throttling: from now on no source waits.
    pub fn stop_throttling(&self) {
        let mut state = self.state();
        state.pace = Throttle::Off;
        state.wakers.drain(..).for_each(Waker::wake);
    }

    /// Returns whether throttling has stopped.
    #[must_use]
    pub fn is_unthrottled(&self) -> bool {
        self.state().pace == Throttle::Off
    }

    /// Returns whether one more message may be logged; counts it as dropped otherwise.
    pub(super) fn admit_message(&self) -> bool {
        let mut state = self.state();
        let admits = match state.pace {
            Throttle::On => state.unwritten < HARD_LIMIT,
            Throttle::Off => state.unwritten < SOFT_LIMIT && state.messages_after_stop < MAX_MESSAGES_AFTER_STOP,
        };
        match (admits, state.pace) {
            (true, Throttle::Off) => state.messages_after_stop += 1,
            (true, Throttle::On) => {}
            (false, _) => state.skipped += 1,
        }
        admits
    }

    /// Returns the number of messages dropped since the last call.
    pub(super) fn take_skipped(&self) -> u64 {
        std::mem::take(&mut self.state().skipped)
    }

    /// Waits until there is room, unless throttling has stopped. Yields to other tasks now and then in any case.
    pub async fn wait_for_room(&self) {
        tokio::task::consume_budget().await;
        std::future::poll_fn(|context| self.poll_below(SOFT_LIMIT, context)).await;
    }

    /// Waits until everything is written, without a time limit.
    pub async fn wait_until_written(&self) {
        std::future::poll_fn(|context| self.poll_written(context)).await;
    }

    /// Polls `work` only while there is room for its messages.
    pub async fn run_paced<T>(&self, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        std::future::poll_fn(|context| match self.poll_below(SOFT_LIMIT, context) {
            Poll::Ready(()) => work.as_mut().poll(context),
            Poll::Pending => Poll::Pending,
        })
        .await
    }

    fn poll_below(&self, limit: usize, context: &mut Context<'_>) -> Poll<()> {
        let mut state = self.state();
        if state.unwritten < limit || state.pace == Throttle::Off {
            return Poll::Ready(());
        }
        state.wait_for_change(context)
    }

    fn poll_written(&self, context: &mut Context<'_>) -> Poll<()> {
        let mut state = self.state();
        if state.unwritten == 0 { Poll::Ready(()) } else { state.wait_for_change(context) }
    }

    fn state(&self) -> MutexGuard<'_, FlowState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl FlowState {
    fn wait_for_change(&mut self, context: &Context<'_>) -> Poll<()> {
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
        let flow = LogFlow::default();
        flow.wait_for_room().await;
        flow.add_unwritten(SOFT_LIMIT);
        assert!(timeout(SOON, flow.wait_for_room()).await.is_err());
        assert!(timeout(SOON, flow.run_paced(async {})).await.is_err());
        flow.remove_unwritten(SOFT_LIMIT / 2 + 1);
        flow.wait_for_room().await;
        assert!(timeout(SOON, flow.wait_until_written()).await.is_err());
        flow.remove_unwritten(SOFT_LIMIT);
        flow.wait_until_written().await;
    }

    #[tokio::test(start_paused = true)]
    async fn after_a_stop_no_source_waits_and_few_messages_pass() {
        let flow = LogFlow::default();
        flow.add_unwritten(SOFT_LIMIT);
        flow.stop_throttling();
        timeout(SOON, flow.wait_for_room()).await.unwrap();
        assert!(!flow.admit_message(), "there is no room");
        flow.remove_unwritten(SOFT_LIMIT);
        let taken = (0..MAX_MESSAGES_AFTER_STOP + 500).filter(|_| flow.admit_message()).count();
        assert_eq!((taken, flow.take_skipped(), flow.take_skipped()), (1_000, 501, 0));
    }

    #[test]
    fn messages_that_can_not_wait_are_dropped_above_the_hard_limit() {
        let flow = LogFlow::default();
        flow.add_unwritten(HARD_LIMIT - 1);
        assert!(flow.admit_message());
        flow.add_unwritten(1);
        assert!(!flow.admit_message());
        assert_eq!(flow.take_skipped(), 1);
    }
}
