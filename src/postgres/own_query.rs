//! The queries that bastion-migrate itself sends, as opposed to the text of a file.
//!
//! A role that may create objects in a schema on the search path can put a function, an operator or a type there that
//! PostgreSQL prefers to its own, and a table's owner can write policies that run as the role that reads the table.
//! So each of these queries sets the search path and disables policies. Both are set for the transaction alone: a
//! file's text keeps the settings of the database, the role and the URL.

use super::fault::LOCK_LOST;
use sha2::{Digest as _, Sha256};
use std::fmt::{self, Display};

/// SQL that pins the search path to the catalog. `pg_temp` comes last because PostgreSQL searches it first if it is
/// not listed (PostgreSQL manual, 20.11.1). With `row_security` off the server fails rather than hide rows silently
/// (20.11.1).
pub(crate) const PIN_SEARCH_PATH: &str = "SET LOCAL search_path TO pg_catalog, pg_temp; SET LOCAL row_security TO off";

/// The settings that [`PIN_SEARCH_PATH`] sets.
pub(crate) const PINNED_SETTINGS: [&str; 2] = ["search_path", "row_security"];

/// SQL by which the rest of the transaction runs as the login role. Another one may neither see nor end the sessions of
/// that role (PostgreSQL manual, 28.2.3 and 9.28.2).
pub(crate) const AS_LOGIN_ROLE: &str = "SET LOCAL role TO 'none'";

/// SQL that makes the transaction read-only: once it has read something, no statement in it can make it writable again
/// (PostgreSQL manual, SET TRANSACTION).
const READ_ONLY: &str = "SET TRANSACTION READ ONLY";

/// One message, which the server runs as one transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnQuery {
    before: Option<String>,
    access: QueryAccess,
    lock: RunLockRequirement,
    sql: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum QueryAccess {
    Read,
    Write,
}

/// The requirement that the session holds the run lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunLockRequirement {
    /// The session need not hold it.
    NotNeeded,
    /// The session holds it, and the query fails if it does not.
    Held,
    /// The session holds it together with other sessions of its run, and the query fails if it does not.
    Shared,
}

impl OwnQuery {
    /// Creates a query that can't change anything.
    #[must_use]
    pub fn read_only(sql: impl Into<String>) -> Self {
        Self { before: None, access: QueryAccess::Read, lock: RunLockRequirement::NotNeeded, sql: sql.into() }
    }

    /// Creates a query that may change our own tables.
    #[must_use]
    pub fn read_write(sql: impl Into<String>) -> Self {
        Self { access: QueryAccess::Write, ..Self::read_only(sql) }
    }

    /// Adds a statement that runs first, with the session's own search path, to query that path. It must qualify
    /// every name with a schema.
    #[must_use]
    pub fn preceded_by(self, statement: impl Into<String>) -> Self {
        Self { before: Some(statement.into()), ..self }
    }

    /// Prepends a query of our own to the message.
    #[must_use]
    pub fn with_prepended(self, sql: &str) -> Self {
        Self { sql: format!("{sql}; {}", self.sql), ..self }
    }

    /// Appends a query to the message.
    #[must_use]
    pub fn with_appended(self, sql: &str) -> Self {
        Self { sql: format!("{}; {sql}", self.sql), ..self }
    }

    /// Makes the message fail without the run lock, if `lock` requires it.
    #[must_use]
    pub fn requiring_lock(self, lock: RunLockRequirement) -> Self {
        Self { lock, ..self }
    }
}

impl Display for OwnQuery {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.access == QueryAccess::Read {
            write!(formatter, "{READ_ONLY}; ")?;
        }
        if let Some(before) = &self.before {
            write!(formatter, "{before}; ")?;
        }
        write!(formatter, "{PIN_SEARCH_PATH}; ")?;
        if self.lock != RunLockRequirement::NotNeeded {
            write!(formatter, "{}; ", lock_check_sql(self.lock, "", ""))?;
        }
        formatter.write_str(&self.sql)
    }
}

/// Returns a statement that runs `earlier_checks`, fails unless this session can take the run lock as required, and then
/// runs `further_checks`. The check is harmless: a session that holds an advisory lock always gets it again (PostgreSQL
/// manual, 13.3.5), and all its holds end with the session.
pub(crate) fn lock_check_sql(lock: RunLockRequirement, earlier_checks: &str, further_checks: &str) -> String {
    let key = bastion_migrate_key();
    let locked = match lock {
        RunLockRequirement::NotNeeded => None,
        RunLockRequirement::Held => Some(format!("pg_catalog.pg_try_advisory_lock({key})")),
        RunLockRequirement::Shared => Some(format!("pg_catalog.pg_try_advisory_lock_shared({key})")),
    };
    let message = "bastion-migrate: the run lock is held by another session";
    let lock_check = locked.map(|locked| raise_unless(&locked, LOCK_LOST, message)).unwrap_or_default();
    format!("DO $bastion_migrate$ BEGIN {earlier_checks}{lock_check}{further_checks} END $bastion_migrate$")
}

/// Returns a PL/pgSQL statement that raises this error unless the condition holds.
pub(crate) fn raise_unless(condition: &str, sqlstate: &str, message: &str) -> String {
    let message = crate::postgres::quote_literal(message);
    format!("IF NOT {condition} THEN RAISE EXCEPTION USING ERRCODE = '{sqlstate}', MESSAGE = {message}; END IF; ")
}

/// Returns the key of our own lock. Advisory locks are per database, so one key is enough.
#[must_use]
pub fn bastion_migrate_key() -> i64 {
    let digest = Sha256::digest(b"bastion-migrate/v1");
    let mut first = [0; 8];
    first.copy_from_slice(digest.as_slice().split_at(8).0);
    i64::from_be_bytes(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reading_query_is_read_only_and_uses_the_catalog_alone() {
        let query = OwnQuery::read_only("SELECT 1")
            .with_appended("SELECT 2")
            .preceded_by("SELECT pg_catalog.current_schemas(false)");
        assert_eq!(
            query.to_string(),
            "SET TRANSACTION READ ONLY; SELECT pg_catalog.current_schemas(false); \
             SET LOCAL search_path TO pg_catalog, pg_temp; SET LOCAL row_security TO off; SELECT 1; SELECT 2"
        );
        assert!(!OwnQuery::read_write("SELECT 1").to_string().contains("READ ONLY"));
    }

    #[test]
    fn a_query_that_requires_the_lock_checks_it_first() {
        let query = OwnQuery::read_only("SELECT 1").requiring_lock(RunLockRequirement::Held).to_string();
        assert!(query.contains("pg_try_advisory_lock") && query.ends_with("; SELECT 1"), "{query}");
    }
}
