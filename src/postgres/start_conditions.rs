//! The conditions under which a migration may begin, and the wait for them. The database knows all of them: the age of
//! transactions, the lag of replicas, the time of day in any time zone.

use super::{
    own_query::{AS_LOGIN_ROLE, OwnQuery},
    query_rows, quote_literal,
    row_tag::RowTag,
    run_lock::LockWait,
    session::Session,
    wait::answer_within,
};
use crate::{
    fault::{Code, Fault},
    run::{
        OngoingWait,
        event::{Event, Events},
    },
};
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// Interval between two looks.
const PAUSE: Duration = Duration::from_secs(1);

/// The conditions; each that is given has to hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StartConditions {
    /// No transaction of another session is older than this.
    pub oldest_transaction: Option<Duration>,
    /// Every replica has replayed what was written this long ago.
    pub replication_lag: Option<Duration>,
    /// The time of day.
    pub window: Option<TimeWindow>,
}

/// A part of each day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TimeWindow {
    /// Its first moment, as `01:00`.
    pub from: String,
    /// The moment after it. One that is earlier than the first belongs to the next day.
    pub to: String,
    /// The time zone, by its name in PostgreSQL.
    pub zone: String,
}

/// Waits until all conditions hold.
///
/// # Errors
/// `not-now` with the conditions that do not hold at the end of the time limit; the server's error for a time zone that
/// it does not know.
pub async fn wait_to_start(
    session: &Session,
    conditions: &StartConditions,
    wait: &LockWait<'_>,
    events: &Events,
) -> Result<(), Fault> {
    let query = OwnQuery::read_only(unmet_sql(conditions));
    let (start, mut ongoing) = (Instant::now(), OngoingWait::begin());
    let mut reported = None;
    loop {
        let rows = answer_within(wait.response_timeout, query_rows(&session.client, &query)).await;
        let rows = rows.map_err(|fault| zone_fault(fault, conditions))?;
        let unmet: Vec<String> = rows.texts_tagged(RowTag::StartCondition).collect();
        if unmet.is_empty() {
            return Ok(());
        }
        let why = unmet.join("; ");
        if start.elapsed() + PAUSE > wait.limit {
            let waited = format!("waited {} s for it (`{}`)", wait.limit.as_secs(), wait.input);
            return Err(Fault::new(Code::NotNow, format!("`start-when` does not hold: {why}")).detail(waited));
        }
        ongoing.report_when_long("`start-when`", &why, events);
        if reported.as_deref() != Some(kind_of(&why)) {
            reported = Some(kind_of(&why).to_owned());
            events.emit(Event::Waiting { what: "`start-when`".to_owned(), why });
        }
        sleep(PAUSE).await;
    }
}

/// Returns the part of a reason that stays the same while nothing but time passes.
fn kind_of(why: &str) -> &str {
    why.split_once(|letter: char| letter.is_ascii_digit()).map_or(why, |(kind, _)| kind)
}

fn zone_fault(fault: Fault, conditions: &StartConditions) -> Fault {
    // invalid_parameter_value (PostgreSQL manual, appendix A).
    match conditions.window.as_ref().filter(|_| fault.sqlstate.as_deref() == Some("22023")) {
        Some(window) => {
            Fault::new(Code::InputInvalid, format!("the server does not know the time zone `{}`", window.zone))
                .fix("name one of `select name from pg_timezone_names` in `start-when`, as in `Europe/Berlin`")
        }
        None => fault,
    }
}

/// Returns the query whose rows are the conditions that do not hold.
fn unmet_sql(conditions: &StartConditions) -> String {
    let parts = [
        conditions.oldest_transaction.map(transaction_sql),
        conditions.replication_lag.map(lag_sql),
        conditions.window.as_ref().map(window_sql),
    ];
    [AS_LOGIN_ROLE.to_owned()].into_iter().chain(parts.into_iter().flatten()).collect::<Vec<_>>().join("; ")
}

fn interval(limit: Duration) -> String {
    format!("'{} ms'::interval", limit.as_millis())
}

