//! The scope of each input: one table of commands and places. An input that is set and has no effect is rejected,
//! because the user relies on it.

use super::{
    names::{Name, listed},
    parse::Executor,
    source::{Inputs, Source},
};
use crate::{
    fault::{Code, Fault},
    settings::Command,
};

/// The commands for which an input has an effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Commands {
    All,
    /// All that deal with migrations: all but `tunnel`.
    Runs,
    /// Those that apply migrations, or show which ones would be applied.
    Forward,
    /// Those that write to the database.
    Writes,
}

/// The place that a run has to use for an input to have an effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Where {
    Anywhere,
    /// With a bastion; [`super::resolve`] reports a bastion without a host.
    Bastion,
    /// With plain SQL files.
    Files,
    /// With a tool.
    Tool,
    /// With a tool, or with a step that is a command.
    Called,
    /// With a tool in a container: for its entrypoint.
    Entered,
    /// In a container: the tool, or a step.
    Image,
    /// On the deployment server: the tool, or a step.
    Server,
}

/// Scopes of all inputs, in the order of `action.yml` except that inputs with the same scope are in one row.
pub(super) const SCOPES: [(&[Name], Commands, Where); 14] = [
    (&[Name::Command, Name::Environment, Name::Config], Commands::All, Where::Anywhere),
    (&[Name::Executor], Commands::Runs, Where::Anywhere),
    (&[Name::SshHost], Commands::All, Where::Anywhere),
    (
        &[
            Name::SshPort,
            Name::SshUser,
            Name::SshPrivateKey,
            Name::SshPassphrase,
            Name::SshPassword,
            Name::SshKnownHosts,
            Name::SshFingerprint,
            Name::SshJump,
            Name::ConnectTimeout,
            Name::Keepalive,
        ],
        Commands::All,
        Where::Bastion,
    ),
    (
        &[
            Name::DatabaseUrl,
            Name::DatabaseHost,
            Name::DatabasePort,
            Name::DatabaseUser,
            Name::DatabasePassword,
            Name::DatabaseName,
            Name::DatabaseSslmode,
            Name::DatabaseCa,
            Name::Timeout,
            Name::LockTimeout,
            Name::StatementTimeout,
            Name::WaitTimeout,
            Name::GithubToken,
            Name::Comment,
            Name::Summary,
        ],
        Commands::All,
        Where::Anywhere,
    ),
    (&[Name::Migrations, Name::Layout, Name::LedgerTable, Name::OutOfOrder, Name::Gaps], Commands::Runs, Where::Files),
    (
        &[Name::Target, Name::Before, Name::After, Name::Health, Name::LockWait, Name::Retries],
        Commands::Runs,
        Where::Anywhere,
    ),
    (&[Name::ExpectPlan], Commands::Writes, Where::Anywhere),
    (&[Name::Tool, Name::CommandPrefix, Name::Manage, Name::WorkingDirectory], Commands::Runs, Where::Tool),
    (&[Name::Run, Name::Steps], Commands::Forward, Where::Tool),
    (&[Name::Env, Name::PassEnv], Commands::Runs, Where::Called),
    (
        &[Name::Image, Name::Pull, Name::RegistryUsername, Name::RegistryPassword, Name::MountWorkspace, Name::Memory],
        Commands::Runs,
        Where::Image,
    ),
    (&[Name::ImageEntrypoint], Commands::Runs, Where::Entered),
    (&[Name::Setup], Commands::Runs, Where::Server),
];

/// Returns the scope of an input.
pub(super) fn of(name: Name) -> (Commands, Where) {
    let row = SCOPES.iter().find(|(names, ..)| names.contains(&name));
    // A test demands a row for each.
    row.map_or((Commands::All, Where::Anywhere), |(_, commands, place)| (*commands, *place))
}

impl Commands {
    /// Returns whether this command is among them.
    pub(super) fn have(self, command: Command) -> bool {
        match self {
            Self::All => true,
            Self::Runs => command != Command::Tunnel,
            Self::Forward => !matches!(command, Command::Tunnel | Command::Rollback | Command::Baseline),
            Self::Writes => command.writes(),
        }
    }
}

impl Where {
    /// Returns whether the input has an effect in a run with this executor that uses these executors for its commands.
    fn is_reached(self, own: Executor, reached: &[Executor]) -> bool {
        match self {
            // These have checks of their own.
            Self::Anywhere | Self::Bastion => true,
            Self::Files => own == Executor::Sql,
            Self::Tool => own != Executor::Sql,
            Self::Called => reached.iter().any(|executor| *executor != Executor::Sql),
            Self::Entered => own == Executor::Image,
            Self::Image => reached.contains(&Executor::Image),
            Self::Server => reached.contains(&Executor::Server),
        }
    }
}

