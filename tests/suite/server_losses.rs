//! `executor: server`, and the connection, the session, the job or the lock is lost: what runs on the server goes on or is
//! ended, as it is told, and the report is right. With a database and without one.
#![expect(
    clippy::disallowed_methods,
    reason = "looks at the process list as anybody on the server can, and lets time pass"
)]

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

/// What the application applies, in this order; at the last two there are gates.
const MIGRATIONS: [&str; 6] = [
    "carriers.0001_initial",
    "suppliers.0001_initial",
    "customers.0001_initial",
    "customers.0002_region",
    "customers.0003_first_customer",
    "customers.0004_gates",
];

/// What was applied before the gates, and what was not.
const BEFORE: &[&str] = MIGRATIONS.split_at(5).0;
const GATED: &[&str] = MIGRATIONS.split_at(5).1;

/// So many lines before each gate; those before the second take two seconds.
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

/// From the first signal to the end.
const BUDGET: Duration = Duration::from_secs(7);
const SOON: Duration = Duration::from_secs(20);
const AGAIN: &str = "waiting for the server, where the command still runs";

/// What the proof is read from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Proof {
    /// The ledger: a database is given.
    Ledger,
    /// The tool's own listing.
    Listing,
}

const EACH: [Proof; 2] = [Proof::Ledger, Proof::Listing];

/// Each case on servers of its own, all at once: most of the time they wait.
fn with_each<T: Send>(cases: impl IntoIterator<Item = T>, test: impl Fn(T) + Sync) {
    let test = &test;
    thread::scope(|scope| cases.into_iter().for_each(|case| drop(scope.spawn(move || test(case)))));
}

/// A server with the project and its gates.
fn gated() -> (Lab, Server) {
    let lab = Lab::new();
    let migration = format!("{BACKEND}/customers/migrations/0004_gates.py");
    let server = Server::with_project(&lab.database).file(&migration, GATES);
    (lab, server)
}

/// A step that has only its shell there to do.
fn shell<'a>(lab: &'a Lab, server: &'a Server) -> Action<'a> {
    Action::on_server(lab, server).input("working-directory", BACKEND).input("keepalive", "2s")
}

fn step<'a>(lab: &'a Lab, server: &'a Server, proof: Proof) -> Action<'a> {
    let step = shell(lab, server).input("tool", "django").input("setup", "source ../venv/bin/activate");
    // A gate is a lock.
    let step = step.input("lock-timeout", "0");
    match proof {
        Proof::Ledger => step.secret("database-url", lab.database.url()),
        Proof::Listing => step,
    }
}

/// The same by way of a network that a test can hold up.
fn by<'a>(network: &Flights, server: &Server, step: Action<'a>) -> Action<'a> {
    let (port, known) = (server.sshd().port.to_string(), server.sshd().known_hosts_line());
    let to = network.port().to_string();
    step.input("ssh-known-hosts", known.replace(&port, &to)).input("ssh-port", to)
}

/// How many sessions hold the run lock.
fn locks(lab: &Lab) -> String {
    let key = bastion_migrate::postgres::bastion_migrate_key();
    lab.database.sql(&format!(
        "select count(*) from pg_locks where locktype = 'advisory' and granted \
         and objid = ({key} & 4294967295)::oid and database = (select oid from pg_database where datname = current_database())"
    ))
}

/// What the application's own processes on the server are.
fn working(server: &Server) -> Vec<String> {
    let processes = server.login().processes().into_values();
    // `sleep 0.2` is who listens: it may last for a moment longer than what it listened to.
    let sleeps = |words: &String| words.contains("sleep ") && !words.ends_with("sleep 0.2");
    processes.filter(|words| words.contains("manage.py") || sleeps(words)).collect()
}

/// No session of the tool's is in the database.
fn no_backend(lab: &Lab) {
    lab.database.wait_for(
        "select count(*) from pg_stat_activity where datname = current_database() and application_name <> 'lab'",
        "0",
    );
}

