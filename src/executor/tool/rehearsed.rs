//! The part of a tool's plan that a rehearsal needs: the rows without which its migrations are others, and the way back.

use super::{ToolExecutor, contradictions, snapshot::LedgerSnapshot, target_selection, tenants::failed_migration};
use crate::{
    executor::rehearsal::RehearsalSubject,
    fault::{Code, Fault},
    layout::Table,
    ledger::{known_tools, tenants},
    postgres::{OwnQuery, RowTag, query_rows, quote_literal, wait::answer_within},
    rehearsal::WatchedLedger,
    run::MigrationId,
    settings::Site,
    site::Sites,
    tool::{LedgerRows, ListedMigration, Recipe, Verb},
};
use std::collections::BTreeSet;

impl ToolExecutor<'_> {
    /// Returns the subject of a rehearsal, once the plan is made.
    pub(in crate::executor) fn rehearsal_subject<'e>(&'e self, sites: &'e Sites<'_>) -> Option<RehearsalSubject<'e>> {
        let holder = self.lock_holder.as_ref().filter(|_| self.coverage.is_some())?;
        let ledgers = &self.initial_snapshot.ledgers;
        let ledger_tables: BTreeSet<Table> = ledgers.iter().map(|ledger| ledger.table.clone()).collect();
        let tenants = tenants::parse_tables(&holder.ledger_rows);
        Some(RehearsalSubject {
            session: holder.session(),
            digest: &self.plan_digest,
            scripts: &self.read_scripts,
            places: &self.no_places,
            path: &self.path,
            ledger_tables: ledger_tables.into_iter().chain(tenants).chain(self.reference_tables.clone()).collect(),
            ledger_names: ledgers.iter().map(|ledger| ledger.table.to_string()).collect(),
            pending: &self.pending,
            ways_back: ways_back(&self.tool.recipe, self.listing.migrations(), &self.initial_snapshot, &self.pending),
            image: sites.image_facts(&self.tool.site),
            ledger: Some(self.watched_ledger()),
        })
    }

    fn watched_ledger(&self) -> WatchedLedger {
        let tool = self.tool.recipe.ledger.as_deref().unwrap_or_default();
        let found = self.initial_snapshot.ledgers.iter().map(|ledger| ledger.table.name.clone());
        let usual = known_tools::table_of(tool).map(str::to_owned);
        let tables: BTreeSet<String> = found.chain(usual).collect();
        WatchedLedger { tables: tables.into_iter().collect(), moment: self.tool.recipe.records_at }
    }

    /// Reads which of the recipe's tables of reference there are: without their rows the tool would write them again.
    ///
    /// # Errors
    /// The fault of the query.
    pub(super) async fn find_reference_tables(&mut self) -> Result<(), Fault> {
        let names: Vec<String> = self.tool.recipe.reference.iter().map(|name| quote_literal(name)).collect();
        let (Some(holder), false) = (&self.lock_holder, names.is_empty()) else { return Ok(()) };
        let query = OwnQuery::read_only(format!(
            "SELECT {}, n.nspname, c.relname FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
             WHERE c.relkind = 'r' AND c.relname IN ({}) AND pg_catalog.has_table_privilege(c.oid, 'SELECT') ORDER BY 2, 3",
            RowTag::CopyRelation,
            names.join(", ")
        ));
        let rows = answer_within(self.settings.wait_timeout, query_rows(&holder.session().client, &query)).await?;
        let table =
            |[schema, name]: [Option<&str>; 2]| Some(Table { schema: schema?.to_owned(), name: name?.to_owned() });
        self.reference_tables = rows.tagged(RowTag::CopyRelation).filter_map(|row| table(row.columns())).collect();
        Ok(())
    }

    /// Checks that the tool uses the database that it is led to: runs its check if it has opened no connection so far.
    ///
    /// # Errors
    /// `tool-elsewhere`: whatever it would do, it would do elsewhere.
    pub(in crate::executor) async fn check_led(&mut self, sites: &Sites<'_>) -> Result<(), Fault> {
        let has_connected = || sites.connection_count().is_some_and(|count| count > 0);
        if has_connected() {
            return Ok(());
        }
        // Its failure is that of a tool without a database.
        drop(self.run_read_only(Verb::Check, sites).await);
        if has_connected() {
            return Ok(());
        }
        let cause = "the tool has opened no connection to the copy: its settings lead it to another database, so nothing was migrated";
        let fix = match self.tool.site {
            Site::Server => {
                "let the app's settings take the database from the environment before any file, and pass it in `env`, as in \
                 `env: DATABASE_URL=${DATABASE_URL}`"
            }
            Site::Image(_) => {
                "let the app's settings take the database from DATABASE_URL or PGHOST, or pass it the variables that they read, as in \
                 `env: POSTGRES_HOST=${DATABASE_HOST}`"
            }
        };
        Err(Fault::new(Code::ToolElsewhere, cause).fix(fix))
    }

    /// Returns the migration at which the tool stopped, once the ledger was read after it.
    pub(in crate::executor) fn failed_migration(&self, sites: &Sites<'_>) -> Option<&MigrationId> {
        let after = self.snapshot_after.as_ref()?;
        failed_migration(&self.pending, sites.last_started().as_ref(), |id| self.is_done(id, after))
    }

    /// Checks that the database itself is as it was before the rehearsal.
    ///
    /// # Errors
    /// `tool-unasked`, with the changes; the fault of reading it.
    pub(in crate::executor) async fn check_untouched(&self) -> Result<(), Fault> {
        let Some(holder) = &self.lock_holder else { return Ok(()) };
        let now = holder.reread_snapshot(&self.tool.recipe).await?;
        let subject = "the tool was rehearsed on a copy";
        contradictions::unrequested_change_fault(subject, &self.initial_snapshot, &now).map_or(Ok(()), Err)
    }
}

/// Returns the targets of the rollbacks that undo the pending migrations once they are applied, in their order.
fn ways_back(
    recipe: &Recipe,
    listed: &[ListedMigration],
    initial: &LedgerSnapshot,
    pending: &[MigrationId],
) -> Result<Vec<String>, String> {
    let none = |reason: &str| Err(format!("`tool: {}` {reason}", recipe.name));
    if !recipe.has_verb(Verb::Rollback) {
        return none("has no command to roll back");
    }
    if recipe.keeps == LedgerRows::Heads {
        return match initial.rows.as_slice() {
            [] => Ok(vec!["base".to_owned()]),
            [head] => Ok(vec![head.name.clone()]),
            _ => none("has several heads, and no single revision to go back to"),
        };
    }
    let is_pending = |name: &str| pending.iter().any(|id| id.name == name);
    target_selection::targets_before(recipe, listed, is_pending, pending.len())
}
