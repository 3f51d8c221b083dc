//! The step's outputs.
//!
//! They are not redacted again after rendering: with a password such as `true` or `0`, `fromJSON` would reject the
//! JSON. Every text in the report was redacted before, and JSON adds only its own punctuation.

use super::{
    entries::{MigrationReport, MigrationState},
    run_outcome::RunOutcome,
    run_report::RunReport,
    tenant_table::{TenantOutput, tenant_outputs},
};
use crate::run::MigrationId;
use serde::Serialize;
use serde_json::Value;
use std::sync::Arc;

/// Maximum size of the output `report`, in bytes. All outputs of a job together may have 1 MB, of which GitHub counts two
/// bytes per character (documentation of `jobs.<job_id>.outputs`).
const REPORT_LIMIT: usize = 256 * 1024;

/// Maximum size of the outputs `applied` and `pending` together, in bytes.
const LISTS_LIMIT: usize = 192 * 1024;

#[derive(Serialize)]
struct AppliedOutput<'a> {
    #[serde(flatten)]
    id: MigrationOutput<'a>,
    took_ms: Option<u64>,
}

/// A migration. Only files have a version and a file.
#[derive(Serialize)]
struct MigrationOutput<'a> {
    #[serde(skip_serializing_if = "str::is_empty")]
    version: &'a str,
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<&'a str>,
    #[serde(skip_serializing_if = "str::is_empty")]
    schema: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    title: &'a str,
}

#[derive(Serialize)]
struct ReportOutput<'a> {
    outcome: RunOutcome,
    exit_code: u8,
    /// Keys that were emptied because the report was too long.
    left_out: &'a [&'a str],
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    tenants: &'a [TenantOutput],
    #[serde(flatten)]
    report: &'a RunReport,
}

/// Returns every output with its value. Unknown values are empty: the lists and their counts before there is a plan,
/// and a list without entries if migrations are in doubt.
#[must_use]
pub fn step_outputs(report: &RunReport) -> Vec<(&'static str, String)> {
    let [applied, pending] = list_outputs(report);
    let plan = report.plan.as_ref();
    let doubt = report.outcome() == RunOutcome::InDoubt;
    let known = |length: usize, value: String| match plan {
        Some(_) if length > 0 || !doubt => value,
        _ => String::new(),
    };
    let (done, open) = (applied.count, pending.count);
    vec![
        ("outcome", report.outcome().name().to_owned()),
        ("applied", known(done, applied.text)),
        ("pending", known(open, pending.text)),
        ("applied-count", known(done, done.to_string())),
        ("pending-count", known(open, open.to_string())),
        ("plan-digest", plan.map(|plan| plan.digest.clone()).unwrap_or_default()),
        ("rehearsal-digest", report.rehearsal.as_ref().map(|rehearsal| rehearsal.digest.clone()).unwrap_or_default()),
        ("duration-ms", report.duration_ms.to_string()),
        ("database-version", report.database.as_ref().map(|facts| facts.version.clone()).unwrap_or_default()),
        ("fault-code", report.faults.first().map(|fault| fault.code.to_string()).unwrap_or_default()),
        ("backup", report.backup.as_ref().and_then(|facts| facts.made.as_ref()?.path.clone()).unwrap_or_default()),
        ("tunnel-host", report.tunnel.as_ref().map(|facts| facts.host.clone()).unwrap_or_default()),
        ("tunnel-port", report.tunnel.as_ref().map(|facts| facts.port.to_string()).unwrap_or_default()),
        ("tunnel-alias", report.tunnel.as_ref().map(|facts| facts.alias.clone()).unwrap_or_default()),
        ("report", report_within_limit(report)),
    ]
}

/// Returns a sentence about the lists that are cut, for the log; `None` if both are complete.
pub(super) fn cut_lists_remark(report: &RunReport) -> Option<String> {
    let [applied, pending] = list_outputs(report);
    let cut = [("applied", applied), ("pending", pending)].into_iter().filter(|(_, list)| list.kept < list.count);
    let cut: Vec<String> = cut
        .map(|(name, ListOutput { kept, count, .. })| format!("`{name}` has the first {kept} of {count} migrations"))
        .collect();
    let first = cut.first()?;
    let both = cut.get(1).map_or_else(|| first.clone(), |second| format!("{first}, {second}"));
    Some(format!("the output {both}: the outputs of a job may have 1 MB; the counts are complete"))
}

