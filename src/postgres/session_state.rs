//! SQL that detects a session whose state differs from that of a new one.
//!
//! A file can change the initial settings of sessions (`ALTER DATABASE … SET`, perhaps in a block or a function), and
//! it can keep advisory locks. The reset after a file undoes neither: the settings apply only to *new* sessions, and
//! releasing all advisory locks would release our own.

use super::run_lock::AdvisoryLock;

/// SQL expression for the `oid` of the session's database.
pub const CURRENT_DATABASE_OID: &str = "(SELECT d.oid FROM pg_catalog.pg_database d \
    WHERE d.datname OPERATOR(pg_catalog.=) pg_catalog.current_database())";

/// Returns an SQL expression of type text that changes with the initial settings of sessions and with the advisory
/// locks that files keep. `locks` are those that belong to no file. `database` is the database's `oid` as SQL,
/// because the expression is planned with every file, and each further table costs 0.1 ms.
#[must_use]
pub fn session_state_sql(locks: &[AdvisoryLock], database: &str) -> String {
    let conditions: Vec<String> = locks
        .iter()
        .map(|lock| {
            let (class, object) = lock.pg_locks_key();
            format!(
                "(l.objsubid OPERATOR(pg_catalog.=) 1 AND l.classid OPERATOR(pg_catalog.=) '{class}'::pg_catalog.oid \
                 AND l.objid OPERATOR(pg_catalog.=) '{object}'::pg_catalog.oid)"
            )
        })
        .collect();
    format!(
        "pg_catalog.concat((SELECT pg_catalog.md5(pg_catalog.array_agg(s ORDER BY s.setdatabase, s.setrole)::pg_catalog.text) \
           FROM pg_catalog.pg_db_role_setting s \
           WHERE s.setdatabase OPERATOR(pg_catalog.=) ANY (ARRAY[0::pg_catalog.oid, {database}]) \
           AND s.setrole OPERATOR(pg_catalog.=) ANY (ARRAY[0::pg_catalog.oid, \
             pg_catalog.to_regrole(pg_catalog.quote_ident(session_user))::pg_catalog.oid])), \
         (SELECT pg_catalog.count(*) FROM pg_catalog.pg_lock_status() l WHERE l.locktype OPERATOR(pg_catalog.=) 'advisory' \
           AND l.pid OPERATOR(pg_catalog.=) pg_catalog.pg_backend_pid() AND NOT ({})))",
        conditions.join(" OR ")
    )
}
