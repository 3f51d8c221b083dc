//! The record of runs in the database, and `command: history`, which lists it.

use crate::{
    action::Action,
    lab::{
        Lab,
        github::{Github, WriteAccess},
        server::{Server, from_the_server},
        sshd::Sshd,
    },
    layout_forms::FORMS,
};
use rustix::process::Signal;
use std::time::Duration;

const SOON: Duration = Duration::from_secs(20);

/// Returns columns of the recorded runs, the oldest first.
fn recorded(lab: &Lab, columns: &str) -> String {
    lab.database.sql(&format!("select {columns} from bastion_migrate.runs order by started_at"))
}

const ENDS: &str = "command, outcome, done, planned, split_part(fault, ':', 1), ended_at >= started_at";

fn two_files<'a>(lab: &'a Lab, second: &str) -> Action<'a> {
    Action::new(lab).file("migrations/0001_a.sql", "create table a ();").file("migrations/0002_b.sql", second)
}

fn history(lab: &Lab) -> Action<'_> {
    Action::new(lab).input("command", "history")
}

#[test]
fn a_run_is_recorded_with_who_and_what() {
    let lab = Lab::new();
    let step = two_files(&lab, "create table b ();").input("environment", "prod");
    let step = step.env("GITHUB_TRIGGERING_ACTOR", "hubot").env("GITHUB_REF", "refs/heads/it's \"$bastion_migrate$\"");
    step.run().succeeds().applied(["0001_a", "0002_b"]).done();
    assert_eq!(recorded(&lab, ENDS), "migrate|success|2|2||t");
    let facts = "actor, triggering_actor, commit, ref, environment, executor, attempt, role, plan_digest ~ '^sha256:', \
                 run ~ '^https://github.com/.*/attempts/', approved_by";
    let commit = "0123456789abcdef0123456789abcdef01234567";
    assert_eq!(
        recorded(&lab, facts),
        format!("octocat|hubot|{commit}|refs/heads/it's \"$bastion_migrate$\"|prod|sql|1|app|t|t|")
    );
}

/// The test holds the row of the run, so that the transaction that completes it has to wait.
#[test]
fn the_end_of_a_successful_run_is_committed_with_its_last_migration() {
    let lab = Lab::new();
    let running = two_files(&lab, "select pg_sleep(1); create table b ();").input("lock-timeout", "30s").start();
    running.wait_for_line("applied 0001_a", SOON);
    let holder = lab.database.session();
    holder.sql("begin; select from bastion_migrate.runs for update");
    let held_up = "select count(*) from pg_stat_activity where pg_backend_pid() <> pid and datname = current_database() \
                   and wait_event_type = 'Lock'";
    lab.database.wait_for(held_up, "1");
    assert_eq!(lab.database.sql("select version from bastion_migrate.ledger"), "1");
    holder.sql("rollback");
    running.finish().succeeds().applied(["0001_a", "0002_b"]).done();
    assert_eq!(recorded(&lab, ENDS), "migrate|success|2|2||t");
}

#[test]
fn a_run_of_every_layout_is_recorded() {
    for form in FORMS {
        let lab = Lab::new();
        let labels = [form.label(1, "one"), form.label(2, "two")];
        let done = form.step(form.golden_files(Action::new(&lab))).run().succeeds();
        done.applied(labels.each_ref().map(String::as_str)).done();
        assert_eq!(recorded(&lab, ENDS), "migrate|success|2|2||t", "{}", form.layout);
        assert_eq!(lab.database.sql(form.rows), form.golden, "{}", form.layout);
    }
}

#[test]
fn failed_runs_are_recorded_and_refused_ones_change_nothing() {
    let lab = Lab::new();
    two_files(&lab, "select 1/0").run().fails("statement-failed", 6).applied(["0001_a"]).pending(["0002_b"]).done();
    let failed = "migrate|failed|1|2|statement-failed|t";
    assert_eq!(recorded(&lab, ENDS), failed);
    let approved = format!("sha256:{}", "0".repeat(64));
    let refused = two_files(&lab, "create table b ();").input("expect-plan", approved).run();
    refused.fails("plan-changed", 5).pending(["0002_b"]).done();
    two_files(&lab, "create table b ();").input("command", "plan").run().has_pending().pending(["0002_b"]).done();
    assert_eq!(recorded(&lab, ENDS), failed);
}

#[test]
fn a_run_with_nothing_to_do_is_not_recorded_and_neither_is_one_that_is_told_not_to() {
    let lab = Lab::new();
    let step = || Action::new(&lab).file("migrations/0001_a.sql", "create table a ();");
    step().input("audit", "false").run().succeeds().applied(["0001_a"]).done();
    step().run().nothing_to_do().done();
    assert_eq!(lab.database.sql("select to_regclass('bastion_migrate.runs')"), "");
}

