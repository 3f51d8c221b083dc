//! `executor: server` when the connection, the session, the job or the lock is lost: the command on the server
//! continues or is ended as intended, and the report is right. With a database and without one.
#![expect(clippy::disallowed_methods, reason = "reads the process list, as any user on the server can, and sleeps")]

use crate::{
    action::{Action, Running},
    flights::Flights,
    judge::Finished,
    lab::{
        Lab,
        gate::Gate,
        poll,
        server::{BACKEND, Server},
    },
};
use rustix::process::Signal;
use std::{
    fs,
    process::Command,
    thread,
    time::{Duration, Instant},
};

/// The application's migrations, in their order. The last one waits at two gates.
const MIGRATIONS: [&str; 6] = [
    "carriers.0001_initial",
    "suppliers.0001_initial",
    "customers.0001_initial",
    "customers.0002_region",
    "customers.0003_first_customer",
    "customers.0004_gates",
];

/// The migrations before the one with the gates, and that one.
const BEFORE_LAST: &[&str] = MIGRATIONS.split_at(5).0;
const LAST: &[&str] = MIGRATIONS.split_at(5).1;

/// Number of lines before each gate. The lines before the second take two seconds.
const LINES: usize = 100;

const GATES: &str = "import time

from django.db import migrations


def work(apps, schema_editor):
    print(flush=True)
    with schema_editor.connection.cursor() as cursor:
        cursor.execute('create table gated ()')
        for gate in (1, 2):
            for line in range(100):
                print(f'line {gate} {line}', flush=True)
                time.sleep(0.02 * (gate - 1))
            cursor.execute(\"select pg_advisory_xact_lock(%s) from set_config('lock_timeout', '0', true)\", [gate])
    print('behind the gates', flush=True)


class Migration(migrations.Migration):
    dependencies = [('customers', '0003_first_customer')]
    operations = [migrations.RunPython(work)]
";

/// Time limit from the first signal to the end.
const BUDGET: Duration = Duration::from_secs(7);
const SOON: Duration = Duration::from_secs(20);
const RECONNECTING: &str = "waiting for the server, where the command still runs";

/// The source of the proof.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Proof {
    /// The ledger: a database is given.
    Ledger,
    /// The tool's own listing.
    Listing,
}

const BOTH_PROOFS: [Proof; 2] = [Proof::Ledger, Proof::Listing];

/// Runs the test for all cases concurrently, each on its own servers: most of the time they wait.
fn with_each<T: Send>(cases: impl IntoIterator<Item = T>, test: impl Fn(T) + Sync) {
    let test = &test;
    thread::scope(|scope| cases.into_iter().for_each(|case| drop(scope.spawn(move || test(case)))));
}

/// Starts a server with the project and the migration with gates.
fn server_with_gates() -> (Lab, Server) {
    let lab = Lab::new();
    let migration = format!("{BACKEND}/customers/migrations/0004_gates.py");
    let server = Server::with_project(&lab.database).file(&migration, GATES);
    (lab, server)
}

/// A step on the server without a tool.
fn bare_step<'a>(lab: &'a Lab, server: &'a Server) -> Action<'a> {
    Action::on_server(lab, server).input("working-directory", BACKEND).input("keepalive", "2s")
}

fn step<'a>(lab: &'a Lab, server: &'a Server, proof: Proof) -> Action<'a> {
    let step = bare_step(lab, server).input("tool", "django").input("setup", "source ../venv/bin/activate");
    // A gate is an advisory lock, so there must be no lock timeout.
    let step = step.input("lock-timeout", "0");
    match proof {
        Proof::Ledger => step.secret("database-url", lab.database.url()),
        Proof::Listing => step,
    }
}

/// Lets the step connect through a network that the test can freeze.
fn through<'a>(network: &Flights, server: &Server, step: Action<'a>) -> Action<'a> {
    let (port, known) = (server.sshd().port.to_string(), server.sshd().known_hosts_line());
    let to = network.port().to_string();
    step.input("ssh-known-hosts", known.replace(&port, &to)).input("ssh-port", to)
}

/// Counts the sessions that hold the run lock.
fn count_lock_holders(lab: &Lab) -> String {
    let key = bastion_migrate::postgres::bastion_migrate_key();
    lab.database.sql(&format!(
        "select count(*) from pg_locks where locktype = 'advisory' and granted \
         and objid = ({key} & 4294967295)::oid and database = (select oid from pg_database where datname = current_database())"
    ))
}

