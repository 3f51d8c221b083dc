//! Costs of a run: round trips and memory. Counted, not timed: with latency the round trips determine the time.

use crate::{
    action::Action,
    flights::Flights,
    lab::{
        Lab,
        postgres::{Login, Options, Postgres, ROLE, Tls},
        server::{BACKEND, Server},
    },
    layout_forms::{FORMS, Form},
    scenarios::MIGRATIONS,
};
use bastion_migrate::{
    postgres::{DatabaseTarget, Session, SessionSettings, SslMode},
    run::event::Events,
    transport::Transport,
    way::WayIn,
};
use std::{fs, thread, time::Duration};

/// Flights of the start-up packet, without TLS and without a password.
const START_UP: usize = 1;

/// A round-trip time so long that no response overtakes the rest of its request: then a burst counts as one flight.
const DISTANCE: Duration = Duration::from_millis(50);

/// Creates a lab whose database requires no password, so that the login costs no further flights.
fn trusting_lab() -> Lab {
    Lab::on(&Postgres::start(&Options { tls: Tls::Off, login: Login::Trust, settings: &[] }))
}

/// Adds this many files, each with its own transaction.
fn files(step: Action<'_>, count: usize) -> Action<'_> {
    let table = |number: usize| format!("create table t_{number} (id bigint primary key, name text not null);\n");
    (1..=count).fold(step, |step, number| step.file(&format!("migrations/{number:04}_t.sql"), table(number)))
}

fn names(count: usize) -> Vec<String> {
    (1..=count).map(|number| format!("{number:04}_t")).collect()
}

/// Counts the flights between the bastion and the database, from the open connection on.
fn flights(lab: &Lab, what: &str, test: impl FnOnce(Action<'_>)) -> usize {
    let network = Flights::over(lab.database.server().port(), DISTANCE);
    test(Action::new(lab).secret("database-url", lab.database.url_at("127.0.0.1", network.port())));
    // A second session monitors a run that takes half a second.
    assert!(network.connections() <= 2, "{what}: one session does everything");
    let flights = network.count_of_first() - START_UP;
    eprintln!("{what}: {flights} flights from the open connection on");
    flights
}

#[test]
fn a_hundred_files_take_as_many_round_trips_as_one() {
    let (lab, other) = (trusting_lab(), trusting_lab());
    let names = names(100);
    let all = || names.iter().map(String::as_str);
    let status = flights(&lab, "status", |step| {
        files(step, 100).input("command", "status").run().has_pending().pending(all()).done();
    });
    let hundred = flights(&lab, "100 files", |step| files(step, 100).run().succeeds().applied(all()).done());
    let again = flights(&lab, "nothing to do", |step| files(step, 100).run().nothing_to_do().done());
    let one = flights(&other, "1 file", |step| files(step, 1).run().succeeds().applied(["0001_t"]).done());
    assert!(status <= 3 && again <= 3, "status {status}, nothing to do {again}");
    assert!(hundred <= 4, "{hundred}");
    assert_eq!(hundred, one);
}

/// The app's own sessions have another way to the database.
#[test]
fn a_tool_with_nothing_to_do_takes_no_more_round_trips_than_files() {
    let lab = trusting_lab();
    let server = Server::with_project(&lab.database);
    let env = server.path(&format!("{BACKEND}/.env"));
    fs::write(&env, fs::read_to_string(&env).unwrap().replace("?sslmode=require", "")).unwrap();
    let step = |url: String| {
        let step = Action::on_server(&lab, &server).secret("database-url", url).input("tool", "django");
        step.input("working-directory", BACKEND).input("setup", "source ../venv/bin/activate")
    };
    step(lab.database.url()).run().succeeds().applied(MIGRATIONS).done();
    let network = Flights::over(lab.database.server().port(), DISTANCE);
    step(lab.database.url_at("127.0.0.1", network.port())).run().nothing_to_do().done();
    let flights = network.count_of_first() - START_UP;
    eprintln!("a tool with nothing to do: {flights} flights from the open connection on");
    // The first query; the lock and the ledgers behind it; the ledgers behind the tool; and the message that ends the session,
    // which is not waited for.
    assert!(flights <= 4, "{flights}");
}

/// Adds forty files of this layout.
fn forty_files<'a>(form: &Form, step: Action<'a>) -> Action<'a> {
    let table = |number: u32| format!("create table t_{number} (id bigint primary key);\n");
    (1..=40).fold(form.step(step), |step, number| form.migration(step, number, "t", &table(number)))
}

