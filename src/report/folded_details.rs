//! The details of the summary, which readers unfold: lock waits, messages of the server, changes of the schema.

use super::{
    entries::NoticeReport,
    markdown::{code_html, diff_block, escape_markdown},
    run_report::{MAX_NOTICES, RunReport},
    summary_page::{BLOCKED, FoldedPart, NOTICES, SCHEMA, SummaryPage},
    visible_text::clip_text,
};
use crate::run::group_digits;

/// Maximum number of lines about the schema.
const MAX_SCHEMA_LINES: usize = 1_000;

/// Maximum length of such a line, in characters.
const MAX_LINE_LENGTH: usize = 500;

/// Maximum length of an untrusted text, in characters.
const MAX_TEXT_LENGTH: usize = 4_000;

/// Adds the details that there are.
pub(super) fn add_folded_details(report: &RunReport, page: &mut SummaryPage) {
    let blocked =
        report.blocked.iter().map(|text| format!("- {}\n", escape_markdown(&clip_text(text, MAX_TEXT_LENGTH))));
    add_list(page, BLOCKED, &format!("Lock waits: {}", report.blocked.len()), blocked.collect());
    add_list(page, NOTICES, &describe_notices(report), report.notices.iter().map(notice_item).collect());
    add_schema(report, page);
}

/// Adds the changes of the schema as one diff, up to the room that is left.
fn add_schema(report: &RunReport, page: &mut SummaryPage) {
    if report.schema.is_empty() {
        return;
    }
    let lines = || report.schema.iter().flat_map(|change| change.lines());
    let count = lines().filter(|line| line.starts_with(['+', '-'])).count();
    let shown: Vec<String> = lines().take(MAX_SCHEMA_LINES).map(|line| clip_text(line, MAX_LINE_LENGTH)).collect();
    let more = match lines().count().saturating_sub(MAX_SCHEMA_LINES) {
        0 => String::new(),
        more => format!("\nand {} more lines; the output `report` has more of them\n", group_digits(more as u64)),
    };
    let items = vec![format!("{}{more}", diff_block(&shown.join("\n")))];
    let summary = format!("Changes of the schema: {} lines", group_digits(count as u64));
    add_list(page, SCHEMA, &summary, items);
}

fn add_list(page: &mut SummaryPage, part: &'static str, summary: &str, items: Vec<String>) {
    if !items.is_empty() {
        page.add_folded(&FoldedPart { part, summary, head: "" }, items);
    }
}

fn describe_notices(report: &RunReport) -> String {
    let count = report.notices.len();
    if count < MAX_NOTICES {
        return format!("Server messages: {count}");
    }
    let log = match report.skipped {
        0 => "the log has all".to_owned(),
        skipped => format!("{} more were omitted for lack of time", group_digits(skipped)),
    };
    format!("Server messages. The newest {MAX_NOTICES}; {log}.")
}

fn notice_item(notice: &NoticeReport) -> String {
    let text = escape_markdown(&clip_text(notice.text.trim(), MAX_TEXT_LENGTH));
    let file = notice.file.as_ref().map(|file| format!("{} ", code_html(&clip_text(file, 300)))).unwrap_or_default();
    format!("- {file}{}: {text}\n", escape_markdown(&notice.severity))
}
