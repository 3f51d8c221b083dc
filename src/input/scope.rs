//! Inputs without an effect. An input that is set and has no effect is rejected, because the user relies on it.

use super::{
    names::{InputName, list_quoted},
    parse::{ExecutorChoice, is_rehearsal_without_url},
    scope_table::{CommandScope, PlaceScope, scope_of},
    source::{Inputs, ValueSource},
};
use crate::{
    fault::{Code, Fault},
    settings::Command,
};

/// Returns the faults of inputs that are set for this step and have no effect with its command. Values in the
/// configuration file are for every command, and environment variables for every step.
pub(super) fn unused_by_command(inputs: &Inputs, command: Command) -> Vec<Fault> {
    let is_written = |name: &InputName| matches!(inputs.source(*name), Some(ValueSource::Flag | ValueSource::Input));
    let idle: Vec<InputName> =
        InputName::ALL.iter().copied().filter(is_written).filter(|name| !scope_of(*name).0.includes(command)).collect();
    let is_special = |name: &InputName| SPECIAL_SCOPES.iter().any(|(scope, ..)| *scope == scope_of(*name).0);
    let (special, idle): (Vec<InputName>, Vec<InputName>) = idle.into_iter().partition(is_special);
    let of_scope = |(scope, reason, other): &(CommandScope, &str, &str)| {
        let names: Vec<InputName> = special.iter().copied().filter(|name| scope_of(*name).0 == *scope).collect();
        let subject = Some(subject_with_verb(inputs, &names)).filter(|_| !names.is_empty())?;
        let cause = format!("{subject} no effect with `command: {}`: {reason}", command.name());
        Some(Fault::new(Code::InputInvalid, cause).fix(format!("remove {}, or set {other}", list_quoted(&names))))
    };
    SPECIAL_SCOPES.iter().filter_map(of_scope).chain(idle_for_command(inputs, command, &idle)).collect()
}

/// Scopes of a few commands: the reason why no other command needs such an input, and the command that does.
const SPECIAL_SCOPES: [(CommandScope, &str, &str); 7] = [
    (CommandScope::Baseline, "only a baseline takes a ledger over", "`command: baseline`"),
    (CommandScope::Resolve, "only a decision about one migration needs it", "`command: resolve`"),
    (
        CommandScope::Reasons,
        "nothing else needs a reason",
        "`command: migrate`, `command: plan`, `command: rehearse` or `command: resolve`",
    ),
    (
        CommandScope::Reviews,
        "only a plan of migrations to apply is reviewed",
        "`command: migrate`, `command: plan` or `command: rehearse`",
    ),
    (CommandScope::Migrates, "only a migration depends on its rehearsal", "`command: migrate`"),
    (CommandScope::Rehearses, "only a rehearsal needs a server for a copy", "`command: rehearse`"),
    (
        CommandScope::Changes,
        "a backup is made only before the schema is changed",
        "`command: migrate`, `command: plan` or `command: rollback`",
    ),
];

/// Returns the fault of inputs that have no effect with this command.
fn idle_for_command(inputs: &Inputs, command: Command, idle: &[InputName]) -> Option<Fault> {
    if idle.is_empty() {
        return None;
    }
    let (names, command_name) = (list_quoted(idle), command.name());
    let (reason, fix) = match command {
        Command::Tunnel => (
            "which opens a tunnel and migrates nothing".to_owned(),
            format!("remove {names}, or set `command: migrate`"),
        ),
        Command::Rollback | Command::Baseline | Command::Resolve(_) => (
            "which uses the tool's own command".to_owned(),
            format!("remove {names}; if that command is wrong, name your own recipe in `tool`"),
        ),
        Command::Migrate
        | Command::Plan
        | Command::Rehearse
        | Command::Status
        | Command::Verify
        | Command::Doctor
        | Command::History => ("which only reads".to_owned(), format!("remove {names}, or set `command: migrate`")),
    };
    let cause = format!("{} no effect with `command: {command_name}`, {reason}", subject_with_verb(inputs, idle));
    Some(Fault::new(Code::InputInvalid, cause).fix(fix))
}

