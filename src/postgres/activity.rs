//! Monitors the sessions of a tool or of this run: which sessions block them, which ones they block, the progress of
//! index builds, and that they still work.
//!
//! It uses a connection of its own and one transaction per query: an open snapshot would hold up CREATE INDEX
//! CONCURRENTLY (measured: it waits for old snapshots). A query that runs into a lock itself times out and is
//! repeated.

use super::{
    activity_query::{self, Observation},
    lock_waits::{AttemptPhase, Blocker, LockWaits},
    own_query::OwnQuery,
    query_rows,
    rows::Rows,
    session::{Session, SessionMeans},
    session_defaults::set_for_transaction_sql,
    session_settings::{SessionSettings, SettingsDelivery},
    target::DatabaseTarget,
    wait::answer_within,
    watched_sessions::{WatchedSessions, WorkOwner},
};
use crate::{
    fault::{Code, Fault},
    run::event::{Event, Events},
};
use std::{convert::Infallible, time::Duration};
use tokio::time::Instant;

/// Interval between two full polls.
const POLL_INTERVAL: Duration = Duration::from_secs(1);

/// Shortest interval between two polls: while the statements of an attempt wait only briefly for locks, the monitor
/// looks for blockers twice within their lock timeout, but not more often than this.
const MIN_POLL_INTERVAL: Duration = Duration::from_millis(50);

/// Time without any other report after which a sign of life is reported.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// The connection that polls the activity of the watched sessions.
#[derive(Debug)]
pub struct ActivityMonitor {
    session: Session,
    /// The statement that sets the settings for one query. Behind a pooler, none may stay: a monitor is dropped at any
    /// moment, and the next client would get them.
    set_settings: Option<String>,
    response_timeout: Duration,
}

impl ActivityMonitor {
    /// Connects with settings of this delivery. The time limit for it also limits each later query.
    ///
    /// # Errors
    /// The reason why a further connection failed.
    pub async fn connect(
        target: &DatabaseTarget,
        application_name: &str,
        delivery: SettingsDelivery,
        SessionMeans { transport, wait, events }: SessionMeans<'_>,
    ) -> Result<Self, Fault> {
        let settings = SessionSettings::monitoring(application_name).delivered(delivery);
        let session = answer_within(wait, Session::connect(transport, target, &settings, events)).await?;
        let set_settings = match delivery {
            SettingsDelivery::StartupPacket => None,
            SettingsDelivery::Statements => Some(set_for_transaction_sql(&settings.for_statements(None)?)),
        };
        Ok(Self { session, set_settings, response_timeout: wait })
    }

    /// Polls once a second, or more often while lock timeouts are short, and reports new observations until it is
    /// dropped. `watched` is called before each poll.
    pub async fn poll_activity(
        &self,
        watched: impl Fn() -> WatchedSessions,
        lock_waits: &LockWaits,
        events: &Events,
    ) -> Infallible {
        let now = Instant::now();
        let mut reported = ReportedActivity { last_keys: Vec::new(), last_report: now };
        let mut next_poll = now;
        loop {
            let watched = watched();
            let (phase, is_due) = (lock_waits.phase(), Instant::now() >= next_poll);
            let (query, pace) = match phase {
                AttemptPhase::Paused => {
                    (activity_query::still_blocking_sql(&lock_waits.current_blockers()), POLL_INTERVAL)
                }
                AttemptPhase::Running(limit) if !is_due => {
                    (Some(activity_query::blocked_sql(&watched)), poll_interval(limit))
                }
                AttemptPhase::Running(limit) => (Some(activity_query::activity_sql(&watched)), poll_interval(limit)),
            };
            if let Some(query) = query {
                match answer_within(self.response_timeout, query_rows(&self.session.client, &self.own_query(query)))
                    .await
                {
                    Ok(rows) if phase == AttemptPhase::Paused => match rows.is_empty() {
                        true => lock_waits.notify_unblocked(),
                        false => lock_waits.report_if_long(events),
                    },
                    Ok(rows) => {
                        reported.report_new(&rows, watched.owner, lock_waits, events);
                        self.cancel_waiters(&lock_waits.take_overdue_waiters()).await;
                    }
                    Err(fault) if fault.code == Code::DatabaseTimeout => {
                        events.emit(Event::Warning(fault.detail("so lock waits are no longer reported")));
                        return std::future::pending().await;
                    }
                    // A failed poll is not reported: the work itself fails if there is a real problem.
                    Err(_) => {}
                }
            }
            if is_due {
                next_poll = Instant::now() + POLL_INTERVAL;
            }
            lock_waits.wait_for_phase_change(pace).await;
        }
    }