impl Finished {
    /// Every line of the tool's is there, once and in order.
    fn every_line(self) -> Self {
        let lines = |gate| (0..LINES).map(move |line| format!("line {gate} {line}"));
        let expected: Vec<String> = lines(1).chain(lines(2)).chain(["behind the gates".to_owned()]).collect();
        let said = self.log.lines().filter_map(|line| line.strip_prefix("  | "));
        let said = said.filter(|line| line.starts_with("line ") || line.starts_with("behind "));
        assert_eq!(said.collect::<Vec<_>>(), expected, "{}", self.log);
        self
    }

    /// It did all of it.
    fn did_all(self) -> Self {
        self.every_line().succeeds().applied(MIGRATIONS).logs(AGAIN)
    }
}

/// Says so when it is proven.
fn proven(told: Finished, proof: Proof) -> Finished {
    match proof {
        Proof::Ledger => told.logs("the ledger confirms it"),
        Proof::Listing => told.logs("the tool's own listing"),
    }
}

/// At the second gate again, over a connection that is a new one: the lock is ours again, and the session that looks.
fn is_whole_again(lab: &Lab, gate: Gate<'_>, proof: Proof) {
    gate.wait_until_reached();
    if proof == Proof::Ledger {
        poll(SOON, || (locks(lab) == "1").then_some(())).expect("the run lock is ours again");
    }
    gate.open();
}

/// Twice: while the tool says nothing, and in the middle of what it says.
#[test]
fn a_connection_that_is_ended_is_had_again() {
    with_each(EACH, |proof| {
        let (lab, server) = gated();
        let (first, second) = (Gate::close(&lab.database, 1), Gate::close(&lab.database, 2));
        let running = step(&lab, &server, proof).start();
        first.wait_until_reached();
        running.wait_for_line("line 1 99", SOON);
        server.sshd().kill_sessions();
        running.wait_for_line(AGAIN, SOON);
        first.open();
        running.wait_for_line("line 2 20", SOON);
        server.sshd().kill_sessions();
        is_whole_again(&lab, second, proof);
        let told = proven(running.finish().did_all(), proof);
        assert_eq!(told.log.matches(AGAIN).count(), 2, "{}", told.log);
        told.done();
    });
}

/// A login's session is ended as a whole by a server that shuts down, and what listens there may be the first to go.
#[test]
fn what_listens_on_the_server_is_ended_there() {
    let (lab, server) = gated();
    let gate = Gate::close(&lab.database, 1);
    let running = step(&lab, &server, Proof::Listing).start();
    gate.wait_until_reached();
    let follows = |words: &&String| words.as_str() == "sh -s";
    let listeners = server.login().processes();
    let listeners = listeners.iter().filter(|(_, words)| follows(words)).map(|(pid, _)| pid.to_string());
    assert!(Command::new("kill").arg("-KILL").args(listeners).status().unwrap().success());
    gate.open();
    running.finish().every_line().succeeds().applied(MIGRATIONS).done();
}

/// The work goes on, whether anybody notices or not.
#[test]
fn a_network_stands_still_for_twenty_seconds() {
    with_each([("2s", true), ("15s", false)], |(keepalive, noticed)| {
        let (lab, server) = gated();
        let network = Flights::to(server.sshd().port);
        let (first, second) = (Gate::close(&lab.database, 1), Gate::close(&lab.database, 2));
        let action = by(&network, &server, step(&lab, &server, Proof::Ledger));
        let running = action.input("keepalive", keepalive).start();
        first.wait_until_reached();
        network.freeze();
        let frozen = Instant::now();
        first.open();
        second.wait_until_reached();
        thread::sleep(Duration::from_secs(20).saturating_sub(frozen.elapsed()));
        assert_eq!(running.log().contains(AGAIN), noticed, "{}", running.log());
        network.thaw();
        is_whole_again(&lab, second, Proof::Ledger);
        let told = proven(running.finish().every_line().succeeds().applied(MIGRATIONS), Proof::Ledger);
        (if noticed { told.logs(AGAIN) } else { told.never_logs(AGAIN) }).done();
    });
}

