//! Contradictions that show a failure of the tool: an impossible listing, changes by a read-only command, and
//! migrations that were not done, or done beyond the plan, although the tool succeeded.

use super::{first_names::join_first_names, listed::ToolListing, snapshot::LedgerSnapshot};
use crate::{
    fault::{Code, Fault},
    ledger::known_tools::ToolMigration,
    run::MigrationId,
    tool::{ListedMigration, Recipe},
};

/// Refuses a listing without any migration that it should contain, even with exit code 0: a wrapper may have swallowed
/// the output.
///
/// # Errors
/// `tool-list`, `tool-elsewhere`.
pub(crate) fn check_list_plausible(
    recipe: &Recipe,
    listing: &ToolListing,
    ledger: &LedgerSnapshot,
) -> Result<(), Fault> {
    let recorded = ledger.rows.len();
    match listing {
        ToolListing::Listed(listed) if listed.is_empty() && recipe.lists_all() => {
            let cause = format!("`tool: {}` was run to list its migrations, and listed none", recipe.name);
            Err(Fault::new(Code::ToolList, cause))
        }
        ToolListing::Listed(listed)
            if recipe.lists_all()
                && recorded > 0
                && !listed.iter().any(|migration| ledger.has_name(&migration.name)) =>
        {
            let first = ledger.rows.first().map_or("", |row| &row.name);
            let cause = match recorded {
                1 => format!("the tool's list does not contain `{first}`, the only migration in its ledger"),
                several => {
                    format!("the tool's list contains none of the {several} migrations in its ledger, `{first}` first")
                }
            };
            Err(Fault::new(Code::ToolList, cause)
                .detail("if this image is older than the one that migrated last, or from another branch, use that one"))
        }
        ToolListing::NoLedger if recorded > 0 => {
            let cause = format!(
                "the tool finds no ledger, and the database in `database-url` has one with {recorded} \
                 migrations: the tool uses another database"
            );
            Err(Fault::new(Code::ToolElsewhere, cause))
        }
        ToolListing::Listed(_) | ToolListing::NoLedger | ToolListing::Unknown => Ok(()),
    }
}

/// Refuses a tool that calls migrations applied although our ledger has none of them: it uses another database.
///
/// # Errors
/// `tool-elsewhere`.
pub(crate) fn check_same_database(
    recipe: &Recipe,
    listed: &[ListedMigration],
    ledger: &LedgerSnapshot,
) -> Result<(), Fault> {
    let applied: Vec<&ListedMigration> = listed.iter().filter(|migration| migration.applied).collect();
    if applied.is_empty() || recipe.ledger.is_none() || applied.iter().any(|migration| ledger.has_name(&migration.name))
    {
        return Ok(());
    }
    let cause = format!(
        "the tool lists {} migrations as applied, and the database in `database-url` has none of them: the tool uses \
         another database",
        applied.len()
    );
    Err(Fault::new(Code::ToolElsewhere, cause))
}

/// Returns the fault of a tool that succeeded and left these migrations undone.
pub(crate) fn unapplied_fault(command: &str, missing: &[MigrationId]) -> Option<Fault> {
    let first = missing.first()?.label();
    let cause = match missing.len() {
        1 => format!("`{command}` succeeded, but `{first}` is not in the ledger"),
        count => format!("`{command}` succeeded, but {count} migrations are not in the ledger, `{first}` first"),
    };
    Some(Fault::new(Code::VerifyPending, cause).fix(
        "see above what the tool did instead: check that its command migrates, and that it uses the database in \
         `database-url`",
    ))
}

/// Returns the fault of a tool that succeeded and did not roll back these migrations.
pub(crate) fn not_rolled_back_fault(command: &str, remaining: &[MigrationId]) -> Option<Fault> {
    let first = remaining.first()?.label();
    let cause = match remaining.len() {
        1 => format!("`{command}` succeeded, but `{first}` is still in the ledger"),
        count => format!("`{command}` succeeded, but {count} migrations are still in the ledger, `{first}` first"),
    };
    Some(Fault::new(Code::VerifyPending, cause).fix("see above what the tool did instead"))
}

