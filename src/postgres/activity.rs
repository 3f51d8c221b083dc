//! Monitors the sessions of a tool or of this run: which sessions block them, which ones they block, the progress of
//! index builds, and that they still work.
//!
//! It uses a connection of its own and one transaction per query: an open snapshot would hold up CREATE INDEX
//! CONCURRENTLY (measured: it waits for old snapshots). A query that runs into a lock itself times out and is
//! repeated.

use super::{
    activity_query::{self, Seen},
    lock_waits::{Lookout, Phase},
    own_query::Question,
    rows,
    session::{Session, Startup},
    target::Target,
    wait::answered,
    watched_sessions::{Ward, Whose},
};
use crate::{
    fault::{Code, Fault},
    run::event::{Event, Events},
    transport::Transport,
};
use std::{convert::Infallible, time::Duration};
use tokio::time::Instant;

/// Interval between two full polls.
const LOOK: Duration = Duration::from_secs(1);

/// Shortest interval between two polls: while the statements of an attempt wait only briefly for locks, the monitor
/// looks for blockers twice within their lock timeout, but not more often than this.
const QUICK_LOOK: Duration = Duration::from_millis(50);

/// Time without any other report after which a sign of life is reported.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// The connection that polls the activity of the watched sessions.
#[derive(Debug)]
pub struct Guard {
    session: Session,
    wait: Duration,
}

impl Guard {
    /// Connects within `wait`, which also limits each later query.
    ///
    /// # Errors
    /// The reason why a further connection failed.
    pub async fn connect(
        reach: &Transport,
        target: &Target,
        application_name: &str,
        wait: Duration,
        events: &Events,
    ) -> Result<Self, Fault> {
        let ours = "-c lock_timeout=200 -c statement_timeout=2000 -c default_transaction_read_only=on \
                -c client_connection_check_interval=1000 -c standard_conforming_strings=on";
        let startup = Startup::new(application_name.to_owned(), ours, None);
        let session = answered(wait, Session::connect(reach, target, &startup, events)).await?;
        Ok(Self { session, wait })
    }

    /// Polls once a second, or more often while lock timeouts are short, and reports new observations until it is
    /// dropped. `ward` is called before each poll.
    pub async fn watch(&self, ward: impl Fn() -> Ward, lookout: &Lookout, events: &Events) -> Infallible {
        let now = Instant::now();
        let mut told = Told { last: Vec::new(), at: now };
        let mut next_look = now;
        loop {
            let ward = ward();
            let (phase, is_due) = (lookout.phase(), Instant::now() >= next_look);
            let (question, pace) = match phase {
                Phase::Resting => (activity_query::still_there(&lookout.obstacles()), LOOK),
                Phase::Trying(limit) if !is_due => (Some(activity_query::blocked(&ward)), quick(limit)),
                Phase::Trying(limit) => (Some(activity_query::everything(&ward)), quick(limit)),
            };
            if let Some(question) = question {
                match answered(self.wait, rows(&self.session.client, &Question::reading(question))).await {
                    Ok(answer) if phase == Phase::Resting => {
                        if answer.is_empty() {
                            lookout.set_free();
                        }
                    }
                    Ok(answer) => {
                        told.tell(&answer, ward.whose, lookout, events);
                        self.end(&lookout.overdue()).await;
                    }
                    Err(silent) if silent.code == Code::DatabaseTimeout => {
                        events.tell(Event::Warning(silent.detail("so lock waits are no longer reported")));
                        return std::future::pending().await;
                    }
                    // A failed poll is not reported: the work itself fails if there is a real problem.
                    Err(_) => {}
                }
            }
            if is_due {
                next_look = Instant::now() + LOOK;
            }
            lookout.needed(pace).await;
        }
    }

    /// Cancels the statements of these backends. One that can't be cancelled goes on until the run's own time limit.
    async fn end(&self, waiters: &[i32]) {
        if !waiters.is_empty() {
            drop(
                answered(self.wait, rows(&self.session.client, &Question::reading(activity_query::end(waiters)))).await,
            );
        }
    }

    /// Reports whether the connection is lost.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.session.client.is_closed()
    }

    /// Closes the connection.
    pub async fn close(self) {
        self.session.close().await;
    }
}

/// Returns the interval until the next poll for an attempt with this lock timeout.
fn quick(limit: Duration) -> Duration {
    if limit.is_zero() { LOOK } else { (limit / 2).clamp(QUICK_LOOK, LOOK) }
}

/// The observations reported so far, so that each is reported only once.
struct Told {
    last: Vec<String>,
    at: Instant,
}

