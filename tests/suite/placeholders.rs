//! Placeholders of Flyway and variables of goose that `placeholders` fills in.

use crate::{action::Action, judge::Finished, lab::Lab};

const LONG: &str = "a_name_that_is_much_longer_than_its_placeholder";

fn flyway<'l>(lab: &'l Lab, placeholders: &str) -> Action<'l> {
    Action::new(lab).input("layout", "flyway").input("placeholders", placeholders)
}

fn digest(done: &Finished) -> String {
    done.outputs.get("plan-digest").cloned().expect("there is a plan")
}

#[test]
fn an_error_is_shown_at_its_place_in_the_file() {
    let lab = Lab::new();
    let text = "create table a ();\ncreate table ${x} (id int); select '${x}', oops;\n";
    let failed = flyway(&lab, &format!("x={LONG}")).file("migrations/V1__a.sql", text).run();
    let failed = failed.fails("statement-failed", 6).pending(["V1__a"]);
    let failed = failed.annotation("migrations/V1__a.sql", 2, "column \"oops\" does not exist");
    let line = "create table ${x} (id int); select '${x}', oops;";
    let caret = " ".repeat(line.find("oops").unwrap());
    failed
        .logs(&format!("migrations/V1__a.sql:2:{}", line.find("oops").unwrap() + 1))
        .logs(&format!("   | {line}\n   | {caret}^"))
        .never_logs(LONG)
        .done();
    // A fault that is found before anything is sent.
    let text = "select '${x}'; select 'no end;\n";
    let refused = flyway(&lab, &format!("x={LONG}")).file("migrations/V1__a.sql", text).run().fails("file-syntax", 2);
    let column = text.find("'no end").unwrap() + 1;
    refused.annotation("migrations/V1__a.sql", 1, "").logs(&format!("migrations/V1__a.sql:1:{column}")).done();
}

#[test]
fn a_value_from_a_variable_is_on_no_surface_and_a_value_of_a_secret_name_neither() {
    let lab = Lab::new();
    let text = "do $$ begin raise notice 'it is ${READER_WORD}'; end $$;\nselect ('${READER_WORD}' || '${reader_password}')::int;\n";
    let step = flyway(&lab, "READER_WORD\nreader_password=hunter2-and-more").file("migrations/V1__a.sql", text);
    let failed = step.secret_env("READER_WORD", "correct horse").hides("hunter2-and-more").run();
    let failed = failed.fails("statement-failed", 6).pending(["V1__a"]).logs("it is ***");
    failed.annotation("migrations/V1__a.sql", 2, "invalid input syntax for type integer: \"***\"").done();
}

#[test]
fn a_line_that_is_no_pair_is_refused_without_its_text() {
    let lab = Lab::new();
    let step = |placeholders: &str| flyway(&lab, placeholders).file("migrations/V1__a.sql", "select 1;");
    let refused = step("a=b\nTop secret text").hides("Top secret text").run().fails("input-invalid", 2);
    refused.error("line 2 of `placeholders` is not `NAME=value`").done();
    let unset = step("NOT_THERE").run().fails("input-missing", 2);
    unset.error("names `NOT_THERE`, which has no value in the environment").done();
    let broken = step("TWO_LINES").env("TWO_LINES", "the first line\nthe second line").run().fails("input-invalid", 2);
    broken.error("the value of `TWO_LINES` in `placeholders` has a line break").done();
}

#[test]
fn a_repeatable_migration_runs_again_when_a_value_has_changed_and_a_versioned_one_does_not() {
    let lab = Lab::new();
    let step = |value: &str| {
        let step =
            flyway(&lab, &format!("n={value}")).file("migrations/V1__a.sql", "create table a (n int default ${n});\n");
        step.file("migrations/R__v.sql", "create or replace view v as select ${n} as n;\n")
    };
    step("1").run().succeeds().applied(["V1__a", "R__v"]).done();
    step("1").run().nothing_to_do().done();
    step("2").run().succeeds().applied(["R__v"]).done();
    assert_eq!(lab.database.sql("select n from v"), "2");
    // Flyway of old recorded the checksum of the file (`getEquivalentChecksumForLoadableResource`): the versioned file
    // with the same text shows which it is.
    let other = Lab::new();
    let text = "create or replace view v as select ${n} as n;\n";
    let step = |file: &str| flyway(&other, "n=1").file(file, text);
    step("migrations/V1__v.sql").run().succeeds().applied(["V1__v"]).done();
    other.database.sql("update flyway_schema_history set version = null, description = 'v', script = 'R__v.sql'");
    step("migrations/R__v.sql").run().nothing_to_do().done();
}

#[test]
fn goose_undoes_with_the_same_values() {
    let lab = Lab::new();
    let text = "-- +goose Up\n-- +goose ENVSUB ON\ncreate table $NAME ();\n-- +goose Down\ndrop table $NAME;\n";
    let step = || Action::new(&lab).file("migrations/00001_a.sql", text).input("placeholders", "NAME=filled_in");
    step().run().succeeds().applied(["00001_a"]).done();
    let back = step().input("command", "rollback").input("target", "0").run().succeeds();
    back.pending(["00001_a"]).done();
    assert_eq!(lab.database.sql("select to_regclass('filled_in')"), "");
}

#[test]
fn a_digest_covers_the_values_that_may_be_shown() {
    let lab = Lab::new();
    let plan = |placeholders: &str| {
        let step = flyway(&lab, placeholders).file("migrations/V1__a.sql", "select '${x}', '${PASSWORD}';\n");
        let planned = step.input("command", "plan").run().has_pending().pending(["V1__a"]);
        let digest = digest(&planned);
        planned.done();
        digest
    };
    let first = plan("x=1\nPASSWORD=long-enough");
    assert_ne!(plan("x=2\nPASSWORD=long-enough"), first);
    assert_eq!(plan("x=1\nPASSWORD=another-one"), first);
}
