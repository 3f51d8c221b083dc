//! Classifies statements. A statement is read from its first word on, as PostgreSQL's grammar does, over lists of any
//! length: in a `COPY`, for example, FROM STDIN comes only after the list of columns.

use super::{
    execution::StatementKind,
    identifier::{QualifiedName, folded},
    lexer::Tokens,
    options::{Switch, is_switched_off, option},
    phrase::{Part, Phrase},
    session_effects::{select, set},
    statement_class::{Nature, refused},
    transaction_options::Modes,
};

/// Classifies one statement.
pub(crate) fn nature(statement: &str) -> Nature {
    let mut phrase = Phrase::new(statement);
    let Some(Part::Word(first)) = phrase.next() else { return unlocking(statement) };
    let first = first.to_ascii_lowercase();
    match first.as_str() {
        "create" => create(&mut phrase),
        "drop" => drop_of(&mut phrase),
        "alter" => alter(&mut phrase),
        "copy" => copy(&mut phrase),
        "set" => set(&mut phrase),
        "reindex" => reindex(&mut phrase),
        "cluster" => cluster(&mut phrase),
        "vacuum" => repeatable("VACUUM"),
        "analyze" | "analyse" => Nature::Harmless,
        "discard" if phrase.eat("all") => refused("`DISCARD ALL` releases the lock that keeps other runs away", None),
        "reset" | "discard" | "listen" | "unlisten" | "load" | "deallocate" => Nature::Session,
        "do" | "call" => match unlocking(statement) {
            Nature::Plain => Nature::Procedure,
            refused => refused,
        },
        "select" => match unlocking(statement) {
            Nature::Plain => select(&mut phrase),
            refused => refused,
        },
        _ => boundary(&first, &mut phrase).unwrap_or_else(|| unlocking(statement)),
    }
}

/// Refuses a statement that calls `pg_advisory_unlock_all`, which would release our run lock. A call in a string or in
/// the body of another function goes unnoticed.
fn unlocking(statement: &str) -> Nature {
    if Tokens::new(statement).any(|token| token.is_word(statement, "pg_advisory_unlock_all")) {
        return refused("`pg_advisory_unlock_all` releases the lock that keeps other runs away", None);
    }
    Nature::Plain
}

fn boundary(first: &str, phrase: &mut Phrase<'_>) -> Option<Nature> {
    match first {
        "begin" => {
            phrase.eat_one_of(&["work", "transaction"]);
            Some(Modes::read(phrase).map_or(Nature::Boundary("BEGIN"), Nature::Begin))
        }
        "start" if phrase.eat("transaction") => {
            Some(Modes::read(phrase).map_or(Nature::Boundary("START TRANSACTION"), Nature::Begin))
        }
        "commit" | "rollback" if phrase.eat("prepared") => Some(alone_as(StatementKind::Opaque, "COMMIT PREPARED")),
        "prepare" if phrase.eat("transaction") => Some(Nature::Boundary("PREPARE TRANSACTION")),
        "commit" => Some(ending("COMMIT", phrase)),
        "end" => Some(ending("END", phrase)),
        "abort" => Some(Nature::Boundary("ABORT")),
        "savepoint" | "release" => Some(Nature::Savepoint),
        "rollback" => {
            phrase.eat_one_of(&["work", "transaction"]);
            Some(if phrase.eat("to") { Nature::Savepoint } else { Nature::Boundary("ROLLBACK") })
        }
        _ => None,
    }
}

/// Reads `COMMIT [WORK | TRANSACTION] [AND [NO] CHAIN]`; `AND CHAIN` also begins the next transaction.
fn ending(what: &'static str, phrase: &mut Phrase<'_>) -> Nature {
    phrase.eat_one_of(&["work", "transaction"]);
    if phrase.eat("and") && !phrase.eat("no") {
        return Nature::Boundary("COMMIT AND CHAIN");
    }
    Nature::Commit(what)
}

