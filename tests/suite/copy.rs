//! Rows in a file: `COPY … FROM STDIN` with its data, as `pg_dump` writes it.
#![expect(clippy::disallowed_methods, reason = "runs pg_dump")]

use crate::{action::Action, lab::Lab};
use std::{fmt::Write as _, process::Command};

fn one_file<'a>(lab: &'a Lab, body: &str) -> Action<'a> {
    Action::new(lab).file("migrations/0001_rows.sql", body)
}

#[test]
fn rows_between_statements_are_copied_as_written() {
    let lab = Lab::new();
    one_file(
        &lab,
        "create table t (id int, text text);\n\
         copy t from stdin;\n\
         1\tit's; a \"quote\" -- and $$ no comment /*\n\
         2\t\\N\n\
         3\ttab\\tnewline\\nbackslash\\\\ end\n\
         4\t\\\\.\n\
         \\.\n\
         update t set text = upper(text) where id = 1;\n\
         copy t (text, id) from stdin with (format csv, header);\n\
         text,id\n\
         \"several\nlines; and \"\"quotes\"\"\",5\n\
         ,6\n\
         \\.\n\
         copy t from stdin;\n\
         \\.\n\
         insert into t values (7, 'last');\n",
    )
    .file("migrations/0002_after.sql", "insert into t select 8, count(*) from t;\n")
    .run()
    .succeeds()
    .applied(["0001_rows", "0002_after"])
    .done();
    let rows = lab.database.sql("select id, replace(text, E'\\n', '↵') from t order by id");
    assert_eq!(
        rows,
        "1|IT'S; A \"QUOTE\" -- AND $$ NO COMMENT /*\n2|\n3|tab\tnewline↵backslash\\ end\n4|\\.\n\
         5|several↵lines; and \"quotes\"\n6|\n7|last\n8|7"
    );
}

#[test]
fn an_invalid_row_is_reported_with_its_line() {
    let lab = Lab::new();
    let body = |third: &str| format!("create table t (id int);\n\ncopy t from stdin;\n1\n2\n{third}\n\\.\n");
    one_file(&lab, &body("three"))
        .file("migrations/0002_after.sql", "create table after (id int);\n")
        .run()
        .fails("statement-failed", 6)
        .pending(["0001_rows", "0002_after"])
        .annotation("migrations/0001_rows.sql", 6, "invalid input syntax for type integer: \"three\"")
        .logs("SQLSTATE 22P02")
        .done();
    assert_eq!(lab.database.sql("select count(*) from pg_class where relname in ('t', 'after')"), "0");
    one_file(&lab, &body("3")).run().succeeds().applied(["0001_rows"]).done();
    assert_eq!(lab.database.sql("select sum(id) from t"), "6");
}

#[test]
fn a_missing_table_is_reported_at_the_copy_statement() {
    let lab = Lab::new();
    one_file(&lab, "select 1;\n\ncopy missing from stdin;\n1\n\\.\n")
        .run()
        .fails("statement-failed", 6)
        .pending(["0001_rows"])
        .annotation("migrations/0001_rows.sql", 3, "missing")
        .done();
}

#[test]
fn an_error_after_the_rows_rolls_the_rows_back() {
    let lab = Lab::new();
    lab.database.sql("create table t (id int); alter table t owner to app");
    one_file(&lab, "copy t from stdin;\n1\n\\.\nselect 1;\nselect 1/0;\n")
        .run()
        .fails("statement-failed", 6)
        .pending(["0001_rows"])
        .annotation("migrations/0001_rows.sql", 5, "division by zero")
        .done();
    assert_eq!(lab.database.sql("select count(*) from t"), "0");
}

#[test]
fn rows_that_violate_a_deferred_constraint_are_rolled_back() {
    let lab = Lab::new();
    one_file(&lab, "create table t (id int unique deferrable initially deferred);\ncopy t from stdin;\n7\n7\n\\.\n")
        .file("migrations/0002_after.sql", "create table after (id int);\n")
        .run()
        .fails("statement-failed", 6)
        .pending(["0001_rows", "0002_after"])
        .logs("Key (id)=(7)")
        .done();
    assert_eq!(lab.database.sql("select count(*) from pg_class where relname in ('t', 'after')"), "0");
}

