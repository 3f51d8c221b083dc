//! The time from the start of a program to the first line of its log. Also runs in a container:
//! `bench stopwatch PROGRAM`.
#![expect(clippy::disallowed_methods, reason = "starts the program")]
#![expect(clippy::print_stdout, reason = "its output is parsed")]

use crate::sample::milliseconds;
use rustix::process::{Pid, Signal, kill_process};
use std::{
    io::{BufRead as _, BufReader},
    process::{Command, Stdio},
    time::Instant,
};

/// The prefix of lines that the runner does not show.
const MASK: &str = "::add-mask::";

/// Measures the milliseconds to the first line, and to the first line that the runner shows; then ends the program.
pub(crate) fn measure(program: &mut Command) -> [f64; 2] {
    let began = Instant::now();
    let mut child = program.stdout(Stdio::piped()).spawn().expect("the program is there");
    let lines = BufReader::new(child.stdout.take().expect("stdout is a pipe")).lines().map_while(Result::ok);
    let (mut first, mut first_visible) = (f64::NAN, f64::NAN);
    for line in lines {
        let now = milliseconds(began.elapsed());
        if first.is_nan() {
            first = now;
        }
        if !line.starts_with(MASK) {
            first_visible = now;
            break;
        }
    }
    // By a signal that docker forwards; the program may have ended already.
    kill_process(Pid::from_child(&child), Signal::TERM).unwrap_or_default();
    drop(child.wait());
    [first, first_visible]
}

/// Measures the program in this environment and prints the two figures.
pub(crate) fn run(program: &str) {
    let [first, first_visible] = measure(&mut Command::new(program));
    println!("{first} {first_visible}");
}

/// Parses the two figures that [`run`] prints.
pub(crate) fn read(printed: &str) -> Option<[f64; 2]> {
    let mut figures = printed.split_whitespace().map(str::parse);
    Some([figures.next()?.ok()?, figures.next()?.ok()?])
}
