//! The resolved settings of a run. A value of these types is valid.

use crate::{
    docker::{PullPolicy, RegistryCredentials},
    fault::{Code, Fault},
    layout::LayoutChoice,
    postgres::DatabaseTarget,
    proxy::ClientTls,
    run::PlanAction,
    secret::Secret,
    ssh::Route,
    tool::{CommandLine, ListThenMigrate, Recipe},
};
use std::{collections::BTreeSet, path::PathBuf, time::Duration};

/// The command of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Command {
    /// Apply pending migrations and verify the result.
    Migrate,
    /// List pending migrations, identified by a digest. Read-only.
    Plan,
    /// List applied and pending migrations. Read-only.
    Status,
    /// Fail unless all migrations are applied and nothing is broken. Read-only.
    Verify,
    /// Roll migrations back to `target`, and verify the result.
    Rollback,
    /// Record migrations as applied whose changes the schema already has.
    Baseline,
    /// Open a tunnel for the following steps of the job.
    Tunnel,
}

impl Command {
    /// Returns the name as written in inputs.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Migrate => "migrate",
            Self::Plan => "plan",
            Self::Status => "status",
            Self::Verify => "verify",
            Self::Rollback => "rollback",
            Self::Baseline => "baseline",
            Self::Tunnel => "tunnel",
        }
    }

    /// Returns the operation on the migrations of its plan.
    #[must_use]
    pub fn plan_action(self) -> PlanAction {
        match self {
            Self::Rollback => PlanAction::RollBack,
            Self::Baseline => PlanAction::Record,
            Self::Migrate | Self::Plan | Self::Status | Self::Verify | Self::Tunnel => PlanAction::Apply,
        }
    }

    /// Returns whether the command may change the database.
    #[must_use]
    pub fn may_write(self) -> bool {
        matches!(self, Self::Migrate | Self::Rollback | Self::Baseline)
    }
}

/// Policy for something unusual in the files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Policy {
    /// Report it as a fault.
    Refuse,
    /// Accept it.
    Allow,
}

/// Policy for the comment on the pull request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CommentPolicy {
    /// Never write one.
    Never,
    /// For `plan` only.
    Plan,
    /// For every command.
    Always,
}

/// Settings for SQL files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SqlSettings {
    /// The directory as the user wrote it, for reports.
    pub migrations: String,
    /// The directory to open: absolute, or relative to the process's working directory.
    pub directory: PathBuf,
    /// The layout.
    pub layout: LayoutChoice,
    /// `schema.table` or `table`, if it is not the layout's default.
    pub ledger_table: Option<String>,
    /// Apply up to this version and no further.
    pub target: Option<String>,
    /// Policy for files that sort before an applied one.
    pub out_of_order: Policy,
    /// Policy for missing versions.
    pub gaps: Policy,
}

/// The executor of the migration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ExecutorSettings {
    /// The action itself, with plain SQL files.
    Sql,
    /// The app's own tool, in a container or on the server.
    Tool(Box<ToolSettings>),
}

/// The site where foreign commands run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Site {
    /// A container of this image.
    Image(String),
    /// The deployment server, which is the last hop.
    Server,
}

/// The tool that applies the migrations.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToolSettings {
    /// The tool's recipe.
    pub recipe: Recipe,
    /// Command that replaces the recipe's migration command.
    pub run: Option<CommandLine>,
    /// Words that are put in front of each of the recipe's commands, as in `docker compose run --rm web`.
    pub prefix: Vec<String>,
    /// The migration that `rollback` returns to, or up to which `baseline` records.
    pub target: Option<String>,
    /// The site where it runs.
    pub site: Site,
}

impl ToolSettings {
    /// Returns a command of the recipe with the prefix in front.
    #[must_use]
    pub fn with_prefix(&self, line: CommandLine) -> CommandLine {
        if self.prefix.is_empty() { line } else { CommandLine::Program([self.prefix.clone(), line.to_argv()].concat()) }
    }

    /// Returns the recipe's command that lists and migrates in one start, with the prefix in front. `None` if the
    /// recipe has none or its prompt can't be answered: on a server there is no standard input.
    #[must_use]
    pub fn list_then_migrate(&self) -> Option<ListThenMigrate> {
        let combined = self.recipe.list_then_migrate().filter(|_| matches!(self.site, Site::Image(_)))?;
        Some(combined.with_prefix(&self.prefix))
    }
}

