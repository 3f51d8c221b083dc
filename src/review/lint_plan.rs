//! The lint of a plan: the findings in its scripts, by what the tables are like and what is accepted.

use super::{
    effect::StatementEffect,
    lint::{TableState, Violation, lint_script},
    script::MigrationScript,
    table_facts::TableFacts,
    weighed_destruction::{AllowedLoss, unused_losses},
};
use crate::{
    fault::Fault,
    run::{FindingLevel, LintFinding, MigrationId, PlanReview},
    settings::{Allowance, AllowedSubject, LintLevel, LintSettings},
    sql::QualifiedName,
};
use std::collections::BTreeSet;

/// A finding, with the byte in the script of its migration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlacedFinding {
    /// The migration, by its index in the plan.
    pub index: usize,
    /// The byte in its SQL.
    pub byte: usize,
    /// The finding.
    pub finding: LintFinding,
}

/// Most findings that end a run as faults of their own; the last one counts the others.
const MAX_FAULTS: usize = 20;

/// Returns the findings in all scripts, in order.
#[must_use]
pub fn lint_plan(
    scripts: &[(MigrationScript, Vec<StatementEffect>)],
    facts: &TableFacts,
    (settings, allowances): (&LintSettings, &[Allowance]),
    server_version: u32,
) -> Vec<PlacedFinding> {
    let (mut created, mut found): (BTreeSet<&QualifiedName>, Vec<PlacedFinding>) = (BTreeSet::new(), Vec::new());
    for (script, effects) in scripts {
        created.extend(effects.iter().flat_map(|effect| &effect.creates));
        let state_of = |name: &QualifiedName| match facts.find(name) {
            None if created.contains(name) => TableState::New,
            Some(relation) if facts.rows(relation).is_some_and(|rows| rows < settings.small_table) => TableState::Small,
            _ => TableState::Large,
        };
        let violations = lint_script(script, effects, settings, server_version, &state_of);
        found.extend(violations.into_iter().map(|violation| placed(script, violation, settings, allowances)));
    }
    found
}

fn placed(
    script: &MigrationScript,
    violation: Violation,
    settings: &LintSettings,
    allowances: &[Allowance],
) -> PlacedFinding {
    let Violation { rule, message, help, span } = violation;
    let accepted = allowances.iter().find(|allowance| match &allowance.subject {
        AllowedSubject::Finding { rule: accepted, migration } => *accepted == rule && is_named(&script.id, migration),
        AllowedSubject::Destruction { .. } => false,
    });
    let level = match (accepted, settings.level) {
        (Some(allowance), _) => FindingLevel::Allowed(allowance.reason.clone()),
        (None, LintLevel::Error) => FindingLevel::Error,
        (None, LintLevel::Warn | LintLevel::Off) => FindingLevel::Warning,
    };
    let line = script.sql.get(..span.start).unwrap_or_default().matches('\n').count() + 1;
    let migration = script.id.name_without_schema().into_owned();
    let finding = LintFinding { level, migration, rule: rule.to_string(), message, help, line, place: None };
    PlacedFinding { index: script.id.index, byte: span.start, finding }
}

/// Reports whether this is a name of the migration: as in reports, its version, or its file.
fn is_named(id: &MigrationId, name: &str) -> bool {
    let file = id.file.rsplit('/').next().unwrap_or_default();
    [&*id.label(), &*id.name_without_schema(), id.version.as_str(), id.name.as_str(), id.file.as_str(), file]
        .iter()
        .any(|known| !known.is_empty() && *known == name)
}

/// Returns a fault for each finding that ends the run.
#[must_use]
pub fn finding_refusals(findings: &[LintFinding]) -> Vec<Fault> {
    let errors: Vec<&LintFinding> = findings.iter().filter(|finding| finding.level == FindingLevel::Error).collect();
    let mut faults: Vec<Fault> = errors.iter().take(MAX_FAULTS).map(|finding| finding.to_fault()).collect();
    let more = errors.len().saturating_sub(MAX_FAULTS);
    if let Some(last) = faults.pop() {
        faults.push(if more > 0 { last.detail(format!("and {more} more findings; the report has all")) } else { last });
    }
    faults
}

/// Returns the lines of `allow` that accept nothing in this plan.
#[must_use]
pub fn unused_allowances(allowances: &[Allowance], review: &PlanReview, findings: &[LintFinding]) -> Vec<String> {
    let unused_losses: Vec<AllowedLoss> =
        unused_losses(review, &allowed_losses(allowances)).into_iter().cloned().collect();
    let is_used = |allowance: &Allowance| match &allowance.subject {
        AllowedSubject::Finding { rule, .. } => findings.iter().any(|finding| {
            finding.rule == rule.to_string() && finding.level == FindingLevel::Allowed(allowance.reason.clone())
        }),
        AllowedSubject::Destruction { .. } => {
            unused_losses.iter().all(|loss| loss.what != allowance.line() || loss.reason != allowance.reason)
        }
    };
    allowances.iter().filter(|allowance| !is_used(allowance)).map(Allowance::line).collect()
}

/// Returns the losses among what is accepted.
#[must_use]
pub fn allowed_losses(allowances: &[Allowance]) -> Vec<AllowedLoss> {
    let losses = allowances.iter().filter(|allowance| matches!(allowance.subject, AllowedSubject::Destruction { .. }));
    losses.map(|allowance| AllowedLoss { what: allowance.line(), reason: allowance.reason.clone() }).collect()
}
