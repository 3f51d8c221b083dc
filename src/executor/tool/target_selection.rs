//! The migrations that a rollback to a target undoes, and that a baseline up to it records, from the tool's own
//! listing: the expectation that the ledger is compared with afterwards.

use super::{
    plan::{in_every_schema, with_indexes},
    snapshot::LedgerSnapshot,
};
use crate::{
    fault::{Code, Fault},
    run::MigrationId,
    tool::{Itself, LedgerRows, ListedMigration, Recipe, TargetMeaning},
};
use std::collections::BTreeSet;

/// Names of tools for the position before their first migration (Django, Alembic, Rails).
const BEFORE_FIRST: [&str; 3] = ["zero", "base", "0"];

/// Returns the applied migrations that a rollback to the target undoes.
///
/// # Errors
/// `target-unknown`.
pub(crate) fn to_roll_back(
    recipe: &Recipe,
    listed: &[ListedMigration],
    before: &LedgerSnapshot,
    target: Option<&str>,
) -> Result<Vec<MigrationId>, Fault> {
    let steps = match target_meaning(recipe) {
        TargetMeaning::Count => target.and_then(|count| count.parse().ok()),
        TargetMeaning::UpTo | TargetMeaning::Single => None,
    };
    let candidates = match (steps, target) {
        (Some(_), _) => sorted_by_batch(listed),
        (None, Some(target)) => rolled_back_to(recipe, listed, target)?,
        (None, None) => Vec::new(),
    };
    let mut ids: Vec<MigrationId> =
        in_every_schema(recipe, candidates.iter().copied(), before).map(|(_, id)| id).collect();
    ids.retain(|id| before.has_migration(id));
    // The newest first, as the tool does it.
    Ok(with_indexes(ids.into_iter().rev().take(steps.unwrap_or(usize::MAX))))
}

/// Returns the same by the tool's own plan: a migration of another app that depends on one of these is undone, too.
///
/// # Errors
/// `tool-list`: it plans nothing although there is something to undo.
pub(crate) fn to_roll_back_by_tool_plan(
    recipe: &Recipe,
    planned_by_tool: &[ListedMigration],
    before: &LedgerSnapshot,
    pending: &[MigrationId],
) -> Result<Vec<MigrationId>, Fault> {
    let ids = in_every_schema(recipe, planned_by_tool.iter(), before).map(|(_, id)| id);
    let ids: Vec<MigrationId> = ids.filter(|id| before.has_migration(id)).collect();
    // The schema that all others depend on comes last.
    let by_schema = ids.chunk_by(|left, right| left.schema == right.schema).rev();
    let planned = with_indexes(by_schema.flatten().cloned());
    match pending.first() {
        Some(first) if planned.is_empty() => {
            let cause = format!("the tool's own rollback plan undoes nothing, and `{}` is applied", first.label());
            Err(Fault::new(Code::ToolList, cause))
        }
        _ => Ok(planned),
    }
}

/// Returns the migrations that are not applied and that a baseline up to the target records.
///
/// # Errors
/// `target-unknown`.
pub(crate) fn to_baseline(
    recipe: &Recipe,
    listed: &[ListedMigration],
    before: &LedgerSnapshot,
    target: Option<&str>,
) -> Result<Vec<MigrationId>, Fault> {
    let candidates: Vec<&ListedMigration> = match target {
        Some(target) => recorded_up_to(recipe, listed, target)?,
        None => listed.iter().collect(),
    };
    let ids = in_every_schema(recipe, candidates.iter().copied(), before).map(|(_, id)| id);
    Ok(with_indexes(ids.filter(|id| !before.has_migration(id))))
}

/// Returns the name of the one listed migration that the target names.
///
/// # Errors
/// `target-unknown`.
pub(super) fn name_of_target(recipe: &Recipe, listed: &[ListedMigration], target: &str) -> Result<String, Fault> {
    match find_target(recipe, listed, target)? {
        TargetPosition::At(migration) => Ok(migration.name.clone()),
        TargetPosition::BeforeFirst | TargetPosition::Unlisted => Err(unknown_target(recipe, listed, target)),
    }
}

/// Returns whether the target is the whole name of this migration.
pub(super) fn is_named(recipe: &Recipe, name: &str, target: &str) -> bool {
    let words = recipe.target.as_ref().and_then(|syntax| syntax.target_for(name));
    name == target || words.as_deref() == Some(target)
}

