//! Lost connections: the run finds out whether an unacknowledged commit took place, or reports it as in doubt.

use crate::{
    action::{Action, Running},
    flights::Flights,
    lab::{
        Lab,
        gate::Gate,
        postgres::{Options, Postgres},
        sshd::Sshd,
    },
};
use std::time::Duration;

/// Creates a step with three files, each with a gate, that reaches the database at this port.
fn three_files<'a>(lab: &'a Lab, port: u16) -> Action<'a> {
    (1..=3)
        .fold(Action::new(lab), |action, number| {
            // The sleep keeps it from being a quick file, whose commit is in doubt until a later one is flushed.
            let sql = format!("create table t{number} (id int);\nselect pg_sleep(0.02);\n{}", Gate::sql(number));
            action.file(&format!("migrations/000{number}_t.sql"), sql)
        })
        .secret("database-url", lab.database.url_at("localhost", port))
        .input("lock-timeout", "0")
}

/// Starts the run, freezes the network while the run is in file `number`, lets the server commit that file, and cuts
/// the connections, so that the run never gets the response.
fn lose_the_commit_response<'a>(lab: &'a Lab, network: &Flights, action: Action<'a>, number: u32) -> Running<'a> {
    let gate = Gate::close(&lab.database, number);
    let running = action.start();
    gate.wait_until_reached();
    network.freeze();
    gate.open();
    lab.database.wait_for("select count(*) from bastion_migrate.ledger", &number.to_string());
    network.cut();
    running
}

#[test]
fn a_commit_with_a_lost_response_is_resolved_over_a_new_connection() {
    let lab = Lab::new();
    let network = Flights::to(lab.database.server().port());
    let running = lose_the_commit_response(&lab, &network, three_files(&lab, network.port()), 3);
    network.thaw();
    let resolved = running.finish().succeeds().applied(["0001_t", "0002_t", "0003_t"]);
    resolved.logs("to see what was committed").logs(": committed\n").logs("the ledger confirms it").done();
    three_files(&lab, network.port()).run().nothing_to_do().done();
}

#[test]
fn a_commit_with_a_lost_response_is_resolved_after_the_loss_of_the_bastion() {
    let lab = Lab::new();
    let network = Flights::to(lab.bastion.port);
    let known = lab.bastion.known_hosts_line().replace(&lab.bastion.port.to_string(), &network.port().to_string());
    let action = three_files(&lab, lab.database.server().port())
        .input("ssh-port", network.port().to_string())
        .input("ssh-known-hosts", known);
    let running = lose_the_commit_response(&lab, &network, action, 3);
    network.thaw();
    running.finish().succeeds().applied(["0001_t", "0002_t", "0003_t"]).logs("the ledger confirms it").done();
}

/// Expects the truth about the files after a loss. The old session still waits at the gate when the new one connects: the
/// run lock shows when it has ended. Meanwhile `disturb` has its turn.
fn are_counted_after_the_old_session(disturb: impl FnOnce(&Flights)) {
    let lab = Lab::new();
    let network = Flights::to(lab.database.server().port());
    let gate = Gate::close(&lab.database, 3);
    let running = lose_the_commit_response(&lab, &network, three_files(&lab, network.port()), 2);
    network.thaw();
    running.wait_for_line("waiting for the run lock", Duration::from_secs(10));
    disturb(&network);
    let finished = running.finish().fails("database-lost", 3).applied(["0001_t", "0002_t"]).pending(["0003_t"]);
    let finished = finished.logs("held by this run's own previous session (pid ");
    finished.logs("2 applied, 1 not, according to the ledger").done();
    gate.open();
    three_files(&lab, network.port()).run().succeeds().applied(["0003_t"]).done();
}

#[test]
fn pending_files_are_counted_after_the_old_session_has_ended() {
    are_counted_after_the_old_session(|_| {});
}

#[test]
fn a_new_connection_that_is_lost_as_well_is_opened_again() {
    are_counted_after_the_old_session(Flights::cut);
}

#[test]
fn a_commit_is_in_doubt_if_the_database_does_not_come_back() {
    let lab = Lab::new();
    let network = Flights::to(lab.database.server().port());
    let action = three_files(&lab, network.port()).input("wait-timeout", "1s");
    let running = lose_the_commit_response(&lab, &network, action, 3);
    drop(network);
    let finished = running.finish().in_doubt("commit-in-doubt").applied(["0001_t", "0002_t"]);
    finished.logs("in doubt: it is unknown whether 0003_t was committed").summary("it is unknown whether").done();
    three_files(&lab, lab.database.server().port()).run().nothing_to_do().done();
}