/// Lists the application's processes on the server.
fn tool_processes(server: &Server) -> Vec<String> {
    let processes = server.login().processes().into_values();
    // `sleep 0.2` belongs to the follower, which may outlive the command for a moment.
    let sleeps = |command_line: &String| command_line.contains("sleep ") && !command_line.ends_with("sleep 0.2");
    processes.filter(|command_line| command_line.contains("manage.py") || sleeps(command_line)).collect()
}

/// Waits until the tool has no session in the database.
fn wait_for_no_backend(lab: &Lab) {
    lab.database.wait_for(
        "select count(*) from pg_stat_activity where datname = current_database() and application_name <> 'lab'",
        "0",
    );
}

impl Finished {
    /// Expects every line of the tool once and in order.
    fn every_line(self) -> Self {
        let lines = |gate| (0..LINES).map(move |line| format!("line {gate} {line}"));
        let expected: Vec<String> = lines(1).chain(lines(2)).chain(["behind the gates".to_owned()]).collect();
        let tool_lines = self.log.lines().filter_map(|line| line.strip_prefix("  | "));
        let tool_lines = tool_lines.filter(|line| line.starts_with("line ") || line.starts_with("behind "));
        assert_eq!(tool_lines.collect::<Vec<_>>(), expected, "{}", self.log);
        self
    }

    /// Expects success after a reconnect, with all lines and all migrations.
    fn succeeds_after_reconnect(self) -> Self {
        self.every_line().succeeds().applied(MIGRATIONS).logs(RECONNECTING)
    }
}

/// Expects the log to name the source of the proof.
fn logs_proof(finished: Finished, proof: Proof) -> Finished {
    match proof {
        Proof::Ledger => finished.logs("the ledger confirms it"),
        Proof::Listing => finished.logs("the tool's own listing"),
    }
}

/// Waits at the second gate until the run has its new connection and, with a database, the run lock; then opens the
/// gate.
fn open_after_reconnect(lab: &Lab, gate: Gate<'_>, proof: Proof) {
    gate.wait_until_reached();
    if proof == Proof::Ledger {
        poll(SOON, || (count_lock_holders(lab) == "1").then_some(())).expect("the run takes the run lock again");
    }
    gate.open();
}

/// Twice: while the tool prints nothing, and in the middle of its output.
#[test]
fn a_terminated_connection_is_restored() {
    with_each(BOTH_PROOFS, |proof| {
        let (lab, server) = server_with_gates();
        let (first, second) = (Gate::close(&lab.database, 1), Gate::close(&lab.database, 2));
        let running = step(&lab, &server, proof).start();
        first.wait_until_reached();
        running.wait_for_line("line 1 99", SOON);
        server.sshd().kill_sessions();
        running.wait_for_line(RECONNECTING, SOON);
        first.open();
        running.wait_for_line("line 2 20", SOON);
        server.sshd().kill_sessions();
        open_after_reconnect(&lab, second, proof);
        let finished = logs_proof(running.finish().succeeds_after_reconnect(), proof);
        assert_eq!(finished.log.matches(RECONNECTING).count(), 2, "{}", finished.log);
        finished.done();
    });
}

/// A server that shuts down ends all processes of a login's session, and the follower may be the first.
#[test]
fn a_killed_follower_on_the_server_is_replaced() {
    let (lab, server) = server_with_gates();
    let gate = Gate::close(&lab.database, 1);
    let running = step(&lab, &server, Proof::Listing).start();
    gate.wait_until_reached();
    let is_follower = |command_line: &&String| command_line.as_str() == "sh -s";
    let followers = server.login().processes();
    let followers =
        followers.iter().filter(|(_, command_line)| is_follower(command_line)).map(|(pid, _)| pid.to_string());
    assert!(Command::new("kill").arg("-KILL").args(followers).status().unwrap().success());
    gate.open();
    running.finish().every_line().succeeds().applied(MIGRATIONS).done();
}

