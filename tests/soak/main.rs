//! `make soak`: disrupts runs of the action at random moments; each is judged, repaired and verified. Two rounds run at
//! a time, each with its own servers. All random choices derive from a seed: a failed round can be repeated with the
//! same files, the same disruption and the same moment, as far as a clock allows.
#![expect(clippy::print_stdout, reason = "prints its results")]
#![expect(dead_code, reason = "uses only a part of the suite's lab")]

#[path = "../suite/action.rs"]
mod action;
mod agreement;
#[path = "../container/app.rs"]
mod app;
mod blow;
#[path = "../container/command_line.rs"]
mod command_line;
mod containers;
mod copies;
#[path = "../container/engine.rs"]
mod engine;
mod files;
mod ground;
#[path = "../suite/judge.rs"]
mod judge;
mod judgement;
#[path = "../suite/lab/mod.rs"]
mod lab;
#[path = "../container/later_step.rs"]
mod later_step;
#[path = "../container/layout.rs"]
mod layout;
#[path = "../suite/layout_forms.rs"]
mod layout_forms;
#[path = "../suite/leak.rs"]
mod leak;
mod look;
mod moment;
#[path = "../container/network.rs"]
mod network;
mod options;
mod record;
mod recorded_run;
mod room;
mod round;
#[path = "../suite/runner/mod.rs"]
mod runner;
#[path = "../container/running.rs"]
mod running;
mod score;
#[path = "../container/step.rs"]
mod step;
mod steps;
mod tenants;

use ground::{Ground, Kind, RoundName};
use lab::{certificate, process};
use options::Options;
use record::{DisruptedRun, Record};
use score::Score;
use std::{
    any::Any,
    fs,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    process::ExitCode,
    sync::{Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

/// The number of rounds at a time: more would compete for the cores of a small machine.
const AT_ONCE: usize = 2;

/// State shared by the workers.
#[derive(Debug, Default)]
struct Shared {
    score: Score,
    kills: usize,
    cancels: usize,
}

fn main() -> ExitCode {
    let options = Options::parse();
    println!(
        "{}: {} kills and {} cancels, at most {:?}",
        options.command(),
        options.kills,
        options.cancels,
        options.limit
    );
    let (kills, cancels) = options.after;
    let (began, shared) = (Instant::now(), Mutex::new(Shared { kills, cancels, ..Shared::default() }));
    thread::scope(|scope| {
        for worker in 0..if options.only.is_some() { 1 } else { AT_ONCE } {
            let play_rounds = || play_rounds(&options, &shared, began);
            thread::Builder::new()
                .name(format!("soak-{worker}"))
                .spawn_scoped(scope, play_rounds)
                .expect("a thread can start");
        }
    });
    let Shared { score, kills, cancels } = shared.into_inner().unwrap_or_else(PoisonError::into_inner);
    print_result(&options, &score, (kills, cancels), began.elapsed())
}

/// Plays rounds until enough runs were disrupted or the time is up.
fn play_rounds(options: &Options, shared: &Mutex<Shared>, began: Instant) {
    let mut ground = options.start_ground();
    if let Some(name) = &options.only {
        play_round(&mut ground, options, shared, name);
        return;
    }
    while began.elapsed() < options.limit
        && let Some(name) = next_round(options, shared)
    {
        play_round(&mut ground, options, shared, &name);
    }
}

/// Returns the next round. Kills and cancels alternate in proportion, so that both are tested if the time is short.
fn next_round(options: &Options, shared: &Mutex<Shared>) -> Option<RoundName> {
    let mut shared = shared.lock().unwrap_or_else(PoisonError::into_inner);
    let (kills, cancels) = (shared.score.hits(Kind::Kill), shared.score.hits(Kind::Cancel));
    let round = |kind, number| Some(RoundName { seed: options.seed, kind, number });
    if kills < options.kills && (cancels >= options.cancels || kills * options.cancels <= cancels * options.kills) {
        shared.kills += 1;
        round(Kind::Kill, shared.kills)
    } else if cancels < options.cancels {
        shared.cancels += 1;
        round(Kind::Cancel, shared.cancels)
    } else {
        None
    }
}

fn play_round(ground: &mut Box<dyn Ground>, options: &Options, shared: &Mutex<Shared>, name: &RoundName) {
    let began = Instant::now();
    let mut record = Record::default();
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| ground.play(name, &mut record))) {
        record.wrong.push(format!("the round broke off: {}", panic_message(panic.as_ref())));
        *ground = options.start_ground();
    }
    let summary = record.results.iter().map(DisruptedRun::to_string).collect::<Vec<_>>().join("; then ");
    println!("{name:10} {:5} ms  {:2} files  {summary}", began.elapsed().as_millis(), record.files.len());
    if options.only.is_some() {
        println!("{}", record.logs);
    }
    if !record.wrong.is_empty() {
        save_violation(options, name, &record);
    }
    shared.lock().unwrap_or_else(PoisonError::into_inner).score.count(name, &record);
}

fn panic_message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("a panic without a message")
}

/// Prints the violations and the command that repeats the round, and saves its files.
fn save_violation(options: &Options, name: &RoundName, record: &Record) {
    let home = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/soak").join(options.directory(name));
    fs::create_dir_all(&home).expect("the target directory is writable");
    for (path, text) in &record.files {
        let path = home.join(path);
        fs::create_dir_all(path.parent().expect("it is in the directory")).expect("the target directory is writable");
        fs::write(path, text).expect("the target directory is writable");
    }
    let wrong = record.wrong.join("\n  ");
    let command = format!("{} ROUND={name}", options.command());
    let report = format!(
        "VIOLATED\n  {wrong}\nplan: {}\nrepeat with: {command}\nfiles: {}\n{}",
        record.plan,
        home.display(),
        record.logs
    );
    fs::write(home.join("report"), &report).expect("the target directory is writable");
    println!("{report}");
}

/// Prints the result; `last` are the numbers of the last kill and of the last cancel.
fn print_result(options: &Options, score: &Score, last: (usize, usize), took: Duration) -> ExitCode {
    let (kills, cancels, failed) = (score.hits(Kind::Kill), score.hits(Kind::Cancel), score.failed.len());
    println!(
        "\n{score}\n{}: {kills} kills and {cancels} cancels disrupted a run, in {} rounds and {} s; violations: {failed}",
        options.command(),
        score.rounds,
        took.as_secs()
    );
    for name in &score.failed {
        println!("repeat with: {} ROUND={name}", options.command());
    }
    let enough = options.only.is_some() || (kills >= options.kills && cancels >= options.cancels);
    if !enough {
        println!("The time was not enough for {} kills and {} cancels.", options.kills, options.cancels);
        println!("go on with: {} AFTER={}/{}", options.command(), last.0, last.1);
    }
    if failed == 0 && enough { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
