//! The rehearsal as lines of the log.

use super::{
    verdict::{statement_details, statement_effect},
    wording::{count_of, format_millis, indent_further_lines},
};
use crate::run::{ForecastVerdict, RehearsalFacts, RehearsedStatement, Risk, format_bytes};

/// Number of the worst statements that are shown.
pub(super) const WORST: usize = 5;

/// Number of statements of one form from which on they are shown, whatever their risk is.
const MANY: u64 = 100;

/// Number of changes of the schema that are shown.
pub(super) const SHOWN_CHANGES: usize = 20;

/// Returns the lines of a rehearsal.
pub(super) fn rehearsal_lines(facts: &RehearsalFacts) -> Vec<String> {
    let mut lines = vec![format!("  rehearsal {}", rehearsal_result(facts))];
    lines.extend(facts.rounds.iter().map(|round| format!("    {round}")));
    lines.extend(schema_changes(facts).iter().map(|line| format!("    {line}")));
    lines.extend(temporary_files(facts).map(|text| format!("    {text}")));
    lines.extend(shown_statements(facts).flat_map(statement_lines));
    lines.extend(facts.unobserved.iter().map(|what| format!("    not observed: {what}")));
    lines.extend(facts.lacks.iter().map(|what| format!("    the copy: {what}")));
    lines.extend((!facts.digest.is_empty()).then(|| format!("  rehearsal digest  {}", facts.digest)));
    lines.iter().map(|line| indent_further_lines(line)).collect()
}

/// Returns the result in one line.
pub(super) fn rehearsal_result(facts: &RehearsalFacts) -> String {
    let verdicts = [
        ForecastVerdict::Contradicted,
        ForecastVerdict::Unforeseen,
        ForecastVerdict::Milder,
        ForecastVerdict::Confirmed,
    ];
    let counted = verdicts.map(|verdict| (facts.count_of(verdict), verdict.name()));
    let counted: Vec<String> =
        counted.into_iter().filter(|(count, _)| *count > 0).map(|(count, name)| format!("{count} {name}")).collect();
    let forecast = if counted.is_empty() { String::new() } else { format!(": {}", counted.join(", ")) };
    format!("of {} on a copy at {}{forecast}", count_of(facts.statements.len(), "statement"), facts.copy)
}

/// Returns the worst statements, and all that are not as forecast.
pub(super) fn shown_statements(facts: &RehearsalFacts) -> impl Iterator<Item = &RehearsedStatement> {
    let is_notable = |statement: &RehearsedStatement| statement.seen.risk > Risk::Low || is_always_shown(statement);
    let notable = facts.statements.iter().enumerate().filter(move |(_, statement)| is_notable(statement));
    let shown = notable.filter(|(at, statement)| *at < WORST || is_always_shown(statement));
    shown.map(|(_, statement)| statement)
}

fn is_always_shown(statement: &RehearsedStatement) -> bool {
    statement.verdict == ForecastVerdict::Contradicted || statement.times >= MANY
}

/// Returns the effect of a statement, or of all of one form.
pub(super) fn rehearsed_effect(statement: &RehearsedStatement) -> String {
    let effect = statement_effect(&statement.seen);
    match statement.times {
        0 | 1 => effect,
        times => {
            format!("{} of one form: {effect}", count_of(usize::try_from(times).unwrap_or(usize::MAX), "statement"))
        }
    }
}

/// Returns the changes of the schema, the first of many.
pub(super) fn schema_changes(facts: &RehearsalFacts) -> Vec<String> {
    let shown = facts.changes.iter().take(SHOWN_CHANGES).cloned();
    let more = facts.changes.len().saturating_sub(SHOWN_CHANGES);
    shown.chain((more > 0).then(|| format!("{more} more lines are in the report"))).collect()
}

/// Returns the sentence about temporary files, if there were any.
pub(super) fn temporary_files(facts: &RehearsalFacts) -> Option<String> {
    let bytes = facts.temp_bytes.filter(|bytes| *bytes > 0)?;
    Some(format!("they wrote {} of temporary files", format_bytes(bytes)))
}

