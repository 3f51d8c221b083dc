//! Migrations from files, compared with other tools.
#![expect(clippy::print_stdout, reason = "prints its results")]

#[path = "files/server.rs"]
mod server;
#[path = "files/tool.rs"]
pub(crate) mod tool;

use crate::{
    lab::postgres::Database,
    openssh,
    sample::{Sample, Target, in_turns},
    table::{Table, heading},
    world::{DISTANCES, World},
};
use std::{
    fs,
    path::PathBuf,
    process::{Command, Stdio},
    time::{Duration, Instant},
};
use tool::{PEERS, Tool};

/// The target for a hundred files over 20 ms, against the fastest of the three peers.
const FASTER: Target = Target::AtLeast(20.0);

/// A number of files over one distance.
#[derive(Debug, Clone, Copy)]
struct Series {
    files: usize,
    distance: Duration,
    /// Number of runs; one if the peers need minutes.
    runs: usize,
}

const ALL: [Series; 6] = [
    Series { files: 100, distance: DISTANCES[0], runs: 5 },
    Series { files: 100, distance: DISTANCES[1], runs: 3 },
    Series { files: 100, distance: DISTANCES[2], runs: 1 },
    Series { files: 1000, distance: DISTANCES[0], runs: 1 },
    Series { files: 1000, distance: DISTANCES[1], runs: 1 },
    Series { files: 1000, distance: DISTANCES[2], runs: 1 },
];

/// Total seconds, seconds of the tool alone, and round trips.
type Run = [Sample; 3];

/// Prints the tables.
pub(crate) fn run() {
    heading(
        "Files",
        "Seconds for files of one `create table` each, every file in a transaction of its own, into a fresh database. \
         bastion-migrate is the whole program from its start to its end, as a step of a job runs it: it opens its tunnel \
         itself. The others run through `ssh -f -N -L`, each with its own layout of files: *in all* is both, one after the \
         other, *the tool* is the time after the forwarding is open. The ratio is of *in all*. Round trips are counted in \
         front of the bastion. PostgreSQL writes to disk as it does by default (`fsync = on`); TLS and passwords are off.",
    );
    let world = World::durable();
    let mut table = Table::new(["files", "RTT", "runs", "who", "in all, s", "the tool, s", "round trips", "ratio"]);
    let mut previous: Option<[Run; 3]> = None;
    for series in ALL {
        for tool in PEERS.into_iter().chain([Tool::Ours]) {
            tool.lay_out(&files(&world, tool, series.files), series.files);
        }
        let (ours, peers) = if series.is_too_long() {
            let [ours] = in_turns(series.runs, [Tool::Ours], |tool| measure(&world, series, tool));
            (ours, previous.take().map(|peers| peers.map(|peer| series.lower_bound(&peer))))
        } else {
            let [diesel, sqlx, refinery] = PEERS;
            let [ours, peers @ ..] =
                in_turns(series.runs, [Tool::Ours, diesel, sqlx, refinery], |tool| measure(&world, series, tool));
            (ours, Some(peers))
        };
        series.add_rows(&mut table, &ours, peers.as_ref().into_iter().flatten());
        previous = peers;
    }
    table.print();
    println!(
        "≥: not run, as the three would need half an hour; the round trips counted over {} ms times the distance.\n",
        DISTANCES[1].as_millis()
    );
    server::run(&world);
}

impl Series {
    fn is_too_long(self) -> bool {
        self.files == 1000 && self.distance > DISTANCES[1]
    }

    /// Estimates the least time that a peer needs.
    fn lower_bound(self, [_, _, flights]: &Run) -> Run {
        let lower_bound = Sample::of(vec![flights.median() * self.distance.as_secs_f64()]);
        [lower_bound.clone(), lower_bound, flights.clone()]
    }

    fn add_rows<'a>(self, table: &mut Table, ours: &Run, peers: impl Iterator<Item = &'a Run>) {
        let peers: Vec<&Run> = peers.collect();
        let fastest = peers.iter().map(|[all, ..]| all.over(&ours[0])).fold(f64::INFINITY, f64::min);
        let first = [self.files.to_string(), format!("{} ms", self.distance.as_millis()), self.runs.to_string()];
        let mut row = |tool: Tool, [all, alone, flights]: &Run, ratio: String| {
            let lower_bound = if self.is_too_long() && tool != Tool::Ours { "≥ " } else { "" };
            // Without a distance, responses arrive before their request is complete, and a burst counts several times.
            let flights = if self.distance.is_zero() { "–".to_owned() } else { format!("{:.0}", flights.median()) };
            let [files, rtt, runs] = first.clone();
            table.row([
                files,
                rtt,
                runs,
                tool.name().to_owned(),
                format!("{lower_bound}{all}"),
                format!("{lower_bound}{alone}"),
                flights,
                ratio,
            ]);
        };
        let is_judged = self.files == 100 && self.distance == DISTANCES[1];
        let verdict = if is_judged { FASTER.judge(fastest) } else { format!("{fastest:.1}×") };
        row(Tool::Ours, ours, format!("the fastest / ours {verdict}"));
        for (tool, peer) in PEERS.into_iter().zip(peers) {
            row(tool, peer, format!("{:.1}×", peer[0].over(&ours[0])));
        }
    }
}

/// Returns the tool's directory with this number of files.
fn files(world: &World, tool: Tool, count: usize) -> PathBuf {
    world.home().join(format!("{}-{count}", tool.name()))
}

/// Measures a run of the tool in a fresh database, from the start to the tool's end.
fn measure(world: &World, series: Series, tool: Tool) -> [f64; 3] {
    let database = world.lab.database.server().database();
    let network = world.network(series.distance);
    let began = Instant::now();
    let port = match tool {
        Tool::Ours => network.port(),
        Tool::Diesel | Tool::Sqlx | Tool::Refinery => openssh::in_background(world, network.port()),
    };
    let forwarded = Instant::now();
    finish(&mut tool.command(world, &database, &files(world, tool, series.files), port));
    let (took, alone) = (began.elapsed(), forwarded.elapsed());
    let flights = u32::try_from(network.count()).unwrap_or(u32::MAX);
    network.cut();
    expect_tables(&database, series.files);
    [took.as_secs_f64(), alone.as_secs_f64(), f64::from(flights)]
}

/// Runs a command to its end. A failure is no measurement.
fn finish(command: &mut Command) {
    let log = tempfile::NamedTempFile::new().expect("there is room");
    let handle = || Stdio::from(log.reopen().expect("the file is there"));
    let status = command.stdin(Stdio::null()).stdout(handle()).stderr(handle()).status().expect("the tool is built");
    let text = fs::read_to_string(log.path()).unwrap_or_default();
    assert!(status.success(), "{command:?}: {status}\n{text}");
}

fn expect_tables(database: &Database, count: usize) {
    let tables = database.sql("select count(*) from pg_class where relname like 't\\_%' and relkind = 'r'");
    assert_eq!(tables, count.to_string(), "not every file was applied");
}
