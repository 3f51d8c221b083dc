//! The scope of each input: one table of commands and places.

use super::{names::InputName, parse::ExecutorChoice};
use crate::settings::Command;

/// The commands for which an input has an effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CommandScope {
    All,
    /// All that deal with migrations: all but `tunnel`.
    AllButTunnel,
    /// Those that apply migrations, or show which ones would be applied.
    Forward,
    /// Those that write to the database.
    Writes,
    /// `baseline`.
    Baseline,
    /// `resolve`.
    Resolve,
    /// Those that need reasons of people.
    Reasons,
    /// Those that weigh what they are about to apply.
    Reviews,
    /// Those that change the schema, or show the changes.
    Changes,
    /// `migrate`.
    Migrates,
    /// `rehearse`.
    Rehearses,
}

/// The place that a run has to use for an input to have an effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PlaceScope {
    Anywhere,
    /// With a bastion; [`super::resolve`] reports a bastion without a host.
    Bastion,
    /// With plain SQL files.
    Files,
    /// With a tool.
    Tool,
    /// With a tool, or with a step that is a command.
    AnyCommand,
    /// With a tool in a container: for its entrypoint.
    ToolInImage,
    /// In a container: the tool, or a step.
    Image,
    /// With an image: that of the tool or of a step, or that of the server of a rehearsal.
    AnyImage,
    /// On the deployment server: the tool, or a step.
    Server,
}

/// Inputs that describe the database.
pub(super) const DATABASE_INPUTS: [InputName; 12] = [
    InputName::DatabaseUrl,
    InputName::DatabaseHost,
    InputName::DatabasePort,
    InputName::DatabaseUser,
    InputName::DatabasePassword,
    InputName::DatabaseName,
    InputName::DatabaseRole,
    InputName::DatabaseSslmode,
    InputName::DatabaseCa,
    InputName::DatabaseCert,
    InputName::DatabaseKey,
    InputName::DatabaseAuth,
];

/// Scopes of all inputs, in the order of `action.yml` except that inputs with the same scope are in one row; those of the
/// database have a row of their own.
pub(super) const SCOPES: [(&[InputName], CommandScope, PlaceScope); 23] = [
    (&[InputName::Command, InputName::Environment, InputName::Config], CommandScope::All, PlaceScope::Anywhere),
    (&[InputName::Executor], CommandScope::AllButTunnel, PlaceScope::Anywhere),
    (&[InputName::SshHost, InputName::Via], CommandScope::All, PlaceScope::Anywhere),
    (
        &[
            InputName::SshPort,
            InputName::SshUser,
            InputName::SshPrivateKey,
            InputName::SshCertificate,
            InputName::SshPassphrase,
            InputName::SshPassword,
            InputName::SshKnownHosts,
            InputName::SshFingerprint,
            InputName::SshJump,
            InputName::ConnectTimeout,
            InputName::Keepalive,
            InputName::SshProxy,
        ],
        CommandScope::All,
        PlaceScope::Bastion,
    ),
    (&DATABASE_INPUTS, CommandScope::All, PlaceScope::Anywhere),
    (
        &[
            InputName::Timeout,
            InputName::LockTimeout,
            InputName::StatementTimeout,
            InputName::WaitTimeout,
            InputName::GithubToken,
            InputName::Comment,
            InputName::CommentKey,
            InputName::Summary,
        ],
        CommandScope::All,
        PlaceScope::Anywhere,
    ),
    (
        &[
            InputName::Migrations,
            InputName::Layout,
            InputName::LedgerTable,
            InputName::OutOfOrder,
            InputName::Gaps,
            InputName::Missing,
            InputName::Tenants,
            InputName::Placeholders,
        ],
        CommandScope::AllButTunnel,
        PlaceScope::Files,
    ),
    (&[InputName::From], CommandScope::Baseline, PlaceScope::Files),
    (&[InputName::Resolve], CommandScope::Resolve, PlaceScope::Anywhere),
    (
        &[
            InputName::Target,
            InputName::Before,
            InputName::After,
            InputName::Health,
            InputName::LockWait,
            InputName::Retries,
            InputName::SchemaFile,
            InputName::Aftercare,
            InputName::Notify,
        ],
        CommandScope::AllButTunnel,
        PlaceScope::Anywhere,
    ),
    (&[InputName::ExpectPlan, InputName::StartWhen, InputName::Audit], CommandScope::Writes, PlaceScope::Anywhere),
    (&[InputName::ExpectRehearsal], CommandScope::Migrates, PlaceScope::Anywhere),
    (&[InputName::Lint, InputName::Risk], CommandScope::Reviews, PlaceScope::Anywhere),
    (&[InputName::Allow], CommandScope::Reasons, PlaceScope::Anywhere),
    (&[InputName::Backup], CommandScope::Changes, PlaceScope::Anywhere),
    (&[InputName::Rehearse], CommandScope::Rehearses, PlaceScope::Anywhere),
    (
        &[InputName::Tool, InputName::CommandPrefix, InputName::Manage, InputName::WorkingDirectory],
        CommandScope::AllButTunnel,
        PlaceScope::Tool,
    ),
    (&[InputName::Run, InputName::Steps], CommandScope::Forward, PlaceScope::Tool),
    (&[InputName::Env, InputName::PassEnv], CommandScope::AllButTunnel, PlaceScope::AnyCommand),
    (&[InputName::Image, InputName::MountWorkspace, InputName::Memory], CommandScope::AllButTunnel, PlaceScope::Image),
    (
        &[InputName::Pull, InputName::RegistryUsername, InputName::RegistryPassword],
        CommandScope::AllButTunnel,
        PlaceScope::AnyImage,
    ),
    (&[InputName::ImageEntrypoint], CommandScope::AllButTunnel, PlaceScope::ToolInImage),
    (&[InputName::Setup], CommandScope::AllButTunnel, PlaceScope::Server),
];

