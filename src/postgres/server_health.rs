//! The health of a database as far as its catalog shows it, in one query that only reads.

use super::{
    row_tag::RowTag,
    rows::{Row, Rows},
};

/// Maximum number of objects of one kind that are named.
const MAX_NAMED: usize = 20;

/// The share of its numbers, in percent, beyond which a sequence is near its end.
const SEQUENCE_LIMIT: u32 = 80;

/// What the catalog shows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ServerHealth {
    /// The time limits that server, database or role set for sessions.
    pub timeouts: Vec<SessionTimeout>,
    /// The connections.
    pub connections: ConnectionUse,
    /// The enabled event triggers, each with its event and its function.
    pub event_triggers: Vec<String>,
    /// The constraints that are NOT VALID: table and name, as SQL.
    pub unvalidated: Vec<(String, String)>,
    /// The replication slots without a reader.
    pub idle_slots: Vec<IdleSlot>,
    /// The size of the database in bytes.
    pub size: Option<u64>,
    /// The rights of the session's role.
    pub rights: RoleRights,
}

/// A time limit for sessions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionTimeout {
    /// The setting, such as `statement_timeout`.
    pub name: String,
    /// Its value in milliseconds.
    pub millis: u64,
}

/// The connections of a server and their limits; a limit of −1 is none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ConnectionUse {
    /// The sessions of the server, and the number that it has for ordinary roles.
    pub server: (i64, i64),
    /// The sessions of the login role, and its limit.
    pub role: (i64, i64),
    /// The sessions of the database, and its limit.
    pub database: (i64, i64),
}

/// A sequence near its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SequenceUse {
    /// Its name as SQL.
    pub name: String,
    /// The column that it fills, as SQL; empty if it has none.
    pub column: String,
    /// The used numbers in percent of those that sequence and column have.
    pub percent: u32,
}

/// A replication slot without a reader.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdleSlot {
    /// Its name.
    pub name: String,
    /// The WAL that it retains, in bytes.
    pub retained: u64,
}

/// The rights of the session's role.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RoleRights {
    /// The role.
    pub role: String,
    /// Set if it may create schemas in the database.
    pub creates_schemas: bool,
    /// Set if it may write to the table of runs, `bastion_migrate.runs`, or create it.
    pub records_runs: bool,
    /// The schemas in which it may not create objects.
    pub closed_schemas: Vec<String>,
    /// The roles that own relations and of which it is no member, with the number of relations and the first one.
    pub other_owners: Vec<(String, u64, String)>,
}

/// The condition that the role may create schemas.
const CREATES_SCHEMAS: &str = "pg_catalog.has_database_privilege(pg_catalog.current_database(), 'CREATE')";

/// The condition that the role may write to the table of runs, or create it.
const RECORDS_RUNS: &str = "CASE WHEN pg_catalog.to_regnamespace('bastion_migrate') IS NULL \
    THEN pg_catalog.has_database_privilege(pg_catalog.current_database(), 'CREATE') \
    WHEN pg_catalog.to_regclass('bastion_migrate.runs') IS NULL \
    THEN pg_catalog.has_schema_privilege(pg_catalog.to_regnamespace('bastion_migrate')::oid, 'CREATE') \
    ELSE pg_catalog.has_table_privilege(pg_catalog.to_regclass('bastion_migrate.runs')::oid, 'SELECT') \
    AND pg_catalog.has_table_privilege(pg_catalog.to_regclass('bastion_migrate.runs')::oid, 'INSERT') \
    AND pg_catalog.has_table_privilege(pg_catalog.to_regclass('bastion_migrate.runs')::oid, 'UPDATE') END";

/// Returns the SQL, whose response [`ServerHealth::from_rows`] reads. It must run with our own search path.
#[must_use]
pub fn health_sql() -> String {
    let parts = [
        timeouts_sql(),
        connections_sql(),
        event_triggers_sql(),
        constraints_sql(),
        slots_sql(),
        select("'size', pg_catalog.pg_database_size(pg_catalog.current_database())"),
        select(&format!("'role', CURRENT_USER, {CREATES_SCHEMAS}, {RECORDS_RUNS}")),
        closed_schemas_sql(),
        owners_sql(),
    ];
    parts.join("; ")
}

