//! What a statement is to us, by its first words.

use super::{
    StatementKind,
    name::{QualifiedName, folded},
    token::{TokenKind, Tokens},
};

/// What a statement means for the transaction around it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Nature {
    /// Runs in a transaction, and belongs into one.
    Plain,
    /// `SET`, `RESET`: changes the session and nothing in the database.
    Session,
    /// `ANALYZE`, `REINDEX TABLE`, `CLUSTER t`: runs as often as one likes, and of a partitioned table only without a
    /// transaction, which its text does not tell.
    Harmless,
    /// `DO`, `CALL`, …: runs in a transaction; without one it may commit in the middle.
    Procedure,
    /// Can't run in a transaction.
    Alone {
        /// What it is then.
        kind: StatementKind,
        /// The words that make it so.
        what: &'static str,
    },
    /// Begins or ends a transaction.
    Boundary(&'static str),
    /// `SAVEPOINT` and its like: needs a transaction around it.
    Savepoint,
    /// `COPY … FROM STDIN`.
    Rows,
    /// Would break the run.
    Refused {
        /// What it would do.
        cause: &'static str,
        /// What to do instead, if it is not what the code says.
        fix: Option<&'static str>,
    },
}

/// More words than this are never looked at: nothing that matters stands behind them.
const WORDS: usize = 64;

/// Reads the nature of one statement.
pub(super) fn nature(statement: &str) -> Nature {
    let words = words(statement);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    refusal(statement, &words)
        .or_else(|| boundary(&words))
        .or_else(|| index(&words))
        .or_else(|| alone(&words))
        .or_else(|| repeatable(&words))
        .or_else(|| session(&words))
        .unwrap_or(match words.as_slice() {
            ["copy", ..] if follows(&words, "from", &["stdin", "stdout"]) => Nature::Rows,
            ["analyze" | "analyse" | "cluster", ..] => Nature::Harmless,
            ["do" | "call", ..] | ["drop", "subscription", ..] => Nature::Procedure,
            _ => Nature::Plain,
        })
}

/// The first words: unquoted ones in lower case, all else as written.
fn words(statement: &str) -> Vec<String> {
    let significant = Tokens::new(statement).filter(|token| token.is_significant());
    let text = |token: super::token::Token| match token.kind {
        TokenKind::Ident => token.span.of(statement).to_ascii_lowercase(),
        _ => token.span.of(statement).to_owned(),
    };
    significant.take(WORDS).map(text).collect()
}

/// What would end our session's lock, or can't work in a migration at all.
fn refusal(statement: &str, words: &[&str]) -> Option<Nature> {
    let refused = |cause, fix| Some(Nature::Refused { cause, fix });
    match words {
        ["discard", "all", ..] => refused("`DISCARD ALL` releases the lock that keeps other runs away", None),
        ["copy", ..] if follows(words, "to", &["stdout", "stdin"]) => {
            refused("`COPY … TO STDOUT` has nobody to send its rows to", None)
        }
        ["set", "standard_conforming_strings", "=" | "to", value, ..]
        | ["set", "session" | "local", "standard_conforming_strings", "=" | "to", value, ..]
            if !matches!(value.trim_matches('\''), "on" | "true" | "1" | "yes") =>
        {
            refused(
                "`standard_conforming_strings` other than `on` changes where strings end",
                Some("remove it, and write strings with backslash escapes as E'…'"),
            )
        }
        ["create", ..] => None,
        _ if Tokens::new(statement).any(|token| token.is_word(statement, "pg_advisory_unlock_all")) => {
            refused("`pg_advisory_unlock_all` releases the lock that keeps other runs away", None)
        }
        _ => None,
    }
}

fn boundary(words: &[&str]) -> Option<Nature> {
    match words {
        ["begin", ..] => Some(Nature::Boundary("BEGIN")),
        ["start", "transaction", ..] => Some(Nature::Boundary("START TRANSACTION")),
        ["commit", "prepared", ..] => Some(Nature::Boundary("COMMIT PREPARED")),
        ["commit", ..] => Some(Nature::Boundary("COMMIT")),
        ["end", ..] => Some(Nature::Boundary("END")),
        ["abort", ..] => Some(Nature::Boundary("ABORT")),
        ["prepare", "transaction", ..] => Some(Nature::Boundary("PREPARE TRANSACTION")),
        ["rollback", "prepared", ..] => Some(Nature::Boundary("ROLLBACK PREPARED")),
        ["savepoint" | "release", ..] | ["rollback", "to", ..] | ["rollback", "work" | "transaction", "to", ..] => {
            Some(Nature::Savepoint)
        }
        ["rollback", ..] => Some(Nature::Boundary("ROLLBACK")),
        _ => None,
    }
}

