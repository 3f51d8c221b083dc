//! A run that is stopped at any point ends its work and reports the outcome.

use crate::{
    action::{Action, Running},
    lab::{Lab, gate::Gate, sshd::Sshd},
};
use rustix::process::Signal;
use std::{net::TcpListener, time::Duration};

/// Time limit from the first signal to the end.
const BUDGET: Duration = Duration::from_secs(7);
const SOON: Duration = Duration::from_secs(10);

/// The ways of stopping a run.
#[derive(Debug, Clone, Copy)]
enum StopSignal {
    Interrupt,
    Terminate,
    TwoInterrupts,
}

const ALL_SIGNALS: [StopSignal; 3] = [StopSignal::Interrupt, StopSignal::Terminate, StopSignal::TwoInterrupts];

impl StopSignal {
    fn stop(self, running: &Running<'_>) {
        match self {
            Self::Interrupt => running.signal(Signal::INT),
            Self::Terminate => running.signal(Signal::TERM),
            Self::TwoInterrupts => {
                running.signal(Signal::INT);
                running.signal(Signal::INT);
            }
        }
    }
}

fn one_file<'a>(lab: &'a Lab, sql: &str) -> Action<'a> {
    Action::new(lab).file("migrations/0001_one.sql", sql)
}

/// Waits until the step runs a statement like this, in this kind of wait.
fn wait_for_statement(lab: &Lab, like: &str, wait_event_type: &str) {
    let active = format!(
        "select count(*) from pg_stat_activity where datname = current_database() and state = 'active' \
         and application_name like 'bastion-migrate%' and query ilike '{like}' and wait_event_type = '{wait_event_type}'"
    );
    lab.database.wait_for(&active, "1");
}

#[test]
fn a_run_is_stopped_while_the_bastion_does_not_respond() {
    let silent = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
    let port = silent.local_addr().expect("a bound socket has an address").port();
    for signal in ALL_SIGNALS {
        let lab = Lab::new();
        let running = one_file(&lab, "select 1;\n").input("ssh-port", port.to_string()).start();
        let (_connection, _) = silent.accept().expect("the step connects");
        signal.stop(&running);
        running.finish().fails("cancelled", 130).within(BUDGET).done();
    }
}

#[test]
fn a_run_is_stopped_while_it_waits_for_the_database() {
    let lab = Lab::new();
    let closed_port = lab.database.url_at("localhost", 9);
    let running = one_file(&lab, "select 1;\n").secret("database-url", closed_port).start();
    running.wait_for_line("waiting for the database", SOON);
    running.signal(Signal::INT);
    running.finish().fails("cancelled", 130).within(BUDGET).done();
}

#[test]
fn a_run_is_stopped_while_the_database_does_not_respond() {
    let silent = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
    let port = silent.local_addr().expect("a bound socket has an address").port();
    let lab = Lab::new().behind(Sshd::plain());
    let running = one_file(&lab, "select 1;\n").secret("database-url", lab.database.url_at("localhost", port)).start();
    let (_connection, _) = silent.accept().expect("the bastion connects");
    running.signal(Signal::TERM);
    running.finish().fails("cancelled", 130).within(BUDGET).done();
}

#[test]
fn a_run_is_stopped_while_it_waits_for_the_run_lock() {
    let lab = Lab::new();
    let holder = lab.database.session();
    holder.sql(&format!("select pg_advisory_lock({})", bastion_migrate::postgres::bastion_migrate_key()));
    let running = one_file(&lab, "select 1;\n").start();
    running.wait_for_line("waiting for the run lock", SOON);
    running.signal(Signal::INT);
    running.finish().fails("cancelled", 130).within(BUDGET).done();
}

#[test]
fn a_run_is_stopped_during_a_long_statement() {
    for signal in ALL_SIGNALS {
        let lab = Lab::new().behind(Sshd::plain());
        let running = one_file(&lab, "create table gone ();\nselect pg_sleep(60);\n").start();
        wait_for_statement(&lab, "%pg_sleep%", "Timeout");
        signal.stop(&running);
        let finished =
            running.finish().fails("cancelled", 130).pending(["0001_one"]).summary("0001_one.sql) | cancelled |");
        let finished = finished.logs("cancelled 0001_one\n").never_logs("failed 0001_one");
        assert!(finished.outputs["report"].contains("\"fate\":\"cancelled\""), "{}", finished.outputs["report"]);
        finished.within(BUDGET).done();
        assert_eq!(lab.database.sql("select to_regclass('gone')"), "");
        assert_eq!(lab.database.sql("select count(*) from bastion_migrate.ledger"), "0");
    }
}