/// A list as an output.
struct ListOutput {
    /// The entries that fit, as a JSON array.
    text: String,
    /// Number of these.
    kept: usize,
    /// Number of all.
    count: usize,
}

/// Returns the outputs `applied` and `pending`. Each may have half of the limit, and all that the other does not need.
fn list_outputs(report: &RunReport) -> [ListOutput; 2] {
    let applied: Vec<String> =
        report.in_state(MigrationState::Applied).map(|entry| to_json(&applied_output(entry))).collect();
    let pending: Vec<String> = report.not_done().map(|entry| to_json(&migration_output(entry))).collect();
    let half = LISTS_LIMIT / 2;
    let room = |other: &[String]| LISTS_LIMIT - json_length(other).min(half);
    let rooms = [room(&pending), room(&applied)];
    let [for_applied, for_pending] = rooms;
    [cut_list(applied, for_applied), cut_list(pending, for_pending)]
}

/// Returns the length of a JSON array with these entries.
fn json_length(entries: &[String]) -> usize {
    entries.iter().map(|entry| entry.len() + 1).sum::<usize>() + 1
}

fn cut_list(mut entries: Vec<String>, room: usize) -> ListOutput {
    let count = entries.len();
    let mut length = 1;
    let kept = entries.iter().take_while(|entry| {
        length += entry.len() + 1;
        length <= room
    });
    let kept = kept.count();
    entries.truncate(kept);
    ListOutput { text: format!("[{}]", entries.join(",")), kept, count }
}

fn applied_output(entry: &MigrationReport) -> AppliedOutput<'_> {
    AppliedOutput { id: migration_output(entry), took_ms: entry.took_ms }
}

fn migration_output(entry: &MigrationReport) -> MigrationOutput<'_> {
    let file = Some(entry.id.file.as_str()).filter(|file| !file.is_empty());
    let MigrationId { version, name, schema, title, .. } = &entry.id;
    MigrationOutput { version, name, file, schema, title }
}

/// The content of the output `report`.
struct ReportContent {
    report: RunReport,
    tenants: Vec<TenantOutput>,
}