fn index(words: &[&str]) -> Option<Nature> {
    match words {
        ["create", "index", "concurrently", rest @ ..] | ["create", "unique", "index", "concurrently", rest @ ..] => {
            Some(create_index(rest))
        }
        ["drop", "index", "concurrently", "if", "exists", rest @ ..] | ["drop", "index", "concurrently", rest @ ..] => {
            Some(match qualified(rest) {
                Some(index) => alone_as(StatementKind::DropIndex { index }, "DROP INDEX CONCURRENTLY"),
                None => UNREADABLE_INDEX,
            })
        }
        ["reindex", "index" | "table" | "schema" | "database" | "system", "concurrently", ..] => {
            Some(alone_as(StatementKind::Repeatable, "REINDEX CONCURRENTLY"))
        }
        ["reindex", "(", ..] if in_options(words, "concurrently") => {
            Some(alone_as(StatementKind::Repeatable, "REINDEX (CONCURRENTLY)"))
        }
        ["reindex", ..] => {
            let alone = |what| Some(alone_as(StatementKind::Repeatable, what));
            words.iter().find_map(|word| match *word {
                "index" | "table" => Some(Nature::Harmless),
                "schema" => alone("REINDEX SCHEMA"),
                "database" => alone("REINDEX DATABASE"),
                "system" => alone("REINDEX SYSTEM"),
                _ => None,
            })
        }
        _ => None,
    }
}

/// The rest of `CREATE INDEX CONCURRENTLY [IF NOT EXISTS] name ON [ONLY] table`; the index is in the table's schema.
fn create_index(rest: &[&str]) -> Nature {
    let (name, table) = match rest {
        ["on", ..] | ["if", "not", "exists", "on", ..] => {
            return Nature::Refused {
                cause: "`CREATE INDEX CONCURRENTLY` without a name for the index",
                fix: Some("give the index a name, so that an interrupted build can be found again"),
            };
        }
        ["if", "not", "exists", name, "on", "only", table @ ..]
        | ["if", "not", "exists", name, "on", table @ ..]
        | [name, "on", "only", table @ ..]
        | [name, "on", table @ ..] => (name, table),
        _ => return UNREADABLE_INDEX,
    };
    match (folded(name), qualified(table)) {
        (Some(name), Some(table)) => {
            let index = QualifiedName { schema: table.schema, name };
            alone_as(StatementKind::CreateIndex { index }, "CREATE INDEX CONCURRENTLY")
        }
        _ => UNREADABLE_INDEX,
    }
}

const UNREADABLE_INDEX: Nature = Nature::Refused {
    cause: "the name of the index can't be read",
    fix: Some("write the names of index and table plainly or in double quotes, without U&"),
};

/// `name`, `schema.name` or `database.schema.name`.
fn qualified(words: &[&str]) -> Option<QualifiedName> {
    let (schema, name) = match words {
        [_, ".", schema, ".", name, ..] | [schema, ".", name, ..] => (Some(folded(schema)?), name),
        [name, ..] => (None, name),
        [] => return None,
    };
    Some(QualifiedName { schema, name: folded(name)? })
}

/// What PostgreSQL refuses in a transaction block (`PreventInTransactionBlock` in its sources) and does not undo.
fn alone(words: &[&str]) -> Option<Nature> {
    let what = match words {
        ["create", "database", ..] => "CREATE DATABASE",
        ["drop", "database", ..] => "DROP DATABASE",
        ["create", "tablespace", ..] => "CREATE TABLESPACE",
        ["drop", "tablespace", ..] => "DROP TABLESPACE",
        ["create", "subscription", ..] if !is_off(words, "create_slot") && !is_off(words, "connect") => {
            "CREATE SUBSCRIPTION"
        }
        ["alter", "subscription", _, "add" | "drop", "publication", ..] if !is_off(words, "refresh") => {
            "ALTER SUBSCRIPTION"
        }
        ["alter", "table", .., "concurrently"] | ["alter", "table", .., "concurrently", ";"]
            if follows(words, "detach", &["partition"]) =>
        {
            "DETACH PARTITION CONCURRENTLY"
        }
        _ => return None,
    };
    Some(alone_as(StatementKind::Opaque, what))
}

/// What PostgreSQL refuses in a transaction block and what leaves the same behind when it runs twice.
fn repeatable(words: &[&str]) -> Option<Nature> {
    let what = match words {
        ["vacuum", ..] => "VACUUM",
        ["alter", "system", ..] => "ALTER SYSTEM",
        ["cluster"] | ["cluster", ";"] | ["cluster", "verbose"] | ["cluster", "verbose", ";"] => "CLUSTER",
        ["cluster", "(", .., ")"] | ["cluster", "(", .., ")", ";"] => "CLUSTER",
        ["alter", "database", _, "set", "tablespace", ..] => "ALTER DATABASE … SET TABLESPACE",
        ["alter", "subscription", _, "refresh", ..] => "ALTER SUBSCRIPTION … REFRESH",
        ["alter", "subscription", _, "set", "publication", ..] if !is_off(words, "refresh") => {
            "ALTER SUBSCRIPTION … SET PUBLICATION"
        }
        _ => return None,
    };
    Some(alone_as(StatementKind::Repeatable, what))
}

