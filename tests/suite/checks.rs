//! Checks that a file demands before and after its own statements.

use crate::{action::Action, lab::Lab, layout_forms::FORMS};

const TABLE: &str = "create table users (id int primary key, email text); insert into users values (1, 'a'), (2, null); alter table users owner to app;";

#[test]
fn a_file_whose_checks_are_true_is_applied() {
    let lab = Lab::new();
    lab.database.sql(TABLE);
    let file = "-- check before: select count(*) > 0 from users\n\
                -- check before: select id from users where id < 0\n\
                update users set email = 'none' where email is null;\n\
                -- check after: select count(*) = 0, true from users where email is null;\n\
                -- check after: select email is not null from users\n";
    Action::new(&lab).file("migrations/0001_emails.sql", file).run().succeeds().applied(["0001_emails"]).done();
    assert_eq!(lab.database.sql("select count(*) from users where email = 'none'"), "1");
}

#[test]
fn a_check_before_the_file_that_fails_leaves_the_database_as_it_was() {
    let lab = Lab::new();
    lab.database.sql(TABLE);
    let file = "create index on users (email);\n-- check before: select email is not null as filled from users\n";
    let failed =
        Action::new(&lab).file("migrations/0001_ok.sql", "create table ok ();").file("migrations/0002_no.sql", file);
    let failed = failed.file("migrations/0003_never.sql", "create table never ();").run().fails("check-failed", 6);
    let failed = failed.applied(["0001_ok"]).pending(["0002_no", "0003_never"]);
    let failed = failed.annotation("migrations/0002_no.sql", 2, "returned {\"filled\": false}");
    failed.logs("nothing of the file was executed").logs("select email is not null as filled from users").done();
    assert_eq!(lab.database.sql("select count(*) from pg_indexes where tablename = 'users'"), "1");
}

#[test]
fn a_check_after_the_file_that_fails_rolls_it_back() {
    let lab = Lab::new();
    lab.database.sql(TABLE);
    let file = "update users set email = 'x' where id = 1;\n-- check after: select id from users where email is null\n";
    let failed = Action::new(&lab).file("migrations/0001_a.sql", file).run().fails("check-failed", 6);
    let failed = failed.pending(["0001_a"]).annotation("migrations/0001_a.sql", 2, "returned {\"id\": 2}");
    failed.logs("the file was rolled back").done();
    assert_eq!(lab.database.sql("select email from users where id = 1"), "a");
    // The next run makes the check again.
    lab.database.sql("delete from users where id = 2");
    Action::new(&lab).file("migrations/0001_a.sql", file).run().succeeds().applied(["0001_a"]).done();
}

#[test]
fn a_check_counts_as_true_only_if_it_is_a_boolean_that_is_true() {
    for (query, row) in [
        ("select null::boolean as a", "{\"a\": null}"),
        ("select 1 as a", "{\"a\": 1}"),
        ("select 'true' as a", "{\"a\": \"true\"}"),
        ("select true as a, false as b", "false"),
        ("values (false)", "{\"column1\": false}"),
        ("select from generate_series(1, 1)", "{}"),
    ] {
        let lab = Lab::new();
        let file = format!("-- check before: {query}\ncreate table a ();\n");
        let failed = Action::new(&lab).file("migrations/0001_a.sql", &file).run().fails("check-failed", 6);
        failed.pending(["0001_a"]).annotation("migrations/0001_a.sql", 1, row).done();
    }
}

#[test]
fn a_check_that_is_no_valid_query_is_an_error_of_its_file() {
    let lab = Lab::new();
    let file = "-- check before: select true\n-- check before: select true from no_such_table\ncreate table a ();\n";
    let failed = Action::new(&lab).file("migrations/0001_a.sql", file).run().fails("statement-failed", 6);
    let cause = "the check before the file failed: relation \"no_such_table\" does not exist";
    failed.pending(["0001_a"]).annotation("migrations/0001_a.sql", 2, cause).done();
}

#[test]
fn a_check_in_a_file_without_a_transaction_is_refused() {
    let lab = Lab::new();
    let file = "-- check before: select true\ncreate index concurrently i on users (id);\n";
    let refused = Action::new(&lab).file("migrations/0001_a.sql", file).run().fails("statement-refused", 2);
    refused.annotation("migrations/0001_a.sql", 1, "the check is made in the transaction of its file").done();
}

#[test]
fn a_check_runs_with_the_settings_of_the_file_and_trusts_nothing_on_its_path() {
    let lab = Lab::new();
    lab.database.sql(
        "create schema shop; create table shop.users (id int); insert into shop.users values (1); \
         grant all on schema shop to app; grant select on shop.users to app",
    );
    let path = "alter database {} set search_path to shop, public".replace("{}", lab.database.name());
    lab.database.sql(&path);
    lab.database.sql(
        "create function shop.jsonb_each(jsonb) returns table (key text, value jsonb) language sql as $$select 'a', 'true'::jsonb$$; \
         create function shop.bool_and(boolean) returns boolean language sql as $$select true$$",
    );
    let file =
        "-- check before: select count(*) = 1 from users\n-- check after: select false as a\ncreate table a ();\n";
    let failed = Action::new(&lab).file("migrations/0001_a.sql", file).run().fails("check-failed", 6);
    failed.pending(["0001_a"]).annotation("migrations/0001_a.sql", 2, "returned {\"a\": false}").done();
}

#[test]
fn rows_of_a_copy_are_no_checks_and_a_long_file_has_checks_too() {
    let lab = Lab::new();
    let rows = "-- check after: select false\n".to_owned();
    let copy = format!(
        "create table lines (line text);\nCOPY lines FROM stdin;\n{rows}\\.\n-- check after: select count(*) = 1 from lines\n"
    );
    let padding = "insert into lines values ('x');\n".repeat(50_000);
    let long = format!(
        "-- check before: select count(*) = 1 from lines\n{padding}-- check after: select count(*) = 50002 from lines\n"
    );
    let step =
        |long: &str| Action::new(&lab).file("migrations/0001_copy.sql", &copy).file("migrations/0002_long.sql", long);
    let failed = step(&long).run().fails("check-failed", 6).applied(["0001_copy"]).pending(["0002_long"]);
    failed.annotation("migrations/0002_long.sql", 50_002, "returned {\"?column?\": false}").done();
    step(&long.replace("50002", "50001")).run().succeeds().applied(["0002_long"]).done();
}

#[test]
fn every_layout_has_checks_in_the_part_that_is_executed() {
    for form in FORMS {
        eprintln!("layout {}", form.layout);
        let lab = Lab::new();
        let up = |after: &str| {
            format!(
                "-- check before: select to_regclass('one') is null\ncreate table one (id int);\n-- check after: select {after}\n"
            )
        };
        let down = "-- check before: select false\ndrop table one;\n";
        let failed = form.reversible(form.step(Action::new(&lab)), 1, "one", &up("false as wrong"), down);
        let label = form.label(1, "one");
        let failed = failed.run().fails("check-failed", 6).pending([label.as_str()]);
        let texts = form.texts(1, "one", &up("false as wrong"));
        let (path, text) = texts.first().expect("there is a file");
        let line = text.lines().position(|line| line.starts_with("-- check after")).expect("it has the check") + 1;
        failed.annotation(&format!("migrations/{path}"), line, "returned {\"wrong\": false}").done();
        assert_eq!(lab.database.sql("select to_regclass('one')"), "", "{}", form.layout);
        let step = form.reversible(form.step(Action::new(&lab)), 1, "one", &up("to_regclass('one') is not null"), down);
        step.run().succeeds().applied([label.as_str()]).done();
    }
}
