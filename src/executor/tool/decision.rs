//! `command: resolve` with a tool: the migration that a person has decided about, and the SQL where the tool has no
//! command for it.

use super::{
    ToolExecutor,
    plan::{in_every_schema, with_indexes},
    snapshot::LedgerSnapshot,
    target_selection,
};
use crate::{
    fault::{Code, Fault},
    layout::Layout,
    ledger::known_tools::{self, ToolLedger, ToolMigration},
    postgres::{own_query::OwnQuery, query_rows, wait::answer_within},
    run::MigrationId,
    settings::{Command, Resolution, Settings},
    tool::{LedgerCount, LedgerRows, ListedMigration, Recipe, Verb},
};
use std::collections::BTreeSet;

/// Returns the migration that is recorded as applied, in every schema whose ledger lacks it; nothing if none does.
///
/// # Errors
/// `target-unknown`; `resolve-refused` if the tool would record others with it.
fn to_record(
    recipe: &Recipe,
    listed: &[ListedMigration],
    before: &LedgerSnapshot,
    target: &str,
) -> Result<Vec<MigrationId>, Fault> {
    let name = target_selection::name_of_target(recipe, listed, target)?;
    let ids = target_selection::to_baseline(recipe, listed, before, Some(target))?;
    let Some(earlier) = ids.iter().find(|id| id.name != name) else { return Ok(ids) };
    let cause =
        format!("`{}` comes before `{name}` and is not applied: {} would record both", earlier.name, recipe.name);
    let fix = format!("decide about `{}` first, or apply it", earlier.name);
    Err(Fault::new(Code::ResolveRefused, cause).fix(fix))
}

/// Returns the migration that is taken out of the ledgers in `schemas`, which have a row of it; nothing if there are none.
///
/// # Errors
/// `resolve-refused` if a ledger implies it by a later one.
fn to_unrecord(
    recipe: &Recipe,
    listed: &[ListedMigration],
    (initial, schemas): (&LedgerSnapshot, &BTreeSet<&str>),
    name: &str,
) -> Result<Vec<MigrationId>, Fault> {
    if schemas.is_empty() && recipe.keeps == LedgerRows::Heads {
        let heads = initial.rows.iter().map(|row| row.name.as_str());
        if recipe.keeps.applied_names(listed, heads).contains(name) {
            let cause = format!("the ledger has only the newest revisions, and one of them comes after `{name}`");
            return Err(Fault::new(Code::ResolveRefused, cause).fix("decide about the newest revision first"));
        }
    }
    let has_row = |id: &MigrationId| match id.schema.as_str() {
        "" => !schemas.is_empty(),
        schema => schemas.contains(schema),
    };
    Ok(with_indexes(in_ledgers(recipe, initial, name).into_iter().filter(has_row)))
}

/// Returns the migration of this name for each ledger in which it can be.
fn in_ledgers(recipe: &Recipe, snapshot: &LedgerSnapshot, name: &str) -> Vec<MigrationId> {
    let migration = [ListedMigration { name: name.to_owned(), ..ListedMigration::default() }];
    in_every_schema(recipe, migration.iter(), snapshot).map(|(_, id)| id).collect()
}

/// Returns whether the tool's own command records the decision. Django refuses to record a migration on which a recorded one
/// depends, so its command is for runs that have no database.
pub(super) fn is_recorded_by_command(settings: &Settings, recipe: &Recipe) -> bool {
    let is_row_of_its_own = recipe.keeps == LedgerRows::All
        && recipe.ledger.as_deref().is_some_and(known_tools::can_record_by_name)
        && settings.database.is_some();
    let is_applied = settings.command == Command::Resolve(Resolution::Applied);
    is_applied && !is_row_of_its_own && !recipe.commands_for(Verb::Baseline).is_empty()
}

/// Checks that the decision can be recorded, before anything is run.
///
/// # Errors
/// `input-invalid` for a tool whose ledger is not known well enough; `input-missing` without the database.
pub(super) fn check_recordable(settings: &Settings, recipe: &Recipe) -> Result<(), Fault> {
    let Command::Resolve(decision) = settings.command else { return Ok(()) };
    let ledger = recipe.ledger.as_deref();
    let has_command = is_recorded_by_command(settings, recipe);
    let is_known = match decision {
        Resolution::Applied => has_command || ledger.is_some_and(known_tools::can_record_by_name),
        Resolution::NotApplied => ledger.is_some(),
    };
    if !is_known || recipe.listing.is_none() {
        let cause = format!("`tool: {}` does not support `resolve: {}`", recipe.name, decision.name());
        let fix = match ledger.filter(|ledger| Layout::by_name(ledger).is_some()) {
            Some(layout) => format!(
                "set `executor: sql` and `layout: {layout}` for this run, and `migrations` to the directory of its files: the ledger \
                 is the same"
            ),
            None => "record it with the tool itself, or name your own recipe whose ledger is known".to_owned(),
        };
        return Err(Fault::new(Code::InputInvalid, cause).fix(fix));
    }
    if settings.database.is_none() && !has_command {
        let cause =
            format!("`resolve: {}` changes the ledger of {}, and no database is given", decision.name(), recipe.name);
        return Err(Fault::new(Code::InputMissing, cause).fix("set `database-url`, as seen from the server"));
    }
    Ok(())
}

