//! The conditions that a database and a report must meet after any disruption. Independent of servers and of how the
//! data was read.

use std::time::Duration;

/// A migration's state in the database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Trace {
    pub(crate) name: String,
    pub(crate) mode: TransactionMode,
    /// Number of times that each statement took effect; `None` for a statement without a visible effect.
    pub(crate) effects: Vec<Option<u64>>,
    pub(crate) recorded: bool,
    /// The row in the progress table.
    pub(crate) progress: Option<Progress>,
}

/// The transaction mode of a migration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TransactionMode {
    /// The whole file in one transaction.
    SingleTransaction,
    /// Statement by statement, without a transaction.
    PerStatement,
    /// In one transaction, and recorded after its commit, as some tools do it.
    RecordedAfterwards,
}

/// The progress of a migration without a transaction. Statements are counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Progress {
    pub(crate) started: usize,
    pub(crate) done: usize,
}

/// A run's own account of its result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RunReport {
    /// The output `outcome`, or `killed`.
    pub(crate) outcome: String,
    /// The output `fault-code`; empty if there is none.
    pub(crate) fault_code: String,
    /// The output `plan-digest`; empty if it made no plan.
    pub(crate) plan_digest: String,
    /// The exit code, or the signal that killed it.
    pub(crate) exit: i32,
    pub(crate) applied: Vec<String>,
    pub(crate) pending: Vec<String>,
    /// The migrations that the log reports as applied and does not revoke.
    pub(crate) logged: Vec<String>,
    /// The migrations that the log reports as lost in a server crash, from this run or an earlier one.
    pub(crate) lost: Vec<String>,
    /// Time from the first signal, or from the start, to the end.
    pub(crate) took: Duration,
    pub(crate) logs_nothing: bool,
    /// True if the log reports the start of a step before or after the migration.
    pub(crate) has_begun_a_step: bool,
    /// Violations of rules that hold for every run.
    pub(crate) wrong: Vec<String>,
}

/// The allowed ends of a run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AllowedEnds {
    /// The allowed pairs of outcome and exit code.
    pub(crate) endings: &'static [(&'static str, i32)],
    /// Time limit of a run that got a signal.
    pub(crate) time_limit: Option<Duration>,
}

/// Checks ledger, progress table and schema against each other; returns the violations.
pub(crate) fn check_database(traces: &[Trace]) -> Vec<String> {
    let mut wrong = Vec::new();
    for (index, trace) in traces.iter().enumerate() {
        let Trace { name, mode, effects, recorded, progress } = trace;
        wrong.extend(check_effects(trace));
        if progress.is_some_and(|progress| {
            *recorded || *mode != TransactionMode::PerStatement || progress.done > progress.started
        }) {
            wrong.push(format!("{name} can't have the progress {progress:?}"));
        }
        let started_at_all = *recorded || progress.is_some() || effects.iter().flatten().any(|times| *times > 0);
        if let Some(before) = traces.iter().take(index).find(|before| started_at_all && !before.recorded) {
            wrong.push(format!("{name} was started before {}", before.name));
        }
    }
    wrong
}

/// Checks that a recorded migration took effect completely and once, that an unrecorded one had no effect, unless it is
/// recorded after its commit, and that a partial one matches the progress table.
fn check_effects(trace: &Trace) -> Vec<String> {
    let Trace { name, recorded, progress, .. } = trace;
    let Progress { started, done } = progress.unwrap_or(Progress { started: 0, done: 0 });
    let seen = trace.effects.iter().enumerate().filter_map(|(index, times)| Some((index + 1, (*times)?)));
    let allowed = |number| match number {
        _ if *recorded => 1..=1,
        _ if trace.mode == TransactionMode::RecordedAfterwards => 0..=1,
        number if number <= done => 1..=1,
        number if number <= started => 0..=1,
        _ => 0..=0,
    };
    seen.filter(|(number, times)| !allowed(*number).contains(times))
        .map(|(number, times)| {
            let ledger = if *recorded { "recorded" } else { "not recorded" };
            format!("{name} is {ledger} with {progress:?}, and its statement {number} took effect {times} times")
        })
        .collect()
}

