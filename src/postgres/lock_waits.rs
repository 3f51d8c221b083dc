//! State shared by an attempt and the activity monitor: the attempt's lock timeout, and the blockers that the monitor
//! has seen. A statement that fails at a lock can't name its holder afterwards, because the server does not report
//! it.

use crate::run::{OngoingWait, event::Events};
use std::{
    cell::{Cell, RefCell},
    time::Duration,
};
use tokio::{
    sync::Notify,
    time::{Instant, timeout},
};

/// Time without a blocker after which the work is no longer blocked. A further attempt meets the lock sooner.
const UNBLOCKED_AFTER: Duration = Duration::from_secs(2);

/// The state of one attempt and the blockers seen in it.
#[derive(Debug, Default)]
pub struct LockWaits {
    phase: Cell<AttemptPhase>,
    /// Time after which the monitor cancels a statement of this attempt that waits for a lock.
    wait_limit: Cell<Option<Duration>>,
    /// Set when the monitor has cancelled one.
    has_cancelled: Cell<bool>,
    blockers: RefCell<Vec<Blocker>>,
    /// The wait for others, over all attempts and the pauses between them.
    ongoing: RefCell<Option<BlockedWork>>,
    /// Notified when the attempt has begun or paused.
    phase_changed: Notify,
    /// Notified when no blocker is left.
    unblocked: Notify,
}

/// Work that other sessions block.
#[derive(Debug)]
struct BlockedWork {
    wait: OngoingWait,
    last_seen: Instant,
}

/// The phase of the work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AttemptPhase {
    /// An attempt runs, with this lock timeout for each statement; zero means no timeout.
    Running(Duration),
    /// It waits for the next attempt.
    Paused,
}

impl Default for AttemptPhase {
    fn default() -> Self {
        Self::Running(Duration::ZERO)
    }
}

/// A session that a statement has waited for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Blocker {
    /// The pid of its backend; 0 is a prepared transaction.
    pub pid: i32,
    /// The pid of the waiting backend.
    pub waiter_pid: i32,
    /// Duration of the wait so far.
    pub waited: Duration,
    /// The oid of the locked table; none if the wait is for something else.
    pub relation: Option<u32>,
    /// A description of the session. Hostile text.
    pub description: String,
    /// A description of the lock. Hostile text.
    pub waited_for: String,
    /// The form of the waiting statement, if it is one that waits for other transactions by design.
    pub form: Option<&'static str>,
}

impl LockWaits {
    /// Begins an attempt with this lock timeout.
    pub fn begin_attempt(&self, limit: Duration) {
        self.blockers.borrow_mut().clear();
        self.wait_limit.set(None);
        self.has_cancelled.set(false);
        self.set_phase(AttemptPhase::Running(limit));
    }

    /// Begins an attempt whose sessions have no lock timeout of their own: the monitor cancels a statement that waits
    /// longer than `limit`, except one that waits for other transactions by design. Zero means no limit.
    pub fn begin_monitored_attempt(&self, limit: Duration) {
        self.begin_attempt(Duration::ZERO);
        self.wait_limit.set(Some(limit).filter(|limit| !limit.is_zero()));
    }

    /// Reports whether the monitor has cancelled a waiting statement in this attempt.
    #[must_use]
    pub fn has_cancelled_a_wait(&self) -> bool {
        self.has_cancelled.get()
    }

    /// Returns the pids whose statements must be cancelled now, and counts them as cancelled.
    pub(super) fn take_overdue_waiters(&self) -> Vec<i32> {
        let Some(limit) = self.wait_limit.get() else { return Vec::new() };
        let blockers = self.blockers.borrow();
        let overdue = blockers.iter().filter(|blocker| blocker.form.is_none() && blocker.waited >= limit);
        let waiters: Vec<i32> = overdue.map(|blocker| blocker.waiter_pid).collect();
        self.has_cancelled.set(self.has_cancelled.get() || !waiters.is_empty());
        waiters
    }

    /// Waits for `pause`, or until no blocker is left.
    pub async fn pause_while_blocked(&self, pause: Duration) {
        self.set_phase(AttemptPhase::Paused);
        // Both the timeout and the notification end the wait as intended.
        drop(timeout(pause, self.unblocked.notified()).await);
    }

    /// Returns the blockers of the current attempt, or of the last one during a pause, without duplicates.
    #[must_use]
    pub fn current_blockers(&self) -> Vec<Blocker> {
        self.blockers.borrow().clone()
    }

    /// Describes the blockers for a fault; none if no blocker was seen.
    #[must_use]
    pub fn describe_blockers(&self) -> Option<String> {
        let blockers = self.blockers.borrow();
        let (last, more) = (blockers.last()?, blockers.len() - 1);
        let more = if more == 0 { String::new() } else { format!(" (and {more} more)") };
        Some(format!("in the way of {}: {}{more}", last.waited_for, last.description))
    }

    /// Waits until an attempt begins or pauses, but no longer than `at_most`.
    pub async fn wait_for_phase_change(&self, at_most: Duration) {
        drop(timeout(at_most, self.phase_changed.notified()).await);
    }

    pub(super) fn phase(&self) -> AttemptPhase {
        self.phase.get()
    }

