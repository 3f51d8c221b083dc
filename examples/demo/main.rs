//! `make demo`: starts a bastion with a private PostgreSQL server and runs the built action against them three times, as a
//! runner would: with everything pending, with nothing pending, and with a session that blocks an index build.
//! Everything is on loopback and removed at the end.
#![expect(clippy::print_stdout, reason = "prints its results")]
#![expect(dead_code, reason = "uses only a part of the suite's lab")]

#[path = "../../tests/suite/action.rs"]
mod action;
#[path = "../../tests/suite/judge.rs"]
mod judge;
#[path = "../../tests/suite/lab/mod.rs"]
mod lab;
#[path = "../../tests/suite/leak.rs"]
mod leak;
#[path = "../../tests/suite/runner/mod.rs"]
mod runner;

use action::Action;
use judge::Finished;
use lab::{
    Lab,
    postgres::{Options, Postgres},
    session::Session,
    sshd::{Sshd, fingerprint},
};
use runner::Log;
use std::{collections::BTreeMap, fs, path::Path, time::Duration};

fn main() {
    let lab = Lab::on(&Postgres::start(&Options::default())).behind(Sshd::plain());
    introduce(&lab);
    let migrations = migrations();
    let names = migrations.keys().map(|name| name.trim_end_matches(".sql"));
    println!("\n(GitHub folds the lines between `::group::` and `::endgroup::`.)");
    show("The first run: everything is pending", step(&lab, &migrations).run().succeeds().applied(names));
    show("The second run: there is nothing to do", step(&lab, &migrations).run().nothing_to_do());
    show("The third run: an index, and a report in its way that was left open", behind_a_report(&lab, &migrations));

    heading("What the database says");
    println!("{}", lab.database.sql("select version, name, applied_by from bastion_migrate.ledger order by version"));
    drop(lab);
    println!("\nBoth servers are stopped, and their files are removed.");
}

/// Prints the servers and the step.
fn introduce(lab: &Lab) {
    let (bastion, server) = (&lab.bastion, lab.database.server());
    heading("What was set up, on this machine alone");
    println!("a bastion              sshd on 127.0.0.1:{}, log-in by key", bastion.port);
    println!("  its host key         {}", fingerprint(&bastion.host_key("ed25519")));
    println!("a private database     PostgreSQL on port {}, password by SCRAM", server.port());
    println!("  its TLS certificate  for `localhost`, by a CA of its own");
    heading("The step of the workflow");
    println!(
        "- uses: bastion-migrate/bastion-migrate@v0
  with:
    ssh-host: {}@127.0.0.1:{}
    ssh-private-key: ${{{{ secrets.SSH_PRIVATE_KEY }}}}
    ssh-known-hosts: ${{{{ vars.SSH_KNOWN_HOSTS }}}}
    database-url: ${{{{ secrets.DATABASE_URL }}}}
    database-sslmode: verify-full
    database-ca: ${{{{ vars.DATABASE_CA }}}}",
        bastion.user(),
        bastion.port
    );
}

/// Returns the demo's SQL files, sorted by name.
fn migrations() -> BTreeMap<String, String> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/demo/migrations");
    let entries = fs::read_dir(directory).expect("the demo has migrations").flatten();
    let read = |path: &Path| fs::read_to_string(path).expect("the demo's migrations are text");
    entries.map(|entry| (entry.file_name().to_string_lossy().into_owned(), read(&entry.path()))).collect()
}

/// Returns the step of a workflow that has checked out the SQL files.
fn step<'a>(lab: &'a Lab, migrations: &BTreeMap<String, String>) -> Action<'a> {
    let step =
        Action::new(lab).input("database-sslmode", "verify-full").input("database-ca", lab.database.server().ca());
    migrations.iter().fold(step, |step, (name, content)| step.file(&format!("migrations/{name}"), content))
}

/// Builds an index while an older transaction is open, which ends once the log has named it.
fn behind_a_report(lab: &Lab, migrations: &BTreeMap<String, String>) -> Finished {
    let report = Session::open(&lab.database.url().parse().expect("a URL")).expect("a session");
    for statement in ["set application_name = 'monthly report'", "begin", "update customers set email = email"] {
        report.sql(statement);
    }
    let running = step(lab, migrations).file(&format!("migrations/{INDEX}.sql"), BUILD).start();
    running.wait_for_line("held up by pid ", PATIENCE);
    running.wait_for_line("waiting for writers before build", PATIENCE);
    report.sql("rollback");
    running.finish().succeeds().applied([INDEX])
}

/// Time limit for the log to name the blocking session.
const PATIENCE: Duration = Duration::from_secs(20);

const INDEX: &str = "0005_customers_by_country";
const BUILD: &str = "CREATE INDEX CONCURRENTLY customers_by_country ON customers (country);\n";

/// Prints the job's log, outputs and summary. An unexpected result ends the demo.
fn show(title: &str, finished: Finished) {
    heading(&format!("{title}. The log:"));
    println!("{}", Log::read(&finished.log).without_masks.trim_end());
    heading("Its outputs");
    for (name, value) in &finished.outputs {
        match name.as_str() {
            "report" => println!("report = JSON of {} bytes, see docs/outputs.md", value.len()),
            _ => println!("{name} = {value}"),
        }
    }
    heading("Its summary, as Markdown");
    println!("{}", finished.summary.trim_end());
    finished.done();
}

fn heading(text: &str) {
    println!("\n=== {text}\n");
}
