//! What a try tells the guard, and what the guard has seen for whoever waits: nobody who fails at a lock knows any more who had
//! it, as the server does not say.

use std::{
    cell::{Cell, RefCell},
    time::Duration,
};
use tokio::{sync::Notify, time::timeout};

/// What the two tell each other.
#[derive(Debug, Default)]
pub struct Lookout {
    phase: Cell<Phase>,
    /// After so long the guard ends the waits of this try.
    strict: Cell<Option<Duration>>,
    /// Whether it has.
    has_ended: Cell<bool>,
    obstacles: RefCell<Vec<Obstacle>>,
    /// The try has something new to tell.
    turned: Notify,
    /// Those in the way are gone.
    freed: Notify,
}

/// What the work does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// It tries, and each of its statements waits so long for a lock; zero is without a limit.
    Trying(Duration),
    /// It waits for its next try.
    Resting,
}

impl Default for Phase {
    fn default() -> Self {
        Self::Trying(Duration::ZERO)
    }
}

/// Who was in the way of a statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Obstacle {
    /// The backend; 0 is a prepared transaction.
    pub pid: i32,
    /// Who waits for it.
    pub waiter: i32,
    /// For how long so far.
    pub waited: Duration,
    /// What it has locked, as PostgreSQL numbers tables; none for whatever else is waited for.
    pub relation: Option<u32>,
    /// Who that is, for people. Hostile text.
    pub who: String,
    /// What was waited for, for people. Hostile text.
    pub what: String,
    /// The statement that waited, if it is one that waits for the end of others by what it is.
    pub form: Option<&'static str>,
}

impl Lookout {
    /// A try begins.
    pub fn trying(&self, limit: Duration) {
        self.obstacles.borrow_mut().clear();
        self.strict.set(None);
        self.has_ended.set(false);
        self.turn(Phase::Trying(limit));
    }

    /// A try begins whose sessions have no limit of their own: after so long the guard ends whatever waits in it, but for
    /// statements that wait for others by what they are. Zero is without a limit.
    pub fn trying_patiently(&self, limit: Duration) {
        self.trying(Duration::ZERO);
        self.strict.set(Some(limit).filter(|limit| !limit.is_zero()));
    }

    /// Whether the guard has ended a wait in this try.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.has_ended.get()
    }

    /// Whose waits in this try are to be ended now; they count as ended.
    pub(super) fn overdue(&self) -> Vec<i32> {
        let Some(limit) = self.strict.get() else { return Vec::new() };
        let obstacles = self.obstacles.borrow();
        let overdue = obstacles.iter().filter(|one| one.form.is_none() && one.waited >= limit);
        let waiters: Vec<i32> = overdue.map(|one| one.waiter).collect();
        self.has_ended.set(self.has_ended.get() || !waiters.is_empty());
        waiters
    }

    /// Waits for so long at most, and no longer than who was in the way is there.
    pub async fn rest(&self, pause: Duration) {
        self.turn(Phase::Resting);
        // It ends with the pause or before it: both are what was asked for.
        drop(timeout(pause, self.freed.notified()).await);
    }

    /// Who was in the way in this try, or in the one before this rest, each told once.
    #[must_use]
    pub fn obstacles(&self) -> Vec<Obstacle> {
        self.obstacles.borrow().clone()
    }

    /// The same, as a sentence for a fault; none if nobody was seen.
    #[must_use]
    pub fn said(&self) -> Option<String> {
        let obstacles = self.obstacles.borrow();
        let (last, more) = (obstacles.last()?, obstacles.len() - 1);
        let more = if more == 0 { String::new() } else { format!(" (and {more} more)") };
        Some(format!("in the way of {}: {}{more}", last.what, last.who))
    }

    /// Waits until there is something to see, for so long at most.
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

    /// The first try is nothing new.
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
    fn in_a_patient_try_what_others_queue_behind_is_ended() {
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
    fn who_was_in_the_way_is_told_once_and_forgotten_with_the_next_try() {
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
    async fn a_rest_ends_as_soon_as_nobody_is_in_the_way() {
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