fn select(columns: &str) -> String {
    format!("SELECT {}, {columns}", RowTag::Health)
}

fn timeouts_sql() -> String {
    select(
        "'timeout', s.name, s.setting FROM pg_catalog.pg_settings s WHERE s.name IN ('statement_timeout', \
         'idle_in_transaction_session_timeout', 'idle_session_timeout', 'transaction_timeout') AND s.setting <> '0' \
         AND s.source NOT IN ('client', 'session') ORDER BY s.name",
    )
}

/// `datid` and `usename` are visible to every role, unlike most of `pg_stat_activity` (PostgreSQL manual, 27.2.3).
fn connections_sql() -> String {
    select(
        "'connections', (SELECT pg_catalog.count(a.datid) FROM pg_catalog.pg_stat_activity a), \
         pg_catalog.current_setting('max_connections')::int \
         - pg_catalog.current_setting('superuser_reserved_connections')::int \
         - COALESCE(pg_catalog.current_setting('reserved_connections', true), '0')::int, \
         (SELECT pg_catalog.count(*) FROM pg_catalog.pg_stat_activity a WHERE a.usename = SESSION_USER), \
         (SELECT r.rolconnlimit FROM pg_catalog.pg_roles r WHERE r.rolname = SESSION_USER), \
         (SELECT pg_catalog.count(*) FROM pg_catalog.pg_stat_activity a WHERE a.datid = d.oid), d.datconnlimit \
         FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database()",
    )
}

fn event_triggers_sql() -> String {
    select(&format!(
        "'event trigger', pg_catalog.quote_ident(t.evtname), t.evtevent, t.evtfoid::pg_catalog.regproc \
         FROM pg_catalog.pg_event_trigger t WHERE t.evtenabled <> 'D' ORDER BY t.evtname LIMIT {MAX_NAMED}"
    ))
}

/// Constraints that are NOT ENFORCED, since PostgreSQL 18, are never validated.
fn constraints_sql() -> String {
    select(&format!(
        "'constraint', c.conrelid::pg_catalog.regclass, pg_catalog.quote_ident(c.conname) \
         FROM pg_catalog.pg_constraint c WHERE NOT c.convalidated AND c.conrelid <> 0 \
         AND COALESCE(pg_catalog.to_jsonb(c) ->> 'conenforced', 'true') = 'true' \
         ORDER BY c.conrelid, c.conname LIMIT {MAX_NAMED}"
    ))
}

/// Returns the SQL for the sequences near their end, whose response [`SequenceUse::from_rows`] reads. It waits for a
/// session that has locked one of them. A sequence of bigint numbers ends with its column, which may be an integer.
#[must_use]
pub fn sequences_sql() -> String {
    select(&format!(
        "'sequence', s.seqrelid::pg_catalog.regclass, \
         s.attrelid::pg_catalog.regclass || '.' || pg_catalog.quote_ident(s.attname), s.percent \
         FROM (SELECT q.seqrelid, a.attrelid, a.attname, pg_catalog.floor(100 * \
         (CASE WHEN pg_catalog.has_sequence_privilege(q.seqrelid, 'SELECT, USAGE') \
         THEN pg_catalog.pg_sequence_last_value(q.seqrelid) END)::numeric \
         / LEAST(q.seqmax, CASE a.atttypid WHEN 'int2'::pg_catalog.regtype THEN 32767 \
         WHEN 'int4'::pg_catalog.regtype THEN 2147483647 ELSE q.seqmax END)) AS percent \
         FROM pg_catalog.pg_sequence q JOIN pg_catalog.pg_class c ON c.oid = q.seqrelid \
         LEFT JOIN pg_catalog.pg_depend d ON d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass \
         AND d.objid = q.seqrelid AND d.refclassid = d.classid AND d.deptype IN ('a', 'i') AND d.refobjsubid > 0 \
         LEFT JOIN pg_catalog.pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid \
         WHERE q.seqincrement > 0 AND NOT q.seqcycle AND c.relpersistence <> 't') s \
         WHERE s.percent > {SEQUENCE_LIMIT} ORDER BY s.percent DESC, s.seqrelid LIMIT {MAX_NAMED}"
    ))
}

