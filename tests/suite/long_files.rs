//! Files that are too long to be held in memory. They are read in parts, and again while they are sent.

use crate::{
    action::Action,
    figures::{DATA_LIMIT, peak_data},
    lab::{Lab, gate::Gate},
};
use std::{fmt::Write as _, fs};

fn one_file<'a>(lab: &'a Lab, text: &str) -> Action<'a> {
    Action::new(lab).file("migrations/0001_long.sql", text)
}

/// Returns statements of at least this length in bytes, without an effect.
fn filler(length: usize) -> String {
    let statement = format!("select /* {} */ 1;\n", "é".repeat(500));
    statement.repeat(length / statement.len() + 1)
}

#[test]
fn a_long_file_is_never_in_memory_as_a_whole() {
    let lines = |line: &str, length: usize| line.repeat(length / line.len());
    let wide = format!("insert into long values ('{}');\n", "x".repeat(1000));
    for (shape, text, rows) in [
        ("long statements", lines(&wide, 32 << 20), (32 << 20) / wide.len()),
        ("short statements", lines("insert into long values ('a');\n", 6 << 20), (6 << 20) / 31),
        ("statements in one line", lines("insert into long values ('a');", 4 << 20), (4 << 20) / 30),
        ("rows", format!("copy long from stdin;\n{}\\.\n", lines("abcdefghijklmno\n", 64 << 20)), 4 << 20),
    ] {
        let lab = Lab::new();
        let running = one_file(&lab, &format!("create table long (text text);\n{text}")).start();
        let peak = peak_data(running.pid());
        running.finish().succeeds().applied(["0001_long"]).done();
        assert_eq!(lab.database.sql("select count(*) from long"), rows.to_string(), "{shape}");
        eprintln!("{shape}, {} KiB: {} KiB at most", text.len() >> 10, peak >> 10);
        assert!(peak > 0 && peak < DATA_LIMIT, "{shape}: {peak} bytes");
    }
}

#[test]
fn every_part_of_a_long_file_arrives_in_order() {
    let lab = Lab::new();
    let mut text =
        "\u{feff}\\restrict k1\nset transaction isolation level serializable;\ncreate table t (id int, text text);\n"
            .to_owned();
    for number in 0..4 {
        text.push_str(&filler(900 << 10));
        text.push_str("copy t from stdin;\n");
        for row in 0..20_000 {
            writeln!(text, "{row}\té {number} {}", "y".repeat(50)).expect("a string takes everything");
        }
        text.push_str("\\.\n\\unrestrict k1\n");
        writeln!(text, "insert into t select -1, '{}';", "ß".repeat(700_000)).expect("a string takes everything");
    }
    text.push_str("create table level as select current_setting('transaction_isolation') as name");
    one_file(&lab, &text).run().succeeds().applied(["0001_long"]).done();
    assert_eq!(
        lab.database.sql("select name from level; select count(*), sum(length(text)) from t where id = -1"),
        "serializable\n4|2800000"
    );
    assert_eq!(
        lab.database.sql("select count(distinct text), sum(id), count(*) from t where id >= 0"),
        "4|799960000|80000"
    );
}

#[test]
fn an_error_in_a_long_file_is_shown_at_its_place() {
    let before = format!("{}{}", "\u{feff}", filler(2 << 20));
    let line = before.matches('\n').count() + 1;
    let after = filler(2 << 20);
    for (text, lines_before, shown) in [
        ("select 'ü', oops;\n".to_owned(), 0, "oops"),
        ("create table t (id int);\nselect 1; select 'ü', oops;\n".to_owned(), 1, "oops"),
        ("do $$\nbegin\n  raise 'broken';\nend $$;\n".to_owned(), 2, "broken"),
        (
            format!(
                "create table t (id int);\ncopy t from stdin;\n{}zero\n{}\\.\n",
                "1\n".repeat(700_000),
                "2\n".repeat(700_000)
            ),
            700_002,
            "zero",
        ),
    ] {
        let lab = Lab::new();
        one_file(&lab, &format!("{before}{text}{after}"))
            .run()
            .fails("statement-failed", 6)
            .pending(["0001_long"])
            .annotation("migrations/0001_long.sql", line + lines_before, shown)
            .done();
        assert_eq!(lab.database.sql("select to_regclass('t')"), "");
    }
}

#[test]
fn a_fault_in_a_long_file_is_shown_at_its_place() {
    let before = filler(2 << 20);
    let line = before.matches('\n').count() + 1;
    let after = filler(1 << 20);
    for (text, code, shown) in [
        ("\\connect other\n", "psql-command", "\\connect"),
        ("commit;\n", "own-transaction", "commit"),
        ("-- migrate:down\n", "undo-section", "-- migrate:down"),
        ("select 'x;\n", "file-syntax", "is never closed"),
        ("prepare transaction 'x';\n", "own-transaction", "PREPARE TRANSACTION"),
        ("vacuum;\n", "mixed-file", "VACUUM"),
        ("select 'a\0b';\n", "file-not-utf8", "a NUL byte"),
    ] {
        let lab = Lab::new();
        one_file(&lab, &format!("{before}{text}{after}"))
            .input("layout", "plain")
            .run()
            .fails(code, 2)
            .annotation("migrations/0001_long.sql", line, shown)
            .done();
        assert_eq!(lab.database.contents(), "");
    }
}

#[test]
fn a_long_file_without_a_transaction_runs_statement_by_statement() {
    let lab = Lab::new();
    let text = format!(
        "-- no-transaction\ncreate table t (text text);\ninsert into t values ('{}');\ncreate index concurrently i on t (md5(text));\n",
        "x".repeat(3 << 20)
    );
    one_file(&lab, &text).run().succeeds().applied(["0001_long"]).done();
    assert_eq!(
        lab.database.sql("select indisvalid, length(text) from t, pg_index where indexrelid = 'i'::regclass"),
        "t|3145728"
    );
}

#[test]
fn a_long_file_that_is_changed_while_it_is_sent_is_rolled_back() {
    let lab = Lab::new();
    let (statement, other) = ("insert into t values (1);\n", "insert into t values (2);\n");
    let text = |statement: &str| {
        format!("create table t (id int);\n{}\n{}{}", Gate::sql(1), filler(3 << 20), statement.repeat(10))
    };
    let gate = Gate::close(&lab.database, 1);
    let action = one_file(&lab, &text(statement));
    let path = action.workspace().join("migrations/0001_long.sql");
    let running = action.start();
    gate.wait_until_reached();
    fs::write(path, text(other)).expect("the workspace can be written to");
    gate.open();
    running
        .finish()
        .fails("file-changed", 5)
        .pending(["0001_long"])
        .error_in("migrations/0001_long.sql", "was changed while the run was under way")
        .done();
    assert_eq!(lab.database.sql("select to_regclass('t')"), "");
    one_file(&lab, &text(statement)).run().succeeds().applied(["0001_long"]).done();
    assert_eq!(lab.database.sql("select sum(id) from t"), "10");
}
