//! One round: files, a blow, the judge; perhaps another blow at the run that repairs; the run that finishes the job; the proof.

use crate::{
    action::Action,
    agreement::{self, Terms, Told, Trace},
    blow::{Blow, blows},
    files::{File, GROUND, files},
    judge::Finished,
    lab::{
        Lab,
        postgres::{Options, Postgres},
        sshd::Sshd,
    },
    look::look,
    moment::{Moment, Usual, moments},
    runner::Log,
};
use proptest::{
    option::weighted,
    strategy::{Strategy as _, ValueTree as _},
    test_runner::{Config, RngAlgorithm, TestRng, TestRunner},
};
use sha2::{Digest as _, Sha256};
use std::{os::unix::process::ExitStatusExt as _, sync::Arc, time::Duration};

/// How often a run that repairs is hit as well.
const SECOND: f64 = 0.25;

/// How a run ends that nothing hits.
const UNHARMED: Terms = Terms { endings: &[("success", 0), ("nothing-to-do", 0)], within: None };

/// Everything about a round that is left to chance.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) files: Vec<File>,
    pub(crate) blows: Vec<(Blow, Moment)>,
}

impl Plan {
    /// The same name gives the same plan.
    pub(crate) fn of(name: &str, blow: Blow) -> Self {
        let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &Sha256::digest(name));
        let mut runner = TestRunner::new_with_rng(Config::default(), rng);
        let all = (files(), moments(), weighted(SECOND, (blows(), moments())));
        let tree = all.new_tree(&mut runner).expect("nothing is filtered");
        let (files, moment, second) = tree.current();
        Self { files, blows: [(blow, moment)].into_iter().chain(second).collect() }
    }
}

/// Servers of one's own, which may be harmed.
#[derive(Debug)]
pub(crate) struct Servers {
    postgres: Arc<Postgres>,
    bastion: Arc<Sshd>,
    /// How long a run takes that applies nothing.
    overhead: Duration,
}

/// Where in a run a blow fell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    BeforeConnection,
    Applying,
    AfterCommit,
    AfterEnd,
}

/// What came of a blow.
#[derive(Debug, Clone)]
pub(crate) struct Struck {
    pub(crate) blow: Blow,
    pub(crate) moment: Moment,
    pub(crate) phase: Phase,
    pub(crate) ended: String,
}

/// What came of a round.
#[derive(Debug, Default)]
pub(crate) struct Record {
    pub(crate) struck: Vec<Struck>,
    pub(crate) wrong: Vec<String>,
    /// The logs of its runs.
    pub(crate) logs: String,
}

impl Servers {
    /// Fresh ones.
    pub(crate) fn start() -> Self {
        let (postgres, bastion) = (Postgres::start(&Options::default()), Arc::new(Sshd::plain()));
        Self { postgres, bastion, overhead: Duration::from_millis(300) }
    }

    /// Plays a round; what it finds is in the record, even if it panics half-way.
    pub(crate) fn play(&mut self, plan: &Plan, record: &mut Record) {
        let lab = Lab { database: self.postgres.database(), bastion: Arc::clone(&self.bastion) };
        lab.database.sql(GROUND);
        let mut round = Round { lab: &lab, plan, overhead: self.overhead, traces: Vec::new(), record };
        round.look();
        for (blow, moment) in &plan.blows {
            round.strike(*blow, *moment);
        }
        let finished = round.action().run();
        round.judge(finished, UNHARMED);
        let proof = round.action().input("command", "verify").run();
        self.overhead = proof.elapsed;
        round.judge(proof, UNHARMED);
    }
}

/// A round that is played.
struct Round<'r> {
    lab: &'r Lab,
    plan: &'r Plan,
    overhead: Duration,
    /// As they were seen last.
    traces: Vec<Trace>,
    record: &'r mut Record,
}