fn statement_lines(statement: &RehearsedStatement) -> Vec<String> {
    let RehearsedStatement { seen, verdict, .. } = statement;
    let (risk, label) = (seen.risk.name(), seen.migration.label());
    let mut lines = vec![format!("    {risk}: {label}: {}, {}", rehearsed_effect(statement), verdict.name())];
    lines.extend(differences(statement).iter().map(|line| format!("      {line}")));
    lines.extend(statement_details(seen).iter().map(|line| format!("      {line}")));
    lines.push(format!("      {}", measured(statement)));
    lines
}

/// Returns the differences from the forecast, and the messages of the server.
pub(super) fn differences(statement: &RehearsedStatement) -> Vec<String> {
    statement.differences.iter().chain(&statement.notices).cloned().collect()
}

/// Returns what was measured on the copy.
pub(super) fn measured(statement: &RehearsedStatement) -> String {
    let rows = statement.rows.map(|rows| format!(", {rows} rows")).unwrap_or_default();
    let wal = statement.wal_bytes.map(|bytes| format!(", {} of WAL", format_bytes(bytes))).unwrap_or_default();
    let transaction = statement.transaction.map(|number| format!(", in transaction {number}")).unwrap_or_default();
    format!("on the copy: {}{rows}{wal}{transaction}", format_millis(statement.took_ms))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::run::{HeldUp, MigrationChanges, MigrationId, StatementReview};

    /// A rehearsal with a statement that does more than was forecast.
    pub(in super::super) fn sample() -> RehearsalFacts {
        let statement = |summary: &str, risk, verdict, differences: &[&str]| RehearsedStatement {
            seen: StatementReview {
                migration: MigrationId { name: "add_total".to_owned(), ..MigrationId::default() },
                summary: summary.to_owned(),
                locks: vec!["ACCESS EXCLUSIVE on public.orders (5.0 M rows)".to_owned()],
                blocks: HeldUp::ReadsAndWrites,
                risk,
                ..StatementReview::default()
            },
            took_ms: 12,
            rows: Some(0),
            wal_bytes: Some(2_048),
            verdict,
            differences: differences.iter().map(|text| (*text).to_owned()).collect(),
            ..RehearsedStatement::default()
        };
        RehearsalFacts {
            digest: "sha256:1/2-3/2026-11-30T20:00:00Z".to_owned(),
            copy: "copies:5432".to_owned(),
            lacks: vec!["it has none of the 2 casts of the database".to_owned()],
            rounds: vec!["a second run had nothing to do".to_owned()],
            changes: vec!["+ public.orders: total int".to_owned()],
            migrations: vec![MigrationChanges {
                migrations: vec![MigrationId { name: "add_total".to_owned(), ..MigrationId::default() }],
                lines: vec!["+ public.orders: total int".to_owned()],
                omitted: 2,
            }],
            temp_bytes: Some(2_048),
            statements: vec![
                statement("DO", Risk::High, ForecastVerdict::Contradicted, &["it builds an index on public.orders"]),
                statement("COMMENT ON TABLE orders", Risk::Low, ForecastVerdict::Confirmed, &[]),
            ],
            unobserved: vec!["Python code of add_total".to_owned()],
        }
    }

    #[test]
    fn the_worst_statements_and_the_differences_are_shown() {
        assert_eq!(
            rehearsal_lines(&sample()),
            [
                "  rehearsal of 2 statements on a copy at copies:5432: 1 contradicted, 1 confirmed",
                "    a second run had nothing to do",
                "    + public.orders: total int",
                "    they wrote 2.0 kB of temporary files",
                "    high: add_total: `DO` blocks reads and writes (ACCESS EXCLUSIVE on public.orders (5.0 M rows)), contradicted",
                "      it builds an index on public.orders",
                "      on the copy: 12 ms, 0 rows, 2.0 kB of WAL",
                "    not observed: Python code of add_total",
                "    the copy: it has none of the 2 casts of the database",
                "  rehearsal digest  sha256:1/2-3/2026-11-30T20:00:00Z",
            ]
        );
    }

    #[test]
    fn a_rehearsal_without_statements_is_one_line() {
        let facts = RehearsalFacts { copy: "copies:5432".to_owned(), ..RehearsalFacts::default() };
        assert_eq!(rehearsal_lines(&facts), ["  rehearsal of 0 statements on a copy at copies:5432"]);
    }
}