impl ToolExecutor<'_> {
    /// Returns the migrations whose record the decision changes.
    ///
    /// # Errors
    /// `target-unknown`, `resolve-refused`, or the lost connection.
    pub(super) async fn decided_migrations(&self, decision: Resolution) -> Result<Vec<MigrationId>, Fault> {
        let (recipe, listed) = (&self.tool.recipe, self.listing.migrations());
        let target = self.tool.target.as_deref().unwrap_or_default();
        let rows = self.all_ledger_rows().await?;
        // Its file may be gone, and a tool may leave out what it has not finished.
        let recorded = rows.iter().find(|row| target_selection::is_named(recipe, &row.name, target));
        let name = match recorded {
            Some(row) => row.name.clone(),
            None => target_selection::name_of_target(recipe, listed, target)?,
        };
        let of_name = rows.iter().filter(|row| row.name == name);
        let schemas: BTreeSet<&str> = of_name.map(|row| row.schema.as_str()).collect();
        let is_listed = listed.iter().any(|migration| migration.name == name);
        if decision == Resolution::Applied {
            self.refuse_several_ledgers()?;
        }
        match decision {
            Resolution::Applied if is_listed => to_record(recipe, listed, &self.snapshot_before, target),
            Resolution::Applied => {
                let ids = in_ledgers(recipe, &self.snapshot_before, &name);
                Ok(with_indexes(ids.into_iter().filter(|id| !self.snapshot_before.has_migration(id))))
            }
            Resolution::NotApplied => to_unrecord(recipe, listed, (&self.initial_snapshot, &schemas), &name),
        }
    }

    /// Refuses to write a row by SQL where it is unknown which of several ledgers the tool uses.
    fn refuse_several_ledgers(&self) -> Result<(), Fault> {
        let (recipe, ledgers) = (&self.tool.recipe, &self.initial_snapshot.ledgers);
        let is_by_sql = !is_recorded_by_command(self.settings, recipe);
        match ledgers.as_slice() {
            [first, second, ..] if recipe.ledgers == LedgerCount::One && is_by_sql => {
                let cause = format!(
                    "there are {} ledgers of {}, `{}` and `{}` among them, and it is unknown which of them the tool uses",
                    ledgers.len(),
                    recipe.name,
                    first.table,
                    second.table
                );
                Err(Fault::new(Code::ResolveRefused, cause)
                    .fix("record it with the tool itself, which knows its ledger"))
            }
            _ => Ok(()),
        }
    }

    /// Goes on with a decision although the tool can't list its migrations: Prisma fails as long as one of them is
    /// unfinished.
    ///
    /// # Errors
    /// The given fault, for any other command and without a ledger.
    pub(super) fn go_on_without_list(&self, fault: Fault) -> Result<(), Fault> {
        let is_decision = matches!(self.settings.command, Command::Resolve(_));
        if !is_decision || fault.code != Code::ToolFailed || self.initial_snapshot.ledgers.is_empty() {
            return Err(fault);
        }
        self.events
            .emit_note(format!("the tool can't list its migrations, so only its ledger counts: {}", fault.cause));
        Ok(())
    }

    /// Returns all rows of the ledgers, those of unfinished migrations included.
    async fn all_ledger_rows(&self) -> Result<Vec<ToolMigration>, Fault> {
        let ledgers = &self.initial_snapshot.ledgers;
        let (Some(holder), false) = (&self.lock_holder, ledgers.is_empty()) else { return Ok(Vec::new()) };
        let query = OwnQuery::read_only(known_tools::all_rows_sql(ledgers));
        let rows = answer_within(self.settings.wait_timeout, query_rows(&holder.session().client, &query)).await?;
        Ok(known_tools::parse_rows(&rows))
    }

    /// Records the decision by SQL, unless the tool has a command for it, which was run before.
    ///
    /// # Errors
    /// The fault of the statement.
    pub(super) async fn record_decision(&self) -> Result<(), Fault> {
        let Command::Resolve(decision) = self.settings.command else { return Ok(()) };
        if is_recorded_by_command(self.settings, &self.tool.recipe) {
            return Ok(());
        }
        let Some(holder) = &self.lock_holder else { return Ok(()) };
        let ledgers = &self.initial_snapshot.ledgers;
        let statements = self.pending.iter().flat_map(|id| {
            let of_schema = |ledger: &&ToolLedger| id.schema.is_empty() || ledger.table.schema == id.schema;
            ledgers.iter().filter(of_schema).flat_map(move |ledger| match decision {
                Resolution::Applied => ledger.record_sql(&id.name).into_iter().collect(),
                Resolution::NotApplied => self.unrecord_statements(ledger, &id.name),
            })
        });
        let sql = statements.collect::<Vec<String>>().join("; ");
        if sql.is_empty() {
            return Ok(());
        }
        let query = OwnQuery::read_write(sql)
            .requiring_lock(holder.lock_requirement())
            .preceded_by("SET TRANSACTION READ WRITE");
        answer_within(self.settings.wait_timeout, query_rows(&holder.session().client, &query)).await.map(drop)
    }

    /// Returns the statements that take a migration out of a ledger. In one that has only the newest revisions, those
    /// before it take its place, unless another one implies them.
    fn unrecord_statements(&self, ledger: &ToolLedger, name: &str) -> Vec<String> {
        let (recipe, listed) = (&self.tool.recipe, self.listing.migrations());
        let mut statements = vec![ledger.forget_sql(name)];
        if recipe.keeps == LedgerRows::Heads {
            let of_ledger = self.initial_snapshot.rows.iter().filter(|row| row.schema == ledger.table.schema);
            let others = of_ledger.map(|row| row.name.as_str()).filter(|other| *other != name);
            let implied = recipe.keeps.applied_names(listed, others);
            let migration = listed.iter().find(|migration| migration.name == name);
            let parents = migration.into_iter().flat_map(|migration| &migration.parents);
            statements.extend(
                parents.filter(|parent| !implied.contains(*parent)).filter_map(|parent| ledger.record_sql(parent)),
            );
        }
        statements
    }
}
