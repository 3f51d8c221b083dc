//! Kills in the middle of a run: ledger and schema agree afterwards, and the next run finishes the job.

use crate::{
    action::Action,
    judge::Finished,
    lab::{
        Lab,
        gate::Gate,
        postgres::{Database, Options, Postgres},
        sshd::Sshd,
    },
};
use rustix::process::{Pid, Signal, kill_process};
use std::sync::Arc;

/// One file of every kind; each creates one relation named after it, and has a gate.
const FILES: [&str; 5] = ["0001_table", "0002_rows", "0003_index", "0004_copy", "0005_last"];

/// The position of a run at the kill.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Position {
    /// Waiting at the gate in this file.
    Gate(u32),
    /// Building the index.
    Index,
}

const POSITIONS: [Position; 5] =
    [Position::Gate(1), Position::Gate(2), Position::Gate(3), Position::Index, Position::Gate(4)];

impl Position {
    /// Returns the number of files that are committed at this position.
    fn applied(self) -> usize {
        match self {
            Self::Gate(number) => number as usize - 1,
            Self::Index => 2,
        }
    }
}

fn mixed_files(lab: &Lab) -> Action<'_> {
    let gates = [1, 2, 3, 4, 5].map(Gate::sql);
    Action::new(lab)
        .input("lock-timeout", "0")
        .file("migrations/0001_table.sql", format!("create table t0001 (id int);\n{}", gates[0]))
        .file("migrations/0002_rows.sql", format!("create table t0002 as select 1;\n{}", gates[1]))
        .file(
            "migrations/0003_index.sql",
            format!("-- no-transaction\n{}create index concurrently t0003 on busy (id);\n", gates[2]),
        )
        .file("migrations/0004_copy.sql", {
            let gate = &gates[3];
            format!("create table t0004 (id int);\ncopy t0004 from stdin;\n1\n2\n\\.\n{gate}")
        })
        .file("migrations/0005_last.sql", format!("create table t0005 (id int);\n{}", gates[4]))
}

fn prepared(lab: Lab) -> Lab {
    lab.database.sql("create table busy (id int); alter table busy owner to app");
    lab
}

/// Checks that exactly the recorded files' relations exist and are valid. Half-done files are in the progress table.
fn assert_ledger_and_schema_agree(database: &Database, applied: usize) {
    let names =
        |count| FILES.iter().take(count).map(|name| format!("t{}", name.split_at(4).0)).collect::<Vec<_>>().join(" ");
    let relations = "select coalesce(string_agg(relname, ' ' order by relname), '') from pg_class \
        left join pg_index on indexrelid = pg_class.oid where relname ~ '^t[0-9]{4}$' and coalesce(indisvalid, true)";
    let ledger = "select coalesce(string_agg('t' || lpad(version::text, 4, '0'), ' ' order by version), '') \
        from bastion_migrate.ledger";
    assert_eq!(database.sql(relations), names(applied), "the schema");
    let has_ledger = database.sql("select to_regclass('bastion_migrate.ledger') is not null") == "t";
    let recorded = if has_ledger { database.sql(ledger) } else { String::new() };
    assert_eq!(recorded, names(applied), "the ledger");
}

/// Checks that the next run finishes the job, and that `verify` succeeds after it.
fn next_run_finishes(lab: &Lab, applied: usize) {
    assert_ledger_and_schema_agree(&lab.database, applied);
    mixed_files(lab).run().succeeds().applied(FILES[applied..].iter().copied()).done();
    assert_ledger_and_schema_agree(&lab.database, FILES.len());
    assert_eq!(lab.database.sql("select count(*) from t0004"), "2");
    mixed_files(lab).input("command", "verify").run().succeeds().done();
}

/// Brings a run to this position, and passes it to `kill`.
fn kill_at<'a>(lab: &'a Lab, at: Position, kill: impl FnOnce(crate::action::Running<'a>)) {
    match at {
        Position::Gate(number) => {
            let gate = Gate::close(&lab.database, number);
            let running = mixed_files(lab).start();
            gate.wait_until_reached();
            kill(running);
        }
        Position::Index => {
            let holder = lab.database.session();
            holder.sql("begin; lock table busy in row exclusive mode");
            let running = mixed_files(lab).start();
            let building = "select count(*) from pg_stat_progress_create_index \
                where datname = current_database() and phase like 'waiting%'";
            lab.database.wait_for(building, "1");
            kill(running);
        }
    }
}

