//! The text of each event, as lines without formatting.

pub(super) use super::wording::{count_of, format_millis, format_tenths, indent_further_lines};
use super::{
    aftercare_lines::aftercare_lines, backup_section::backup_text, first_run::is_expected_stop, history::history_lines,
    ledger_lines::ledger_lines, rehearsal_lines::rehearsal_lines, review_lines::review_lines,
};
use crate::{
    fault::{Excerpt, Fault, FilePosition, Stage},
    run::{
        BastionFacts, Coverage, DatabaseFacts, DoctorFinding, FindingState, ImageFacts, LongWait, MigrationId,
        PlanAction, PlanFacts, ResourceUsage,
        event::{Event, NoticeSubject, StepId, StepState},
        group_digits,
    },
};
use std::{collections::BTreeMap, time::Duration};

/// URL of the page with a section for each fault code.
pub(super) const ERROR_DOCS_URL: &str = concat!(env!("CARGO_PKG_REPOSITORY"), "/blob/main/docs/errors.md#");

/// The meaning of a line, which determines its colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tone {
    Neutral,
    Good,
    Bad,
    Warning,
    Quiet,
}

/// One line or group marker to print.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum LogLine {
    /// The start of a stage.
    StageHeading(Stage),
    /// The end of the open stage, if one is open.
    StageEnd,
    /// A text. It may contain line breaks, and is untrusted.
    Text(Tone, String),
}

impl LogLine {
    /// Returns its text, if it is one.
    pub(super) fn into_text(self) -> Option<String> {
        match self {
            Self::Text(_, text) => Some(text),
            Self::StageHeading(_) | Self::StageEnd => None,
        }
    }
}

/// The migrations by their indexes.
pub(crate) type MigrationsByIndex = BTreeMap<usize, MigrationId>;

/// Returns the line about the outcome of a migration.
fn outcome_lines(event: &Event, name: impl Fn(&usize) -> String) -> Vec<LogLine> {
    let (tone, text) = match event {
        Event::Applied { index, took } => {
            (Tone::Good, format!("applied {} ({})", name(index), format_millis(whole_millis(*took))))
        }
        Event::Recorded { index, .. } => (Tone::Good, format!("applied {}", name(index))),
        Event::Baselined { index } => (Tone::Good, format!("recorded {}, without applying it", name(index))),
        Event::RolledBack { index } => (Tone::Good, format!("rolled back {}", name(index))),
        Event::Unrecorded { index } => {
            (Tone::Good, format!("recorded {} as not applied, without undoing it", name(index)))
        }
        Event::Failed { index } => (Tone::Bad, format!("failed {}", name(index))),
        Event::Cancelled { index } => (Tone::Warning, format!("cancelled {}", name(index))),
        Event::LostInCrash { index } => {
            (Tone::Bad, format!("lost: the server crashed before {} was written to disk", name(index)))
        }
        Event::InDoubt { index } => {
            (Tone::Bad, format!("in doubt: it is unknown whether {} was committed", name(index)))
        }
        _ => return Vec::new(),
    };
    vec![LogLine::Text(tone, format!("  {text}"))]
}