/// Returns the fault of a migration that was recorded as not applied, and is still in the ledger.
pub(crate) fn still_recorded_fault(remaining: &[MigrationId]) -> Option<Fault> {
    let first = remaining.first()?.label();
    let cause = format!("`{first}` was taken out of the ledger, and is still there");
    Some(Fault::new(Code::VerifyLedger, cause).fix("check for triggers and rules on the ledger, and run again"))
}

/// Returns the fault of changes that were not requested; `None` if there are none. `subject` describes what was run
/// meanwhile.
pub(crate) fn unrequested_change_fault(
    subject: &str,
    before: &LedgerSnapshot,
    after: &LedgerSnapshot,
) -> Option<Fault> {
    let recorded: Vec<&ToolMigration> = after.rows_since(before).collect();
    let lost: Vec<&ToolMigration> = before.rows_since(after).collect();
    let (new, removed) = (after.schema_added_since(before), before.schema_added_since(after));
    let rows = |rows: &[&ToolMigration]| join_first_names(rows.iter().map(|row| format!("`{}`", row.name)));
    let changes = [
        (recorded.len(), "recorded since", "migration", rows(&recorded)),
        (lost.len(), "gone from the ledger", "migration", rows(&lost)),
        (new.len(), "new in the schema", "object", join_first_names(new.iter().cloned())),
        (removed.len(), "gone from the schema", "object", join_first_names(removed.iter().cloned())),
    ];
    let mut descriptions =
        changes.iter().filter(|(count, ..)| *count > 0).map(|(count, verb, noun, names)| match count {
            1 => format!("1 {noun} is {verb}: {names}"),
            count => format!("{count} {noun}s are {verb}: {names}"),
        });
    let first = descriptions.next()?;
    Some(descriptions.fold(Fault::new(Code::ToolUnasked, format!("{subject}, and meanwhile {first}")), Fault::detail))
}

/// Returns the fault of a tool that keeps a ledger, in a database without one.
pub(crate) fn no_ledger_fault(recipe: &Recipe) -> Fault {
    let cause = format!("`tool: {}` keeps a ledger, and the database has none: nothing is proven", recipe.name);
    Fault::new(Code::LedgerAbsent, cause)
}

/// Returns the fault of rows that were removed from the ledger.
pub(crate) fn lost_rows_fault<'w>(lost: impl Iterator<Item = &'w ToolMigration>) -> Option<Fault> {
    let lost: Vec<String> = lost.map(|row| format!("`{}`", row.name)).collect();
    (!lost.is_empty()).then(|| {
        let cause = match lost.len() {
            1 => format!("{} was in the ledger before, and no longer is", lost.concat()),
            count => format!(
                "{count} migrations were in the ledger before, and no longer are: {}",
                join_first_names(lost.into_iter())
            ),
        };
        Fault::new(Code::VerifyLedger, cause)
            .fix("compare the ledger with the schema: the tool, or another program, has removed rows")
    })
}