/// Returns the faults of inputs for places that the run does not use.
pub(super) fn unused_by_executor(inputs: &Inputs, executor: ExecutorChoice) -> Vec<Fault> {
    let Some(executors_in_use) = inputs.parsed_steps().executors_in_use(executor) else { return Vec::new() };
    let is_given = |name: &InputName| {
        matches!(inputs.source(*name), Some(ValueSource::Flag | ValueSource::Input | ValueSource::File(_)))
    };
    let is_pulled = rehearses_in_container(inputs);
    let is_idle = |name: &InputName| {
        let scope = scope_of(*name).1;
        !(scope.counts_in(executor, &executors_in_use) || is_pulled && scope == PlaceScope::AnyImage)
    };
    // Steps name their own executors.
    let mut idle: Vec<InputName> = InputName::ALL.iter().copied().filter(is_given).filter(is_idle).collect();
    idle.retain(|name| !name.is_yaml() || *name == InputName::Tenants);
    if executor == ExecutorChoice::Sql {
        return unused_without_tool(inputs, &idle);
    }
    let rows = [
        (PlaceScope::Files, "a tool reads its own migrations", "`executor: sql`"),
        (PlaceScope::ToolInImage, "the tool does not run in an image", "`executor: image`"),
        (PlaceScope::Image, "nothing runs in an image", "`executor: image`, and for steps in an image"),
        (PlaceScope::AnyImage, "nothing runs in an image", "`executor: image`, and for steps in an image"),
        (PlaceScope::Server, "nothing runs on a server", "`executor: server`, and for steps on the server"),
    ];
    let names_of =
        |place_scope| idle.iter().copied().filter(|name| scope_of(*name).1 == place_scope).collect::<Vec<InputName>>();
    let rows = rows.into_iter().map(|(place_scope, reason, user)| (names_of(place_scope), reason, user));
    let faults = rows.filter(|(names, ..)| !names.is_empty()).map(|(names, reason, user)| {
        let cause =
            format!("{} no effect with `executor: {}`: {reason}", subject_with_verb(inputs, &names), executor.name());
        let (subject, listed, exception) =
            (if names.len() == 1 { "it is" } else { "they are" }, list_quoted(&names), file_hint(inputs, &names));
        Fault::new(Code::InputInvalid, cause).fix(format!("remove {listed}: {subject} for {user}{exception}"))
    });
    faults.collect()
}

/// Returns whether a server is started for a rehearsal.
fn rehearses_in_container(inputs: &Inputs) -> bool {
    let is_rehearsal = inputs.text(InputName::Command) == Some(Command::Rehearse.name());
    is_rehearsal && inputs.secret(InputName::Rehearse).is_none_or(|text| is_rehearsal_without_url(text.expose()))
}

/// Returns the faults of SSH settings without a bastion.
pub(super) fn unused_without_bastion(inputs: &Inputs) -> Vec<Fault> {
    let is_given = |name: &InputName| {
        matches!(inputs.source(*name), Some(ValueSource::Flag | ValueSource::Input | ValueSource::File(_)))
    };
    let idle: Vec<InputName> = InputName::ALL
        .iter()
        .copied()
        .filter(|name| scope_of(*name).1 == PlaceScope::Bastion)
        .filter(is_given)
        .collect();
    if idle.is_empty() {
        return Vec::new();
    }
    let cause =
        format!("{} no effect: `ssh-host` has no value, so there is no bastion", subject_with_verb(inputs, &idle));
    let fix = format!(
        "remove {}, or set `ssh-host` and the inputs for its login{}",
        list_quoted(&idle),
        file_hint(inputs, &idle)
    );
    vec![Fault::new(Code::InputInvalid, cause).fix(fix)]
}