/// The command continues, whether the run notices the freeze or not.
#[test]
fn a_run_survives_a_network_that_is_frozen_for_twenty_seconds() {
    with_each([("2s", true), ("15s", false)], |(keepalive, noticed)| {
        let (lab, server) = server_with_gates();
        let network = Flights::to(server.sshd().port);
        let (first, second) = (Gate::close(&lab.database, 1), Gate::close(&lab.database, 2));
        let action = through(&network, &server, step(&lab, &server, Proof::Ledger));
        let running = action.input("keepalive", keepalive).start();
        first.wait_until_reached();
        network.freeze();
        let frozen = Instant::now();
        first.open();
        second.wait_until_reached();
        thread::sleep(Duration::from_secs(20).saturating_sub(frozen.elapsed()));
        assert_eq!(running.log().contains(RECONNECTING), noticed, "{}", running.log());
        network.thaw();
        open_after_reconnect(&lab, second, Proof::Ledger);
        let finished = logs_proof(running.finish().every_line().succeeds().applied(MIGRATIONS), Proof::Ledger);
        (if noticed { finished.logs(RECONNECTING) } else { finished.never_logs(RECONNECTING) }).done();
    });
}

/// The server does not notice that the first connection is gone: the old session still holds the run lock, and the old
/// process the slot.
#[test]
fn a_stale_first_connection_does_not_block_the_second() {
    let (lab, server) = server_with_gates();
    let network = Flights::to(server.sshd().port);
    let (first, second) = (Gate::close(&lab.database, 1), Gate::close(&lab.database, 2));
    let mut running =
        through(&network, &server, step(&lab, &server, Proof::Ledger)).input("wait-timeout", "20s").start();
    first.wait_until_reached();
    network.freeze_existing();
    running.wait_for_line(RECONNECTING, SOON);
    first.open();
    second.wait_until_reached();
    second.open();
    running.wait();
    // Ends the first connection's remaining session and process.
    network.cut();
    network.thaw();
    running.finish().succeeds_after_reconnect().done();
}

#[test]
fn a_run_waits_for_a_server_that_refuses_connections_for_a_while() {
    let (lab, server) = server_with_gates();
    let (first, second) = (Gate::close(&lab.database, 1), Gate::close(&lab.database, 2));
    let running = step(&lab, &server, Proof::Ledger).start();
    first.wait_until_reached();
    server.sshd().stop();
    running.wait_for_line("refuses the connection", SOON);
    first.open();
    second.wait_until_reached();
    server.sshd().resume();
    open_after_reconnect(&lab, second, Proof::Ledger);
    logs_proof(running.finish().succeeds_after_reconnect(), Proof::Ledger).done();
}

/// Starts a run, takes its server away until it gives up, and returns it; its command still waits at the gate.
fn start_and_give_up<'a>(server: &Server, gate: &Gate<'_>, step: Action<'a>) -> Running<'a> {
    let mut running = step.input("wait-timeout", "5s").start();
    gate.wait_until_reached();
    server.sshd().stop();
    running.wait();
    server.sshd().resume();
    // The command still runs.
    gate.wait_until_reached();
    assert_eq!(tool_processes(server).len(), 1, "{:?}", tool_processes(server));
    running
}

/// Expects the report of a run that gave up.
fn expect_in_doubt(finished: Finished) -> Finished {
    let finished =
        finished.in_doubt("commit-in-doubt").logs("the connection to the server was lost and could not be restored");
    let finished = finished
        .logs("the next run waits for the command that still runs there")
        .summary("it is unknown how many of the 6");
    MIGRATIONS
        .iter()
        .fold(finished, |finished, name| finished.logs(&format!("in doubt: it is unknown whether {name} was")))
}

#[test]
fn the_next_run_waits_for_a_command_that_still_runs_and_then_continues() {
    with_each(BOTH_PROOFS, |proof| {
        let (lab, server) = server_with_gates();
        let (gate, second) = (Gate::close(&lab.database, 1), Gate::close(&lab.database, 2));
        second.open();
        let lost = start_and_give_up(&server, &gate, step(&lab, &server, proof));

        let mut refused = step(&lab, &server, proof).input("lock-wait", "2s").start();
        refused.wait();
        let mut waiting = step(&lab, &server, proof).start();
        waiting.wait_for_line("its command is still running", SOON);
        gate.open();
        waiting.wait();
        let finished = refused.finish().fails("lock-held", 4);
        finished.error("github.com/octo/app/actions/runs/4711").logs("its command is still running").done();
        waiting
            .finish()
            .nothing_to_do()
            .logs("was cut off from the server while")
            .logs("it has succeeded since")
            .done();
        expect_in_doubt(lost.finish()).done();
    });
}