/// Checks a run's report against the database before and after the run; returns the violations.
pub(crate) fn check_report(run: &RunReport, before: &[Trace], after: &[Trace], allowed: AllowedEnds) -> Vec<String> {
    let mut wrong = run.wrong.clone();
    let mut require = |holds: bool, violation: String| wrong.extend((!holds).then_some(violation));
    let recorded = |traces: &[Trace]| names(traces.iter().filter(|trace| trace.recorded));
    let (old, all) = (recorded(before), recorded(after));
    let new: Vec<_> = all.iter().filter(|name| !old.contains(name)).cloned().collect();
    let missing = names(after.iter().filter(|trace| !trace.recorded));
    let RunReport { outcome, exit, applied, pending, logged, lost, .. } = run;
    require(allowed.endings.contains(&(outcome, *exit)), format!("it may not end as {outcome} with {exit}"));
    let kept = old.iter().all(|name| all.contains(name) || lost.contains(name));
    require(kept, format!("of {old:?} the ledger kept only {all:?}"));
    let gone = lost.iter().all(|name| !all.contains(name));
    require(gone, format!("the log reports {lost:?} as lost, the ledger has {all:?}"));
    require(
        logged.iter().all(|name| new.contains(name)),
        format!("the log reports {logged:?} as applied, the ledger has gained {new:?}"),
    );
    if *exit == 0 {
        require(missing.is_empty(), format!("{outcome}, and the ledger lacks {missing:?}"));
    }
    if outcome != "killed" {
        require(*applied == new, format!("the report lists {applied:?} as applied, the ledger has gained {new:?}"));
        let unapplied = if run.plan_digest.is_empty() { Vec::new() } else { missing };
        require(
            *pending == unapplied,
            format!("the report lists {pending:?} as pending, the ledger lacks {unapplied:?}"),
        );
    }
    if let Some(limit) = allowed.time_limit {
        require(run.took <= limit, format!("it ended {:?} after the signal", run.took));
        // A signal may end the process only before its handlers are installed.
        require(outcome != "killed" || run.logs_nothing, "a signal killed it after it had started".to_owned());
    }
    wrong
}

