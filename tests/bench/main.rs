//! `make bench`: the cost of a run compared with the tools that it replaces, measured together and as ratios. Figures
//! are medians of runs that take turns, so that other load on the machine affects all. Nothing here asserts a time.
//!
//! One file per topic; `make bench ONLY="tunnel start"` runs some of them. Topics share the rest: `world` has the
//! servers, `openssh` the peer of the tunnel, `sample` the arithmetic, `table` the output.
#![expect(clippy::print_stdout, reason = "prints its results")]
#![expect(dead_code, reason = "uses only a part of the suite's lab")]

#[path = "../container/engine.rs"]
mod engine;
#[path = "../suite/flights.rs"]
mod flights;
#[path = "../suite/lab/mod.rs"]
mod lab;
#[path = "../container/network.rs"]
mod network;

mod bulk;
mod estimate;
mod files;
mod first_query;
mod growth;
mod image;
mod machine;
mod notices;
mod older;
mod openssh;
mod program;
mod rehearse;
mod review;
mod sample;
mod small_queries;
mod start;
mod starts;
mod stopwatch;
mod table;
mod tenants;
mod truth;
mod usage;
mod world;

use lab::{certificate, process};
use std::process::ExitCode;

type Topic = (&'static str, fn());

/// All topics, in the order in which they run.
const TOPICS: [Topic; 16] = [
    ("first-query", first_query::run),
    ("small-queries", small_queries::run),
    ("bulk", bulk::run),
    ("ciphers", bulk::ciphers::run),
    ("files", files::run),
    ("growth", growth::run),
    ("tenants", tenants::run),
    ("review", review::run),
    ("rehearse", rehearse::run),
    ("estimate", estimate::run),
    ("truth", truth::run),
    ("notices", notices::run),
    ("start", start::run),
    ("starts", starts::run),
    ("image", image::run),
    ("older", older::run),
];

/// The topics that `tunnel` stands for.
const TUNNEL: [&str; 3] = ["first-query", "small-queries", "bulk"];

fn main() -> ExitCode {
    let topics: Vec<String> = std::env::args().skip(1).collect();
    match topics.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        // Called by the topic `start` in a container.
        ["stopwatch", program] => stopwatch::run(program),
        ["nothing"] => println!("nothing"),
        _ => return run(&topics),
    }
    ExitCode::SUCCESS
}

fn run(topics: &[String]) -> ExitCode {
    let is_selected = |name: &str| {
        let named = |topics: &String| topics == name || (topics == "tunnel" && TUNNEL.contains(&name));
        topics.is_empty() || topics.iter().any(named)
    };
    let known: Vec<&str> = TOPICS.map(|(name, _)| name).into_iter().chain(["tunnel"]).collect();
    if let Some(unknown) = topics.iter().find(|name| !known.contains(&name.as_str())) {
        println!("there is no topic `{unknown}`, but {}", known.join(", "));
        return ExitCode::FAILURE;
    }
    machine::print_machine(topics);
    for (_, topic) in TOPICS.iter().filter(|(name, _)| is_selected(name)) {
        topic();
    }
    ExitCode::SUCCESS
}
