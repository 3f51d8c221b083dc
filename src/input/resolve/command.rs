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

const COMMANDS: [Command; 7] = [
    Command::Migrate,
    Command::Plan,
    Command::Status,
    Command::Verify,
    Command::Rollback,
    Command::Baseline,
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

/// Rejects commands that plain SQL files don't support.
pub(crate) fn check_sql_command(command: Command) -> Result<(), Fault> {
    let (cause, fix) = match command {
        Command::Migrate | Command::Plan | Command::Status | Command::Verify | Command::Tunnel => return Ok(()),
        Command::Rollback => (
            "plain SQL files can't be rolled back",
            "write a new migration that undoes the unwanted one; `rollback` is for tools, with `executor: image` or `executor: server`",
        ),
        Command::Baseline => (
            "SQL files can't be recorded without being applied",
            "write the first files so that they change nothing where the schema is there (`create table if not exists`), or \
             begin with the first file that is new; `baseline` is for tools, with `executor: image` or `executor: server`",
        ),
    };
    let cause = format!("`command: {}` does not work with `executor: sql`: {cause}", command.name());
    Err(Fault::new(Code::InputInvalid, cause).fix(fix))
}