#[test]
fn the_next_run_resolves_a_commit_in_doubt_and_continues() {
    let lab = Lab::new();
    let network = Flights::to(lab.database.server().port());
    let gate = Gate::close(&lab.database, 3);
    let action = three_files(&lab, network.port()).input("wait-timeout", "1s");
    let running = lose_the_commit_response(&lab, &network, action, 2);
    drop(network);
    running.finish().in_doubt("commit-in-doubt").applied(["0001_t"]).done();
    gate.open();
    three_files(&lab, lab.database.server().port()).run().succeeds().applied(["0003_t"]).done();
}

#[test]
fn a_connection_lost_while_waiting_for_the_lock_is_reported() {
    let lab = Lab::new();
    let holder = lab.database.session();
    holder.sql(&format!("select pg_advisory_lock({})", bastion_migrate::postgres::bastion_migrate_key()));
    let running = three_files(&lab, lab.database.server().port()).start();
    running.wait_for_line("waiting for the run lock", Duration::from_secs(10));
    lab.database.terminate("bastion-migrate%");
    let finished = running.finish().fails("database-lost", 3);
    finished.logs("database-lost in lock: terminating connection due to administrator command").done();
}

/// No commit was sent yet, so nothing is in doubt.
#[test]
fn a_connection_lost_while_the_ledger_is_created_leaves_nothing_in_doubt() {
    let lab = Lab::new();
    let holder = lab.database.session();
    holder.sql("begin; create schema bastion_migrate");
    let running = three_files(&lab, lab.database.server().port()).start();
    lab.database.wait_for("select count(*) from pg_locks where locktype = 'transactionid' and not granted", "1");
    assert_eq!(lab.database.terminate("bastion-migrate%"), 1);
    let finished = running.finish().fails("database-lost", 3).pending(["0001_t", "0002_t", "0003_t"]);
    finished.logs("terminating connection due to administrator command").done();
    holder.sql("rollback");
    three_files(&lab, lab.database.server().port()).run().succeeds().applied(["0001_t", "0002_t", "0003_t"]).done();
}

/// Locks the ledger at the moment of the last commit, so that the verification has to wait, and calls `break_off` then.
fn lose_the_verification<'a>(lab: &'a Lab, action: Action<'a>, break_off: impl FnOnce()) -> Running<'a> {
    let gate = Gate::close(&lab.database, 3);
    let running = action.start();
    gate.wait_until_reached();
    let holder = lab.database.session();
    std::thread::scope(|scope| {
        let held = scope.spawn(|| holder.sql("begin; lock table bastion_migrate.ledger"));
        lab.database.wait_for(&waits_for_ledger("AccessExclusiveLock"), "1");
        gate.open();
        held.join().expect("the lock is granted");
    });
    lab.database.wait_for(&waits_for_ledger("AccessShareLock"), "1");
    break_off();
    running
}

fn waits_for_ledger(mode: &str) -> String {
    format!(
        "select count(*) from pg_locks where relation = 'bastion_migrate.ledger'::regclass and not granted and mode = '{mode}'"
    )
}

#[test]
fn a_verification_that_loses_its_connection_is_repeated_over_a_new_one() {
    let lab = Lab::new();
    let action = three_files(&lab, lab.database.server().port());
    let terminate = || assert_eq!(lab.database.terminate("bastion-migrate%"), 1);
    let verified =
        lose_the_verification(&lab, action, terminate).finish().succeeds().applied(["0001_t", "0002_t", "0003_t"]);
    verified.logs("waiting for the database, to read the ledger again").logs("the ledger confirms it").done();
}

#[test]
fn a_missing_verification_is_not_reported_as_a_failed_migration() {
    let lab = Lab::new();
    let network = Flights::to(lab.database.server().port());
    let action = three_files(&lab, network.port()).input("wait-timeout", "1s");
    let finished = lose_the_verification(&lab, action, || drop(network)).finish().fails("database-lost", 3);
    let finished =
        finished.applied(["0001_t", "0002_t", "0003_t"]).logs("everything was committed: only the proof is missing");
    finished.logs("run `command: verify`").logs("3 of 3 migrations applied").done();
    three_files(&lab, lab.database.server().port()).input("command", "verify").run().succeeds().done();
}

