//! What the user asked for, resolved: it can't be wrong any more.

use crate::{
    engine::{Credentials, Pull},
    postgres::{Passage, Target},
    secret::Secret,
    ssh::Route,
    tool::{Line, Recipe},
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
            Self::Tunnel => "tunnel",
        }
    }

    /// Whether the command may change the database.
    #[must_use]
    pub fn writes(self) -> bool {
        self == Self::Migrate
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
    /// In a container of the app's own image.
    Image(Box<ImageSettings>),
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

/// A tool in an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageSettings {
    /// Which image.
    pub image: String,
    /// When to ask the registry.
    pub pull: Pull,
    /// Who we are there.
    pub credentials: Option<Credentials>,
    /// What applies the migrations.
    pub recipe: Recipe,
    /// In place of the recipe's way to migrate.
    pub run: Option<Line>,
    /// The tool's environment beside the database's.
    pub env: Vec<(String, Secret)>,
    /// Whether it sees the workspace.
    pub workspace: Workspace,
    /// Where it begins.
    pub working_directory: Option<String>,
    /// Bytes.
    pub memory: Option<i64>,
    /// The database's URL as the user has it, or made of its parts.
    pub database_url: Secret,
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
    /// The database.
    pub database: Target,
    /// How long to wait until the database answers queries.
    pub wait_timeout: Duration,
    /// The SQL files.
    pub sql: SqlSettings,
    /// What keeps a run from doing harm.
    pub safety: SafetySettings,
    /// GitHub's surfaces.
    pub github: GithubSettings,
}
