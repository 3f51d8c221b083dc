//! The program beside an older build of it: `make bench ONLY=older OLDER=path`.
#![expect(clippy::print_stdout, reason = "prints its results")]

use crate::{
    files::tool::Tool,
    program,
    sample::{Sample, in_turns, milliseconds},
    stopwatch,
    table::{Table, heading},
    world::{DISTANCES, World},
};
use std::{
    env,
    path::{Path, PathBuf},
    process::Stdio,
    time::{Duration, Instant},
};

/// Runs of each party, for the first line and for files.
const STARTS: usize = 21;
const RUNS: usize = 7;

/// Numbers of files, each over a distance.
const SERIES: [(usize, Duration); 4] =
    [(1, DISTANCES[0]), (100, DISTANCES[0]), (100, DISTANCES[1]), (1000, DISTANCES[1])];

/// Prints the table.
pub(crate) fn run() {
    heading(
        "Older build",
        "Milliseconds of this build and an older one, which take turns: to the first line of the log; for files of one \
         `create table` each into a fresh database, from the start of the program to its end; and for a second run, which \
         has nothing to do. The ratio is of the medians; below 1 this build is faster.",
    );
    let Some(older) = env::var_os("OLDER").map(PathBuf::from) else {
        println!("Not measured: `OLDER` names no older program.\n");
        return;
    };
    let (world, now) = (World::durable(), program::path());
    let mut table = Table::new(["what", "RTT", "runs", "older, ms", "this, ms", "this / older"]);
    let mut row = |what: String, distance: Duration, runs: usize, older: &Sample, now: &Sample| {
        let distance = format!("{} ms", distance.as_millis());
        let ratio = format!("{:.2}×", now.over(older));
        table.row([what, distance, runs.to_string(), older.to_string(), now.to_string(), ratio]);
    };
    let files = world.home().join("start");
    Tool::Ours.lay_out(&files, 1);
    // The port is closed: the log begins long before the bastion is connected to.
    let start = |program: &Path| {
        stopwatch::measure(&mut program::step_of(program, &world, &world.lab.database, "migrate", &files, 9))
    };
    let [[_, before], [_, after]] = in_turns(STARTS, [older.as_path(), now.as_path()], start);
    row("first line for a reader".to_owned(), Duration::ZERO, STARTS, &before, &after);
    for (count, distance) in SERIES {
        let files = world.home().join(format!("older-{count}"));
        Tool::Ours.lay_out(&files, count);
        let [before, after] =
            in_turns(RUNS, [older.as_path(), now.as_path()], |program| measure(&world, program, &files, distance));
        row(format!("{count} files"), distance, RUNS, &before[0], &after[0]);
        row(format!("{count} files, nothing to do"), distance, RUNS, &before[1], &after[1]);
    }
    table.print();
}

/// Measures a run in a fresh database, and a second one.
fn measure(world: &World, program: &Path, files: &Path, distance: Duration) -> [f64; 2] {
    let database = world.lab.database.server().database();
    let network = world.network(distance);
    let run = || {
        let mut step = program::step_of(program, world, &database, "migrate", files, network.port());
        let began = Instant::now();
        let status = step.stdout(Stdio::null()).stderr(Stdio::null()).status().expect("the program is there");
        assert!(status.success(), "{}: {status}", program.display());
        milliseconds(began.elapsed())
    };
    let measured = [run(), run()];
    network.cut();
    measured
}