#[test]
fn a_run_is_stopped_by_its_own_time_limit() {
    let lab = Lab::new().behind(Sshd::plain());
    let action = one_file(&lab, "select pg_sleep(60);\n").input("timeout", "1s");
    let finished = action.run().fails("timed-out", 130).pending(["0001_one"]).within(Duration::from_secs(1) + BUDGET);
    finished.logs("not done after 1 s (`timeout`)").done();
}

#[test]
fn a_run_is_stopped_during_a_concurrent_index_build() {
    let lab = Lab::new();
    lab.database.sql("create table busy (id int); alter table busy owner to app");
    let holder = lab.database.session();
    holder.sql("begin; lock table busy in row exclusive mode");
    let action = || {
        Action::new(&lab)
            .input("lock-timeout", "0")
            .file("migrations/0001_index.sql", "create index concurrently by_id on busy (id);\n")
    };
    let running = action().start();
    wait_for_statement(&lab, "create index concurrently%", "Lock");
    running.signal(Signal::INT);
    let finished = running.finish().fails("cancelled", 130).pending(["0001_index"]).within(BUDGET);
    finished.warning("by_id is INVALID since this run").done();
    holder.sql("rollback");
    action().run().succeeds().applied(["0001_index"]).logs("dropped the INVALID index").done();
}

#[test]
fn a_run_is_stopped_during_copy() {
    let lab = Lab::new();
    lab.database.sql("create table busy (id int); alter table busy owner to app");
    let holder = lab.database.session();
    holder.sql("begin; lock table busy");
    let rows = "1\n".repeat(100_000);
    let running = one_file(&lab, &format!("copy busy from stdin;\n{rows}\\.\n")).input("lock-timeout", "0").start();
    wait_for_statement(&lab, "copy busy%", "Lock");
    running.signal(Signal::INT);
    running.finish().fails("cancelled", 130).pending(["0001_one"]).within(BUDGET).done();
    holder.sql("rollback");
    assert_eq!(lab.database.sql("select count(*) from busy"), "0");
}

#[test]
fn a_run_is_stopped_between_two_tries_of_a_file() {
    let lab = Lab::new();
    lab.database.sql("create table busy (id int); alter table busy owner to app");
    let holder = lab.database.session();
    holder.sql("begin; lock table busy");
    let running = one_file(&lab, "alter table busy add name text;\n").input("lock-timeout", "100ms").start();
    running.wait_for_line("another try of", SOON);
    running.signal(Signal::INT);
    running.finish().fails("cancelled", 130).pending(["0001_one"]).within(BUDGET).done();
}

/// A cancel request can arrive late and cancel the query that checks the outcome. The lab's row stands for a commit
/// that the run got no response for.
#[test]
fn a_late_cancel_request_does_not_hide_what_was_committed() {
    let lab = Lab::new();
    let gate = Gate::close(&lab.database, 1);
    let running = one_file(&lab, &Gate::sql(1)).input("lock-timeout", "0").start();
    gate.wait_until_reached();
    let holder = lab.database.session();
    holder.sql("begin; lock table bastion_migrate.ledger");
    running.signal(Signal::INT);
    let waiting_check =
        "select count(*) from pg_locks where relation = 'bastion_migrate.ledger'::regclass and not granted";
    lab.database.wait_for(waiting_check, "1");
    let checksum = format!("encode(sha256(convert_to($${}$$, 'UTF8')), 'hex')", Gate::sql(1));
    holder.sql(&format!(
        "insert into bastion_migrate.ledger (version, name, checksum, duration_ms) values (1, 'one', {checksum}, 1)"
    ));
    lab.database.sql(&format!("select pg_cancel_backend({})", lab.database.backend()));
    holder.sql("commit");
    running.finish().fails("cancelled", 130).applied(["0001_one"]).within(BUDGET).done();
}

