//! The tables of `command: status` in the summary: what the ledger has, and the half-done migrations. A column is shown if
//! any row has a value for it.

use super::{
    ledger_lines::{describe_progress, listed_name},
    log_lines::count_of,
    markdown::{code_html, escape_markdown},
    run_report::RunReport,
    source_links::{linked_migration, linked_run},
    summary_page::{APPLIED, FoldedPart, HALF_DONE, MAX_OPEN_ROWS, SummaryPage},
    visible_text::clip_text,
};
use crate::run::LedgerEntry;

/// Maximum number of recorded migrations that are listed.
const MAX_RECORDED: usize = 500;

/// Maximum length of a migration's name in a table, in characters.
const MAX_NAME_LENGTH: usize = 4_000;

/// The heads of the columns.
const HEADS: [&str; 5] = ["Migration", "", "When", "Role", "Run"];

/// The cells of a row, as Markdown; an empty one has no value.
type Cells = [String; HEADS.len()];

/// Adds the content of the ledger, and the migrations that were started and not finished.
pub(super) fn add_ledger(report: &RunReport, page: &mut SummaryPage) {
    let applied = report.recorded.iter().take(MAX_RECORDED).map(|entry| cells(report, entry, String::new()));
    add_table(APPLIED, "Applied", &applied.collect::<Vec<_>>(), page);
    if let more @ 1.. = report.recorded.len().saturating_sub(MAX_RECORDED) {
        page.add_piece(APPLIED, &format!("and {more} more\n\n"));
    }
    let half_done = report.half_done.iter().map(|half| cells(report, &half.entry, describe_progress(half)));
    add_table(HALF_DONE, "Half-done", &half_done.collect::<Vec<_>>(), page);
}

fn cells(report: &RunReport, entry: &LedgerEntry, progress: String) -> Cells {
    let migration = match entry.id.file.as_str() {
        "" => escape_markdown(&clip_text(&listed_name(entry), MAX_NAME_LENGTH)),
        _ => linked_migration(report, &entry.id, MAX_NAME_LENGTH),
    };
    let escaped = |text: &Option<String>| text.as_deref().map(escape_markdown).unwrap_or_default();
    let run = entry.run.as_deref().map(|run| linked_run(report, run)).unwrap_or_default();
    let time = entry.recorded_at.as_deref().map(code_html).unwrap_or_default();
    [migration, progress, time, escaped(&entry.role), run]
}

fn add_table(part: &'static str, title: &str, rows: &[Cells], page: &mut SummaryPage) {
    if rows.is_empty() {
        return;
    }
    let is_shown = |column: &usize| rows.iter().filter_map(|row| row.get(*column)).any(|cell| !cell.is_empty());
    let columns: Vec<usize> = (0..HEADS.len()).filter(is_shown).collect();
    let line = |cells: &[&str]| {
        let shown = columns.iter().filter_map(|column| cells.get(*column));
        format!(
            "|{}\n",
            shown.map(|cell| if cell.is_empty() { " |".to_owned() } else { format!(" {cell} |") }).collect::<String>()
        )
    };
    let head = format!("{}|{}\n", line(&HEADS), "---|".repeat(columns.len()));
    let rows = rows.iter().map(|row| line(&row.each_ref().map(String::as_str)));
    if rows.len() > MAX_OPEN_ROWS {
        page.add_piece(part, &format!("### {title}\n\n"));
        let summary = count_of(rows.len(), "migration");
        page.add_folded(&FoldedPart { part, summary: &summary, head: &head }, rows);
    } else {
        page.add_piece(part, &format!("### {title}\n\n{head}"));
        rows.for_each(|row| page.add_piece(part, &row));
        page.add_piece(part, "\n");
    }
}
