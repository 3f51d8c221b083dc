//! The findings of `command: doctor` in the summary: a table of what needs attention, and the other checks folded.

use super::{
    fault_section::code_link,
    first_run::awaits_pin,
    log_lines::count_of,
    markdown::{code_html, escape_markdown, sentence_with_names},
    run_report::RunReport,
    source_links::linked_place,
    summary_page::{FINDINGS, FoldedPart, SummaryPage},
    visible_text::clip_text,
};
use crate::{
    fault::Fault,
    run::{DoctorFinding, FindingState},
};

/// Maximum length of an untrusted text in a cell, in characters.
const MAX_TEXT_LENGTH: usize = 1_000;

/// Maximum number of lines about a cause in a cell.
const MAX_DETAIL_LINES: usize = 12;

const HEAD: &str = "| | Check | Result |\n|---|---|---|\n";

/// Adds the findings, if there are any.
pub(super) fn add_findings(report: &RunReport, page: &mut SummaryPage) {
    let (quiet, open): (Vec<&DoctorFinding>, Vec<&DoctorFinding>) = report
        .findings
        .iter()
        .partition(|finding| matches!(finding.state, FindingState::Good { .. } | FindingState::NotChecked { .. }));
    // The worst first; otherwise in the order of the checks.
    let (failed, warned): (Vec<&DoctorFinding>, Vec<&DoctorFinding>) =
        open.into_iter().partition(|finding| finding.fault().is_some());
    let rows: Vec<String> = failed.into_iter().chain(warned).map(|finding| table_row(report, finding)).collect();
    if !rows.is_empty() {
        page.add_piece(FINDINGS, &format!("### To fix\n\n{HEAD}"));
        rows.iter().for_each(|row| page.add_piece(FINDINGS, row));
        page.add_piece(FINDINGS, "\n");
    }
    if !quiet.is_empty() {
        let summary = format!("{} with nothing to fix", count_of(quiet.len(), "check"));
        let part = FoldedPart { part: FINDINGS, summary: &summary, head: HEAD };
        page.add_folded(&part, quiet.into_iter().map(|finding| table_row(report, finding)));
    }
}

fn table_row(report: &RunReport, finding: &DoctorFinding) -> String {
    let sign = finding.state.sign();
    let title = clip_text(&finding.title(), MAX_TEXT_LENGTH);
    let detail = sentence_with_names(&clip_text(finding.detail(), MAX_TEXT_LENGTH));
    let cell = match &finding.state {
        FindingState::Good { .. } => detail,
        FindingState::NotChecked { .. } => format!("not checked: {detail}"),
        FindingState::Warning { fix, .. } => format!("{detail}<br>{}", fix_text(fix)),
        // The instructions for the first run are above.
        FindingState::Failed(fault) if awaits_pin(report) && report.faults.first() == Some(fault) => {
            format!("{}: see above", code_link(fault))
        }
        FindingState::Failed(fault) => {
            format!("{}: {detail}{}<br>{}", code_link(fault), detail_lines(report, fault), fix_text(&fault.fix))
        }
    };
    format!("| {sign} | {} | {cell} |\n", escape_markdown(&title))
}

fn fix_text(fix: &str) -> String {
    format!("**Fix:** {}", sentence_with_names(&clip_text(fix, MAX_TEXT_LENGTH)))
}

/// Returns the lines between a cause and its fix: the position, the SQLSTATE, the details.
fn detail_lines(report: &RunReport, fault: &Fault) -> String {
    let place = fault.place.iter().map(|place| linked_place(report, place));
    let sqlstate = fault.sqlstate.iter().map(|sqlstate| format!("SQLSTATE {}", code_html(sqlstate)));
    let lines = fault.detail.iter().flat_map(|text| text.lines()).take(MAX_DETAIL_LINES);
    let lines = lines.map(|line| code_html(&clip_text(line, MAX_TEXT_LENGTH)));
    place.chain(sqlstate).chain(lines).map(|line| format!("<br>{line}")).collect()
}
