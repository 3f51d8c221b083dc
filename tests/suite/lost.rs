//! The answer to a commit is lost: the run finds out what became of it, or says that nobody knows.

use crate::{
    action::{Action, Running},
    flights::Flights,
    lab::{
        Lab,
        gate::Gate,
        postgres::{Options, Postgres},
    },
};
use std::time::Duration;

/// Three files, with a gate in each; the way to the database is `network`.
fn three<'a>(lab: &'a Lab, port: u16) -> Action<'a> {
    (1..=3)
        .fold(Action::new(lab), |action, number| {
            // Not one of the quick files, whose commits are in doubt until a later one is flushed.
            let sql = format!("create table t{number} (id int);\nselect pg_sleep(0.02);\n{}", Gate::sql(number));
            action.file(&format!("migrations/000{number}_t.sql"), sql)
        })
        .secret("database-url", lab.database.url_at("localhost", port))
        .input("lock-timeout", "0")
}

/// Starts the run and stops the network while the run is in file `number`, then lets the server go on until it has
/// committed that file and the network loses everything.
fn lose_the_answer<'a>(lab: &'a Lab, network: &Flights, action: Action<'a>, number: u32) -> Running<'a> {
    let gate = Gate::close(&lab.database, number);
    let running = action.start();
    gate.reached();
    network.freeze();
    gate.open();
    lab.database.wait_for("select count(*) from bastion_migrate.ledger", &number.to_string());
    network.cut();
    running
}

#[test]
fn a_commit_whose_answer_was_lost_is_settled() {
    let lab = Lab::new();
    let network = Flights::to(lab.database.server().port());
    let running = lose_the_answer(&lab, &network, three(&lab, network.port()), 3);
    network.thaw();
    let settled = running.finish().succeeds().applied(["0001_t", "0002_t", "0003_t"]);
    settled.says("to see what was committed").says(": committed\n").says("the ledger confirms it").done();
    three(&lab, network.port()).run().nothing_to_do().done();
}

#[test]
fn it_is_settled_as_well_when_the_bastion_was_lost() {
    let lab = Lab::new();
    let network = Flights::to(lab.bastion.port);
    let known = lab.bastion.known_hosts_line().replace(&lab.bastion.port.to_string(), &network.port().to_string());
    let action = three(&lab, lab.database.server().port())
        .input("ssh-port", network.port().to_string())
        .input("ssh-known-hosts", known);
    let running = lose_the_answer(&lab, &network, action, 3);
    network.thaw();
    running.finish().succeeds().applied(["0001_t", "0002_t", "0003_t"]).says("the ledger confirms it").done();
}

/// The old session still stands at the gate when the new one asks: the lock tells when it has ended.
#[test]
fn what_is_left_is_counted_when_the_old_session_has_ended() {
    let lab = Lab::new();
    let network = Flights::to(lab.database.server().port());
    let gate = Gate::close(&lab.database, 3);
    let running = lose_the_answer(&lab, &network, three(&lab, network.port()), 2);
    network.thaw();
    running.wait_for_line("waiting for the run lock", Duration::from_secs(10));
    let told = running.finish().fails("database-lost", 3).applied(["0001_t", "0002_t"]).pending(["0003_t"]);
    let told = told.says("held by this run's own previous session (pid ");
    told.says("2 applied, 1 not, according to the ledger").done();
    gate.open();
    three(&lab, network.port()).run().succeeds().applied(["0003_t"]).done();
}

#[test]
fn nobody_knows_when_the_database_does_not_come_back() {
    let lab = Lab::new();
    let network = Flights::to(lab.database.server().port());
    let action = three(&lab, network.port()).input("wait-timeout", "1s");
    let running = lose_the_answer(&lab, &network, action, 3);
    drop(network);
    let told = running.finish().in_doubt("commit-in-doubt").applied(["0001_t", "0002_t"]);
    told.says("in doubt: nobody knows whether 0003_t was committed").summary("nobody knows whether").done();
    three(&lab, lab.database.server().port()).run().nothing_to_do().done();
}

#[test]
fn the_next_run_settles_what_was_in_doubt_and_goes_on() {
    let lab = Lab::new();
    let network = Flights::to(lab.database.server().port());
    let gate = Gate::close(&lab.database, 3);
    let action = three(&lab, network.port()).input("wait-timeout", "1s");
    let running = lose_the_answer(&lab, &network, action, 2);
    drop(network);
    running.finish().in_doubt("commit-in-doubt").applied(["0001_t"]).done();
    gate.open();
    three(&lab, lab.database.server().port()).run().succeeds().applied(["0003_t"]).done();
}

#[test]
fn lost_while_waiting_for_the_lock() {
    let lab = Lab::new();
    let holder = lab.database.session();
    holder.sql(&format!("select pg_advisory_lock({})", bastion_migrate::postgres::bastion_migrate_key()));
    let running = three(&lab, lab.database.server().port()).start();
    running.wait_for_line("waiting for the run lock", Duration::from_secs(10));
    lab.database.terminate("bastion-migrate%");
    let told = running.finish().fails("database-lost", 3);
    told.says("database-lost in lock: terminating connection due to administrator command").done();
}

/// No commit was sent yet, so there is nothing to be in doubt about.
#[test]
fn lost_while_the_ledger_is_made() {
    let lab = Lab::new();
    let holder = lab.database.session();
    holder.sql("begin; create schema bastion_migrate");
    let running = three(&lab, lab.database.server().port()).start();
    lab.database.wait_for("select count(*) from pg_locks where locktype = 'transactionid' and not granted", "1");
    assert_eq!(lab.database.terminate("bastion-migrate%"), 1);
    let told = running.finish().fails("database-lost", 3).pending(["0001_t", "0002_t", "0003_t"]);
    told.says("terminating connection due to administrator command").done();
    holder.sql("rollback");
    three(&lab, lab.database.server().port()).run().succeeds().applied(["0001_t", "0002_t", "0003_t"]).done();
}

