//! What is killed in the middle of a run leaves ledger and schema in agreement, and the next run finishes the job.

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

/// One file of every kind; each makes one relation, which is named after it, and has a gate.
const FILES: [&str; 5] = ["0001_table", "0002_rows", "0003_index", "0004_copy", "0005_last"];

/// Where a run is when the blow comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    /// At the gate in this file.
    Gate(u32),
    /// While the index is built.
    Index,
}

const EVERYWHERE: [At; 5] = [At::Gate(1), At::Gate(2), At::Gate(3), At::Index, At::Gate(4)];

impl At {
    /// How many files are committed then.
    fn applied(self) -> usize {
        match self {
            Self::Gate(number) => number as usize - 1,
            Self::Index => 2,
        }
    }
}

fn mixed(lab: &Lab) -> Action<'_> {
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

/// Every recorded file's relation is there and whole, and no other. What is half done is told by the table of progress.
fn agrees(database: &Database, applied: usize) {
    let names =
        |count| FILES.iter().take(count).map(|name| format!("t{}", name.split_at(4).0)).collect::<Vec<_>>().join(" ");
    let there = "select coalesce(string_agg(relname, ' ' order by relname), '') from pg_class \
        left join pg_index on indexrelid = pg_class.oid where relname ~ '^t[0-9]{4}$' and coalesce(indisvalid, true)";
    let ledger = "select coalesce(string_agg('t' || lpad(version::text, 4, '0'), ' ' order by version), '') \
        from bastion_migrate.ledger";
    assert_eq!(database.sql(there), names(applied), "the schema");
    let made = database.sql("select to_regclass('bastion_migrate.ledger') is not null") == "t";
    let recorded = if made { database.sql(ledger) } else { String::new() };
    assert_eq!(recorded, names(applied), "the ledger");
}

/// The next run finishes the job, and what it leaves is in order.
fn finishes(lab: &Lab, applied: usize) {
    agrees(&lab.database, applied);
    mixed(lab).run().succeeds().applied(FILES[applied..].iter().copied()).done();
    agrees(&lab.database, FILES.len());
    assert_eq!(lab.database.sql("select count(*) from t0004"), "2");
    mixed(lab).input("command", "verify").run().succeeds().done();
}

/// Brings a run to this place, has it hit, and judges what `after` is left.
fn hit<'a>(lab: &'a Lab, at: At, blow: impl FnOnce(crate::action::Running<'a>)) {
    match at {
        At::Gate(number) => {
            let gate = Gate::close(&lab.database, number);
            let running = mixed(lab).start();
            gate.reached();
            blow(running);
        }
        At::Index => {
            let holder = lab.database.session();
            holder.sql("begin; lock table busy in row exclusive mode");
            let running = mixed(lab).start();
            let building = "select count(*) from pg_stat_progress_create_index \
                where datname = current_database() and phase like 'waiting%'";
            lab.database.wait_for(building, "1");
            blow(running);
        }
    }
}

/// An index that was being built is INVALID then, which is told.
fn left(at: At, told: Finished) -> Finished {
    if at == At::Index { told.warning("the index public.t0003 is INVALID since this run") } else { told }
}

#[test]
fn the_action_is_killed() {
    for at in EVERYWHERE {
        let lab = prepared(Lab::new());
        hit(&lab, at, |running| {
            running.kill();
            // All was sent already: what waits at the gate would go on to its commit if the server did not notice.
            assert_eq!(lab.left_behind(), "", "{at:?}");
        });
        finishes(&lab, at.applied());
    }
}

#[test]
fn the_session_on_the_bastion_is_killed() {
    for at in EVERYWHERE {
        let lab = prepared(Lab::new().behind(Sshd::plain()));
        hit(&lab, at, |running| {
            lab.bastion.kill_sessions();
            let (before, after) = FILES.split_at(at.applied());
            let told = running.finish().fails("bastion-lost", 3).applied(before.iter().copied());
            left(at, told.pending(after.iter().copied()).says("according to the ledger")).done();
        });
        finishes(&lab, at.applied());
    }
}

#[test]
fn the_backend_is_terminated() {
    for at in EVERYWHERE {
        let lab = prepared(Lab::new());
        hit(&lab, at, |running| {
            lab.database.terminate("bastion-migrate%");
            let (before, after) = FILES.split_at(at.applied());
            let told = running.finish().fails("database-lost", 3).applied(before.iter().copied());
            left(at, told.pending(after.iter().copied()).says("terminating connection due to administrator command"))
                .done();
        });
        finishes(&lab, at.applied());
    }
}

