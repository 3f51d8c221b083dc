//! From the start of a program to the first line of its log. Runs inside of a container, too: `bench stopwatch PROGRAM`.
#![expect(clippy::disallowed_methods, reason = "starts the program")]
#![expect(clippy::print_stdout, reason = "its answer is read")]

use crate::sample::milliseconds;
use rustix::process::{Pid, Signal, kill_process};
use std::{
    io::{BufRead as _, BufReader},
    process::{Command, Stdio},
    time::Instant,
};

/// What the runner swallows before a reader sees anything.
const MASK: &str = "::add-mask::";

/// Milliseconds to the first line at all, and to the first one that a reader sees. The program is ended then.
pub(crate) fn measure(program: &mut Command) -> [f64; 2] {
    let began = Instant::now();
    let mut child = program.stdout(Stdio::piped()).spawn().expect("the program is there");
    let lines = BufReader::new(child.stdout.take().expect("stdout is a pipe")).lines().map_while(Result::ok);
    let (mut first, mut seen) = (f64::NAN, f64::NAN);
    for line in lines {
        let now = milliseconds(began.elapsed());
        if first.is_nan() {
            first = now;
        }
        if !line.starts_with(MASK) {
            seen = now;
            break;
        }
    }
    // By a signal that docker hands on; who has ended already needs none.
    kill_process(Pid::from_child(&child), Signal::TERM).unwrap_or_default();
    drop(child.wait());
    [first, seen]
}

/// Measures the program in this environment and prints the two figures.
pub(crate) fn run(program: &str) {
    let [first, seen] = measure(&mut Command::new(program));
    println!("{first} {seen}");
}

/// The two figures of [`run`].
pub(crate) fn read(printed: &str) -> Option<[f64; 2]> {
    let mut figures = printed.split_whitespace().map(str::parse);
    Some([figures.next()?.ok()?, figures.next()?.ok()?])
}
