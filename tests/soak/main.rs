//! `make soak`: disrupts runs of the action at random moments; each is judged, repaired and verified. Two rounds run at
//! a time, each with its own servers. All random choices derive from a seed: a failed round can be repeated with the
//! same files, the same disruption and the same moment, as far as a clock allows.
#![expect(clippy::print_stdout, reason = "prints its results")]
#![expect(dead_code, reason = "uses only a part of the suite's lab")]

#[path = "../suite/action.rs"]
mod action;
mod agreement;
mod blow;
mod files;
#[path = "../suite/judge.rs"]
mod judge;
#[path = "../suite/lab/mod.rs"]
mod lab;
#[path = "../suite/layout_forms.rs"]
mod layout_forms;
#[path = "../suite/leak.rs"]
mod leak;
mod look;
mod moment;
mod recorded_run;
mod round;
#[path = "../suite/runner/mod.rs"]
mod runner;
mod score;

use blow::Disruption;
use clap::{Arg, Command, builder::PossibleValuesParser, value_parser};
use files::PLAIN;
use layout_forms::{FORMS, Form};
use round::{DisruptedRun, Plan, Record, Servers};
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

/// The number of rounds at a time: more would compete for the cores of a small machine.
const AT_ONCE: usize = 2;

/// The command-line options.
#[derive(Debug)]
struct Options {
    seed: u64,
    kills: usize,
    cancels: usize,
    limit: Duration,
    only: Option<String>,
    form: &'static Form,
    /// The numbers of the last kill and of the last cancel of an earlier soak with this seed.
    after: (usize, usize),
}

/// State shared by the workers.
#[derive(Debug, Default)]
struct Shared {
    score: Score,
    kills: usize,
    cancels: usize,
}

impl Options {
    /// Returns the command of a soak with the same layout and seed.
    fn command(&self) -> String {
        let layout = if self.form.layout == PLAIN { String::new() } else { format!(" LAYOUT={}", self.form.layout) };
        format!("make soak{layout} SEED={}", self.seed)
    }
}

