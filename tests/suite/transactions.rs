//! Transactions in files: run as their author meant them, or refused with advice that works.

use crate::{action::Action, judge::Finished, lab::Lab};

fn one_file<'a>(lab: &'a Lab, body: &str) -> Action<'a> {
    Action::new(lab).file("migrations/0001_file.sql", body)
}

fn succeeds(finished: Finished) -> Finished {
    finished.succeeds().applied(["0001_file"])
}

/// Records the isolation level of the file's transaction.
const RECORD_ISOLATION: &str = "create table seen as select current_setting('transaction_isolation') as isolation;\n";

fn isolation(lab: &Lab) -> String {
    lab.database.sql("select isolation from seen")
}

#[test]
fn a_file_that_is_one_transaction_runs_in_the_usual_transaction() {
    for body in [
        "BEGIN;\nCREATE TABLE t (i int);\nCOMMIT;\n",
        "-- no-transaction\nBEGIN;\nCREATE TABLE t (i int);\nCOMMIT;\n",
        "/* größe */ start transaction /* ä */ read write; create table t (i int); end work; -- done\n",
        "set lock_timeout = '1s';\nbegin;\ncreate table t (i int);\ncopy t from stdin;\n1\n\\.\ncommit;\nreset lock_timeout;\n",
    ] {
        let lab = Lab::new();
        one_file(&lab, body)
            .file("migrations/0002_after.sql", "select i from t;\n")
            .run()
            .succeeds()
            .applied(["0001_file", "0002_after"])
            .logs("its BEGIN and COMMIT are replaced by those of the transaction in which every file runs")
            .never_logs("there is already a transaction in progress")
            .done();
        one_file(&lab, body).file("migrations/0002_after.sql", "select i from t;\n").run().nothing_to_do().done();
    }
}

#[test]
fn a_failure_in_a_files_own_transaction_is_located_and_rolled_back() {
    let lab = Lab::new();
    let body = |last: &str| format!("begin; -- größe\ncreate table t (i int);\n{last}\ncommit;\n");
    one_file(&lab, &body("  select oops;"))
        .run()
        .fails("statement-failed", 6)
        .pending(["0001_file"])
        .annotation("migrations/0001_file.sql", 3, "oops")
        .logs("migrations/0001_file.sql:3:10")
        .done();
    assert_eq!(lab.database.sql("select to_regclass('t') is null"), "t");
    succeeds(one_file(&lab, &body("")).run()).done();
}

const SEVERAL: &str = "BEGIN;\nCREATE TABLE a (i int);\nCOMMIT;\nBEGIN ISOLATION LEVEL SERIALIZABLE;\n\
    CREATE TABLE seen AS SELECT current_setting('transaction_isolation') AS isolation;\n\
    SAVEPOINT s;\nINSERT INTO a VALUES (1);\nCOMMIT;\nCREATE INDEX CONCURRENTLY a_i ON a (i);\n";

#[test]
fn several_transactions_in_a_file_are_refused_with_working_advice() {
    let lab = Lab::new();
    let several = SEVERAL.replace("CREATE INDEX CONCURRENTLY", "CREATE INDEX");
    let file = "migrations/0001_file.sql";
    let fix = "put `-- no-transaction` on the file's first line";
    let refused = one_file(&lab, &several).run().fails("own-transaction", 2).logs(fix);
    let refused = [(1, "BEGIN"), (3, "COMMIT"), (4, "BEGIN"), (8, "COMMIT")]
        .iter()
        .fold(refused, |refused, (line, word)| refused.annotation(file, *line, &format!("`{word}` on line {line}")));
    refused.done();
    assert_eq!(lab.database.contents(), "");
    // Both pieces of advice work.
    succeeds(one_file(&lab, &format!("-- no-transaction\n{several}")).run()).done();
    assert_eq!(isolation(&lab), "serializable");
    let lab = Lab::new();
    let removed: String = several
        .lines()
        .filter(|line| !line.starts_with("BEGIN") && *line != "COMMIT;")
        .map(|line| format!("{line}\n"))
        .collect();
    succeeds(one_file(&lab, &removed).run()).done();
}

