//! Settings of the steps around the migration, and of the health check.

use super::tool::Site;
use crate::tool::CommandLine;
use std::{path::PathBuf, time::Duration};

/// Steps before, instead of and after the tool's migration command, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StepSettings {
    /// Steps before the migration.
    pub before: Vec<Step>,
    /// Steps that replace the recipe's migration command.
    pub migrate: Vec<Step>,
    /// Steps after the migration is verified.
    pub after: Vec<Step>,
    /// Health check that has to succeed before any other command runs.
    pub health: Option<HealthCheck>,
}

impl StepSettings {
    /// Returns whether there is work before the plan is known.
    #[must_use]
    pub fn has_work_before_plan(&self) -> bool {
        self.health.is_some() || self.before.iter().any(|step| step.when == When::Always)
    }

    /// Returns the steps before the migration that run only if something is pending.
    pub fn steps_before_pending(&self) -> impl Iterator<Item = &Step> {
        self.before.iter().filter(|step| step.when == When::Pending)
    }
}

/// A step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// Its display name.
    pub name: String,
    /// The work that it does.
    pub work: StepWork,
    /// Time limit of the step; the run's own limit covers all steps together.
    pub timeout: Option<Duration>,
    /// Number of retries after a lock timeout.
    pub retries: u32,
    /// Effect of its failure on the run.
    pub need: Need,
    /// The condition under which it runs.
    pub when: When,
}

impl Step {
    /// Returns whether its name differs from its command.
    #[must_use]
    pub fn has_own_name(&self) -> bool {
        match &self.work {
            StepWork::Command { line, .. } => line.display_text() != self.name,
            StepWork::Sql { shown, .. } => *shown != self.name,
        }
    }
}

/// The work of a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StepWork {
    /// A command.
    Command {
        /// The command line.
        line: CommandLine,
        /// The site where it runs.
        site: Site,
    },
    /// A SQL file, executed over this run's own connection.
    Sql {
        /// The path as the user wrote it.
        shown: String,
        /// The path to open.
        path: PathBuf,
    },
}

/// Effect of a step's failure on the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// Its failure fails the run.
    Required,
    /// Its failure is only reported.
    Optional,
}

/// The condition under which a step runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// In every run that writes to the database.
    Always,
    /// Only if something is pending.
    Pending,
    /// Only if the run has failed.
    Failure,
}

/// A health check: a command that succeeds when the migration can begin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HealthCheck {
    /// The command line.
    pub line: CommandLine,
    /// The site where it runs.
    pub site: Site,
    /// Pause between two attempts.
    pub interval: Duration,
    /// Time limit of one attempt.
    pub timeout: Duration,
    /// Number of retries.
    pub retries: u32,
}

impl StepSettings {
    /// Returns the sites that the steps and the health check use, each with a description of its user.
    pub fn sites(&self) -> impl Iterator<Item = (String, &Site)> {
        let steps = self.all().filter_map(|step| match &step.work {
            StepWork::Command { site, .. } => Some((format!("the step `{}`", step.name), site)),
            StepWork::Sql { .. } => None,
        });
        steps.chain(self.health.iter().map(|health| ("`health`".to_owned(), &health.site)))
    }

    /// Returns the first step that is a SQL file.
    pub(crate) fn sql(&self) -> Option<&Step> {
        self.all().find(|step| matches!(step.work, StepWork::Sql { .. }))
    }

    fn all(&self) -> impl Iterator<Item = &Step> {
        self.before.iter().chain(&self.migrate).chain(&self.after)
    }
}