#[test]
fn a_cancelled_run_and_a_killed_one_are_recorded_as_they_ended() {
    let lab = Lab::new();
    let sleeping = "select count(*) from pg_stat_activity where datname = current_database() and query like '%pg_sleep(60)%' \
                    and state = 'active' and pid <> pg_backend_pid()";
    let slow = || two_files(&lab, "select pg_sleep(60);");
    let running = slow().start();
    lab.database.wait_for(sleeping, "1");
    running.signal(Signal::INT);
    running.finish().fails("cancelled", 130).applied(["0001_a"]).pending(["0002_b"]).done();
    assert_eq!(recorded(&lab, ENDS), "migrate|cancelled|1|2|cancelled|t");

    let running = slow().start();
    lab.database.wait_for(sleeping, "1");
    let mut seen = history(&lab).run();
    assert!(seen.rendered_log().contains("migrate  at work"), "{}", seen.rendered_log());
    drop(seen.take_problems());
    drop(running.kill());
    let of_run =
        "from pg_stat_activity where application_name like 'bastion-migrate%' and datname = current_database()";
    lab.database.sql(&format!("select pg_terminate_backend(pid) {of_run}"));
    lab.database.wait_for(&format!("select count(*) {of_run}"), "0");
    let next = two_files(&lab, "create table b ();").run().succeeds().applied(["0002_b"]);
    next.logs("the last run, migrate of 2").logs(", has no recorded end: what it has applied is in the ledger").done();
    history(&lab)
        .run()
        .succeeds()
        .logs("migrate  end not recorded")
        .logs("migrate  cancelled: cancelled: stopped by")
        .done();
}

/// The row waits for a lock while the connection is cut. The server writes it once the lock is released, and its answer
/// reaches nobody.
#[test]
fn a_run_whose_session_is_lost_while_it_begins_completes_the_row_that_is_there() {
    let lab = Lab::new().behind(Sshd::plain());
    let first = || Action::new(&lab).file("migrations/0001_a.sql", "create table a ();");
    first().run().succeeds().applied(["0001_a"]).done();
    let holder = lab.database.session();
    holder.sql("begin; lock table bastion_migrate.runs in exclusive mode");
    let step = first().file("migrations/0002_b.sql", "create table b ();").input("lock-timeout", "0");
    let running = step.start();
    let waiting = "select count(*) from pg_locks where relation = 'bastion_migrate.runs'::regclass and not granted";
    lab.database.wait_for(waiting, "1");
    lab.bastion.kill_sessions();
    running.wait_for_line("waiting for the database, to see what was committed", SOON);
    holder.sql("rollback");
    running.finish().fails("bastion-lost", 3).pending(["0002_b"]).done();
    assert_eq!(recorded(&lab, ENDS), "migrate|success|1|1||t\nmigrate|failed|0|1|bastion-lost|t");
}

#[test]
fn the_history_is_read_in_every_executor_and_changes_nothing() {
    let lab = Lab::new();
    let before = lab.database.contents();
    history(&lab).run().succeeds().logs("No run is recorded in").done();
    assert_eq!(lab.database.contents(), before);
    two_files(&lab, "create table b ();").run().succeeds().applied(["0001_a", "0002_b"]).done();
    let listed = history(&lab).run().succeeds().summary("### Runs").summary("| migrate | success | 2 of 2 | octocat |");
    listed.logs("migrate  success  2 of 2  by octocat  of 0123456").done();
    let server = Server::start();
    let on_server = || Action::on_server(&lab, &server).input("command", "history").input("run", "true");
    on_server().secret("database-url", lab.database.url()).run().succeeds().logs("migrate  success  2 of 2").done();
    on_server().run().fails("input-missing", 2).error("and no database is given").done();
}

#[test]
fn a_tool_on_a_server_is_recorded_with_its_steps() {
    let lab = Lab::new();
    let server = Server::start();
    let command = format!("psql -Xq '{}' -c 'create table a ()'", from_the_server(&lab.database));
    let step = |command: &str| {
        Action::on_server(&lab, &server).secret("database-url", lab.database.url()).input("run", command)
    };
    step(&command).run().succeeds().warning("no ledger was found in the database").done();
    step("false").run().fails("tool-failed", 6).done();
    let ends = "executor, command, outcome, split_part(fault, ':', 1), ended_at >= started_at";
    assert_eq!(recorded(&lab, ends), "server|migrate|success||t\nserver|migrate|failed|tool-failed|t");
}

#[test]
fn steps_are_recorded_with_the_run_they_belong_to() {
    let lab = Lab::new();
    let step = |before: &str| {
        let step = Action::new(&lab).file("migrations/0001_a.sql", "create table a ();").file("before.sql", before);
        step.input("before", "- sql: before.sql\n  when: always\n")
    };
    Action::new(&lab).file("migrations/0000_z.sql", "create table z ();").run().succeeds().applied(["0000_z"]).done();
    let step = |before: &str| step(before).file("migrations/0000_z.sql", "create table z ();");
    step("select 1/0").run().fails("statement-failed", 6).done();
    step("select 1").run().succeeds().applied(["0001_a"]).done();
    let ends = "outcome, done, planned, plan_digest is not null, started_at < ended_at";
    assert_eq!(recorded(&lab, ends), "success|1|1|t|t\nfailed|0|0|f|t\nsuccess|1|1|t|t");
}