/// The server is not told that the first connection is gone: our own session there still holds the run lock, and our own
/// process the place.
#[test]
fn what_stands_in_the_way_of_the_second_connection_is_the_first() {
    let (lab, server) = gated();
    let network = Flights::to(server.sshd().port);
    let (first, second) = (Gate::close(&lab.database, 1), Gate::close(&lab.database, 2));
    let mut running = by(&network, &server, step(&lab, &server, Proof::Ledger)).input("wait-timeout", "20s").start();
    first.wait_until_reached();
    network.strand();
    running.wait_for_line(AGAIN, SOON);
    first.open();
    second.wait_until_reached();
    second.open();
    running.wait();
    // What the first connection still had there goes with it.
    network.cut();
    network.thaw();
    running.finish().did_all().done();
}

#[test]
fn a_server_that_refuses_connections_for_a_while_is_waited_for() {
    let (lab, server) = gated();
    let (first, second) = (Gate::close(&lab.database, 1), Gate::close(&lab.database, 2));
    let running = step(&lab, &server, Proof::Ledger).start();
    first.wait_until_reached();
    server.sshd().stop();
    running.wait_for_line("refuses the connection", SOON);
    first.open();
    second.wait_until_reached();
    server.sshd().resume();
    is_whole_again(&lab, second, Proof::Ledger);
    proven(running.finish().did_all(), Proof::Ledger).done();
}

/// A run that can't have its connection again, up to its end; its work stands at the gate.
fn given_up<'a>(server: &Server, gate: &Gate<'_>, step: Action<'a>) -> Running<'a> {
    let mut running = step.input("wait-timeout", "5s").start();
    gate.wait_until_reached();
    server.sshd().stop();
    running.wait();
    server.sshd().resume();
    // The work goes on.
    gate.wait_until_reached();
    assert_eq!(working(server).len(), 1, "{:?}", working(server));
    running
}

/// What the report of a run says that was given up.
fn is_in_doubt(told: Finished) -> Finished {
    let told = told.in_doubt("commit-in-doubt").logs("the connection to the server was lost and could not be restored");
    let told = told
        .logs("the next run waits for the command that still runs there")
        .summary("it is unknown how many of the 6");
    MIGRATIONS.iter().fold(told, |told, name| told.logs(&format!("in doubt: it is unknown whether {name} was")))
}

#[test]
fn the_next_run_waits_for_what_goes_on_and_then_goes_on() {
    with_each(EACH, |proof| {
        let (lab, server) = gated();
        let (gate, second) = (Gate::close(&lab.database, 1), Gate::close(&lab.database, 2));
        second.open();
        let lost = given_up(&server, &gate, step(&lab, &server, proof));

        let mut refused = step(&lab, &server, proof).input("lock-wait", "2s").start();
        refused.wait();
        let mut waiting = step(&lab, &server, proof).start();
        waiting.wait_for_line("its command is still running", SOON);
        gate.open();
        waiting.wait();
        let told = refused.finish().fails("lock-held", 4);
        told.error("github.com/octo/app/actions/runs/4711").logs("its command is still running").done();
        waiting
            .finish()
            .nothing_to_do()
            .logs("was cut off from the server while")
            .logs("it has succeeded since")
            .done();
        is_in_doubt(lost.finish()).done();
    });
}

#[test]
fn the_next_run_tells_what_became_of_what_went_on() {
    let (lab, server) = gated();
    let gate = Gate::close(&lab.database, 1);
    let lost = given_up(&server, &gate, step(&lab, &server, Proof::Listing));
    lab.database.terminate("bastion-migrate%");
    poll(SOON, || working(&server).is_empty().then_some(())).expect("the tool ends");
    gate.open();
    let told = step(&lab, &server, Proof::Listing).run().succeeds().applied(GATED.iter().copied());
    told.warning("it has ended with code 1 since").logs("SSL connection has been closed unexpectedly").done();
    is_in_doubt(lost.finish()).done();
    step(&lab, &server, Proof::Listing).run().nothing_to_do().done();
}

