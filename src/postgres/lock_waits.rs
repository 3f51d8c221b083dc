//! State shared by an attempt and the activity monitor: the attempt's lock timeout, and the blockers that the monitor
//! has seen. A statement that fails at a lock can't name its holder afterwards, because the server does not report
//! it.

use std::{
    cell::{Cell, RefCell},
    time::Duration,
};
use tokio::{sync::Notify, time::timeout};

/// The state of one attempt and the blockers seen in it.
#[derive(Debug, Default)]
pub struct Lookout {
    phase: Cell<Phase>,
    /// Time after which the monitor cancels a statement of this attempt that waits for a lock.
    strict: Cell<Option<Duration>>,
    /// Set when the monitor has cancelled one.
    has_ended: Cell<bool>,
    obstacles: RefCell<Vec<Obstacle>>,
    /// Notified when the attempt has begun or paused.
    turned: Notify,
    /// Notified when no blocker is left.
    freed: Notify,
}

/// The phase of the work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// An attempt runs, with this lock timeout for each statement; zero means no timeout.
    Trying(Duration),
    /// It waits for the next attempt.
    Resting,
}

impl Default for Phase {
    fn default() -> Self {
        Self::Trying(Duration::ZERO)
    }
}

/// A session that a statement has waited for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Obstacle {
    /// The pid of its backend; 0 is a prepared transaction.
    pub pid: i32,
    /// The pid of the waiting backend.
    pub waiter: i32,
    /// Duration of the wait so far.
    pub waited: Duration,
    /// The oid of the locked table; none if the wait is for something else.
    pub relation: Option<u32>,
    /// A description of the session. Hostile text.
    pub who: String,
    /// A description of the lock. Hostile text.
    pub what: String,
    /// The form of the waiting statement, if it is one that waits for other transactions by design.
    pub form: Option<&'static str>,
}

impl Lookout {
    /// Begins an attempt with this lock timeout.
    pub fn trying(&self, limit: Duration) {
        self.obstacles.borrow_mut().clear();
        self.strict.set(None);
        self.has_ended.set(false);
        self.turn(Phase::Trying(limit));
    }

    /// Begins an attempt whose sessions have no lock timeout of their own: the monitor cancels a statement that waits
    /// longer than `limit`, except one that waits for other transactions by design. Zero means no limit.
    pub fn trying_patiently(&self, limit: Duration) {
        self.trying(Duration::ZERO);
        self.strict.set(Some(limit).filter(|limit| !limit.is_zero()));
    }

    /// Reports whether the monitor has cancelled a waiting statement in this attempt.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.has_ended.get()
    }

    /// Returns the pids whose statements must be cancelled now, and counts them as cancelled.
    pub(super) fn overdue(&self) -> Vec<i32> {
        let Some(limit) = self.strict.get() else { return Vec::new() };
        let obstacles = self.obstacles.borrow();
        let overdue = obstacles.iter().filter(|one| one.form.is_none() && one.waited >= limit);
        let waiters: Vec<i32> = overdue.map(|one| one.waiter).collect();
        self.has_ended.set(self.has_ended.get() || !waiters.is_empty());
        waiters
    }

    /// Waits for `pause`, or until no blocker is left.
    pub async fn rest(&self, pause: Duration) {
        self.turn(Phase::Resting);
        // Both the timeout and the notification end the wait as intended.
        drop(timeout(pause, self.freed.notified()).await);
    }

    /// Returns the blockers of the current attempt, or of the last one during a pause, without duplicates.
    #[must_use]
    pub fn obstacles(&self) -> Vec<Obstacle> {
        self.obstacles.borrow().clone()
    }

    /// Describes the blockers for a fault; none if no blocker was seen.
    #[must_use]
    pub fn said(&self) -> Option<String> {
        let obstacles = self.obstacles.borrow();
        let (last, more) = (obstacles.last()?, obstacles.len() - 1);
        let more = if more == 0 { String::new() } else { format!(" (and {more} more)") };
        Some(format!("in the way of {}: {}{more}", last.what, last.who))
    }

    /// Waits until an attempt begins or pauses, but no longer than `at_most`.
    pub async fn needed(&self, at_most: Duration) {
        drop(timeout(at_most, self.turned.notified()).await);
    }

    pub(super) fn phase(&self) -> Phase {
        self.phase.get()
    }

    pub(super) fn saw(&self, seen: Obstacle) {
        let mut obstacles = self.obstacles.borrow_mut();
        obstacles.retain(|known| (known.pid, known.relation) != (seen.pid, seen.relation));
        obstacles.push(seen);
    }

    pub(super) fn set_free(&self) {
        self.freed.notify_waiters();
    }

    /// Sets the phase. A change from one attempt to the next is not notified.
    fn turn(&self, phase: Phase) {
        let before = self.phase.replace(phase);
        if before == Phase::Resting || phase == Phase::Resting {
            self.turned.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::future::join;
    use tokio::time::Instant;

    fn obstacle(pid: i32, relation: Option<u32>, who: &str) -> Obstacle {
        let what = "a lock on big".to_owned();
        Obstacle { pid, waiter: 5, waited: Duration::from_secs(3), relation, who: who.to_owned(), what, form: None }
    }

    #[test]
    fn cancels_overdue_waits_except_those_by_design() {
        let lookout = Lookout::default();
        let builds = Obstacle { waiter: 6, form: Some("CREATE INDEX CONCURRENTLY"), ..obstacle(8, None, "pid 8") };
        let overdue = |limit| {
            lookout.trying_patiently(Duration::from_secs(limit));
            lookout.saw(builds.clone());
            lookout.saw(obstacle(7, Some(1), "pid 7"));
            (lookout.overdue(), lookout.has_ended())
        };
        assert_eq!(overdue(3), (vec![5], true));
        assert_eq!(overdue(4), (vec![], false));
        assert_eq!(overdue(0), (vec![], false));
    }

    #[test]
    fn describes_each_blocker_once_and_forgets_it_with_the_next_attempt() {
        let lookout = Lookout::default();
        assert_eq!(lookout.said(), None);
        for (pid, who) in [(7, "pid 7, 1 s"), (8, "pid 8"), (7, "pid 7, 2 s")] {
            lookout.saw(obstacle(pid, Some(1), who));
        }
        assert_eq!(lookout.said().unwrap(), "in the way of a lock on big: pid 7, 2 s (and 1 more)");
        lookout.trying(Duration::ZERO);
        assert_eq!(lookout.obstacles(), []);
    }

    #[tokio::test(start_paused = true)]
    async fn a_pause_ends_as_soon_as_no_blocker_is_left() {
        let (lookout, began) = (Lookout::default(), Instant::now());
        lookout.rest(Duration::from_secs(3)).await;
        assert_eq!(began.elapsed(), Duration::from_secs(3));
        let freed = async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            lookout.set_free();
        };
        join(lookout.rest(Duration::from_secs(60)), freed).await;
        assert_eq!(began.elapsed(), Duration::from_secs(4));
    }
}
