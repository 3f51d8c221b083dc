//! `command: resolve`: what a person has decided about one migration is recorded, and nothing is run.

use crate::{
    action::Action,
    lab::{
        Lab,
        alembic::Project as AlembicProject,
        postgres::Database,
        project::Project,
        server::{BACKEND, Server, from_the_server},
        venv::DJANGO_5_2,
    },
    layout_forms::{FORMS, Form, ONE, Reach, TWO, UNDO_ONE, UNDO_TWO},
    own_tool,
    scenarios::MIGRATIONS,
};
use std::{fs, os::unix::fs::PermissionsExt as _};

const REASON: &str = "looked at it with Ann, ticket 4711";

/// The step that records a decision.
fn decide<'a>(step: Action<'a>, target: &str, decision: &str) -> Action<'a> {
    step.input("command", "resolve").input("target", target).input("resolve", decision).input("allow", REASON)
}

fn two<'a>(form: &Form, lab: &'a Lab) -> Action<'a> {
    let step = form.reversible(form.step(Action::new(lab)), 1, "one", ONE, UNDO_ONE);
    form.reversible(step, 2, "two", TWO, UNDO_TWO)
}

fn apply_two(form: &Form, lab: &Lab) {
    let labels = [form.label(1, "one"), form.label(2, "two")];
    two(form, lab).run().succeeds().applied(labels.each_ref().map(String::as_str)).done();
}

fn reasons(database: &Database) -> String {
    database.sql("select command, outcome, planned, done, reason from bastion_migrate.runs where command = 'resolve' order by started_at")
}

#[test]
fn a_migration_that_was_done_by_hand_is_recorded_as_each_layout_records_it() {
    for form in FORMS {
        let lab = Lab::new();
        let (one, both) = (form.label(1, "one"), form.label(2, "two"));
        form.reversible(form.step(Action::new(&lab)), 1, "one", ONE, UNDO_ONE)
            .run()
            .succeeds()
            .applied([one.as_str()])
            .done();
        lab.database.sql(&format!("set role app; {TWO}"));
        let decided = || decide(two(form, &lab), &form.version(2), "applied");
        let recorded = decided().run().succeeds().applied([both.as_str()]).logs("1 migration to record");
        let recorded = recorded.logs(&format!("  reason  {REASON}")).never_logs("  applying ");
        recorded.summary("Recorded 1 migration in").summary(REASON).done();
        assert_eq!(lab.database.sql(form.rows), form.golden, "{}", form.layout);
        assert_eq!(reasons(&lab.database), format!("resolve|success|1|1|{REASON}"), "{}", form.layout);
        decided().run().nothing_to_do().logs("The ledger agrees already").done();
        two(form, &lab).run().nothing_to_do().done();
    }
}

#[test]
fn a_migration_that_was_undone_by_hand_is_taken_out_of_the_ledger_and_applied_again() {
    for form in FORMS {
        let lab = Lab::new();
        apply_two(form, &lab);
        lab.database.sql(UNDO_TWO);
        let label = form.label(2, "two");
        let decided = || decide(two(form, &lab), &form.version(2), "not-applied");
        let finished = decided().run().succeeds().pending([label.as_str()]);
        let finished = finished.logs("to record as not applied").logs("as not applied, without undoing it");
        finished.summary("Recorded 1 migration in").summary("as not applied").summary(REASON).done();
        assert_eq!(reasons(&lab.database), format!("resolve|success|1|1|{REASON}"), "{}", form.layout);
        decided().run().nothing_to_do().done();
        two(form, &lab).run().succeeds().applied([label.as_str()]).done();
        assert_eq!(lab.database.sql("select to_regclass('two') is not null"), "t", "{}", form.layout);
        two(form, &lab).input("command", "verify").run().succeeds().done();
    }
}

/// How the tools of these layouts mark a migration that they did not finish.
const UNFINISHED: [(&str, &str); 4] = [
    ("sqlx", "update _sqlx_migrations set success = false where version = 2"),
    ("golang-migrate", "update schema_migrations set dirty = true"),
    ("flyway", "update flyway_schema_history set success = false where version = '2'"),
    ("prisma", "update _prisma_migrations set finished_at = null where migration_name ~ 'two'"),
];

