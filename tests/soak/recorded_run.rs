//! The conditions that the rows of `bastion_migrate.runs` must meet after any disruption. Independent of servers and of how
//! the rows were read.

use crate::agreement::{RunReport, Trace};
use std::fmt;

/// A row of the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RecordedRun {
    pub(crate) id: String,
    pub(crate) command: String,
    pub(crate) plan_digest: String,
    /// What was recorded when the run ended.
    pub(crate) end: Option<RecordedEnd>,
}

/// The end of a run in its row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RecordedEnd {
    pub(crate) outcome: String,
    /// The code of the fault; empty if there was none.
    pub(crate) fault_code: String,
    pub(crate) planned: usize,
    pub(crate) done: usize,
    /// True if it is not before the start.
    pub(crate) is_after_start: bool,
}

/// Whether the row of a run may have no end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MissingEnd {
    /// The run was killed, or lost its connection.
    Allowed,
    /// The run had its session and its time to the end.
    Forbidden,
}

/// The trace of a run in the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum RowState {
    Absent,
    WithoutEnd,
    Complete,
}

impl fmt::Display for RowState {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(match self {
            Self::Absent => "no row",
            Self::WithoutEnd => "without an end",
            Self::Complete => "with its end",
        })
    }
}

/// The migrations and the rows before and after a run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Change<'t> {
    pub(crate) traces: [&'t [Trace]; 2],
    pub(crate) rows: [&'t [RecordedRun]; 2],
}

impl Change<'_> {
    /// Checks the row of a run of `migrate` against the change of the database and the run's own report; returns the
    /// violations.
    pub(crate) fn check_row(&self, run: &RunReport, missing_end: MissingEnd) -> Vec<String> {
        let mut wrong = Vec::new();
        let [old, all] = self.rows;
        let kept = old.iter().filter(|row| !all.contains(row));
        wrong.extend(kept.map(|row| format!("the row of an earlier run has changed: {row:?}, now {all:?}")));
        let new: Vec<_> = self.new_rows().collect();
        match new[..] {
            [] if self.has_gained() => wrong.push("the run has changed the database and has no row".to_owned()),
            [] => {}
            [row] => wrong.extend(self.check_new_row(row, run, missing_end)),
            _ => wrong.push(format!("the run has several rows: {new:?}")),
        }
        wrong
    }

    /// Returns the trace of the run in the table.
    pub(crate) fn row_state(&self) -> RowState {
        match self.new_rows().last() {
            None => RowState::Absent,
            Some(RecordedRun { end: None, .. }) => RowState::WithoutEnd,
            Some(RecordedRun { end: Some(_), .. }) => RowState::Complete,
        }
    }

    fn new_rows(&self) -> impl Iterator<Item = &RecordedRun> {
        let [old, all] = self.rows;
        all.iter().filter(|row| old.iter().all(|old| old.id != row.id))
    }

    /// Returns whether a statement took effect, or a migration was recorded.
    fn has_gained(&self) -> bool {
        let [before, after] = self.traces;
        before.iter().zip(after).any(|(before, after)| {
            let mut effects = before.effects.iter().zip(&after.effects);
            (after.recorded && !before.recorded)
                || (after.progress.is_some() && after.progress != before.progress)
                || effects.any(|(before, after)| after > before)
        })
    }

    fn check_new_row(&self, row: &RecordedRun, run: &RunReport, missing_end: MissingEnd) -> Vec<String> {
        let mut wrong = Vec::new();
        let mut require = |holds: bool, violation: &str| {
            wrong.extend((!holds).then(|| format!("{violation}: {row:?}")));
        };
        let does_something = run.outcome != "nothing-to-do" || run.has_begun_a_step;
        require(row.command == "migrate" && does_something, "no run that does nothing has a row");
        let is_killed = run.outcome == "killed";
        require(is_killed || row.plan_digest == run.plan_digest, "the row has another plan than the report");
        let Some(end) = &row.end else {
            require(is_killed || missing_end == MissingEnd::Allowed, "the row has no end");
            return wrong;
        };
        require(end.is_after_start, "it ended before it began");
        let [before, after] = self.traces;
        let gained = before.iter().zip(after).filter(|(before, after)| after.recorded && !before.recorded).count();
        require(end.done == gained, &format!("the ledger has gained {gained} migrations"));
        // A crash may undo the migrations of an earlier run, which are in the report of this one.
        let open = before.iter().filter(|trace| !trace.recorded || run.lost.contains(&trace.name)).count();
        require(end.planned == open, &format!("there were {open} migrations to apply"));
        if end.outcome == "success" {
            let is_complete = after.iter().all(|trace| trace.recorded);
            require(is_complete && end.fault_code.is_empty(), "it is no success");
        }
        if is_killed {
            require(end.outcome == "success", "a killed run can record only a success before it dies");
        } else {
            require(end.outcome == run.outcome, &format!("the report has the outcome {}", run.outcome));
            require(end.fault_code == run.fault_code, &format!("the report has the fault `{}`", run.fault_code));
        }
        wrong
    }
}