/// Returns the scope of an input.
pub(super) fn scope_of(name: InputName) -> (CommandScope, PlaceScope) {
    let row = SCOPES.iter().find(|(names, ..)| names.contains(&name));
    // A test demands a row for each.
    row.map_or((CommandScope::All, PlaceScope::Anywhere), |(_, commands, place_scope)| (*commands, *place_scope))
}

impl CommandScope {
    /// Returns whether this command is among them.
    pub(super) fn includes(self, command: Command) -> bool {
        match self {
            Self::All => true,
            Self::AllButTunnel => command != Command::Tunnel,
            Self::Forward => {
                !matches!(command, Command::Tunnel | Command::Rollback | Command::Baseline | Command::Resolve(_))
            }
            Self::Writes => command.may_write(),
            Self::Baseline => command == Command::Baseline,
            Self::Resolve => matches!(command, Command::Resolve(_)),
            Self::Reasons => {
                matches!(command, Command::Migrate | Command::Plan | Command::Rehearse | Command::Resolve(_))
            }
            Self::Reviews => matches!(command, Command::Migrate | Command::Plan | Command::Rehearse),
            Self::Changes => matches!(command, Command::Migrate | Command::Plan | Command::Rollback),
            Self::Migrates => command == Command::Migrate,
            Self::Rehearses => command == Command::Rehearse,
        }
    }
}

