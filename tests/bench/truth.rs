//! The forecast of a rehearsal, beside what the same migration then does to the readers and the writers of a table of five
//! million rows.

mod forms;
mod load;
mod practice;

use crate::{
    lab::{
        postgres::{Database, Login, Options, Postgres, ROLE, Tls},
        venv::{DJANGO_4_2, DJANGO_5_2},
    },
    table::{Table, heading},
    world::World,
};
use forms::{FORMS, FORMS_OF_TOOLS, Form};
use load::Load;
use practice::{Migrations, Practice};
use serde_json::Value;
use std::{
    fs,
    path::Path,
    process::Command,
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

/// The practices, and their migrations.
const PRACTICES: [(Practice, &[Form]); 5] = [
    (Practice::Files, &FORMS),
    (Practice::Django(DJANGO_4_2), &FORMS_OF_TOOLS),
    (Practice::Django(DJANGO_5_2), &FORMS_OF_TOOLS),
    (Practice::DjangoTenants, &FORMS_OF_TOOLS),
    (Practice::Alembic, &FORMS_OF_TOOLS),
];

/// Prints the table.
pub(crate) fn run() {
    heading(
        "Rehearsal and truth",
        "`command: rehearse` of one migration of a database with five million orders (a number, a customer, a text of 60 characters; \
         two indexes) and a hundred thousand customers, on a copy without rows; and then `migrate`, while two clients of pgbench \
         read and write single orders a hundred times a second each. Tools run on a server; Django's UPDATE is Python code. *Forecast* is the time for \
         which reads and writes wait: the sum of the ranges of the statements that hold them up. *Measured* is the longest wait of a reader and of a writer. \
         0 stands for less than 0.3 s, which is a moment. The database writes to disk as by default.",
    );
    let world = World::durable();
    let copies = Postgres::start(&Options { tls: Tls::Off, login: Login::Trust, settings: &[] });
    for (practice, forms) in PRACTICES {
        let database = world.lab.database.server().database();
        create_tables(&database);
        let mut table =
            Table::new(["with", "migration", "forecast, s", "measured, s", "agreement", "the run, s", "rehearsal, s"]);
        let mut migrations = Migrations::new(&world, &database, practice);
        for (number, form) in forms.iter().enumerate() {
            let row = compare(&world, &copies, &database, &mut migrations, (number, form));
            table.row([
                practice.name(),
                form.name.to_owned(),
                row[0].clone(),
                row[1].clone(),
                row[2].clone(),
                row[3].clone(),
                row[4].clone(),
            ]);
        }
        table.print();
    }
}

/// Rehearses a migration, and applies it under load. Returns the cells about it.
fn compare(
    world: &World,
    copies: &Postgres,
    database: &Database,
    migrations: &mut Migrations<'_>,
    (number, form): (usize, &Form),
) -> [String; 5] {
    database.sql(form.preparation);
    let path = migrations.add(number, form);
    let (forecast, rehearsal, rehearsed) = rehearse(world, copies, migrations);
    let (measured, truth, took) = migrate(world, database, migrations);
    migrations.settle(&path, truth == Ending::Success);
    let agreement = match (rehearsal, truth) {
        (Ending::Success, Ending::Success) => describe_agreement(forecast, measured),
        (Ending::Failure, Ending::Failure) => "both fail".to_owned(),
        (Ending::Failure, Ending::Success) => "**fails on the copy alone**".to_owned(),
        (Ending::Success, Ending::Failure) => "fails for its rows".to_owned(),
    };
    let seconds = |time: Duration| format!("{:.1}", time.as_secs_f64());
    [describe(forecast), describe(measured), agreement, seconds(took), seconds(rehearsed)]
}

/// The ending of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ending {
    Success,
    Failure,
}

impl Ending {
    fn of(mut step: Command) -> Self {
        match step.status().expect("the program is built").success() {
            true => Self::Success,
            false => Self::Failure,
        }
    }
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

/// Returns the forecast of a rehearsal, its ending, and the time that it took.
fn rehearse(world: &World, copies: &Postgres, migrations: &Migrations<'_>) -> (Waits, Ending, Duration) {
    let mut step = migrations.step("rehearse");
    step.env("INPUT_REHEARSE", format!("postgres://postgres@127.0.0.1:{}/postgres?sslmode=disable", copies.port()));
    let began = Instant::now();
    let ending = Ending::of(step);
    let took = began.elapsed();
    let report = report_of(&world.home().join("GITHUB_OUTPUT"));
    let statements = report.pointer("/rehearsal/statements").and_then(Value::as_array).cloned().unwrap_or_default();
    (statements.iter().map(waits_of).fold(Waits::default(), Waits::and), ending, took)
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
        let millis = statement.pointer(&format!("/estimate/{key}")).and_then(Value::as_u64).unwrap_or_default();
        Duration::from_millis(millis).as_secs_f64()
    };
    let range = (seconds("from_ms"), seconds("to_ms"));
    match statement.get("blocks").and_then(Value::as_str) {
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

/// Applies the migration under load. Returns the waits, the ending, and the time of the run.
fn migrate(world: &World, database: &Database, migrations: &Migrations<'_>) -> (Waits, Ending, Duration) {
    let load = Load::start(world, database, WARM_UP);
    let began = Instant::now();
    let ending = Ending::of(migrations.step("migrate"));
    let took = began.elapsed();
    let longest = load.stop();
    let measured = |wait: Duration| {
        let seconds = if wait < UNNOTICED { 0.0 } else { wait.as_secs_f64() };
        (seconds, seconds)
    };
    (Waits { reads: measured(longest.of_a_reader), writes: measured(longest.of_a_writer) }, ending, took)
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