/// A session of the lab's takes the ledger in the moment of the last commit, so that the proof has to wait for it.
fn lose_the_proof<'a>(lab: &'a Lab, action: Action<'a>, blow: impl FnOnce()) -> Running<'a> {
    let gate = Gate::close(&lab.database, 3);
    let running = action.start();
    gate.reached();
    let holder = lab.database.session();
    std::thread::scope(|scope| {
        let held = scope.spawn(|| holder.sql("begin; lock table bastion_migrate.ledger"));
        lab.database.wait_for(&waits_for_ledger("AccessExclusiveLock"), "1");
        gate.open();
        held.join().expect("the lock is given");
    });
    lab.database.wait_for(&waits_for_ledger("AccessShareLock"), "1");
    blow();
    running
}

fn waits_for_ledger(mode: &str) -> String {
    format!(
        "select count(*) from pg_locks where relation = 'bastion_migrate.ledger'::regclass and not granted and mode = '{mode}'"
    )
}

#[test]
fn lost_during_the_proof_is_proven_over_a_new_connection() {
    let lab = Lab::new();
    let action = three(&lab, lab.database.server().port());
    let terminate = || assert_eq!(lab.database.terminate("bastion-migrate%"), 1);
    let proven = lose_the_proof(&lab, action, terminate).finish().succeeds().applied(["0001_t", "0002_t", "0003_t"]);
    proven.says("waiting for the database, to read the ledger again").says("the ledger confirms it").done();
}

#[test]
fn a_proof_that_is_missing_is_not_told_as_a_migration_that_failed() {
    let lab = Lab::new();
    let network = Flights::to(lab.database.server().port());
    let action = three(&lab, network.port()).input("wait-timeout", "1s");
    let told = lose_the_proof(&lab, action, || drop(network)).finish().fails("database-lost", 3);
    let told = told.applied(["0001_t", "0002_t", "0003_t"]).says("everything was committed: only the proof is missing");
    told.says("run `command: verify`").says("3 of 3 migrations applied").done();
    three(&lab, lab.database.server().port()).input("command", "verify").run().succeeds().done();
}

/// Fast shutdown; a smart one waits for the run by itself.
#[test]
fn a_server_that_is_shut_down_says_so() {
    let server = Postgres::start(&Options::default());
    let lab = Lab::on(&server);
    let gate = Gate::close(&lab.database, 2);
    let mut running = three(&lab, server.port()).input("wait-timeout", "1s").start();
    gate.reached();
    server.shut_down();
    running.wait();
    let told = running.finish().in_doubt("commit-in-doubt").applied(["0001_t"]);
    let told =
        told.says("the connection broke while a commit was in progress: terminating connection due to administrator");
    told.summary("nobody knows how many of the 2 files from").done();
    server.resume();
    three(&lab, server.port()).run().succeeds().applied(["0002_t", "0003_t"]).done();
}

#[test]
fn terminated_between_two_tries_of_a_file() {
    let lab = Lab::new();
    lab.database.sql("create table busy (id int); alter table busy owner to app");
    let holder = lab.database.session();
    holder.sql("begin; lock table busy");
    let action = || Action::new(&lab).file("migrations/0001_busy.sql", "alter table busy add name text;\n");
    let running = action().input("lock-timeout", "100ms").start();
    running.wait_for_line("another try of", Duration::from_secs(10));
    lab.database.terminate("bastion-migrate%");
    let told = running.finish().fails("database-lost", 3).pending(["0001_busy"]);
    told.says("terminating connection due to administrator command").done();
    holder.sql("commit");
    action().run().succeeds().applied(["0001_busy"]).done();
}

/// A file lets go of the run lock and another session takes it, before `next` has its turn.
fn lose_the_lock_before(next: &str) {
    let lab = Lab::new();
    let key = bastion_migrate::postgres::bastion_migrate_key();
    lab.database.sql("create table there (id int); alter table there owner to app");
    let lets_go = "do $$ begin execute 'select pg_advisory_unlock_all()'; end $$;\n";
    let gate = Gate::close(&lab.database, 1);
    let running = Action::new(&lab)
        .file("migrations/0001_lets_go.sql", format!("{lets_go}{}", Gate::sql(1)))
        .file("migrations/0002_next.sql", next)
        .start();
    gate.reached();
    let other = lab.database.session();
    assert_eq!(other.sql(&format!("select pg_try_advisory_lock({key})")), "t");
    gate.open();
    let done = running.finish().fails("lock-lost", 4).applied(["0001_lets_go"]).pending(["0002_next"]);
    done.error_in("migrations/0002_next.sql", "another session has taken it").done();
    assert_eq!(lab.database.sql("select to_regclass('next'), to_regclass('there_id')"), "|");
    drop(other);
    lab.database.wait_for(&format!("select count(*) from pg_locks where objid = ({key} & 4294967295)::oid"), "0");
}

#[test]
fn a_lock_that_a_file_let_go_of_is_missed_before_the_next_file() {
    lose_the_lock_before("create table next (id int);\n");
}

#[test]
fn a_lock_that_a_file_let_go_of_is_missed_before_a_file_without_a_transaction() {
    lose_the_lock_before("create index concurrently there_id on there (id);\n");
}