fn slots_sql() -> String {
    select(&format!(
        "'slot', s.slot_name, CASE WHEN NOT pg_catalog.pg_is_in_recovery() THEN pg_catalog.trunc(\
         pg_catalog.pg_wal_lsn_diff(pg_catalog.pg_current_wal_lsn(), s.restart_lsn)) END \
         FROM pg_catalog.pg_replication_slots s WHERE NOT s.active ORDER BY s.slot_name LIMIT {MAX_NAMED}"
    ))
}

fn closed_schemas_sql() -> String {
    select(
        "'closed schema', n.nspname FROM pg_catalog.pg_namespace n WHERE n.nspname !~ '^pg_' \
         AND n.nspname <> 'information_schema' AND NOT (pg_catalog.has_schema_privilege(n.oid, 'USAGE') \
         AND pg_catalog.has_schema_privilege(n.oid, 'CREATE')) ORDER BY n.nspname",
    )
}

/// The relations of extensions belong to those.
fn owners_sql() -> String {
    select(&format!(
        "'owner', pg_catalog.pg_get_userbyid(c.relowner), pg_catalog.count(*), \
         pg_catalog.min(c.oid::pg_catalog.regclass::text) \
         FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
         WHERE c.relkind IN ('r', 'p', 'v', 'm', 'S', 'f') AND n.nspname !~ '^pg_' \
         AND n.nspname <> 'information_schema' AND NOT pg_catalog.pg_has_role(c.relowner, 'USAGE') \
         AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass \
         AND d.objid = c.oid AND d.deptype = 'e') \
         GROUP BY c.relowner ORDER BY pg_catalog.count(*) DESC LIMIT {MAX_NAMED}"
    ))
}

impl ServerHealth {
    /// Reads the response; `None` if the server did not answer the query.
    #[must_use]
    pub fn from_rows(rows: &Rows) -> Option<Self> {
        let of_kind = |kind: &'static str| rows.tagged(RowTag::Health).filter(move |row| row.text(0) == Some(kind));
        let text = |row: Row<'_>, index| row.text(index).unwrap_or_default().to_owned();
        let timeout = |row: Row<'_>| Some(SessionTimeout { name: text(row, 1), millis: row.parse(2)? });
        let event_trigger = |row: Row<'_>| format!("{} ({} at {})", text(row, 1), text(row, 3), text(row, 2));
        let role = of_kind("role").next()?;
        Some(Self {
            timeouts: of_kind("timeout").filter_map(timeout).collect(),
            connections: of_kind("connections").next().map(ConnectionUse::from_row).unwrap_or_default(),
            event_triggers: of_kind("event trigger").map(event_trigger).collect(),
            unvalidated: of_kind("constraint").map(|row| (text(row, 1), text(row, 2))).collect(),
            idle_slots: of_kind("slot")
                .map(|row| IdleSlot { name: text(row, 1), retained: row.parse(2).unwrap_or_default() })
                .collect(),
            size: of_kind("size").next().and_then(|row| row.parse(1)),
            rights: RoleRights {
                role: text(role, 1),
                creates_schemas: role.text(2) == Some("t"),
                records_runs: role.text(3) == Some("t"),
                closed_schemas: of_kind("closed schema").map(|row| text(row, 1)).collect(),
                other_owners: of_kind("owner")
                    .map(|row| (text(row, 1), row.parse(2).unwrap_or_default(), text(row, 3)))
                    .collect(),
            },
        })
    }
}

impl SequenceUse {
    /// Reads the response to [`sequences_sql`].
    #[must_use]
    pub fn from_rows(rows: &Rows) -> Vec<Self> {
        let read = |row: Row<'_>| {
            let [kind, name, column, percent] = row.columns();
            let text = |value: Option<&str>| value.unwrap_or_default().to_owned();
            let percent = percent.filter(|_| kind == Some("sequence"))?.parse().ok()?;
            Some(Self { name: text(name), column: text(column), percent })
        };
        rows.tagged(RowTag::Health).filter_map(read).collect()
    }
}

impl ConnectionUse {
    fn from_row(row: Row<'_>) -> Self {
        let number = |index| row.parse(index).unwrap_or(-1);
        Self { server: (number(1), number(2)), role: (number(3), number(4)), database: (number(5), number(6)) }
    }
}
