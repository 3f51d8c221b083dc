//! Resolves the command and the executor.

use crate::{
    fault::{Code, Fault},
    input::{
        names::InputName,
        parse::{EXECUTORS, ExecutorChoice, value},
        source::Inputs,
    },
    settings::Command,
};

const COMMANDS: [Command; 10] = [
    Command::Migrate,
    Command::Plan,
    Command::Rehearse,
    Command::Status,
    Command::Verify,
    Command::Rollback,
    Command::Baseline,
    Command::Doctor,
    Command::History,
    Command::Tunnel,
];

/// Resolves the command.
pub(crate) fn resolve_command(inputs: &Inputs) -> Result<Command, Fault> {
    let choices = COMMANDS.map(|command| (command.name(), command));
    inputs.required(InputName::Command, |text| value::parse_choice(text, &choices))
}

/// Resolves the executor.
pub(crate) fn resolve_executor(inputs: &Inputs) -> Result<ExecutorChoice, Fault> {
    inputs.required(InputName::Executor, |text| value::parse_choice(text, &EXECUTORS))
}

/// Rejects a rollback of SQL files without a target.
pub(crate) fn check_sql_command(command: Command, target: Option<&str>) -> Result<(), Fault> {
    if command != Command::Rollback || target.is_some() {
        return Ok(());
    }
    let cause = "`target` has no value: `command: rollback` needs the migration to return to";
    Err(Fault::new(Code::InputMissing, cause)
        .fix("set `target` to the version of the migration that will be the last one, or to 0 to undo all"))
}