#[test]
fn the_backend_is_killed_and_the_whole_server_recovers() {
    let server = Postgres::start(&Options::default());
    for at in [At::Gate(2), At::Index] {
        let lab = prepared(Lab::on(&server));
        hit(&lab, at, |running| {
            lab.database.flush();
            let backend = Pid::from_raw(lab.database.backend()).expect("a pid is not zero");
            kill_process(backend, Signal::KILL).expect("the backend is there");
            let (before, after) = FILES.split_at(at.applied());
            let told = running.finish().fails("database-lost", 3).applied(before.iter().copied());
            left(at, told.pending(after.iter().copied()).says("according to the ledger")).done();
        });
        finishes(&lab, at.applied());
    }
}

/// Nothing but a flush of the run's own brings a commit to the disk from now on.
fn stop_flushing(lab: &Lab) {
    let writer = lab.database.sql("select pid from pg_stat_activity where backend_type = 'walwriter'");
    let writer = Pid::from_raw(writer.parse().expect("a number")).expect("a pid is not zero");
    kill_process(writer, Signal::STOP).expect("the process is there");
}

/// Quick files are committed without waiting for the disk: what a crash forgets is taken back, not left as told.
#[test]
fn what_the_server_forgets_when_it_loses_power_is_taken_back() {
    let server = Postgres::start(&Options::default());
    let lab = prepared(Lab::on(&server));
    let gate = Gate::close(&lab.database, 2);
    stop_flushing(&lab);
    let running = mixed(&lab).start();
    gate.reached();
    running.wait_for_line("applied 0001_table", std::time::Duration::from_secs(10));
    server.crash();
    server.resume();
    let told = running.finish().fails("database-lost", 3).pending(FILES);
    told.says("forgotten: the server crashed before 0001_table was on its disk").says("0 applied, 5 not").done();
    mixed(&lab).run().succeeds().applied(FILES).done();
}

#[test]
fn what_the_ledger_said_after_a_lost_connection_is_on_the_disk() {
    let server = Postgres::start(&Options::default());
    let lab = prepared(Lab::on(&server));
    let gate = Gate::close(&lab.database, 2);
    stop_flushing(&lab);
    let running = mixed(&lab).start();
    gate.reached();
    lab.database.terminate("bastion-migrate%");
    let (before, after) = FILES.split_at(1);
    running.finish().fails("database-lost", 3).applied(before.iter().copied()).pending(after.iter().copied()).done();
    server.crash();
    server.resume();
    assert_eq!(lab.database.sql("select version from bastion_migrate.ledger"), "1");
}

#[test]
fn what_was_applied_before_a_failure_is_on_the_disk_when_the_failure_is_told() {
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
fn the_server_loses_power_and_comes_back() {
    let server = Postgres::start(&Options::default());
    for at in [At::Gate(1), At::Gate(5)] {
        let lab = prepared(Lab::on(&server));
        hit(&lab, at, |running| {
            server.crash();
            server.resume();
            let (before, after) = FILES.split_at(at.applied());
            let told = running.finish().fails("database-lost", 3).applied(before.iter().copied());
            left(at, told.pending(after.iter().copied()).says("according to the ledger")).done();
        });
        finishes(&lab, at.applied());
    }
}

fn many(lab: &Lab) -> Action<'_> {
    (1..=200).fold(Action::new(lab), |action, number| {
        let sql = format!("create table t{number:04} (id int);\nselect pg_sleep(0.005);\n");
        action.file(&format!("migrations/{number:04}_t.sql"), sql)
    })
}

/// No gate: wherever the blow falls, between two files or in one, ledger and schema agree.
#[test]
fn whenever_it_is_killed_ledger_and_schema_agree() {
    for seen in ["applied 0001_t", "applied 0020_t", "applied 0111_t"] {
        let lab = Lab::new();
        let running = many(&lab).start();
        running.wait_for_line(seen, std::time::Duration::from_secs(10));
        running.kill();
        assert_eq!(lab.left_behind(), "");
        let apart = "select string_agg(coalesce(relname, version::text), ' ') from bastion_migrate.ledger full join \
            (select relname from pg_class where relname ~ '^t[0-9]{4}$') there \
            on relname = 't' || lpad(version::text, 4, '0') where relname is null or version is null";
        assert_eq!(lab.database.sql(apart), "", "after {seen}");
        let done: usize = lab.database.sql("select count(*) from bastion_migrate.ledger").parse().expect("a number");
        let left: Vec<String> = (done + 1..=200).map(|number| format!("{number:04}_t")).collect();
        many(&lab).run().succeeds().applied(left.iter().map(String::as_str)).done();
    }
}