#[test]
fn the_next_run_reports_how_the_remaining_command_ended() {
    let (lab, server) = server_with_gates();
    let gate = Gate::close(&lab.database, 1);
    let lost = start_and_give_up(&server, &gate, step(&lab, &server, Proof::Listing));
    lab.database.terminate("bastion-migrate%");
    poll(SOON, || tool_processes(&server).is_empty().then_some(())).expect("the tool ends");
    gate.open();
    let finished = step(&lab, &server, Proof::Listing).run().succeeds().applied(LAST.iter().copied());
    finished.warning("it has ended with code 1 since").logs("SSL connection has been closed unexpectedly").done();
    expect_in_doubt(lost.finish()).done();
    step(&lab, &server, Proof::Listing).run().nothing_to_do().done();
}

/// Another run starts between the loss and the new connection; the first run continues first.
#[test]
fn another_run_that_starts_during_a_reconnect_waits() {
    with_each(BOTH_PROOFS, |proof| {
        let (lab, server) = server_with_gates();
        let network = Flights::to(server.sshd().port);
        let (first, second) = (Gate::close(&lab.database, 1), Gate::close(&lab.database, 2));
        let mut running = through(&network, &server, step(&lab, &server, proof)).start();
        first.wait_until_reached();
        network.freeze();
        network.cut();
        running.wait_for_line(RECONNECTING, SOON);
        // The lab's servers notice the loss after a while.
        poll(SOON, || (count_lock_holders(&lab) == "0").then_some(())).expect("the session ends with its connection");
        let mut other = step(&lab, &server, proof).start();
        other.wait_for_line("its command is still running", SOON);
        network.thaw();
        first.open();
        second.wait_until_reached();
        second.open();
        running.wait();
        other.wait();
        other.finish().nothing_to_do().done();
        running.finish().succeeds_after_reconnect().done();
    });
}

#[test]
fn the_next_run_settles_a_killed_run() {
    with_each(BOTH_PROOFS, |proof| {
        let (lab, server) = server_with_gates();
        let gate = Gate::close(&lab.database, 1);
        let running = step(&lab, &server, proof).start();
        gate.wait_until_reached();
        running.kill();
        let waiting = step(&lab, &server, proof).start();
        waiting.wait_for_line("its command is still running", SOON);
        gate.wait_until_reached();
        gate.open();
        waiting.finish().nothing_to_do().logs("it has succeeded since").done();
    });
}

#[test]
fn a_run_that_is_stopped_ends_its_statement() {
    with_each([(Proof::Ledger, Signal::INT), (Proof::Listing, Signal::TERM)], |(proof, signal)| {
        let (lab, server) = server_with_gates();
        let gate = Gate::close(&lab.database, 1);
        let mut running = step(&lab, &server, proof).start();
        gate.wait_until_reached();
        running.signal(signal);
        running.wait();
        assert_eq!(tool_processes(&server), Vec::<String>::new());
        wait_for_no_backend(&lab);
        let finished = running.finish().fails("cancelled", 130).within(BUDGET);
        let finished = finished.applied(BEFORE_LAST.iter().copied()).pending(LAST.iter().copied());
        finished.summary("Stopped: ").done();
        assert_eq!(lab.database.sql("select to_regclass('gated')"), "");
    });
}

/// Returns the names in Django's ledger.
fn recorded(lab: &Lab) -> Vec<String> {
    let all = || lab.database.sql("select app || '.' || name from django_migrations order by id");
    let exists = !lab.database.sql("select to_regclass('django_migrations')").is_empty();
    if exists { all().lines().map(str::to_owned).collect() } else { Vec::new() }
}

