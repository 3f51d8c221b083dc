//! The review of a plan, and the description of the schema: very many tables, very many files, and a long file.

use crate::{
    lab::{postgres::Database, process::run_checked},
    program,
    sample::{Target, in_turns},
    table::{Table, heading},
    usage,
    world::{DISTANCES, World, flights_of},
};
use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Instant,
};

/// Tables of the database.
const TABLES: u32 = 10_000;

/// Pending files, each for a table of its own.
const FILES: u32 = 2_000;

/// Pending files that are many and simple, each with a new table.
const SIMPLE_FILES: u32 = 10_000;

/// Length of the long file, in bytes.
const LONG: usize = 5_000_000;

/// What is pending, and the targets.
const TARGETS: [(&str, TimeTarget); 5] = [
    ("one short file", TimeTarget::None),
    ("2,000 files", TimeTarget::Whole(3.0)),
    ("10,000 files", TimeTarget::More(1.0)),
    ("5 MB of rows", TimeTarget::More(0.3)),
    ("5 MB of changes", TimeTarget::More(0.3)),
];

/// A target in seconds.
#[derive(Debug, Clone, Copy)]
enum TimeTarget {
    None,
    /// Of the whole run.
    Whole(f64),
    /// Of the time beyond a run with one short file.
    More(f64),
}

/// The target for the memory, in megabytes (10⁶ bytes).
const MEMORY: f64 = 80.0;

const RUNS: usize = 5;

/// Prints the tables.
pub(crate) fn run() {
    let world = World::durable();
    let database = world.lab.database.server().database();
    create_tables(&database);
    plan_files(&world, &database);
    change_schema(&world, &database);
}

/// Prints what the plan of many files and of a long file costs.
fn plan_files(world: &World, database: &Database) {
    heading(
        "Review",
        "`command: plan` from its start to its end, over 20 ms, in a database with 10,000 tables: 2,000 pending files, each of which alters a \
         table of its own; 10,000 that create one; and one pending file of 5 MB. *More* is the time beyond a run with one short file. The whole plan \
         is in log, summary and outputs. Round trips include the log-ins. *Memory* is watched in a run of its own that is not timed.",
    );
    let of_table = |number| {
        format!("alter table t{number} add column note text;\ncreate index by_note_{number} on t{number} (note);\n")
    };
    let rows = "insert into t1 (id, note) values (1, 'some text; and more'), (2, 'and other text');\n";
    let changes = "update t1 set id = id + 1 where id between 7 and 9; alter table t2 alter column id set default 7;\n";
    let parties = [
        lay_out(world, "short", ["select 1;\n".to_owned()]),
        lay_out(world, "many", (1..=FILES).map(of_table)),
        lay_out(
            world,
            "simple",
            (1..=SIMPLE_FILES).map(|number| format!("create table new{number} (id bigint primary key);\n")),
        ),
        lay_out(world, "long-rows", [rows.repeat(LONG / rows.len())]),
        lay_out(world, "long-changes", [changes.repeat(LONG / changes.len())]),
    ];
    let figures = in_turns(RUNS, parties.each_ref(), |files| run_step(world, database, "plan", files));
    let shortest = figures[0][0].median();
    let mut table = Table::new(["pending", "runs", "time, s", "more, s", "round trips", "memory, MB", "target"]);
    for ((files, [time, trips]), (name, target)) in parties.iter().zip(&figures).zip(TARGETS) {
        let more = time.median() - shortest;
        let memory = usage::run_to_peak(&mut step(world, database, "plan", files, world.lab.bastion.port));
        let judge = |value: f64, limit: f64, unit: &str| {
            format!("{} of {limit} {unit}", Target::AtMost(1.0).judge(value / limit))
        };
        let in_time = match target {
            TimeTarget::None => "–".to_owned(),
            TimeTarget::Whole(limit) => judge(time.median(), limit, "s"),
            TimeTarget::More(limit) => judge(more, limit, "s"),
        };
        table.row([
            name.to_owned(),
            RUNS.to_string(),
            time.to_string(),
            format!("{more:.2}"),
            format!("{:.0}", trips.median()),
            format!("{memory:.1}"),
            format!("{in_time}, {}", judge(memory, MEMORY, "MB")),
        ]);
    }
    table.print();
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
    let add_file = |number: usize| {
        let text = format!("alter table t{number} add column note text;\n");
        fs::write(files.join(format!("{number:04}_change.sql")), text).expect("there is room");
    };
    let mut number = 0;
    let [[time, trips]] = in_turns(RUNS, [()], |()| {
        number += 1;
        add_file(number);
        run_step(world, database, "migrate", &files)
    });
    add_file(number + 1);
    let memory = usage::run_to_peak(&mut step(world, database, "migrate", &files, world.lab.bastion.port));
    let (trips, memory) = (format!("{:.0}", trips.median()), format!("{memory:.1}"));
    table.row(["adds a column".to_owned(), RUNS.to_string(), time.to_string(), trips, memory]);
    table.print();
}

/// Creates the tables; one statement for all would need a lock for each.
fn create_tables(database: &Database) {
    for first in (1..=TABLES).step_by(500) {
        let last = first + 499;
        database.sql(&format!(
            "set role app; do $$ begin for number in {first}..{last} loop \
             execute format('create table t%s (id bigint primary key)', number); end loop; end $$"
        ));
    }
    database.sql("analyze");
}

fn lay_out(world: &World, name: &str, files: impl IntoIterator<Item = String>) -> PathBuf {
    let directory = world.home().join(name);
    fs::create_dir_all(&directory).expect("there is room");
    for (number, text) in files.into_iter().enumerate() {
        fs::write(directory.join(format!("{:05}_change.sql", number + 1)), text).expect("there is room");
    }
    directory
}

/// Returns seconds and round trips of a run over 20 ms.
fn run_step(world: &World, database: &Database, command: &str, files: &Path) -> [f64; 2] {
    let network = world.network(DISTANCES[1]);
    let mut step = step(world, database, command, files, network.port());
    let began = Instant::now();
    run_checked(&mut step);
    [began.elapsed().as_secs_f64(), flights_of(&network)]
}

fn step(world: &World, database: &Database, command: &str, files: &Path, bastion: u16) -> Command {
    let mut step = program::step(world, database, command, files, bastion);
    step.stdout(Stdio::null());
    step
}
