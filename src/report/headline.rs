//! The run in one sentence: result, number of migrations, duration; and the next step.

use super::{
    database_changes::DatabaseChanges,
    entries::MigrationState,
    first_run::{awaits_pin, store_command},
    history::describe_history,
    log_lines::{count_of, format_millis},
    run_outcome::RunOutcome,
    run_report::RunReport,
    verdict::verdict,
};
use crate::{
    fault::Stage,
    run::event::Proof,
    settings::{Command, Resolution},
};

/// The last line of the log and the first line of the summary.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Headline {
    /// The result, without a full stop.
    pub sentence: String,
    /// The sign of the result, for surfaces that show emoji.
    pub sign: &'static str,
    /// A suggestion what to do now, if there is one.
    pub next_step: Option<String>,
}

impl Headline {
    /// Summarises this report.
    #[must_use]
    pub fn from_report(report: &RunReport) -> Self {
        let sentence = format!("{} ({})", describe_outcome(report), format_millis(report.duration_ms));
        Self { sentence, sign: outcome_sign(report), next_step: suggest_next_step(report) }
    }
}

fn outcome_sign(report: &RunReport) -> &'static str {
    match report.outcome() {
        _ if awaits_pin(report) => "⏸️",
        RunOutcome::Success | RunOutcome::NothingToDo => "✅",
        RunOutcome::Pending => "⏸️",
        RunOutcome::Failed => "❌",
        RunOutcome::Cancelled => "⏹️",
        RunOutcome::InDoubt => "⚠️",
    }
}

fn describe_outcome(report: &RunReport) -> String {
    let database = report.database.as_ref().map_or("the database", |facts| facts.name.as_str());
    match report.outcome() {
        _ if awaits_pin(report) => "Pin the host key to continue".to_owned(),
        RunOutcome::Success | RunOutcome::Failed if !report.findings.is_empty() => describe_findings(report),
        RunOutcome::Success => describe_success(report, database),
        RunOutcome::NothingToDo => match &report.plan {
            Some(plan) => {
                let nothing = match report.command {
                    Some(Command::Rollback) => "Nothing is left to roll back",
                    Some(Command::Baseline) => "Nothing is left to record",
                    Some(Command::Resolve(_)) => "The ledger agrees already",
                    _ => "Nothing is pending",
                };
                format!("{nothing}: {database} has {} recorded", count_of(plan.recorded, "migration"))
            }
            None => "Nothing to do".to_owned(),
        },
        RunOutcome::Pending if report.has_unknown_plan() => {
            format!("The pending migrations of {database} are unknown")
        }
        RunOutcome::Pending => {
            let review = report.review.as_ref().map(|plan| format!(", {}", verdict(plan))).unwrap_or_default();
            format!("{} pending for {database}{review}", count_of(report.not_done().count(), "migration"))
        }
        RunOutcome::Failed => format!("Failed: {}", describe_progress(report, database)),
        RunOutcome::Cancelled => format!("Stopped: {}", describe_progress(report, database)),
        RunOutcome::InDoubt => {
            let doubtful: Vec<String> =
                report.in_state(MigrationState::InDoubt).map(|entry| entry.id.display_path().into_owned()).collect();
            let doubt = match doubtful.as_slice() {
                [] => String::new(),
                [one] => format!("it is unknown whether `{one}` was committed; "),
                [first, .., last] => {
                    let is_file = report.in_state(MigrationState::InDoubt).all(|entry| !entry.id.file.is_empty());
                    let things = if is_file { "files" } else { "migrations" };
                    let many = doubtful.len();
                    format!("it is unknown how many of the {many} {things} from `{first}` to `{last}` were committed; ")
                }
            };
            // A count of 0 would suggest that migrations in doubt were not applied.
            let known = match report.in_state(MigrationState::Applied).count() {
                0 if !doubtful.is_empty() => String::new(),
                _ => describe_progress(report, database),
            };
            format!("In doubt: {doubt}{known}").trim_end_matches("; ").to_owned()
        }
    }
}