/// At any moment, the report matches the ledger exactly, and no process remains.
#[test]
fn a_run_that_is_stopped_at_any_moment_leaves_nothing_behind() {
    let (lab, server) = server_with_gates();
    let _gate = Gate::close(&lab.database, 1);
    let mut moments = [0; 8];
    getrandom::fill(&mut moments).unwrap();
    for (moment, proof) in moments.into_iter().zip(BOTH_PROOFS.into_iter().cycle()) {
        let before = recorded(&lab);
        let mut running = step(&lab, &server, proof).start();
        running.wait_for_line("::group::bastion", SOON);
        let delay = Duration::from_millis(10 * u64::from(moment));
        thread::sleep(delay);
        running.signal(Signal::INT);
        running.wait();
        assert_eq!(tool_processes(&server), Vec::<String>::new(), "after {delay:?}");
        wait_for_no_backend(&lab);
        let after = recorded(&lab);
        let finished = running.finish();
        let planned = finished.outputs.get("plan-digest").is_some_and(|digest| !digest.is_empty());
        let left = MIGRATIONS.iter().skip(after.len()).copied().filter(|_| planned).collect::<Vec<_>>();
        let applied = after.iter().skip(before.len()).map(String::as_str);
        finished.fails("cancelled", 130).applied(applied).pending(left).within(BUDGET).done();
    }
}

#[test]
fn a_run_that_is_stopped_during_a_connection_loss_reports_doubt() {
    let (lab, server) = server_with_gates();
    let gate = Gate::close(&lab.database, 1);
    let mut running = step(&lab, &server, Proof::Ledger).start();
    gate.wait_until_reached();
    server.sshd().stop();
    running.wait_for_line(RECONNECTING, SOON);
    running.signal(Signal::INT);
    running.wait();
    server.sshd().resume();
    gate.open();
    step(&lab, &server, Proof::Ledger).run().nothing_to_do().logs("it has succeeded since").done();
    let finished = running.finish().in_doubt("cancelled").within(BUDGET);
    finished.logs("the command on the server may not have been stopped").logs("the next run waits for it").done();
}

#[test]
fn a_run_that_exceeds_its_time_limit_ends_its_work() {
    let whole_run = (("timeout", "12s"), "timed-out", 130);
    let step_alone = (("steps", "[{ run: python manage.py migrate, timeout: 8s }]"), "step-timeout", 6);
    let cases = [whole_run, step_alone].into_iter().flat_map(|case| BOTH_PROOFS.map(|proof| (proof, case)));
    with_each(cases, |(proof, ((input, limit), code, exit))| {
        let (lab, server) = server_with_gates();
        let _gate = Gate::close(&lab.database, 1);
        let mut running = step(&lab, &server, proof).input(input, limit).start();
        running.wait();
        // The follower on the server may still sleep for a moment.
        poll(SOON, || tool_processes(&server).is_empty().then_some(())).expect("its work has ended");
        wait_for_no_backend(&lab);
        let finished = running.finish().fails(code, exit).applied(BEFORE_LAST.iter().copied());
        finished.pending(LAST.iter().copied()).done();
    });
}

/// The run could not end the command, so the report must not claim that it did.
#[test]
fn a_step_timeout_during_a_connection_loss_is_in_doubt() {
    let (lab, server) = server_with_gates();
    let gate = Gate::close(&lab.database, 1);
    let steps = "[{ name: Migrate, run: python manage.py migrate, timeout: 6s }]";
    let mut running = step(&lab, &server, Proof::Listing).input("steps", steps).start();
    gate.wait_until_reached();
    server.sshd().stop();
    running.wait();
    server.sshd().resume();
    gate.wait_until_reached();
    gate.open();
    step(&lab, &server, Proof::Listing).run().nothing_to_do().logs("it has succeeded since").done();
    running.finish().in_doubt("commit-in-doubt").logs("was not done after 6 s").done();
}

#[test]
fn the_tool_is_stopped_when_the_lock_session_is_terminated() {
    let (lab, server) = server_with_gates();
    let gate = Gate::close(&lab.database, 1);
    let running = step(&lab, &server, Proof::Ledger).start();
    gate.wait_until_reached();
    // The session that holds the lock.
    assert_eq!(lab.database.terminate("bastion-migrate#%"), 1);
    let finished = running.finish().fails("database-lost", 3).applied(BEFORE_LAST.iter().copied());
    finished.pending(LAST.iter().copied()).logs("so the work was stopped").done();
    assert_eq!(tool_processes(&server), Vec::<String>::new());
    wait_for_no_backend(&lab);
    gate.open();
    step(&lab, &server, Proof::Ledger).run().succeeds().applied(LAST.iter().copied()).done();
}