/// Returns the fault of changes in the ledger that are not in the plan; `verb` is the kind of change.
pub(crate) fn unplanned_fault(verb: &str, unplanned_rows: &[&ToolMigration]) -> Option<Fault> {
    let names = || join_first_names(unplanned_rows.iter().map(|row| format!("`{}`", row.name)));
    let cause = match unplanned_rows.len() {
        0 => return None,
        1 => format!("1 migration was {verb} that is not in the plan: {}", names()),
        count => format!("{count} migrations were {verb} that are not in the plan: {}", names()),
    };
    Some(Fault::new(Code::VerifyUnplanned, cause))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(names: &[(&str, bool)]) -> Vec<ListedMigration> {
        let migration = |(name, applied): &(&str, bool)| ListedMigration {
            name: (*name).to_owned(),
            applied: *applied,
            ..ListedMigration::default()
        };
        names.iter().map(migration).collect()
    }

    fn snapshot(names: &[&str]) -> LedgerSnapshot {
        LedgerSnapshot::from_listing(&listed(&names.iter().map(|name| (*name, true)).collect::<Vec<_>>()))
    }

    #[test]
    fn a_migration_that_a_tool_left_undone_is_named() {
        let listed = listed(&[("a.1", true), ("a.2", false), ("a.3", false)]);
        let (django, before) = (Recipe::by_name("django").unwrap(), snapshot(&["a.1"]));
        let pending = super::super::plan::pending_migrations(&django, &listed, &before);
        assert_eq!(pending.iter().map(|id| (id.index, id.name.as_str())).collect::<Vec<_>>(), [(1, "a.2"), (2, "a.3")]);
        let missing = |after: &[&str]| {
            let after = snapshot(after);
            pending.iter().filter(|id| !after.is_newly_recorded(&before, id)).cloned().collect::<Vec<_>>()
        };
        assert_eq!(unapplied_fault("migrate", &missing(&["a.1", "a.2", "a.3"])), None);
        let fault = unapplied_fault("migrate", &missing(&["a.1", "a.2"])).unwrap();
        assert_eq!(
            (fault.code, fault.cause.as_str()),
            (Code::VerifyPending, "`migrate` succeeded, but `a.3` is not in the ledger")
        );
    }

    #[test]
    fn a_tool_that_uses_another_database_is_detected() {
        let django = Recipe::by_name("django").unwrap();
        let seen = listed(&[("a.1", true), ("a.2", false)]);
        assert_eq!(check_same_database(&django, &seen, &snapshot(&[])).unwrap_err().code, Code::ToolElsewhere);
        assert_eq!(check_same_database(&django, &seen, &snapshot(&["a.1"])), Ok(()));
        assert_eq!(check_same_database(&django, &listed(&[("a.1", false)]), &snapshot(&[])), Ok(()));
    }

    #[test]
    fn a_listing_without_any_expected_migration_is_refused() {
        let (django, prisma) = (Recipe::by_name("django").unwrap(), Recipe::by_name("prisma").unwrap());
        let code_of = |recipe, listing: ToolListing, ledger_names: &[&str]| {
            check_list_plausible(recipe, &listing, &snapshot(ledger_names)).err().map(|f| f.code)
        };
        let list = |names: &[(&str, bool)]| ToolListing::Listed(listed(names));
        assert_eq!(code_of(&django, list(&[]), &[]), Some(Code::ToolList));
        assert_eq!(code_of(&prisma, list(&[]), &["a"]), None, "it lists only pending migrations");
        assert_eq!(code_of(&django, list(&[("b.1", false)]), &["a.1"]), Some(Code::ToolList));
        assert_eq!(code_of(&django, list(&[("b.1", false)]), &[]), None);
        assert_eq!(code_of(&django, list(&[("a.2", false), ("a.1", true)]), &["a.1", "gone.1"]), None);
        assert_eq!(code_of(&django, ToolListing::NoLedger, &["a.1"]), Some(Code::ToolElsewhere));
    }

    #[test]
    fn unrequested_changes_are_named_with_their_first_few() {
        let names: Vec<String> = (0..7).map(|number| format!("a.{number}")).collect();
        let now = snapshot(&names.iter().map(String::as_str).collect::<Vec<_>>());
        assert_eq!(unrequested_change_fault("it was asked", &now, &now), None);
        let fault = unrequested_change_fault("it was asked", &snapshot(&["a.0", "a.0"]), &now).unwrap();
        assert_eq!(
            fault.cause,
            "it was asked, and meanwhile 6 migrations are recorded since: `a.1`, `a.2`, `a.3`, `a.4`, `a.5` and 1 more"
        );
        assert_eq!(fault.detail, ["1 migration is gone from the ledger: `a.0`"]);
    }
}