/// A role without the rights of `pg_read_all_stats` sees neither the age nor the state of other roles' transactions, so
/// it can't know (PostgreSQL manual, 28.2.3).
fn transaction_sql(limit: Duration) -> String {
    let (tag, limit) = (RowTag::StartCondition, interval(limit));
    let age = "pg_catalog.date_trunc('second', pg_catalog.clock_timestamp() - a.xact_start)";
    let others = "a.datname = pg_catalog.current_database() AND a.pid <> pg_catalog.pg_backend_pid() \
                  AND a.application_name IS DISTINCT FROM pg_catalog.current_setting('application_name')";
    format!(
        "(SELECT {tag}, pg_catalog.concat('a transaction is open, for ', {age}, ' now, of ', a.usename, ' (pid ', a.pid, ', ', \
         a.state, ')') FROM pg_catalog.pg_stat_activity a WHERE {others} \
         AND a.xact_start < pg_catalog.clock_timestamp() - {limit} ORDER BY a.xact_start LIMIT 1); \
         (SELECT {tag}, pg_catalog.concat('a prepared transaction is open, since ', p.prepared) FROM pg_catalog.pg_prepared_xacts p \
         WHERE p.database = pg_catalog.current_database() AND p.prepared < pg_catalog.clock_timestamp() - {limit} \
         ORDER BY p.prepared LIMIT 1); \
         (SELECT {tag}, pg_catalog.concat('the transactions of ', a.usename, ' are hidden from the login role: grant it \
         pg_read_all_stats') FROM pg_catalog.pg_stat_activity a WHERE {others} AND a.query = '<insufficient privilege>' LIMIT 1)"
    )
}

fn lag_sql(limit: Duration) -> String {
    let (tag, limit) = (RowTag::StartCondition, interval(limit));
    format!(
        "(SELECT {tag}, CASE WHEN r.state IS NULL THEN 'the lag of replicas is hidden from the login role: grant it \
         pg_read_all_stats' ELSE pg_catalog.concat('a replica lags, by ', pg_catalog.date_trunc('second', r.replay_lag), ': ', \
         r.application_name) END FROM pg_catalog.pg_stat_replication r WHERE r.state IS NULL OR r.replay_lag >= {limit} \
         ORDER BY r.replay_lag DESC NULLS LAST LIMIT 1)"
    )
}

fn window_sql(window: &TimeWindow) -> String {
    let TimeWindow { from, to, zone } = window;
    let tag = RowTag::StartCondition;
    let now = format!("pg_catalog.timezone({}, pg_catalog.clock_timestamp())::time", quote_literal(zone));
    let (begin, end) = (format!("'{from}'::time"), format!("'{to}'::time"));
    let inside = format!(
        "CASE WHEN {begin} <= {end} THEN t.now >= {begin} AND t.now < {end} ELSE t.now >= {begin} OR t.now < {end} END"
    );
    let shown = quote_literal(&format!("the window is closed, which is open {from}-{to} {zone}: it is "));
    format!(
        "SELECT {tag}, pg_catalog.concat({shown}, pg_catalog.to_char(t.now::interval, 'HH24:MI')) \
         FROM (SELECT {now} AS now) t WHERE NOT ({inside})"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_given_conditions_are_asked_for() {
        let none = unmet_sql(&StartConditions::default());
        assert_eq!(none, AS_LOGIN_ROLE);
        let lag = StartConditions { replication_lag: Some(Duration::from_secs(10)), ..StartConditions::default() };
        let sql = unmet_sql(&lag);
        assert!(sql.contains("'10000 ms'::interval") && !sql.contains("xact_start"), "{sql}");
    }

    #[test]
    fn a_reason_is_reported_again_only_if_another_condition_fails() {
        assert_eq!(
            kind_of("a transaction is open, for 00:01:00 now"),
            kind_of("a transaction is open, for 00:01:01 now")
        );
        assert_ne!(kind_of("a transaction is open, for 1"), kind_of("a replica lags, by 00:00:11"));
    }
}
