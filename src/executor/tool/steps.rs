//! The steps of a tool's migration.

use super::decision::is_recorded_by_command;
use crate::{
    fault::Fault,
    settings::{Command, Need, Settings, Step, StepWork, ToolSettings, When},
    tool::{CommandLine, Verb},
};

/// Returns the steps of the migration: the user's own, or the recipe's commands.
pub(super) fn migration_steps(settings: &Settings, tool: &ToolSettings) -> Result<Vec<Step>, Fault> {
    let verb = match settings.command {
        Command::Rollback => Verb::Rollback,
        // `decision` has the SQL.
        Command::Resolve(_) if !is_recorded_by_command(settings, &tool.recipe) => return Ok(Vec::new()),
        Command::Baseline | Command::Resolve(_) => Verb::Baseline,
        _ if !settings.steps.migrate.is_empty() => return Ok(settings.steps.migrate.clone()),
        _ => Verb::Migrate,
    };
    let step = |name: Option<String>, line: CommandLine| Step {
        name: name.unwrap_or_else(|| line.display_text()),
        work: StepWork::Command { line, site: tool.site.clone() },
        timeout: None,
        retries: settings.safety.retries,
        need: Need::Required,
        when: When::Pending,
    };
    if let (Some(run), Verb::Migrate) = (&tool.run, verb) {
        return Ok(vec![step(None, run.clone())]);
    }
    let target = tool.target.as_deref().filter(|_| verb != Verb::Migrate);
    let commands = tool.recipe.commands_with_target(verb, target)?;
    Ok(commands.into_iter().map(|command| step(command.name, tool.with_prefix(command.line))).collect())
}
