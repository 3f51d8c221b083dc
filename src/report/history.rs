//! The runs of the past in the log, as `command: history` lists them.

use super::{ledger_lines::aligned, visible_text::clip_text};
use crate::run::PastRun;

/// Maximum length of a fault in a line or a table, in characters.
const MAX_FAULT_LENGTH: usize = 160;

/// Length of a commit's short name, as GitHub shows it.
const COMMIT_LENGTH: usize = 7;

/// Returns a line for each run.
pub(super) fn history_lines(runs: &[PastRun]) -> Vec<String> {
    let row = |run: &PastRun| {
        let after = |word: &str, text: String| if text.is_empty() { text } else { format!("{word} {text}") };
        [
            run.started_at.clone(),
            command(run),
            outcome(run),
            counted(run),
            after("by", people(run)),
            after("of", short_commit(run)),
            after("in", run.run.clone().unwrap_or_default()),
        ]
    };
    aligned(&runs.iter().map(row).collect::<Vec<_>>())
}

/// Returns the runs in one sentence.
pub(super) fn describe_history(runs: &[PastRun], database: &str) -> String {
    match runs.first() {
        None => format!("No run is recorded in {database}"),
        Some(newest) => format!("The newest run on {database}, of {}: {}", newest.started_at, newest.outcome.name()),
    }
}

/// Returns the command with the reason for it.
pub(super) fn command(run: &PastRun) -> String {
    match &run.reason {
        Some(reason) => format!("{} ({})", run.command, clip_text(reason, MAX_FAULT_LENGTH)),
        None => run.command.clone(),
    }
}

/// Returns the outcome with its fault.
pub(super) fn outcome(run: &PastRun) -> String {
    match &run.fault {
        Some(fault) => format!("{}: {}", run.outcome.name(), clip_text(fault, MAX_FAULT_LENGTH)),
        None => run.outcome.name().to_owned(),
    }
}

/// Returns the numbers of migrations.
pub(super) fn counted(run: &PastRun) -> String {
    match (run.done, run.planned) {
        (Some(done), Some(planned)) => format!("{done} of {planned}"),
        _ => String::new(),
    }
}

/// Returns who started the run, and who approved it.
pub(super) fn people(run: &PastRun) -> String {
    let started = run.triggering_actor.as_ref().or(run.actor.as_ref()).cloned();
    let approved = run.approved_by.as_ref().map(|approved| format!("approved by {approved}"));
    [started, approved].into_iter().flatten().collect::<Vec<_>>().join(", ")
}

/// Returns the commit as GitHub shows it.
pub(super) fn short_commit(run: &PastRun) -> String {
    run.commit.iter().flat_map(|commit| commit.chars().take(COMMIT_LENGTH)).collect()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::run::PastOutcome;

    pub(in crate::report) fn runs() -> Vec<PastRun> {
        let text = |text: &str| Some(text.to_owned());
        let failed = PastRun {
            started_at: "2026-01-31T23:59:59Z".to_owned(),
            outcome: PastOutcome::Recorded("failed".to_owned()),
            fault: text("lock-timeout: | <b>"),
            command: "migrate".to_owned(),
            planned: Some(3),
            done: Some(1),
            actor: text("alice"),
            approved_by: text("bob, eve"),
            commit: text("0123456789abcdef"),
            run: text("https://github.com/owner/name/actions/runs/17/attempts/1"),
            ..PastRun::default()
        };
        let killed =
            PastRun { outcome: PastOutcome::EndUnknown, fault: None, planned: None, run: None, ..failed.clone() };
        vec![killed, failed]
    }

    #[test]
    fn runs_are_lines_with_their_people_and_their_ends() {
        let people = "by alice, approved by bob, eve  of 0123456";
        assert_eq!(
            history_lines(&runs()),
            [
                format!("  2026-01-31T23:59:59Z  migrate  end not recorded                     {people}"),
                format!(
                    "  2026-01-31T23:59:59Z  migrate  failed: lock-timeout: | <b>  1 of 3  {people}  \
                     in https://github.com/owner/name/actions/runs/17/attempts/1"
                ),
            ]
        );
    }

    #[test]
    fn the_newest_run_is_the_headline() {
        assert_eq!(describe_history(&[], "shop"), "No run is recorded in shop");
        let sentence = "The newest run on shop, of 2026-01-31T23:59:59Z: end not recorded";
        assert_eq!(describe_history(&runs(), "shop"), sentence);
    }
}
