//! The forecast of a rehearsal, beside what the same migration then does to the readers and the writers of a table of five
//! million rows.

mod forms;
mod load;

use crate::{
    lab::postgres::{Database, Login, Options, Postgres, ROLE, Tls},
    program,
    table::{Table, heading},
    world::World,
};
use forms::{FORMS, Form};
use load::Load;
use serde_json::Value;
use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

const ROWS: u32 = 5_000_000;

/// A wait that a reader or a writer has without any migration on a busy machine.
const UNNOTICED: Duration = Duration::from_millis(300);

/// The time in which the load begins before a migration.
const WARM_UP: Duration = Duration::from_secs(2);

/// What was forecast, or measured, of the waits of others, in seconds.
#[derive(Debug, Clone, Copy, Default)]
struct Waits {
    reads: (f64, f64),
    writes: (f64, f64),
}

/// Prints the table.
pub(crate) fn run() {
    heading(
        "Rehearsal and truth",
        "`command: rehearse` of one migration of a database with five million orders (a number, a customer, a text of 60 characters; \
         two indexes) and a hundred thousand customers, on a copy without rows; and then `migrate`, while two clients of pgbench \
         read and write single orders a hundred times a second each. *Forecast* is the time for which reads and writes wait: \
         the sum of the ranges of the statements that hold them up. *Measured* is the longest wait of a reader and of a writer. \
         0 stands for less than 0.3 s, which is a moment. The database writes to disk as by default.",
    );
    let world = World::durable();
    let database = &world.lab.database;
    create_tables(database);
    let copies = Postgres::start(&Options { tls: Tls::Off, login: Login::Trust, settings: &[] });
    let mut table = Table::new(["migration", "forecast, s", "measured, s", "agreement", "the run, s", "rehearsal, s"]);
    for (number, form) in FORMS.iter().enumerate() {
        database.sql(form.preparation);
        let file = lay_out(&world, number, form);
        let (forecast, verdict, rehearsed) = rehearse(&world, &copies);
        let (measured, took, is_applied) = migrate(&world);
        if !is_applied {
            fs::remove_file(&file).expect("it is ours");
        }
        let agreement = match (verdict.as_deref(), is_applied) {
            (Some(_), false) => "both fail".to_owned(),
            (Some(failed), true) => format!("**{failed} on the copy alone**"),
            (None, false) => "fails for its rows".to_owned(),
            (None, true) => describe_agreement(forecast, measured),
        };
        table.row([
            form.name.to_owned(),
            describe(forecast),
            describe(measured),
            agreement,
            format!("{:.1}", took.as_secs_f64()),
            format!("{:.1}", rehearsed.as_secs_f64()),
        ]);
    }
    table.print();
}

fn create_tables(database: &Database) {
    database.sql(&format!(
        "SET ROLE {ROLE}; CREATE TABLE customers (id int PRIMARY KEY, name text); \
         INSERT INTO customers SELECT n, 'customer ' || n FROM generate_series(1, 100000) n; \
         CREATE TABLE orders AS SELECT id, 1 + id % 100000 AS customer, id % 1000 AS n, 0 AS total, repeat('x', 60) AS text \
         FROM generate_series(1, {ROWS}) id; \
         ALTER TABLE orders ADD PRIMARY KEY (id); CREATE INDEX orders_customer ON orders (customer)"
    ));
    database.sql("VACUUM (ANALYZE) orders, customers");
    database.sql("CHECKPOINT");
}

/// Writes the file of a form, and returns its path.
fn lay_out(world: &World, number: usize, form: &Form) -> PathBuf {
    fs::create_dir_all(directory(world)).expect("there is room");
    let file = directory(world).join(format!("{:04}_change.sql", number + 1));
    fs::write(&file, form.migration).expect("there is room");
    file
}

fn directory(world: &World) -> PathBuf {
    world.home().join("truth")
}