/// Returns the faults of inputs that are set for this step and have no effect with its command. Values in the
/// configuration file are for every command, and environment variables for every step.
pub(super) fn beside_the_command(inputs: &Inputs, command: Command) -> Vec<Fault> {
    let is_written = |name: &Name| matches!(inputs.source(*name), Some(Source::Flag | Source::Input));
    let idle: Vec<Name> =
        Name::ALL.iter().copied().filter(is_written).filter(|name| !of(*name).0.have(command)).collect();
    if idle.is_empty() {
        return Vec::new();
    }
    let (names, word) = (listed(&idle), command.name());
    let (why, fix) = match command {
        Command::Tunnel => (
            "which opens a tunnel and migrates nothing".to_owned(),
            format!("remove {names}, or set `command: migrate`"),
        ),
        Command::Rollback | Command::Baseline => (
            "which uses the tool's own command".to_owned(),
            format!("remove {names}; if that command is wrong, name your own recipe in `tool`"),
        ),
        Command::Migrate | Command::Plan | Command::Status | Command::Verify => {
            ("which only reads".to_owned(), format!("remove {names}, or set `command: migrate`"))
        }
    };
    let cause = format!("{} no effect with `command: {word}`, {why}", have(inputs, &idle));
    vec![Fault::new(Code::InputInvalid, cause).fix(fix)]
}

/// Returns the faults of inputs for places that the run does not use.
pub(super) fn beside_the_executor(inputs: &Inputs, own: Executor) -> Vec<Fault> {
    let Some(reached) = inputs.drafts().executors(own) else { return Vec::new() };
    let is_given = |name: &Name| matches!(inputs.source(*name), Some(Source::Flag | Source::Input | Source::File(_)));
    let is_idle = |name: &Name| !of(*name).1.is_reached(own, &reached);
    // Steps name their own executors.
    let mut idle: Vec<Name> = Name::ALL.iter().copied().filter(is_given).filter(is_idle).collect();
    idle.retain(|name| !name.is_yaml());
    if own == Executor::Sql {
        return without_a_tool(inputs, &idle);
    }
    let rows = [
        (Where::Files, "a tool reads its own migrations", "`executor: sql`"),
        (Where::Entered, "the tool does not run in an image", "`executor: image`"),
        (Where::Image, "nothing runs in an image", "`executor: image`, and for steps in an image"),
        (Where::Server, "nothing runs on a server", "`executor: server`, and for steps on the server"),
    ];
    let of_row = |place| idle.iter().copied().filter(|name| of(*name).1 == place).collect::<Vec<Name>>();
    let rows = rows.into_iter().map(|(place, why, with)| (of_row(place), why, with));
    let faults = rows.filter(|(names, ..)| !names.is_empty()).map(|(names, why, with)| {
        let cause = format!("{} no effect with `executor: {}`: {why}", have(inputs, &names), own.word());
        let (is, listed, apart) =
            (if names.len() == 1 { "it is" } else { "they are" }, listed(&names), apart(inputs, &names));
        Fault::new(Code::InputInvalid, cause).fix(format!("remove {listed}: {is} for {with}{apart}"))
    });
    faults.collect()
}

/// Returns the faults of SSH settings without a bastion.
pub(super) fn beside_a_bastion(inputs: &Inputs) -> Vec<Fault> {
    let is_given = |name: &Name| matches!(inputs.source(*name), Some(Source::Flag | Source::Input | Source::File(_)));
    let idle: Vec<Name> =
        Name::ALL.iter().copied().filter(|name| of(*name).1 == Where::Bastion).filter(is_given).collect();
    if idle.is_empty() {
        return Vec::new();
    }
    let cause = format!("{} no effect: `ssh-host` has no value, so there is no bastion", have(inputs, &idle));
    let fix =
        format!("remove {}, or set `ssh-host` and the inputs for its login{}", listed(&idle), apart(inputs, &idle));
    vec![Fault::new(Code::InputInvalid, cause).fix(fix)]
}

/// Returns whether an input for a tool, or for its container or server, is given.
pub(super) fn is_about_a_tool(inputs: &Inputs) -> bool {
    let places = [Where::Tool, Where::Entered, Where::Image, Where::Server];
    Name::ALL.iter().any(|name| places.contains(&of(*name).1) && inputs.is_given(*name))
}