#[test]
fn a_migration_that_a_tool_left_unfinished_is_settled_in_each_layout_that_marks_it() {
    for (layout, leave_unfinished) in UNFINISHED {
        let form = Form::of(layout);
        let label = form.label(2, "two");
        for decision in ["applied", "not-applied"] {
            let lab = Lab::new();
            apply_two(form, &lab);
            lab.database.sql(leave_unfinished);
            let advice = format!(
                "`command: resolve` with `target: {}`, `resolve: applied` and the reason in `allow`",
                form.recorded_version(2, "two")
            );
            two(form, &lab).run().fails("ledger-dirty", 5).logs(&advice).done();
            let decided = decide(two(form, &lab), &form.version(2), decision).run().succeeds();
            match decision {
                "applied" => {
                    decided.applied([label.as_str()]).done();
                    two(form, &lab).run().nothing_to_do().done();
                }
                _ => {
                    decided.pending([label.as_str()]).done();
                    lab.database.sql(UNDO_TWO);
                    two(form, &lab).run().succeeds().applied([label.as_str()]).done();
                }
            }
        }
    }
}

#[test]
fn a_half_done_migration_is_settled_either_way() {
    const HALF: &str = "create table two (id int);\nselect 1/0;\n";
    for form in FORMS {
        for decision in ["applied", "not-applied"] {
            let lab = Lab::new();
            let step = || form.without_transaction(form.step(Action::new(&lab)), 1, "one", HALF);
            step().run().fails("statement-failed", 6).pending([form.label(1, "one").as_str()]).done();
            let decided = decide(step(), &form.version(1), decision).run().succeeds();
            let label = form.label(1, "one");
            match decision {
                "applied" => decided.applied([label.as_str()]).done(),
                _ => decided.pending([label.as_str()]).done(),
            }
            let status = step().input("command", "status").run();
            let status = if decision == "applied" {
                status.nothing_to_do()
            } else {
                status.has_pending().pending([label.as_str()])
            };
            status.never_logs("half").done();
            if decision == "not-applied" {
                lab.database.sql("drop table two");
                // It begins anew, and not where it had stopped.
                step().run().fails("statement-failed", 6).pending([label.as_str()]).done();
                assert_eq!(lab.database.sql("select to_regclass('two') is not null"), "t", "{}", form.layout);
            }
        }
    }
}

#[test]
fn a_changed_file_gets_its_new_checksum() {
    for form in FORMS.iter().filter(|form| form.has_checksums) {
        let lab = Lab::new();
        apply_two(form, &lab);
        let changed = || {
            let step = form.reversible(form.step(Action::new(&lab)), 1, "one", ONE, UNDO_ONE);
            form.reversible(step, 2, "two", "create table two (id int); -- as it is\n", UNDO_TWO)
        };
        let refused = changed().run().fails("file-changed", 5).logs("`resolve: applied`");
        refused.done();
        decide(changed(), &form.version(2), "applied").run().succeeds().applied([form.label(2, "two").as_str()]).done();
        changed().run().nothing_to_do().done();
    }
}

#[test]
fn a_row_whose_file_is_gone_can_be_taken_out_of_the_ledger() {
    for form in FORMS {
        let lab = Lab::new();
        apply_two(form, &lab);
        let only_one = || form.reversible(form.step(Action::new(&lab)), 1, "one", ONE, UNDO_ONE);
        only_one().run().fails("file-missing", 5).done();
        decide(only_one(), &form.version(2), "applied").run().nothing_to_do().done();
        let gone = decide(only_one(), &form.version(2), "not-applied").run().succeeds();
        // It has no file: its name is what the ledger has.
        let has_names = form.golden.contains("|two") && form.layout != "prisma";
        let name = if has_names { "two".to_owned() } else { form.recorded_version(2, "two") };
        gone.logs("as not applied, without undoing it").pending([name.as_str()]).done();
        only_one().run().nothing_to_do().done();
    }
}

