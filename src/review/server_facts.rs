//! The facts of the server: its room for locks, its standbys, and the age of its statistics.

use super::{
    relation_rows::USUAL_PAGE,
    table_facts::{ServerFacts, SessionVisibility},
    units::format_duration,
};
use crate::{
    postgres::{Row, RowTag, Rows},
    run::format_bytes,
};
use std::time::Duration;

/// The bytes that a standby or a slot may be behind without being mentioned: two segments of the log.
const USUAL_LAG: u64 = 32 << 20;

/// Returns the query for the server.
pub(super) fn server_sql() -> String {
    format!(
        "SELECT {limits}, pg_catalog.current_setting('max_locks_per_transaction')::pg_catalog.int8 \
            * (pg_catalog.current_setting('max_connections')::pg_catalog.int8 \
                + pg_catalog.current_setting('max_prepared_transactions')::pg_catalog.int8), \
            (SELECT pg_catalog.count(*) FROM pg_catalog.pg_locks l WHERE NOT l.fastpath AND l.locktype <> 'virtualxid'), \
            EXTRACT(epoch FROM pg_catalog.clock_timestamp() - (SELECT b.stats_reset FROM pg_catalog.pg_stat_database b \
                WHERE b.datname = pg_catalog.current_database()))::pg_catalog.int8, \
            pg_catalog.pg_has_role('pg_read_all_stats', 'USAGE'), pg_catalog.current_setting('block_size'); \
         SELECT {standby}, r.application_name, r.state, pg_catalog.pg_wal_lsn_diff({position}, r.replay_lsn)::pg_catalog.int8, \
            EXTRACT(epoch FROM r.replay_lag)::pg_catalog.int8 FROM pg_catalog.pg_stat_replication r ORDER BY r.application_name, r.pid; \
         SELECT {slot}, s.slot_name, s.active, pg_catalog.pg_wal_lsn_diff({position}, s.restart_lsn)::pg_catalog.int8, s.wal_status \
            FROM pg_catalog.pg_replication_slots s ORDER BY s.slot_name; \
         SELECT {statements}, n.nspname, i.oid IS NOT NULL FROM pg_catalog.pg_extension e \
            JOIN pg_catalog.pg_namespace n ON n.oid = e.extnamespace \
            JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relname = 'pg_stat_statements' \
            JOIN pg_catalog.pg_depend d ON d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.objid = c.oid \
                AND d.refclassid = 'pg_catalog.pg_extension'::pg_catalog.regclass AND d.refobjid = e.oid AND d.deptype = 'e' \
            JOIN pg_catalog.pg_roles o ON o.oid = c.relowner AND o.rolsuper \
            LEFT JOIN pg_catalog.pg_class i ON i.relnamespace = n.oid AND i.relname = 'pg_stat_statements_info' AND i.relowner = o.oid \
            WHERE e.extname = 'pg_stat_statements' AND pg_catalog.has_schema_privilege(n.oid, 'USAGE') \
            AND pg_catalog.has_table_privilege(c.oid, 'SELECT')",
        limits = RowTag::ServerLimits,
        standby = RowTag::Standby,
        slot = RowTag::ReplicationSlot,
        statements = RowTag::StatementStatistics,
        position = "CASE WHEN pg_catalog.pg_is_in_recovery() THEN pg_catalog.pg_last_wal_replay_lsn() \
            ELSE pg_catalog.pg_current_wal_lsn() END",
    )
}

/// Reads the server from the response to [`server_sql`].
pub(super) fn parse_server(rows: &Rows) -> ServerFacts {
    let Some(row) = rows.tagged(RowTag::ServerLimits).next() else { return ServerFacts::default() };
    ServerFacts {
        lock_capacity: row.parse(0).unwrap_or_default(),
        locks_taken: row.parse(1).unwrap_or_default(),
        statistics_age: row.parse(2).map(Duration::from_secs),
        visibility: match row.text(3) {
            Some("t") => SessionVisibility::All,
            _ => SessionVisibility::OwnRoles,
        },
    }
}

/// Reads the number of bytes of a page from the response to [`server_sql`].
pub(super) fn parse_page(rows: &Rows) -> u64 {
    rows.tagged(RowTag::ServerLimits).next().and_then(|row| row.parse(4)).unwrap_or(USUAL_PAGE)
}

/// Reads the standbys and slots that are behind from the response to [`server_sql`], as sentences. A role may not see
/// how far behind they are.
pub(super) fn parse_replication(rows: &Rows) -> Vec<String> {
    let standbys = rows.tagged(RowTag::Standby).filter_map(describe_standby);
    standbys.chain(rows.tagged(RowTag::ReplicationSlot).filter_map(describe_slot)).collect()
}

fn describe_standby(row: Row<'_>) -> Option<String> {
    let bytes: u64 = row.parse(2).filter(|bytes| *bytes > USUAL_LAG)?;
    let time = row.parse(3).map(|seconds| format!(" and {}", format_duration(Duration::from_secs(seconds))));
    let name = row.text(0).unwrap_or_default();
    Some(format!("The standby `{name}` is {}{} behind.", format_bytes(bytes), time.unwrap_or_default()))
}

fn describe_slot(row: Row<'_>) -> Option<String> {
    let (name, is_active) = (row.text(0).unwrap_or_default(), row.text(1) == Some("t"));
    let kept: u64 = row.parse(2).filter(|kept| *kept > USUAL_LAG)?;
    let state = if is_active { "keeps" } else { "is not in use and keeps" };
    Some(format!("The replication slot `{name}` {state} {} of the write-ahead log.", format_bytes(kept)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn standbys_and_slots_are_mentioned_if_they_are_far_behind() {
        let rows = Rows::from_iter([
            RowTag::Standby.row(&["near", "streaming", "100", "0"]),
            RowTag::Standby.row(&["far", "streaming", "3221225472", "90"]),
            RowTag::Standby.row(&["hidden", "", "", ""]),
            RowTag::ReplicationSlot.row(&["old", "f", "3221225472", "extended"]),
            RowTag::ReplicationSlot.row(&["new", "t", "10", "reserved"]),
        ]);
        assert_eq!(
            parse_replication(&rows),
            [
                "The standby `far` is 3.0 GB and 90 s behind.",
                "The replication slot `old` is not in use and keeps 3.0 GB of the write-ahead log."
            ]
        );
    }

    #[test]
    fn a_role_that_may_see_nothing_has_no_facts() {
        let facts = parse_server(&Rows::from_iter([RowTag::ServerLimits.row(&["6400", "12", "", "f", "8192"])]));
        assert_eq!((facts.lock_capacity, facts.statistics_age), (6400, None));
        assert_eq!(facts.visibility, SessionVisibility::OwnRoles);
        assert_eq!(parse_server(&Rows::default()), ServerFacts::default());
    }
}