/// Returns the lines of an event that happened at this time since the start of the run.
pub(crate) fn event_lines(event: &Event, names: &MigrationsByIndex, at: Duration) -> Vec<LogLine> {
    let name =
        |index: &usize| names.get(index).map_or_else(|| index.to_string(), |id| indent_further_lines(&id.entitled()));
    let text = |tone, text: String| vec![LogLine::Text(tone, text)];
    match event {
        Event::StageStarted(stage) => vec![LogLine::StageHeading(*stage)],
        Event::StageDone(_) => vec![LogLine::StageEnd],
        Event::Note(sentence) => text(Tone::Neutral, format!("  {}", indent_further_lines(sentence))),
        Event::Waiting { what, why } => text(Tone::Quiet, waiting_text(what, why, at)),
        Event::LongWait(wait) => text(Tone::Warning, long_wait_text(wait)),
        Event::Bastion(facts) => text(Tone::Neutral, bastion_text(facts)),
        Event::Database(facts) => text(Tone::Neutral, database_text(facts)),
        Event::Locked { waited } => {
            text(Tone::Neutral, format!("  lock taken ({})", format_millis(whole_millis(*waited))))
        }
        Event::Examined(finding) => finding_lines(finding),
        Event::Planned(facts) => neutral_lines(plan_lines(facts)),
        Event::Reviewed(plan) => neutral_lines(review_lines(plan)),
        Event::Rehearsed(facts) => neutral_lines(rehearsal_lines(facts)),
        Event::Backup(facts) => text(Tone::Neutral, backup_text(facts)),
        Event::Started(id) => text(Tone::Quiet, format!("  applying {}", name(&id.index))),
        Event::StatementDone { index, number, of } => {
            text(Tone::Quiet, format!("  {}: statement {number} of {of} done", name(index)))
        }
        Event::Resumed { index, done, of } => {
            let text_of = format!("  {}: {done} of {of} statements were done by an earlier attempt", name(index));
            text(Tone::Neutral, text_of)
        }
        Event::Applied { .. }
        | Event::Recorded { .. }
        | Event::Baselined { .. }
        | Event::RolledBack { .. }
        | Event::Unrecorded { .. }
        | Event::Failed { .. }
        | Event::Cancelled { .. }
        | Event::LostInCrash { .. }
        | Event::InDoubt { .. } => outcome_lines(event, name),
        // Another event, or the last line, reports the same.
        Event::Unplanned(_)
        | Event::SchemaAssigned { .. }
        | Event::Ended { .. }
        | Event::ReadOnlyChecked(_)
        | Event::Steps(_)
        | Event::Verified(_) => Vec::new(),
        Event::LedgerListed { recorded, half_done } => neutral_lines(ledger_lines(recorded, half_done)),
        Event::History(runs) => neutral_lines(history_lines(runs)),
        Event::Notice { severity, text: message, about } => {
            text(Tone::Quiet, notice_text(severity, message, about.as_ref(), name))
        }
        Event::ToolMigrationStarted { name, schema, .. } => {
            let schema = schema.as_ref().map(|schema| format!("{schema}: ")).unwrap_or_default();
            text(Tone::Quiet, format!("  started {schema}{name}"))
        }
        Event::CommandStarted { command } => text(Tone::Neutral, format!("  $ {}", indent_further_lines(command))),
        Event::Output { line } => text(Tone::Quiet, format!("  | {line}")),
        Event::LinesOmitted { lines } => {
            text(Tone::Quiet, format!("  … and {} more lines, omitted from the log", group_digits(*lines)))
        }
        Event::MessagesSkipped { messages } => {
            text(Tone::Quiet, format!("  … and {} more messages, omitted for lack of time", group_digits(*messages)))
        }
        Event::Blocked { text: sessions } => text(Tone::Warning, format!("  {}", indent_further_lines(sessions))),
        Event::Tunnel(facts) => text(Tone::Good, format!("  tunnel    {}:{}", facts.host, facts.port)),
        Event::Image(facts) => text(Tone::Neutral, image_text(facts)),
        Event::ResourceUsage { command, usage } => {
            text(Tone::Quiet, format!("  used {}", indent_further_lines(&describe_usage(command, *usage))))
        }
        Event::SchemaChanged { changes } => schema_lines(changes),
        Event::Aftercare(facts) => neutral_lines(aftercare_lines(facts)),
        Event::SettingsDelivered { way } => text(Tone::Quiet, format!("  settings {way}")),
        Event::StepChanged { id, fate } => step_line(id, *fate).into_iter().collect(),
        Event::Warning(warning) => fault_lines(warning, "warning", Tone::Warning),
        Event::Fault(error) => {
            let mut lines = error_lines(error);
            // A fault inside a folded group would be hidden.
            lines.insert(0, LogLine::StageEnd);
            lines
        }
    }
}

/// Returns the line of a message of the server.
fn notice_text(
    severity: &str,
    message: &str,
    about: Option<&NoticeSubject>,
    name: impl Fn(&usize) -> String,
) -> String {
    let about = match about {
        None => String::new(),
        Some(NoticeSubject::Migration(index)) => format!("{}: ", name(index)),
        Some(NoticeSubject::File(file)) => format!("{}: ", indent_further_lines(file)),
    };
    format!("  {about}{}: {}", severity.to_lowercase(), indent_further_lines(message))
}

/// Returns the lines of a fault that decides the outcome.
pub(super) fn error_lines(fault: &Fault) -> Vec<LogLine> {
    match is_expected_stop(fault) {
        true => fault_lines(fault, "next step", Tone::Warning),
        false => fault_lines(fault, "error", Tone::Bad),
    }
}