/// At any point, the report matches the ledger exactly.
#[test]
fn a_run_is_stopped_in_the_middle_of_five_hundred_files() {
    let name = |number: &usize| format!("{number:04}_t");
    for applied_at_signal in [1, 40, 200] {
        let lab = Lab::new();
        let running = (1..=500_usize)
            .fold(Action::new(&lab), |action, number| {
                let sql = format!("create table t{number} (id int);\nselect pg_sleep(0.004);\n");
                action.file(&format!("migrations/{}.sql", name(&number)), sql)
            })
            .start();
        running.wait_for_line(&format!("applied {}", name(&applied_at_signal)), SOON);
        running.signal(Signal::INT);
        let finished = running.finish();
        let count: usize =
            lab.database.sql("select count(*) from bastion_migrate.ledger").parse().expect("a count is a number");
        let names: Vec<String> = (1..=500).map(|number| name(&number)).collect();
        let (applied, pending) = names.split_at(count);
        assert!(count >= applied_at_signal && count < 500, "{count} of 500 after {applied_at_signal}");
        let finished = finished.fails("cancelled", 130).applied(applied.iter().map(String::as_str));
        finished.pending(pending.iter().map(String::as_str)).within(BUDGET).done();
    }
}

/// A frozen bastion forwards no cancel request, and the database does not notice that the step has ended: its statement
/// continues until the connection is closed. The run reports the unknown outcome.
#[test]
fn a_run_is_stopped_behind_a_frozen_bastion() {
    let lab = Lab::new().behind(Sshd::plain());
    let gate = Gate::close(&lab.database, 1);
    let sql = format!("create table t1 (id int);\n{}", Gate::sql(1));
    let action = || one_file(&lab, &sql).input("lock-timeout", "0");
    let mut running = action().start();
    gate.wait_until_reached();
    lab.bastion.freeze_sessions();
    running.signal(Signal::INT);
    running.wait();
    // The server does not know: the statement continues and commits.
    gate.wait_until_reached();
    gate.open();
    lab.database.wait_for("select count(*) from bastion_migrate.ledger", "1");
    let mut second = action().input("lock-wait", "0").start();
    second.wait();
    lab.bastion.thaw_sessions();
    second.finish().fails("lock-held", 4).logs("the run lock is held by the run https://github.com/octo/app").done();
    let mut finished = running.finish();
    finished = finished.in_doubt("cancelled").logs("in doubt: it is unknown whether 0001_one was committed");
    finished.logs("the database could not be asked to stop (no answer within 4 s)").within(BUDGET).done();
    action().run().nothing_to_do().done();
}

#[test]
fn a_run_is_stopped_while_it_checks_an_unconfirmed_commit() {
    let lab = Lab::new();
    let network = crate::flights::Flights::to(lab.database.server().port());
    let gate = Gate::close(&lab.database, 1);
    let running =
        one_file(&lab, &Gate::sql(1)).secret("database-url", lab.database.url_at("localhost", network.port())).start();
    gate.wait_until_reached();
    drop(network);
    running.wait_for_line("to see what was committed", SOON);
    running.signal(Signal::INT);
    running.finish().in_doubt("cancelled").logs("it is unknown whether 0001_one").within(BUDGET).done();
}

/// The report is written after the work has stopped; a signal then has no effect.
#[test]
fn a_second_signal_does_not_lose_the_report() {
    let lab = Lab::new();
    let silent = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
    let port = silent.local_addr().expect("a bound socket has an address").port();
    let action = one_file(&lab, "select pg_sleep(60);\n")
        .input("comment", "always")
        .file("event.json", r#"{"pull_request":{"number":3}}"#)
        .env("GITHUB_API_URL", format!("http://127.0.0.1:{port}"));
    let event = action.workspace().join("event.json").display().to_string();
    let running = action.env("GITHUB_EVENT_PATH", event).env("GITHUB_EVENT_NAME", "pull_request").start();
    wait_for_statement(&lab, "%pg_sleep%", "Timeout");
    running.signal(Signal::INT);
    // The step writes its comment now, and GitHub does not respond.
    let (_connection, _) = silent.accept().expect("the step connects to GitHub");
    running.signal(Signal::TERM);
    running
        .finish()
        .fails("cancelled", 130)
        .pending(["0001_one"])
        .warning("did not answer within 4.")
        .within(BUDGET)
        .done();
}