#[test]
fn a_transaction_in_a_file_that_has_opted_out_is_atomic() {
    let lab = Lab::new();
    let body = |broken: &str| {
        format!("-- no-transaction\n{}", SEVERAL.replace("SAVEPOINT s;", &format!("SAVEPOINT s; {broken}")))
    };
    one_file(&lab, &body("select 1/0;"))
        .run()
        .fails("statement-failed", 6)
        .pending(["0001_file"])
        .annotation("migrations/0001_file.sql", 7, "division by zero")
        .logs("statement 2 of 3 was rolled back; the 1 before it stay done")
        .done();
    assert_eq!(lab.database.sql("select to_regclass('a') is not null, to_regclass('seen') is null"), "t|t");
    succeeds(one_file(&lab, &body("")).run()).logs("1 of 3 statements").done();
    assert_eq!((isolation(&lab).as_str(), lab.database.sql("select count(*) from a").as_str()), ("serializable", "1"));
    assert_eq!(lab.database.sql("select indisvalid from pg_index where indexrelid = 'a_i'::regclass"), "t");
}

#[test]
fn other_transaction_control_is_refused_with_working_advice() {
    for (body, line, word, removed) in [
        ("create table a (i int);\ncommit;\n", 2, "COMMIT", "create table a (i int);\n"),
        ("create table a (i int);\nrollback;\n", 2, "ROLLBACK", "create table a (i int);\n"),
        ("begin;\ncreate table a (i int);\n", 1, "BEGIN", "create table a (i int);\n"),
        ("create table a (i int);\nprepare transaction 'x';\n", 2, "PREPARE TRANSACTION", "create table a (i int);\n"),
    ] {
        let lab = Lab::new();
        one_file(&lab, body)
            .run()
            .fails("own-transaction", 2)
            .annotation("migrations/0001_file.sql", line, &format!("`{word}` on line {line}"))
            .logs("fix: remove the statements that begin or end transactions")
            .done();
        assert_eq!(lab.database.contents(), "");
        succeeds(one_file(&lab, removed).run()).done();
    }
}

#[test]
fn a_commit_after_a_column_that_is_named_like_a_function_body_is_detected() {
    let lab = Lab::new();
    one_file(&lab, "CREATE DOMAIN atomic AS int;\nCREATE TABLE t (begin atomic);\nCOMMIT;\nCREATE TABLE u (i int);\n")
        .run()
        .fails("own-transaction", 2)
        .annotation("migrations/0001_file.sql", 3, "`COMMIT` on line 3")
        .done();
    assert_eq!(lab.database.contents(), "");
    let body = "CREATE DOMAIN atomic AS int;\nCREATE TABLE t (begin atomic, \"case\" int);\n\
        CREATE FUNCTION f(begin atomic) RETURNS int LANGUAGE sql BEGIN ATOMIC SELECT CASE WHEN begin > 1 THEN 1 END; SELECT 2 end; END;\n\
        CREATE RULE r AS ON INSERT TO t DO ALSO (DELETE FROM t; SELECT 1;);\n";
    succeeds(one_file(&lab, body).run()).done();
}

#[test]
fn a_file_can_set_the_isolation_level_of_its_transaction() {
    for (head, level) in [
        ("SET TRANSACTION ISOLATION LEVEL SERIALIZABLE;\n", "serializable"),
        (
            "-- first\nset lock_timeout = '1s'; set transaction /* x */ isolation level repeatable read, read write;\n",
            "repeatable read",
        ),
        ("set local transaction_isolation to 'repeatable read';\n", "repeatable read"),
        ("set transaction isolation level serializable, deferrable;\n", "serializable"),
        ("set session characteristics as transaction isolation level serializable;\n", "serializable"),
        ("set transaction isolation level read committed;\n", "read committed"),
    ] {
        let lab = Lab::new();
        succeeds(one_file(&lab, &format!("{head}{RECORD_ISOLATION}")).run()).done();
        assert_eq!(isolation(&lab), level, "{head}");
        let lab = Lab::new();
        succeeds(one_file(&lab, &format!("begin;\n{head}{RECORD_ISOLATION}commit;\n")).run()).done();
        assert_eq!(isolation(&lab), level, "{head}");
    }
    let lab = Lab::new();
    let rows = "create table t (i int);\ncopy t from stdin;\n1\n\\.\n";
    succeeds(one_file(&lab, &format!("begin isolation level serializable;\n{rows}{RECORD_ISOLATION}commit;\n")).run())
        .done();
    assert_eq!(isolation(&lab), "serializable");
}

