//! The resolved settings of a run. A value of these types is valid.

mod aftercare;
mod allowance;
mod approved_plan;
mod approved_rehearsal;
mod backup;
mod command;
mod lint;
mod notification;
mod placeholders;
mod rehearsal;
mod resolution;
mod risk;
mod sample;
mod steps;
mod tenants;
mod tool;

pub use crate::run::Risk;
pub use aftercare::AftercareTask;
pub use allowance::{Allowance, AllowedSubject, DestructiveVerb};
pub use approved_plan::ApprovedPlan;
pub use approved_rehearsal::{ApprovedRehearsal, SchemaMark};
pub use backup::{BackupPlace, BackupSettings, DumpContent, DumpDestination, DumpSettings, DumpSite, DumpedTables};
pub use command::Command;
pub use lint::{LintLevel, LintSettings};
pub use notification::{MessageFormat, NotificationSettings, Occasion, Webhook};
pub use placeholders::{Placeholder, Placeholders, Visibility};
pub use rehearsal::{CopyContent, CopyImage, CopyPlace, RehearsalSettings};
pub use resolution::Resolution;
pub use risk::{DestructionPolicy, QueryDisplay, RiskSettings};
pub use sample::{ColumnPattern, SampleSettings, TablePattern};
pub use steps::{HealthCheck, Need, Step, StepSettings, StepWork, When};
pub use tenants::{OnFailure, TenantSettings, TenantSource};
pub use tool::{ExecutorSettings, ImageOwner, ImageSettings, ServerSettings, Site, SiteImage, ToolSettings, Workspace};

use crate::{
    fault::{Code, Fault},
    layout::{LayoutChoice, LedgerSource},
    postgres::{DatabaseTarget, StartConditions},
    proxy::ClientTls,
    secret::Secret,
    ssh::Route,
    way::WayIn,
};
use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    time::Duration,
};

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
    /// Policy for applied versions without a file.
    pub missing: Policy,
    /// The tenants, if each has its own schema.
    pub tenants: Option<TenantSettings>,
    /// The ledger that `baseline` takes over.
    pub from: Option<LedgerSource>,
    /// Further directories whose files are merged with those of the first.
    pub more_locations: Vec<Location>,
    /// The values of placeholders.
    pub placeholders: Placeholders,
}

/// A directory with migrations.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Location {
    /// The directory as the user wrote it, for reports.
    pub migrations: String,
    /// The directory to open.
    pub directory: PathBuf,
}

impl SqlSettings {
    /// Returns all directories, each as the user wrote it and as a path that can be opened.
    pub fn locations(&self) -> impl Iterator<Item = (&str, &Path)> {
        let more = self.more_locations.iter().map(|more| (more.migrations.as_str(), more.directory.as_path()));
        std::iter::once((self.migrations.as_str(), self.directory.as_path())).chain(more)
    }
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
    /// The approved plan.
    pub expect_plan: Option<ApprovedPlan>,
    /// The rehearsal without which nothing is migrated.
    pub expect_rehearsal: Option<ApprovedRehearsal>,
    /// The conditions under which the work may begin.
    pub start_when: Option<StartConditions>,
    /// The lint of the plan's SQL.
    pub lint: LintSettings,
    /// What is accepted.
    pub allowances: Vec<Allowance>,
    /// The risk that a plan may have.
    pub risk: RiskSettings,
    /// Policy for the record of the run in the database.
    pub audit: Policy,
    /// The reason for the decision of `command: resolve`.
    pub reason: Option<String>,
}

/// Settings of the surfaces besides the log: GitHub's API and job summary, and notifications.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReportSettings {
    /// Token for the comment.
    pub token: Option<Secret>,
    /// Policy for the comment.
    pub comment: CommentPolicy,
    /// The key by which the comment is found again; `None` if it depends on inputs that are invalid.
    pub comment_key: Option<String>,
    /// Policy for the job summary.
    pub summary: Policy,
    /// Settings of notifications, if there are any.
    pub notification: Option<NotificationSettings>,
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
    /// The SSH route to the database; `None` is a connection without a bastion.
    pub route: Option<Route>,
    /// The way to the first hop or, without a route, to the database.
    pub way: WayIn,
    /// The database; `None` if only the deployment server knows it.
    pub database: Option<DatabaseTarget>,
    /// The database that tools know, if `database` stands in for it: in a rehearsal, a copy does.
    pub stands_in_for: Option<DatabaseTarget>,
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
    /// The file with the schema.
    pub schema_file: Option<SchemaFileSettings>,
    /// The tasks after a successful migration.
    pub aftercare: BTreeSet<AftercareTask>,
    /// The backup before the migration.
    pub backup: Option<BackupSettings>,
    /// The rehearsal, for `command: rehearse`.
    pub rehearsal: Option<RehearsalSettings>,
}

/// The file with the schema that the database should have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SchemaFileSettings {
    /// The path as the user wrote it, for reports.
    pub shown: String,
    /// The path to open.
    pub path: PathBuf,
}

impl Settings {
    /// Returns the conditions under which the work may begin, for a command that writes.
    #[must_use]
    pub fn start_conditions(&self) -> Option<&StartConditions> {
        self.safety.start_when.as_ref().filter(|_| self.command.may_write())
    }

    /// Returns whether the run is recorded in the database.
    #[must_use]
    pub fn keeps_audit(&self) -> bool {
        self.safety.audit == Policy::Allow && self.command.may_write() && self.database.is_some()
    }

    /// Returns whether the database is reached by an ordinary connection from here, as it is from every container.
    #[must_use]
    pub fn is_direct(&self) -> bool {
        self.route.is_none() && self.way.is_direct()
    }

    /// Returns the database as tools know it.
    #[must_use]
    pub fn database_for_tools(&self) -> Option<&DatabaseTarget> {
        self.stands_in_for.as_ref().or(self.database.as_ref())
    }

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
        // A plan makes no backup.
        let backup = self.backup.as_ref().filter(|_| self.command.may_write()).and_then(BackupSettings::site);
        let sites = tool.into_iter().chain(self.steps.sites().map(|(_, site)| site)).chain(backup);
        sites
            .filter_map(|site| match site {
                Site::Image(image) => Some(image.reference.as_str()),
                Site::Server => None,
            })
            .collect()
    }
}
