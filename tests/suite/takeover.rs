//! `command: baseline` with `from`: plain files take over the ledger of a tool that is no longer used.

use crate::{
    action::Action,
    judge::Finished,
    lab::Lab,
    layout_forms::{FORMS, Form, ONE, TWO},
    shapes::LEDGERS,
};
use bastion_migrate::layout::SourceTool;
use serde::Deserialize;

/// Statements that fail if they are run again.
const TEXTS: [&str; 2] = [ONE, TWO];

/// A migration in the output `applied`.
#[derive(Debug, Deserialize)]
struct Applied {
    version: String,
    name: String,
}

/// Returns the names of plain files with the versions of these migrations.
fn plain_names(migrated: &Finished) -> [String; 2] {
    let applied = migrated.outputs.get("applied").expect("there is a list");
    let applied: [Applied; 2] = serde_json::from_str(applied).expect("it has both migrations");
    applied.map(|Applied { version, name }| if version == name { version } else { format!("{version}_{name}") })
}

/// Applies both migrations as the tool of this layout does, and returns the names of plain files in their place.
fn applied_by(form: &Form, lab: &Lab) -> [String; 2] {
    let migrated = form.golden_files(form.step(Action::new(lab))).run().succeeds();
    let names = plain_names(&migrated);
    migrated.applied([form.label(1, "one").as_str(), form.label(2, "two").as_str()]).done();
    names
}

fn plain<'l>(lab: &'l Lab, names: &[String]) -> Action<'l> {
    let files = names.iter().zip(TEXTS.iter().chain(["create table three ();\n"].iter()));
    let step = Action::new(lab).input("layout", "plain");
    files.fold(step, |step, (name, text)| step.file(&format!("migrations/{name}.sql"), *text))
}

fn baseline<'l>(lab: &'l Lab, names: &[String], from: &str) -> Action<'l> {
    plain(lab, names).input("command", "baseline").input("from", from)
}

fn foreign_forms() -> impl Iterator<Item = &'static Form> {
    FORMS.iter().filter(|form| form.layout != "plain")
}

#[test]
fn plain_files_take_over_the_ledger_of_each_tool_and_go_on_alone() {
    for form in foreign_forms() {
        eprintln!("layout {}", form.layout);
        let lab = Lab::new();
        let [one, two] = applied_by(form, &lab);
        let three = "20300101000000_three".to_owned();
        let all = [one.clone(), two.clone(), three.clone()];
        let refused = plain(&lab, &all).run().fails("ledger-foreign", 5);
        let (_, advice) = refused
            .rendered_log()
            .split_once("run `command: baseline` with `from: ")
            .map(|(a, b)| (a.to_owned(), b.to_owned()))
            .unwrap();
        let from = advice.split('`').next().unwrap().to_owned();
        refused.error("has some").done();
        // The advice, exactly as it is written, and the name alone.
        for from in [from.as_str(), form.layout] {
            let taken = baseline(&lab, &all, from).run();
            match from == form.layout {
                false => taken.succeeds().applied([two.as_str(), one.as_str()]).never_logs("  applying ").done(),
                true => taken.nothing_to_do().done(),
            }
            let ours =
                "select count(*), bool_and(checksum is not null and run is not null) from bastion_migrate.ledger";
            assert_eq!(lab.database.sql(ours), "2|t", "{}", form.layout);
            assert_eq!(lab.database.sql(form.rows), form.golden, "{}: the other ledger is left as it is", form.layout);
        }
        plain(&lab, &all).input("layout", "auto").run().succeeds().applied([three.as_str()]).done();
        let again = baseline(&lab, &all, form.layout).run().fails("takeover-refused", 5);
        again.error("our ledger `bastion_migrate.ledger` is in use already").pending([""; 0]).done();
    }
}

/// A version of each ledger without a layout, as the name of a plain file.
const OTHER_TOOLS: [(&str, &str); 6] = [
    ("rails", "20240102_users"),
    ("ecto", "20240101000000_users"),
    ("node-pg-migrate", "17_users"),
    ("knex", "2024_users"),
    ("postgrator", "1_users"),
    ("atlas", "2024_users"),
];