#[test]
fn the_order_of_the_ledger_is_kept() {
    for form in FORMS {
        let lab = Lab::new();
        let one = form.label(1, "one");
        let early = decide(two(form, &lab), &form.version(2), "applied").run().fails("resolve-refused", 5);
        early.error_in(&form.path(1, "one"), "comes before version").logs("decide about version").done();
        apply_two(form, &lab);
        let back = decide(two(form, &lab), &form.version(1), "not-applied").run();
        match form.reach {
            Reach::UpTo => back.fails("resolve-refused", 5).error("has only its newest version").done(),
            Reach::One => {
                back.succeeds().pending([one.as_str()]).done();
                two(form, &lab).run().fails("out-of-order", 5).done();
            }
        }
    }
}

#[test]
fn a_decision_needs_a_reason_a_target_and_an_answer_of_this_run() {
    let lab = Lab::new();
    let step = || two(Form::of("plain"), &lab).input("command", "resolve");
    let refused = step().run().fails("input-missing", 2).error("`resolve` has no value");
    refused.logs("set `resolve: applied` if all changes").done();
    let nothing_else = step().input("resolve", "applied").run().fails("input-missing", 2);
    nothing_else.error("`allow` has no value").error("`target` has no value").done();
    let in_file = step().input("resolve", "applied").input("target", "1");
    let in_file = in_file.file(".github/bastion-migrate.yml", "defaults:\n  allow: 'drop t: old'\n");
    in_file.run().fails("input-missing", 2).error("`allow` has no value").done();
    let blank = step().input("resolve", "applied").input("target", "1").input("allow", "  \n");
    blank.run().fails("input-missing", 2).error("`allow` has no value").done();
    let other = step().input("resolve", "maybe").input("target", "1").input("allow", REASON);
    other.run().fails("input-invalid", 2).error("is `maybe`").done();
    let without = two(Form::of("plain"), &lab).input("resolve", "applied");
    without.run().fails("input-invalid", 2).error("only a decision about one migration needs it").done();
    assert_eq!(lab.database.contents(), "");
}

#[test]
fn an_unknown_migration_and_a_run_at_work_are_refused() {
    let lab = Lab::new();
    let form = Form::of("plain");
    for decision in ["applied", "not-applied"] {
        let unknown = decide(two(form, &lab), "17", decision).run().fails("target-unknown", 2);
        unknown.error("neither a file nor the ledger has the version 17").done();
    }
    let session = lab.database.session();
    let key = bastion_migrate::postgres::bastion_migrate_key();
    session.sql(&format!("select pg_advisory_lock({key})"));
    let held = decide(two(form, &lab), "1", "applied").input("lock-wait", "1s").run().fails("lock-held", 4);
    held.done();
    drop(session);
    assert_eq!(lab.database.contents(), "");
}

#[test]
fn the_decision_holds_for_the_tenants_that_are_named() {
    let lab = Lab::new();
    lab.database.sql("create schema a authorization app; create schema b authorization app");
    let step = |tenants: &str| two(Form::of("plain"), &lab).input("tenants", tenants);
    step("[a, b]").run().succeeds().applied(["a: 0001_one", "a: 0002_two", "b: 0001_one", "b: 0002_two"]).done();
    let decided = decide(step("[b]"), "2", "not-applied").run().succeeds().pending(["b: 0002_two"]);
    decided.done();
    assert_eq!(
        lab.database.sql(
            "select (select count(*) from a.bastion_migrate_ledger), (select count(*) from b.bastion_migrate_ledger)"
        ),
        "2|1"
    );
    decide(step("[a, b]"), "2", "applied").run().succeeds().applied(["b: 0002_two"]).done();
    step("[a, b]").run().nothing_to_do().done();
}

#[test]
fn history_shows_the_reason() {
    let lab = Lab::new();
    let form = Form::of("plain");
    apply_two(form, &lab);
    let hostile = "it | was ::error::a <b>mess</b>";
    let step = decide(two(form, &lab), "2", "not-applied").input("allow", hostile);
    step.run().succeeds().pending(["0002_two"]).done();
    let history = Action::new(&lab).input("command", "history").run().succeeds();
    assert!(!history.summary.contains("<b>mess"), "{}", history.summary);
    history.logs(&format!("resolve ({hostile})")).done();
}

#[test]
fn a_record_of_runs_from_before_there_were_reasons_is_listed_and_gets_the_column() {
    let lab = Lab::new();
    let form = Form::of("plain");
    apply_two(form, &lab);
    lab.database.sql("alter table bastion_migrate.runs drop column reason");
    Action::new(&lab).input("command", "history").run().succeeds().logs("migrate").done();
    decide(two(form, &lab), "2", "not-applied").run().succeeds().pending(["0002_two"]).done();
    assert_eq!(reasons(&lab.database), format!("resolve|success|1|1|{REASON}"));
}

