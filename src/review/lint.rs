//! The lint of a script: squawk's rules, without the findings that do not apply to these tables.

use super::{
    effect::{LockedRelation, StatementEffect},
    effects::nesting::is_too_deep,
    lint_rules::{self, RuleConcern, Undoing},
    script::{MigrationScript, ScriptTransaction},
};
use crate::{
    settings::{LintLevel, LintSettings},
    sql::{QualifiedName, Span},
};
use squawk_linter::{Linter, Rule, Version};
use squawk_syntax::{Parse, SourceFile};
use std::panic;

/// A violation of a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The rule.
    pub rule: Rule,
    /// The problem, as squawk describes it.
    pub message: String,
    /// squawk's advice.
    pub help: Option<String>,
    /// The text that it is about.
    pub span: Span,
}

/// A table, as far as rules depend on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TableState {
    /// The plan creates it.
    New,
    /// It has few rows.
    Small,
    /// It is larger, or its size is unknown.
    Large,
}

/// Returns the violations in a script that concern these tables.
#[must_use]
pub fn lint_script(
    script: &MigrationScript,
    effects: &[StatementEffect],
    settings: &LintSettings,
    server_version: u32,
    state_of: &dyn Fn(&QualifiedName) -> TableState,
) -> Vec<Violation> {
    if settings.level == LintLevel::Off || script.sql.trim().is_empty() {
        return Vec::new();
    }
    // squawk's parser has no limit of its own. Such a statement counts as not understood.
    if effects.iter().any(|effect| is_too_deep(effect.span.slice_of(&script.sql))) {
        return Vec::new();
    }
    let found = panic::catch_unwind(|| {
        let parsed = SourceFile::parse(&script.sql);
        violations(&mut linter_of(script, settings, server_version), &parsed, &script.sql)
    });
    let found = found.unwrap_or_default();
    found.into_iter().filter(|violation| applies(violation, effects, state_of)).collect()
}

fn linter_of(script: &MigrationScript, settings: &LintSettings, server_version: u32) -> Linter {
    let (undoing, assume_in_transaction) = match script.transaction {
        ScriptTransaction::Whole => (Undoing::Complete, true),
        ScriptTransaction::AsWritten => (Undoing::None, false),
    };
    let mut linter = lint_rules::linter(settings, undoing);
    linter.settings.assume_in_transaction = assume_in_transaction;
    // `180001` is 18.1 (PostgreSQL manual, server_version_num).
    let version = format!("{}.{}", server_version / 10_000, server_version % 10_000);
    linter.settings.pg_version = version.parse::<Version>().unwrap_or_default();
    linter
}

fn violations(linter: &mut Linter, parsed: &Parse<SourceFile>, sql: &str) -> Vec<Violation> {
    let found = linter.lint(parsed, sql).into_iter().map(|violation| Violation {
        rule: violation.code,
        message: violation.message,
        help: violation.help,
        span: Span { start: violation.text_range.start().into(), end: violation.text_range.end().into() },
    });
    found.collect()
}

/// Returns whether a violation matters for the tables of its statement.
fn applies(
    violation: &Violation,
    effects: &[StatementEffect],
    state_of: &dyn Fn(&QualifiedName) -> TableState,
) -> bool {
    let concern = lint_rules::concern_of(violation.rule);
    let Some(effect) = effects.iter().find(|effect| contains(effect.span, violation.span.start)) else { return true };
    let mut tables = tables_of(effect).into_iter().map(|name| name.map_or(TableState::Large, state_of));
    let matters = |state: TableState| match (concern, state) {
        (RuleConcern::Statement, _) | (_, TableState::Large) => true,
        (RuleConcern::Users, TableState::Small) => true,
        (RuleConcern::Size, TableState::Small) | (RuleConcern::Size | RuleConcern::Users, TableState::New) => false,
    };
    effect.locks.is_empty() || tables.any(matters)
}

/// Returns the tables on whose rows the statement works; of one that works on none, those that it locks.
fn tables_of(effect: &StatementEffect) -> Vec<Option<&QualifiedName>> {
    let worked_on: Vec<Option<&QualifiedName>> = effect.work.iter().map(|work| Some(work.relation())).collect();
    if !worked_on.is_empty() {
        return worked_on;
    }
    let locked = effect.locks.iter().map(|lock| match &lock.relation {
        LockedRelation::Named(name) | LockedRelation::TableOfIndex(name) => Some(name),
        _ => None,
    });
    locked.collect()
}

fn contains(span: Span, byte: usize) -> bool {
    (span.start..span.end.max(span.start + 1)).contains(&byte)
}
