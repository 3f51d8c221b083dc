//! A statement that the server rejects is reported at its position in the file, with a fix.

use crate::{action::Action, judge::Finished, lab::Lab};

const FILE: &str = "migrations/0001_a.sql";

/// Runs this text as a migration after `before` and checks that it leaves nothing behind.
fn fails(before: &str, text: &str, judge: impl FnOnce(Finished) -> Finished) {
    let lab = Lab::new();
    lab.database.sql(before);
    let contents_before = lab.database.contents();
    judge(Action::new(&lab).file(FILE, text).run()).pending(["0001_a"]).done();
    let contents_after = lab.database.contents();
    let ledger = |line: &&str| !line.starts_with("bastion_migrate");
    assert_eq!(contents_after.lines().filter(ledger).collect::<Vec<_>>().join("\n"), contents_before);
    assert_eq!(lab.database.sql("select count(*) from bastion_migrate.ledger"), "0");
}

#[test]
fn a_syntax_error_is_reported_at_its_position() {
    fails("", "create table a ();\n\n  create tabel b ();\n", |done| {
        done.fails("statement-failed", 6)
            .annotation(FILE, 3, "syntax error at or near \"tabel\"")
            .logs("--> migrations/0001_a.sql:3:10")
            .logs("   |   create tabel b ();\n   |          ^")
            .logs("SQLSTATE 42601")
            .summary("create tabel b ();")
    });
}

#[test]
fn columns_are_counted_in_characters() {
    fails("", "-- größer 🚀\ncomment on table ünïcödé is 'x'; select 'äöü', oops;\n", |done| {
        done.fails("statement-failed", 6)
            .annotation(FILE, 2, "\"ünïcödé\" does not exist")
            .logs("--> migrations/0001_a.sql:2:1\n")
    });
    fails("", "-- größer 🚀\nselect 'äöü', '🚀', oops;\n", |done| {
        done.fails("statement-failed", 6)
            .annotation(FILE, 2, "column \"oops\" does not exist")
            .logs("--> migrations/0001_a.sql:2:20\n")
    });
}

#[test]
fn a_byte_order_mark_and_windows_line_ends_do_not_shift_positions() {
    fails("", "\u{feff}select oops;\r\n", |done| {
        done.fails("statement-failed", 6).annotation(FILE, 1, "oops").logs("--> migrations/0001_a.sql:1:8\n")
    });
    fails("", "\u{feff}create table a ();\r\n\r\nselect oops;\r\n", |done| {
        done.fails("statement-failed", 6).annotation(FILE, 3, "oops").logs("--> migrations/0001_a.sql:3:8\n")
    });
}

#[test]
fn an_object_that_already_exists_is_reported_with_advice() {
    fails(
        "create table b ()",
        "create table a ();\n-- a comment; with a semicolon\ncreate table b ();\ncreate table c ();\n",
        |done| {
            done.fails("statement-failed", 6)
                .annotation(FILE, 3, "relation \"b\" already exists")
                .logs("SQLSTATE 42P07")
                .logs("fix: the object is already there although the ledger does not record this file")
        },
    );
}

#[test]
fn a_duplicate_key_is_reported_at_its_statement() {
    let text = "create table a (id int primary key);\ninsert into a\nvalues (1);\n\ninsert into a values\n  (2), (1);\n\
                insert into a values (3);\n";
    fails("", text, |done| {
        done.fails("statement-failed", 6)
            .annotation(FILE, 5, "duplicate key value violates unique constraint \"a_pkey\"")
            .logs("SQLSTATE 23505")
            .logs("detail: Key (id)=(1) already exists.")
    });
}

#[test]
fn a_violated_deferred_constraint_is_reported_as_found_at_the_end() {
    let text = "create table a (id int primary key);\n\
                create table b (a int references a deferrable initially deferred);\ninsert into b values (1);\n";
    fails("", text, |done| {
        done.fails("statement-failed", 6)
            .error_in(FILE, "violates foreign key constraint")
            .logs("this was found when deferred constraints were checked at the end of the file")
    });
}

#[test]
fn an_error_in_a_do_block_is_reported_at_its_line() {
    let text = "create table a (id int);\ndo $$\nbegin\n  insert into a values (1);\n  perform 1 / (id - 1) from a;\nend $$;\n";
    fails("", text, |done| {
        done.fails("statement-failed", 6).annotation(FILE, 5, "division by zero").logs("SQLSTATE 22012")
    });
}

#[test]
fn an_error_in_copy_data_is_reported_at_its_row() {
    let text = "create table a (id int);\ncopy a from stdin;\n1\ntwo\n3\n\\.\nselect 1;\n";
    fails("", text, |done| {
        done.fails("statement-failed", 6).annotation(FILE, 4, "invalid input syntax for type integer: \"two\"")
    });
}

#[test]
fn a_missing_privilege_is_reported_with_advice() {
    fails("create table theirs (id int)", "create table a ();\nalter table theirs add name text;\n", |done| {
        done.fails("permission-denied", 6)
            .annotation(FILE, 2, "must be owner of table theirs")
            .logs("SQLSTATE 42501")
            .logs("fix: grant the right to the role in `database-url`, or use the role that owns the object")
    });
}

#[test]
fn a_statement_that_the_server_refuses_in_a_transaction_is_reported_with_working_advice() {
    let before = "set role app; create table parts (id int) partition by range (id)";
    let text = "\nreindex table parts;\n";
    fails(before, text, |done| {
        done.fails("statement-failed", 6)
            .annotation(FILE, 2, "REINDEX TABLE cannot run inside a transaction block")
            .logs("SQLSTATE 25001")
            .logs("put it into a file of its own with `-- no-transaction` on the first line")
    });
    // The advice works.
    let lab = Lab::new();
    lab.database.sql(before);
    Action::new(&lab).file(FILE, format!("-- no-transaction{text}")).run().succeeds().applied(["0001_a"]).done();
}

#[test]
fn files_after_a_failing_one_have_no_effect() {
    let lab = Lab::new();
    Action::new(&lab)
        .file("migrations/0001_a.sql", "create table a ();")
        .file("migrations/0002_b.sql", "create table b ();\nselect 1 / 0;\n")
        .file("migrations/0003_c.sql", "create table c ();")
        .run()
        .fails("statement-failed", 6)
        .annotation("migrations/0002_b.sql", 2, "division by zero")
        .applied(["0001_a"])
        .pending(["0002_b", "0003_c"])
        .done();
    assert_eq!(lab.database.contents(), "a\nbastion_migrate\nbastion_migrate.ledger");
}