/// Expects the warning about an INVALID index if the run was building one.
fn with_index_warning(at: Position, finished: Finished) -> Finished {
    if at == Position::Index { finished.warning("the index public.t0003 is INVALID since this run") } else { finished }
}

#[test]
fn a_killed_action_leaves_ledger_and_schema_in_agreement() {
    for at in POSITIONS {
        let lab = prepared(Lab::new());
        kill_at(&lab, at, |running| {
            running.kill();
            // Everything is already sent: the file at the gate would go on to its commit if the server did not notice.
            assert_eq!(lab.left_behind(), "", "{at:?}");
        });
        next_run_finishes(&lab, at.applied());
    }
}

#[test]
fn a_killed_bastion_session_leaves_ledger_and_schema_in_agreement() {
    for at in POSITIONS {
        let lab = prepared(Lab::new().behind(Sshd::plain()));
        kill_at(&lab, at, |running| {
            lab.bastion.kill_sessions();
            let (before, after) = FILES.split_at(at.applied());
            let finished = running.finish().fails("bastion-lost", 3).applied(before.iter().copied());
            with_index_warning(at, finished.pending(after.iter().copied()).logs("according to the ledger")).done();
        });
        next_run_finishes(&lab, at.applied());
    }
}

#[test]
fn a_terminated_backend_leaves_ledger_and_schema_in_agreement() {
    for at in POSITIONS {
        let lab = prepared(Lab::new());
        kill_at(&lab, at, |running| {
            lab.database.terminate("bastion-migrate%");
            let (before, after) = FILES.split_at(at.applied());
            let finished = running.finish().fails("database-lost", 3).applied(before.iter().copied());
            with_index_warning(
                at,
                finished.pending(after.iter().copied()).logs("terminating connection due to administrator command"),
            )
            .done();
        });
        next_run_finishes(&lab, at.applied());
    }
}

#[test]
fn a_killed_backend_leaves_ledger_and_schema_in_agreement() {
    let server = Postgres::start(&Options::default());
    for at in [Position::Gate(2), Position::Index] {
        let lab = prepared(Lab::on(&server));
        kill_at(&lab, at, |running| {
            lab.database.flush();
            let backend = Pid::from_raw(lab.database.backend()).expect("a pid is not zero");
            kill_process(backend, Signal::KILL).expect("the backend is there");
            let (before, after) = FILES.split_at(at.applied());
            let finished = running.finish().fails("database-lost", 3).applied(before.iter().copied());
            with_index_warning(at, finished.pending(after.iter().copied()).logs("according to the ledger")).done();
        });
        next_run_finishes(&lab, at.applied());
    }
}

/// Stops the WAL writer, so that only the run's own flushes write commits to the disk.
fn stop_flushing(lab: &Lab) {
    let writer = lab.database.sql("select pid from pg_stat_activity where backend_type = 'walwriter'");
    let writer = Pid::from_raw(writer.parse().expect("a number")).expect("a pid is not zero");
    kill_process(writer, Signal::STOP).expect("the process is there");
}

/// Quick files are committed without waiting for the disk: the report takes back what a crash has undone. On a busy
/// machine the file is not always quick, and then there is nothing to take back.
#[test]
fn files_that_a_crash_undoes_are_reported_as_pending() {
    // The background writer, too, flushes the log before it writes a page.
    let server = Postgres::start(&Options { settings: &["bgwriter_lru_maxpages = 0"], ..Options::default() });
    assert!(
        (0..10).any(|_| crash_behind_a_quick_file(&server) == Undone::QuickFile),
        "no file was quick in ten crashes"
    );
}

#[derive(Debug, PartialEq)]
enum Undone {
    Nothing,
    QuickFile,
}

