//! The verbs of a tool and their command lines.

use super::{
    command_line::{CommandLine, NamedCommand},
    target,
};
use serde::Deserialize;

/// A task that a tool can perform.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verb {
    /// Check that the tool can run at all.
    Check,
    /// Show for people what a migration would do.
    Plan,
    /// List the migrations, and which of them are applied.
    Status,
    /// Apply the pending migrations.
    Migrate,
    /// Fail if a migration is not applied.
    Verify,
    /// Show for people what a rollback to the target would undo.
    RollbackPlan,
    /// Roll back to the target.
    Rollback,
    /// Record migrations as applied without running them: up to the target, or all of them if the recipe supports that.
    #[serde(rename = "fake")]
    Baseline,
}

impl Verb {
    /// Every verb, in the order of the documentation.
    pub const ALL: [Self; 8] = [
        Self::Check,
        Self::Plan,
        Self::Status,
        Self::Migrate,
        Self::Verify,
        Self::RollbackPlan,
        Self::Rollback,
        Self::Baseline,
    ];

    /// Returns the verb's name in recipes.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Check => "check",
            Self::Plan => "plan",
            Self::Status => "status",
            Self::Migrate => "migrate",
            Self::Verify => "verify",
            Self::RollbackPlan => "rollback-plan",
            Self::Rollback => "rollback",
            Self::Baseline => "fake",
        }
    }
}

/// The command lines of one verb.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(
    untagged,
    expecting = "expected a command line as in [tool, migrate], or a list of such with names, as in [{name: Tenants, run: [tool, migrate]}]"
)]
pub(super) enum VerbCommands {
    One(Vec<String>),
    Several(Vec<CommandEntry>),
}

/// One of several command lines.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CommandEntry {
    name: String,
    run: Vec<String>,
}

impl VerbCommands {
    /// Returns the commands with the target filled in; without a target, optional words are left out.
    pub(super) fn to_commands(&self, target: Option<&str>) -> Vec<NamedCommand> {
        let line = |words: &[String]| {
            CommandLine::Program(words.iter().flat_map(|word| target::fill_target(word, target)).collect())
        };
        match self {
            Self::One(words) => vec![NamedCommand { name: None, line: line(words) }],
            Self::Several(several) => several
                .iter()
                .map(|CommandEntry { name, run }| NamedCommand { name: Some(name.clone()), line: line(run) })
                .collect(),
        }
    }

    /// Returns the words of each command line.
    pub(super) fn lines_mut(&mut self) -> impl Iterator<Item = &mut Vec<String>> {
        let (single, several) = match self {
            Self::One(words) => (Some(words), [].as_mut_slice()),
            Self::Several(several) => (None, several.as_mut_slice()),
        };
        single.into_iter().chain(several.iter_mut().map(|command| &mut command.run))
    }

    /// Returns every word of every command line.
    pub(super) fn all_words(&self) -> impl Iterator<Item = &String> {
        let (single, several) = match self {
            Self::One(words) => (words.as_slice(), [].as_slice()),
            Self::Several(several) => ([].as_slice(), several.as_slice()),
        };
        single.iter().chain(several.iter().flat_map(|command| &command.run))
    }

    /// Reports whether a command line has no program to start.
    pub(super) fn is_empty(&self) -> bool {
        match self {
            Self::One(words) => words.is_empty(),
            Self::Several(several) => several.is_empty() || several.iter().any(|command| command.run.is_empty()),
        }
    }
}