fn main() -> ExitCode {
    let options = parse_options();
    println!(
        "SEED={} LAYOUT={}: {} kills and {} cancels, at most {:?}",
        options.seed, options.form.layout, options.kills, options.cancels, options.limit
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

fn parse_options() -> Options {
    let number = |name: &'static str, default: &'static str| {
        Arg::new(name).long(name).value_parser(value_parser!(u64)).default_value(default)
    };
    let layouts = PossibleValuesParser::new(FORMS.iter().map(|form| form.layout));
    let matches = Command::new("soak")
        .arg(Arg::new("seed").long("seed").value_parser(value_parser!(u64)))
        .arg(Arg::new("round").long("round"))
        .arg(Arg::new("layout").long("layout").value_parser(layouts).default_value(PLAIN))
        .arg(Arg::new("after").long("after").help("as an earlier soak with this seed printed it"))
        .args([number("kills", "1000"), number("cancels", "300"), number("minutes", "60")])
        .get_matches();
    let count = |name: &str| matches.get_one::<u64>(name).copied().unwrap_or_default();
    let clock = || SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let after = matches.get_one::<String>("after").map_or((0, 0), |after| {
        let (kills, cancels) = after.split_once('/').expect("written as kills/cancels");
        (kills.parse().expect("a number"), cancels.parse().expect("a number"))
    });
    Options {
        after,
        seed: matches.get_one("seed").copied().unwrap_or_else(clock),
        kills: usize::try_from(count("kills")).expect("a count fits"),
        cancels: usize::try_from(count("cancels")).expect("a count fits"),
        limit: Duration::from_secs(60 * count("minutes")),
        only: matches.get_one("round").cloned(),
        form: Form::of(matches.get_one::<String>("layout").expect("it has a default")),
    }
}

/// Plays rounds until enough runs were disrupted or the time is up.
fn play_rounds(options: &Options, shared: &Mutex<Shared>, began: Instant) {
    let mut servers = Servers::start();
    if let Some(name) = &options.only {
        let (kind, number) = name.split_once('-').expect("a round is named like kill-17");
        let number = number.parse().expect("a round is named like kill-17");
        let kind = if kind == "kill" { "kill" } else { "cancel" };
        play_round(&mut servers, options, shared, kind, number);
        return;
    }
    while began.elapsed() < options.limit
        && let Some((kind, number)) = next_round(options, shared)
    {
        play_round(&mut servers, options, shared, kind, number);
    }
}

/// Returns the next round. Kills and cancels alternate in proportion, so that both are tested if the time is short.
fn next_round(options: &Options, shared: &Mutex<Shared>) -> Option<(&'static str, usize)> {
    let mut shared = shared.lock().unwrap_or_else(PoisonError::into_inner);
    let done = |kind| shared.score.hits.get(kind).copied().unwrap_or_default();
    let (kills, cancels) = (done("kill"), done("cancel"));
    if kills < options.kills && (cancels >= options.cancels || kills * options.cancels <= cancels * options.kills) {
        shared.kills += 1;
        Some(("kill", shared.kills))
    } else if cancels < options.cancels {
        shared.cancels += 1;
        Some(("cancel", shared.cancels))
    } else {
        None
    }
}

fn play_round(servers: &mut Servers, options: &Options, shared: &Mutex<Shared>, kind: &'static str, number: usize) {
    let (name, began) = (format!("{kind}-{number}"), Instant::now());
    let all: &[Disruption] = if kind == "kill" { &blow::KILLS } else { &blow::CANCELS };
    let disruption = all.iter().copied().cycle().nth(number).expect("the list is not empty");
    let plan = Plan::of(&format!("{} {name}", options.seed), disruption);
    let mut record = Record::default();
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| servers.play(options.form, &plan, &mut record))) {
        record.wrong.push(format!("the round broke off: {}", panic_message(panic.as_ref())));
        *servers = Servers::start();
    }
    let results = record.results.iter().map(|DisruptedRun { disruption, moment, phase, ended, row }| {
        format!("{disruption} {moment} ({phase}): {ended}, {row}")
    });
    let summary = results.collect::<Vec<_>>().join("; then ");
    let files = plan.files.len();
    println!("{name:10} {:5} ms  {files:2} files  {summary}", began.elapsed().as_millis());
    if options.only.is_some() {
        println!("{}", record.logs);
    }
    if !record.wrong.is_empty() {
        save_violation(options, &name, &plan, &record);
    }
    shared.lock().unwrap_or_else(PoisonError::into_inner).score.count(kind, &name, &record);
}

fn panic_message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("a panic without a message")
}

/// Prints the violations and the command that repeats the round, and saves its files.
fn save_violation(options: &Options, name: &str, plan: &Plan, record: &Record) {
    let home = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join(format!("target/soak/{}-{}-{name}", options.form.layout, options.seed));
    for (path, text) in plan.texts(options.form) {
        let path = home.join(path);
        fs::create_dir_all(path.parent().expect("it is in the directory")).expect("the target directory is writable");
        fs::write(path, text).expect("the target directory is writable");
    }
    let wrong = record.wrong.join("\n  ");
    let command = format!("{} ROUND={name}", options.command());
    let report = format!(
        "VIOLATED\n  {wrong}\nplan: {plan:?}\nrepeat with: {command}\nfiles: {}\n{}",
        home.display(),
        record.logs
    );
    fs::write(home.join("report"), &report).expect("the target directory is writable");
    println!("{report}");
}

/// Prints the result; `last` are the numbers of the last kill and of the last cancel.
fn print_result(options: &Options, score: &Score, last: (usize, usize), took: Duration) -> ExitCode {
    let hits = |kind| score.hits.get(kind).copied().unwrap_or_default();
    let (kills, cancels, failed) = (hits("kill"), hits("cancel"), score.failed.len());
    println!(
        "\n{score}\nSEED={} LAYOUT={}: {kills} kills and {cancels} cancels disrupted a run, in {} rounds and {} s; violations: {failed}",
        options.seed,
        options.form.layout,
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
