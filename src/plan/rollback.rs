//! Finds the migrations that a rollback undoes.

use super::compare::{PlanRules, row_conflict};
use crate::{
    fault::{Code, Fault},
    layout::RecordedMigration,
    migrate::Migration,
};
use std::{cmp::Ordering, collections::HashMap};

/// The `target` for the state before the first migration.
const BEFORE_THE_FIRST: &str = "0";

/// Returns the applied migrations after the target, the newest first, each with the version of the file before it.
///
/// # Errors
///
/// Every reason to refuse.
pub fn find_applied_after_target(
    files: &[Migration],
    recorded: &[RecordedMigration],
    rules: &PlanRules,
) -> Result<Vec<(Migration, Option<String>)>, Vec<Fault>> {
    let layout = rules.layout;
    let by_version: HashMap<&str, &Migration> = files.iter().map(|file| (file.id.version.as_str(), file)).collect();
    let mut ledger: Vec<&RecordedMigration> =
        recorded.iter().filter(|row| !layout.is_repeatable(&row.version)).collect();
    ledger.sort_by(|left, right| layout.compare_versions(&left.version, &right.version));
    let given = rules.target.as_deref().unwrap_or_default();
    let target = layout.canonical_version(given).unwrap_or_else(|| given.to_owned());
    let is_recorded = ledger.iter().any(|row| row.version == target);
    let mut faults: Vec<Fault> = ledger
        .iter()
        .filter_map(|row| row_conflict(rules, row, by_version.get(row.version.as_str()).copied()))
        .collect();
    if !is_recorded && given != BEFORE_THE_FIRST {
        let cause = format!("version {target}, which `target` names, is not applied");
        let newest = ledger.last().map(|row| format!("the newest applied version is {}", row.version));
        let fault =
            Fault::new(Code::TargetUnknown, cause).fix("set `target` to the applied version that will be the last one");
        faults.push(newest.into_iter().fold(fault, Fault::detail));
        return Err(faults);
    }
    let is_undone = |version: &str| !is_recorded || layout.compare_versions(version, &target) == Ordering::Greater;
    let undone = ledger.iter().rev().filter(|row| is_undone(&row.version));
    let mut migrations = Vec::new();
    for row in undone {
        match by_version.get(row.version.as_str()) {
            Some(file) => migrations.push(((*file).clone(), rules.version_before(files, &row.version))),
            None => faults.push(no_file(rules, &row.version)),
        }
    }
    if faults.is_empty() { Ok(migrations) } else { Err(faults) }
}

/// Returns the fault of a version that no SQL file has: a program, or, with `missing: ignore`, a file that is gone.
fn no_file(rules: &PlanRules, version: &str) -> Fault {
    match rules.programs.iter().find(|program| program.version == version) {
        Some(program) => {
            let tool = rules.layout.name();
            let cause = format!("`{}` can't be undone here: it is a program, and only {tool} can run it", program.file);
            Fault::new(Code::NoWayBack, cause).fix(format!("undo it with {tool}, and then roll back further here"))
        }
        None => Fault::new(Code::NoWayBack, format!("version {version} can't be undone: there is no file for it")),
    }
}
