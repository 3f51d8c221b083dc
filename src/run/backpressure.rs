//! How much was told and is not written yet. Who tells much waits until there is room; what is told all the same, and after a
//! stop nobody waits, is counted and left out.

use std::{
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

/// So many bytes may wait to be written before those who tell much have to wait.
const ROOM: usize = 1 << 20;

/// So many bytes are never exceeded by messages: some of them can't wait.
const MOST: usize = 16 * ROOM;

/// So many messages are passed on of a run that is being stopped: a tool says why it ends, and a flood ends nobody's patience.
const LAST_WORDS: u64 = 1_000;

/// The messages of servers and tools on their way to the log. A clone is the same flow.
#[derive(Clone, Debug, Default)]
pub struct Flow(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    /// Bytes that wait to be written.
    waiting: usize,
    pace: Pace,
    /// Messages since nobody waits any more.
    last_words: u64,
    /// Messages that were left out and not told of yet.
    skipped: u64,
    wakers: Vec<Waker>,
}

/// Whether there is time to write everything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Pace {
    #[default]
    Patient,
    Hurried,
}

impl Flow {
    /// So many bytes more wait.
    pub fn grow(&self, bytes: usize) {
        self.state().waiting += bytes;
    }

    /// So many bytes were written.
    pub fn shrink(&self, bytes: usize) {
        let mut state = self.state();
        state.waiting = state.waiting.saturating_sub(bytes);
        if state.waiting < ROOM / 2 {
            state.wakers.drain(..).for_each(Waker::wake);
        }
    }

    /// From now on nobody waits.
    pub fn hurry(&self) {
        let mut state = self.state();
        state.pace = Pace::Hurried;
        state.wakers.drain(..).for_each(Waker::wake);
    }

    /// Whether nobody waits any more.
    #[must_use]
    pub fn is_hurried(&self) -> bool {
        self.state().pace == Pace::Hurried
    }

    /// Whether one more message is passed on; counts it if it is not.
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

    /// How many messages were left out since this was asked last.
    pub(super) fn take_skipped(&self) -> u64 {
        std::mem::take(&mut self.state().skipped)
    }

    /// Waits until there is room for more, unless nobody waits any more. Lets others go on now and then in any case.
    pub async fn room(&self) {
        tokio::task::consume_budget().await;
        std::future::poll_fn(|context| self.poll_below(ROOM, context)).await;
    }

    /// Waits until everything is written, however long that takes.
    pub async fn written(&self) {
        std::future::poll_fn(|context| self.poll_written(context)).await;
    }

    /// Lets this work go on only while there is room for what it tells.
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
    async fn who_tells_much_waits_until_half_of_it_is_written() {
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
    async fn in_a_hurry_nobody_waits_and_the_last_words_are_few() {
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
    fn messages_that_can_not_wait_are_left_out_in_the_end() {
        let flow = Flow::default();
        flow.grow(MOST - 1);
        assert!(flow.takes_message());
        flow.grow(1);
        assert!(!flow.takes_message());
        assert_eq!(flow.take_skipped(), 1);
    }
}