#[test]
fn a_role_without_the_right_gets_a_warning_and_its_migration() {
    let lab = Lab::new();
    let role = format!("limited_{}", lab.database.name());
    let password = crate::lab::postgres::PASSWORD.replace('\'', "''");
    lab.database.sql(&format!("create role {role} login password '{password}'; grant all on schema public to {role}"));
    let url = lab.database.url().replacen("//app:", &format!("//{role}:"), 1);
    let step = Action::new(&lab).secret("database-url", url).file("migrations/0001_a.sql", "create table a ();");
    let step = step.input("ledger-table", "public.done");
    let done = step.run().succeeds().applied(["0001_a"]);
    done.warning("this run is not recorded in the database: permission denied").done();
    assert_eq!(lab.database.sql("select to_regclass('bastion_migrate.runs')"), "");
}

/// The rights that the fix names, followed to the letter.
#[test]
fn a_role_records_its_runs_with_the_rights_that_the_fix_names() {
    let lab = Lab::new();
    Action::new(&lab).file("migrations/0001_a.sql", "create table a ();").run().succeeds().applied(["0001_a"]).done();
    let name = lab.database.name();
    lab.database.sql(&format!(
        "alter database {name} owner to postgres; alter schema bastion_migrate owner to postgres; \
         alter table bastion_migrate.runs owner to postgres; grant usage on schema bastion_migrate to app; \
         grant create on schema public to app"
    ));
    let next = |number: u32| {
        let step = Action::new(&lab).file("migrations/0001_a.sql", "create table a ();");
        step.file(&format!("migrations/000{number}_b.sql"), format!("create table b{number} ();"))
    };
    let unrecorded = next(2).run().succeeds().applied(["0002_b"]);
    unrecorded
        .warning("permission denied for table runs")
        .logs("SELECT, INSERT, UPDATE ON bastion_migrate.runs")
        .done();
    lab.database.sql("grant select, insert, update on bastion_migrate.runs to app");
    let recorded_now = next(3).file("migrations/0002_b.sql", "create table b2 ();");
    recorded_now.run().succeeds().applied(["0003_b"]).done();
    assert_eq!(recorded(&lab, ENDS), "migrate|success|1|1||t\nmigrate|success|1|1||t");
}

#[test]
fn a_record_that_belongs_to_others_is_neither_written_nor_read() {
    let lab = Lab::new();
    let evil = format!("evil_{}", lab.database.name());
    lab.database.sql(&format!(
        "create role {evil}; grant create on database {} to {evil}; set role {evil}; create schema bastion_migrate; \
         create table bastion_migrate.runs (id int); grant all on schema bastion_migrate to public; \
         grant all on bastion_migrate.runs to public",
        lab.database.name()
    ));
    let step =
        Action::new(&lab).file("migrations/0001_a.sql", "create table a ();").input("ledger-table", "public.done");
    step.run()
        .succeeds()
        .applied(["0001_a"])
        .warning("belongs to another role, has triggers or rules of others")
        .done();
    history(&lab).run().fails("ledger-untrusted", 5).error(&format!("belongs to `{evil}`")).done();
}

#[test]
fn those_who_approved_the_deployment_are_recorded() {
    let (lab, github) = (Lab::new(), Github::start(WriteAccess::Allowed));
    github.approve(&["bob", "alice"]);
    let step = two_files(&lab, "select pg_sleep(1); create table b ();").env("GITHUB_API_URL", github.url());
    step.run().succeeds().applied(["0001_a", "0002_b"]).done();
    assert_eq!(recorded(&lab, "outcome, approved_by"), "success|alice, bob");
}

#[test]
fn a_rollback_and_a_baseline_are_recorded_and_tenants_count_together() {
    let lab = Lab::new();
    let step = |command: &str, target: &str| {
        let step = Action::new(&lab).file("migrations/0001_a.sql", "create table a ();");
        let step = step.file("migrations/0001_a.down.sql", "drop table a;");
        step.input("command", command).input("target", target)
    };
    step("migrate", "1").run().succeeds().applied(["0001_a"]).done();
    step("rollback", "0").run().succeeds().pending(["0001_a"]).done();
    step("baseline", "1").run().succeeds().applied(["0001_a"]).done();
    assert_eq!(recorded(&lab, "command, outcome, done"), "migrate|success|1\nrollback|success|1\nbaseline|success|1");

    let lab = Lab::new();
    lab.database
        .sql("create schema x authorization app; create schema y authorization app; create schema z authorization app");
    let step = Action::new(&lab).file("migrations/0001_a.sql", "create table a ();").input("tenants", "[x, y, z]");
    step.run().succeeds().applied(["x: 0001_a", "y: 0001_a", "z: 0001_a"]).done();
    assert_eq!(recorded(&lab, ENDS), "migrate|success|3|3||t");
}

#[test]
fn a_run_that_can_not_finish_its_record_ends_as_it_would_without() {
    let lab = Lab::new();
    let running = two_files(&lab, "select pg_sleep(2); create table b ();").start();
    running.wait_for_line("applied 0001_a", SOON);
    lab.database.sql("drop table bastion_migrate.runs");
    running.finish().succeeds().applied(["0001_a", "0002_b"]).done();
}