    fn own_query(&self, sql: String) -> OwnQuery {
        let query = OwnQuery::read_only(sql);
        match &self.set_settings {
            Some(statement) => query.preceded_by(statement.as_str()),
            None => query,
        }
    }

    /// Cancels the statements of these backends. One that can't be cancelled goes on until the run's own time limit.
    async fn cancel_waiters(&self, waiters: &[i32]) {
        if !waiters.is_empty() {
            drop(
                answer_within(
                    self.response_timeout,
                    query_rows(&self.session.client, &self.own_query(activity_query::cancel_sql(waiters))),
                )
                .await,
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
fn poll_interval(limit: Duration) -> Duration {
    if limit.is_zero() { POLL_INTERVAL } else { (limit / 2).clamp(MIN_POLL_INTERVAL, POLL_INTERVAL) }
}

/// The observations reported so far, so that each is reported only once.
struct ReportedActivity {
    last_keys: Vec<String>,
    last_report: Instant,
}

impl ReportedActivity {
    fn report_new(&mut self, rows: &Rows, owner: WorkOwner, lock_waits: &LockWaits, events: &Events) {
        let observations = activity_query::parse_activity(rows);
        for observation in &observations {
            if observation.is_reportable() && !self.last_keys.contains(&observation.key) {
                self.last_report = Instant::now();
                events.emit(observation.event.clone());
            }
        }
        let blockers: Vec<Blocker> =
            observations.iter().filter_map(|observation| observation.blocker.clone()).collect();
        let is_blocked = !blockers.is_empty();
        blockers.into_iter().for_each(|blocker| lock_waits.record_blocker(blocker));
        match is_blocked {
            true => lock_waits.report_if_long(events),
            false => lock_waits.note_no_blocker(),
        }
        if self.last_report.elapsed() >= HEARTBEAT {
            let waits = observations.iter().find(|observation| observation.blocker.is_some());
            let is_due = |observation: &&Observation| {
                !observation.is_reportable() && (owner == WorkOwner::Tool || observation.age >= HEARTBEAT)
            };
            if let Some(heartbeat) = waits.or_else(|| observations.iter().find(is_due)) {
                self.last_report = Instant::now();
                events.emit(heartbeat.as_heartbeat());
            }
        }
        // A quick poll looks only for blockers: keys of other kinds stay reported.
        let is_whole = observations.iter().any(|observation| !observation.is_reportable());
        let is_quick = |key: &String| !is_whole && !key.starts_with(activity_query::BLOCKED_KEY_PREFIX);
        let still_reported: Vec<String> = self.last_keys.drain(..).filter(is_quick).collect();
        self.last_keys =
            still_reported.into_iter().chain(observations.into_iter().map(|observation| observation.key)).collect();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::postgres::RowTag;

    fn blocked(waited: &str) -> Vec<Option<String>> {
        RowTag::Blocked.row(&[
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
        RowTag::Work.row(&["7", "active", age, "ALTER TABLE big ADD note text DEFAULT 'Ada'", age])
    }

    fn no_reports() -> ReportedActivity {
        ReportedActivity { last_keys: Vec::new(), last_report: Instant::now() }
    }

    #[test]
    fn reports_a_blocker_once() {
        let (events, mut receiver) = Events::channel();
        let (mut reported, lock_waits) = (no_reports(), LockWaits::default());
        for rows in [vec![blocked("1.4"), work("1.4")], vec![blocked("1.9")], vec![], vec![blocked("2.4"), work("2.4")]]
        {
            reported.report_new(&rows.iter().cloned().collect(), WorkOwner::Tool, &lock_waits, &events);
        }
        let holder = "pid 9 `psql` (role `app`, idle in transaction, begun 63 s ago: UPDATE big)";
        let text = format!("pid 7 has waited 1 s for AccessExclusiveLock on big, held up by {holder}");
        assert_eq!(receiver.try_recv().ok(), Some(Event::Blocked { text }));
        assert_eq!(
            receiver.try_recv().ok(),
            Some(Event::Blocked {
                text: format!("pid 7 has waited 2 s for AccessExclusiveLock on big, held up by {holder}")
            }),
            "it was gone in between"
        );
        assert!(receiver.try_recv().is_err());
        assert_eq!(
            lock_waits.describe_blockers().unwrap(),
            format!("in the way of AccessExclusiveLock on big: {holder}")
        );
    }

    #[tokio::test(start_paused = true)]
    async fn reports_a_sign_of_life_when_nothing_else_is_new() {
        let (events, mut receiver) = Events::channel();
        let (mut reported, lock_waits) = (no_reports(), LockWaits::default());
        let rows = [work("16.1")];
        reported.report_new(&rows.iter().cloned().collect(), WorkOwner::Tool, &lock_waits, &events);
        assert!(receiver.try_recv().is_err());
        tokio::time::advance(HEARTBEAT).await;
        reported.report_new(&rows.iter().cloned().collect(), WorkOwner::Tool, &lock_waits, &events);
        let text = "still at work: pid 7 has been active for 16 s (ALTER TABLE big)";
        assert_eq!(receiver.try_recv().ok(), Some(Event::Note(text.to_owned())));
    }

    #[tokio::test(start_paused = true)]
    async fn reports_a_sign_of_life_of_our_own_work_only_if_it_takes_long() {
        let (events, mut receiver) = Events::channel();
        let (mut reported, lock_waits) = (no_reports(), LockWaits::default());
        tokio::time::advance(HEARTBEAT).await;
        reported.report_new(&Rows::from_iter([work("14.9")]), WorkOwner::Run, &lock_waits, &events);
        assert!(receiver.try_recv().is_err());
        reported.report_new(&Rows::from_iter([work("15.1")]), WorkOwner::Run, &lock_waits, &events);
        assert!(matches!(receiver.try_recv(), Ok(Event::Note(_))));
    }

    #[tokio::test(start_paused = true)]
    async fn repeats_a_blocker_as_a_sign_of_life() {
        let (events, mut receiver) = Events::channel();
        let (mut reported, lock_waits) = (no_reports(), LockWaits::default());
        reported.report_new(&Rows::from_iter([blocked("1.0"), work("1.0")]), WorkOwner::Run, &lock_waits, &events);
        assert!(receiver.try_recv().is_ok());
        tokio::time::advance(HEARTBEAT).await;
        reported.report_new(&Rows::from_iter([blocked("16.0"), work("16.0")]), WorkOwner::Run, &lock_waits, &events);
        let Ok(Event::Note(text)) = receiver.try_recv() else { panic!("there is no sign of life") };
        assert!(text.starts_with("pid 7 has waited 16 s for AccessExclusiveLock on big"), "{text}");
    }

    #[test]
    fn polls_more_often_while_lock_timeouts_are_short() {
        let quick = |millis| poll_interval(Duration::from_millis(millis)).as_millis();
        assert_eq!([0, 10, 100, 500, 2_000, 5_000].map(quick), [1_000, 50, 50, 250, 1_000, 1_000]);
    }
}