/// The run can't know whether it still has the lock, and waits no longer than `wait-timeout` for a response.
#[test]
fn the_tool_is_stopped_when_the_lock_session_gets_no_response() {
    let (lab, server) = server_with_gates();
    let network = Flights::to(lab.database.server().port());
    let gate = Gate::close(&lab.database, 1);
    let action = step(&lab, &server, Proof::Ledger).input("wait-timeout", "3s");
    let mut running = action.secret("database-url", lab.database.url_at("localhost", network.port())).start();
    gate.wait_until_reached();
    network.freeze();
    running.wait();
    assert_eq!(tool_processes(&server), Vec::<String>::new());
    network.thaw();
    let finished = running.finish().in_doubt("database-lost");
    finished.logs("the database has not answered for 3 s (`wait-timeout`)").logs("so the work was stopped").done();
    gate.open();
    step(&lab, &server, Proof::Ledger).run().succeeds().applied(LAST.iter().copied()).done();
}

/// Another session has the run lock after the reconnect, so the tool must not continue.
#[test]
fn the_tool_is_stopped_when_another_session_holds_the_run_lock() {
    let (lab, server) = server_with_gates();
    let gate = Gate::close(&lab.database, 1);
    let mut running = step(&lab, &server, Proof::Ledger).input("wait-timeout", "4s").start();
    gate.wait_until_reached();
    server.sshd().stop();
    let other = lab.database.session();
    other.sql(&format!("select pg_advisory_lock({})", bastion_migrate::postgres::bastion_migrate_key()));
    server.sshd().resume();
    running.wait();
    assert_eq!(tool_processes(&server), Vec::<String>::new());
    wait_for_no_backend(&lab);
    drop(other);
    running.finish().in_doubt("lock-held").logs("so the work was stopped").done();
    gate.open();
    step(&lab, &server, Proof::Ledger).run().succeeds().applied(LAST.iter().copied()).done();
}

/// A server that notices a crash ends all sessions, also those that it has accepted since.
#[test]
fn a_lock_session_that_is_lost_again_is_opened_again() {
    let (lab, server) = server_with_gates();
    let gate = Gate::close(&lab.database, 1);
    let running = step(&lab, &server, Proof::Ledger).start();
    gate.wait_until_reached();
    server.sshd().stop();
    let other = lab.database.session();
    other.sql(&format!("select pg_advisory_lock({})", bastion_migrate::postgres::bastion_migrate_key()));
    server.sshd().resume();
    running.wait_for_line("waiting for the run lock", SOON);
    assert_eq!(lab.database.terminate("bastion-migrate#%"), 1);
    drop(other);
    open_after_reconnect(&lab, gate, Proof::Ledger);
    running.finish().succeeds_after_reconnect().done();
}

/// Reads the process list and the home directory all the time.
#[test]
fn no_secret_is_visible_on_the_server() {
    let (lab, server) = server_with_gates();
    let gates = [Gate::close(&lab.database, 1), Gate::close(&lab.database, 2)];
    let step = bare_step(&lab, &server).input("tool", "django").input("setup", "source ../venv/bin/activate");
    let mut running = step
        .input("lock-timeout", "0")
        .secret("database-url", lab.database.url())
        .secret("ssh-password", server.login().password())
        .input("env", "SECRET=told-to-the-tool-alone")
        .secret_env("PASSED", "passed-to-the-tool-alone")
        .input("pass-env", "PASSED")
        .input("before", "[{ name: Sees, run: 'test -n \"$SECRET$PASSED\"; echo ${#SECRET} ${#PASSED}' }]")
        .start();
    let secrets = ["told-to-the-tool-alone", "passed-to-the-tool-alone", server.login().password(), "BEGIN OPENSSH"];
    let password = lab.database.url();
    let known = server.snapshot();
    let (mut gates, mut rounds, mut lines) = (gates.into_iter().collect::<Vec<_>>(), 0, 0);
    while running.ended().is_none() {
        let listed = Command::new("ps").args(["auxww"]).output().unwrap();
        let mut visible = String::from_utf8_lossy(&listed.stdout).into_owned();
        lines += visible.matches("sh -s").count();
        for (path, content) in server.snapshot().into_iter().filter(|(path, content)| known.get(path) != Some(content))
        {
            visible.extend([path.to_string_lossy().as_ref(), ": ", &String::from_utf8_lossy(&content), "\n"]);
        }
        for secret in secrets.iter().copied().chain([password.as_str(), "lab%3A%25", "the@lab:%"]) {
            assert!(!visible.contains(secret), "`{secret}` is visible: {visible}");
        }
        rounds += 1;
        if rounds % 10 == 0 {
            drop(gates.pop());
        }
    }
    assert!(rounds > 20 && lines > 20, "{rounds} looks, {lines} lines");
    running.finish().succeeds().applied(MIGRATIONS).logs("| 22 24").done();
}

