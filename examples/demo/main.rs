//! `make demo`: a private PostgreSQL with TLS and passwords, and the built action run against it as a runner would, twice.
//! Everything is on loopback and gone at the end.
#![expect(clippy::print_stdout, reason = "it is there to be read")]
#![expect(dead_code, reason = "the demo uses a part of what the suite needs")]

#[path = "../../tests/suite/action/mod.rs"]
mod action;
#[path = "../../tests/suite/lab/mod.rs"]
mod lab;
#[path = "../../tests/suite/leak.rs"]
mod leak;
#[path = "../../tests/suite/runner.rs"]
mod runner;

use action::{Action, Finished};
use lab::Lab;
use runner::Log;
use std::{collections::BTreeMap, fs, path::Path};

fn main() {
    let lab = Lab::new();
    println!("A PostgreSQL with a certificate for `localhost` listens on 127.0.0.1:{}.", lab.database.server().port());

    let migrations = migrations();
    let names = migrations.keys().map(|name| name.trim_end_matches(".sql"));
    show("The first run: everything is pending", step(&lab, &migrations).run().succeeds().applied(names));
    show("The second run: there is nothing to do", step(&lab, &migrations).run().nothing_to_do());

    heading("What the database says");
    println!("{}", lab.database.sql("select code, name from countries order by code"));
    println!(
        "{}",
        lab.database.sql(
            "select indexrelid::regclass, indisvalid from pg_index where not indisprimary \
        and indrelid = 'customers'::regclass"
        )
    );
}

/// The SQL files beside this one, by name.
fn migrations() -> BTreeMap<String, String> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/demo/migrations");
    let entries = fs::read_dir(directory).expect("the demo has migrations").flatten();
    let read = |path: &Path| fs::read_to_string(path).expect("the demo's migrations are text");
    entries.map(|entry| (entry.file_name().to_string_lossy().into_owned(), read(&entry.path()))).collect()
}

/// The step of a workflow that has checked them out.
fn step<'a>(lab: &'a Lab, migrations: &BTreeMap<String, String>) -> Action<'a> {
    let step =
        Action::new(lab).input("database-sslmode", "verify-full").input("database-ca", lab.database.server().ca());
    migrations.iter().fold(step, |step, (name, content)| step.file(&format!("migrations/{name}"), content))
}

/// What a reader of the job sees; a run that did not do what the demo says ends it.
fn show(title: &str, finished: Finished) {
    heading(title);
    print!("{}", Log::read(&finished.log).without_masks);
    heading("Its outputs");
    for (name, value) in &finished.outputs {
        println!("{name} = {value}");
    }
    heading("Its summary");
    println!("{}", finished.summary);
    finished.done();
}

fn heading(text: &str) {
    println!("\n\u{1b}[1m{text}\u{1b}[0m");
}