/// Reads `COPY t [(columns)] FROM|TO …` or `COPY (query) TO …`.
fn copy(phrase: &mut Phrase<'_>) -> Nature {
    if phrase.eat_group().is_none() {
        phrase.eat("binary");
        // A name that we can't read is a single part as well.
        if phrase.eat_name().is_none() {
            phrase.by_ref().next();
        }
        phrase.eat_group();
    }
    let direction = phrase.eat_one_of(&["from", "to"]);
    match (direction, phrase.eat_one_of(&["stdin", "stdout"])) {
        (Some("from"), Some(_)) => Nature::Rows,
        (Some("to"), Some(_)) => refused("`COPY … TO STDOUT` has no client to send its rows to", None),
        _ => Nature::Plain,
    }
}

fn create(phrase: &mut Phrase<'_>) -> Nature {
    match phrase.eat_one_of(&["unique", "index", "database", "tablespace", "subscription"]) {
        Some("unique") if phrase.eat_all(&["index", "concurrently"]) => create_index(phrase),
        Some("index") if phrase.eat("concurrently") => create_index(phrase),
        Some("database") => alone_as(StatementKind::Opaque, "CREATE DATABASE"),
        Some("tablespace") => alone_as(StatementKind::Opaque, "CREATE TABLESPACE"),
        Some("subscription") if !is_switched_off(phrase, &["create_slot", "connect"]) => {
            alone_as(StatementKind::Opaque, "CREATE SUBSCRIPTION")
        }
        _ => Nature::Plain,
    }
}

/// Reads the rest of `CREATE INDEX CONCURRENTLY [IF NOT EXISTS] name ON [ONLY] table`. The index is in the schema of
/// its table.
fn create_index(phrase: &mut Phrase<'_>) -> Nature {
    phrase.eat_all(&["if", "not", "exists"]);
    if phrase.eat("on") {
        return refused(
            "`CREATE INDEX CONCURRENTLY` without a name for the index",
            Some("give the index a name, so that an interrupted build can be found again"),
        );
    }
    let name = phrase.by_ref().next().and_then(|part| folded(part.text()));
    if !phrase.eat("on") {
        return unreadable_index();
    }
    phrase.eat("only");
    match (name, phrase.eat_name()) {
        (Some(name), Some(table)) => {
            let index = QualifiedName { schema: table.schema, name };
            alone_as(StatementKind::CreateIndex { index }, "CREATE INDEX CONCURRENTLY")
        }
        _ => unreadable_index(),
    }
}

fn unreadable_index() -> Nature {
    refused(
        "the name of the index can't be read",
        Some("write the names of index and table plainly or in double quotes, without U&"),
    )
}

fn drop_of(phrase: &mut Phrase<'_>) -> Nature {
    match phrase.eat_one_of(&["index", "database", "tablespace", "subscription"]) {
        Some("index") if phrase.eat("concurrently") => {
            phrase.eat_all(&["if", "exists"]);
            match phrase.eat_name() {
                Some(index) => alone_as(StatementKind::DropIndex { index }, "DROP INDEX CONCURRENTLY"),
                None => unreadable_index(),
            }
        }
        Some("database") => alone_as(StatementKind::Opaque, "DROP DATABASE"),
        Some("tablespace") => alone_as(StatementKind::Opaque, "DROP TABLESPACE"),
        // It can't run in a transaction if it has a replication slot on the other server, which its text doesn't show.
        Some("subscription") => Nature::Procedure,
        _ => Nature::Plain,
    }
}

/// Finds the forms of `ALTER` that PostgreSQL refuses in a transaction block (`PreventInTransactionBlock` in its
/// sources).
fn alter(phrase: &mut Phrase<'_>) -> Nature {
    match phrase.eat_one_of(&["system", "database", "subscription", "table"]) {
        Some("system") => repeatable("ALTER SYSTEM"),
        Some("database") => {
            phrase.by_ref().next();
            match phrase.eat_all(&["set", "tablespace"]) {
                true => repeatable("ALTER DATABASE … SET TABLESPACE"),
                false => Nature::Plain,
            }
        }
        Some("subscription") => alter_subscription(phrase),
        Some("table") => {
            phrase.eat_all(&["if", "exists"]);
            phrase.eat("only");
            phrase.eat_name();
            if matches!(phrase.peek(), Some(Part::Other("*"))) {
                phrase.by_ref().next();
            }
            let detached = phrase.eat_all(&["detach", "partition"]) && phrase.eat_name().is_some();
            match detached && phrase.eat("concurrently") {
                true => alone_as(StatementKind::Opaque, "DETACH PARTITION CONCURRENTLY"),
                false => Nature::Plain,
            }
        }
        _ => Nature::Plain,
    }
}