impl<'r> Round<'r> {
    fn strike(&mut self, blow: Blow, moment: Moment) {
        let mut running = self.action().start();
        moment.wait(&mut running, self.usual());
        let wound = blow.fall(self.lab, &mut running);
        let phase = self.phase(wound.as_ref().map(|_| running.log()));
        let terms = if wound.is_some() { blow.terms() } else { UNHARMED };
        if let Some(wound) = wound {
            wound.mend(self.lab);
        }
        let ended = self.judge(running.finish(), terms);
        self.record.struck.push(Struck { blow, moment, phase, ended });
    }

    /// Looks at the database and at what the run told; says how it ended.
    fn judge(&mut self, mut finished: Finished, terms: Terms) -> String {
        let wrong = finished.always_wrong();
        let log = Log::read(&finished.log).without_masks;
        let told = told(&finished, &log, wrong);
        self.record.logs += &log;
        let before = std::mem::take(&mut self.traces);
        // What a killed run has done and not told may still be lost to the next blow; what is told may not.
        if told.outcome == "killed" {
            self.lab.database.flush();
        }
        self.look();
        self.record.wrong.extend(agreement::report(&told, &before, &self.traces, terms));
        let code = finished.outputs.get("fault-code").filter(|code| !code.is_empty() && **code != told.outcome);
        code.map_or(told.outcome.clone(), |code| format!("{} {code}", told.outcome))
    }

    fn look(&mut self) {
        let (traces, strange) = look(&self.lab.database, &self.plan.files);
        self.record.wrong.extend(strange);
        self.record.wrong.extend(agreement::database(&traces));
        self.traces = traces;
    }

    fn action(&self) -> Action<'r> {
        (1..).zip(&self.plan.files).fold(Action::new(self.lab), |action, (version, file)| {
            action.file(&format!("migrations/{}.sql", File::name(version)), file.sql(version))
        })
    }

    fn usual(&self) -> Usual {
        let files = self.plan.files.iter().zip(&self.traces);
        let pending: Vec<&File> = files.filter(|(_, trace)| !trace.recorded).map(|(file, _)| file).collect();
        Usual {
            duration: self.overhead + pending.iter().map(|file| file.duration()).sum::<Duration>(),
            // The headings and facts of a run, and of a file that it is pending, begun and applied, and what it says.
            lines: 27 + pending.iter().map(|file| file.lines()).sum::<usize>(),
        }
    }

    /// Where a run was that had this log when it was hit; it had ended if there is none.
    fn phase(&self, log: Option<String>) -> Phase {
        let pending = self.traces.iter().filter(|trace| !trace.recorded).count();
        match log {
            None => Phase::AfterEnd,
            Some(log) if !log.contains("  server    PostgreSQL") => Phase::BeforeConnection,
            Some(log) if applied(&log).len() < pending => Phase::Applying,
            Some(_) => Phase::AfterCommit,
        }
    }
}

fn told(finished: &Finished, log: &str, wrong: Vec<String>) -> Told {
    let (outcome, exit) = match finished.status.signal() {
        Some(signal) => ("killed".to_owned(), signal),
        None => (finished.outputs.get("outcome").cloned().unwrap_or_default(), finished.status.code().unwrap_or(-1)),
    };
    Told {
        outcome,
        exit,
        planned: finished.outputs.get("plan-digest").is_some_and(|digest| !digest.is_empty()),
        applied: finished.listed("applied"),
        pending: finished.listed("pending"),
        logged: applied(log),
        forgotten: forgotten(log),
        took: finished.elapsed,
        logs_nothing: log.trim().is_empty(),
        wrong,
    }
}

/// The migrations that a log calls applied and does not take back.
fn applied(log: &str) -> Vec<String> {
    let taken_back = forgotten(log);
    named(log, "applied ").into_iter().filter(|name| !taken_back.contains(name)).collect()
}

fn forgotten(log: &str) -> Vec<String> {
    named(log, "forgotten: the server crashed before ")
}

/// The migrations that lines with this beginning name.
fn named(log: &str, beginning: &str) -> Vec<String> {
    let name = |line: &str| Some(line.trim_start().strip_prefix(beginning)?.split(' ').next()?.to_owned());
    log.lines().filter_map(name).filter(|name| name.ends_with("_m")).collect()
}
