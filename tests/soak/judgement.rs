//! The judgement of a round's runs, each by the database before and after it.

use crate::{
    agreement::{self, AllowedEnds, RunReport, Trace},
    judge::Finished,
    record::{Phase, Record},
    recorded_run::{self, Change, MissingEnd, RecordedRun, RowState},
    runner::Log,
};
use std::os::unix::process::ExitStatusExt as _;

/// The allowed ends of an undisturbed run.
pub(crate) const UNDISTURBED: AllowedEnds =
    AllowedEnds { endings: &[("success", 0), ("nothing-to-do", 0)], time_limit: None };

/// The exit code of the docker CLI for a container whose process was killed.
const KILLED_IN_CONTAINER: i32 = 128 + 9;

/// The database of a round.
pub(crate) trait Evidence {
    /// Reads the migrations and the record of runs.
    fn read(&self) -> Reading;

    /// Flushes every commit so far to the disk.
    fn flush(&self);
}

/// What was read from the database.
#[derive(Debug, Default)]
pub(crate) struct Reading {
    /// The traces of the migrations, in their order, of one place after the other.
    pub(crate) traces: Vec<Trace>,
    /// The number of places, each of which has all migrations.
    pub(crate) places: usize,
    /// The record of runs, the oldest first.
    pub(crate) rows: Vec<RecordedRun>,
    /// What belongs to no migration.
    pub(crate) wrong: Vec<String>,
}

/// The judgement of a round's runs.
pub(crate) struct Judgement<'r> {
    evidence: &'r dyn Evidence,
    /// As last read.
    pub(crate) last: Reading,
    pub(crate) record: &'r mut Record,
}

impl<'r> Judgement<'r> {
    /// Reads the database before the first run.
    pub(crate) fn begin(evidence: &'r dyn Evidence, record: &'r mut Record) -> Self {
        let mut judgement = Self { evidence, last: Reading::default(), record };
        judgement.read_database();
        judgement
    }

    /// Checks the database, the run's report and its row; returns how the run ended, and its trace in the
    /// record of runs.
    pub(crate) fn judge(
        &mut self,
        mut finished: Finished,
        allowed_ends: AllowedEnds,
        missing_end: MissingEnd,
    ) -> (String, RowState) {
        let wrong = finished.take_problems();
        let log = Log::read(&finished.log).without_masks;
        let run = run_report(&finished, &log, wrong, &self.last.traces);
        self.record.logs += &log;
        let before = std::mem::take(&mut self.last);
        // Commits that a killed run has not reported may be lost in the next crash; reported ones may not.
        if run.outcome == "killed" {
            self.evidence.flush();
        }
        self.read_database();
        let Reading { traces, rows, .. } = &self.last;
        self.record.wrong.extend(agreement::check_report(&run, &before.traces, traces, allowed_ends));
        let change = Change { traces: [&before.traces, traces], rows: [&before.rows, rows] };
        let (row, wrong) = (change.row_state(), change.check_row(&run, missing_end));
        self.record.wrong.extend(wrong);
        let code = finished.outputs.get("fault-code").filter(|code| !code.is_empty() && **code != run.outcome);
        (code.map_or(run.outcome.clone(), |code| format!("{} {code}", run.outcome)), row)
    }

    /// Reads the database again, and checks it by itself.
    pub(crate) fn read_database(&mut self) {
        self.last = self.evidence.read();
        self.record.wrong.append(&mut self.last.wrong);
        let of_a_place = self.last.traces.len() / self.last.places.max(1);
        for traces in self.last.traces.chunks(of_a_place.max(1)) {
            self.record.wrong.extend(agreement::check_database(traces));
        }
    }

    /// Checks that `command: history` has listed every run of the round as it was recorded.
    pub(crate) fn check_history(&mut self, mut finished: Finished) {
        self.record.wrong.extend(finished.take_problems());
        let report = finished.outputs.get("report").map(String::as_str).unwrap_or_default();
        let report: serde_json::Value = serde_json::from_str(report).unwrap_or_default();
        let runs = report.get("history").and_then(serde_json::Value::as_array).map(Vec::as_slice).unwrap_or_default();
        let listed: Vec<String> = runs
            .iter()
            .map(|run| run.get("outcome").and_then(serde_json::Value::as_str).unwrap_or_default().to_owned())
            .collect();
        self.record.wrong.extend(recorded_run::check_history(&listed, &self.last.rows));
    }

    /// Derives the phase from the log at the disruption; no log means that the run had ended.
    pub(crate) fn phase(&self, log: Option<String>) -> Phase {
        let pending = self.last.traces.iter().filter(|trace| !trace.recorded).count();
        match log {
            None => Phase::AfterEnd,
            Some(log) if !log.contains("  server    PostgreSQL") => Phase::BeforeConnection,
            Some(log) if applied(&log, &self.last.traces).len() < pending => Phase::Applying,
            Some(_) => Phase::AfterCommit,
        }
    }
}

fn run_report(finished: &Finished, log: &str, wrong: Vec<String>, traces: &[Trace]) -> RunReport {
    let code = finished.status.code();
    let killed = finished.status.signal().or((code == Some(KILLED_IN_CONTAINER)).then_some(9));
    let (outcome, exit) = match killed {
        Some(signal) => ("killed".to_owned(), signal),
        None => (finished.outputs.get("outcome").cloned().unwrap_or_default(), code.unwrap_or(-1)),
    };
    let output = |name: &str| finished.outputs.get(name).cloned().unwrap_or_default();
    RunReport {
        outcome,
        fault_code: output("fault-code"),
        plan_digest: output("plan-digest"),
        exit,
        applied: finished.listed("applied"),
        pending: finished.listed("pending"),
        logged: applied(log, traces),
        lost: lost(log, traces),
        took: finished.elapsed,
        logs_nothing: log.trim().is_empty(),
        has_begun_a_step: log.lines().any(|line| line.starts_with("  step ")),
        wrong,
    }
}

/// Returns the migrations that the log reports as applied and does not revoke.
fn applied(log: &str, traces: &[Trace]) -> Vec<String> {
    let revoked = lost(log, traces);
    names_after(log, "applied ", traces).into_iter().filter(|name| !revoked.contains(name)).collect()
}

fn lost(log: &str, traces: &[Trace]) -> Vec<String> {
    names_after(log, "lost: the server crashed before ", traces)
}

/// Returns the migrations that are named in lines with this prefix.
fn names_after(log: &str, prefix: &str, traces: &[Trace]) -> Vec<String> {
    let name = |line: &str| {
        let rest = line.trim_start().strip_prefix(prefix)?;
        let is_named =
            |name: &str| rest.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with(' '));
        traces.iter().map(|trace| trace.name.clone()).find(|name| is_named(name))
    };
    log.lines().filter_map(name).collect()
}
