//! The kind of a statement on the copy: what there is to see of it.

use crate::sql::Phrase;

/// First words of statements that only read.
const READS: [&str; 7] = ["select", "show", "values", "table", "explain", "fetch", "with"];

/// First words of statements about rows.
const ROWS: [&str; 6] = ["insert", "update", "delete", "merge", "copy", "declare"];

/// First words of statements about the session and its transactions.
const CONTROL: [&str; 17] = [
    "begin",
    "start",
    "commit",
    "end",
    "rollback",
    "abort",
    "savepoint",
    "release",
    "deallocate",
    "set",
    "reset",
    "discard",
    "close",
    "move",
    "listen",
    "unlisten",
    "notify",
];

/// The kind of a statement; the one with the most to see is the greatest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum StatementKindOnCopy {
    /// It is about the session or its transaction.
    Control,
    /// It reads; what it calls may do more.
    Read,
    /// It changes rows.
    Rows,
    /// Everything else: it changes the schema, or may.
    Schema,
}

impl StatementKindOnCopy {
    /// Returns the kind of a statement, or of several in one text.
    pub(super) fn of(text: &str) -> Self {
        let mut phrase = Phrase::new(text);
        let first = if phrase.peek().is_none() {
            Self::Control
        } else if phrase.eat("lock") {
            Self::Schema
        } else if phrase.eat("prepare") {
            // To prepare a statement locks what it reads.
            if phrase.eat("transaction") { Self::Control } else { Self::Read }
        } else if phrase.eat_one_of(&CONTROL).is_some() {
            Self::Control
        } else if phrase.eat("with") {
            // A statement behind the names may change rows.
            if ROWS.iter().any(|word| text.to_lowercase().contains(word)) { Self::Rows } else { Self::Read }
        } else if phrase.eat_one_of(&READS).is_some() {
            Self::Read
        } else if phrase.eat_one_of(&ROWS).is_some() {
            Self::Rows
        } else {
            Self::Schema
        };
        // Several statements in one message are looked at as their greatest.
        let has_more = text.trim_end().trim_end_matches(';').contains(';');
        if has_more && first < Self::Schema && Self::has_schema_words(text) { Self::Schema } else { first }
    }

    fn has_schema_words(text: &str) -> bool {
        let words = text.to_lowercase();
        ["create ", "alter ", "drop ", "truncate ", "do $"].iter().any(|word| words.contains(word))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_statement_is_known_by_its_first_words() {
        for (text, kind) in [
            ("BEGIN", StatementKindOnCopy::Control),
            ("prepare transaction 'a'", StatementKindOnCopy::Control),
            ("prepare a as select 1", StatementKindOnCopy::Read),
            ("  -- note\n SELECT 1", StatementKindOnCopy::Read),
            ("with x as (select 1) update t set a = 1", StatementKindOnCopy::Rows),
            ("INSERT INTO t VALUES (1)", StatementKindOnCopy::Rows),
            ("alter table t add a int", StatementKindOnCopy::Schema),
            ("lock table t", StatementKindOnCopy::Schema),
            ("insert into t values (1); alter table t add a int;", StatementKindOnCopy::Schema),
            ("", StatementKindOnCopy::Control),
        ] {
            assert_eq!(StatementKindOnCopy::of(text), kind, "{text}");
        }
    }
}
