//! The time until a step's first output, here and in its container, and its size.
#![expect(clippy::print_stdout, reason = "prints its results")]

#[path = "start/container.rs"]
mod container;

use crate::{
    files::tool::Tool,
    program,
    sample::{Sample, Target, in_turns},
    stopwatch,
    table::{Table, heading},
    world::World,
};
use container::{Image, Measured};
use std::fs;

/// Runs of each party.
const RUNS: usize = 11;

/// The targets: milliseconds in the container, and megabytes.
const START: f64 = 50.0;
const SIZE: f64 = 25.0;

/// Prints the tables.
pub(crate) fn run() {
    heading(
        "Start",
        "Milliseconds to the first line of the log, and to the first one that a reader sees (the runner swallows \
         `::add-mask::`). *Here* and *in the container* begin when the program is started. *docker run* begins with the \
         docker CLI; the program compared with it only prints a line, in the same image with the same mounts.",
    );
    let world = World::new();
    let files = world.home().join("files");
    Tool::Ours.lay_out(&files, 1);
    // The port is closed: the log begins long before the bastion is connected to.
    let step = || program::step(&world, &world.lab.database, "migrate", &files, 9);
    let mut table = Table::new(["what", "first line, ms", "first line for a reader, ms", "against 50 ms"]);
    let row = |table: &mut Table, what: &str, [first, first_visible]: &[Sample; 2], verdict: String| {
        table.row([what.to_owned(), first.to_string(), first_visible.to_string(), verdict]);
    };
    let mut sizes = Table::new(["what", "MB", "against 25 MB"]);
    let bytes = fs::metadata(program::path()).map_or(f64::NAN, |file| megabytes(file.len()));
    sizes.row(["the program, as built here".to_owned(), format!("{bytes:.1}"), "–".to_owned()]);
    match Image::find(world.home()) {
        Err(reason) => {
            let [here] = in_turns(RUNS, [()], |()| stopwatch::measure(&mut step()));
            row(&mut table, "here", &here, "–".to_owned());
            println!("Not measured: the container. {reason}\n");
        }
        Ok(image) => {
            let measure = |party| match party {
                Party::Here => stopwatch::measure(&mut step()),
                Party::Container => image.measure(&step(), Measured::Stopwatch),
                Party::Docker => image.measure(&step(), Measured::Program),
                Party::Empty => image.measure(&step(), Measured::Nothing),
            };
            let parties = [Party::Here, Party::Container, Party::Docker, Party::Empty];
            let [here, container, docker, empty] = in_turns(RUNS, parties, measure);
            let verdict = Target::AtMost(1.0).judge(container[1].median() / START);
            row(&mut table, "here", &here, "–".to_owned());
            row(&mut table, "in the container", &container, verdict);
            row(&mut table, "docker run", &docker, "–".to_owned());
            row(&mut table, "docker run of an empty program", &empty, "–".to_owned());
            let size = megabytes(image.bytes());
            let verdict = Target::AtMost(1.0).judge(size / SIZE);
            sizes.row([format!("the image {}", container::NAME), format!("{size:.1}"), verdict]);
        }
    }
    println!("{RUNS} runs of each:\n");
    table.print();
    sizes.print();
}

#[derive(Debug, Clone, Copy)]
enum Party {
    Here,
    Container,
    Docker,
    Empty,
}

#[expect(clippy::cast_precision_loss, reason = "a size is far below 2⁵²")]
fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}
