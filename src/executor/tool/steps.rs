//! The steps of a tool's migration.

use crate::{
    fault::Fault,
    settings::{Command, Need, Resolution, Settings, Step, StepWork, ToolSettings, When},
    tool::{CommandLine, Verb},
};

/// Returns the steps of the migration: the user's own, or the recipe's commands.
pub(super) fn migration_steps(settings: &Settings, tool: &ToolSettings) -> Result<Vec<Step>, Fault> {
    let verb = match settings.command {
        Command::Rollback => Verb::Rollback,
        // No tool has a command for the first; `decision` has the SQL where there is none for the second.
        Command::Resolve(Resolution::NotApplied) => return Ok(Vec::new()),
        Command::Resolve(Resolution::Applied) if tool.recipe.commands_for(Verb::Baseline).is_empty() => {
            return Ok(Vec::new());
        }
        Command::Baseline | Command::Resolve(Resolution::Applied) => Verb::Baseline,
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
