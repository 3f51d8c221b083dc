//! The review of the plan as lines of the log.

use super::{
    verdict::{is_notable, statement_details, statement_effect, verdict},
    wording::{count_of, indent_further_lines},
};
use crate::run::{FindingLevel, LintFinding, ReviewedPlan, StatementReview};

/// The largest number of statements in the log.
const MAX_STATEMENTS: usize = 50;

/// Returns the lines of the review, without the findings that are warnings or errors.
pub(super) fn review_lines(plan: &ReviewedPlan) -> Vec<String> {
    if plan.scripts.is_empty() {
        return Vec::new();
    }
    let notable: Vec<&StatementReview> = plan.review.statements.iter().filter(|found| is_notable(found)).collect();
    let mut lines = vec![format!("  review    {}", verdict(plan))];
    lines.extend(notable.iter().take(MAX_STATEMENTS).flat_map(|statement| statement_lines(statement)));
    let more = notable.len().saturating_sub(MAX_STATEMENTS);
    lines.extend((more > 0).then(|| format!("    and {} more", count_of(more, "statement"))));
    let hidden = plan
        .scripts
        .iter()
        .flat_map(|script| script.hidden.iter().map(move |part| format!("    {}: {part}", script.migration.label())));
    lines.extend(hidden);
    lines.extend(plan.review.notes.iter().map(|note| format!("    {note}")));
    lines.extend(plan.findings.iter().filter_map(allowed_line));
    lines.extend(
        plan.unused_allowances
            .iter()
            .map(|line| format!("    `allow` has `{line}`, which accepts nothing in this plan")),
    );
    lines.iter().map(|line| indent_further_lines(line)).collect()
}

fn statement_lines(statement: &StatementReview) -> Vec<String> {
    let risk = statement.risk.name();
    let mut lines = vec![format!("    {risk}: {}: {}", statement.migration.label(), statement_effect(statement))];
    lines.extend(statement_details(statement).iter().map(|line| format!("      {line}")));
    lines
}

fn allowed_line(finding: &LintFinding) -> Option<String> {
    match &finding.level {
        FindingLevel::Allowed(reason) => {
            Some(format!("    {}: {} is allowed: {reason}", finding.migration, finding.rule))
        }
        FindingLevel::Warning | FindingLevel::Error => None,
    }
}
