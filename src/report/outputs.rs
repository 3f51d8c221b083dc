//! The step's outputs.
//!
//! They are not redacted as a whole after rendering: a password `true` or `0` would turn the JSON into something that
//! `fromJSON` refuses. Every text in the report was redacted before, and JSON adds nothing between texts but its own signs.

use super::{
    entries::{MigrationReport, MigrationState},
    run_outcome::RunOutcome,
    run_report::RunReport,
};
use crate::run::event::MigrationId;
use serde::Serialize;
use serde_json::Value;

/// What the output `report` may take, in bytes; all outputs of a job together may take 1 MB.
const REPORT_LIMIT: usize = 256 * 1024;

#[derive(Serialize)]
struct AppliedOutput<'a> {
    #[serde(flatten)]
    id: MigrationOutput<'a>,
    took_ms: Option<u64>,
}

/// A migration; version and file are what only files have.
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
    /// Keys that were emptied because the whole would have been too long.
    left_out: &'a [&'a str],
    #[serde(flatten)]
    report: &'a RunReport,
}

/// Every output and its value. What is not known is empty: the lists and their counts before there is a plan, and a list that has
/// nothing because what would be in it is in doubt.
#[must_use]
pub fn step_outputs(report: &RunReport) -> Vec<(&'static str, String)> {
    let applied: Vec<AppliedOutput<'_>> = report.in_state(MigrationState::Applied).map(applied_output).collect();
    let pending: Vec<MigrationOutput<'_>> = report.not_done().map(migration_output).collect();
    let plan = report.plan.as_ref();
    let doubt = report.outcome() == RunOutcome::InDoubt;
    let known = |length: usize, value: String| match plan {
        Some(_) if length > 0 || !doubt => value,
        _ => String::new(),
    };
    let (done, open) = (applied.len(), pending.len());
    vec![
        ("outcome", report.outcome().name().to_owned()),
        ("applied", known(done, to_json(&applied))),
        ("pending", known(open, to_json(&pending))),
        ("applied-count", known(done, done.to_string())),
        ("pending-count", known(open, open.to_string())),
        ("plan-digest", plan.map(|plan| plan.digest.clone()).unwrap_or_default()),
        ("duration-ms", report.duration_ms.to_string()),
        ("database-version", report.database.as_ref().map(|facts| facts.version.clone()).unwrap_or_default()),
        ("fault-code", report.faults.first().map(|fault| fault.code.to_string()).unwrap_or_default()),
        ("tunnel-host", report.tunnel.as_ref().map(|facts| facts.host.clone()).unwrap_or_default()),
        ("tunnel-port", report.tunnel.as_ref().map(|facts| facts.port.to_string()).unwrap_or_default()),
        ("tunnel-alias", report.tunnel.as_ref().map(|facts| facts.alias.clone()).unwrap_or_default()),
        ("report", report_within_limit(report)),
    ]
}

fn applied_output(entry: &MigrationReport) -> AppliedOutput<'_> {
    AppliedOutput { id: migration_output(entry), took_ms: entry.took_ms }
}

fn migration_output(entry: &MigrationReport) -> MigrationOutput<'_> {
    let file = Some(entry.id.file.as_str()).filter(|file| !file.is_empty());
    let MigrationId { version, name, schema, title, .. } = &entry.id;
    MigrationOutput { version, name, file, schema, title }
}