/// Returns the lines of a check; those of the fault that it found come behind them.
fn finding_lines(finding: &DoctorFinding) -> Vec<LogLine> {
    let (sign, title) = (finding.state.sign(), indent_further_lines(&finding.title()));
    let detail = indent_further_lines(finding.detail());
    let head = |tone, text: &str| LogLine::Text(tone, format!("  {sign} {title}{text}"));
    match &finding.state {
        FindingState::Good { .. } => vec![head(Tone::Neutral, &format!(": {detail}"))],
        FindingState::NotChecked { .. } => vec![head(Tone::Quiet, &format!(": not checked: {detail}"))],
        FindingState::Warning { fix, .. } => vec![
            head(Tone::Warning, &format!(": {detail}")),
            LogLine::Text(Tone::Warning, format!("     fix: {}", indent_further_lines(fix))),
        ],
        FindingState::Failed(_) => vec![head(Tone::Bad, "")],
    }
}

fn neutral_lines(texts: Vec<String>) -> Vec<LogLine> {
    texts.into_iter().map(|text| LogLine::Text(Tone::Neutral, text)).collect()
}

fn step_line(id: &StepId, fate: StepState) -> Option<LogLine> {
    let name = indent_further_lines(&id.name);
    match fate {
        StepState::NotRun => None,
        StepState::Running => Some(LogLine::Text(Tone::Neutral, format!("  step {name}"))),
        StepState::Done => Some(LogLine::Text(Tone::Good, format!("  done {name}"))),
        StepState::Failed => Some(LogLine::Text(Tone::Bad, format!("  failed {name}"))),
    }
}

fn waiting_text(what: &str, why: &str, at: Duration) -> String {
    format!("  waiting for {what} (at {}): {}", format_millis(whole_millis(at)), indent_further_lines(why))
}

fn long_wait_text(LongWait { what, why, waited }: &LongWait) -> String {
    let waited = format_millis(whole_millis(*waited));
    format!("  still waiting for {what} after {waited}: {}", indent_further_lines(why))
}

fn bastion_text(facts: &BastionFacts) -> String {
    let BastionFacts { host, port, user, host_key, host_certificate, login, certificate, .. } = facts;
    let of_host = host_certificate.iter().map(|of| format!("\n            certificate {of}"));
    let of_user = certificate.iter().map(|of| format!("\n  user      certificate {of}"));
    let certificates: String = of_host.chain(of_user).collect();
    format!("  bastion   {user}@{host}:{port} by {login}\n  host key  {host_key}{certificates}")
}

fn database_text(facts: &DatabaseFacts) -> String {
    let DatabaseFacts { host, port, name, version, tls, pooler, .. } = facts;
    let role = describe_role(facts);
    let pooler = pooler.as_ref().map(|mode| format!("\n  pooler    in {mode} mode")).unwrap_or_default();
    format!("  database  {name} at {host}:{port} as {role}\n  server    PostgreSQL {version}, TLS {tls}{pooler}")
}

/// Describes the role of the log-in, and the one that the session has taken since.
pub(super) fn describe_role(facts: &DatabaseFacts) -> String {
    let acting = facts.acting_role.as_ref().map(|acting| format!(", role {acting}")).unwrap_or_default();
    format!("{}{acting}", facts.role)
}

fn image_text(facts: &ImageFacts) -> String {
    let digest = facts.digest.as_ref().map(|digest| format!("\n  digest    {digest}")).unwrap_or_default();
    format!("  image     {} ({}){digest}", facts.reference, facts.id)
}

/// Maximum number of lines about the schema in the log; the summary has more.
const MAX_SCHEMA_LINES: usize = 40;

fn schema_lines(changes: &[String]) -> Vec<LogLine> {
    let lines: Vec<&str> = changes.iter().flat_map(|change| change.lines()).collect();
    let more = lines.len().saturating_sub(MAX_SCHEMA_LINES);
    let shown = lines.iter().take(MAX_SCHEMA_LINES).map(|line| format!("  {line}"));
    let more = (more > 0).then(|| format!("  … and {} more in the summary", count_of(more, "line")));
    let title = (!changes.is_empty()).then(|| "changes of the schema:".to_owned());
    title.into_iter().chain(shown).chain(more).map(|line| LogLine::Text(Tone::Quiet, line)).collect()
}

/// Describes the memory and CPU time that a command used.
pub(super) fn describe_usage(command: &str, usage: ResourceUsage) -> String {
    let memory = usage.memory_bytes.div_ceil(1 << 20);
    // The samples are a second apart.
    let time = match usage.cpu_ms / 1_000 {
        0 => "under 1 s".to_owned(),
        seconds => format!("{seconds} s"),
    };
    format!("{memory} MiB of memory and {time} of CPU time by {command}, sampled once a second")
}

