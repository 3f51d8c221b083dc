//! What the user asked for, resolved: it can't be wrong any more.

use crate::{
    engine::{Credentials, Pull},
    fault::{Code, Fault},
    postgres::{Passage, Target},
    run::event::Change,
    secret::Secret,
    ssh::Route,
    tool::{Line, Recipe, Together},
};
use std::{path::PathBuf, time::Duration};

/// What is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Command {
    /// Apply what is pending, and prove it.
    Migrate,
    /// Say what would be applied, and name it by a digest. Read-only.
    Plan,
    /// Say what is applied and what is pending. Read-only.
    Status,
    /// Fail unless everything is applied and nothing is broken. Read-only.
    Verify,
    /// Take migrations back, down to `target`, and prove it.
    Rollback,
    /// Record migrations as applied that the schema already has.
    Baseline,
    /// Open the way for the following steps of the job.
    Tunnel,
}

impl Command {
    /// As written in inputs.
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

    /// What it does with the migrations of its plan.
    #[must_use]
    pub fn change(self) -> Change {
        match self {
            Self::Rollback => Change::RollBack,
            Self::Baseline => Change::Record,
            Self::Migrate | Self::Plan | Self::Status | Self::Verify | Self::Tunnel => Change::Apply,
        }
    }

    /// Whether the command may change the database.
    #[must_use]
    pub fn writes(self) -> bool {
        matches!(self, Self::Migrate | Self::Rollback | Self::Baseline)
    }
}

/// Whether something unusual in the files is accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Policy {
    /// It is a fault.
    Refuse,
    /// It is as it is.
    Allow,
}

/// How the migration files are laid out, and whose ledger is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LayoutChoice {
    /// sqlx's if its ledger or its file names are there, else plain.
    Auto,
    /// `NNNN_name.sql` and our own ledger.
    Plain,
    /// sqlx's files and sqlx's ledger.
    Sqlx,
}

/// When to write the comment on the pull request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CommentPolicy {
    /// Not at all.
    Never,
    /// For `plan` only.
    Plan,
    /// For every command.
    Always,
}

/// The SQL files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SqlSettings {
    /// The directory as the user wrote it (what reports show).
    pub migrations: String,
    /// The same, to be opened: absolute, or relative to the process's working directory.
    pub directory: PathBuf,
    /// Whose layout.
    pub layout: LayoutChoice,
    /// `schema.table` or `table`, if not the layout's own.
    pub ledger_table: Option<String>,
    /// Apply up to this version and no further.
    pub target: Option<i64>,
    /// Files that sort before an applied one.
    pub out_of_order: Policy,
    /// Versions left out.
    pub gaps: Policy,
}

/// Where the migration runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// In the action: plain SQL files.
    Sql,
    /// Elsewhere, by the app's own tool.
    Tool(Box<ToolSettings>),
}

/// Where commands run that are not ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Site {
    /// In a container of this image.
    Image(String),
    /// On the deployment server, the last hop.
    Server,
}

/// The tool that applies the migrations.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToolSettings {
    /// What is known of it.
    pub recipe: Recipe,
    /// In place of the recipe's way to migrate.
    pub run: Option<Line>,
    /// Words in front of each of the recipe's commands, as in `docker compose run --rm web`.
    pub prefix: Vec<String>,
    /// Which migration `rollback` goes back to, or `baseline` takes for applied.
    pub target: Option<String>,
    /// Where it is called.
    pub site: Site,
}

impl ToolSettings {
    /// A command of the recipe behind the prefix.
    #[must_use]
    pub fn prefixed(&self, line: Line) -> Line {
        if self.prefix.is_empty() { line } else { Line::Program([self.prefix.clone(), line.words()].concat()) }
    }

    /// The recipe's way to list and to migrate in one start, if it has one and what it asks can be answered: on a server
    /// there is no standard input. Behind the prefix.
    #[must_use]
    pub fn together(&self) -> Option<Together> {
        let together = self.recipe.together().filter(|_| matches!(self.site, Site::Image(_)))?;
        Some(together.prefixed(&self.prefix))
    }
}

/// How much a tool may do with the workspace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Workspace {
    /// It does not see it.
    Hidden,
    /// It may look.
    ReadOnly,
    /// It may change it.
    ReadWrite,
}

/// What all containers of a run have in common, whatever their image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageSettings {
    /// When to ask the registry.
    pub pull: Pull,
    /// Who we are there.
    pub credentials: Option<Credentials>,
    /// Whether they see the workspace.
    pub workspace: Workspace,
    /// What stands in front of the tool's own commands in place of the image's entrypoint; without a word nothing does.
    pub entrypoint: Option<Vec<String>>,
    /// Where they begin, if the migration itself runs in one; the image's own directory if it is not said.
    pub working_directory: Option<String>,
    /// Bytes.
    pub memory: Option<i64>,
    /// The database's URL as the user has it, or made of its parts.
    pub database_url: Option<Secret>,
}

