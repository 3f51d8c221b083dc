//! `sslnegotiation=direct`: the connection begins with the TLS handshake, as PostgreSQL 17 and newer accept it.

use crate::{
    action::Action,
    flights::Flights,
    lab::{
        Lab,
        postgres::{Login, Options, Postgres},
        venv::postgresql_17,
    },
    listener::{RunningListener, psql_at, stdout_of, target, with_query},
};
use bastion_migrate::{
    postgres::{DatabaseTarget, SslMode, TlsStart},
    proxy::ClientTls,
};
use std::time::Duration;

/// A round-trip time so long that a burst counts as one flight.
const DISTANCE: Duration = Duration::from_millis(50);

const MIGRATION: &str = "create table users (id int)";

fn lab_17(login: Login) -> Lab {
    Lab::on(&Postgres::start_with_programs(Some(postgresql_17()), &Options { login, ..Options::default() }))
}

fn step<'a>(lab: &'a Lab, url: &str, parameters: &str) -> Action<'a> {
    let step = Action::new(lab).secret("database-url", format!("{url}?{parameters}"));
    step.file("migrations/0001_users.sql", MIGRATION)
}

/// Counts the flights of a run with nothing to do, between the bastion and the database.
fn flights(lab: &Lab, parameters: &str) -> usize {
    let network = Flights::over(lab.database.server().port(), DISTANCE);
    step(lab, &lab.database.url_at("127.0.0.1", network.port()), parameters).run().nothing_to_do().done();
    network.count_of_first()
}

#[test]
fn a_handshake_that_is_not_requested_first_saves_a_round_trip() {
    let lab = lab_17(Login::Trust);
    let full = step(&lab, &lab.database.url(), "sslmode=verify-full&sslnegotiation=direct");
    let full = full.input("database-ca", lab.database.server().ca()).run().succeeds().applied(["0001_users"]);
    full.logs("PostgreSQL 17").logs("TLS verify-full").done();
    let requested = flights(&lab, "sslmode=require&sslnegotiation=postgres");
    let direct = flights(&lab, "sslmode=require&sslnegotiation=direct");
    assert_eq!(direct + 1, requested);
}

#[test]
fn an_older_server_is_reported_with_the_fix_and_its_advice_works() {
    let lab = Lab::new();
    let refused = step(&lab, &lab.database.url(), "sslmode=require&sslnegotiation=direct").run();
    let refused = refused.fails("tls-unavailable", 3).error("which needs PostgreSQL 17 or newer");
    refused.logs("fix: remove `sslnegotiation` from `database-url`").done();
    step(&lab, &lab.database.url(), "sslmode=require").run().succeeds().applied(["0001_users"]).done();
}

#[test]
fn a_mode_that_does_not_demand_tls_is_refused_before_any_connection() {
    let lab = Lab::new();
    for weak in ["sslmode=disable&", "sslmode=prefer&", ""] {
        let refused = step(&lab, &lab.database.url(), &format!("{weak}sslnegotiation=direct")).run();
        refused.fails("input-invalid", 2).error("begins with TLS, and `sslmode` does not demand TLS").done();
    }
    let unknown = step(&lab, &lab.database.url(), "sslmode=require&sslnegotiation=quick").run();
    unknown.fails("database-url-invalid", 2).error("`postgres` or `direct`").done();
}

/// The client of a tool speaks plain text to the tunnel's end, and the proxy TLS to the database.
#[test]
fn the_proxy_begins_with_the_handshake_as_well() {
    let lab = lab_17(Login::Scram);
    let target = DatabaseTarget { tls_start: TlsStart::Direct, ..target(&lab, SslMode::VerifyFull) };
    let proxy = RunningListener::start(&lab, ClientTls::Terminated, target);
    let query = "select ssl from pg_stat_ssl where pid = pg_backend_pid()";
    assert_eq!(stdout_of(with_query(psql_at(&lab, proxy.port(), ""), query)), "t");
}

#[test]
fn a_running_statement_is_cancelled_over_such_a_connection() {
    let lab = lab_17(Login::Scram);
    let step = step(&lab, &lab.database.url(), "sslmode=require&sslnegotiation=direct");
    let running = step.file("migrations/0002_wait.sql", "select pg_sleep(60)").start();
    let sleeps = "select count(*) from pg_stat_activity where wait_event = 'PgSleep' and datname = current_database()";
    lab.database.wait_for(sleeps, "1");
    running.signal(rustix::process::Signal::INT);
    let finished = running.finish().fails("cancelled", 130).applied(["0001_users"]).pending(["0002_wait"]);
    finished.done();
}
