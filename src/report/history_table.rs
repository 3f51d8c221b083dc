//! The runs of the past in the summary, as `command: history` lists them.

use super::{
    history::{command, counted, outcome, people, short_commit},
    markdown::{code_html, escape_markdown},
    run_report::RunReport,
    source_links::linked_run,
    summary_page::{FoldedPart, HISTORY, MAX_OPEN_ROWS, SummaryPage},
};
use crate::run::PastRun;

/// Adds the table.
pub(super) fn add_history(report: &RunReport, page: &mut SummaryPage) {
    let Some(runs) = report.history.as_ref().filter(|runs| !runs.is_empty()) else { return };
    const HEAD: &str = "| Began | Command | Outcome | Done | By | Commit | Run |\n|---|---|---|---|---|---|---|\n";
    let row = |run: &PastRun| {
        let page = run.run.as_deref().map(|page| linked_run(report, page)).unwrap_or_default();
        let code = |text: String| if text.is_empty() { text } else { code_html(&text) };
        format!(
            "| {} | {} | {} | {} | {} | {} | {page} |\n",
            code_html(&run.started_at),
            escape_markdown(&command(run)),
            escape_markdown(&outcome(run)),
            counted(run),
            escape_markdown(&people(run)),
            code(short_commit(run)),
        )
    };
    if runs.len() > MAX_OPEN_ROWS {
        page.add_piece(HISTORY, "### Runs\n\n");
        let summary = format!("{} runs", runs.len());
        page.add_folded(&FoldedPart { part: HISTORY, summary: &summary, head: HEAD }, runs.iter().map(row));
    } else {
        page.add_piece(HISTORY, &format!("### Runs\n\n{HEAD}"));
        runs.iter().for_each(|run| page.add_piece(HISTORY, &row(run)));
        page.add_piece(HISTORY, "\n");
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::{history::tests::runs, sample},
        *,
    };

    #[test]
    fn runs_are_a_table_that_nothing_in_them_can_break() {
        let report = RunReport { history: Some(runs()), ..sample::report_of(&Vec::new()) };
        let summary = super::super::render_summary(&report, 100_000);
        assert!(
            summary.contains("failed: lock-timeout: \\| &lt;b&gt;") || summary.contains("failed: lock-timeout: \\|"),
            "{summary}"
        );
        assert!(summary.contains("| [17](https://github.com/owner/name/actions/runs/17/attempts/1) |"), "{summary}");
        assert!(!summary.contains("<b>"), "{summary}");
    }
}