fn plan_lines(facts: &PlanFacts) -> Vec<String> {
    let count = count_of(facts.pending.len(), "migration");
    let (word, unknown) = match facts.change {
        PlanAction::Apply => ("pending", "pending migrations"),
        PlanAction::Record => ("to record", "migrations to record"),
        PlanAction::RollBack => ("to roll back", "migrations to roll back"),
        PlanAction::Unrecord => ("to record as not applied", "migrations to record as not applied"),
    };
    let pending = match facts.coverage {
        Coverage::Complete => format!("{count} {word},"),
        Coverage::Unknown => format!("{unknown} are unknown, because the tool has not listed them;"),
    };
    let recorded = match facts.ledger.as_str() {
        PlanFacts::NO_LEDGER => PlanFacts::NO_LEDGER.to_owned(),
        ledger => format!("{} recorded in {ledger}", facts.recorded),
    };
    let head = format!("  {pending} {recorded}");
    let listed = |id: &MigrationId| {
        if id.file.is_empty() { indent_further_lines(&id.entitled()) } else { id.display_path().into_owned() }
    };
    let files = facts.pending.iter().map(|id| format!("  {word} {}", listed(id)));
    let digest = (!facts.digest.is_empty()).then(|| format!("  digest  {}", facts.digest));
    let reason = facts.reason.as_ref().map(|reason| format!("  reason  {}", indent_further_lines(reason)));
    std::iter::once(head).chain(files).chain(digest).chain(reason).collect()
}

fn fault_lines(fault: &Fault, word: &str, tone: Tone) -> Vec<LogLine> {
    let mut lines = vec![LogLine::Text(
        tone,
        format!("{word}[{}] {}: {}", fault.code, fault.stage, indent_further_lines(&fault.cause)),
    )];
    lines.extend(fault_detail_lines(fault).into_iter().map(|line| LogLine::Text(Tone::Neutral, line)));
    lines.extend(fix_lines(fault, tone));
    lines
}

/// Returns the fix and a link to the documentation.
pub(super) fn fix_lines(fault: &Fault, tone: Tone) -> Vec<LogLine> {
    let see = format!("  see {ERROR_DOCS_URL}{}", fault.code);
    vec![LogLine::Text(tone, format!("  fix: {}", indent_further_lines(&fault.fix))), LogLine::Text(Tone::Quiet, see)]
}

/// Returns the lines between cause and fix: the position, the SQLSTATE, the details.
pub(super) fn fault_detail_lines(fault: &Fault) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some(found) = &fault.place {
        lines.push(format!("  --> {}", format_place(found)));
        let excerpt = found.excerpt.as_ref().map(Excerpt::render).unwrap_or_default();
        lines.extend(excerpt.lines().map(|line| format!("   | {line}")));
    }
    lines.extend(fault.sqlstate.iter().map(|sqlstate| format!("  SQLSTATE {sqlstate}")));
    lines.extend(fault.detail.iter().map(|line| format!("  {}", indent_further_lines(line))));
    lines
}

/// Formats a position as `file:line:column`, as far as it is known.
pub(super) fn format_place(place: &FilePosition) -> String {
    let line = place.line.map(|line| format!(":{line}")).unwrap_or_default();
    let column = place.line.and(place.column).map(|column| format!(":{column}")).unwrap_or_default();
    format!("{}{line}{column}", place.file)
}

fn whole_millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_times_in_a_readable_unit() {
        assert_eq!(
            [0, 12, 999, 1_234, 59_999, 61_500].map(format_millis),
            ["0 ms", "12 ms", "999 ms", "1.2 s", "59.9 s", "1 min 01 s"]
        );
    }

    #[test]
    fn the_time_of_a_step_is_not_more_precise_than_its_measurement() {
        assert_eq!(
            [0, 99, 523, 1_234, 61_500].map(format_tenths),
            ["under 0.1 s", "under 0.1 s", "0.5 s", "1.2 s", "1 min 01 s"]
        );
    }

    #[test]
    fn groups_the_digits_of_large_numbers() {
        assert_eq!([7, 999, 1_000, 29_999_000].map(group_digits), ["7", "999", "1,000", "29,999,000"]);
    }

    #[test]
    fn formats_a_position_as_far_as_it_is_known() {
        let mut found = FilePosition { file: "a.sql".to_owned(), line: None, column: Some(2), excerpt: None };
        assert_eq!(format_place(&found), "a.sql");
        found.line = Some(3);
        assert_eq!(format_place(&found), "a.sql:3:2");
    }
}
