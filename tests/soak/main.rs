//! `make soak`: runs of the action that are hit at random moments, each judged, repaired and proven. Two at a time, each with
//! servers of its own. Everything left to chance follows from a seed: a round that fails can be played again with the same
//! files, the same blow and the same moment, as far as a clock allows.
#![expect(clippy::print_stdout, reason = "it is there to be read")]
#![expect(dead_code, reason = "the soak uses a part of what the suite needs")]

#[path = "../suite/action.rs"]
mod action;
mod agreement;
mod blow;
mod files;
#[path = "../suite/judge.rs"]
mod judge;
#[path = "../suite/lab/mod.rs"]
mod lab;
#[path = "../suite/leak.rs"]
mod leak;
mod look;
mod moment;
mod round;
#[path = "../suite/runner/mod.rs"]
mod runner;
mod score;

use blow::Blow;
use clap::{Arg, Command, value_parser};
use round::{Plan, Record, Servers};
use score::Score;
use std::{
    any::Any,
    fs,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    process::ExitCode,
    sync::{Mutex, PoisonError},
    thread,
    time::{Duration, Instant, SystemTime},
};

/// As many as a small machine has cores: more would wait for each other.
const AT_ONCE: usize = 2;

/// What is to be done.
#[derive(Debug)]
struct Order {
    seed: u64,
    kills: usize,
    cancels: usize,
    limit: Duration,
    only: Option<String>,
}

/// What the workers share.
#[derive(Debug, Default)]
struct Shared {
    score: Score,
    kills: usize,
    cancels: usize,
}

fn main() -> ExitCode {
    let order = order();
    println!("SEED={}: {} kills and {} cancels, at most {:?}", order.seed, order.kills, order.cancels, order.limit);
    let (began, shared) = (Instant::now(), Mutex::new(Shared::default()));
    thread::scope(|scope| {
        for worker in 0..if order.only.is_some() { 1 } else { AT_ONCE } {
            let work = || work(&order, &shared, began);
            thread::Builder::new()
                .name(format!("soak-{worker}"))
                .spawn_scoped(scope, work)
                .expect("a thread can start");
        }
    });
    let Shared { score, .. } = shared.into_inner().unwrap_or_else(PoisonError::into_inner);
    conclude(&order, &score, began.elapsed())
}

fn order() -> Order {
    let number = |name: &'static str, default: &'static str| {
        Arg::new(name).long(name).value_parser(value_parser!(u64)).default_value(default)
    };
    let given = Command::new("soak")
        .arg(Arg::new("seed").long("seed").value_parser(value_parser!(u64)))
        .arg(Arg::new("round").long("round"))
        .args([number("kills", "1000"), number("cancels", "300"), number("minutes", "60")])
        .get_matches();
    let count = |name: &str| given.get_one::<u64>(name).copied().unwrap_or_default();
    let clock = || SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
    Order {
        seed: given.get_one("seed").copied().unwrap_or_else(clock),
        kills: usize::try_from(count("kills")).expect("a count fits"),
        cancels: usize::try_from(count("cancels")).expect("a count fits"),
        limit: Duration::from_secs(60 * count("minutes")),
        only: given.get_one("round").cloned(),
    }
}

/// Plays round after round until enough have met a run.
fn work(order: &Order, shared: &Mutex<Shared>, began: Instant) {
    let mut servers = Servers::start();
    if let Some(name) = &order.only {
        let (kind, number) = name.split_once('-').expect("a round is named like kill-17");
        let number = number.parse().expect("a round is named like kill-17");
        let kind = if kind == "kill" { "kill" } else { "cancel" };
        play(&mut servers, order, shared, kind, number);
        return;
    }
    while began.elapsed() < order.limit
        && let Some((kind, number)) = next(order, shared)
    {
        play(&mut servers, order, shared, kind, number);
    }
}

/// Kills and cancels take turns in proportion, so that both are tried if the time is short.
fn next(order: &Order, shared: &Mutex<Shared>) -> Option<(&'static str, usize)> {
    let mut shared = shared.lock().unwrap_or_else(PoisonError::into_inner);
    let done = |kind| shared.score.hits.get(kind).copied().unwrap_or_default();
    let (kills, cancels) = (done("kill"), done("cancel"));
    if kills < order.kills && (cancels >= order.cancels || kills * order.cancels <= cancels * order.kills) {
        shared.kills += 1;
        Some(("kill", shared.kills))
    } else if cancels < order.cancels {
        shared.cancels += 1;
        Some(("cancel", shared.cancels))
    } else {
        None
    }
}

fn play(servers: &mut Servers, order: &Order, shared: &Mutex<Shared>, kind: &'static str, number: usize) {
    let (name, began) = (format!("{kind}-{number}"), Instant::now());
    let all: &[Blow] = if kind == "kill" { &blow::KILLS } else { &blow::CANCELS };
    let blow = all.iter().copied().cycle().nth(number).expect("there are blows");
    let plan = Plan::of(&format!("{} {name}", order.seed), blow);
    let mut record = Record::default();
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| servers.play(&plan, &mut record))) {
        record.wrong.push(format!("the round broke off: {}", message(panic.as_ref())));
        *servers = Servers::start();
    }
    let struck = record
        .struck
        .iter()
        .map(|struck| format!("{} {} ({}): {}", struck.blow, struck.moment, struck.phase, struck.ended));
    let told = struck.collect::<Vec<_>>().join("; then ");
    let files = plan.files.len();
    println!("{name:10} {:5} ms  {files:2} files  {told}", began.elapsed().as_millis());
    if order.only.is_some() {
        println!("{}", record.logs);
    }
    if !record.wrong.is_empty() {
        keep(order, &name, &plan, &record);
    }
    shared.lock().unwrap_or_else(PoisonError::into_inner).score.count(kind, &name, &record);
}

fn message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("a panic without a message")
}

/// Prints what is wrong with the round and how to play it again, and keeps its files.
fn keep(order: &Order, name: &str, plan: &Plan, record: &Record) {
    let home = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("target/soak/{}-{name}", order.seed));
    fs::create_dir_all(&home).expect("the target directory is writable");
    for (version, file) in (1..).zip(&plan.files) {
        let path = home.join(format!("{}.sql", files::File::name(version)));
        fs::write(path, file.sql(version)).expect("the target directory is writable");
    }
    let wrong = record.wrong.join("\n  ");
    let again = format!("make soak SEED={} ROUND={name}", order.seed);
    let report =
        format!("VIOLATED\n  {wrong}\nplan: {plan:?}\nagain: {again}\nfiles: {}\n{}", home.display(), record.logs);
    fs::write(home.join("report"), &report).expect("the target directory is writable");
    println!("{report}");
}

fn conclude(order: &Order, score: &Score, took: Duration) -> ExitCode {
    let hits = |kind| score.hits.get(kind).copied().unwrap_or_default();
    let (kills, cancels, failed) = (hits("kill"), hits("cancel"), score.failed.len());
    println!(
        "\n{score}\nSEED={}: {kills} kills and {cancels} cancels met a run, in {} rounds and {} s; violations: {failed}",
        order.seed,
        score.rounds,
        took.as_secs()
    );
    for name in &score.failed {
        println!("again: make soak SEED={} ROUND={name}", order.seed);
    }
    let enough = order.only.is_some() || (kills >= order.kills && cancels >= order.cancels);
    if !enough {
        println!("The time was not enough for {} kills and {} cancels.", order.kills, order.cancels);
    }
    if failed == 0 && enough { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
