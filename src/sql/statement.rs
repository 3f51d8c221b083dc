//! Classifies statements. A statement is read from its first word on, as PostgreSQL's grammar does, over lists of any
//! length: in a `COPY`, for example, FROM STDIN comes only after the list of columns.

use super::{
    execution::StatementKind,
    identifier::{QualifiedName, fold_identifier},
    lexer::{Token, Tokens},
    options::{Switch, find_option, is_switched_off},
    phrase::{Part, Phrase},
    session_effects::{classify_select, classify_set},
    statement_class::{StatementClass, refused_class},
    transaction_options::TransactionModes,
    word_search::contains_letters,
};

/// Classifies one statement.
pub(crate) fn classify_statement(statement: &str) -> StatementClass {
    let mut phrase = Phrase::new(statement);
    let Some(Part::Word(first)) = phrase.next() else { return refuse_unlock_all(statement) };
    let first = first.to_ascii_lowercase();
    match first.as_str() {
        "create" => classify_create(&mut phrase),
        "drop" => classify_drop(&mut phrase),
        "alter" => classify_alter(&mut phrase),
        "copy" => classify_copy(&mut phrase),
        "set" => classify_set(&mut phrase),
        "reindex" => classify_reindex(&mut phrase),
        "cluster" => classify_cluster(&mut phrase),
        "vacuum" => repeatable_alone("VACUUM"),
        "analyze" | "analyse" => StatementClass::Idempotent,
        "discard" if phrase.eat("all") => {
            refused_class("`DISCARD ALL` releases the lock that keeps other runs away", None)
        }
        "reset" | "discard" | "listen" | "unlisten" | "load" | "deallocate" => StatementClass::Session,
        "do" | "call" => match refuse_unlock_all(statement) {
            StatementClass::Plain => StatementClass::Procedure,
            refused => refused,
        },
        "select" => match refuse_unlock_all(statement) {
            StatementClass::Plain => classify_select(&mut phrase),
            refused => refused,
        },
        _ => classify_transaction_control(&first, &mut phrase).unwrap_or_else(|| refuse_unlock_all(statement)),
    }
}

const UNLOCK_ALL: &str = "pg_advisory_unlock_all";

/// Refuses a statement that calls `pg_advisory_unlock_all`, which would release our run lock. A call in a string or in
/// the body of another function goes unnoticed.
fn refuse_unlock_all(statement: &str) -> StatementClass {
    let is_call = |token: Token| token.is_word(statement, UNLOCK_ALL);
    if contains_letters(statement, UNLOCK_ALL) && Tokens::new(statement).any(is_call) {
        return refused_class("`pg_advisory_unlock_all` releases the lock that keeps other runs away", None);
    }
    StatementClass::Plain
}

fn classify_transaction_control(first: &str, phrase: &mut Phrase<'_>) -> Option<StatementClass> {
    match first {
        "begin" => {
            phrase.eat_one_of(&["work", "transaction"]);
            Some(
                TransactionModes::read_list(phrase)
                    .map_or(StatementClass::TransactionControl("BEGIN"), StatementClass::Begin),
            )
        }
        "start" if phrase.eat("transaction") => Some(
            TransactionModes::read_list(phrase)
                .map_or(StatementClass::TransactionControl("START TRANSACTION"), StatementClass::Begin),
        ),
        "commit" | "rollback" if phrase.eat("prepared") => {
            Some(non_transactional(StatementKind::Opaque, "COMMIT PREPARED"))
        }
        "prepare" if phrase.eat("transaction") => Some(StatementClass::TransactionControl("PREPARE TRANSACTION")),
        "commit" => Some(classify_commit("COMMIT", phrase)),
        "end" => Some(classify_commit("END", phrase)),
        "abort" => Some(StatementClass::TransactionControl("ABORT")),
        "savepoint" | "release" => Some(StatementClass::Savepoint),
        "rollback" => {
            phrase.eat_one_of(&["work", "transaction"]);
            Some(if phrase.eat("to") {
                StatementClass::Savepoint
            } else {
                StatementClass::TransactionControl("ROLLBACK")
            })
        }
        _ => None,
    }
}

/// Reads `COMMIT [WORK | TRANSACTION] [AND [NO] CHAIN]`; `AND CHAIN` also begins the next transaction.
fn classify_commit(statement_name: &'static str, phrase: &mut Phrase<'_>) -> StatementClass {
    phrase.eat_one_of(&["work", "transaction"]);
    if phrase.eat("and") && !phrase.eat("no") {
        return StatementClass::TransactionControl("COMMIT AND CHAIN");
    }
    StatementClass::Commit(statement_name)
}

/// Reads `COPY t [(columns)] FROM|TO …` or `COPY (query) TO …`.
fn classify_copy(phrase: &mut Phrase<'_>) -> StatementClass {
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
        (Some("from"), Some(_)) => StatementClass::CopyFromStdin,
        (Some("to"), Some(_)) => refused_class("`COPY … TO STDOUT` has no client to send its rows to", None),
        _ => StatementClass::Plain,
    }
}