#[test]
fn many_rows_are_copied_between_other_files() {
    let lab = Lab::new();
    let mut body = "copy t from stdin;\n".to_owned();
    for number in 0..50_000 {
        writeln!(body, "{number}\t{}", "x".repeat(100)).expect("a string takes everything");
    }
    body.push_str("\\.\n");
    assert!(body.len() > 5 << 20);
    Action::new(&lab)
        .file("migrations/0001_table.sql", "create table t (id int, text text);\n")
        .file("migrations/0002_rows.sql", &body)
        .file("migrations/0003_index.sql", "create index on t (id);\n")
        .file("migrations/0004_rows.sql", &body)
        .file("migrations/0005_count.sql", "create table counted as select count(*) from t;\n")
        .run()
        .succeeds()
        .applied(["0001_table", "0002_rows", "0003_index", "0004_rows", "0005_count"])
        .done();
    assert_eq!(lab.database.sql("select count from counted; select sum(length(text)) from t"), "100000\n10000000");
}

/// Starts megabytes of rows with an invalid one: the server fails long before all are sent.
#[test]
fn many_rows_fail_if_the_first_is_invalid() {
    let lab = Lab::new();
    let rows = "1\n".repeat(2 << 20);
    one_file(&lab, &format!("create table t (id int);\ncopy t from stdin;\nzero\n{rows}\\.\n"))
        .run()
        .fails("statement-failed", 6)
        .pending(["0001_rows"])
        .annotation("migrations/0001_rows.sql", 3, "zero")
        .done();
}

#[test]
fn the_output_of_pg_dump_is_a_migration() {
    let (source, target) = (Lab::new(), Lab::new());
    source.database.sql(
        "set role app; create schema shop; create type shop.size as enum ('s', 'm'); \
         create table shop.item (id int generated always as identity primary key, name text, size shop.size); \
         create function shop.f() returns int language sql begin atomic; select 1; select 2; end; \
         create view shop.small as select * from shop.item where size = 's'; \
         insert into shop.item (name, size) select 'it''s; ' || n || E'\\n\\\\.', 's' from generate_series(1, 100) n",
    );
    let dump = Command::new("pg_dump").args(["--no-owner", &source.database.url()]).output();
    let dump = dump.expect("postgresql-client is installed");
    assert!(dump.status.success(), "{}", String::from_utf8_lossy(&dump.stderr));
    let dump = String::from_utf8(dump.stdout).expect("a dump of UTF-8 is UTF-8");
    assert!(dump.contains("FROM stdin;"), "{dump}");
    one_file(&target, &dump)
        .file("migrations/0002_after.sql", "create table after as select count(*) from shop.small;\n")
        .run()
        .succeeds()
        .applied(["0001_rows", "0002_after"])
        .done();
    let rows = "select id, name, size from shop.item order by id";
    assert_eq!(target.database.sql(rows), source.database.sql(rows));
    assert_eq!(target.database.sql("select * from after"), "100");
}

/// Creates a table of forty columns, and returns it with the list of its columns and a row.
fn wide_table() -> (Lab, String, String) {
    let lab = Lab::new();
    let names: Vec<String> = (0..40).map(|number| format!("c{number}")).collect();
    lab.database.sql(&format!("create table w ({} int); alter table w owner to app", names.join(" int, ")));
    (lab, names.join(", "), vec!["7"; 40].join("\t"))
}

