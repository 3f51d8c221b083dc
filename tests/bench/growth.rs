//! The cost of more files: time, CPU time and memory.

use crate::{
    files::tool::Tool,
    lab::postgres::Database,
    program,
    sample::{Sample, Target, in_turns, milliseconds},
    table::{Table, heading},
    usage,
    world::World,
};
use std::{
    path::Path,
    process::{Command, Stdio},
    time::Instant,
};

/// Numbers of files and of runs.
const SIZES: [(usize, usize); 4] = [(10, 9), (100, 9), (1000, 3), (10_000, 1)];

/// The target: megabytes at most, with a thousand files.
const MEMORY: f64 = 40.0;

/// Prints the table.
pub(crate) fn run() {
    heading(
        "Growth",
        "The program from its start to its end, through the bastion, without a distance or a delay line; PostgreSQL does not \
         wait for the disk. *CPU* is the program's own. *Memory* is `VmHWM`, polled in a separate run that is not timed. \
         *status* comes after *migrate*, when there is nothing to do.",
    );
    let world = World::new();
    let mut table =
        Table::new(["files", "runs", "command", "time, ms", "per file, ms", "CPU, ms", "memory, MB", "memory / 40 MB"]);
    for (count, runs) in SIZES {
        let files = world.home().join(count.to_string());
        Tool::Ours.lay_out(&files, count);
        let migrated = fresh(&world);
        let migrate = || {
            let database = fresh(&world);
            timed(&mut step(&world, &database, "migrate", &files))
        };
        let status = || timed(&mut step(&world, &migrated, "status", &files));
        let watch = |command| usage::run_to_peak(&mut step(&world, &migrated, command, &files));
        let [[time, cpu]] = in_turns(runs, [()], |()| migrate());
        table.row(row(count, runs, "migrate", [&time, &cpu], watch("migrate")));
        let [[time, cpu]] = in_turns(runs, [()], |()| status());
        table.row(row(count, runs, "status", [&time, &cpu], watch("status")));
    }
    table.print();
}

fn row(count: usize, runs: usize, command: &str, [time, cpu]: [&Sample; 2], memory: f64) -> [String; 8] {
    let files = u32::try_from(count).map_or(f64::NAN, f64::from);
    let ratio = memory / MEMORY;
    [
        count.to_string(),
        runs.to_string(),
        command.to_owned(),
        time.to_string(),
        format!("{:.2}", time.median() / files),
        cpu.to_string(),
        format!("{memory:.1}"),
        if count == 1000 { Target::AtMost(1.0).judge(ratio) } else { format!("{ratio:.2}×") },
    ]
}

fn fresh(world: &World) -> Database {
    world.lab.database.server().database()
}

fn step(world: &World, database: &Database, command: &str, files: &Path) -> Command {
    let mut step = program::step(world, database, command, files, world.lab.bastion.port);
    step.stdout(Stdio::null());
    step
}

/// Runs the step and measures milliseconds of time and of CPU time.
fn timed(step: &mut Command) -> [f64; 2] {
    let (spent, began) = (usage::of_children(), Instant::now());
    let status = step.status().expect("the program is built");
    assert!(status.success(), "{status}");
    [milliseconds(began.elapsed()), milliseconds(usage::of_children() - spent)]
}