/// Returns the faults of inputs for tools or images in a run that applies plain SQL files.
fn without_a_tool(inputs: &Inputs, idle: &[Name]) -> Vec<Fault> {
    if idle.is_empty() {
        return Vec::new();
    }
    // An explicit value that equals the default can't be distinguished from an absent one.
    let cause = format!(
        "{} no effect: `executor` is `sql`, which is the default and applies plain SQL files",
        have(inputs, idle)
    );
    let needs = |place| idle.iter().any(|name| of(*name).1 == place);
    let image = match inputs.is_given(Name::Image) {
        true => "`executor: image`".to_owned(),
        false => "`executor: image` and `image` (the app's own image)".to_owned(),
    };
    let server = match is_wanted(inputs) {
        true => "`executor: server`".to_owned(),
        false => "`executor: server` and `ssh-host` (the server that has the app)".to_owned(),
    };
    let executor = match (needs(Where::Image) || needs(Where::Entered), needs(Where::Server)) {
        (true, false) => image,
        (false, true) => server,
        (false, false) | (true, true) => format!("{image}, or {server}"),
    };
    let is_tooled = [Name::Tool, Name::Run, Name::Steps].into_iter().any(|name| inputs.is_given(name));
    let tool = if is_tooled { "" } else { ", with `tool` or `run`" };
    let names = listed(idle);
    vec![
        Fault::new(Code::InputInvalid, cause)
            .fix(format!("set {executor}{tool}; or remove {names}{}", apart(inputs, idle))),
    ]
}

/// Lists the inputs with their source and the verb "has" or "have".
fn have(inputs: &Inputs, names: &[Name]) -> String {
    let verb = if names.len() == 1 { "has" } else { "have" };
    let mut sources = names.iter().map(|name| inputs.source(*name));
    let first = sources.next().flatten();
    match first.filter(|_| sources.all(|source| source == first)) {
        Some(source) => format!("{} ({source}) {verb}", listed(names)),
        None => format!("{} {verb}", listed(names)),
    }
}

/// Returns a further hint for inputs from the configuration file.
fn apart(inputs: &Inputs, names: &[Name]) -> &'static str {
    let is_filed = |name: &Name| matches!(inputs.source(*name), Some(Source::File(_)));
    match names.iter().any(is_filed) {
        true => "; values for single environments belong under their names in the file",
        false => "",
    }
}

/// Returns an input that is set and makes sense only with a bastion, that is a secret or the like: then an absent
/// `ssh-host` is a secret that did not arrive, not a request for a direct connection.
pub(super) fn only_with_bastion(inputs: &Inputs) -> Option<Name> {
    let is_setting = |name: &Name| matches!(name, Name::SshPort | Name::ConnectTimeout | Name::Keepalive);
    let counts = |name: &Name| of(*name).1 == Where::Bastion && inputs.text(*name).is_some();
    Name::ALL.iter().copied().filter(|name| !is_setting(name)).find(counts)
}

/// Returns whether the run is meant to use a bastion.
pub(crate) fn is_wanted(inputs: &Inputs) -> bool {
    inputs.text(Name::SshHost).is_some() || only_with_bastion(inputs).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOCS: &str = include_str!("../../docs/inputs.md");

    impl Commands {
        fn shown(self) -> &'static str {
            match self {
                Self::All => "all",
                Self::Runs => "all but `tunnel`",
                Self::Forward => "`migrate`, `plan`, `status`, `verify`",
                Self::Writes => "`migrate`, `rollback`, `baseline`",
            }
        }
    }

    impl Where {
        fn shown(self) -> &'static str {
            match self {
                Self::Anywhere => "everywhere",
                Self::Bastion => "with `ssh-host`",
                Self::Files => "`executor: sql`",
                Self::Tool => "`executor: image` or `server`",
                Self::Called => "`executor: image` or `server`, or a step that is a command",
                Self::Entered => "`executor: image`",
                Self::Image => "`executor: image`, or a step in an image",
                Self::Server => "`executor: server`, or a step on the server",
            }
        }
    }

    #[test]
    fn every_input_is_in_the_table_once() {
        let mut told: Vec<Name> = SCOPES.iter().flat_map(|(names, ..)| names.iter().copied()).collect();
        told.sort();
        let mut all = Name::ALL.to_vec();
        all.sort();
        assert_eq!(told, all);
    }

    #[test]
    fn the_page_of_inputs_shows_the_table() {
        for (names, commands, place) in SCOPES {
            let names: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
            let row = format!("| {} | {} | {} |\n", names.join(", "), commands.shown(), place.shown());
            assert!(DOCS.contains(&row), "{row}");
        }
    }

    #[test]
    fn a_read_only_command_accepts_the_inputs_of_the_run_that_it_previews() {
        for command in [Command::Plan, Command::Status, Command::Verify] {
            assert!(Commands::Forward.have(command) && Commands::Runs.have(command) && !Commands::Writes.have(command));
        }
        assert!(!Commands::Forward.have(Command::Rollback) && !Commands::Runs.have(Command::Tunnel));
    }
}
