//! The plan as it is shown to the person who approves it: its SQL, its review, and the findings of the lint.

use super::{
    lint_finding::LintFinding,
    migration_id::MigrationId,
    plan_review::{PlanReview, StatementReview},
};

/// A reviewed plan.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct ReviewedPlan {
    /// The risk, the statements and the notes.
    #[serde(flatten)]
    pub review: PlanReview,
    /// The SQL of each migration, in order.
    pub scripts: Vec<ShownScript>,
    /// The findings of the lint.
    pub findings: Vec<LintFinding>,
    /// Lines of `allow` that accept nothing in this plan.
    pub unused_allowances: Vec<String>,
}

/// The SQL of a migration as it is shown.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct ShownScript {
    /// The migration.
    pub migration: MigrationId,
    /// The SQL; empty if there is none.
    pub sql: String,
    /// The parts that are not shown, as phrases: `runs Python code: not shown`.
    pub hidden: Vec<String>,
}

impl ReviewedPlan {
    /// Returns the worst statement of a migration.
    #[must_use]
    pub fn worst_of(&self, index: usize) -> Option<&StatementReview> {
        // The worst ones come first.
        self.review.statements.iter().find(|statement| statement.migration.index == index)
    }

    /// Returns all that is destroyed, each as `drop users.legacy_email`.
    pub fn destroyed(&self) -> impl Iterator<Item = &str> {
        self.review.statements.iter().flat_map(|statement| &statement.destroys).map(|object| object.what.as_str())
    }
}
