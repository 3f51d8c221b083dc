//! Resolves the command and the executor.

use crate::{
    fault::{Code, Fault},
    input::{
        names::InputName,
        parse::{EXECUTORS, ExecutorChoice, value},
        source::{Inputs, ValueSource},
    },
    settings::{Command, Resolution},
};

/// Every command; the decision of `resolve` is an input of its own.
const COMMANDS: [Command; 11] = [
    Command::Migrate,
    Command::Plan,
    Command::Rehearse,
    Command::Status,
    Command::Verify,
    Command::Rollback,
    Command::Baseline,
    Command::Resolve(Resolution::Applied),
    Command::Doctor,
    Command::History,
    Command::Tunnel,
];

/// Resolves the command.
pub(crate) fn resolve_command(inputs: &Inputs) -> Result<Command, Fault> {
    let choices = COMMANDS.map(|command| (command.name(), command));
    match inputs.required(InputName::Command, |text| value::parse_choice(text, &choices))? {
        Command::Resolve(_) => resolve_decision(inputs).map(Command::Resolve),
        command => Ok(command),
    }
}

/// Resolves the decision of `command: resolve`.
fn resolve_decision(inputs: &Inputs) -> Result<Resolution, Fault> {
    let choices = Resolution::ALL.map(|decision| (decision.name(), decision));
    let decision = inputs.optional(InputName::Resolve, |text| value::parse_choice(text, &choices))?;
    decision.ok_or_else(|| {
        let cause = "`resolve` has no value: `command: resolve` records a decision about one migration";
        Fault::new(Code::InputMissing, cause).fix(
            "set `resolve: applied` if all changes of the migration are in the database, or `resolve: not-applied` if none of them is",
        )
    })
}

/// Resolves the reason for the decision. That in the configuration file is for every command, so it is none.
///
/// # Errors
/// `input-missing` for each of reason and target.
pub(super) fn resolve_reason(inputs: &Inputs, command: Option<Command>) -> Result<Option<String>, Vec<Fault>> {
    let Some(Command::Resolve(_)) = command else { return Ok(None) };
    let is_of_this_run = !matches!(inputs.source(InputName::Allow), Some(ValueSource::File(_)));
    let reason =
        inputs.text(InputName::Allow).filter(|_| is_of_this_run).map(str::trim).filter(|text| !text.is_empty());
    let no_reason = reason.is_none().then(|| {
        let cause = "`allow` has no value: `command: resolve` records the reason for the decision";
        Fault::new(Code::InputMissing, cause).fix(
            "set `allow` to the reason, as in `allow: 'the index was built by hand, ticket 4711'`; it is recorded with the run",
        )
    });
    let no_target = inputs.text(InputName::Target).is_none().then(|| {
        let cause = "`target` has no value: `command: resolve` needs the migration that the decision is about";
        Fault::new(Code::InputMissing, cause)
            .fix("set `target` to one migration: with SQL files its version, with a tool as the tool names it")
    });
    let faults: Vec<Fault> = no_reason.into_iter().chain(no_target).collect();
    if faults.is_empty() { Ok(reason.map(ToOwned::to_owned)) } else { Err(faults) }
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
