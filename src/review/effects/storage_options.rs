//! The lock for storage parameters (`AlterTableGetRelOptionsLockLevel` in PostgreSQL's reloptions.c).

use super::{
    super::effect::LockMode,
    tree::{SyntaxKind, SyntaxNode, all_within, plain_text},
};

/// Parameters that only need SHARE UPDATE EXCLUSIVE.
const GENTLE: [&str; 8] = [
    "deduplicate_items",
    "fillfactor",
    "log_autovacuum_min_duration",
    "n_distinct",
    "n_distinct_inherited",
    "parallel_workers",
    "toast_tuple_target",
    "vacuum_max_eager_freeze_failure_rate",
];

/// Beginnings of the names of such parameters.
const GENTLE_PREFIXES: [&str; 2] = ["autovacuum_", "vacuum_"];

/// Returns the lock for `SET (…)` or `RESET (…)`: the strongest of its parameters. Any other parameter, as one of an
/// access method that we don't know, needs ACCESS EXCLUSIVE.
pub(super) fn options_lock(subcommand: &SyntaxNode) -> LockMode {
    let is_gentle = |name: String| {
        let name = name.rsplit(" . ").next().unwrap_or_default().to_owned();
        GENTLE.contains(&name.as_str()) || GENTLE_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
    };
    let mut names = all_within(subcommand, SyntaxKind::ATTRIBUTE_NAME).map(|name| plain_text(&name));
    if names.all(is_gentle) { LockMode::ShareUpdateExclusive } else { LockMode::AccessExclusive }
}
