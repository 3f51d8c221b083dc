//! `make bench`: what a run costs, side by side with the tools that it stands in for, in one run and as ratios. Medians of
//! runs that take turns, so that a busy machine is busy for all. Nothing here asserts a time.
//!
//! One file per topic; `make bench ONLY="tunnel start"` runs some of them. The rest is what topics share: `world` is the
//! servers, `openssh` the peer of the tunnel, `sample` the arithmetic, `table` the paper.
#![expect(clippy::print_stdout, reason = "it is there to be read")]
#![expect(dead_code, reason = "the bench uses a part of what the suite needs")]

#[path = "../container/engine.rs"]
mod engine;
#[path = "../suite/flights.rs"]
mod flights;
#[path = "../suite/lab/mod.rs"]
mod lab;
#[path = "../container/network.rs"]
mod network;

mod bulk;
mod files;
mod first_query;
mod growth;
mod image;
mod machine;
mod notices;
mod openssh;
mod program;
mod sample;
mod small_queries;
mod start;
mod stopwatch;
mod table;
mod usage;
mod world;

use lab::{certificate, process};
use std::process::ExitCode;

type Topic = (&'static str, fn());

/// In the order in which they run.
const TOPICS: [Topic; 8] = [
    ("first-query", first_query::run),
    ("small-queries", small_queries::run),
    ("bulk", bulk::run),
    ("files", files::run),
    ("growth", growth::run),
    ("notices", notices::run),
    ("start", start::run),
    ("image", image::run),
];

/// What the topic `tunnel` stands for.
const TUNNEL: [&str; 3] = ["first-query", "small-queries", "bulk"];

fn main() -> ExitCode {
    let asked: Vec<String> = std::env::args().skip(1).collect();
    match asked.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        // What the topic `start` runs in a container.
        ["stopwatch", program] => stopwatch::run(program),
        ["nothing"] => println!("nothing"),
        _ => return run(&asked),
    }
    ExitCode::SUCCESS
}

fn run(asked: &[String]) -> ExitCode {
    let is_asked = |name: &str| {
        let named = |asked: &String| asked == name || (asked == "tunnel" && TUNNEL.contains(&name));
        asked.is_empty() || asked.iter().any(named)
    };
    let known: Vec<&str> = TOPICS.map(|(name, _)| name).into_iter().chain(["tunnel"]).collect();
    if let Some(unknown) = asked.iter().find(|name| !known.contains(&name.as_str())) {
        println!("there is no topic `{unknown}`, but {}", known.join(", "));
        return ExitCode::FAILURE;
    }
    machine::introduce(asked);
    for (_, topic) in TOPICS.iter().filter(|(name, _)| is_asked(name)) {
        topic();
    }
    ExitCode::SUCCESS
}