/// A part of the report that can be emptied.
type ReportCut = (&'static str, fn(&mut RunReport));

/// The whole report; the least telling parts are emptied until it fits, and what is left then is shortened.
fn report_within_limit(report: &RunReport) -> String {
    let cuts: [ReportCut; 8] = [
        ("notices", |report| report.notices.clear()),
        ("plan.pending", |report| report.plan.iter_mut().for_each(|plan| plan.pending.clear())),
        ("recorded", |report| report.recorded.clear()),
        ("migrations", |report| report.migrations.clear()),
        ("schema", |report| report.schema.clear()),
        ("warnings", |report| report.warnings.clear()),
        ("blocked", |report| report.blocked.clear()),
        ("steps", |report| report.steps.clear()),
    ];
    let (outcome, exit_code) = (report.outcome(), report.exit_code());
    let (mut report, mut left_out) = (report.clone(), Vec::new());
    let mut cuts = cuts.into_iter();
    loop {
        let text = to_json(&ReportOutput { outcome, exit_code, left_out: &left_out, report: &report });
        if text.len() <= REPORT_LIMIT {
            return text;
        }
        let Some((name, cut)) = cuts.next() else { break };
        cut(&mut report);
        left_out.push(name);
    }
    left_out.push("long texts and lists");
    let all = serde_json::to_value(ReportOutput { outcome, exit_code, left_out: &left_out, report: &report });
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

/// So many letters of a text are kept at first where everything has to be shorter.
const FIRST_TEXT_LENGTH: usize = 4_096;

/// Keeps so many letters of each text, and of each list as many entries as are a tenth of that.
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

    fn of(told: &sample::SampleEvents) -> BTreeMap<&'static str, String> {
        step_outputs(&sample::report_of(told)).into_iter().collect()
    }

    fn short(told: &sample::SampleEvents) -> String {
        let all = step_outputs(&sample::report_of(told));
        let lines: Vec<String> =
            all.iter().filter(|(name, _)| *name != "report").map(|(name, value)| format!("{name}={value}")).collect();
        lines.join("\n")
    }

    #[test]
    fn a_good_run_says_what_was_applied() {
        insta::assert_snapshot!(short(&sample::successful_events()), @r#"
        outcome=success
        applied=[{"version":"3","name":"add_email","file":"migrations/0003_add_email.sql","took_ms":12},{"version":"4","name":"drop_name","file":"migrations/0004_drop_name.sql","took_ms":1100}]
        pending=[]
        applied-count=2
        pending-count=0
        plan-digest=sha256:4f2c
        duration-ms=1600
        database-version=16.4
        fault-code=
        tunnel-host=
        tunnel-port=
        tunnel-alias=
        "#);
    }

    #[test]
    fn a_failed_run_says_what_is_left() {
        insta::assert_snapshot!(short(&sample::failed_events()), @r#"
        outcome=failed
        applied=[{"version":"3","name":"add_email","file":"migrations/0003_add_email.sql","took_ms":12}]
        pending=[{"version":"4","name":"drop_name","file":"migrations/0004_drop_name.sql"}]
        applied-count=1
        pending-count=1
        plan-digest=sha256:4f2c
        duration-ms=330
        database-version=16.4
        fault-code=statement-failed
        tunnel-host=
        tunnel-port=
        tunnel-alias=
        "#);
    }

    #[test]
    fn a_tunnel_says_to_which_database_it_leads() {
        let all: BTreeMap<&str, String> = step_outputs(&sample::tunnel_report()).into_iter().collect();
        assert_eq!([&all["outcome"], &all["database-version"], &all["tunnel-port"]], ["success", "16.4", "49153"]);
        let whole: Value = serde_json::from_str(&all["report"]).unwrap();
        assert_eq!([&whole["database"]["host"], &whole["bastion"]["host"]], ["db.internal", "bastion.example.org"]);
    }

    #[test]
    fn what_is_in_doubt_is_not_counted_as_none() {
        let mut told = sample::events_until_migration();
        let lost = Event::Fault(Fault::new(Code::CommitInDoubt, "lost"));
        told.extend([(400, Event::InDoubt { index: 4 }), (400, lost.clone())]);
        let some = of(&told);
        assert_eq!([&some["applied-count"], &some["pending-count"], &some["pending"]], ["1", "", ""]);
        let mut told: sample::SampleEvents =
            sample::events_until_migration().into_iter().take_while(|(at, _)| *at < 310).collect();
        told.extend([3, 4].map(|index| (400, Event::InDoubt { index })));
        told.push((400, lost));
        let none = of(&told);
        assert_eq!([&none["applied-count"], &none["applied"], &none["pending-count"]], ["", "", ""]);
    }

    #[test]
    fn before_a_plan_nothing_is_known() {
        insta::assert_snapshot!(short(&sample::unpinned_events()), @"
        outcome=failed
        applied=
        pending=
        applied-count=
        pending-count=
        plan-digest=
        duration-ms=50
        database-version=
        fault-code=host-key-unpinned
        tunnel-host=
        tunnel-port=
        tunnel-alias=
        ");
    }

    #[test]
    fn the_report_is_valid_and_short_whatever_happened() {
        let mut report = sample::report_of(&sample::successful_events());
        report.notices[0].text = "\"".repeat(200_000);
        let whole: Value = serde_json::from_str(&report_within_limit(&report)).unwrap();
        assert_eq!((&whole["left_out"], &whole["outcome"]), (&serde_json::json!(["notices"]), &"success".into()));
        report.migrations = vec![report.migrations[0].clone(); 5_000];
        let whole = report_within_limit(&report);
        let parsed: Value = serde_json::from_str(&whole).unwrap();
        assert!(whole.len() <= REPORT_LIMIT);
        assert_eq!(parsed["left_out"], serde_json::json!(["notices", "plan.pending", "recorded", "migrations"]));
    }

    #[test]
    fn the_report_is_never_empty_however_long_what_can_not_be_emptied_is() {
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

    /// All keys of a JSON value, with the way to them.
    fn keys(value: &Value, way: &str, found: &mut Vec<String>) {
        match value {
            Value::Object(fields) => fields.iter().for_each(|(key, value)| {
                found.push(format!("{way}/{key}"));
                keys(value, &format!("{way}/{key}"), found);
            }),
            Value::Array(items) => items.iter().take(1).for_each(|item| keys(item, &format!("{way}/*"), found)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }

    #[test]
    fn the_documented_json_has_the_keys_that_are_written() {
        let failed = step_outputs(&sample::report_of(&sample::failed_events())).into_iter().collect::<BTreeMap<_, _>>();
        let written = BTreeMap::from([
            ("applied", failed["applied"].clone()),
            ("pending", failed["pending"].clone()),
            ("report", of(&sample::successful_events())["report"].clone()),
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