/// Returns the targets of the rollbacks that undo the pending migrations once they are applied, the last one first: one
/// for each group, as of Django's apps.
///
/// # Errors
/// The reason why there are none, as a sentence without its full stop.
pub(super) fn targets_before(
    recipe: &Recipe,
    listed: &[ListedMigration],
    is_pending: impl Fn(&str) -> bool,
    count: usize,
) -> Result<Vec<String>, String> {
    if target_meaning(recipe) == TargetMeaning::Count {
        return Ok(vec![count.to_string()]);
    }
    let undoes_itself = recipe.target.as_ref().is_some_and(|target| target.itself == Itself::Undone);
    let (mut targets, mut groups) = (Vec::new(), BTreeSet::new());
    for migration in listed.iter().rev().filter(|migration| is_pending(&migration.name)) {
        let words = target_words(recipe, migration);
        let (group, _) = split_group(&words);
        if !groups.insert(group.to_owned()) {
            continue;
        }
        let of_group = target_group(recipe, listed, &words);
        let first = of_group.iter().position(|migration| is_pending(&migration.name)).unwrap_or_default();
        // A migration between them that is applied would be undone, too.
        if of_group.iter().skip(first).any(|migration| !is_pending(&migration.name)) {
            return Err("an applied migration comes after a pending one, and would be undone, too".to_owned());
        }
        let at = if undoes_itself { Some(first) } else { first.checked_sub(1) };
        let target = at.and_then(|at| of_group.get(at)).map(|migration| target_words(recipe, migration));
        let before_first = || match group {
            "" => "0".to_owned(),
            group => format!("{group} zero"),
        };
        targets.push(target.unwrap_or_else(before_first));
    }
    Ok(targets)
}

fn target_meaning(recipe: &Recipe) -> TargetMeaning {
    recipe.target.as_ref().map(|target| target.says).unwrap_or_default()
}

/// The position of a target in the listing.
enum TargetPosition<'l> {
    At(&'l ListedMigration),
    /// Before the first migration.
    BeforeFirst,
    /// The tool could not list its migrations.
    Unlisted,
}

fn find_target<'l>(recipe: &Recipe, listed: &'l [ListedMigration], target: &str) -> Result<TargetPosition<'l>, Fault> {
    let group = target_group(recipe, listed, target);
    let (_, name) = split_group(target);
    let exact_match = group.iter().find(|migration| target_words(recipe, migration) == target);
    let prefix_match = || group.iter().find(|migration| matches_target(&target_words(recipe, migration), target));
    match exact_match.or_else(prefix_match) {
        Some(migration) => Ok(TargetPosition::At(migration)),
        None if BEFORE_FIRST.contains(&name) && !group.is_empty() => Ok(TargetPosition::BeforeFirst),
        None if listed.is_empty() => Ok(TargetPosition::Unlisted),
        None => Err(unknown_target(recipe, listed, target)),
    }
}

/// Returns the migrations that a rollback to the target undoes, applied or not.
fn rolled_back_to<'l>(
    recipe: &Recipe,
    listed: &'l [ListedMigration],
    target: &str,
) -> Result<Vec<&'l ListedMigration>, Fault> {
    // A migration that can't be a target is not undone: in Flyway, a repeatable one.
    let is_target = |migration: &&ListedMigration| {
        recipe.target.as_ref().is_some_and(|target| target.target_for(&migration.name).is_some())
    };
    let group: Vec<&ListedMigration> = target_group(recipe, listed, target).into_iter().filter(is_target).collect();
    let target_migration = match find_target(recipe, listed, target)? {
        TargetPosition::At(target_migration) => target_migration,
        TargetPosition::BeforeFirst => return Ok(group),
        TargetPosition::Unlisted => return Ok(Vec::new()),
    };
    let undoes_target = recipe.target.as_ref().is_some_and(|target| target.itself == Itself::Undone);
    let later_names = match recipe.keeps {
        LedgerRows::All => group
            .iter()
            .skip_while(|migration| migration.name != target_migration.name)
            .map(|migration| migration.name.as_str())
            .collect(),
        LedgerRows::Heads => dependents_of(listed, target_migration),
    };
    let is_undone = |migration: &&ListedMigration| {
        if migration.name == target_migration.name {
            undoes_target
        } else {
            later_names.contains(migration.name.as_str())
        }
    };
    Ok(group.into_iter().filter(is_undone).collect())
}

