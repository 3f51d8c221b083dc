//! Detection of a migration that was done but not recorded: a tool that commits first and records then (Django does,
//! wherever SQL is deferred) can be ended in between. Then the ledger lacks the migration, and the schema has it.

use super::{ToolExecutor, first_names::join_first_names, snapshot::LedgerSnapshot};
use crate::{
    fault::{Code, Fault},
    ledger::schema_snapshot,
    postgres::{own_query::OwnQuery, query_rows, wait::answer_within},
    run::{MigrationId, event::Event},
    settings::Command,
    site::Sites,
    tool::Verb,
};

impl ToolExecutor<'_> {
    /// Warns of the migration that was running when the tool ended, if the schema has changed since the last one was
    /// recorded. A failed query is not reported: this warning only adds to the result.
    pub(crate) async fn warn_of_unrecorded(&self, sites: &Sites<'_>, after: &LedgerSnapshot) {
        let Some(started) = sites.last_started() else { return };
        let is_started = |id: &&MigrationId| {
            id.name == started.name && (id.schema.is_empty() || Some(&id.schema) == started.schema.as_ref())
        };
        let Some(index) = self.pending.iter().position(|id| is_started(&id) && !self.is_done(id, after)) else {
            return;
        };
        let fault = match self.settings.command {
            Command::Rollback => self.undone_unrecorded(index, after),
            Command::Migrate => self.done_unrecorded(index, after).await,
            _ => None,
        };
        if let Some(fault) = fault {
            self.events.emit(Event::Warning(fault));
        }
    }

    /// Objects in the schema that are newer than the newest row of the ledger belong to the migration after it.
    async fn done_unrecorded(&self, index: usize, after: &LedgerSnapshot) -> Option<Fault> {
        let (holder, id) = (self.lock_holder.as_ref()?, self.pending.get(index)?);
        let tables: Vec<String> = after.ledgers.iter().map(|ledger| ledger.table.to_sql()).collect();
        let query = OwnQuery::read_only(schema_snapshot::since_sql(&tables)?);
        let rows =
            answer_within(self.settings.wait_timeout, query_rows(&holder.session().client, &query)).await.ok()?;
        let late_changes = schema_snapshot::SchemaSnapshot::from_rows(&rows);
        let new: Vec<String> = after
            .schema_added_since(&self.snapshot_before)
            .into_iter()
            .filter(|change| late_changes.contains(change))
            .collect();
        let changes = join_first_names(new.iter().cloned());
        (!new.is_empty()).then(|| {
            let cause = format!(
                "`{}` was running and is not recorded, but the schema contains changes of it: {changes}",
                id.label()
            );
            Fault::new(Code::MigrationUnrecorded, cause).fix(format!(
                "compare the schema with the migration: if it is complete, record it ({}); if only a part was done, \
                 undo that part; then run again",
                self.record_command_for(id)
            ))
        })
    }

    /// Each migration is recorded on its own, so with only one running, the objects that are gone from the schema were
    /// its own.
    fn undone_unrecorded(&self, index: usize, after: &LedgerSnapshot) -> Option<Fault> {
        let removed = self.snapshot_before.schema_added_since(after);
        let id = self.pending.get(index).filter(|_| index == 0 && !removed.is_empty())?;
        let cause = format!(
            "`{}` was being rolled back and is still recorded, but the schema lacks {}",
            id.label(),
            removed.first()?
        );
        // The migration before it in the ledger is the next to be undone, or else the target.
        let target = match self.pending.get(index + 1) {
            Some(next) => self.record_command_for(next),
            None => self.record_command(self.tool.target.as_deref()),
        };
        Some(Fault::new(Code::MigrationUnrecorded, cause).fix(format!(
            "compare the schema with the migration: if it is completely undone, record that ({target}); then run again"
        )))
    }

    /// Returns the command that only records this migration.
    fn record_command_for(&self, id: &MigrationId) -> String {
        let target = self.tool.recipe.target.as_ref().and_then(|target| target.target_for(&id.name));
        self.record_command(target.as_deref())
    }

    fn record_command(&self, target: Option<&str>) -> String {
        let lines = self.tool.recipe.commands_with_target(Verb::Baseline, target).unwrap_or_default();
        let commands: Vec<String> = lines
            .into_iter()
            .map(|command| format!("`{}`", self.tool.with_prefix(command.line).display_text()))
            .collect();
        match (commands.is_empty(), target) {
            (false, Some(_)) => commands.join(", then "),
            _ => "by the tool's own means".to_owned(),
        }
    }
}