/// Between the loss and the new connection somebody else comes: who was there first goes on first.
#[test]
fn another_run_that_comes_meanwhile_waits() {
    with_each(EACH, |proof| {
        let (lab, server) = gated();
        let network = Flights::to(server.sshd().port);
        let (first, second) = (Gate::close(&lab.database, 1), Gate::close(&lab.database, 2));
        let mut running = by(&network, &server, step(&lab, &server, proof)).start();
        first.wait_until_reached();
        network.freeze();
        network.cut();
        running.wait_for_line(AGAIN, SOON);
        // Long enough for the lab's servers to notice.
        poll(SOON, || (locks(&lab) == "0").then_some(())).expect("the session ends with its connection");
        let mut other = step(&lab, &server, proof).start();
        other.wait_for_line("its command is still running", SOON);
        network.thaw();
        first.open();
        second.wait_until_reached();
        second.open();
        running.wait();
        other.wait();
        other.finish().nothing_to_do().done();
        running.finish().did_all().done();
    });
}

#[test]
fn a_run_that_is_killed_is_settled_by_the_next() {
    with_each(EACH, |proof| {
        let (lab, server) = gated();
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
fn a_run_that_is_stopped_in_a_statement_ends_it() {
    with_each([(Proof::Ledger, Signal::INT), (Proof::Listing, Signal::TERM)], |(proof, signal)| {
        let (lab, server) = gated();
        let gate = Gate::close(&lab.database, 1);
        let mut running = step(&lab, &server, proof).start();
        gate.wait_until_reached();
        running.signal(signal);
        running.wait();
        assert_eq!(working(&server), Vec::<String>::new());
        no_backend(&lab);
        let told = running.finish().fails("cancelled", 130).within(BUDGET);
        let told = told.applied(BEFORE.iter().copied()).pending(GATED.iter().copied());
        told.summary("Stopped in stage migrate with cancelled").done();
        assert_eq!(lab.database.sql("select to_regclass('gated')"), "");
    });
}

/// Everything that is in Django's ledger.
fn recorded(lab: &Lab) -> Vec<String> {
    let all = || lab.database.sql("select app || '.' || name from django_migrations order by id");
    let made = !lab.database.sql("select to_regclass('django_migrations')").is_empty();
    if made { all().lines().map(str::to_owned).collect() } else { Vec::new() }
}

/// Wherever the signal falls, the report names exactly what the ledger has, and nothing goes on.
#[test]
fn a_run_that_is_stopped_at_any_moment_leaves_nothing() {
    let (lab, server) = gated();
    let _gate = Gate::close(&lab.database, 1);
    let mut moments = [0; 8];
    getrandom::fill(&mut moments).unwrap();
    for (moment, proof) in moments.into_iter().zip(EACH.into_iter().cycle()) {
        let before = recorded(&lab);
        let mut running = step(&lab, &server, proof).start();
        running.wait_for_line("::group::bastion", SOON);
        let delay = Duration::from_millis(10 * u64::from(moment));
        thread::sleep(delay);
        running.signal(Signal::INT);
        running.wait();
        assert_eq!(working(&server), Vec::<String>::new(), "after {delay:?}");
        no_backend(&lab);
        let after = recorded(&lab);
        let told = running.finish();
        let planned = told.outputs.get("plan-digest").is_some_and(|digest| !digest.is_empty());
        let left = MIGRATIONS.iter().skip(after.len()).copied().filter(|_| planned).collect::<Vec<_>>();
        let applied = after.iter().skip(before.len()).map(String::as_str);
        told.fails("cancelled", 130).applied(applied).pending(left).within(BUDGET).done();
    }
}

#[test]
fn a_run_that_is_stopped_while_its_connection_is_lost_says_what_it_does_not_know() {
    let (lab, server) = gated();
    let gate = Gate::close(&lab.database, 1);
    let mut running = step(&lab, &server, Proof::Ledger).start();
    gate.wait_until_reached();
    server.sshd().stop();
    running.wait_for_line(AGAIN, SOON);
    running.signal(Signal::INT);
    running.wait();
    server.sshd().resume();
    gate.open();
    step(&lab, &server, Proof::Ledger).run().nothing_to_do().logs("it has succeeded since").done();
    let told = running.finish().in_doubt("cancelled").within(BUDGET);
    told.logs("the command on the server may not have been stopped").logs("the next run waits for it").done();
}

#[test]
fn a_run_that_takes_too_long_ends_its_work() {
    let whole = (("timeout", "5s"), "timed-out", 130);
    let step_alone = (("steps", "[{ run: python manage.py migrate, timeout: 3s }]"), "step-timeout", 6);
    let cases = [whole, step_alone].into_iter().flat_map(|case| EACH.map(|proof| (proof, case)));
    with_each(cases, |(proof, ((input, limit), code, exit))| {
        let (lab, server) = gated();
        let _gate = Gate::close(&lab.database, 1);
        let mut running = step(&lab, &server, proof).input(input, limit).start();
        running.wait();
        // Who listened on the server may sleep for a moment yet.
        poll(SOON, || working(&server).is_empty().then_some(())).expect("its work has ended");
        no_backend(&lab);
        let told = running.finish().fails(code, exit).applied(BEFORE.iter().copied());
        told.pending(GATED.iter().copied()).done();
    });
}

/// Nobody could end it: it is in doubt, not "was ended".
#[test]
fn a_step_whose_time_is_over_while_its_connection_is_lost_is_in_doubt() {
    let (lab, server) = gated();
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
fn the_tool_is_stopped_when_the_session_with_the_run_lock_is_ended() {
    let (lab, server) = gated();
    let gate = Gate::close(&lab.database, 1);
    let running = step(&lab, &server, Proof::Ledger).start();
    gate.wait_until_reached();
    // The one that holds the lock.
    assert_eq!(lab.database.terminate("bastion-migrate#%"), 1);
    let told = running.finish().fails("database-lost", 3).applied(BEFORE.iter().copied());
    told.pending(GATED.iter().copied()).logs("so the work was stopped").done();
    assert_eq!(working(&server), Vec::<String>::new());
    no_backend(&lab);
    gate.open();
    step(&lab, &server, Proof::Ledger).run().succeeds().applied(GATED.iter().copied()).done();
}

/// Nobody knows whether the lock is still there, and nobody waits for an answer longer than `wait-timeout`.
#[test]
fn the_tool_is_stopped_when_the_session_with_the_run_lock_is_not_answered_any_more() {
    let (lab, server) = gated();
    let network = Flights::to(lab.database.server().port());
    let gate = Gate::close(&lab.database, 1);
    let action = step(&lab, &server, Proof::Ledger).input("wait-timeout", "3s");
    let mut running = action.secret("database-url", lab.database.url_at("localhost", network.port())).start();
    gate.wait_until_reached();
    network.freeze();
    running.wait();
    assert_eq!(working(&server), Vec::<String>::new());
    network.thaw();
    let told = running.finish().in_doubt("database-lost");
    told.logs("the database has not answered for 3 s (`wait-timeout`)").logs("so the work was stopped").done();
    gate.open();
    step(&lab, &server, Proof::Ledger).run().succeeds().applied(GATED.iter().copied()).done();
}

/// Somebody else has the run lock when the connection is there again: nobody works beside them.
#[test]
fn the_tool_is_stopped_when_the_run_lock_is_somebody_elses() {
    let (lab, server) = gated();
    let gate = Gate::close(&lab.database, 1);
    let mut running = step(&lab, &server, Proof::Ledger).input("wait-timeout", "4s").start();
    gate.wait_until_reached();
    server.sshd().stop();
    let other = lab.database.session();
    other.sql(&format!("select pg_advisory_lock({})", bastion_migrate::postgres::bastion_migrate_key()));
    server.sshd().resume();
    running.wait();
    assert_eq!(working(&server), Vec::<String>::new());
    no_backend(&lab);
    drop(other);
    running.finish().in_doubt("lock-held").logs("so the work was stopped").done();
    gate.open();
    step(&lab, &server, Proof::Ledger).run().succeeds().applied(GATED.iter().copied()).done();
}

/// The process list and the home, looked at all the time.
#[test]
fn no_secret_is_seen_on_the_server() {
    let (lab, server) = gated();
    let gates = [Gate::close(&lab.database, 1), Gate::close(&lab.database, 2)];
    let step = shell(&lab, &server).input("tool", "django").input("setup", "source ../venv/bin/activate");
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
    let (mut gates, mut looks, mut lines) = (gates.into_iter().collect::<Vec<_>>(), 0, 0);
    while running.ended().is_none() {
        let listed = Command::new("ps").args(["auxww"]).output().unwrap();
        let mut seen = String::from_utf8_lossy(&listed.stdout).into_owned();
        lines += seen.matches("sh -s").count();
        for (path, content) in server.snapshot().into_iter().filter(|(path, content)| known.get(path) != Some(content))
        {
            seen.extend([path.to_string_lossy().as_ref(), ": ", &String::from_utf8_lossy(&content), "\n"]);
        }
        for secret in secrets.iter().copied().chain([password.as_str(), "lab%3A%25", "the@lab:%"]) {
            assert!(!seen.contains(secret), "`{secret}` was seen: {seen}");
        }
        looks += 1;
        if looks % 10 == 0 {
            drop(gates.pop());
        }
    }
    assert!(looks > 20 && lines > 20, "{looks} looks, {lines} lines");
    running.finish().succeeds().applied(MIGRATIONS).logs("| 22 24").done();
}

/// Counts a second long, and waits for a file.
fn counting(name: &str) -> String {
    format!("for i in 1 2 3; do echo {name} $i; done; while ! [ -e ~/go ]; do sleep 0.1; done; echo {name} done")
}

#[test]
fn steps_before_and_after_outlive_the_connection() {
    let (lab, server) = gated();
    let before = format!("[{{ name: First, run: {:?} }}]", counting("first"));
    let after = format!("[{{ name: Last, run: {:?} }}]", counting("last"));
    let action = step(&lab, &server, Proof::Listing).input("before", before).input("after", after);
    let running = action.start();
    for name in ["first", "last"] {
        running.wait_for_line(&format!("  | {name} 3"), SOON);
        server.sshd().kill_sessions();
        poll(SOON, || (running.log().matches(AGAIN).count() > usize::from(name == "last")).then_some(()))
            .expect("it is noticed");
        fs::write(server.path("go"), "").unwrap();
        running.wait_for_line(&format!("  | {name} done"), SOON);
        fs::remove_file(server.path("go")).unwrap();
    }
    let told = running.finish().succeeds().applied(MIGRATIONS);
    for name in ["first", "last"] {
        let said = told.log.lines().filter(|line| line.starts_with(&format!("  | {name} "))).count();
        assert_eq!(said, 4, "{}", told.log);
    }
    told.summary("| First | done |").summary("| Last | done |").done();
}

/// Nobody is there any more whom a step for failures could be given to; and what is lost is not optional.
#[test]
fn what_comes_after_a_loss_that_is_not_mended_does_not_wait_again() {
    let (lab, server) = gated();
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
    // Between two looks for the file nothing of the step but its shell is there.
    poll(SOON, || server.login().processes().is_empty().then_some(())).expect("the step ends");
    fs::remove_file(server.path("go")).unwrap();
    assert!(!server.path("second").exists() && !server.path("sorry").exists());
    let next = step(&lab, &server, Proof::Ledger).run();
    next.succeeds().applied(MIGRATIONS).logs("was cut off from the server while").done();
    let told = running.finish();
    let steps = told.log.lines().filter(|line| line.starts_with("  step ")).collect::<Vec<_>>();
    assert_eq!((steps, told.log.matches(AGAIN).count()), (vec!["  step First", "  step Sorry"], 1), "{}", told.log);
    told.in_doubt("commit-in-doubt").warning("in the step `Sorry`").done();
}

#[test]
fn two_jobs_at_once_come_one_after_the_other() {
    let (lab, server) = gated();
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
