//! The tables of migrations in the summary: applied and pending. Migrations of tenants are in the table of
//! tenants.

use super::{
    entries::{MigrationReport, MigrationState},
    log_lines::{count_of, format_millis},
    markdown::{escape_markdown, sentence_with_names},
    review_section::risk_sign,
    run_outcome::RunOutcome,
    run_report::RunReport,
    source_links::linked_migration,
    summary_page::{APPLIED, FoldedPart, MAX_OPEN_ROWS, PENDING, SummaryPage},
    verdict::statement_effect,
    visible_text::clip_text,
};

/// Maximum length of an untrusted text in a table, in characters.
const MAX_CELL_LENGTH: usize = 4_000;

/// Maximum length of the effect of a statement in a table, in characters.
const MAX_EFFECT_LENGTH: usize = 300;

/// Resolution whether a long table is folded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum TableFolding {
    Never,
    /// If it has more than [`MAX_OPEN_ROWS`] rows.
    WhenLong,
}

/// A table of migrations.
struct MigrationTable<'a> {
    part: &'static str,
    title: &'static str,
    /// The head of the last column, and its alignment. The column is left out if it is empty.
    last_column: (&'static str, &'static str),
    /// The migrations, each with its text in the last column.
    rows: Vec<(&'a MigrationReport, String)>,
    folding: TableFolding,
}

/// Adds the migrations that the run applied.
pub(super) fn add_applied(report: &RunReport, page: &mut SummaryPage) {
    let rows = report.in_state(MigrationState::Applied).filter(|entry| entry.id.schema.is_empty());
    let rows = rows.map(|entry| (entry, entry.took_ms.map(format_millis).unwrap_or_default())).collect();
    let last_column = (" Time", "---:");
    let table = MigrationTable { part: APPLIED, title: "Applied", last_column, rows, folding: TableFolding::WhenLong };
    table.add_to(report, page);
}

/// Adds the migrations that are not applied. If they are the result of the run, they are never folded.
pub(super) fn add_pending(report: &RunReport, page: &mut SummaryPage) {
    let is_open = |entry: &&MigrationReport| entry.fate != MigrationState::Applied && entry.id.schema.is_empty();
    let rows = report.migrations.iter().filter(is_open).map(|entry| (entry, describe_pending(report, entry)));
    let folding = match report.outcome() {
        RunOutcome::Pending => TableFolding::Never,
        _ => TableFolding::WhenLong,
    };
    let rows: Vec<(&MigrationReport, String)> = rows.collect();
    let is_in = |state| move |(entry, _): &(&MigrationReport, String)| entry.fate == state;
    let title = match &rows {
        rows if rows.iter().all(is_in(MigrationState::RolledBack)) => "Rolled back",
        rows if rows.iter().all(is_in(MigrationState::Unrecorded)) => "Recorded as not applied",
        rows if rows.iter().any(is_in(MigrationState::InDoubt)) => "Pending or in doubt",
        _ => "Pending",
    };
    let table = MigrationTable { part: PENDING, title, last_column: ("", "---"), rows, folding };
    table.add_to(report, page);
}

/// Describes the state of a pending migration; of one that was not started, its worst statement.
fn describe_pending(report: &RunReport, entry: &MigrationReport) -> String {
    let worst = report.review.as_ref().and_then(|plan| plan.worst_of(entry.id.index));
    match (entry.fate, worst) {
        (MigrationState::Pending, Some(worst)) => {
            let effect = sentence_with_names(&clip_text(&statement_effect(worst), MAX_EFFECT_LENGTH));
            format!("{} {effect}", risk_sign(worst.risk))
        }
        (state, _) => describe_state(state).to_owned(),
    }
}

/// Describes the state of a migration in a table of pending ones.
pub(super) fn describe_state(state: MigrationState) -> &'static str {
    match state {
        MigrationState::Pending | MigrationState::Applied => "",
        MigrationState::RolledBack => "rolled back",
        MigrationState::Unrecorded => "recorded as not applied",
        MigrationState::Running => "interrupted",
        MigrationState::Cancelled => "cancelled",
        MigrationState::Failed => "failed",
        MigrationState::InDoubt => "in doubt",
    }
}

impl MigrationTable<'_> {
    fn add_to(self, report: &RunReport, page: &mut SummaryPage) {
        if self.rows.is_empty() {
            return;
        }
        let count = self.rows.len();
        let head = self.head();
        let rows = self.rows.iter().map(|(row, text)| {
            let last = if self.has_last_column() { format!(" {text} |") } else { String::new() };
            format!("| {} |{last}\n", migration_cell(report, row))
        });
        match self.folding {
            TableFolding::WhenLong if count > MAX_OPEN_ROWS => {
                page.add_piece(self.part, &format!("### {}\n\n", self.title));
                let summary = count_of(count, "migration");
                page.add_folded(&FoldedPart { part: self.part, summary: &summary, head: &head }, rows);
            }
            TableFolding::WhenLong | TableFolding::Never => {
                page.add_piece(self.part, &format!("### {}\n\n{head}", self.title));
                rows.for_each(|row| page.add_piece(self.part, &row));
                page.add_piece(self.part, "\n");
            }
        }
    }

    /// Returns the head of the table.
    fn head(&self) -> String {
        let (last, align) = self.last_column;
        match self.has_last_column() {
            true => format!("| Migration |{last} |\n|---|{align}|\n"),
            false => "| Migration |\n|---|\n".to_owned(),
        }
    }

    fn has_last_column(&self) -> bool {
        self.rows.iter().any(|(_, text)| !text.is_empty())
    }
}

/// Returns the first cell: the file, whose path contains version and name, or the name in the tool's notation.
fn migration_cell(report: &RunReport, row: &MigrationReport) -> String {
    match row.id.file.as_str() {
        "" => escape_markdown(&clip_text(&row.id.entitled(), MAX_CELL_LENGTH)),
        _ => linked_migration(report, &row.id, MAX_CELL_LENGTH),
    }
}
