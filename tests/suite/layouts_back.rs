//! The way back, and recording without applying, for every layout.

use crate::{
    action::Action,
    lab::{Lab, gate::Gate},
    layout_forms::{FORMS, Form, ONE, TWO, UNDO_ONE, UNDO_TWO, WITH_WAY_BACK},
};
use rustix::process::Signal;
use std::time::Duration;

/// Time limit from the first signal to the end.
const BUDGET: Duration = Duration::from_secs(7);

fn forms(with_way_back: &[&str]) -> impl Iterator<Item = &'static Form> {
    FORMS.iter().filter(|form| with_way_back.contains(&form.layout))
}

fn with_undo<'a>(form: &Form, lab: &'a Lab, undo_two: &str) -> Action<'a> {
    let step = form.reversible(form.step(Action::new(lab)), 1, "one", ONE, UNDO_ONE);
    form.reversible(step, 2, "two", TWO, undo_two)
}

fn step<'a>(form: &Form, lab: &'a Lab) -> Action<'a> {
    with_undo(form, lab, UNDO_TWO)
}

fn tables(lab: &Lab) -> String {
    lab.database.sql("select to_regclass('one') is not null, to_regclass('two') is not null")
}

fn apply(form: &Form, lab: &Lab) {
    let labels = [form.label(1, "one"), form.label(2, "two")];
    step(form, lab).run().succeeds().applied(labels.each_ref().map(String::as_str)).done();
}

#[test]
fn a_rollback_undoes_the_migrations_after_the_target_and_removes_their_rows() {
    for form in forms(&WITH_WAY_BACK) {
        let lab = Lab::new();
        apply(form, &lab);
        let two = form.label(2, "two");
        let back = || step(form, &lab).input("command", "rollback").input("target", form.version(1));
        back().run().succeeds().pending([two.as_str()]).logs("to roll back").logs("rolled back ").done();
        assert_eq!(tables(&lab), "t|f", "{}", form.layout);
        // The ledger is the same as if the migration had never been applied.
        let other = Lab::new();
        let only_one = form.reversible(form.step(Action::new(&other)), 1, "one", ONE, UNDO_ONE);
        only_one.run().succeeds().applied([form.label(1, "one").as_str()]).done();
        assert_eq!(lab.database.sql(form.rows), other.database.sql(form.rows), "{}", form.layout);
        back().run().nothing_to_do().done();
        step(form, &lab).run().succeeds().applied([two.as_str()]).done();
        assert_eq!(tables(&lab), "t|t", "{}", form.layout);
        step(form, &lab).input("command", "verify").run().succeeds().done();
    }
}

#[test]
fn a_rollback_to_0_undoes_all_migrations_the_newest_first() {
    for form in forms(&WITH_WAY_BACK) {
        let lab = Lab::new();
        let step = || {
            let step = form.reversible(form.step(Action::new(&lab)), 1, "one", ONE, UNDO_ONE);
            let two = "create table two (id int);\nalter table one add primary key (id);\n";
            form.reversible(step, 2, "two", two, "alter table one drop constraint one_pkey;\ndrop table two;\n")
        };
        let labels = [form.label(1, "one"), form.label(2, "two")];
        step().run().succeeds().applied(labels.each_ref().map(String::as_str)).done();
        let back = step().input("command", "rollback").input("target", "0").run().succeeds();
        back.pending([labels[1].as_str(), labels[0].as_str()]).done();
        assert_eq!(tables(&lab), "f|f", "{}", form.layout);
        step().run().succeeds().applied(labels.each_ref().map(String::as_str)).done();
        assert_eq!(tables(&lab), "t|t", "{}", form.layout);
    }
}

#[test]
fn a_way_back_that_fails_leaves_its_migration_applied() {
    for form in forms(&WITH_WAY_BACK) {
        let lab = Lab::new();
        apply(form, &lab);
        let failed = with_undo(form, &lab, "drop table two;\nselect 1/0;\n").input("command", "rollback");
        failed.input("target", "0").run().fails("statement-failed", 6).logs("division by zero").done();
        assert_eq!(tables(&lab), "t|t", "{}", form.layout);
        assert_eq!(lab.database.sql(form.rows), form.golden, "{}", form.layout);
    }
}

#[test]
fn a_migration_without_a_way_back_is_named_before_anything_is_undone() {
    for form in FORMS.iter().filter(|form| !WITH_WAY_BACK.contains(&form.layout)) {
        let lab = Lab::new();
        apply(form, &lab);
        let refused = step(form, &lab).input("command", "rollback").input("target", form.version(1)).run();
        refused.fails("no-way-back", 5).logs("can't be undone").done();
        assert_eq!(lab.database.sql(form.rows), form.golden, "{}", form.layout);
    }
}

#[test]
fn a_rollback_to_a_version_that_is_not_applied_is_refused() {
    for form in forms(&WITH_WAY_BACK) {
        let lab = Lab::new();
        apply(form, &lab);
        let refused = step(form, &lab).input("command", "rollback").input("target", "7").run();
        refused.fails("target-unknown", 2).error("which `target` names, is not applied").done();
        assert_eq!(tables(&lab), "t|t", "{}", form.layout);
    }
}