/// Returns the forecast of a rehearsal, its failure, and the time that it took.
fn rehearse(world: &World, copies: &Arc<Postgres>) -> (Waits, Option<String>, Duration) {
    let mut step = step(world, "rehearse");
    step.env("INPUT_REHEARSE", format!("postgres://postgres@127.0.0.1:{}/postgres?sslmode=disable", copies.port()));
    let began = Instant::now();
    let status = step.status().expect("the program is built");
    let took = began.elapsed();
    let report = report_of(&world.home().join("GITHUB_OUTPUT"));
    let statements = report["rehearsal"]["statements"].as_array().cloned().unwrap_or_default();
    (
        statements.iter().map(waits_of).fold(Waits::default(), Waits::and),
        (!status.success()).then(|| "fails".to_owned()),
        took,
    )
}

/// Returns the output `report` of the step that has just ended.
fn report_of(outputs: &Path) -> Value {
    let text = fs::read_to_string(outputs).expect("the step has outputs");
    let mut lines = text.lines().skip_while(|line| !line.starts_with("report"));
    let json = match lines.next().and_then(|line| line.split_once('=')) {
        Some((_, json)) => Some(json),
        None => lines.next(),
    };
    json.and_then(|json| serde_json::from_str(json).ok()).unwrap_or_default()
}

/// Returns the waits that a statement of the report causes.
fn waits_of(statement: &Value) -> Waits {
    let seconds = |key: &str| {
        let millis = statement["estimate"][key].as_u64().unwrap_or_default();
        Duration::from_millis(millis).as_secs_f64()
    };
    let range = (seconds("from_ms"), seconds("to_ms"));
    match statement["blocks"].as_str() {
        Some("reads-and-writes") => Waits { reads: range, writes: range },
        Some("writes") => Waits { writes: range, ..Waits::default() },
        _ => Waits::default(),
    }
}

impl Waits {
    /// Adds the waits of the next statement.
    fn and(self, next: Self) -> Self {
        let sum = |(from, to): (f64, f64), next: (f64, f64)| (from + next.0, to + next.1);
        Self { reads: sum(self.reads, next.reads), writes: sum(self.writes, next.writes) }
    }
}

/// Applies the migration under load. Returns the waits, the time of the run, and whether it was applied.
fn migrate(world: &World) -> (Waits, Duration, bool) {
    let load = Load::start(world, WARM_UP);
    let began = Instant::now();
    let status = step(world, "migrate").status().expect("the program is built");
    let took = began.elapsed();
    let longest = load.stop();
    let measured = |wait: Duration| {
        let seconds = if wait < UNNOTICED { 0.0 } else { wait.as_secs_f64() };
        (seconds, seconds)
    };
    (Waits { reads: measured(longest.of_a_reader), writes: measured(longest.of_a_writer) }, took, status.success())
}

fn step(world: &World, command: &str) -> Command {
    let mut step = program::step(world, &world.lab.database, command, &directory(world), world.lab.bastion.port);
    step.env("INPUT_LINT", "off").env("INPUT_STATEMENT-TIMEOUT", "30m").stdout(Stdio::null());
    step
}

/// Returns both waits as a table cell.
fn describe(waits: Waits) -> String {
    let range = |(from, to): (f64, f64)| match (from, to) {
        (_, to) if to < UNNOTICED.as_secs_f64() => "0".to_owned(),
        (from, to) if (to - from).abs() < 0.005 => format!("{to:.1}"),
        (from, to) => format!("{from:.1} to {to:.1}"),
    };
    format!("reads {}, writes {}", range(waits.reads), range(waits.writes))
}

/// Compares a forecast with the truth: each of the two waits is in the range, or by what it lies outside.
fn describe_agreement(forecast: Waits, measured: Waits) -> String {
    let moment = UNNOTICED.as_secs_f64();
    let judge = |(from, to): (f64, f64), seen: f64| match seen {
        _ if to < moment && seen < moment => None,
        seen if to < moment => Some(format!("**{seen:.1} s more**")),
        seen if seen < moment => Some(format!("a moment, not {from:.1} s")),
        seen if seen < from => Some(format!("{:.1}× quicker", from / seen)),
        seen if seen > to => Some(format!("{:.1}× slower", seen / to)),
        _ => None,
    };
    let kinds = [
        judge(forecast.reads, measured.reads.0).map(|words| format!("reads: {words}")),
        judge(forecast.writes, measured.writes.0).map(|words| format!("writes: {words}")),
    ];
    let differences: Vec<String> = kinds.into_iter().flatten().collect();
    if differences.is_empty() { "inside".to_owned() } else { differences.join(", ") }
}