#[test]
fn a_read_only_file_cannot_write_and_is_recorded_nevertheless() {
    for (head, tail) in [("set transaction read only;\n", ""), ("begin read only;\n", "commit;\n")] {
        let lab = Lab::new();
        one_file(&lab, &format!("{head}create table t ();\n{tail}"))
            .run()
            .fails("statement-failed", 6)
            .pending(["0001_file"])
            .annotation("migrations/0001_file.sql", 2, "read-only transaction")
            .done();
        succeeds(one_file(&lab, &format!("{head}select 1;\n{tail}")).run()).done();
        assert_eq!(lab.database.sql("select version from bastion_migrate.ledger"), "1");
    }
}

#[test]
fn transaction_modes_that_are_set_too_late_are_refused_with_working_advice() {
    let lab = Lab::new();
    let set_isolation = "set transaction isolation level serializable;\n";
    one_file(&lab, &format!("{RECORD_ISOLATION}{set_isolation}"))
        .run()
        .fails("statement-failed", 6)
        .pending(["0001_file"])
        .annotation("migrations/0001_file.sql", 2, "SET TRANSACTION ISOLATION LEVEL must")
        .logs("fix: set the modes of the transaction at the top of the file")
        .done();
    succeeds(one_file(&lab, &format!("{set_isolation}{RECORD_ISOLATION}")).run()).done();
    assert_eq!(isolation(&lab), "serializable");
}

#[test]
fn transaction_modes_without_a_transaction_are_refused_with_working_advice() {
    let lab = Lab::new();
    let body = |first: &str| format!("-- no-transaction\n{first};\n{RECORD_ISOLATION}");
    one_file(&lab, &body("SET TRANSACTION ISOLATION LEVEL SERIALIZABLE"))
        .run()
        .fails("statement-refused", 2)
        .annotation("migrations/0001_file.sql", 2, "would have no effect")
        .logs("fix: write `SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL …` in its place")
        .done();
    succeeds(one_file(&lab, &body("SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL SERIALIZABLE")).run())
        .done();
    assert_eq!(isolation(&lab), "serializable");
}

#[test]
fn a_statement_that_commits_by_itself_is_refused_with_working_advice() {
    for body in ["do $$ begin for i in 1..3 loop insert into t values (i); commit; end loop; end $$;\n", "call p();\n"]
    {
        let lab = Lab::new();
        lab.database.sql(
            "create table t (i int); alter table t owner to app; create procedure p() language plpgsql as \
             $$ begin insert into t values (1), (2), (3); commit; end $$",
        );
        one_file(&lab, body)
            .run()
            .fails("statement-failed", 6)
            .pending(["0001_file"])
            .annotation("migrations/0001_file.sql", 1, "invalid transaction termination")
            .logs("SQLSTATE 2D000")
            .logs("fix: the statement commits by itself")
            .logs("`-- no-transaction` on the first line")
            .done();
        succeeds(one_file(&lab, &format!("-- no-transaction\n{body}")).run()).done();
        assert_eq!(lab.database.sql("select count(*) from t"), "3");
    }
}

#[test]
fn no_transaction_is_not_advised_where_a_commit_is_impossible() {
    let lab = Lab::new();
    lab.database.sql(
        "create procedure p() language plpgsql as $$ begin commit; end $$; \
         create function f() returns void language plpgsql as $$ begin call p(); end $$",
    );
    one_file(&lab, "-- no-transaction\nselect f();\n")
        .run()
        .fails("statement-failed", 6)
        .pending(["0001_file"])
        .annotation("migrations/0001_file.sql", 2, "invalid transaction termination")
        .logs("fix: COMMIT and ROLLBACK work in a DO block")
        .done();
    one_file(&lab, "do $$ begin execute 'create table x (i int)'; execute 'vacuum x'; end $$;\n")
        .run()
        .fails("statement-failed", 6)
        .pending(["0001_file"])
        .annotation("migrations/0001_file.sql", 1, "VACUUM")
        .logs("fix: a command that can't run in a transaction can't run in a function or in a block, either")
        .done();
    succeeds(one_file(&lab, "-- no-transaction\ncreate table x (i int);\nvacuum x;\n").run()).done();
}