fn classify_create(phrase: &mut Phrase<'_>) -> StatementClass {
    match phrase.eat_one_of(&["unique", "index", "database", "tablespace", "subscription"]) {
        Some("unique") if phrase.eat_all(&["index", "concurrently"]) => classify_create_index(phrase),
        Some("index") if phrase.eat("concurrently") => classify_create_index(phrase),
        Some("database") => non_transactional(StatementKind::Opaque, "CREATE DATABASE"),
        Some("tablespace") => non_transactional(StatementKind::Opaque, "CREATE TABLESPACE"),
        Some("subscription") if !is_switched_off(phrase, &["create_slot", "connect"]) => {
            non_transactional(StatementKind::Opaque, "CREATE SUBSCRIPTION")
        }
        _ => StatementClass::Plain,
    }
}

/// Reads the rest of `CREATE INDEX CONCURRENTLY [IF NOT EXISTS] name ON [ONLY] table`. The index is in the schema of
/// its table.
fn classify_create_index(phrase: &mut Phrase<'_>) -> StatementClass {
    phrase.eat_all(&["if", "not", "exists"]);
    if phrase.eat("on") {
        return refused_class(
            "`CREATE INDEX CONCURRENTLY` without a name for the index",
            Some("give the index a name, so that an interrupted build can be found again"),
        );
    }
    let name = phrase.by_ref().next().and_then(|part| fold_identifier(part.text()));
    if !phrase.eat("on") {
        return unreadable_index();
    }
    phrase.eat("only");
    match (name, phrase.eat_name()) {
        (Some(name), Some(table)) => {
            let index = QualifiedName { schema: table.schema, name };
            non_transactional(StatementKind::CreateIndex { index }, "CREATE INDEX CONCURRENTLY")
        }
        _ => unreadable_index(),
    }
}

fn unreadable_index() -> StatementClass {
    refused_class(
        "the name of the index can't be read",
        Some("write the names of index and table plainly or in double quotes, without U&"),
    )
}

fn classify_drop(phrase: &mut Phrase<'_>) -> StatementClass {
    match phrase.eat_one_of(&["index", "database", "tablespace", "subscription"]) {
        Some("index") if phrase.eat("concurrently") => {
            phrase.eat_all(&["if", "exists"]);
            match phrase.eat_name() {
                Some(index) => non_transactional(StatementKind::DropIndex { index }, "DROP INDEX CONCURRENTLY"),
                None => unreadable_index(),
            }
        }
        Some("database") => non_transactional(StatementKind::Opaque, "DROP DATABASE"),
        Some("tablespace") => non_transactional(StatementKind::Opaque, "DROP TABLESPACE"),
        // It can't run in a transaction if it has a replication slot on the other server, which its text doesn't show.
        Some("subscription") => StatementClass::Procedure,
        _ => StatementClass::Plain,
    }
}

/// Finds the forms of `ALTER` that PostgreSQL refuses in a transaction block (`PreventInTransactionBlock` in its
/// sources).
fn classify_alter(phrase: &mut Phrase<'_>) -> StatementClass {
    match phrase.eat_one_of(&["system", "database", "subscription", "table"]) {
        Some("system") => repeatable_alone("ALTER SYSTEM"),
        Some("database") => {
            phrase.by_ref().next();
            match phrase.eat_all(&["set", "tablespace"]) {
                true => repeatable_alone("ALTER DATABASE … SET TABLESPACE"),
                false => StatementClass::Plain,
            }
        }
        Some("subscription") => classify_alter_subscription(phrase),
        Some("table") => {
            phrase.eat_all(&["if", "exists"]);
            phrase.eat("only");
            phrase.eat_name();
            if matches!(phrase.peek(), Some(Part::Other("*"))) {
                phrase.by_ref().next();
            }
            let detached = phrase.eat_all(&["detach", "partition"]) && phrase.eat_name().is_some();
            match detached && phrase.eat("concurrently") {
                true => non_transactional(StatementKind::Opaque, "DETACH PARTITION CONCURRENTLY"),
                false => StatementClass::Plain,
            }
        }
        _ => StatementClass::Plain,
    }
}

fn classify_alter_subscription(phrase: &mut Phrase<'_>) -> StatementClass {
    phrase.by_ref().next();
    match phrase.eat_one_of(&["add", "drop", "set", "refresh"]) {
        Some("refresh") => repeatable_alone("ALTER SUBSCRIPTION … REFRESH"),
        Some("add" | "drop") if phrase.eat("publication") && !is_switched_off(phrase, &["refresh"]) => {
            non_transactional(StatementKind::Opaque, "ALTER SUBSCRIPTION")
        }
        Some("set") if phrase.eat("publication") => match is_switched_off(phrase, &["refresh"]) {
            true => StatementClass::Plain,
            false => repeatable_alone("ALTER SUBSCRIPTION … SET PUBLICATION"),
        },
        Some("set") => {
            let options = phrase.eat_group().unwrap_or_default();
            match ["failover", "two_phase"].iter().any(|name| find_option(options, name).is_some()) {
                true => repeatable_alone("ALTER SUBSCRIPTION … SET"),
                false => StatementClass::Plain,
            }
        }
        _ => StatementClass::Plain,
    }
}