/// Describes the findings of `command: doctor`.
fn describe_findings(report: &RunReport) -> String {
    let count = |state: &str| report.findings.iter().filter(|finding| finding.state.name() == state).count();
    let (failed, warned, unchecked) = (count("failed"), count("warning"), count("not-checked"));
    let checks = count_of(report.findings.len(), "check");
    let warnings = count_of(warned, "warning");
    let head = match (failed, warned) {
        (0, 0) if unchecked == 0 => format!("Everything is in order: {checks}"),
        (0, 0) => format!("Nothing to fix: {checks}"),
        (0, _) => format!("A migration can run, with {warnings}: {checks}"),
        (_, 0) => format!("Failed: {failed} of {checks}"),
        (..) => format!("Failed: {failed} of {checks}, {warnings}"),
    };
    if unchecked == 0 { head } else { format!("{head}, {unchecked} not checked") }
}

fn describe_success(report: &RunReport, database: &str) -> String {
    if let Some(tunnel) = &report.tunnel {
        let address =
            report.database.as_ref().map_or(String::new(), |facts| format!(" at {}:{}", facts.host, facts.port));
        return format!("{database}{address} is open at {}:{} for the following steps", tunnel.host, tunnel.port);
    }
    if let Some(runs) = &report.history {
        return describe_history(runs, database);
    }
    let proof = name_proof(report);
    if report.has_migrated() && !report.verified {
        return format!("The tool succeeded, but no ledger in {database} confirms its work");
    }
    let rolled_back = report.in_state(MigrationState::RolledBack).count();
    if rolled_back > 0 {
        return format!("Rolled back {} of {database}{proof}", count_of(rolled_back, "migration"));
    }
    let unrecorded = report.in_state(MigrationState::Unrecorded).count();
    if unrecorded > 0 {
        return format!("Recorded {} in {database} as not applied{proof}", count_of(unrecorded, "migration"));
    }
    if matches!(report.command, Some(Command::Baseline | Command::Resolve(_))) {
        let recorded = report.in_state(MigrationState::Applied).count();
        return format!("Recorded {} in {database} as applied{proof}", count_of(recorded, "migration"));
    }
    match report.in_state(MigrationState::Applied).count() {
        0 => format!("{database} is in order{proof}"),
        applied => format!("Applied {} to {database}{proof}", count_of(applied, "migration")),
    }
}

/// Returns the end of a sentence about the result that was verified; empty if nothing verified it.
fn name_proof(report: &RunReport) -> &'static str {
    match report.proof {
        Some(Proof::Ledger) => ", and the ledger confirms it",
        Some(Proof::Listing) => ", and the tool's own listing confirms it",
        None => "",
    }
}

/// Describes the progress of a run that failed. Before there is a plan, this program writes nothing; changes by foreign
/// commands are known if the database was read again.
fn describe_progress(report: &RunReport, database: &str) -> String {
    let writes = report.command.is_none_or(Command::may_write);
    match (&report.plan, writes) {
        (None, _) | (_, false) => match (report.changed, report.in_state(MigrationState::Applied).count()) {
            (DatabaseChanges::Nothing, _) => "nothing was changed".to_owned(),
            (DatabaseChanges::Unchecked | DatabaseChanges::Unknown, _) => "it is unknown what was changed".to_owned(),
            (DatabaseChanges::Something, 0) => "the database was changed".to_owned(),
            (DatabaseChanges::Something, recorded) => {
                format!("{} applied unexpectedly", count_of(recorded, "migration"))
            }
        },
        (Some(_), true) => {
            let (fate, word, nothing) = match report.command {
                Some(Command::Rollback) => {
                    (MigrationState::RolledBack, "rolled back in", "nothing was left to roll back")
                }
                Some(Command::Baseline) => (MigrationState::Applied, "recorded in", "nothing was left to record"),
                Some(Command::Resolve(Resolution::Applied)) => {
                    (MigrationState::Applied, "recorded as applied in", "the ledger agreed already")
                }
                Some(Command::Resolve(Resolution::NotApplied)) => {
                    (MigrationState::Unrecorded, "recorded as not applied in", "the ledger agreed already")
                }
                _ => (MigrationState::Applied, "applied to", "nothing was pending"),
            };
            let proof = name_proof(report);
            let (done, all) = (report.in_state(fate).count(), report.migrations.len());
            match (all, report.has_unknown_plan()) {
                (0, false) => nothing.to_owned(),
                // The run ended before, as for want of a backup.
                (0, true) if report.stages.iter().all(|begun| begun.stage != Stage::Migrate) => {
                    format!("nothing was {word} {database}")
                }
                (0, true) => format!("it is unknown what was {word} {database}"),
                // The total is unknown: only the migrations that were found are counted.
                (_, true) => format!("{} {word} {database}{proof}", count_of(done, "migration")),
                (all, false) => format!("{done} of {} {word} {database}{proof}", count_of(all, "migration")),
            }
        }
    }
}