impl Told {
    fn tell(&mut self, answer: &[Vec<Option<String>>], whose: Whose, lookout: &Lookout, events: &Events) {
        let seen: Vec<Seen> = answer.iter().filter_map(|row| activity_query::read(row)).collect();
        for one in &seen {
            if one.is_news() && !self.last.contains(&one.key) {
                self.at = Instant::now();
                events.tell(one.event.clone());
            }
        }
        for obstacle in seen.iter().filter_map(|one| one.obstacle.clone()) {
            lookout.saw(obstacle);
        }
        if self.at.elapsed() >= HEARTBEAT {
            let waits = seen.iter().find(|one| one.obstacle.is_some());
            let is_due = |one: &&Seen| !one.is_news() && (whose == Whose::Tools || one.age >= HEARTBEAT);
            if let Some(life) = waits.or_else(|| seen.iter().find(is_due)) {
                self.at = Instant::now();
                events.tell(life.again());
            }
        }
        // A quick poll looks only for blockers: keys of other kinds stay reported.
        let is_whole = seen.iter().any(|one| !one.is_news());
        let is_quick = |key: &String| !is_whole && !key.starts_with(activity_query::BLOCKED);
        let kept: Vec<String> = self.last.drain(..).filter(is_quick).collect();
        self.last = kept.into_iter().chain(seen.into_iter().map(|one| one.key)).collect();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(fields: &[&str]) -> Vec<Option<String>> {
        fields.iter().map(|field| Some((*field).to_owned())).collect()
    }

    fn blocked(waited: &str) -> Vec<Option<String>> {
        row(&[
            "blocked",
            "7",
            "AccessExclusiveLock on big",
            waited,
            "9",
            "psql",
            "app",
            "idle in transaction",
            "UPDATE big SET name = 'Ada'",
            "63.2",
            "4711",
            "ALTER TABLE big ADD x int",
        ])
    }

    fn work(age: &str) -> Vec<Option<String>> {
        row(&["work", "7", "active", age, "ALTER TABLE big ADD note text DEFAULT 'Ada'", age])
    }

    fn told() -> Told {
        Told { last: Vec::new(), at: Instant::now() }
    }

    #[test]
    fn reports_a_blocker_once() {
        let (events, mut receiver) = Events::channel();
        let (mut told, lookout) = (told(), Lookout::default());
        for look in [vec![blocked("1.4"), work("1.4")], vec![blocked("1.9")], vec![], vec![blocked("2.4"), work("2.4")]]
        {
            told.tell(&look, Whose::Tools, &lookout, &events);
        }
        let who = "pid 9 `psql` (role `app`, idle in transaction, begun 63 s ago: UPDATE big)";
        let text = format!("pid 7 has waited 1 s for AccessExclusiveLock on big, held up by {who}");
        assert_eq!(receiver.try_recv().ok(), Some(Event::Blocked { text }));
        assert_eq!(
            receiver.try_recv().ok(),
            Some(Event::Blocked {
                text: format!("pid 7 has waited 2 s for AccessExclusiveLock on big, held up by {who}")
            }),
            "it was gone in between"
        );
        assert!(receiver.try_recv().is_err());
        assert_eq!(lookout.said().unwrap(), format!("in the way of AccessExclusiveLock on big: {who}"));
    }

    #[tokio::test(start_paused = true)]
    async fn reports_a_sign_of_life_when_nothing_else_is_new() {
        let (events, mut receiver) = Events::channel();
        let (mut told, lookout) = (told(), Lookout::default());
        let look = [work("16.1")];
        told.tell(&look, Whose::Tools, &lookout, &events);
        assert!(receiver.try_recv().is_err());
        tokio::time::advance(HEARTBEAT).await;
        told.tell(&look, Whose::Tools, &lookout, &events);
        let text = "still at work: pid 7 has been active for 16 s (ALTER TABLE big)";
        assert_eq!(receiver.try_recv().ok(), Some(Event::Note(text.to_owned())));
    }

    #[tokio::test(start_paused = true)]
    async fn reports_a_sign_of_life_of_our_own_work_only_if_it_takes_long() {
        let (events, mut receiver) = Events::channel();
        let (mut told, lookout) = (told(), Lookout::default());
        tokio::time::advance(HEARTBEAT).await;
        told.tell(&[work("14.9")], Whose::Ours, &lookout, &events);
        assert!(receiver.try_recv().is_err());
        told.tell(&[work("15.1")], Whose::Ours, &lookout, &events);
        assert!(matches!(receiver.try_recv(), Ok(Event::Note(_))));
    }

    #[tokio::test(start_paused = true)]
    async fn repeats_a_blocker_as_a_sign_of_life() {
        let (events, mut receiver) = Events::channel();
        let (mut told, lookout) = (told(), Lookout::default());
        told.tell(&[blocked("1.0"), work("1.0")], Whose::Ours, &lookout, &events);
        assert!(receiver.try_recv().is_ok());
        tokio::time::advance(HEARTBEAT).await;
        told.tell(&[blocked("16.0"), work("16.0")], Whose::Ours, &lookout, &events);
        let Ok(Event::Note(text)) = receiver.try_recv() else { panic!("there is no sign of life") };
        assert!(text.starts_with("pid 7 has waited 16 s for AccessExclusiveLock on big"), "{text}");
    }

    #[test]
    fn polls_more_often_while_lock_timeouts_are_short() {
        let quick = |millis| quick(Duration::from_millis(millis)).as_millis();
        assert_eq!([0, 10, 100, 500, 2_000, 5_000].map(quick), [1_000, 50, 50, 250, 1_000, 1_000]);
    }
}
