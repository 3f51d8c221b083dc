//! The copy of a rehearsal: the time until it is ready for a large schema, in a server and in a container. In `watched` the cost of
//! watching a tool.

mod watched;

use crate::{
    lab::postgres::{Database, Options, Postgres},
    network::MACHINE,
    program,
    sample::{Target, in_turns},
    table::{Table, heading},
    world::World,
};
use std::{fs, path::Path, time::Instant};

/// Tables of the database: each has a key with a sequence, two indexes, and a foreign key to another one.
const TABLES: u32 = 2_000;

/// The target for the copy, in seconds.
const READY: f64 = 60.0;

/// One takes minutes where the disk is slow.
const RUNS: usize = 1;

/// Prints the table.
pub(crate) fn run() {
    heading(
        "Rehearsal",
        "`command: rehearse` of one short file in a database with 2,000 tables, each with a key with a sequence, two indexes and a foreign key. \
         *Ready* is the time from the first question about the schema until both copies are there; the whole run includes its rounds and the end of the copies.",
    );
    let world = World::durable();
    let database = world.lab.database.server().database();
    create_tables(&database);
    let files = world.home().join("rehearsed");
    fs::create_dir_all(&files).expect("there is room");
    fs::write(files.join("0001_note.sql"), "alter table t7 add column note text;\n").expect("there is room");
    let copies = Postgres::start(&Options::default()).database();
    copies.sql("create role maker superuser login password 'maker'");
    let (port, name) = (copies.server().port(), copies.name());
    let places = [
        ("a server with its data on disk", format!("postgres://maker:maker@127.0.0.1:{port}/{name}")),
        ("a container", format!("{{ image: '{MACHINE}' }}")),
    ];
    let figures = in_turns(RUNS, places.each_ref(), |(_, place)| rehearse(&world, &database, &files, place));
    let mut table = Table::new(["place of the copy", "runs", "ready, s", "whole run, s", "target"]);
    for ((place, _), [ready, whole]) in places.iter().zip(&figures) {
        let judged = format!("{} of {READY} s", Target::AtMost(1.0).judge(ready.median() / READY));
        table.row([(*place).to_owned(), RUNS.to_string(), ready.to_string(), whole.to_string(), judged]);
    }
    table.print();
    watched::run();
}

/// Returns the time until the copy was ready, and that of the whole run, in seconds.
fn rehearse(world: &World, database: &Database, files: &Path, place: &str) -> [f64; 2] {
    let mut step = program::step(world, database, "rehearse", files, world.lab.bastion.port);
    step.env("INPUT_REHEARSE", place);
    let start = Instant::now();
    let output = step.output().expect("the program starts");
    let whole = start.elapsed().as_secs_f64();
    let log = String::from_utf8_lossy(&output.stdout).into_owned();
    let after = |line: &str| line.split_once("the copy is ready after ")?.1.strip_suffix(" s")?.parse().ok();
    let ready: Option<f64> = log.lines().find_map(after);
    [ready.unwrap_or_else(|| panic!("the copy was never ready: {log}")), whole]
}

fn create_tables(database: &Database) {
    for first in (1..=TABLES).step_by(250) {
        let last = first + 249;
        database.sql(&format!(
            "set role app; do $$ begin for n in {first}..{last} loop \
             execute format('create table t%s (id serial primary key, parent int%s, note_1 text, price numeric, at timestamptz default now()); \
               create index on t%s (note_1); create index on t%s (parent, at)', \
               n, case when n > 1 then format(' references t%s', n - 1) else '' end, n, n); end loop; end $$"
        ));
    }
    database.sql("analyze");
}