fn suggest_next_step(report: &RunReport) -> Option<String> {
    if awaits_pin(report) {
        return Some(format!("store the line with `{}`, and run again", store_command(report)));
    }
    // A fault has its own fix.
    if !report.faults.is_empty() {
        return None;
    }
    let digest = report.plan.as_ref().map(|plan| plan.digest.as_str()).filter(|digest| !digest.is_empty());
    let rehearsed =
        report.rehearsal.as_ref().map(|rehearsal| rehearsal.digest.as_str()).filter(|digest| !digest.is_empty());
    match (report.outcome(), rehearsed.or(digest)) {
        (RunOutcome::Pending, Some(digest)) if rehearsed.is_some() => Some(format!(
            "run `command: migrate`; with `expect-rehearsal: {digest}` it applies exactly what was rehearsed"
        )),
        (RunOutcome::Pending, Some(digest)) => {
            Some(format!("run `command: migrate`; with `expect-plan: {digest}` it applies exactly this plan"))
        }
        (RunOutcome::Pending, None) => Some("run `command: migrate`".to_owned()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::{super::sample, *};
    use crate::{
        fault::{Code, Fault},
        run::{Coverage, event::Event},
    };

    /// Describes a run of this command that had nothing to do, once without a fault and once with one.
    fn idle(command: Command, coverage: Coverage) -> [String; 2] {
        let mut report = idle_report(command, coverage);
        let succeeded = describe_outcome(&report);
        report.faults.push(Fault::new(Code::ToolFailed, "x"));
        [succeeded, describe_outcome(&report)]
    }

    fn idle_report(command: Command, coverage: Coverage) -> RunReport {
        let events = sample::events_until_migration().into_iter().take_while(|(at, _)| *at <= 250).map(
            |(at, event)| match event {
                Event::Planned(plan) => {
                    (at, Event::Planned(crate::run::PlanFacts { pending: Vec::new(), coverage, ..plan }))
                }
                event => (at, event),
            },
        );
        RunReport { command: Some(command), ..sample::report_of(&events.collect()) }
    }

    #[test]
    fn a_run_with_nothing_to_do_is_described_in_terms_of_its_command() {
        for (command, success, failure) in [
            (Command::Migrate, "Nothing is pending: ", ": nothing was pending"),
            (Command::Rollback, "Nothing is left to roll back: ", ": nothing was left to roll back"),
            (Command::Baseline, "Nothing is left to record: ", ": nothing was left to record"),
            (Command::Resolve(Resolution::Applied), "The ledger agrees already: ", ": the ledger agreed already"),
            (Command::Resolve(Resolution::NotApplied), "The ledger agrees already: ", ": the ledger agreed already"),
        ] {
            let [succeeded, failed] = idle(command, Coverage::Complete);
            assert!(succeeded.starts_with(success), "{succeeded}");
            assert!(failed.ends_with(failure) && !failed.contains("0 of 0"), "{failed}");
        }
        let [_, failed] = idle(Command::Migrate, Coverage::Unknown);
        assert!(failed.ends_with(": nothing was applied to shop"), "{failed}");
        let mut begun = idle_report(Command::Migrate, Coverage::Unknown);
        begun.fold_event(&Event::StageStarted(Stage::Migrate), std::time::Duration::ZERO);
        begun.faults.push(Fault::new(Code::ToolFailed, "x"));
        let failed = describe_outcome(&begun);
        assert!(failed.ends_with(": it is unknown what was applied to shop"), "{failed}");
    }

    #[test]
    fn migrations_in_doubt_are_not_counted_as_not_applied() {
        let mut events: sample::SampleEvents =
            sample::events_until_migration().into_iter().take_while(|(at, _)| *at < 310).collect();
        events.extend([3, 4].map(|index| (400, Event::InDoubt { index })));
        events.push((400, Event::Fault(Fault::new(Code::CommitInDoubt, "lost"))));
        let text = describe_outcome(&sample::report_of(&events));
        assert!(text.starts_with("In doubt: it is unknown how many of the 2 files"), "{text}");
        assert!(text.ends_with("were committed") && !text.contains("0 of"), "{text}");
    }

    #[test]
    fn a_failed_run_has_no_next_step_besides_the_fix_of_its_fault() {
        assert_eq!(Headline::from_report(&sample::report_of(&sample::failed_events())).next_step, None);
    }
}