fn session(words: &[&str]) -> Option<Nature> {
    match words {
        ["set", "transaction" | "constraints" | "local", ..] => None,
        ["set" | "reset", ..]
        | ["select", "set_config", "(", ..]
        | ["select", "pg_catalog", ".", "set_config", "(", ..] => Some(Nature::Session),
        _ => None,
    }
}

fn alone_as(kind: StatementKind, what: &'static str) -> Nature {
    Nature::Alone { kind, what }
}

/// Whether one of `next` comes right after `word`, outside of parentheses.
fn follows(words: &[&str], word: &str, next: &[&str]) -> bool {
    let mut depth = 0_usize;
    words.windows(2).any(|pair| match pair {
        ["(", _] => {
            depth += 1;
            false
        }
        [")", _] => {
            depth = depth.saturating_sub(1);
            false
        }
        [first, second] => depth == 0 && *first == word && next.contains(second),
        _ => false,
    })
}

/// Whether the list of options in parentheses right after the first word switches this one on.
fn in_options(words: &[&str], option: &str) -> bool {
    let options: Vec<&str> = words.iter().skip(2).copied().take_while(|word| *word != ")").collect();
    options.contains(&option) && !is_off(words, option)
}

/// Whether `option = false`, in any of the spellings of a boolean, is among the words.
fn is_off(words: &[&str], option: &str) -> bool {
    let off = |value: &&str| matches!(value.trim_matches('\'').to_ascii_lowercase().as_str(), "false" | "off" | "0");
    let mut after = words.iter().skip_while(|word| **word != option).skip(1).skip_while(|word| **word == "=");
    after.next().is_some_and(off)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(statement: &str) -> Option<StatementKind> {
        match nature(statement) {
            Nature::Alone { kind, .. } => Some(kind),
            _ => None,
        }
    }

    fn name(schema: Option<&str>, name: &str) -> QualifiedName {
        QualifiedName { schema: schema.map(str::to_owned), name: name.to_owned() }
    }

    #[test]
    fn finds_the_index_that_is_created() {
        for (statement, index) in [
            ("CREATE INDEX CONCURRENTLY a ON t (x);", name(None, "a")),
            ("create unique index concurrently if not exists A on only S.t (x)", name(Some("s"), "a")),
            (
                "CREATE /* x */ INDEX -- y\n CONCURRENTLY \"On\" ON \"S t\".\"t\" USING btree (x)",
                name(Some("S t"), "On"),
            ),
            ("CREATE INDEX CONCURRENTLY a ON db.s.t (x)", name(Some("s"), "a")),
        ] {
            assert_eq!(kind(statement), Some(StatementKind::CreateIndex { index }), "{statement}");
        }
    }

    #[test]
    fn finds_the_index_that_is_dropped() {
        for (statement, index) in [
            ("DROP INDEX CONCURRENTLY a;", name(None, "a")),
            ("DROP INDEX CONCURRENTLY IF EXISTS s.\"A\" CASCADE", name(Some("s"), "A")),
        ] {
            assert_eq!(kind(statement), Some(StatementKind::DropIndex { index }), "{statement}");
        }
    }

    #[test]
    fn refuses_an_index_that_could_not_be_found_again() {
        for statement in [
            "CREATE INDEX CONCURRENTLY ON t (x)",
            "CREATE UNIQUE INDEX CONCURRENTLY ON t (x)",
            "CREATE INDEX CONCURRENTLY U&\"a\" ON t (x)",
            "DROP INDEX CONCURRENTLY U&\"a\"",
        ] {
            assert!(matches!(nature(statement), Nature::Refused { fix: Some(_), .. }), "{statement}");
        }
    }

    #[test]
    fn knows_what_may_run_twice() {
        for statement in [
            "VACUUM",
            "VACUUM (ANALYZE) t;",
            "ALTER SYSTEM SET work_mem = '1MB'",
            "CLUSTER;",
            "CLUSTER VERBOSE",
            "CLUSTER (VERBOSE);",
            "REINDEX INDEX CONCURRENTLY i",
            "REINDEX (VERBOSE, CONCURRENTLY) TABLE t",
            "REINDEX DATABASE d",
            "REINDEX (VERBOSE) SCHEMA s",
            "REINDEX SYSTEM d",
            "ALTER DATABASE d SET TABLESPACE t",
            "ALTER SUBSCRIPTION s REFRESH PUBLICATION",
        ] {
            assert_eq!(kind(statement), Some(StatementKind::Repeatable), "{statement}");
        }
    }

    #[test]
    fn knows_what_only_a_person_can_judge() {
        for statement in [
            "CREATE DATABASE d",
            "DROP DATABASE d",
            "CREATE TABLESPACE t LOCATION '/x'",
            "DROP TABLESPACE t",
            "CREATE SUBSCRIPTION s CONNECTION 'x' PUBLICATION p",
            "ALTER SUBSCRIPTION s ADD PUBLICATION p",
            "ALTER TABLE a DETACH PARTITION b CONCURRENTLY;",
            "ALTER TABLE s.a DETACH PARTITION s.b CONCURRENTLY",
        ] {
            assert_eq!(kind(statement), Some(StatementKind::Opaque), "{statement}");
        }
    }

    #[test]
    fn leaves_in_the_transaction_what_may_be_there() {
        for statement in [
            "CREATE INDEX concurrently_x ON t (x)",
            "DROP INDEX a",
            "REFRESH MATERIALIZED VIEW CONCURRENTLY v",
            "ALTER TYPE t ADD VALUE 'x'",
            "ALTER TABLE a DETACH PARTITION b",
            "ALTER TABLE a DETACH PARTITION b FINALIZE",
            "CREATE SUBSCRIPTION s CONNECTION 'x' PUBLICATION p WITH (connect = false)",
            "ALTER SUBSCRIPTION s ADD PUBLICATION p WITH (refresh = false)",
            "COPY t FROM '/tmp/x'",
            "COPY (SELECT 1) TO '/tmp/x'",
            "SET CONSTRAINTS ALL DEFERRED",
            "SET LOCAL lock_timeout = 1",
            "DISCARD TEMP",
            "PREPARE p AS SELECT 1",
            "CREATE FUNCTION f() RETURNS void LANGUAGE sql BEGIN ATOMIC SELECT 1; END",
            "INSERT INTO vacuum VALUES ('COMMIT')",
        ] {
            assert_eq!(nature(statement), Nature::Plain, "{statement}");
        }
    }

    #[test]
    fn finds_transaction_boundaries() {
        for statement in [
            "BEGIN",
            "begin isolation level serializable;",
            "START TRANSACTION",
            "COMMIT",
            "/* x */ COMMIT AND CHAIN",
            "END",
            "ROLLBACK",
            "ROLLBACK WORK;",
            "ABORT",
            "PREPARE TRANSACTION 'x'",
            "COMMIT PREPARED 'x'",
            "ROLLBACK PREPARED 'x'",
        ] {
            assert!(matches!(nature(statement), Nature::Boundary(_)), "{statement}");
        }
    }

    #[test]
    fn savepoints_are_no_boundaries() {
        for statement in ["SAVEPOINT a", "ROLLBACK TO a", "ROLLBACK TRANSACTION TO SAVEPOINT a", "RELEASE SAVEPOINT a"]
        {
            assert_eq!(nature(statement), Nature::Savepoint, "{statement}");
        }
    }

    #[test]
    fn refuses_what_breaks_the_session() {
        for statement in [
            "DISCARD ALL",
            "SELECT pg_advisory_unlock_all()",
            "SELECT pg_catalog.PG_ADVISORY_UNLOCK_ALL()",
            "COPY t TO STDOUT",
            "COPY (SELECT 1) TO stdout WITH (FORMAT csv)",
            "SET standard_conforming_strings = off",
            "SET LOCAL standard_conforming_strings TO 'off'",
        ] {
            assert!(matches!(nature(statement), Nature::Refused { .. }), "{statement}");
        }
        assert_eq!(nature("SELECT 'pg_advisory_unlock_all'"), Nature::Plain);
    }

    #[test]
    fn knows_what_only_sets_the_session() {
        for statement in [
            "SET lock_timeout = '1s'",
            "RESET ALL",
            "SET ROLE a",
            "SET standard_conforming_strings = on",
            "SELECT pg_catalog.set_config('search_path', '', false)",
        ] {
            assert_eq!(nature(statement), Nature::Session, "{statement}");
        }
        for statement in [
            "ANALYZE t",
            "REINDEX TABLE t",
            "REINDEX (CONCURRENTLY false) INDEX i",
            "CLUSTER t USING i",
            "CLUSTER (VERBOSE) t",
        ] {
            assert_eq!(nature(statement), Nature::Harmless, "{statement}");
        }
        assert_eq!(nature("COPY t (a) FROM stdin"), Nature::Rows);
        assert_eq!(nature("CALL p()"), Nature::Procedure);
        assert_eq!(nature("DO $$ BEGIN COMMIT; END $$"), Nature::Procedure);
    }
}
