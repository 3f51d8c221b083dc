//! The review of the plan in the summary: the statements that deserve a look, the findings of the lint, and the SQL.

use super::{
    markdown::{code_html, escape_markdown, fenced_code, sentence_with_names},
    run_report::RunReport,
    source_links::linked_place,
    summary_page::{FoldedPart, LINT, MAX_OPEN_ROWS, REVIEW, SQL, SummaryPage},
    verdict::{is_notable, statement_details, statement_effect},
    visible_text::clip_text,
    wording::count_of,
};
use crate::run::{FindingLevel, LintFinding, ReviewedPlan, Risk, ShownScript, StatementReview};

/// The largest number of statements with their reasons.
const MAX_STATEMENTS: usize = 20;

/// Maximum length of a text in the review, in characters.
const MAX_TEXT_LENGTH: usize = 500;

/// Maximum length of the SQL of one migration, in characters; the output `report` has all.
const MAX_SQL_LENGTH: usize = 20_000;

/// Adds the review, if there is one.
pub(super) fn add_review(report: &RunReport, page: &mut SummaryPage) {
    let Some(plan) = &report.review else { return };
    add_statements(report, plan, page);
    add_findings(report, plan, page);
    let notes = plan.review.notes.iter().map(|note| format!("- {}\n", shown_sentence(note)));
    let unused = plan.unused_allowances.iter().map(|line| {
        format!("- <code>allow</code> has {}, which accepts nothing in this plan\n", code_html(&shown(line)))
    });
    let notes: Vec<String> = notes.chain(unused).collect();
    if !notes.is_empty() {
        page.add_piece(REVIEW, &format!("{}\n", notes.concat()));
    }
}

/// Adds the SQL of all migrations, which readers unfold.
pub(super) fn add_sql(report: &RunReport, page: &mut SummaryPage) {
    let Some(plan) = &report.review else { return };
    let scripts: Vec<String> = plan.scripts.iter().map(script_text).collect();
    if !scripts.is_empty() {
        let summary = format!("SQL of {}", count_of(scripts.len(), "migration"));
        page.add_folded(&FoldedPart { part: SQL, summary: &summary, head: "" }, scripts);
    }
}

/// Returns the sign of a risk.
pub(super) fn risk_sign(risk: Risk) -> &'static str {
    match risk {
        Risk::Low => "🟢",
        Risk::Medium => "🟡",
        Risk::High => "🔴",
    }
}

fn add_statements(report: &RunReport, plan: &ReviewedPlan, page: &mut SummaryPage) {
    let notable: Vec<&StatementReview> = plan.review.statements.iter().filter(|found| is_notable(found)).collect();
    if notable.is_empty() {
        return;
    }
    page.add_piece(REVIEW, "### Review\n\n");
    for statement in notable.iter().take(MAX_STATEMENTS) {
        page.add_piece(REVIEW, &statement_item(report, statement));
    }
    let more = notable.len().saturating_sub(MAX_STATEMENTS);
    if more > 0 {
        page.add_piece(
            REVIEW,
            &format!("- and {}; the output <code>report</code> has all\n", count_of(more, "statement")),
        );
    }
    page.add_piece(REVIEW, "\n");
}

fn statement_item(report: &RunReport, statement: &StatementReview) -> String {
    let place = match &statement.place {
        Some(place) => linked_place(report, place),
        None => escape_markdown(&shown(&statement.migration.label())),
    };
    let effect = shown_sentence(&statement_effect(statement));
    let mut lines = vec![format!("- {} **{}** {place}: {effect}", risk_sign(statement.risk), statement.risk.name())];
    lines.extend(statement_details(statement).iter().map(|line| format!("  - {}", shown_sentence(line))));
    format!("{}\n", lines.join("\n"))
}

fn add_findings(report: &RunReport, plan: &ReviewedPlan, page: &mut SummaryPage) {
    if plan.findings.is_empty() {
        return;
    }
    let rows = plan.findings.iter().map(|finding| finding_row(report, finding));
    let head = "| | Rule | |\n|---|---|---|\n";
    let title = "### Lint\n\n";
    if plan.findings.len() > MAX_OPEN_ROWS {
        page.add_piece(LINT, title);
        let summary = count_of(plan.findings.len(), "finding");
        page.add_folded(&FoldedPart { part: LINT, summary: &summary, head }, rows);
        return;
    }
    page.add_piece(LINT, &format!("{title}{head}"));
    rows.for_each(|row| page.add_piece(LINT, &row));
    page.add_piece(LINT, "\n");
}

fn finding_row(report: &RunReport, finding: &LintFinding) -> String {
    let place = match &finding.place {
        Some(place) => linked_place(report, place),
        None => format!("{}, line {}", escape_markdown(&shown(&finding.migration)), finding.line),
    };
    let rule = code_html(&finding.rule);
    let text = match &finding.level {
        FindingLevel::Allowed(reason) => format!("{} · allowed: {reason}", finding.message),
        FindingLevel::Warning | FindingLevel::Error => finding.message.clone(),
    };
    format!("| {place} | {rule} | {} |\n", escape_markdown(&shown(&text)))
}

fn script_text(script: &ShownScript) -> String {
    let ShownScript { migration, sql, hidden } = script;
    let heading = format!("**{}**\n\n", escape_markdown(&shown(&migration.display_path())));
    let hidden: String = hidden.iter().map(|part| format!("_{}_\n\n", escape_markdown(&shown(part)))).collect();
    let text = sql.trim_matches('\n').trim_end();
    if text.trim().is_empty() {
        return format!("{heading}{hidden}");
    }
    let clipped = clip_text(text, MAX_SQL_LENGTH);
    let cut = match clipped == text {
        true => "",
        false => "_The SQL goes on; the output `report` has more of it._\n\n",
    };
    format!("{heading}{}\n{cut}{hidden}", fenced_code(&clipped, "sql"))
}

fn shown(text: &str) -> String {
    clip_text(text, MAX_TEXT_LENGTH)
}

fn shown_sentence(text: &str) -> String {
    sentence_with_names(&shown(text))
}