/// Returns the migrations that a baseline up to the target records.
fn recorded_up_to<'l>(
    recipe: &Recipe,
    listed: &'l [ListedMigration],
    target: &str,
) -> Result<Vec<&'l ListedMigration>, Fault> {
    let group = target_group(recipe, listed, target);
    let target_migration = match find_target(recipe, listed, target)? {
        TargetPosition::At(target_migration) => target_migration,
        TargetPosition::BeforeFirst => return Ok(Vec::new()),
        TargetPosition::Unlisted => return Ok(group),
    };
    if target_meaning(recipe) == TargetMeaning::Single {
        return Ok(vec![target_migration]);
    }
    let before: BTreeSet<String> = match recipe.keeps {
        LedgerRows::All => {
            let before = group.iter().take_while(|migration| migration.name != target_migration.name);
            before.chain([&target_migration]).map(|migration| migration.name.clone()).collect()
        }
        LedgerRows::Heads => recipe.keeps.applied_names(listed, [target_migration.name.as_str()].into_iter()),
    };
    Ok(group.into_iter().filter(|migration| before.contains(&migration.name)).collect())
}

/// Returns the migrations that depend on this one, directly or not: with branches, only its own.
fn dependents_of<'l>(listed: &'l [ListedMigration], root: &'l ListedMigration) -> BTreeSet<&'l str> {
    let mut found = BTreeSet::from([root.name.as_str()]);
    let mut unvisited = vec![root.name.as_str()];
    while let Some(name) = unvisited.pop() {
        let dependents = listed.iter().filter(|migration| migration.parents.iter().any(|parent| parent == name));
        unvisited
            .extend(dependents.map(|migration| migration.name.as_str()).filter(|dependents| found.insert(dependents)));
    }
    found
}

/// Returns the migrations in the order of their batches, if the tool lists these.
fn sorted_by_batch(listed: &[ListedMigration]) -> Vec<&ListedMigration> {
    let mut sorted: Vec<&ListedMigration> = listed.iter().collect();
    sorted.sort_by_key(|migration| migration.batch);
    sorted
}

/// Returns the migrations that share all words of the target but the last one: with Django, those of the app.
fn target_group<'l>(recipe: &Recipe, listed: &'l [ListedMigration], target: &str) -> Vec<&'l ListedMigration> {
    let (group, _) = split_group(target);
    listed.iter().filter(|migration| split_group(&target_words(recipe, migration)).0 == group).collect()
}

/// Returns the words that name the migration as a target.
fn target_words(recipe: &Recipe, migration: &ListedMigration) -> String {
    recipe
        .target
        .as_ref()
        .and_then(|target| target.target_for(&migration.name))
        .unwrap_or_else(|| migration.name.clone())
}

/// Returns whether the target is a prefix of the name, which tools accept.
fn matches_target(migration_target: &str, target: &str) -> bool {
    let ((group, name), (wanted_group, name_prefix)) = (split_group(migration_target), split_group(target));
    group == wanted_group && name.starts_with(name_prefix)
}

fn split_group(target: &str) -> (&str, &str) {
    target.rsplit_once(' ').unwrap_or(("", target))
}

