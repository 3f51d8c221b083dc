//! A round: files, a disrupted run and its judgement; perhaps a disrupted repair run; a run that finishes the
//! migrations; a final `verify`, and the list of the runs.

use crate::{
    action::Action,
    agreement::{self, AllowedEnds, RunReport, Trace},
    blow::{Disruption, disruptions},
    files::{File, PLAIN, SETUP, files},
    judge::Finished,
    lab::{
        Lab,
        postgres::{Options, Postgres},
        sshd::Sshd,
    },
    layout_forms::{Form, TextFile},
    look::{read_runs, read_traces},
    moment::{Moment, TypicalRun, moments},
    recorded_run::{self, Change, MissingEnd, RecordedRun, RowState},
    runner::Log,
};
use proptest::{
    option::weighted,
    strategy::{Strategy as _, ValueTree as _},
    test_runner::{Config, RngAlgorithm, TestRng, TestRunner},
};
use sha2::{Digest as _, Sha256};
use std::{os::unix::process::ExitStatusExt as _, sync::Arc, time::Duration};

/// Probability that the repair run is disrupted as well.
const SECOND_DISRUPTION: f64 = 0.25;

/// The allowed ends of an undisturbed run.
const UNDISTURBED: AllowedEnds = AllowedEnds { endings: &[("success", 0), ("nothing-to-do", 0)], time_limit: None };

/// The random choices of a round.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) files: Vec<File>,
    pub(crate) disruptions: Vec<(Disruption, Moment)>,
}

impl Plan {
    /// Derives a plan from the name; the same name gives the same plan.
    pub(crate) fn of(name: &str, disruption: Disruption) -> Self {
        let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &Sha256::digest(name));
        let mut runner = TestRunner::new_with_rng(Config::default(), rng);
        let all = (files(), moments(), weighted(SECOND_DISRUPTION, (disruptions(), moments())));
        let tree = all.new_tree(&mut runner).expect("nothing is filtered");
        let (files, moment, second) = tree.current();
        Self { files, disruptions: [(disruption, moment)].into_iter().chain(second).collect() }
    }

    /// Returns the paths and the contents of the files, as the layout has them.
    pub(crate) fn texts(&self, form: &Form) -> Vec<TextFile> {
        (1..).zip(&self.files).flat_map(|(number, file)| file.texts(form, number)).collect()
    }
}

/// A worker's own servers, which rounds may damage.
#[derive(Debug)]
pub(crate) struct Servers {
    postgres: Arc<Postgres>,
    bastion: Arc<Sshd>,
    /// The duration of a run that applies nothing.
    overhead: Duration,
}

/// The phase of a run in which it was disrupted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    BeforeConnection,
    Applying,
    AfterCommit,
    AfterEnd,
}

/// A disruption and the end of its run.
#[derive(Debug, Clone)]
pub(crate) struct DisruptedRun {
    pub(crate) disruption: Disruption,
    pub(crate) moment: Moment,
    pub(crate) phase: Phase,
    pub(crate) ended: String,
    pub(crate) row: RowState,
}

/// The result of a round.
#[derive(Debug, Default)]
pub(crate) struct Record {
    pub(crate) results: Vec<DisruptedRun>,
    pub(crate) wrong: Vec<String>,
    /// The logs of the round's runs.
    pub(crate) logs: String,
}

impl Servers {
    /// Starts fresh servers.
    pub(crate) fn start() -> Self {
        let (postgres, bastion) = (Postgres::start(&Options::default()), Arc::new(Sshd::plain()));
        Self { postgres, bastion, overhead: Duration::from_millis(300) }
    }

    /// Plays a round. The findings are in `record`, even after a panic.
    pub(crate) fn play(&mut self, form: &Form, plan: &Plan, record: &mut Record) {
        let lab = Lab { database: self.postgres.database(), bastion: Arc::clone(&self.bastion) };
        lab.database.sql(SETUP);
        let (traces, rows) = (Vec::new(), Vec::new());
        let mut round = Round { lab: &lab, form, plan, overhead: self.overhead, traces, rows, record };
        round.read_database();
        for (disruption, moment) in &plan.disruptions {
            round.disrupt(*disruption, *moment);
        }
        let finished = round.action().run();
        round.judge(finished, UNDISTURBED, MissingEnd::Forbidden);
        let verified = round.action().input("command", "verify").run();
        self.overhead = verified.elapsed;
        round.judge(verified, UNDISTURBED, MissingEnd::Forbidden);
        round.check_history();
    }
}

/// A round in progress.
struct Round<'r> {
    lab: &'r Lab,
    form: &'r Form,
    plan: &'r Plan,
    overhead: Duration,
    /// The traces as last read.
    traces: Vec<Trace>,
    /// The record of runs as last read, the oldest first.
    rows: Vec<RecordedRun>,
    record: &'r mut Record,
}