/// Checks the outcomes that `command: history` lists, the newest first, against the rows, the oldest first; returns the
/// violations.
pub(crate) fn check_history(listed: &[String], rows: &[RecordedRun]) -> Vec<String> {
    let outcome = |row: &RecordedRun| row.end.as_ref().map_or("end not recorded", |end| &end.outcome).to_owned();
    let expected: Vec<String> = rows.iter().rev().map(outcome).collect();
    let differs = listed != expected;
    differs.then(|| format!("`command: history` lists {listed:?}, the rows are {rows:?}")).into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agreement::{Progress, TransactionMode};
    use std::time::Duration;

    fn traces(recorded: [bool; 2]) -> Vec<Trace> {
        let trace = |(name, recorded): (&str, bool)| Trace {
            name: name.to_owned(),
            mode: TransactionMode::SingleTransaction,
            effects: vec![Some(u64::from(recorded))],
            recorded,
            progress: None,
        };
        ["a", "b"].into_iter().zip(recorded).map(trace).collect()
    }

    /// A run that has applied `a` and failed with `b`.
    fn failed_run() -> RunReport {
        RunReport {
            outcome: "failed".to_owned(),
            fault_code: "connection-lost".to_owned(),
            plan_digest: "sha256:1".to_owned(),
            exit: 3,
            applied: vec!["a".to_owned()],
            pending: vec!["b".to_owned()],
            logged: vec!["a".to_owned()],
            lost: Vec::new(),
            took: Duration::ZERO,
            logs_nothing: false,
            has_begun_a_step: false,
            wrong: Vec::new(),
        }
    }

    fn killed_run() -> RunReport {
        let plan_digest = String::new();
        RunReport { outcome: "killed".to_owned(), fault_code: String::new(), plan_digest, ..failed_run() }
    }

    fn row(id: &str, end: Option<RecordedEnd>) -> RecordedRun {
        let (command, plan_digest) = ("migrate".to_owned(), "sha256:1".to_owned());
        RecordedRun { id: id.to_owned(), command, plan_digest, end }
    }

    fn ended(outcome: &str, fault_code: &str, done: usize) -> RecordedEnd {
        let (outcome, fault_code) = (outcome.to_owned(), fault_code.to_owned());
        RecordedEnd { outcome, fault_code, planned: 2, done, is_after_start: true }
    }

    fn failed_row() -> RecordedRun {
        row("2", Some(ended("failed", "connection-lost", 1)))
    }

    /// Checks a run before which nothing was applied and after which `recorded` is.
    fn check(run: &RunReport, recorded: [bool; 2], rows: [&[RecordedRun]; 2], missing_end: MissingEnd) -> Vec<String> {
        let (before, after) = (traces([false, false]), traces(recorded));
        Change { traces: [&before, &after], rows }.check_row(run, missing_end)
    }

    fn violations(run: &RunReport, recorded: [bool; 2], row: RecordedRun) -> usize {
        check(run, recorded, [&[], &[row]], MissingEnd::Forbidden).len()
    }

    #[test]
    fn a_row_must_agree_with_the_report_and_with_the_ledger() {
        let (run, one) = (failed_run(), [true, false]);
        assert_eq!(violations(&run, one, failed_row()), 0);
        let end = |end: RecordedEnd| row("2", Some(end));
        assert_eq!(violations(&run, one, end(ended("cancelled", "connection-lost", 1))), 1);
        assert_eq!(violations(&run, one, end(ended("failed", "", 1))), 1);
        assert_eq!(violations(&run, one, end(ended("failed", "connection-lost", 2))), 1);
        assert_eq!(violations(&run, one, end(RecordedEnd { planned: 1, ..ended("failed", "connection-lost", 1) })), 1);
        let early = RecordedEnd { is_after_start: false, ..ended("failed", "connection-lost", 1) };
        assert_eq!(violations(&run, one, end(early)), 1);
        assert_eq!(violations(&run, one, RecordedRun { plan_digest: String::new(), ..failed_row() }), 1);
        assert_eq!(violations(&run, one, RecordedRun { command: "verify".to_owned(), ..failed_row() }), 1);
    }

    #[test]
    fn a_success_is_recorded_only_if_nothing_is_left() {
        let success = || row("2", Some(ended("success", "", 2)));
        assert_eq!(violations(&killed_run(), [true, true], success()), 0);
        let incomplete = row("2", Some(ended("success", "", 1)));
        assert_eq!(violations(&killed_run(), [true, false], incomplete), 1);
        assert_eq!(violations(&killed_run(), [true, false], failed_row()), 1);
        // The report is worse than the row.
        assert_eq!(violations(&failed_run(), [true, true], success()), 2);
    }

    #[test]
    fn only_a_killed_run_or_one_without_a_connection_may_have_no_end() {
        let open = [row("2", None)];
        let without_end = |run: &RunReport, missing_end| check(run, [true, false], [&[], &open], missing_end).len();
        assert_eq!(without_end(&killed_run(), MissingEnd::Forbidden), 0);
        assert_eq!(without_end(&failed_run(), MissingEnd::Allowed), 0);
        assert_eq!(without_end(&failed_run(), MissingEnd::Forbidden), 1);
    }

    #[test]
    fn a_run_that_has_changed_the_database_has_one_row() {
        let without = |recorded| check(&killed_run(), recorded, [&[], &[]], MissingEnd::Allowed).len();
        assert_eq!((without([false, false]), without([true, false])), (0, 1));
        let twice = [failed_row(), row("3", None)];
        assert_eq!(check(&failed_run(), [true, false], [&[], &twice], MissingEnd::Allowed).len(), 1);
        let mut partial = traces([false, false]);
        partial[0].progress = Some(Progress { started: 1, done: 0 });
        let before = traces([false, false]);
        let change = Change { traces: [&before, &partial], rows: [&[], &[]] };
        assert_eq!(change.check_row(&killed_run(), MissingEnd::Allowed).len(), 1);
    }

    #[test]
    fn the_trace_of_a_run_is_its_own_row() {
        let (none, old) = (traces([false, false]), row("1", None));
        let state = |rows: &[RecordedRun]| {
            Change { traces: [&none, &none], rows: [std::slice::from_ref(&old), rows] }.row_state()
        };
        assert_eq!(state(std::slice::from_ref(&old)), RowState::Absent);
        assert_eq!(state(&[old.clone(), row("2", None)]), RowState::WithoutEnd);
        assert_eq!(state(&[old.clone(), failed_row()]), RowState::Complete);
    }

    #[test]
    fn the_rows_of_earlier_runs_stay_as_they_are() {
        let (old, new) = (row("1", None), failed_row());
        let both = [old.clone(), new.clone()];
        let one = [true, false];
        let count = |rows: &[RecordedRun]| {
            check(&failed_run(), one, [std::slice::from_ref(&old), rows], MissingEnd::Allowed).len()
        };
        assert_eq!(count(&both), 0);
        assert_eq!(count(std::slice::from_ref(&new)), 1);
        assert_eq!(count(&[row("1", Some(ended("success", "", 2))), new]), 1);
    }

    #[test]
    fn a_run_with_nothing_to_do_has_no_row() {
        let idle = RunReport { outcome: "nothing-to-do".to_owned(), ..failed_run() };
        assert_eq!(check(&idle, [false, false], [&[], &[]], MissingEnd::Forbidden).len(), 0);
        assert_eq!(check(&idle, [false, false], [&[], &[row("2", None)]], MissingEnd::Allowed).len(), 1);
        let with_a_step = RunReport { has_begun_a_step: true, ..idle };
        assert_eq!(check(&with_a_step, [false, false], [&[], &[row("2", None)]], MissingEnd::Allowed).len(), 0);
    }

    #[test]
    fn the_history_has_the_outcomes_of_the_rows() {
        let rows = [row("1", None), failed_row()];
        let listed = |outcomes: [&str; 2]| check_history(&outcomes.map(str::to_owned), &rows).len();
        assert_eq!(listed(["failed", "end not recorded"]), 0);
        assert_eq!(listed(["failed", "at work"]), 1);
        assert_eq!(listed(["end not recorded", "failed"]), 1);
    }
}