fn crash_behind_a_quick_file(server: &Arc<Postgres>) -> Undone {
    let lab = Lab::on(server);
    let gate = Gate::close(&lab.database, 2);
    stop_flushing(&lab);
    let step = || {
        let step = Action::new(&lab).file("migrations/0001_first.sql", "create table first_one ();");
        let step = step.file("migrations/0002_quick.sql", "create table quick ();");
        step.file("migrations/0003_gate.sql", Gate::sql(2)).input("lock-timeout", "0")
    };
    let running = step().start();
    gate.wait_until_reached();
    running.wait_for_line("applied 0002_quick", std::time::Duration::from_secs(60));
    server.crash();
    server.resume();
    let mut finished = running.finish();
    assert_eq!(finished.take_problems(), [""; 0], "{}", finished.log);
    assert_eq!(finished.outputs["fault-code"], "database-lost", "{}", finished.log);
    let pending = finished.listed("pending");
    let undone = match pending.len() {
        1 => Undone::Nothing,
        _ => Undone::QuickFile,
    };
    if undone == Undone::QuickFile {
        finished = finished.logs("lost: the server crashed before 0002_quick was written to disk");
        assert!(pending.ends_with(&["0002_quick".to_owned(), "0003_gate".to_owned()]), "{pending:?}");
    }
    drop(finished);
    step().run().succeeds().applied(pending.iter().map(String::as_str)).done();
    undone
}

#[test]
fn files_reported_as_applied_after_a_lost_connection_are_on_the_disk() {
    let server = Postgres::start(&Options::default());
    let lab = prepared(Lab::on(&server));
    let gate = Gate::close(&lab.database, 2);
    stop_flushing(&lab);
    let running = mixed_files(&lab).start();
    gate.wait_until_reached();
    lab.database.terminate("bastion-migrate%");
    let (before, after) = FILES.split_at(1);
    running.finish().fails("database-lost", 3).applied(before.iter().copied()).pending(after.iter().copied()).done();
    server.crash();
    server.resume();
    assert_eq!(lab.database.sql("select version from bastion_migrate.ledger"), "1");
}

#[test]
fn files_applied_before_a_failure_are_on_the_disk_when_it_is_reported() {
    let server = Postgres::start(&Options::default());
    let lab = Lab::on(&server);
    stop_flushing(&lab);
    let action = Action::new(&lab)
        .file("migrations/0001_a.sql", "create table a ();")
        .file("migrations/0002_b.sql", "create table a ();");
    action.run().fails("statement-failed", 6).applied(["0001_a"]).pending(["0002_b"]).done();
    server.crash();
    server.resume();
    assert_eq!(lab.database.sql("select version from bastion_migrate.ledger"), "1");
}

#[test]
fn a_server_crash_leaves_ledger_and_schema_in_agreement() {
    let server = Postgres::start(&Options::default());
    for at in [Position::Gate(1), Position::Gate(5)] {
        let lab = prepared(Lab::on(&server));
        kill_at(&lab, at, |running| {
            server.crash();
            server.resume();
            let (before, after) = FILES.split_at(at.applied());
            let finished = running.finish().fails("database-lost", 3).applied(before.iter().copied());
            with_index_warning(at, finished.pending(after.iter().copied()).logs("according to the ledger")).done();
        });
        next_run_finishes(&lab, at.applied());
    }
}

fn two_hundred_files(lab: &Lab) -> Action<'_> {
    (1..=200).fold(Action::new(lab), |action, number| {
        let sql = format!("create table t{number:04} (id int);\nselect pg_sleep(0.005);\n");
        action.file(&format!("migrations/{number:04}_t.sql"), sql)
    })
}

/// Kills a run without gates, so between two files or within one.
#[test]
fn an_action_killed_at_any_moment_leaves_ledger_and_schema_in_agreement() {
    for line in ["applied 0001_t", "applied 0020_t", "applied 0111_t"] {
        let lab = Lab::new();
        let running = two_hundred_files(&lab).start();
        running.wait_for_line(line, std::time::Duration::from_secs(10));
        running.kill();
        assert_eq!(lab.left_behind(), "");
        let differences = "select string_agg(coalesce(relname, version::text), ' ') from bastion_migrate.ledger full join \
            (select relname from pg_class where relname ~ '^t[0-9]{4}$') relations \
            on relname = 't' || lpad(version::text, 4, '0') where relname is null or version is null";
        assert_eq!(lab.database.sql(differences), "", "after {line}");
        let done: usize = lab.database.sql("select count(*) from bastion_migrate.ledger").parse().expect("a number");
        let remaining: Vec<String> = (done + 1..=200).map(|number| format!("{number:04}_t")).collect();
        two_hundred_files(&lab).run().succeeds().applied(remaining.iter().map(String::as_str)).done();
    }
}
