//! The step's outputs.
//!
//! They are not redacted as a whole after rendering: a password `true` or `0` would turn the JSON into something that
//! `fromJSON` refuses. Every text in the report was redacted before, and JSON adds nothing between texts but its own signs.

use super::outcome::{Fate, MigrationReport, Outcome, Report};
use serde::Serialize;

/// What the output `report` may take, in bytes; all outputs of a job together may take 1 MB.
const REPORT_LIMIT: usize = 256 * 1024;

#[derive(Serialize)]
struct Applied<'a> {
    version: i64,
    name: &'a str,
    file: &'a str,
    took_ms: Option<u64>,
}

#[derive(Serialize)]
struct Pending<'a> {
    version: i64,
    name: &'a str,
    file: &'a str,
}

#[derive(Serialize)]
struct Whole<'a> {
    outcome: Outcome,
    exit_code: u8,
    /// Keys that were emptied because the whole would have been too long.
    left_out: &'a [&'a str],
    #[serde(flatten)]
    report: &'a Report,
}

/// Every output and its value. What is not known is empty; before there is a plan that is also true of the counts.
#[must_use]
pub fn outputs(report: &Report) -> Vec<(&'static str, String)> {
    let applied: Vec<Applied<'_>> = report.with_fate(Fate::Applied).map(applied).collect();
    let pending: Vec<Pending<'_>> = report.left_to_do().map(pending).collect();
    let plan = report.plan.as_ref();
    let planned = |value: String| if plan.is_some() { value } else { String::new() };
    vec![
        ("outcome", report.outcome().name().to_owned()),
        ("applied", planned(json(&applied))),
        ("pending", planned(json(&pending))),
        ("applied-count", planned(applied.len().to_string())),
        ("pending-count", planned(pending.len().to_string())),
        ("plan-digest", plan.map(|plan| plan.digest.clone()).unwrap_or_default()),
        ("duration-ms", report.duration_ms.to_string()),
        ("database-version", report.database.as_ref().map(|facts| facts.version.clone()).unwrap_or_default()),
        ("fault-code", report.faults.first().map(|fault| fault.code.to_string()).unwrap_or_default()),
        ("report", whole(report)),
    ]
}

fn applied(entry: &MigrationReport) -> Applied<'_> {
    Applied { version: entry.id.version, name: &entry.id.name, file: &entry.id.file, took_ms: entry.took_ms }
}

fn pending(entry: &MigrationReport) -> Pending<'_> {
    Pending { version: entry.id.version, name: &entry.id.name, file: &entry.id.file }
}

/// A part of the report that can be emptied.
type Cut = (&'static str, fn(&mut Report));

/// The whole report; the least telling parts are emptied until it fits.
fn whole(report: &Report) -> String {
    let cuts: [Cut; 4] = [
        ("notices", |report| report.notices.clear()),
        ("plan.pending", |report| report.plan.iter_mut().for_each(|plan| plan.pending.clear())),
        ("migrations", |report| report.migrations.clear()),
        ("warnings", |report| report.warnings.clear()),
    ];
    let (outcome, exit_code) = (report.outcome(), report.exit_code());
    let (mut report, mut left_out) = (report.clone(), Vec::new());
    let mut cuts = cuts.into_iter();
    loop {
        let text = json(&Whole { outcome, exit_code, left_out: &left_out, report: &report });
        if text.len() <= REPORT_LIMIT {
            return text;
        }
        let Some((name, cut)) = cuts.next() else { return String::new() };
        cut(&mut report);
        left_out.push(name);
    }
}

fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("texts, numbers and lists of them always have a JSON form")
}