/// A step with a stand-in for a tool, whose list comes from the ledger.
fn stand_in<'a>(lab: &'a Lab, server: &'a Server, tool: &str) -> Action<'a> {
    let step = Action::on_server(lab, server).secret("database-url", lab.database.url()).input("tool", tool);
    step.input("working-directory", "shop")
        .input("setup", format!("export DATABASE_URL='{}'", from_the_server(&lab.database)))
}

fn program(server: &Server, path: &str, text: &str) {
    let path = server.path(path);
    fs::create_dir_all(path.parent().expect("it is in a directory")).expect("there is room");
    fs::write(&path, format!("#!/bin/sh\n{text}\n")).expect("there is room");
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("it is there");
}

/// Prints `up` or `down` for each version.
const RAILS: &str = r#"ask() { psql -XAtq "$DATABASE_URL" -c "$1"; }
case $1 in
db:migrate:status) for version in 1 2 3; do
    if [ "$(ask "select count(*) from schema_migrations where version = '$version'")" = 1 ]; then echo "   up     $version  One"; else echo "  down    $version  One"; fi
done ;;
esac"#;

#[test]
fn a_tool_without_a_command_for_it_is_recorded_in_its_own_form() {
    let lab = Lab::new();
    lab.database.sql(
        "set role app; create table schema_migrations (version varchar primary key); \
         create table ar_internal_metadata (key varchar primary key, value varchar); insert into schema_migrations values ('1')",
    );
    let server = Server::start();
    program(&server, "shop/bin/rails", RAILS);
    let versions = || lab.database.sql("select string_agg(version, ',' order by version) from schema_migrations");
    let step = |target: &str, decision: &str| decide(stand_in(&lab, &server, "rails"), target, decision);
    let early = step("3", "applied").run().fails("resolve-refused", 5).error("`2` comes before `3` and is not applied");
    early.done();
    step("2", "applied").run().succeeds().applied(["2"]).logs(REASON).done();
    assert_eq!(versions(), "1,2");
    step("2", "applied").run().nothing_to_do().done();
    step("2", "not-applied").run().succeeds().pending(["2"]).done();
    assert_eq!(versions(), "1");
    step("17", "not-applied").run().fails("target-unknown", 2).done();
    lab.database.sql(
        "create schema old authorization app; set role app; create table old.schema_migrations (version varchar primary key); \
         create table old.ar_internal_metadata (key varchar primary key, value varchar)",
    );
    let unclear = step("2", "applied").run().fails("resolve-refused", 5);
    unclear.error("there are 2 ledgers of rails").done();
    assert_eq!(versions(), "1");
    assert_eq!(reasons(&lab.database).lines().count(), 2);
}

#[test]
fn laravel_gets_a_batch_and_prisma_a_time() {
    let lab = Lab::new();
    lab.database.sql(
        "set role app; create table migrations (id serial primary key, migration varchar(255) not null, batch int not null); \
         insert into migrations (migration, batch) values ('2024_a', 4); \
         create table _prisma_migrations (id text, migration_name text, started_at timestamptz, finished_at timestamptz, rolled_back_at timestamptz); \
         insert into _prisma_migrations values ('x', '01_users', now(), null, null)",
    );
    let server = Server::start().file("shop/x", "");
    let php = r#"case "$*" in *migrate:status) echo "  2024_a .... [4] Ran"; echo "  2024_b .... Pending" ;; esac"#;
    fs::write(server.programs().join("php"), format!("#!/bin/sh\n{php}\n")).expect("there is room");
    let npx = "case \"$*\" in *'migrate status') echo 'Following migration have failed:'; echo 01_users; echo; exit 1 ;; esac";
    fs::write(server.programs().join("npx"), format!("#!/bin/sh\n{npx}\n")).expect("there is room");
    for name in ["php", "npx"] {
        fs::set_permissions(server.programs().join(name), fs::Permissions::from_mode(0o755)).expect("it is there");
    }
    decide(stand_in(&lab, &server, "laravel"), "2024_b", "applied").run().succeeds().applied(["2024_b"]).done();
    assert_eq!(lab.database.sql("select migration, batch from migrations order by id"), "2024_a|4\n2024_b|5");
    decide(stand_in(&lab, &server, "prisma"), "01_users", "not-applied").run().succeeds().pending(["01_users"]).done();
    assert_eq!(
        lab.database.sql("select migration_name, rolled_back_at is not null from _prisma_migrations"),
        "01_users|t"
    );
}

