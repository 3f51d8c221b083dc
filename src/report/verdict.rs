//! The run in one sentence: what, how many, how long; and what is next.

use super::{
    changed::Changed,
    outcome::{Fate, Outcome, Report},
    words::{count, took},
};
use crate::{input::Command, run::event::Proof};

/// What the last line of the log and the first of the summary say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// What happened, without a full stop.
    pub what: String,
    /// What to do now, if there is anything.
    pub next: Option<String>,
}

impl Verdict {
    /// The verdict of this report.
    #[must_use]
    pub fn of(report: &Report) -> Self {
        let what = format!("{} ({})", what(report), took(report.duration_ms));
        Self { what, next: next(report) }
    }
}

fn what(report: &Report) -> String {
    let database = report.database.as_ref().map_or("the database", |facts| facts.name.as_str());
    let first = report.faults.first();
    let stage = first.map_or("report", |fault| fault.stage.name());
    let code = first.map_or("", |fault| fault.code.name());
    match report.outcome() {
        Outcome::Success => success(report, database),
        Outcome::NothingToDo => match &report.plan {
            Some(plan) => format!("Nothing is pending: {database} has {} recorded", count(plan.recorded, "migration")),
            None => "Nothing was asked for".to_owned(),
        },
        Outcome::Pending if report.is_unknown() => format!("The tool can't say what is pending for {database}"),
        Outcome::Pending => {
            format!("{} pending for {database}", count(report.left_to_do().count(), "migration"))
        }
        Outcome::Failed => format!("Failed in stage {stage} with {code}: {}", progress(report)),
        Outcome::Cancelled => format!("Stopped in stage {stage} with {code}: {}", progress(report)),
        Outcome::InDoubt => {
            let doubtful: Vec<String> =
                report.with_fate(Fate::InDoubt).map(|entry| entry.id.path().into_owned()).collect();
            let whether = match doubtful.as_slice() {
                [] => String::new(),
                [one] => format!("nobody knows whether `{one}` was committed; "),
                [first, .., last] => format!(
                    "nobody knows how many of the {} files from `{first}` to `{last}` were committed; ",
                    doubtful.len()
                ),
            };
            format!("In doubt with {code}: {whether}{}", progress(report))
        }
    }
}

fn success(report: &Report, database: &str) -> String {
    if let Some(tunnel) = &report.tunnel {
        return format!("The database is at {}:{} for the following steps", tunnel.host, tunnel.port);
    }
    let proof = match report.proof {
        Some(Proof::Ledger) => ", and the ledger confirms it",
        Some(Proof::Listing) => ", as the tool's own listing says",
        None => "",
    };
    if report.has_done_something() && !report.verified {
        return format!("The tool has ended well; no ledger in {database} says what it has done");
    }
    let rolled_back = report.with_fate(Fate::RolledBack).count();
    if rolled_back > 0 {
        return format!("Rolled back {} of {database}{proof}", count(rolled_back, "migration"));
    }
    if report.command == Some(Command::Baseline) {
        let recorded = report.with_fate(Fate::Applied).count();
        return format!("Recorded {} in {database} as applied{proof}", count(recorded, "migration"));
    }
    match report.with_fate(Fate::Applied).count() {
        0 => format!("{database} is in order{proof}"),
        applied => format!("Applied {} to {database}{proof}", count(applied, "migration")),
    }
}

/// How far a run came that did not end well. Before there is a plan we write nothing; whether others did is known if the database
/// was read again.
fn progress(report: &Report) -> String {
    let writes = report.command.is_none_or(Command::writes);
    match (&report.plan, writes) {
        (None, _) | (_, false) => match (report.changed, report.with_fate(Fate::Applied).count()) {
            (Changed::Nothing, _) => "nothing was changed".to_owned(),
            (Changed::Asked | Changed::Unknown, _) => "what was changed is not known".to_owned(),
            (Changed::Something, 0) => "the database was changed".to_owned(),
            (Changed::Something, recorded) => format!("{} applied unasked", count(recorded, "migration")),
        },
        (Some(_), true) => {
            let (fate, word) = match report.command {
                Some(Command::Rollback) => (Fate::RolledBack, "rolled back"),
                Some(Command::Baseline) => (Fate::Applied, "recorded"),
                _ => (Fate::Applied, "applied"),
            };
            let done = report.with_fate(fate).count();
            format!("{done} of {} {word}", count(report.migrations.len(), "migration"))
        }
    }
}

fn next(report: &Report) -> Option<String> {
    if let Some(fault) = report.faults.first() {
        return Some(fault.fix.clone());
    }
    let digest = report.plan.as_ref().map(|plan| plan.digest.as_str()).filter(|digest| !digest.is_empty());
    match (report.outcome(), digest) {
        (Outcome::Pending, Some(digest)) => {
            Some(format!("run `command: migrate`; with `expect-plan: {digest}` it applies exactly this plan"))
        }
        (Outcome::Pending, None) => Some("run `command: migrate`".to_owned()),
        _ => None,
    }
}