    pub(super) fn record_blocker(&self, blocker: Blocker) {
        let mut blockers = self.blockers.borrow_mut();
        blockers.retain(|entry| (entry.pid, entry.relation) != (blocker.pid, blocker.relation));
        blockers.push(blocker);
    }

    /// Reports the blocker that is in the way now as soon as the wait for it, and for those before it, is long.
    pub(super) fn report_if_long(&self, events: &Events) {
        let mut ongoing = self.ongoing.borrow_mut();
        let blocked =
            ongoing.get_or_insert_with(|| BlockedWork { wait: OngoingWait::begin(), last_seen: Instant::now() });
        blocked.last_seen = Instant::now();
        if let Some(blocker) = self.blockers.borrow().last() {
            blocked.wait.report_when_long(&blocker.waited_for, &format!("held up by {}", blocker.description), events);
        }
    }

    /// Ends the wait if no blocker was seen for so long that no further attempt will meet it.
    pub(super) fn note_no_blocker(&self) {
        self.ongoing.borrow_mut().take_if(|blocked| blocked.last_seen.elapsed() >= UNBLOCKED_AFTER);
    }

    pub(super) fn notify_unblocked(&self) {
        self.ongoing.take();
        self.unblocked.notify_waiters();
    }

    /// Sets the phase. A change from one attempt to the next is not notified.
    fn set_phase(&self, phase: AttemptPhase) {
        let before = self.phase.replace(phase);
        if before == AttemptPhase::Paused || phase == AttemptPhase::Paused {
            self.phase_changed.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::{LongWait, event::Event};
    use futures_util::future::join;
    use tokio::time::Instant;

    fn blocker(pid: i32, relation: Option<u32>, description: &str) -> Blocker {
        let waited_for = "a lock on big".to_owned();
        Blocker {
            pid,
            waiter_pid: 5,
            waited: Duration::from_secs(3),
            relation,
            description: description.to_owned(),
            waited_for,
            form: None,
        }
    }

    #[test]
    fn cancels_overdue_waits_except_those_by_design() {
        let lock_waits = LockWaits::default();
        let builds = Blocker { waiter_pid: 6, form: Some("CREATE INDEX CONCURRENTLY"), ..blocker(8, None, "pid 8") };
        let overdue = |limit| {
            lock_waits.begin_monitored_attempt(Duration::from_secs(limit));
            lock_waits.record_blocker(builds.clone());
            lock_waits.record_blocker(blocker(7, Some(1), "pid 7"));
            (lock_waits.take_overdue_waiters(), lock_waits.has_cancelled_a_wait())
        };
        assert_eq!(overdue(3), (vec![5], true));
        assert_eq!(overdue(4), (vec![], false));
        assert_eq!(overdue(0), (vec![], false));
    }

    #[test]
    fn describes_each_blocker_once_and_forgets_it_with_the_next_attempt() {
        let lock_waits = LockWaits::default();
        assert_eq!(lock_waits.describe_blockers(), None);
        for (pid, description) in [(7, "pid 7, 1 s"), (8, "pid 8"), (7, "pid 7, 2 s")] {
            lock_waits.record_blocker(blocker(pid, Some(1), description));
        }
        assert_eq!(lock_waits.describe_blockers().unwrap(), "in the way of a lock on big: pid 7, 2 s (and 1 more)");
        lock_waits.begin_attempt(Duration::ZERO);
        assert_eq!(lock_waits.current_blockers(), []);
    }

    #[tokio::test(start_paused = true)]
    async fn a_wait_is_long_over_several_attempts_and_ends_with_the_last_blocker() {
        let (lock_waits, (events, mut receiver)) = (LockWaits::default(), Events::channel());
        let look = |is_blocked: bool| match is_blocked {
            true => {
                lock_waits.record_blocker(blocker(7, Some(1), "pid 7"));
                lock_waits.report_if_long(&events);
            }
            false => lock_waits.note_no_blocker(),
        };
        // A further attempt begins every ten seconds, and meets the lock a moment later.
        for second in 0..=60 {
            if second % 10 == 0 {
                lock_waits.begin_attempt(Duration::ZERO);
                look(false);
            }
            assert!(receiver.try_recv().is_err(), "{second}");
            look(true);
            tokio::time::advance(Duration::from_secs(1)).await;
        }
        let (what, why) = ("a lock on big".to_owned(), "held up by pid 7".to_owned());
        let waited = Duration::from_secs(60);
        assert_eq!(receiver.try_recv().ok(), Some(Event::LongWait(LongWait { what, why, waited })));

        for second in 0..59 {
            look(second > 2);
            tokio::time::advance(Duration::from_secs(1)).await;
        }
        look(true);
        assert!(receiver.try_recv().is_err(), "the second wait is not long yet");
        tokio::time::advance(Duration::from_secs(5)).await;
        look(true);
        assert!(receiver.try_recv().is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn a_pause_ends_as_soon_as_no_blocker_is_left() {
        let (lock_waits, start) = (LockWaits::default(), Instant::now());
        lock_waits.pause_while_blocked(Duration::from_secs(3)).await;
        assert_eq!(start.elapsed(), Duration::from_secs(3));
        let freed = async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            lock_waits.notify_unblocked();
        };
        join(lock_waits.pause_while_blocked(Duration::from_secs(60)), freed).await;
        assert_eq!(start.elapsed(), Duration::from_secs(4));
    }
}