fn names<'t>(traces: impl Iterator<Item = &'t Trace>) -> Vec<String> {
    traces.map(|trace| trace.name.clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn in_one_transaction(name: &str, recorded: bool, effects: &[u64]) -> Trace {
        let effects = effects.iter().copied().map(Some).collect();
        Trace { name: name.to_owned(), mode: TransactionMode::SingleTransaction, effects, recorded, progress: None }
    }

    fn partial(started: usize, done: usize, effects: &[u64]) -> Trace {
        Trace {
            mode: TransactionMode::PerStatement,
            progress: Some(Progress { started, done }),
            ..in_one_transaction("a", false, effects)
        }
    }

    fn is_consistent(traces: &[Trace]) -> bool {
        check_database(traces).is_empty()
    }

    #[test]
    fn a_recorded_migration_must_have_taken_effect_once() {
        assert!(is_consistent(&[in_one_transaction("a", true, &[1, 1])]));
        assert!(!is_consistent(&[in_one_transaction("a", true, &[1, 0])]));
        assert!(!is_consistent(&[in_one_transaction("a", true, &[1, 2])]));
    }

    #[test]
    fn an_unrecorded_migration_must_have_no_effect() {
        assert!(is_consistent(&[in_one_transaction("a", false, &[0, 0])]));
        assert!(!is_consistent(&[in_one_transaction("a", false, &[0, 1])]));
    }

    #[test]
    fn a_statement_without_a_visible_effect_is_not_checked() {
        let traced = |recorded| Trace { effects: vec![None], ..in_one_transaction("a", recorded, &[]) };
        assert!(is_consistent(&[traced(true), traced(false)]));
    }

    #[test]
    fn a_partial_migration_must_match_its_progress() {
        assert!(is_consistent(&[partial(2, 1, &[1, 0, 0])]) && is_consistent(&[partial(2, 1, &[1, 1, 0])]));
        assert!(!is_consistent(&[partial(2, 1, &[0, 0, 0])]));
        assert!(!is_consistent(&[partial(2, 1, &[1, 2, 0])]));
        assert!(!is_consistent(&[partial(2, 1, &[1, 1, 1])]));
        assert!(!is_consistent(&[partial(1, 2, &[1, 1, 0])]));
    }

    #[test]
    fn one_migration_that_is_recorded_after_its_commit_may_be_unrecorded() {
        let later = |recorded, times| Trace {
            mode: TransactionMode::RecordedAfterwards,
            ..in_one_transaction("a", recorded, &[times])
        };
        assert!(is_consistent(&[later(true, 1), later(false, 1), later(false, 0)]));
        assert!(!is_consistent(&[later(false, 2)]));
        assert!(!is_consistent(&[later(false, 1), later(false, 1)]));
        assert!(!is_consistent(&[later(false, 0), later(false, 1)]));
    }

    #[test]
    fn only_a_partial_migration_may_have_progress() {
        let done = Trace { recorded: true, ..partial(1, 1, &[1]) };
        assert!(!is_consistent(std::slice::from_ref(&done)));
        assert!(is_consistent(&[Trace { progress: None, ..done }]));
        assert!(!is_consistent(&[Trace { mode: TransactionMode::SingleTransaction, ..partial(1, 0, &[0]) }]));
    }

    #[test]
    fn migrations_must_start_in_order() {
        let gap = in_one_transaction("b", false, &[0]);
        assert!(is_consistent(&[in_one_transaction("c", true, &[1]), gap.clone()]));
        assert!(!is_consistent(&[gap.clone(), in_one_transaction("c", true, &[1])]));
        assert!(!is_consistent(&[gap, partial(1, 0, &[0])]));
    }

    const ALLOWED: AllowedEnds = AllowedEnds {
        endings: &[("success", 0), ("failed", 3), ("killed", 9)],
        time_limit: Some(Duration::from_secs(7)),
    };

    /// Checks a run that applies `a` and leaves `b`, with a changed report.
    fn check_one_of_two(change: impl FnOnce(&mut RunReport)) -> Vec<String> {
        let list = |name: &str| vec![name.to_owned()];
        let mut run = RunReport {
            outcome: "failed".to_owned(),
            fault_code: String::new(),
            plan_digest: "sha256:1".to_owned(),
            exit: 3,
            applied: list("a"),
            pending: list("b"),
            logged: list("a"),
            lost: Vec::new(),
            took: Duration::from_secs(7),
            logs_nothing: false,
            has_begun_a_step: false,
            wrong: Vec::new(),
        };
        change(&mut run);
        let traces = |applied| [in_one_transaction("a", applied, &[]), in_one_transaction("b", false, &[])];
        check_report(&run, &traces(false), &traces(true), ALLOWED)
    }

    #[test]
    fn a_report_must_match_the_ledger() {
        let none: Vec<String> = Vec::new();
        assert_eq!(check_one_of_two(|_| ()), none);
        assert_ne!(check_one_of_two(|run| run.applied.push("b".to_owned())), none);
        assert_ne!(check_one_of_two(|run| run.applied.clear()), none);
        assert_ne!(check_one_of_two(|run| run.pending.clear()), none);
        assert_ne!(check_one_of_two(|run| run.logged.push("b".to_owned())), none);
        assert_ne!(check_one_of_two(|run| run.plan_digest.clear()), none);
        assert_ne!(check_one_of_two(|run| run.wrong.push("a secret".to_owned())), none);
    }

    #[test]
    fn a_success_must_leave_nothing_pending() {
        let finished = |run: &mut RunReport| (run.outcome, run.exit) = ("success".to_owned(), 0);
        assert_eq!(check_one_of_two(finished).len(), 1);
    }

    #[test]
    fn a_killed_run_must_not_log_more_than_it_applied() {
        let killed = |run: &mut RunReport| {
            (run.outcome, run.exit) = ("killed".to_owned(), 9);
            (run.applied, run.pending) = Default::default();
            run.logs_nothing = true;
        };
        assert_eq!(check_one_of_two(killed), Vec::<String>::new());
        let logs_too_much = |run: &mut RunReport| {
            killed(run);
            run.logged.push("b".to_owned());
        };
        assert_eq!(check_one_of_two(logs_too_much).len(), 1);
        let too_late = |run: &mut RunReport| {
            killed(run);
            run.logs_nothing = false;
        };
        assert_eq!(check_one_of_two(too_late).len(), 1);
    }

    #[test]
    fn a_run_must_end_in_an_allowed_way_and_in_time() {
        assert_eq!(check_one_of_two(|run| run.exit = 8).len(), 1);
        assert_eq!(check_one_of_two(|run| run.took += Duration::from_millis(1)).len(), 1);
    }

    #[test]
    fn the_ledger_must_keep_its_rows() {
        let run = RunReport {
            outcome: "failed".to_owned(),
            fault_code: String::new(),
            plan_digest: String::new(),
            exit: 3,
            applied: Vec::new(),
            pending: Vec::new(),
            logged: Vec::new(),
            lost: Vec::new(),
            took: Duration::from_secs(7),
            logs_nothing: false,
            has_begun_a_step: false,
            wrong: Vec::new(),
        };
        assert_eq!(
            check_report(&run, &[in_one_transaction("a", true, &[])], &[in_one_transaction("a", false, &[])], ALLOWED)
                .len(),
            1
        );
    }
}