fn unknown_target(recipe: &Recipe, listed: &[ListedMigration], target: &str) -> Fault {
    let group = target_group(recipe, listed, target);
    let fault = Fault::new(Code::TargetUnknown, format!("the tool lists no migration `{target}`"))
        .fix("set `target` to one of the migrations that the tool lists above");
    match (group.first(), group.last()) {
        (Some(first), Some(last)) => fault.detail(format!(
            "it lists {} in that group, from `{}` to `{}`",
            group.len(),
            target_words(recipe, first),
            target_words(recipe, last)
        )),
        _ => fault,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(names: &[&str]) -> Vec<ListedMigration> {
        names.iter().map(|name| ListedMigration { name: (*name).to_owned(), ..ListedMigration::default() }).collect()
    }

    fn applied(names: &[&str]) -> LedgerSnapshot {
        let migration =
            |name: &&str| ListedMigration { name: (*name).to_owned(), applied: true, ..ListedMigration::default() };
        LedgerSnapshot::from_listing(&names.iter().map(migration).collect::<Vec<_>>())
    }

    const APP: [&str; 5] = ["a.0001_initial", "b.0001_initial", "a.0002_more", "a.0003_last", "b.0002_more"];

    fn names(ids: Vec<MigrationId>) -> Vec<String> {
        ids.into_iter().map(|id| id.name).collect()
    }

    #[test]
    fn a_rollback_undoes_the_later_migrations_of_the_targets_app_newest_first() {
        let django = Recipe::by_name("django").unwrap();
        let undone = |target| names(to_roll_back(&django, &listed(&APP), &applied(&APP[..4]), Some(target)).unwrap());
        assert_eq!(undone("a 0001"), ["a.0003_last", "a.0002_more"]);
        assert_eq!(undone("a 0003_last"), Vec::<String>::new());
        assert_eq!(undone("a zero"), ["a.0003_last", "a.0002_more", "a.0001_initial"]);
        assert_eq!(undone("b zero"), ["b.0001_initial"]);
        for unknown in ["a 0009", "c 0001", "c zero"] {
            let fault = to_roll_back(&django, &listed(&APP), &applied(&APP), Some(unknown)).unwrap_err();
            assert_eq!(fault.code, Code::TargetUnknown, "{unknown}");
        }
    }

    #[test]
    fn a_baseline_records_everything_up_to_the_target_or_everything() {
        let django = Recipe::by_name("django").unwrap();
        let recorded = |target| names(to_baseline(&django, &listed(&APP), &applied(&APP[..1]), target).unwrap());
        assert_eq!(recorded(Some("a 0002")), ["a.0002_more"]);
        assert_eq!(recorded(None), ["b.0001_initial", "a.0002_more", "a.0003_last", "b.0002_more"]);
    }

    #[test]
    fn a_target_may_be_a_count_or_a_single_migration() {
        let all = ["2024_a", "2024_b", "2024_c"];
        let laravel = Recipe::by_name("laravel").unwrap();
        let undone = to_roll_back(&laravel, &listed(&all), &applied(&all), Some("2")).unwrap();
        assert_eq!(names(undone), ["2024_c", "2024_b"]);
        let prisma = Recipe::by_name("prisma").unwrap();
        let recorded = to_baseline(&prisma, &listed(&all), &applied(&[]), Some("2024_b")).unwrap();
        assert_eq!(names(recorded), ["2024_b"]);
        let flyway = Recipe::by_name("flyway").unwrap();
        let versions = ["1 Add people", "1.1 Add pets", "2 Add homes", "People view"];
        let undone = to_roll_back(&flyway, &listed(&versions), &applied(&versions), Some("1.1")).unwrap();
        assert_eq!(names(undone), ["2 Add homes", "1.1 Add pets"], "it undoes its target, and nothing repeatable");
        let longer = ["10 Add people", "1 Add pets"];
        let undone = to_roll_back(&flyway, &listed(&longer), &applied(&longer), Some("1")).unwrap();
        assert_eq!(names(undone), ["1 Add pets"], "a whole name is meant before the beginning of one");
    }

    #[test]
    fn a_rollback_by_count_follows_the_batches() {
        let laravel = Recipe::by_name("laravel").unwrap();
        let output =
            "  2024_a ........ [1] Ran\n  2024_b ........ [3] Ran\n  2024_c ........ [2] Ran\n  2024_d .... Pending\n";
        let listed = laravel.listing.as_ref().unwrap().read_migrations(output.lines());
        let undone = |count| {
            names(to_roll_back(&laravel, &listed, &LedgerSnapshot::from_listing(&listed), Some(count)).unwrap())
        };
        assert_eq!(undone("1"), ["2024_b"]);
        assert_eq!(undone("2"), ["2024_b", "2024_c"]);
    }

    #[test]
    fn with_branches_a_rollback_undoes_dependents_and_a_baseline_records_ancestors() {
        let alembic = Recipe::by_name("alembic").unwrap();
        let output = "c3, d4 -> e5 (head) (mergepoint), all\nb2 -> d4, d\nb2 -> c3, c\na1 -> b2 (branchpoint), b\n<base> -> a1, a";
        let listed = alembic.listing.as_ref().unwrap().read_migrations(output.lines());
        let all = applied(&["a1", "b2", "c3", "d4", "e5"]);
        let undone = |target| names(to_roll_back(&alembic, &listed, &all, Some(target)).unwrap());
        assert_eq!(undone("c3"), ["e5"]);
        assert_eq!(undone("d4"), ["e5"]);
        assert_eq!(undone("b2"), ["e5", "d4", "c3"]);
        assert_eq!(undone("base"), ["e5", "d4", "c3", "b2", "a1"]);
        let recorded = |target| names(to_baseline(&alembic, &listed, &applied(&["a1"]), Some(target)).unwrap());
        assert_eq!(recorded("d4"), ["b2", "d4"]);
    }

    #[test]
    fn one_word_targets_share_one_group() {
        let alembic = Recipe::by_name("alembic").unwrap();
        let all = ["ae10", "bf20", "c130"];
        let output = "bf20 -> c130 (head), c\nae10 -> bf20, b\n<base> -> ae10, a";
        let listed = alembic.listing.as_ref().unwrap().read_migrations(output.lines());
        let undone = |target| names(to_roll_back(&alembic, &listed, &applied(&all), Some(target)).unwrap());
        assert_eq!(undone("bf"), ["c130"]);
        assert_eq!(undone("base"), ["c130", "bf20", "ae10"]);
    }
}