#[test]
fn ledgers_of_tools_without_a_layout_are_taken_over() {
    let of_layouts = foreign_forms().map(|form| form.layout).chain(OTHER_TOOLS.iter().map(|(tool, _)| *tool));
    let (mut known, mut tried): (Vec<&str>, Vec<&str>) =
        (SourceTool::all().map(SourceTool::name).collect(), of_layouts.collect());
    known.sort_unstable();
    tried.sort_unstable();
    assert_eq!(known, tried);
    for (tool, name) in OTHER_TOOLS {
        let lab = Lab::new();
        let (_, ddl, _) = LEDGERS.iter().find(|(known, ..)| *known == tool).unwrap();
        // Atlas has a half-done row there.
        lab.database.sql(&format!(
            "set role app; {ddl}; {}",
            if tool == "atlas" { "delete from atlas_schema_revisions where version = '2025'" } else { "" }
        ));
        let names = [name.to_owned()];
        plain(&lab, &names).run().fails("ledger-foreign", 5).error("`command: baseline` with `from: ").done();
        baseline(&lab, &names, tool).run().succeeds().applied([name]).done();
        plain(&lab, &names).run().nothing_to_do().done();
    }
}

fn goose(lab: &Lab) -> [String; 2] {
    applied_by(Form::of("goose"), lab)
}

#[test]
fn versions_without_a_file_and_files_between_applied_ones_are_named() {
    let lab = Lab::new();
    let [one, two] = goose(&lab);
    lab.database.sql("insert into goose_db_version (version_id, is_applied) values (7, true), (9, true)");
    let names = [one.clone(), two.clone(), "8_new".to_owned()];
    let refused = baseline(&lab, &names, "goose").run().fails("file-missing", 5);
    let refused = refused.error("`public.goose_db_version`, the ledger of goose has version 7, version 9 as applied, and there is no file for it");
    refused.error("`migrations/8_new.sql` come before version 9, the newest in `public.goose_db_version`").done();
    assert_eq!(lab.database.sql("select to_regclass('bastion_migrate.ledger')"), "");
    let accepted = baseline(&lab, &names, "goose").input("missing", "ignore").input("out-of-order", "allow");
    accepted.run().succeeds().applied([two.as_str(), one.as_str()]).done();
    plain(&lab, &names).input("out-of-order", "allow").run().succeeds().applied(["8_new"]).done();
}

#[test]
fn a_file_of_another_name_is_refused() {
    let lab = Lab::new();
    applied_by(Form::of("sqlx"), &lab);
    let names = ["1_one".to_owned(), "2_drop_all".to_owned()];
    let refused = baseline(&lab, &names, "sqlx").run().fails("takeover-refused", 5);
    refused.error("version 2 is `two` there, and here `migrations/2_drop_all.sql`").done();
}

#[test]
fn a_migration_that_was_not_finished_is_refused() {
    let lab = Lab::new();
    let names = applied_by(Form::of("golang-migrate"), &lab);
    lab.database.sql("update schema_migrations set dirty = true");
    let refused = baseline(&lab, &names, "golang-migrate").run().fails("ledger-dirty", 5);
    refused
        .error("the ledger of golang-migrate, version 2 was started and not finished")
        .logs("finish it with golang-migrate, or undo it there")
        .done();
}

#[test]
fn no_ledger_two_ledgers_and_an_empty_one_are_refused() {
    let lab = Lab::new();
    let names = goose(&lab);
    let none = baseline(&lab, &names, "dbmate").run().fails("takeover-refused", 5);
    none.error("there is no ledger of dbmate in this database").logs("`from: goose public.goose_db_version`").done();
    lab.database.sql(
        "set role app; create schema old; create table old.goose_db_version (like goose_db_version including all)",
    );
    let two = baseline(&lab, &names, "goose").run().fails("takeover-refused", 5);
    two.error("there are two ledgers of goose, `old.goose_db_version` and `public.goose_db_version`").done();
    let empty = baseline(&lab, &names, "goose old.goose_db_version").run().fails("takeover-refused", 5);
    empty.error("`old.goose_db_version`, the ledger of goose has no rows").done();
    baseline(&lab, &names, "goose public.goose_db_version")
        .run()
        .succeeds()
        .applied([names[1].as_str(), names[0].as_str()])
        .done();
}