#[test]
fn django_and_its_recorded_decisions_agree() {
    let lab = Lab::new();
    let server = Server::start().project(Project::Plain, &lab.database, DJANGO_5_2);
    let step = || {
        let step = Action::on_server(&lab, &server).secret("database-url", lab.database.url()).input("tool", "django");
        step.input("working-directory", BACKEND).input("setup", "source ../venv/bin/activate")
    };
    step().run().succeeds().applied(MIGRATIONS).done();
    let undone = decide(step(), "customers 0002", "not-applied").run().succeeds();
    undone.pending(["customers.0002_region"]).done();
    let failed = step().run().fails("tool-failed", 6);
    failed.pending(["customers.0002_region"]).done();
    let recorded = decide(step(), "customers 0002", "applied").run().succeeds();
    recorded.applied(["customers.0002_region"]).done();
    step().run().nothing_to_do().done();
}

#[test]
fn alembic_has_the_revision_before_it_afterwards() {
    let lab = Lab::new();
    let project = AlembicProject::new(&lab.database);
    project.migration("a1", "", "create table users (id int)", "drop table users");
    project.migration("b2", "\"a1\"", "create table orders (id int)", "drop table orders");
    project.migration("c3", "\"a1\"", "create table items (id int)", "drop table items");
    project.migration("d4", "\"b2\", \"c3\"", "create table ships (id int)", "drop table ships");
    let server = project.install_on(Server::start());
    let step = || stand_in(&lab, &server, "alembic");
    let heads = || lab.database.sql("select string_agg(version_num, ',' order by version_num) from alembic_version");
    let migrated = step().run().succeeds();
    let order = if migrated.log.find("applied b2") < migrated.log.find("applied c3") {
        ["a1", "b2", "c3", "d4"]
    } else {
        ["a1", "c3", "b2", "d4"]
    };
    migrated.applied(order).done();
    let early = decide(step(), "b2", "not-applied").run().fails("resolve-refused", 5);
    early.error("one of them comes after `b2`").done();
    decide(step(), "d4", "not-applied").run().succeeds().pending(["d4"]).done();
    assert_eq!(heads(), "b2,c3");
    decide(step(), "b2", "not-applied").run().succeeds().pending(["b2"]).done();
    assert_eq!(heads(), "c3", "`a1` is implied by the other branch");
    decide(step(), "c3", "not-applied").run().succeeds().pending(["c3"]).done();
    assert_eq!(heads(), "a1");
    decide(step(), "a1", "applied").run().nothing_to_do().done();
    decide(step(), "b2", "applied").run().succeeds().applied(["b2"]).done();
    assert_eq!(heads(), "b2");
}

#[test]
fn a_tool_whose_ledger_is_not_known_is_refused_before_anything_is_run() {
    let lab = Lab::new();
    let server = own_tool::server(&lab);
    let step = own_tool::shop(&lab, &server);
    decide(step, "1", "applied").run().fails("input-invalid", 2).error("does not support `resolve: applied`").done();
    let flyway = Action::on_server(&lab, &server).secret("database-url", lab.database.url()).input("tool", "flyway");
    let refused = decide(flyway, "1", "applied").run().fails("input-invalid", 2);
    refused.logs("set `executor: sql` and `layout: flyway` for this run").done();
    let blind = Action::on_server(&lab, &server).input("tool", "rails");
    decide(blind, "1", "applied").run().fails("input-missing", 2).error("and no database is given").done();
    own_tool::shop(&lab, &server).run().succeeds().applied(["1", "2", "3"]).done();
    let out = decide(own_tool::shop(&lab, &server), "2", "not-applied").run().succeeds().pending(["2"]);
    out.done();
    assert_eq!(lab.database.sql("select string_agg(version::text, ',' order by 1) from schema_migrations"), "1,3");
}