#[test]
fn no_layout_takes_more_round_trips_than_plain_files() {
    let postgres = Postgres::start(&Options { tls: Tls::Off, login: Login::Trust, settings: &[] });
    let count = |form: &Form| {
        let lab = Lab::on(&postgres);
        let labels: Vec<String> = (1..=40).map(|number| form.label(number, "t")).collect();
        let first = flights(&lab, &format!("40 files of {}", form.layout), |step| {
            forty_files(form, step).run().succeeds().applied(labels.iter().map(String::as_str)).done();
        });
        let again = flights(&lab, "nothing to do", |step| forty_files(form, step).run().nothing_to_do().done());
        (first, again)
    };
    let (first, again) = count(Form::of("plain"));
    for form in FORMS.iter().filter(|form| form.layout != "plain") {
        let counted = count(form);
        assert!(counted.0 <= first && counted.1 <= again, "{}: {counted:?}, plain: {:?}", form.layout, (first, again));
    }
}

/// Flights that the protocols need in sequence: banner, algorithms, key exchange; service, key offered, key signed
/// (libssh2 never signs before the server accepts the key); channel; start-up; query. TCP's round trip is not counted.
const FIRST_QUERY: usize = 9;

#[test]
fn the_first_result_takes_no_more_round_trips_than_the_protocols_need() {
    let lab = trusting_lab();
    let network = Flights::over(lab.bastion.port, DISTANCE);
    let mut route = lab.bastion.route();
    route.known_hosts = Some(format!("[127.0.0.1]:{} {}", network.port(), lab.bastion.host_key("ed25519")));
    route.hops.iter_mut().for_each(|hop| hop.port = network.port());
    let target = DatabaseTarget {
        sslmode: SslMode::Disable,
        ..DatabaseTarget::new("127.0.0.1", lab.database.server().port(), ROLE, lab.database.name())
    };
    let settings = SessionSettings::named("bastion-migrate");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let (events, _receiver) = Events::channel();
        let transport = Transport::connect(Some(&route), &WayIn::Direct, &events).await.unwrap();
        let session = Session::connect(&transport, &target, &settings, &events).await.unwrap();
        session.client.simple_query("select 1").await.unwrap();
        let flights = network.count();
        session.close().await;
        transport.close().await.unwrap();
        eprintln!("first result: {flights} flights to the bastion");
        assert!(flights <= FIRST_QUERY, "{flights}");
    });
}

/// Cost above which PostgreSQL compiles a statement first (`jit_above_cost`), which takes longer than any of our
/// queries: measured 40 ms with an empty database, 350 ms with a thousand tables.
const JIT_COST: f64 = 100_000.0;

#[test]
fn no_query_of_ours_is_compiled_first() {
    let explain = &["shared_preload_libraries = 'auto_explain'", "auto_explain.log_min_duration = 0"];
    let lab = Lab::on(&Postgres::start(&Options { tls: Tls::Off, login: Login::Trust, settings: explain }));
    let names = names(300);
    files(Action::new(&lab), 300).run().succeeds().applied(names.iter().map(String::as_str)).done();
    files(Action::new(&lab), 300).input("command", "status").run().nothing_to_do().done();
    let log = lab.database.server().log();
    // The question for the schema switches compilation off for itself.
    let plans = log.split("Query Text: ").skip(1).filter(|plan| !plan.contains("SET LOCAL jit TO off"));
    let costs = plans.flat_map(|plan| plan.split("(cost=").skip(1));
    let costs = costs.filter_map(|cost| cost.split("..").nth(1)?.split(' ').next()?.parse().ok());
    let dearest = costs.fold(f64::NAN, f64::max);
    assert!(dearest < JIT_COST, "a plan costs {dearest}");
}

/// Limit in bytes for the memory of a run besides its code, which is several times as long in the tested program as in the
/// released one.
pub(crate) const DATA_LIMIT: u64 = 18 << 20;

#[test]
fn a_thousand_files_fit_into_little_memory() {
    let lab = Lab::new();
    let names = names(1000);
    let running = files(Action::new(&lab), 1000).start();
    let peak = peak_data(running.pid());
    running.finish().succeeds().applied(names.iter().map(String::as_str)).done();
    eprintln!("1000 files: {} KiB at most", peak >> 10);
    assert!(peak > 0 && peak < DATA_LIMIT, "{peak} bytes");
}

/// Waits for the end of a process, and returns the peak of its memory besides its code, in bytes.
pub(crate) fn peak_data(pid: u32) -> u64 {
    let mut peak = 0;
    while let Some(now) = memory(pid, "RssAnon:") {
        peak = peak.max(now);
        thread::yield_now();
    }
    peak
}

/// Returns the peak memory of a process so far, in bytes; `None` when it has ended.
pub(crate) fn peak_memory(pid: u32) -> Option<u64> {
    memory(pid, "VmHWM:")
}

/// Returns a figure of `/proc/PID/status`, in bytes.
fn memory(pid: u32, figure: &str) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let kibibytes: u64 =
        status.lines().find_map(|line| line.strip_prefix(figure))?.trim_end_matches("kB").trim().parse().ok()?;
    Some(kibibytes << 10)
}
