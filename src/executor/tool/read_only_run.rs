//! The recipe's commands that only read: the plan of a rollback, and the checks.

use super::{ToolExecutor, ToolProgress, target_selection};
use crate::{
    fault::Fault,
    run::MigrationId,
    settings::Command,
    site::{
        CommandPurpose, RunMode, SiteCommand, Sites, Transcript,
        container_spec::{SessionAccess, SessionTerms},
    },
    tool::Verb,
};
use std::cell::RefCell;

impl ToolExecutor<'_> {
    /// Returns the migrations that a rollback undoes, by the tool's own plan if it prints one. The plan is always shown
    /// before a rollback.
    pub(super) async fn planned_by_tool(&mut self, sites: &Sites<'_>) -> Result<Vec<MigrationId>, Fault> {
        if self.settings.command != Command::Rollback || !self.has_work() {
            return Ok(std::mem::take(&mut self.pending));
        }
        let output = self.run_read_only(Verb::RollbackPlan, sites).await?;
        let recipe = &self.tool.recipe;
        match &recipe.undoing {
            Some(format) if !self.pending.is_empty() => {
                let listed = format.read_migrations(output.iter().map(String::as_str));
                target_selection::to_roll_back_by_tool_plan(recipe, &listed, &self.snapshot_before, &self.pending)
            }
            _ => Ok(std::mem::take(&mut self.pending)),
        }
    }

    /// Runs the recipe's commands for this verb with read-only sessions, unless the start for the listing has run them, and
    /// returns their output.
    pub(super) async fn run_read_only(&mut self, verb: Verb, sites: &Sites<'_>) -> Result<Vec<String>, Fault> {
        if self.completed.verbs.contains(&verb) {
            return Ok(std::mem::take(&mut self.completed.output));
        }
        let transcript = RefCell::new(Transcript::default());
        for command in self.tool.recipe.commands_with_target(verb, self.tool.target.as_deref()).unwrap_or_default() {
            self.progress = ToolProgress::ReadOnlyRun;
            let line = self.tool.with_prefix(command.line);
            let task = SiteCommand {
                site: &self.tool.site,
                command: &line,
                purpose: CommandPurpose::Assist,
                terms: SessionTerms::with_user_lock_timeout(self.settings, SessionAccess::ReadOnly),
            };
            sites.run_to_success(task, RunMode::Start, &transcript).await?;
        }
        Ok(transcript.into_inner().lines().map(ToOwned::to_owned).collect())
    }
}
