//! The review of a plan: very many tables, very many files, and a long file.
#![expect(clippy::disallowed_methods, reason = "starts the program that is measured")]

use crate::{
    flights::Flights,
    lab::postgres::Database,
    program,
    sample::{Sample, Target, in_turns},
    table::{Table, heading},
    usage,
    world::{DISTANCES, World},
};
use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

/// Tables of the database.
const TABLES: u32 = 10_000;

/// Pending files, each for a table of its own.
const FILES: u32 = 2_000;

/// Length of the long file, in bytes.
const LONG: usize = 5_000_000;

/// The targets: seconds for many files, megabytes, and seconds for the long file.
const SECONDS: f64 = 3.0;
const MEMORY: f64 = 80.0;
const LONG_SECONDS: f64 = 0.3;

const RUNS: usize = 5;

/// Prints the table.
pub(crate) fn run() {
    heading(
        "Review",
        "`command: plan` from its start to its end, over 20 ms, in a database with 10,000 tables: 2,000 pending files, each of which alters a \
         table of its own; and one pending file of 5 MB. *More than an empty one* is the time beyond a run with one short file. The whole plan \
         is in log, summary and outputs. Round trips include the log-ins.",
    );
    let world = World::durable();
    let database = world.lab.database.server().database();
    create_tables(&database);
    let many = lay_out(
        &world,
        "many",
        (1..=FILES).map(|number| {
            format!(
                "alter table t{number} add column note text;\ncreate index concurrently_{number} on t{number} (id);\n"
            )
        }),
    );
    let rows = "insert into t1 (id, note) values (1, 'some text; and more'), (2, 'and other text');\n";
    let long_rows = lay_out(&world, "long-rows", [rows.repeat(LONG / rows.len())]);
    let changes = "update t1 set id = id + 1 where id between 7 and 9; alter table t2 alter column id set default 7;\n";
    let long_changes = lay_out(&world, "long-changes", [changes.repeat(LONG / changes.len())]);
    let short = lay_out(&world, "short", ["select 1;\n".to_owned()]);

    let parties = [&short, &many, &long_rows, &long_changes];
    let [nothing, many, rows, changes] = in_turns(RUNS, parties, |files| measure(&world, &database, files));
    let mut table =
        Table::new(["pending", "runs", "time, s", "more than an empty one, s", "round trips", "memory, MB", "target"]);
    for (name, figures, target) in [
        ("one short file", &nothing, None),
        ("2,000 files", &many, Some((Whole::Run, SECONDS))),
        ("5 MB of rows", &rows, Some((Whole::Addition, LONG_SECONDS))),
        ("5 MB of changes", &changes, Some((Whole::Addition, LONG_SECONDS))),
    ] {
        let [time, trips, memory] = figures;
        let addition = time.median() - nothing[0].median();
        let verdict = target.map(|(whole, seconds)| {
            let measured = if whole == Whole::Run { time.median() } else { addition };
            let time = Target::AtMost(1.0).judge(measured / seconds);
            format!("{time} of {seconds} s, {} of 80 MB", Target::AtMost(1.0).judge(memory.median() / MEMORY))
        });
        table.row([
            name.to_owned(),
            RUNS.to_string(),
            time.to_string(),
            format!("{addition:.2}"),
            format!("{:.0}", trips.median()),
            memory.to_string(),
            verdict.unwrap_or_else(|| "–".to_owned()),
        ]);
    }
    table.print();
    change_schema(&world, &database);
}

/// Prints what the description of a large schema costs, which a run reads before and after its changes.
fn change_schema(world: &World, database: &Database) {
    heading(
        "Schema",
        "`command: migrate` of one file in the same database, over 20 ms. The run describes the schema before and after, and reports the change.",
    );
    let mut table = Table::new(["file", "runs", "time, s", "round trips", "memory, MB"]);
    let files = world.home().join("growing");
    fs::create_dir_all(&files).expect("there is room");
    let mut figures = [const { Vec::new() }; 3];
    for run in 1..=RUNS {
        let text = format!("alter table t{run} add column note text;\n");
        fs::write(files.join(format!("{run:04}_change.sql")), text).expect("there is room");
        let measured = run_step(world, database, "migrate", &files);
        figures.iter_mut().zip(measured).for_each(|(figures, figure)| figures.push(figure));
    }
    let [time, trips, memory] = figures.map(Sample::of);
    table.row([
        "adds a column".to_owned(),
        RUNS.to_string(),
        time.to_string(),
        format!("{:.0}", trips.median()),
        memory.to_string(),
    ]);
    table.print();
}

/// What a target is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Whole {
    Run,
    Addition,
}

/// Creates the tables; one statement for all would need a lock for each.
fn create_tables(database: &Database) {
    for first in (1..=TABLES).step_by(500) {
        let last = first + 499;
        database.sql(&format!(
            "set role app; do $$ begin for number in {first}..{last} loop \
             execute format('create table t%s (id bigint primary key, note_%s text)', number, number); end loop; end $$"
        ));
    }
    database.sql("analyze");
}

fn lay_out(world: &World, name: &str, files: impl IntoIterator<Item = String>) -> PathBuf {
    let directory = world.home().join(name);
    fs::create_dir_all(&directory).expect("there is room");
    for (number, text) in files.into_iter().enumerate() {
        fs::write(directory.join(format!("{:04}_change.sql", number + 1)), text).expect("there is room");
    }
    directory
}

/// Returns seconds, round trips and megabytes of a plan.
fn measure(world: &World, database: &Database, files: &Path) -> [f64; 3] {
    run_step(world, database, "plan", files)
}

/// Returns seconds, round trips and megabytes of a run.
fn run_step(world: &World, database: &Database, command: &str, files: &Path) -> [f64; 3] {
    let network = world.network(DISTANCES[1]);
    let mut step: Command = program::step(world, database, command, files, network.port());
    let began = Instant::now();
    let mut child = step.stdout(Stdio::null()).spawn().expect("the program is built");
    let mut peak = 0.0;
    while let Some(now) = usage::peak_memory(child.id()) {
        peak = now;
        // It would take the time of the run that it measures.
        thread::sleep(Duration::from_millis(2));
    }
    assert!(child.wait().expect("the program ends").success());
    [began.elapsed().as_secs_f64(), flights_of(&network), peak]
}

fn flights_of(network: &Flights) -> f64 {
    let flights = u32::try_from(network.count()).unwrap_or(u32::MAX);
    network.cut();
    f64::from(flights)
}
