//! The migrations that a command works on, from the tool's listing and the ledger.

use super::{ToolExecutor, listed::ToolListing, plan::pending_migrations, target_selection};
use crate::{
    fault::{Code, Fault},
    run::MigrationId,
    settings::Command,
};

impl ToolExecutor<'_> {
    /// Returns the migrations to run, from the tool's listing and the ledger.
    pub(super) fn expected_migrations(&self) -> Result<Vec<MigrationId>, Fault> {
        let (recipe, target, listed) = (&self.tool.recipe, self.tool.target.as_deref(), self.listing.migrations());
        match (self.settings.command, &self.listing) {
            // Without a ledger nothing is applied that could be rolled back.
            (Command::Rollback, ToolListing::NoLedger) => Ok(Vec::new()),
            (Command::Rollback | Command::Baseline, ToolListing::NoLedger | ToolListing::Unknown) => Err(Fault::new(
                Code::TargetUnknown,
                format!(
                    "`tool: {}` can't list its migrations here, so it is unknown what that would change",
                    recipe.name
                ),
            )
            .fix("run the tool by hand and check the result, or give `database-url` if its listing needs the ledger")),
            (Command::Rollback, ToolListing::Listed(_)) => {
                target_selection::to_roll_back(recipe, listed, &self.snapshot_before, target)
            }
            (Command::Baseline, ToolListing::Listed(_)) => {
                target_selection::to_baseline(recipe, listed, &self.snapshot_before, target)
            }
            _ => Ok(pending_migrations(recipe, listed, &self.snapshot_before)),
        }
    }
}