/// Reads `REINDEX [(options)] INDEX|TABLE|SCHEMA|DATABASE|SYSTEM [CONCURRENTLY] …`.
fn classify_reindex(phrase: &mut Phrase<'_>) -> StatementClass {
    let options = phrase.eat_group().unwrap_or_default();
    let object_kind = phrase.eat_one_of(&["index", "table", "schema", "database", "system"]);
    if phrase.eat("concurrently") || find_option(options, "concurrently") == Some(Switch::On) {
        return repeatable_alone("REINDEX CONCURRENTLY");
    }
    match object_kind {
        Some("schema") => repeatable_alone("REINDEX SCHEMA"),
        Some("database") => repeatable_alone("REINDEX DATABASE"),
        Some("system") => repeatable_alone("REINDEX SYSTEM"),
        Some(_) => StatementClass::Idempotent,
        None => StatementClass::Plain,
    }
}

/// Reads `CLUSTER`; without a table it processes all of them, and can't run in a transaction.
fn classify_cluster(phrase: &mut Phrase<'_>) -> StatementClass {
    if phrase.eat_group().is_none() {
        phrase.eat("verbose");
    }
    if phrase.is_done() { repeatable_alone("CLUSTER") } else { StatementClass::Idempotent }
}

/// Returns the class of a statement that can't run in a transaction but may be repeated.
fn repeatable_alone(statement_name: &'static str) -> StatementClass {
    non_transactional(StatementKind::Repeatable, statement_name)
}

fn non_transactional(kind: StatementKind, what: &'static str) -> StatementClass {
    StatementClass::NonTransactional { kind, what }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn kind(statement: &str) -> Option<StatementKind> {
        match classify_statement(statement) {
            StatementClass::NonTransactional { kind, .. } => Some(kind),
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
            assert!(
                matches!(classify_statement(statement), StatementClass::Refused { fix: Some(_), .. }),
                "{statement}"
            );
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
            assert_eq!(classify_statement(statement), StatementClass::Plain, "{statement}");
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
            assert!(matches!(classify_statement(statement), StatementClass::TransactionControl(_)), "{statement}");
        }
        for statement in ["BEGIN", "begin isolation level serializable;", "START /* x */ TRANSACTION", "BEGIN WORK"] {
            assert!(matches!(classify_statement(statement), StatementClass::Begin(_)), "{statement}");
        }
        for statement in ["COMMIT", "END;", "commit work", "COMMIT TRANSACTION AND NO CHAIN"] {
            assert!(matches!(classify_statement(statement), StatementClass::Commit(_)), "{statement}");
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
            let StatementClass::SetTransaction(modes) = classify_statement(statement) else {
                panic!("{statement}: {:?}", classify_statement(statement))
            };
            assert_eq!(modes.begin_sql(), begin);
        }
        for statement in [
            "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY, ISOLATION LEVEL SERIALIZABLE",
            "SET default_transaction_isolation TO serializable",
        ] {
            let StatementClass::DefaultModes(modes) = classify_statement(statement) else {
                panic!("{statement}: {:?}", classify_statement(statement))
            };
            assert_eq!(modes.begin_sql(), "BEGIN ISOLATION LEVEL SERIALIZABLE");
        }
        assert!(matches!(
            classify_statement("SET TRANSACTION SNAPSHOT 'x'"),
            StatementClass::Refused { fix: Some(_), .. }
        ));
    }

    #[test]
    fn savepoints_are_not_boundaries() {
        for statement in ["SAVEPOINT a", "ROLLBACK TO a", "ROLLBACK TRANSACTION TO SAVEPOINT a", "RELEASE SAVEPOINT a"]
        {
            assert_eq!(classify_statement(statement), StatementClass::Savepoint, "{statement}");
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
            assert!(matches!(classify_statement(statement), StatementClass::Refused { .. }), "{statement}");
        }
        assert_eq!(classify_statement("SELECT 'pg_advisory_unlock_all'"), StatementClass::Plain);
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
            assert_eq!(classify_statement(statement), StatementClass::Session, "{statement}");
        }
        for statement in [
            "ANALYZE t",
            "REINDEX TABLE t",
            "REINDEX (CONCURRENTLY false) INDEX i",
            "CLUSTER t USING i",
            "CLUSTER (VERBOSE) t",
        ] {
            assert_eq!(classify_statement(statement), StatementClass::Idempotent, "{statement}");
        }
        assert_eq!(classify_statement("COPY t (a) FROM stdin"), StatementClass::CopyFromStdin);
        assert_eq!(classify_statement("CALL p()"), StatementClass::Procedure);
        assert_eq!(classify_statement("DO $$ BEGIN COMMIT; END $$"), StatementClass::Procedure);
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
            prop_assert_eq!(classify_statement(&fill(&names.join(", "), comment)), classify_statement(&fill("a", "")));
        }
    }
}