impl<'r> Round<'r> {
    fn disrupt(&mut self, disruption: Disruption, moment: Moment) {
        let mut running = self.action().start();
        moment.wait(&mut running, self.typical());
        let damage = disruption.inject(self.lab, &mut running);
        let phase = self.phase(damage.as_ref().map(|_| running.log()));
        let (allowed_ends, missing_end) = match damage {
            Some(_) => (disruption.allowed_ends(), disruption.missing_end()),
            None => (UNDISTURBED, MissingEnd::Forbidden),
        };
        if let Some(damage) = damage {
            damage.repair(self.lab);
        }
        let (ended, row) = self.judge(running.finish(), allowed_ends, missing_end);
        self.record.results.push(DisruptedRun { disruption, moment, phase, ended, row });
    }

    /// Checks the database, the run's report and its row; returns how the run ended, and its trace in the
    /// record of runs.
    fn judge(
        &mut self,
        mut finished: Finished,
        allowed_ends: AllowedEnds,
        missing_end: MissingEnd,
    ) -> (String, RowState) {
        let wrong = finished.take_problems();
        let log = Log::read(&finished.log).without_masks;
        let run = run_report(&finished, &log, wrong);
        self.record.logs += &log;
        let (before, rows_before) = (std::mem::take(&mut self.traces), std::mem::take(&mut self.rows));
        // Commits that a killed run has not reported may be lost in the next crash; reported ones may not.
        if run.outcome == "killed" {
            self.lab.database.flush();
        }
        self.read_database();
        self.record.wrong.extend(agreement::check_report(&run, &before, &self.traces, allowed_ends));
        let change = Change { traces: [&before, &self.traces], rows: [&rows_before, &self.rows] };
        let (row, wrong) = (change.row_state(), change.check_row(&run, missing_end));
        self.record.wrong.extend(wrong);
        let code = finished.outputs.get("fault-code").filter(|code| !code.is_empty() && **code != run.outcome);
        (code.map_or(run.outcome.clone(), |code| format!("{} {code}", run.outcome)), row)
    }

    fn read_database(&mut self) {
        let (traces, unowned) = read_traces(&self.lab.database, self.form, &self.plan.files);
        self.record.wrong.extend(unowned);
        self.record.wrong.extend(agreement::check_database(&traces));
        self.traces = traces;
        self.rows = read_runs(&self.lab.database);
    }

    /// Checks that `command: history` lists every run of the round as it was recorded.
    fn check_history(&mut self) {
        let mut finished = self.action().input("command", "history").run();
        self.record.wrong.extend(finished.take_problems());
        let report = finished.outputs.get("report").map(String::as_str).unwrap_or_default();
        let report: serde_json::Value = serde_json::from_str(report).unwrap_or_default();
        let runs = report.get("history").and_then(serde_json::Value::as_array).map(Vec::as_slice).unwrap_or_default();
        let listed: Vec<String> = runs
            .iter()
            .map(|run| run.get("outcome").and_then(serde_json::Value::as_str).unwrap_or_default().to_owned())
            .collect();
        self.record.wrong.extend(recorded_run::check_history(&listed, &self.rows));
    }

    fn action(&self) -> Action<'r> {
        let step = Action::new(self.lab);
        // Plain files are found by themselves.
        let step = if self.form.layout == PLAIN { step } else { self.form.step(step) };
        let texts = self.plan.texts(self.form).into_iter();
        texts.fold(step, |step, (path, text)| step.file(&format!("migrations/{path}"), text))
    }

    fn typical(&self) -> TypicalRun {
        let files = self.plan.files.iter().zip(&self.traces);
        let pending: Vec<&File> = files.filter(|(_, trace)| !trace.recorded).map(|(file, _)| file).collect();
        TypicalRun {
            duration: self.overhead + pending.iter().map(|file| file.duration()).sum::<Duration>(),
            // The run's own lines, and for each file its lines as pending, started and applied, and its notices.
            lines: 27 + pending.iter().map(|file| file.lines()).sum::<usize>(),
        }
    }

    /// Derives the phase from the log at the disruption; no log means that the run had ended.
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

fn run_report(finished: &Finished, log: &str, wrong: Vec<String>) -> RunReport {
    let (outcome, exit) = match finished.status.signal() {
        Some(signal) => ("killed".to_owned(), signal),
        None => (finished.outputs.get("outcome").cloned().unwrap_or_default(), finished.status.code().unwrap_or(-1)),
    };
    let output = |name: &str| finished.outputs.get(name).cloned().unwrap_or_default();
    RunReport {
        outcome,
        fault_code: output("fault-code"),
        plan_digest: output("plan-digest"),
        exit,
        applied: finished.listed("applied"),
        pending: finished.listed("pending"),
        logged: applied(log),
        lost: lost(log),
        took: finished.elapsed,
        logs_nothing: log.trim().is_empty(),
        wrong,
    }
}

/// Returns the migrations that the log reports as applied and does not revoke.
fn applied(log: &str) -> Vec<String> {
    let revoked = lost(log);
    names_after(log, "applied ").into_iter().filter(|name| !revoked.contains(name)).collect()
}

fn lost(log: &str) -> Vec<String> {
    names_after(log, "lost: the server crashed before ")
}

/// Returns the migrations that are named in lines with this prefix.
fn names_after(log: &str, prefix: &str) -> Vec<String> {
    let name = |line: &str| Some(line.trim_start().strip_prefix(prefix)?.split(' ').next()?.to_owned());
    log.lines().filter_map(name).filter(|name| name.trim_end_matches(".up").ends_with("_m")).collect()
}