/// A command that prints three lines, waits for a file and prints a last line.
fn counting(name: &str) -> String {
    format!("for i in 1 2 3; do echo {name} $i; done; while ! [ -e ~/go ]; do sleep 0.1; done; echo {name} done")
}

#[test]
fn steps_before_and_after_survive_a_lost_connection() {
    let (lab, server) = server_with_gates();
    let before = format!("[{{ name: First, run: {:?} }}]", counting("first"));
    let after = format!("[{{ name: Last, run: {:?} }}]", counting("last"));
    let action = step(&lab, &server, Proof::Listing).input("before", before).input("after", after);
    let running = action.start();
    for name in ["first", "last"] {
        running.wait_for_line(&format!("  | {name} 3"), SOON);
        server.sshd().kill_sessions();
        poll(SOON, || (running.log().matches(RECONNECTING).count() > usize::from(name == "last")).then_some(()))
            .expect("the run notices the loss");
        fs::write(server.path("go"), "").unwrap();
        running.wait_for_line(&format!("  | {name} done"), SOON);
        fs::remove_file(server.path("go")).unwrap();
    }
    let finished = running.finish().succeeds().applied(MIGRATIONS);
    for name in ["first", "last"] {
        let count = finished.log.lines().filter(|line| line.starts_with(&format!("  | {name} "))).count();
        assert_eq!(count, 4, "{}", finished.log);
    }
    finished.summary("| First | done |").summary("| Last | done |").done();
}

/// A step for failures can't run without a connection, and an optional step does not make the loss optional.
#[test]
fn steps_after_a_permanent_loss_do_not_wait_again() {
    let (lab, server) = server_with_gates();
    let before = format!(
        "[{{ name: First, run: {:?}, optional: true }}, {{ name: Second, run: 'touch ~/second' }}]",
        counting("first")
    );
    let after = "[{ name: Sorry, run: 'touch ~/sorry', when: failure }]";
    let action = step(&lab, &server, Proof::Ledger).input("before", before).input("after", after);
    let mut running = action.input("wait-timeout", "4s").start();
    running.wait_for_line("  | first 3", SOON);
    server.sshd().stop();
    running.wait();
    server.sshd().resume();
    fs::write(server.path("go"), "").unwrap();
    // Between two checks for the file, only the step's shell runs.
    poll(SOON, || server.login().processes().is_empty().then_some(())).expect("the step ends");
    fs::remove_file(server.path("go")).unwrap();
    assert!(!server.path("second").exists() && !server.path("sorry").exists());
    let next = step(&lab, &server, Proof::Ledger).run();
    next.succeeds().applied(MIGRATIONS).logs("was cut off from the server while").done();
    let finished = running.finish();
    let steps = finished.log.lines().filter(|line| line.starts_with("  step ")).collect::<Vec<_>>();
    assert_eq!(
        (steps, finished.log.matches(RECONNECTING).count()),
        (vec!["  step First", "  step Sorry"], 1),
        "{}",
        finished.log
    );
    finished.in_doubt("commit-in-doubt").warning("in the step `Sorry`").done();
}

#[test]
fn two_concurrent_jobs_run_one_after_the_other() {
    let (lab, server) = server_with_gates();
    let gate = Gate::close(&lab.database, 1);
    let mut first = step(&lab, &server, Proof::Listing).start();
    gate.wait_until_reached();
    let mut second = step(&lab, &server, Proof::Listing).start();
    second.wait_for_line("waiting for the run on the server", SOON);
    gate.open();
    first.wait();
    second.wait();
    second.finish().nothing_to_do().done();
    first.finish().succeeds().applied(MIGRATIONS).every_line().done();
}