/// Returns whether an input for a tool, or for its container or server, is given.
pub(super) fn concerns_a_tool(inputs: &Inputs) -> bool {
    let scopes =
        [PlaceScope::Tool, PlaceScope::ToolInImage, PlaceScope::Image, PlaceScope::AnyImage, PlaceScope::Server];
    InputName::ALL.iter().any(|name| scopes.contains(&scope_of(*name).1) && inputs.is_given(*name))
}

/// Returns the faults of inputs for tools or images in a run that applies plain SQL files.
fn unused_without_tool(inputs: &Inputs, idle: &[InputName]) -> Vec<Fault> {
    if idle.is_empty() {
        return Vec::new();
    }
    // An explicit value that equals the default can't be distinguished from an absent one.
    let cause = format!(
        "{} no effect: `executor` is `sql`, which is the default and applies plain SQL files",
        subject_with_verb(inputs, idle)
    );
    let needs_scope = |place_scope| idle.iter().any(|name| scope_of(*name).1 == place_scope);
    let image = match inputs.is_given(InputName::Image) {
        true => "`executor: image`".to_owned(),
        false => "`executor: image` and `image` (the app's own image)".to_owned(),
    };
    let server = match is_bastion_wanted(inputs) {
        true => "`executor: server`".to_owned(),
        false => "`executor: server` and `ssh-host` (the server that has the app)".to_owned(),
    };
    let executor = match (
        [PlaceScope::Image, PlaceScope::AnyImage, PlaceScope::ToolInImage].into_iter().any(needs_scope),
        needs_scope(PlaceScope::Server),
    ) {
        (true, false) => image,
        (false, true) => server,
        (false, false) | (true, true) => format!("{image}, or {server}"),
    };
    let is_tooled = [InputName::Tool, InputName::Run, InputName::Steps].into_iter().any(|name| inputs.is_given(name));
    let tool = if is_tooled { "" } else { ", with `tool` or `run`" };
    let names = list_quoted(idle);
    vec![
        Fault::new(Code::InputInvalid, cause)
            .fix(format!("set {executor}{tool}; or remove {names}{}", file_hint(inputs, idle))),
    ]
}

/// Lists the inputs with their source and the verb "has" or "have".
fn subject_with_verb(inputs: &Inputs, names: &[InputName]) -> String {
    let verb = if names.len() == 1 { "has" } else { "have" };
    let mut sources = names.iter().map(|name| inputs.source(*name));
    let first = sources.next().flatten();
    match first.filter(|_| sources.all(|source| source == first)) {
        Some(source) => format!("{} ({source}) {verb}", list_quoted(names)),
        None => format!("{} {verb}", list_quoted(names)),
    }
}

/// Returns a further hint for inputs from the configuration file.
fn file_hint(inputs: &Inputs, names: &[InputName]) -> &'static str {
    let is_filed = |name: &InputName| matches!(inputs.source(*name), Some(ValueSource::File(_)));
    match names.iter().any(is_filed) {
        true => "; values for single environments belong under their names in the file",
        false => "",
    }
}

/// Returns an input that is set and makes sense only with a bastion, that is a secret or the like: then an absent
/// `ssh-host` is a secret that did not arrive, not a request for a direct connection.
pub(super) fn input_implying_bastion(inputs: &Inputs) -> Option<InputName> {
    let is_setting =
        |name: &InputName| matches!(name, InputName::SshPort | InputName::ConnectTimeout | InputName::Keepalive);
    let implies_bastion = |name: &InputName| scope_of(*name).1 == PlaceScope::Bastion && inputs.text(*name).is_some();
    InputName::ALL.iter().copied().filter(|name| !is_setting(name)).find(implies_bastion)
}

/// Returns whether the run is meant to use a bastion.
pub(crate) fn is_bastion_wanted(inputs: &Inputs) -> bool {
    inputs.text(InputName::SshHost).is_some() || input_implying_bastion(inputs).is_some()
}
