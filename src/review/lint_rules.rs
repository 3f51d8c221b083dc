//! squawk's rules: which of them count by default, and which are about the size of a table.

use crate::settings::LintSettings;
use squawk_linter::{Linter, Rule};

/// Rules of squawk's default that do not count here by default, each with the reason.
pub const SILENT_RULES: [(&str, Rule); 9] = [
    ("the run sets `lock_timeout` (input `lock-timeout`)", Rule::RequireLockTimeout),
    ("the run has a time limit, and `statement-timeout` sets one for each statement", Rule::RequireStatementTimeout),
    ("a matter of style", Rule::PreferBigintOverInt),
    ("a matter of style", Rule::PreferBigintOverSmallint),
    ("a matter of style", Rule::PreferIdentity),
    ("a matter of style", Rule::PreferTextField),
    ("a matter of style", Rule::PreferTimestampTz),
    ("a matter of style", Rule::BanCharField),
    ("a file that fails is undone as a whole", Rule::PreferRobustStmts),
];

/// Rules about work, or a lock, that lasts as long as a table is large.
const SIZE_RULES: [Rule; 12] = [
    Rule::AddingFieldWithDefault,
    Rule::AddingForeignKeyConstraint,
    Rule::AddingNotNullableField,
    Rule::AddingSerialPrimaryKeyField,
    Rule::ChangingColumnType,
    Rule::ConstraintMissingNotValid,
    Rule::DisallowedUniqueConstraint,
    Rule::PreferRepack,
    Rule::RequireConcurrentIndexCreation,
    Rule::RequireConcurrentIndexDeletion,
    Rule::RequireConcurrentPartitionDetach,
    Rule::RequireConcurrentReindex,
];

/// Rules about those who use a table, of whom a table of the same plan has none.
const USER_RULES: [Rule; 11] = [
    Rule::AddingRequiredField,
    Rule::BanAlterDomainWithAddConstraint,
    Rule::BanDropColumn,
    Rule::BanDropConstraint,
    Rule::BanDropDefault,
    Rule::BanDropNotNull,
    Rule::BanDropTable,
    Rule::BanSetSchema,
    Rule::BanTruncateCascade,
    Rule::RenamingColumn,
    Rule::RenamingTable,
];

/// The concern of a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RuleConcern {
    /// A table is large.
    Size,
    /// A table is in use.
    Users,
    /// The statement itself.
    Statement,
}

/// Returns the concern of a rule.
pub(super) fn concern_of(rule: Rule) -> RuleConcern {
    match rule {
        rule if SIZE_RULES.contains(&rule) => RuleConcern::Size,
        rule if USER_RULES.contains(&rule) => RuleConcern::Users,
        _ => RuleConcern::Statement,
    }
}

/// The way in which a script runs, as far as rules depend on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Undoing {
    /// A failure undoes all of the script.
    Complete,
    /// A failure leaves the statements before it.
    None,
}

/// Returns squawk's linter with the rules that count.
pub(super) fn linter(settings: &LintSettings, undoing: Undoing) -> Linter {
    let is_silent = |rule: Rule| match rule {
        Rule::PreferRobustStmts => undoing == Undoing::Complete,
        _ => true,
    };
    let silent = SILENT_RULES.iter().map(|(_, rule)| *rule).filter(|rule| is_silent(*rule));
    let silent: Vec<Rule> = silent.filter(|rule| !settings.also.contains(rule)).collect();
    let except: Vec<Rule> = settings.except.iter().copied().chain(silent).collect();
    Linter::with_rules(&settings.also, &except)
}