/// What all commands on the deployment server have in common.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ServerSettings {
    /// Where they begin, if the migration itself runs there; the login's home if it is not said.
    pub working_directory: Option<String>,
    /// Lines of the server's shell before each of them; may be empty.
    pub setup: String,
}

/// Pieces of work around and in place of the tool's own, in their order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StepSettings {
    /// Before the migration.
    pub before: Vec<Step>,
    /// In place of the recipe's way to migrate.
    pub migrate: Vec<Step>,
    /// Once the migration is proven.
    pub after: Vec<Step>,
    /// Asked until it is well, before everything else that is called.
    pub health: Option<Health>,
}

impl StepSettings {
    /// Whether there is something to do before it is known what is pending.
    #[must_use]
    pub fn begin_with_something(&self) -> bool {
        self.health.is_some() || self.before.iter().any(|step| step.when == When::Always)
    }

    /// What is to be done before the migration, once it is known that something is pending.
    pub fn before_pending(&self) -> impl Iterator<Item = &Step> {
        self.before.iter().filter(|step| step.when == When::Pending)
    }
}

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// As people call it.
    pub name: String,
    /// What is done.
    pub work: Work,
    /// How long it may take; the run's own limit is for all together.
    pub timeout: Option<Duration>,
    /// How often it is tried again after a lock timeout.
    pub retries: u32,
    /// Whether the run goes on without it.
    pub need: Need,
    /// When it is its turn.
    pub when: When,
}

impl Step {
    /// Whether its name says something else than its command.
    #[must_use]
    pub fn is_named(&self) -> bool {
        match &self.work {
            Work::Command { line, .. } => line.shown() != self.name,
            Work::Sql { shown, .. } => *shown != self.name,
        }
    }
}

/// What a step does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Work {
    /// A command.
    Command {
        /// How it is started.
        line: Line,
        /// Where.
        site: Site,
    },
    /// A file of SQL, over our own connection.
    Sql {
        /// As the user wrote it.
        shown: String,
        /// To be opened.
        path: PathBuf,
    },
}

/// Whether the run goes on without a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// Its failure is the run's.
    Required,
    /// Its failure is told.
    Optional,
}

/// When it is a step's turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// In every run that writes.
    Always,
    /// Only when something is pending.
    Pending,
    /// Only when the run has failed.
    Failure,
}

/// A question whether the migration can begin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Health {
    /// What is asked.
    pub line: Line,
    /// Where.
    pub site: Site,
    /// The pause between two questions.
    pub interval: Duration,
    /// How long one may take.
    pub timeout: Duration,
    /// How often it is asked again.
    pub retries: u32,
}

/// What keeps a run from doing harm.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SafetySettings {
    /// For the whole run.
    pub timeout: Duration,
    /// How long to wait for another run to end.
    pub lock_wait: Duration,
    /// PostgreSQL's `lock_timeout`; zero is none.
    pub lock_timeout: Duration,
    /// PostgreSQL's `statement_timeout`; zero is none.
    pub statement_timeout: Duration,
    /// How often a file is tried again after a lock timeout.
    pub retries: u32,
    /// The approved plan's digest.
    pub expect_plan: Option<String>,
}

/// GitHub's surfaces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GithubSettings {
    /// For the comment.
    pub token: Option<Secret>,
    /// When to comment.
    pub comment: CommentPolicy,
    /// Whether to write the job summary.
    pub summary: Policy,
}

/// Everything that a run needs to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// What is asked.
    pub command: Command,
    /// The environment's name, for reports.
    pub environment: Option<String>,
    /// Where the migration runs.
    pub place: Place,
    /// What becomes of the TLS of tools that find the database through us.
    pub passage: Passage,
    /// The way to the database; none is a direct connection.
    pub route: Option<Route>,
    /// The database; a deployment server may know it alone.
    pub database: Option<Target>,
    /// How long to wait until the database answers queries.
    pub wait_timeout: Duration,
    /// The SQL files.
    pub sql: SqlSettings,
    /// Work around the migration.
    pub steps: StepSettings,
    /// Environment variables for tools and commands, beside the database's.
    pub env: Vec<(String, Secret)>,
    /// What containers have in common, if there are any.
    pub image: Option<ImageSettings>,
    /// What commands on the deployment server have in common, if there are any.
    pub server: Option<ServerSettings>,
    /// What keeps a run from doing harm.
    pub safety: SafetySettings,
    /// GitHub's surfaces.
    pub github: GithubSettings,
}

impl Settings {
    /// The database of a run that can't be without one.
    ///
    /// # Errors
    /// `input-missing`.
    pub fn database(&self) -> Result<&Target, Fault> {
        self.database.as_ref().ok_or_else(|| Fault::new(Code::InputMissing, "no database is given"))
    }
}