fn alter_subscription(phrase: &mut Phrase<'_>) -> Nature {
    phrase.by_ref().next();
    match phrase.eat_one_of(&["add", "drop", "set", "refresh"]) {
        Some("refresh") => repeatable("ALTER SUBSCRIPTION … REFRESH"),
        Some("add" | "drop") if phrase.eat("publication") && !is_switched_off(phrase, &["refresh"]) => {
            alone_as(StatementKind::Opaque, "ALTER SUBSCRIPTION")
        }
        Some("set") if phrase.eat("publication") => match is_switched_off(phrase, &["refresh"]) {
            true => Nature::Plain,
            false => repeatable("ALTER SUBSCRIPTION … SET PUBLICATION"),
        },
        Some("set") => {
            let options = phrase.eat_group().unwrap_or_default();
            match ["failover", "two_phase"].iter().any(|name| option(options, name).is_some()) {
                true => repeatable("ALTER SUBSCRIPTION … SET"),
                false => Nature::Plain,
            }
        }
        _ => Nature::Plain,
    }
}

/// Reads `REINDEX [(options)] INDEX|TABLE|SCHEMA|DATABASE|SYSTEM [CONCURRENTLY] …`.
fn reindex(phrase: &mut Phrase<'_>) -> Nature {
    let options = phrase.eat_group().unwrap_or_default();
    let what = phrase.eat_one_of(&["index", "table", "schema", "database", "system"]);
    if phrase.eat("concurrently") || option(options, "concurrently") == Some(Switch::On) {
        return repeatable("REINDEX CONCURRENTLY");
    }
    match what {
        Some("schema") => repeatable("REINDEX SCHEMA"),
        Some("database") => repeatable("REINDEX DATABASE"),
        Some("system") => repeatable("REINDEX SYSTEM"),
        Some(_) => Nature::Harmless,
        None => Nature::Plain,
    }
}

/// Reads `CLUSTER`; without a table it processes all of them, and can't run in a transaction.
fn cluster(phrase: &mut Phrase<'_>) -> Nature {
    if phrase.eat_group().is_none() {
        phrase.eat("verbose");
    }
    if phrase.is_done() { repeatable("CLUSTER") } else { Nature::Harmless }
}

/// Returns the class of a statement that can't run in a transaction but may be repeated.
fn repeatable(what: &'static str) -> Nature {
    alone_as(StatementKind::Repeatable, what)
}