impl PlaceScope {
    /// Returns whether the input has an effect in a run with this executor that uses these executors for its commands.
    pub(super) fn counts_in(self, own_executor: ExecutorChoice, executors_in_use: &[ExecutorChoice]) -> bool {
        match self {
            // These have checks of their own.
            Self::Anywhere | Self::Bastion => true,
            Self::Files => own_executor == ExecutorChoice::Sql,
            Self::Tool => own_executor != ExecutorChoice::Sql,
            Self::AnyCommand => executors_in_use.iter().any(|executor| *executor != ExecutorChoice::Sql),
            Self::ToolInImage => own_executor == ExecutorChoice::Image,
            Self::Image | Self::AnyImage => executors_in_use.contains(&ExecutorChoice::Image),
            Self::Server => executors_in_use.contains(&ExecutorChoice::Server),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{super::inputs_page::input_rows, *};

    impl CommandScope {
        /// Returns the words of the page; every place but a bastion excludes `tunnel` by itself.
        fn shown(self) -> &'static str {
            match self {
                Self::All | Self::AllButTunnel => "",
                Self::Forward => "not `rollback`, `baseline`, `resolve`",
                Self::Writes => "`migrate`, `rollback`, `baseline`, `resolve`",
                Self::Baseline => "`baseline`",
                Self::Resolve => "`resolve`",
                Self::Reasons => "`migrate`, `plan`, `rehearse`, `resolve`",
                Self::Reviews => "`migrate`, `plan`, `rehearse`",
                Self::Changes => "`migrate`, `plan`, `rollback`",
                Self::Migrates => "`migrate`",
                Self::Rehearses => "`rehearse`",
            }
        }
    }

    impl PlaceScope {
        fn shown(self) -> &'static str {
            match self {
                Self::Anywhere => "",
                Self::Bastion => "with `ssh-host`",
                Self::Files => "`executor: sql`",
                Self::Tool => "`executor: image`, `server`",
                Self::AnyCommand => "`executor: image`, `server`; steps that are commands",
                Self::ToolInImage => "`executor: image`",
                Self::Image => "`executor: image`; steps in an image",
                Self::AnyImage => "`executor: image`; steps in an image; a rehearsal in a container",
                Self::Server => "`executor: server`; steps on the server",
            }
        }
    }

    fn shown((commands, place_scope): (CommandScope, PlaceScope)) -> String {
        match (commands, place_scope) {
            (CommandScope::All, PlaceScope::Anywhere) => "always".to_owned(),
            (CommandScope::AllButTunnel, PlaceScope::Anywhere) => "not `tunnel`".to_owned(),
            _ => {
                let parts = [place_scope.shown(), commands.shown()];
                parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("; ")
            }
        }
    }

    #[test]
    fn every_input_is_in_the_table_once() {
        let mut listed: Vec<InputName> = SCOPES.iter().flat_map(|(names, ..)| names.iter().copied()).collect();
        listed.sort();
        let mut all = InputName::ALL.to_vec();
        all.sort();
        assert_eq!(listed, all);
    }

    #[test]
    fn the_page_of_inputs_shows_where_each_counts() {
        let rows = input_rows();
        assert_eq!(rows.len(), InputName::ALL.len());
        for (name, row) in InputName::ALL.iter().zip(rows) {
            assert_eq!((row.name, row.scope), (name.name(), shown(scope_of(*name)).as_str()));
        }
    }

    /// The page shows `tunnel` only where no place excludes it.
    #[test]
    fn an_input_for_a_place_has_no_effect_with_a_tunnel() {
        for name in InputName::ALL {
            let (commands, place_scope) = scope_of(*name);
            let is_for_place = !matches!(place_scope, PlaceScope::Anywhere | PlaceScope::Bastion);
            assert!(!is_for_place || !commands.includes(Command::Tunnel), "{name}");
        }
    }

    #[test]
    fn a_plan_accepts_the_inputs_of_its_migration_but_for_those_that_the_page_names() {
        let accepts = |name: &InputName, command| scope_of(*name).0.includes(command);
        let all = InputName::ALL.iter().copied();
        let refused: Vec<InputName> =
            all.filter(|name| accepts(name, Command::Migrate) && !accepts(name, Command::Plan)).collect();
        use InputName::{Audit, ExpectPlan, ExpectRehearsal, StartWhen};
        assert_eq!(refused, [ExpectPlan, ExpectRehearsal, StartWhen, Audit]);
    }

    #[test]
    fn a_read_only_command_accepts_the_inputs_of_the_run_that_it_previews() {
        let reading =
            [Command::Plan, Command::Rehearse, Command::Status, Command::Verify, Command::Doctor, Command::History];
        for command in reading {
            assert!(
                CommandScope::Forward.includes(command)
                    && CommandScope::AllButTunnel.includes(command)
                    && !CommandScope::Writes.includes(command)
            );
        }
        assert!(
            !CommandScope::Forward.includes(Command::Rollback) && !CommandScope::AllButTunnel.includes(Command::Tunnel)
        );
    }
}
