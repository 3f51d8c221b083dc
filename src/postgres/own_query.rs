//! The messages in which we ask the database something of our own.
//!
//! Whoever may create something in a schema on the search path can put a function, an operator or a type there that PostgreSQL
//! prefers to its own, and a table's owner can write policies that run in whoever reads it. So each message of ours names the
//! path and switches policies off for itself. Both are set for the transaction alone: a file's text keeps the settings that
//! the database, the role and the URL give it.

use super::run_lock;
use std::fmt::{self, Display};

/// `pg_temp` is named last because it is searched first where it is not named (PostgreSQL manual, 20.11.1). With
/// `row_security` off the server refuses to hide rows in silence (20.11.1).
pub(crate) const ON_OUR_PATH: &str = "SET LOCAL search_path TO pg_catalog, pg_temp; SET LOCAL row_security TO off";

/// Takes that back for the rest of the transaction: to what the database, the role and the URL say.
pub(crate) const ON_ITS_OWN_PATH: &str = "SET LOCAL search_path TO DEFAULT; SET LOCAL row_security TO DEFAULT";

/// Once a transaction has read something, nothing that runs in it can allow it to write (PostgreSQL manual, SET TRANSACTION).
const READ_ONLY: &str = "SET TRANSACTION READ ONLY";

/// The SQLSTATE of our refusal to go on without the run lock; class BM is nobody's (PostgreSQL manual, appendix A).
pub(crate) const LOCK_LOST: &str = "BM002";

/// One message, which the server runs as one transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    before: Option<String>,
    access: Access,
    lock: RunLock,
    sql: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Access {
    Read,
    Write,
}

/// Whether the answer counts only if the run lock is ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunLock {
    /// The question is asked by somebody who does not hold it.
    NotNeeded,
    /// It is held, and the question fails if it is not.
    Held,
}

impl Question {
    /// Asks for something, and can't change anything.
    #[must_use]
    pub fn reading(sql: impl Into<String>) -> Self {
        Self { before: None, access: Access::Read, lock: RunLock::NotNeeded, sql: sql.into() }
    }

    /// Changes something of ours.
    #[must_use]
    pub fn writing(sql: impl Into<String>) -> Self {
        Self { access: Access::Write, ..Self::reading(sql) }
    }

    /// Puts a statement before it that runs on the session's own path: one that asks for that path. It has to name
    /// everything with its schema.
    #[must_use]
    pub fn after(self, statement: impl Into<String>) -> Self {
        Self { before: Some(statement.into()), ..self }
    }

    /// Puts a question of our own before it in the message.
    #[must_use]
    pub fn first(self, sql: &str) -> Self {
        Self { sql: format!("{sql}; {}", self.sql), ..self }
    }

    /// Adds a second question to the message.
    #[must_use]
    pub fn and(self, sql: &str) -> Self {
        Self { sql: format!("{}; {sql}", self.sql), ..self }
    }

    /// Makes it fail unless the run lock is ours, if it has to be.
    #[must_use]
    pub fn under(self, lock: RunLock) -> Self {
        Self { lock, ..self }
    }
}

impl Display for Question {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.access == Access::Read {
            write!(formatter, "{READ_ONLY}; ")?;
        }
        if let Some(before) = &self.before {
            write!(formatter, "{before}; ")?;
        }
        write!(formatter, "{ON_OUR_PATH}; ")?;
        if self.lock == RunLock::Held {
            write!(formatter, "{}; ", guard_sql(""))?;
        }
        formatter.write_str(&self.sql)
    }
}

/// A statement that fails unless the run lock is ours, and then runs `more`. It costs nothing to ask: whoever holds an advisory
/// lock gets it once more (PostgreSQL manual, 13.3.5), and it goes with the session however often it was taken.
pub(crate) fn guard_sql(more: &str) -> String {
    let locked = format!("pg_catalog.pg_try_advisory_lock({})", run_lock::own_key());
    let held = raise_unless(&locked, LOCK_LOST, "bastion-migrate: the run lock is held by another session");
    format!("DO $bastion_migrate$ BEGIN {held}{more} END $bastion_migrate$")
}

/// A PL/pgSQL statement that raises this error unless the condition holds.
pub(crate) fn raise_unless(condition: &str, sqlstate: &str, message: &str) -> String {
    let message = crate::postgres::literal(message);
    format!("IF NOT {condition} THEN RAISE EXCEPTION USING ERRCODE = '{sqlstate}', MESSAGE = {message}; END IF; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_can_not_write_and_finds_nothing_but_the_catalog() {
        let question = Question::reading("SELECT 1").and("SELECT 2").after("SELECT pg_catalog.current_schemas(false)");
        assert_eq!(
            question.to_string(),
            "SET TRANSACTION READ ONLY; SELECT pg_catalog.current_schemas(false); \
             SET LOCAL search_path TO pg_catalog, pg_temp; SET LOCAL row_security TO off; SELECT 1; SELECT 2"
        );
        assert!(!Question::writing("SELECT 1").to_string().contains("READ ONLY"));
    }

    #[test]
    fn a_question_under_the_lock_fails_without_it() {
        let question = Question::reading("SELECT 1").under(RunLock::Held).to_string();
        assert!(question.contains("pg_try_advisory_lock") && question.ends_with("; SELECT 1"), "{question}");
    }
}