/// Access of containers to the workspace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Workspace {
    /// Not mounted.
    Hidden,
    /// Mounted read-only.
    ReadOnly,
    /// Mounted writable.
    ReadWrite,
}

/// Settings common to all containers of a run, independent of their image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageSettings {
    /// Policy for pulling images.
    pub pull: PullPolicy,
    /// Credentials for the registry.
    pub credentials: Option<RegistryCredentials>,
    /// Access to the workspace.
    pub workspace: Workspace,
    /// Replacement of the image's entrypoint for the tool's own commands; an empty list means no entrypoint.
    pub entrypoint: Option<Vec<String>>,
    /// Working directory, if the migration itself runs in a container; `None` is the image's own.
    pub working_directory: Option<String>,
    /// Memory limit in bytes.
    pub memory: Option<i64>,
    /// The database's URL as the user gave it, or composed of its parts.
    pub database_url: Option<Secret>,
}

/// Settings common to all commands on the deployment server.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ServerSettings {
    /// Working directory, if the migration itself runs there; `None` is the login's home.
    pub working_directory: Option<String>,
    /// Shell lines that run before each command; may be empty.
    pub setup: String,
}

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

/// Limits and approvals that keep a run from doing harm.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SafetySettings {
    /// Time limit of the whole run.
    pub timeout: Duration,
    /// Time limit for waiting until another run ends.
    pub lock_wait: Duration,
    /// PostgreSQL's `lock_timeout`; zero means no limit.
    pub lock_timeout: Duration,
    /// PostgreSQL's `statement_timeout`; zero means no limit.
    pub statement_timeout: Duration,
    /// Number of retries of a file after a lock timeout.
    pub retries: u32,
    /// Digest of the approved plan.
    pub expect_plan: Option<String>,
}

/// Settings for GitHub's API and job summary.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GithubSettings {
    /// Token for the comment.
    pub token: Option<Secret>,
    /// Policy for the comment.
    pub comment: CommentPolicy,
    /// Policy for the job summary.
    pub summary: Policy,
}

/// All settings of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The command.
    pub command: Command,
    /// Name of the environment, for reports.
    pub environment: Option<String>,
    /// The executor.
    pub executor: ExecutorSettings,
    /// Treatment of TLS on tools' connections through this program.
    pub client_tls: ClientTls,
    /// The SSH route to the database; `None` is a direct connection.
    pub route: Option<Route>,
    /// The database; `None` if only the deployment server knows it.
    pub database: Option<DatabaseTarget>,
    /// Time limit for waiting until the database accepts queries.
    pub wait_timeout: Duration,
    /// Settings for SQL files.
    pub sql: SqlSettings,
    /// Steps around the migration.
    pub steps: StepSettings,
    /// Environment variables for tools and commands, in addition to the database's.
    pub env: Vec<(String, Secret)>,
    /// Settings of containers, if there are any.
    pub image: Option<ImageSettings>,
    /// Settings of commands on the deployment server, if there are any.
    pub server: Option<ServerSettings>,
    /// Limits and approvals.
    pub safety: SafetySettings,
    /// GitHub's surfaces.
    pub github: GithubSettings,
}

impl Settings {
    /// Returns the database of a run that requires one.
    ///
    /// # Errors
    /// `input-missing`.
    pub fn required_database(&self) -> Result<&DatabaseTarget, Fault> {
        self.database.as_ref().ok_or_else(|| Fault::new(Code::InputMissing, "no database is given"))
    }
}

impl Settings {
    /// Returns all images in which commands run.
    #[must_use]
    pub fn images(&self) -> BTreeSet<&str> {
        let tool = match &self.executor {
            ExecutorSettings::Tool(tool) => Some(&tool.site),
            ExecutorSettings::Sql => None,
        };
        let sites = tool.into_iter().chain(self.steps.sites().map(|(_, site)| site));
        sites
            .filter_map(|site| match site {
                Site::Image(reference) => Some(reference.as_str()),
                Site::Server => None,
            })
            .collect()
    }
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