fn alone_as(kind: StatementKind, what: &'static str) -> Nature {
    Nature::Alone { kind, what }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

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
    fn reads_the_name_of_a_created_index() {
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
    fn reads_the_name_of_a_dropped_index() {
        for (statement, index) in [
            ("DROP INDEX CONCURRENTLY a;", name(None, "a")),
            ("DROP INDEX CONCURRENTLY a, b", name(None, "a")),
            ("DROP INDEX CONCURRENTLY IF EXISTS s.\"A\" CASCADE", name(Some("s"), "A")),
        ] {
            assert_eq!(kind(statement), Some(StatementKind::DropIndex { index }), "{statement}");
        }
    }

    #[test]
    fn refuses_an_index_without_a_readable_name() {
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
    fn finds_repeatable_statements() {
        for statement in [
            "VACUUM",
            "VACUUM (ANALYZE) t;",
            "ALTER SYSTEM SET work_mem = '1MB'",
            "CLUSTER;",
            "CLUSTER VERBOSE",
            "CLUSTER (VERBOSE);",
            "REINDEX INDEX CONCURRENTLY i",
            "REINDEX (VERBOSE) TABLE CONCURRENTLY t",
            "REINDEX (TABLESPACE x, CONCURRENTLY true) INDEX i",
            "ALTER DATABASE \"set\" SET TABLESPACE t",
            "ALTER SUBSCRIPTION s SET (failover = true)",
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
    fn finds_opaque_statements() {
        for statement in [
            "CREATE DATABASE d",
            "DROP DATABASE d",
            "CREATE TABLESPACE t LOCATION '/x'",
            "DROP TABLESPACE t",
            "COMMIT PREPARED 'x'",
            "ROLLBACK PREPARED 'x'",
            "CREATE SUBSCRIPTION s CONNECTION 'x' PUBLICATION p",
            "ALTER SUBSCRIPTION s ADD PUBLICATION p",
            "ALTER TABLE a DETACH PARTITION b CONCURRENTLY;",
            "ALTER TABLE s.a DETACH PARTITION s.b CONCURRENTLY",
            "ALTER TABLE IF EXISTS ONLY d.s.a * DETACH PARTITION d.s.\"b\" CONCURRENTLY",
            "DROP /* x */ DATABASE d",
        ] {
            assert_eq!(kind(statement), Some(StatementKind::Opaque), "{statement}");
        }
    }

    #[test]
    fn leaves_plain_statements_in_the_transaction() {
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
            "PREPARE p AS SELECT 1",
            "ALTER DATABASE d SET x = 1",
            "ALTER TABLE detach RENAME COLUMN partition TO concurrently",
            "ALTER TABLE a DETACH PARTITION \"concurrently\"",
            "CREATE TABLE t (begin atomic)",
            "CREATE INDEX \"concurrently\" ON t (x)",
            "COPY \"from\" (stdin) TO '/tmp/x'",
            "COPY (SELECT a FROM stdin) TO PROGRAM 'x'",
            "SET transaction_read_only = on",
            "SELECT set_config('a.b', '', true), count(*) FROM t",
            "SELECT set_config('a.b', (SELECT f()), true)",
            "CREATE FUNCTION f() RETURNS void LANGUAGE sql BEGIN ATOMIC SELECT 1; END",
            "INSERT INTO vacuum VALUES ('COMMIT')",
        ] {
            assert_eq!(nature(statement), Nature::Plain, "{statement}");
        }
    }

    #[test]
    fn finds_transaction_boundaries() {
        for statement in [
            "/* x */ COMMIT AND CHAIN",
            "END TRANSACTION AND CHAIN",
            "ROLLBACK",
            "ROLLBACK WORK;",
            "ROLLBACK AND NO CHAIN",
            "ABORT",
            "PREPARE TRANSACTION 'x'",
            "BEGIN ISOLATION LEVEL none",
        ] {
            assert!(matches!(nature(statement), Nature::Boundary(_)), "{statement}");
        }
        for statement in ["BEGIN", "begin isolation level serializable;", "START /* x */ TRANSACTION", "BEGIN WORK"] {
            assert!(matches!(nature(statement), Nature::Begin(_)), "{statement}");
        }
        for statement in ["COMMIT", "END;", "commit work", "COMMIT TRANSACTION AND NO CHAIN"] {
            assert!(matches!(nature(statement), Nature::Commit(_)), "{statement}");
        }
    }

    #[test]
    fn reads_requested_transaction_modes() {
        for (statement, begin) in [
            ("SET TRANSACTION ISOLATION LEVEL SERIALIZABLE;", "BEGIN ISOLATION LEVEL SERIALIZABLE"),
            ("SET LOCAL transaction_isolation = 'repeatable read'", "BEGIN ISOLATION LEVEL REPEATABLE READ"),
            ("set \"Transaction_Isolation\" to serializable", "BEGIN ISOLATION LEVEL SERIALIZABLE"),
            ("SET TRANSACTION READ WRITE", "BEGIN READ WRITE"),
        ] {
            let Nature::Modes(modes) = nature(statement) else { panic!("{statement}: {:?}", nature(statement)) };
            assert_eq!(modes.begin_sql(), begin);
        }
        for statement in [
            "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY, ISOLATION LEVEL SERIALIZABLE",
            "SET default_transaction_isolation TO serializable",
        ] {
            let Nature::Defaults(modes) = nature(statement) else { panic!("{statement}: {:?}", nature(statement)) };
            assert_eq!(modes.begin_sql(), "BEGIN ISOLATION LEVEL SERIALIZABLE");
        }
        assert!(matches!(nature("SET TRANSACTION SNAPSHOT 'x'"), Nature::Refused { fix: Some(_), .. }));
    }

    #[test]
    fn savepoints_are_not_boundaries() {
        for statement in ["SAVEPOINT a", "ROLLBACK TO a", "ROLLBACK TRANSACTION TO SAVEPOINT a", "RELEASE SAVEPOINT a"]
        {
            assert_eq!(nature(statement), Nature::Savepoint, "{statement}");
        }
    }

    #[test]
    fn refuses_statements_that_break_the_session() {
        for statement in [
            "DISCARD ALL",
            "SELECT pg_advisory_unlock_all()",
            "SELECT pg_catalog.PG_ADVISORY_UNLOCK_ALL()",
            "COPY t TO STDOUT",
            "COPY (SELECT 1) TO stdout WITH (FORMAT csv)",
            "SET standard_conforming_strings = off",
            "SET LOCAL standard_conforming_strings TO 'off'",
            "SET SESSION \"Standard_Conforming_Strings\" = 'false'",
            "COPY BINARY t TO STDIN",
            "DO LANGUAGE plpgsql $$ $$ pg_advisory_unlock_all",
        ] {
            assert!(matches!(nature(statement), Nature::Refused { .. }), "{statement}");
        }
        assert_eq!(nature("SELECT 'pg_advisory_unlock_all'"), Nature::Plain);
    }

    #[test]
    fn finds_statements_that_only_change_the_session() {
        for statement in [
            "SET lock_timeout = '1s'",
            "RESET ALL",
            "SET ROLE a",
            "SET standard_conforming_strings = on",
            "SELECT pg_catalog.set_config('search_path', '', false)",
            "SELECT set_config('a.b', '1', false) AS a, pg_advisory_lock(1);",
            "DISCARD TEMP",
            "LISTEN x",
            "LOAD 'plpgsql'",
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

    /// Statements with a place for a list of any length in parentheses, and one for comments.
    const FORMS: &[&str] = &[
        "COPY t ({list}){comment} TO STDOUT",
        "COPY (SELECT {list} FROM t){comment} TO STDOUT WITH (FORMAT csv)",
        "COPY t ({list}){comment} FROM STDIN WITH (FORMAT csv, FORCE_NULL ({list})) WHERE a > 1",
        "CREATE INDEX{comment} CONCURRENTLY i ON t ({list}) INCLUDE ({list})",
        "REINDEX (VERBOSE{comment}, CONCURRENTLY) TABLE t",
        "VACUUM{comment} (ANALYZE, VERBOSE) t ({list})",
        "CREATE SUBSCRIPTION s CONNECTION 'x' PUBLICATION {list}{comment} WITH (binary = true)",
        "CREATE SUBSCRIPTION s CONNECTION 'x' PUBLICATION {list}{comment} WITH (binary = true, connect = false)",
        "ALTER SUBSCRIPTION s ADD PUBLICATION {list}{comment} WITH (refresh = false)",
        "ALTER SUBSCRIPTION s SET PUBLICATION {list}{comment}",
        "ALTER TABLE{comment} s.a DETACH PARTITION s.b CONCURRENTLY",
        "INSERT INTO t ({list}){comment} VALUES ({list})",
        "CREATE TABLE t ({list}){comment}",
        "SET{comment} search_path = {list}",
        "SET TRANSACTION{comment} ISOLATION LEVEL SERIALIZABLE",
        "COMMIT{comment} WORK",
        "DO{comment} $$ BEGIN END $$",
    ];

    proptest! {
        #[test]
        fn the_length_of_lists_and_comments_between_words_change_nothing(
            form in prop::sample::select(FORMS),
            names in prop::collection::vec("[a-z]{1,8}|\"[a-z()' ]{1,8}\"", 1..200),
            comment in prop::sample::select(vec![" ", "\n", " /* ; ( */ ", " -- )'\n ", " /* a /* b */ */ "]),
        ) {
            let fill = |list: &str, comment: &str| form.replace("{list}", list).replace("{comment}", comment);
            prop_assert_eq!(nature(&fill(&names.join(", "), comment)), nature(&fill("a", "")));
        }
    }
}
