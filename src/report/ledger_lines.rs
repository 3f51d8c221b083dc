//! The content of the ledger in the log: a line for each migration, with its columns one below the other.

use crate::run::{HalfDoneMigration, LedgerEntry, PlanAction};

/// Maximum width of a column that others are aligned behind, in characters.
const MAX_WIDTH: usize = 60;

/// Returns a line for each migration in the ledger, and for each half-done one. A tool's own list is in the log already:
/// its migrations are listed again only with their times.
pub(super) fn ledger_lines(recorded: &[LedgerEntry], half_done: &[HalfDoneMigration]) -> Vec<String> {
    let has_origin = recorded.iter().any(|entry| entry.recorded_at.is_some());
    let listed = recorded.iter().filter(|entry| has_origin || !entry.id.version.is_empty());
    let applied = listed.map(|entry| row("applied", entry, ""));
    let half_done =
        half_done.iter().map(|half| row("half-done", &half.entry, &format!(": {}", describe_progress(half))));
    aligned(&applied.chain(half_done).collect::<Vec<_>>())
}

fn row(word: &str, entry: &LedgerEntry, progress: &str) -> [String; 4] {
    let after =
        |word: &str, text: &Option<String>| text.as_ref().map(|text| format!("{word} {text}")).unwrap_or_default();
    [
        format!("{word} {}{progress}", listed_name(entry)),
        entry.recorded_at.clone().unwrap_or_default(),
        after("by", &entry.role),
        after("in", &entry.run),
    ]
}

/// Returns the file, whose path contains version and name; without a file both of them.
pub(super) fn listed_name(entry: &LedgerEntry) -> String {
    let id = &entry.id;
    match (id.file.as_str(), id.version.as_str()) {
        ("", "") => id.entitled().into_owned(),
        ("", version) if id.name.is_empty() || id.name == version => version.to_owned(),
        ("", version) => format!("{version} {}", id.name),
        (_, _) => id.display_path().into_owned(),
    }
}

/// Describes how far a half-done migration has come.
pub(super) fn describe_progress(half: &HalfDoneMigration) -> String {
    let word = if half.change == PlanAction::RollBack { "undone" } else { "done" };
    match half.statements_done {
        Some(1) => format!("1 statement {word}"),
        Some(done) => format!("{done} statements {word}"),
        None => "started and not finished".to_owned(),
    }
}

/// Pads each column to the same width; a column without any text is left out.
pub(super) fn aligned<const COLUMNS: usize>(rows: &[[String; COLUMNS]]) -> Vec<String> {
    let rows: Vec<[String; COLUMNS]> =
        rows.iter().map(|row| row.each_ref().map(|cell| cell.replace(['\r', '\n'], " "))).collect();
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or_default().min(MAX_WIDTH)
    };
    let widths: Vec<usize> = (0..COLUMNS).map(width).collect();
    let line = |row: &[String; COLUMNS]| {
        let cells = row.iter().zip(&widths).filter(|(_, width)| **width > 0);
        let padded = cells.map(|(cell, width)| format!("  {cell:width$}")).collect::<String>();
        padded.trim_end().to_owned()
    };
    rows.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::MigrationId;

    fn entry(version: &str, name: &str, file: &str) -> LedgerEntry {
        let id = MigrationId {
            version: version.to_owned(),
            name: name.to_owned(),
            file: file.to_owned(),
            ..MigrationId::default()
        };
        LedgerEntry { id, ..LedgerEntry::default() }
    }

    #[test]
    fn columns_are_aligned_and_those_without_a_value_are_left_out() {
        let time = Some("2026-01-31T23:59:59Z".to_owned());
        let first =
            LedgerEntry { recorded_at: time.clone(), role: Some("a\nb".to_owned()), ..entry("1", "a", "db/1_a.sql") };
        let second = LedgerEntry { recorded_at: time, ..entry("10", "longer", "") };
        let half = HalfDoneMigration {
            entry: entry("11", "b", "db/11_b.sql"),
            statements_done: Some(2),
            change: PlanAction::Apply,
        };
        assert_eq!(
            ledger_lines(&[first, second], &[half]),
            [
                "  applied db/1_a.sql                        2026-01-31T23:59:59Z  by a b",
                "  applied 10 longer                         2026-01-31T23:59:59Z",
                "  half-done db/11_b.sql: 2 statements done",
            ]
        );
        assert_eq!(ledger_lines(&[entry("1", "", "db/1_a.sql")], &[]), ["  applied db/1_a.sql"]);
        assert_eq!(ledger_lines(&[entry("", "app.0001_a", "")], &[]), [""; 0]);
    }
}