#[test]
fn a_copy_to_stdout_is_rejected_however_many_columns_it_has() {
    let (lab, columns, _) = wide_table();
    for copy in [
        format!("copy w ({columns}) to stdout;\n"),
        format!("copy (select {columns} from w) to stdout with (format csv, force_quote ({columns}));\n"),
        "copy w to stdout;\n".to_owned(),
    ] {
        for head in ["", "-- no-transaction\n", "begin;\n"] {
            let tail = if head == "begin;\n" { "commit;\n" } else { "" };
            one_file(&lab, &format!("{head}{copy}{tail}"))
                .run()
                .fails("statement-refused", 2)
                .annotation(
                    "migrations/0001_rows.sql",
                    if head.is_empty() { 1 } else { 2 },
                    "`COPY … TO STDOUT` has no client to send its rows to",
                )
                .done();
        }
    }
    assert_eq!(lab.database.contents(), "w");
}

#[test]
fn rows_of_many_columns_are_copied_with_and_without_a_transaction() {
    for head in ["", "-- no-transaction\n", "-- no-transaction\nvacuum w;\n"] {
        let (lab, columns, row) = wide_table();
        one_file(
            &lab,
            &format!("{head}copy w ({columns}) from stdin with (format text) where c1 > 1;\n{row}\n{row}\n\\.\n"),
        )
        .run()
        .succeeds()
        .applied(["0001_rows"])
        .done();
        assert_eq!(lab.database.sql("select sum(c0 + c39) from w"), "28");
    }
}

#[test]
fn without_a_transaction_rows_and_their_progress_are_committed_together() {
    let lab = Lab::new();
    let body = |second: &str| {
        format!(
            "-- no-transaction\ncreate table t (i int);\ncopy t from stdin;\n1\n{second}\n\\.\nvacuum t;\ncreate index concurrently t_i on t (i);\n"
        )
    };
    one_file(&lab, &body("two"))
        .run()
        .fails("statement-failed", 6)
        .pending(["0001_rows"])
        .annotation("migrations/0001_rows.sql", 5, "invalid input syntax for type integer: \"two\"")
        .logs("statement 2 of 4 was rolled back")
        .done();
    assert_eq!(lab.database.sql("select count(*) from t"), "0");
    one_file(&lab, &body("2")).run().succeeds().applied(["0001_rows"]).logs("1 of 4 statements").done();
    assert_eq!(lab.database.sql("select sum(i) from t"), "3");
}

#[test]
fn rows_beside_a_non_transactional_statement_are_rejected_and_each_advice_works() {
    let lab = Lab::new();
    lab.database.sql("create table t (i int); alter table t owner to app");
    let (copy, build) = ("copy t from stdin;\n1\n\\.\n", "create index concurrently t_i on t (i);\n");
    one_file(&lab, &format!("{copy}{build}"))
        .run()
        .fails("mixed-file", 2)
        .annotation("migrations/0001_rows.sql", 4, "COPY … FROM STDIN on line 1 should")
        .logs("put the statement of line 4 into a file of its own; or put `-- no-transaction` on the first line")
        .done();
    one_file(&lab, &format!("-- no-transaction\n{copy}{build}")).run().succeeds().applied(["0001_rows"]).done();
    let lab = Lab::new();
    lab.database.sql("create table t (i int); alter table t owner to app");
    one_file(&lab, copy)
        .file("migrations/0002_index.sql", build)
        .run()
        .succeeds()
        .applied(["0001_rows", "0002_index"])
        .done();
}

/// The number of COPY statements must not shift the results of later requests.
#[test]
fn many_files_of_rows_are_applied_in_one_session() {
    let lab = Lab::new();
    let names: Vec<String> = (1..=6).map(|number| format!("{number}_rows")).collect();
    let mut step = Action::new(&lab).file("migrations/0_marks.sql", "create table marks (file int, mark int);\n");
    for (number, name) in (1..).zip(&names) {
        let rows = "7\t7\n".repeat(30);
        let text = format!(
            "insert into marks values ({number}, 1);\ncopy marks from stdin;\n{rows}\\.\ncopy marks from stdin;\n{rows}\\.\n"
        );
        step = step.file(&format!("migrations/{name}.sql"), text);
    }
    step.run().succeeds().applied(["0_marks"].into_iter().chain(names.iter().map(String::as_str))).done();
    assert_eq!(lab.database.sql("select count(*) from marks"), "366");
}