#[test]
fn a_ledger_under_another_name_is_taken_over_by_that_name() {
    let lab = Lab::new();
    let names = applied_by(Form::of("golang-migrate"), &lab);
    lab.database.sql("alter table schema_migrations rename to versions_of_old");
    baseline(&lab, &names, "golang-migrate").run().fails("takeover-refused", 5).done();
    let taken = baseline(&lab, &names, "golang-migrate versions_of_old").run().succeeds();
    taken.applied([names[1].as_str(), names[0].as_str()]).done();
}

#[test]
fn a_ledger_of_a_role_that_is_not_trusted_is_not_taken_over() {
    let lab = Lab::new();
    let names = goose(&lab);
    let role = lab.database.sql("select 'evil_' || substr(md5(random()::text), 1, 8)");
    lab.database.sql(&format!(
        "create role {role}; alter table goose_db_version owner to {role}; grant select on goose_db_version to app"
    ));
    let refused = baseline(&lab, &names, "goose").run().fails("ledger-untrusted", 5);
    refused.error(&format!("belongs to `{role}`")).done();
    lab.database.sql(&format!("drop owned by {role}; drop role {role}"));
}

#[test]
fn an_interrupted_takeover_is_completed_and_is_no_base_for_a_migration() {
    let lab = Lab::new();
    let names = goose(&lab);
    let taken = || baseline(&lab, &names, "goose").run().succeeds();
    taken().applied([names[1].as_str(), names[0].as_str()]).done();
    // The newest is recorded first.
    lab.database.sql("delete from bastion_migrate.ledger where version = 1");
    let refused = plain(&lab, &names).run().fails("out-of-order", 5);
    let refused = refused.error_in("migrations/1_one.sql", "but version 2 is already applied");
    let advice = "run `command: baseline` with `from: goose public.goose_db_version` again";
    refused.logs(advice).never_logs("`out-of-order: allow`").done();
    let completed = baseline(&lab, &names, "goose public.goose_db_version").run().succeeds();
    completed.applied([names[0].as_str()]).done();
    plain(&lab, &names).run().nothing_to_do().done();
}

#[test]
fn a_late_file_after_a_complete_takeover_has_the_usual_fix() {
    let lab = Lab::new();
    let [one, two] = goose(&lab);
    let later = "9_later".to_owned();
    let all = [one.clone(), two.clone(), later.clone()];
    baseline(&lab, &all, "goose").run().succeeds().applied([two.as_str(), one.as_str()]).done();
    plain(&lab, &all).run().succeeds().applied([later.as_str()]).done();
    let refused = plain(&lab, &all).file("migrations/5_late.sql", "create table late ();\n").run();
    let refused = refused.fails("out-of-order", 5);
    refused.error_in("migrations/5_late.sql", "out-of-order").logs("`out-of-order: allow`").done();
}

#[test]
fn from_is_for_a_baseline_of_plain_files() {
    let lab = Lab::new();
    let step = || Action::new(&lab).file("migrations/1_a.sql", "create table a ();").input("from", "goose");
    step()
        .run()
        .fails("input-invalid", 2)
        .error("has no effect with `command: migrate`: only a baseline takes a ledger over")
        .done();
    let step = || step().input("command", "baseline");
    let other = step().input("layout", "goose").run().fails("input-invalid", 2);
    other.error("and `layout` is `goose`").logs("with `layout: goose` that ledger is continued as it is").done();
    step().input("target", "1").run().fails("input-invalid", 2).error("`target` and `from`").done();
    let unknown = Action::new(&lab).input("command", "baseline").input("from", "django").run();
    unknown.fails("input-invalid", 2).error("is not one of the accepted values").done();
}