#[test]
fn an_approved_plan_of_applying_is_none_of_going_back() {
    let lab = Lab::new();
    let form = &FORMS[0];
    apply(form, &lab);
    let back = || step(form, &lab).input("command", "rollback").input("target", "1");
    let refused = back().input("expect-plan", format!("sha256:{}", "0".repeat(64))).run();
    let digest = refused.outputs["plan-digest"].clone();
    refused.fails("plan-changed", 5).done();
    let other = with_undo(form, &lab, "drop table two cascade;\n").input("command", "rollback").input("target", "1");
    other.input("expect-plan", &digest).run().fails("plan-changed", 5).done();
    assert_eq!(tables(&lab), "t|t");
    back().input("expect-plan", &digest).run().succeeds().pending(["0002_two"]).done();
    assert_eq!(tables(&lab), "t|f");
}

#[test]
fn a_killed_or_stopped_rollback_leaves_ledger_and_schema_in_agreement() {
    for form in forms(&WITH_WAY_BACK) {
        let lab = Lab::new();
        apply(form, &lab);
        for kill in [true, false] {
            let gate = Gate::close(&lab.database, 7);
            let undo = format!("drop table two;\n{}", Gate::sql(7));
            let action = with_undo(form, &lab, &undo).input("command", "rollback").input("target", "0");
            let running = action.input("lock-timeout", "0").start();
            gate.wait_until_reached();
            if kill {
                running.kill();
                assert_eq!(lab.left_behind(), "", "{}", form.layout);
            } else {
                running.signal(Signal::INT);
                running.finish().fails("cancelled", 130).within(BUDGET).done();
            }
            gate.open();
            assert_eq!(tables(&lab), "t|t", "{}", form.layout);
            assert_eq!(lab.database.sql(form.rows), form.golden, "{}", form.layout);
        }
        let back = step(form, &lab).input("command", "rollback").input("target", "0").run().succeeds();
        back.pending([form.label(2, "two").as_str(), form.label(1, "one").as_str()]).done();
        assert_eq!(tables(&lab), "f|f", "{}", form.layout);
    }
}

#[test]
fn a_way_back_without_a_transaction_resumes_and_no_other_direction_is_taken_meanwhile() {
    let lab = Lab::new();
    let files = |undo: &str| {
        Action::new(&lab)
            .file("migrations/0001_one.sql", ONE)
            .file("migrations/0002_index.sql", "create index concurrently one_id on one (id);\n")
            .file("migrations/0002_index.down.sql", undo)
    };
    files("").run().succeeds().applied(["0001_one", "0002_index"]).done();
    let back = |undo: &str| files(undo).input("command", "rollback").input("target", "1");
    let undo = "-- no-transaction\ndrop index concurrently one_id;\n";
    back(&format!("{undo}select 1/0;\n"))
        .run()
        .fails("statement-failed", 6)
        .logs("the next run resumes with it")
        .done();
    files(undo).run().fails("ledger-dirty", 5).error("version 2 is undone in part").done();
    back(undo).run().succeeds().pending(["0002_index"]).done();
    assert_eq!(lab.database.sql("select to_regclass('one_id') is null, count(*) from bastion_migrate.ledger"), "t|1");
    files(undo).run().succeeds().applied(["0002_index"]).done();
}

#[test]
fn a_baseline_records_up_to_the_target_and_runs_nothing() {
    for form in FORMS {
        let lab = Lab::new();
        lab.database.sql(&format!("set role app; {ONE}"));
        let (one, two) = (form.label(1, "one"), form.label(2, "two"));
        let baseline = || step(form, &lab).input("command", "baseline").input("target", form.version(1));
        let recorded = baseline().run().succeeds().applied([one.as_str()]).logs("1 migration to record");
        recorded.logs("without applying it").never_logs("  applying ").done();
        assert_eq!(tables(&lab), "t|f", "{}", form.layout);
        baseline().run().nothing_to_do().done();
        step(form, &lab).run().succeeds().applied([two.as_str()]).done();
        assert_eq!(lab.database.sql(form.rows), form.golden, "{}", form.layout);
    }
}

#[test]
fn a_long_file_is_recorded_without_being_sent() {
    let lab = Lab::new();
    let text = "select 1/0;\n".repeat(120_000);
    let files = || Action::new(&lab).file("migrations/0001_long.sql", &text);
    files().input("command", "baseline").run().succeeds().applied(["0001_long"]).done();
    files().run().nothing_to_do().done();
}

#[test]
fn a_program_that_would_have_to_be_undone_is_named() {
    let lab = Lab::new();
    lab.database.sql(
        "set role app; create table a (); create table goose_db_version (id serial primary key, version_id bigint not null, \
         is_applied boolean not null, tstamp timestamp default now()); \
         insert into goose_db_version (version_id, is_applied) values (0, true), (1, true), (2, true)",
    );
    let step = Action::new(&lab)
        .file("migrations/00001_a.sql", "-- +goose Up\ncreate table a ();\n-- +goose Down\ndrop table a;\n")
        .file("migrations/00002_fill.go", "package migrations\n");
    let refused = step.input("command", "rollback").input("target", "0").run();
    refused.fails("no-way-back", 5).error("it is a program, and only goose can run it").done();
    assert_eq!(lab.database.sql("select to_regclass('a') is not null, count(*) from goose_db_version"), "t|3");
}