/// A part of it that can be emptied.
type ReportCut = (&'static str, fn(&mut ReportContent));

/// Returns the report as JSON within the limit: the least important parts are emptied until it fits; if that is not
/// enough, long texts and lists are shortened.
fn report_within_limit(report: &RunReport) -> String {
    let cuts: [ReportCut; 14] = [
        ("notices", |content| content.report.notices.clear()),
        ("review.scripts", |content| {
            content.report.review.iter_mut().for_each(|plan| Arc::make_mut(plan).scripts.clear());
        }),
        ("plan.pending", |content| content.report.plan.iter_mut().for_each(|plan| plan.pending.clear())),
        ("recorded", |content| content.report.recorded.clear()),
        ("half_done", |content| content.report.half_done.clear()),
        ("migrations", |content| content.report.migrations.clear()),
        ("schema", |content| content.report.schema.clear()),
        ("review", |content| content.report.review = None),
        ("rehearsal.statements", |content| {
            content.report.rehearsal.iter_mut().for_each(|facts| Arc::make_mut(facts).statements.clear());
        }),
        ("rehearsal.migrations", |content| {
            content.report.rehearsal.iter_mut().for_each(|facts| Arc::make_mut(facts).migrations.clear());
        }),
        ("warnings", |content| content.report.warnings.clear()),
        ("blocked", |content| content.report.blocked.clear()),
        ("steps", |content| content.report.steps.clear()),
        ("tenants", |content| content.tenants.clear()),
    ];
    let (outcome, exit_code) = (report.outcome(), report.exit_code());
    let mut content = ReportContent { report: report.clone(), tenants: tenant_outputs(report) };
    let mut left_out = Vec::new();
    // A run without a plan to approve has no review.
    let has_review = report.review.is_some();
    let has_rehearsal = report.rehearsal.is_some();
    let mut cuts = cuts
        .into_iter()
        .filter(|(name, _)| has_review || !name.starts_with("review"))
        .filter(|(name, _)| has_rehearsal || !name.starts_with("rehearsal"));
    loop {
        let ReportContent { report, tenants } = &content;
        let text = to_json(&ReportOutput { outcome, exit_code, left_out: &left_out, tenants, report });
        if text.len() <= REPORT_LIMIT {
            return text;
        }
        let Some((name, cut)) = cuts.next() else { break };
        cut(&mut content);
        left_out.push(name);
    }
    left_out.push("long texts and lists");
    let all = serde_json::to_value(ReportOutput {
        outcome,
        exit_code,
        left_out: &left_out,
        tenants: &content.tenants,
        report: &content.report,
    });
    let mut all = all.expect("texts, numbers and lists of them always have a JSON form");
    let mut length = FIRST_TEXT_LENGTH;
    loop {
        shorten_value(&mut all, length);
        let text = to_json(&all);
        if text.len() <= REPORT_LIMIT || length == 0 {
            return text;
        }
        length /= 2;
    }
}

/// Maximum length of a text, in characters, in the first attempt to shorten everything.
const FIRST_TEXT_LENGTH: usize = 4_096;

/// Shortens each text to this many characters, and each list to a tenth as many entries.
fn shorten_value(value: &mut Value, length: usize) {
    match value {
        Value::String(text) => {
            if let Some((end, _)) = text.char_indices().nth(length) {
                text.truncate(end);
                text.push('…');
            }
        }
        Value::Array(entries) => {
            entries.truncate(length / 10 + 1);
            entries.iter_mut().for_each(|entry| shorten_value(entry, length));
        }
        Value::Object(fields) => {
            fields
                .iter_mut()
                .filter(|(name, _)| *name != "left_out")
                .for_each(|(_, value)| shorten_value(value, length));
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

fn to_json(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("texts, numbers and lists of them always have a JSON form")
}

#[cfg(test)]
mod tests {
    use super::{super::sample, *};
    use crate::{
        fault::{Code, Fault, FilePosition},
        run::{DatabaseFacts, event::Event},
    };
    use std::collections::BTreeMap;

    fn outputs_of(events: &sample::SampleEvents) -> BTreeMap<&'static str, String> {
        step_outputs(&sample::report_of(events)).into_iter().collect()
    }

    fn outputs_without_report(events: &sample::SampleEvents) -> String {
        let all = step_outputs(&sample::report_of(events));
        let lines: Vec<String> =
            all.iter().filter(|(name, _)| *name != "report").map(|(name, value)| format!("{name}={value}")).collect();
        lines.join("\n")
    }

    #[test]
    fn a_successful_run_lists_the_applied_migrations() {
        insta::assert_snapshot!(outputs_without_report(&sample::successful_events()), @r#"
        outcome=success
        applied=[{"version":"3","name":"add_email","file":"migrations/0003_add_email.sql","took_ms":12},{"version":"4","name":"drop_name","file":"migrations/0004_drop_name.sql","took_ms":1100}]
        pending=[]
        applied-count=2
        pending-count=0
        plan-digest=sha256:4f2c
        rehearsal-digest=
        duration-ms=1600
        database-version=16.4
        fault-code=
        backup=
        tunnel-host=
        tunnel-port=
        tunnel-alias=
        "#);
    }

    #[test]
    fn a_failed_run_lists_the_remaining_migrations() {
        insta::assert_snapshot!(outputs_without_report(&sample::failed_events()), @r#"
        outcome=failed
        applied=[{"version":"3","name":"add_email","file":"migrations/0003_add_email.sql","took_ms":12}]
        pending=[{"version":"4","name":"drop_name","file":"migrations/0004_drop_name.sql"}]
        applied-count=1
        pending-count=1
        plan-digest=sha256:4f2c
        rehearsal-digest=
        duration-ms=330
        database-version=16.4
        fault-code=statement-failed
        backup=
        tunnel-host=
        tunnel-port=
        tunnel-alias=
        "#);
    }

    #[test]
    fn the_outputs_of_a_tunnel_name_its_database() {
        let all: BTreeMap<&str, String> = step_outputs(&sample::tunnel_report()).into_iter().collect();
        assert_eq!([&all["outcome"], &all["database-version"], &all["tunnel-port"]], ["success", "16.4", "49153"]);
        let whole: Value = serde_json::from_str(&all["report"]).unwrap();
        assert_eq!([&whole["database"]["host"], &whole["bastion"]["host"]], ["db.internal", "bastion.example.org"]);
    }

    #[test]
    fn counts_are_empty_instead_of_0_if_migrations_are_in_doubt() {
        let mut events = sample::events_until_migration();
        let lost = Event::Fault(Fault::new(Code::CommitInDoubt, "lost"));
        events.extend([(400, Event::InDoubt { index: 4 }), (400, lost.clone())]);
        let some = outputs_of(&events);
        assert_eq!([&some["applied-count"], &some["pending-count"], &some["pending"]], ["1", "", ""]);
        let mut events: sample::SampleEvents =
            sample::events_until_migration().into_iter().take_while(|(at, _)| *at < 310).collect();
        events.extend([3, 4].map(|index| (400, Event::InDoubt { index })));
        events.push((400, lost));
        let none = outputs_of(&events);
        assert_eq!([&none["applied-count"], &none["applied"], &none["pending-count"]], ["", "", ""]);
    }

    #[test]
    fn lists_are_empty_before_there_is_a_plan() {
        insta::assert_snapshot!(outputs_without_report(&sample::unpinned_events()), @"
        outcome=failed
        applied=
        pending=
        applied-count=
        pending-count=
        plan-digest=
        rehearsal-digest=
        duration-ms=50
        database-version=
        fault-code=host-key-unpinned
        backup=
        tunnel-host=
        tunnel-port=
        tunnel-alias=
        ");
    }

    #[test]
    fn the_lists_are_cut_to_the_size_of_a_jobs_outputs_and_the_counts_are_not() {
        let mut report = sample::report_of(&sample::failed_events());
        assert_eq!(cut_lists_remark(&report), None);
        let [applied, pending] = [0, 1].map(|index| report.migrations[index].clone());
        report.migrations = [vec![applied; 10_000], vec![pending; 10_000]].concat();
        let outputs: BTreeMap<&str, String> = step_outputs(&report).into_iter().collect();
        let in_utf_16 = outputs.values().map(|value| value.encode_utf16().count() * 2).sum::<usize>();
        assert!(in_utf_16 < 1_000_000, "{in_utf_16}");
        assert_eq!([&outputs["applied-count"], &outputs["pending-count"]], ["10000", "10000"]);
        for name in ["applied", "pending"] {
            let list: Vec<Value> = serde_json::from_str(&outputs[name]).unwrap();
            let remark = cut_lists_remark(&report).unwrap();
            assert!(list.len() > 500 && list.len() < 10_000, "{}", list.len());
            assert!(remark.contains(&format!("`{name}` has the first {} of 10000 migrations", list.len())), "{remark}");
        }
        report.migrations.truncate(10_000);
        let outputs: BTreeMap<&str, String> = step_outputs(&report).into_iter().collect();
        assert!(outputs["applied"].len() > LISTS_LIMIT - 200, "one list alone has the room of both");
        assert_eq!(outputs["pending"], "[]");
    }

    #[test]
    fn the_report_is_valid_json_within_its_limit() {
        let mut report = sample::report_of(&sample::successful_events());
        report.notices[0].text = "\"".repeat(200_000);
        let whole: Value = serde_json::from_str(&report_within_limit(&report)).unwrap();
        assert_eq!((&whole["left_out"], &whole["outcome"]), (&serde_json::json!(["notices"]), &"success".into()));
        report.migrations = vec![report.migrations[0].clone(); 5_000];
        let whole = report_within_limit(&report);
        let parsed: Value = serde_json::from_str(&whole).unwrap();
        assert!(whole.len() <= REPORT_LIMIT);
        assert_eq!(
            parsed["left_out"],
            serde_json::json!(["notices", "plan.pending", "recorded", "half_done", "migrations"])
        );
    }

    #[test]
    fn long_texts_and_lists_are_shortened_instead_of_omitting_the_report() {
        let long = |letter: &str| letter.repeat(300_000);
        let fault = |cause: String| {
            Fault::new(Code::FileSyntax, cause).in_file(FilePosition::of_file(&long("f"))).detail(long("d"))
        };
        let one = vec![fault(long("\u{1}"))];
        let many = (0..20_000)
            .map(|number| fault(number.to_string()).detail("x"))
            .map(|fault| Fault { place: None, detail: vec!["y".repeat(40); 3], ..fault })
            .collect();
        for faults in [one, many] {
            let mut report = sample::report_of(&sample::failed_events());
            report.faults = faults;
            report.environment = Some(long("ü"));
            let facts = report.database.clone().unwrap();
            report.database = Some(DatabaseFacts { name: long("n"), role: long("\""), ..facts });
            report.blocked = vec![long("b"); 20];
            let whole = report_within_limit(&report);
            assert!(whole.len() <= REPORT_LIMIT, "{}", whole.len());
            let parsed: Value = serde_json::from_str(&whole).unwrap();
            assert_eq!(
                (&parsed["outcome"], &parsed["exit_code"]),
                (&"failed".into(), &Value::from(report.exit_code()))
            );
            assert_eq!(parsed["faults"][0]["code"], "file-syntax");
            assert_eq!(parsed["left_out"].as_array().unwrap().last().unwrap(), "long texts and lists");
            assert!(parsed["database"]["name"].as_str().unwrap().ends_with("n…"));
        }
    }

    const DOCUMENT: &str = include_str!("../../docs/outputs.md");

    #[test]
    fn every_output_is_documented_and_no_other() {
        let rows = DOCUMENT.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next());
        let known: Vec<&str> =
            step_outputs(&sample::report_of(&sample::successful_events())).iter().map(|(name, _)| *name).collect();
        assert_eq!(rows.collect::<Vec<_>>(), known);
    }

    /// Collects the paths of all keys of a JSON value.
    fn keys(value: &Value, path: &str, found: &mut Vec<String>) {
        match value {
            Value::Object(fields) => fields.iter().for_each(|(key, value)| {
                found.push(format!("{path}/{key}"));
                keys(value, &format!("{path}/{key}"), found);
            }),
            Value::Array(items) => items.iter().take(1).for_each(|item| keys(item, &format!("{path}/*"), found)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }

    #[test]
    fn the_documented_json_has_the_same_keys_as_the_outputs() {
        let failed = step_outputs(&sample::report_of(&sample::failed_events())).into_iter().collect::<BTreeMap<_, _>>();
        let written = BTreeMap::from([
            ("applied", failed["applied"].clone()),
            ("pending", failed["pending"].clone()),
            ("report", outputs_of(&sample::successful_events())["report"].clone()),
        ]);
        for (name, text) in written {
            let section = DOCUMENT.split(&format!("\n## `{name}`")).nth(1).unwrap();
            let example = section.split("```json\n").nth(1).unwrap().split("```").next().unwrap();
            let [mut documented, mut real] = [Vec::new(), Vec::new()];
            keys(&serde_json::from_str(example).unwrap(), "", &mut documented);
            keys(&serde_json::from_str(&text).unwrap(), "", &mut real);
            assert_eq!(documented, real, "{name}");
        }
        let fault = serde_json::to_value(Fault::new(Code::Bug, "x")).unwrap();
        let names: Vec<String> = fault.as_object().unwrap().keys().map(|key| format!("`{key}`")).collect();
        assert!(names.iter().all(|name| DOCUMENT.contains(name)), "{names:?}");
    }
}