/// Uses a fast shutdown; a smart one waits for the run anyway.
#[test]
fn the_message_of_a_server_that_shuts_down_is_reported() {
    let server = Postgres::start(&Options::default());
    let lab = Lab::on(&server);
    let gate = Gate::close(&lab.database, 2);
    let mut running = three_files(&lab, server.port()).input("wait-timeout", "1s").start();
    gate.wait_until_reached();
    server.shut_down();
    running.wait();
    let finished = running.finish().in_doubt("commit-in-doubt").applied(["0001_t"]);
    let finished = finished
        .logs("the connection broke while a commit was in progress: terminating connection due to administrator");
    finished.summary("it is unknown how many of the 2 files from").done();
    server.resume();
    three_files(&lab, server.port()).run().succeeds().applied(["0002_t", "0003_t"]).done();
}

#[test]
fn a_session_terminated_between_two_attempts_of_a_file_is_reported() {
    let lab = Lab::new();
    lab.database.sql("create table busy (id int); alter table busy owner to app");
    let holder = lab.database.session();
    holder.sql("begin; lock table busy");
    let action = || Action::new(&lab).file("migrations/0001_busy.sql", "alter table busy add name text;\n");
    let running = action().input("lock-timeout", "100ms").start();
    running.wait_for_line("another try of", Duration::from_secs(10));
    lab.database.terminate("bastion-migrate%");
    let finished = running.finish().fails("database-lost", 3).pending(["0001_busy"]);
    finished.logs("terminating connection due to administrator command").done();
    holder.sql("commit");
    action().run().succeeds().applied(["0001_busy"]).done();
}

/// Has a file release the run lock and another session take it, before `next` runs.
fn lose_the_lock_before(next: &str) {
    let lab = Lab::new();
    let key = bastion_migrate::postgres::bastion_migrate_key();
    lab.database.sql("create table there (id int); alter table there owner to app");
    let release = "do $$ begin execute 'select pg_advisory_unlock_all()'; end $$;\n";
    let gate = Gate::close(&lab.database, 1);
    let running = Action::new(&lab)
        .file("migrations/0001_release.sql", format!("{release}{}", Gate::sql(1)))
        .file("migrations/0002_next.sql", next)
        .start();
    gate.wait_until_reached();
    let other = lab.database.session();
    assert_eq!(other.sql(&format!("select pg_try_advisory_lock({key})")), "t");
    gate.open();
    let done = running.finish().fails("lock-lost", 4).applied(["0001_release"]).pending(["0002_next"]);
    done.error_in("migrations/0002_next.sql", "another session has taken it").done();
    assert_eq!(lab.database.sql("select to_regclass('next'), to_regclass('there_id')"), "|");
    drop(other);
    lab.database.wait_for(&format!("select count(*) from pg_locks where objid = ({key} & 4294967295)::oid"), "0");
}

#[test]
fn a_run_lock_that_a_file_has_released_is_missed_before_the_next_file() {
    lose_the_lock_before("create table next (id int);\n");
}

#[test]
fn a_run_lock_that_a_file_has_released_is_missed_before_a_file_without_a_transaction() {
    lose_the_lock_before("create index concurrently there_id on there (id);\n");
}

/// A query of each of them waits for a lock when the bastion is lost.
#[test]
fn the_loss_of_the_bastion_is_the_cause_whichever_command_reads_the_database() {
    for (command, table) in [
        ("plan", "ledger"),
        ("status", "ledger"),
        ("verify", "ledger"),
        ("rollback", "ledger"),
        ("rehearse", "ledger"),
        ("history", "runs"),
    ] {
        let lab = Lab::new().behind(Sshd::plain());
        let step = || Action::new(&lab).file("migrations/0001_a.sql", "create table a ();");
        step().run().succeeds().applied(["0001_a"]).done();
        let holder = lab.database.session();
        holder.sql(&format!("begin; lock table bastion_migrate.{table}"));
        let step = match command {
            "history" => Action::new(&lab),
            "rehearse" => step().secret("rehearse", "postgres://maker:kX93jd02ma@127.0.0.1:1/postgres"),
            "rollback" => step().input("target", "0"),
            _ => step(),
        };
        let running = step.input("command", command).input("wait-timeout", "20s").start();
        let relation = format!("relation = 'bastion_migrate.{table}'::regclass and not granted");
        lab.database.wait_for(&format!("select count(*) from pg_locks where {relation}"), "1");
        lab.bastion.kill_sessions();
        running.finish().fails("bastion-lost", 3).done();
    }
}
