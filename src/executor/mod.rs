//! Runs a migration: in the action itself, or by the app's own tool. The only `match` on the kind of executor is here.

mod aftercare;
mod approval;
mod audit_trail;
mod backup;
mod history;
mod invalid_index_faults;
mod lock_holder;
mod monitored;
mod rehearsal;
mod review;
mod root_cause;
mod run_steps;
mod schema_file;
mod schema_reading;
mod sql;
mod step;
mod tool;
mod tool_leftovers;

pub(crate) use aftercare::Aftercare;
pub(crate) use audit_trail::Approvers;
pub(crate) use backup::PlannedBackup;
pub(crate) use history::HistoryReader;
pub(crate) use rehearsal::RehearsalSubject;
pub(crate) use schema_file::SchemaFileWork;
pub use sql::SqlExecutor;
pub use tool::ToolExecutor;

use crate::{
    fault::Fault,
    github::runner::Runner,
    postgres::Session,
    run::{RunEnd, event::Events},
    schema::SchemaDescription,
    settings::{ExecutorSettings, Settings, When},
    site::Sites,
};
use audit_trail::AuditTrail;
use backup::{BackupLock, BackupSubject};
use futures_util::future::join;
use lock_holder::LockHolder;

/// Reports the tables that were ignored although they have the name of a ledger.
fn report_ignored_ledgers(tables: &[String], events: &Events) {
    if let Some((first, and_more)) = tables.split_first() {
        let and_more = if and_more.is_empty() { String::new() } else { format!(" (and {} more)", and_more.len()) };
        events.emit_note(format!("ignored: {first}{and_more}; its content is not read"));
    }
}

/// The executor of the migration.
#[derive(Debug)]
pub enum Executor<'a> {
    /// SQL files, applied by the action itself.
    Sql(Box<SqlExecutor<'a>>),
    /// The app's own tool, in an image or on a server.
    Tool(Box<ToolExecutor<'a>>),
}

impl<'a> Executor<'a> {
    /// Creates the executor that the settings ask for; uses no network yet.
    ///
    /// # Errors
    /// All faults of its files.
    pub(crate) async fn new(
        settings: &'a Settings,
        runner: &'a Runner,
        events: &Events,
        approvers: &Approvers,
    ) -> Result<Self, Vec<Fault>> {
        let audit = AuditTrail::new(settings, runner, events, approvers);
        Ok(match &settings.executor {
            ExecutorSettings::Sql => {
                Self::Sql(Box::new(SqlExecutor::new(settings, runner, events.clone(), audit).await?))
            }
            ExecutorSettings::Tool(tool) => {
                let tool = ToolExecutor::new((settings, tool), runner, events, audit).map_err(|fault| vec![fault])?;
                Self::Tool(Box::new(tool))
            }
        })
    }

    /// Opens the session and reads the facts of the database.
    ///
    /// # Errors
    /// The reason why the database can't be used.
    pub async fn connect(&mut self, sites: &mut Sites<'_>) -> Result<(), Fault> {
        match self {
            Self::Sql(sql) => {
                let delivery = sql.connect(sites.transport()?).await?;
                sites.set_delivery(delivery);
                Ok(())
            }
            Self::Tool(tool) => tool.connect(sites).await,
        }
    }

    /// Takes the run lock.
    ///
    /// # Errors
    /// The holder of the lock.
    pub async fn take_run_lock(&mut self) -> Result<(), Fault> {
        match self {
            Self::Sql(sql) => sql.take_run_lock().await,
            Self::Tool(tool) => tool.take_run_lock().await,
        }
    }

    /// Determines the pending migrations, and waits until their work may begin.
    ///
    /// # Errors
    /// All faults that forbid the plan.
    pub async fn plan(&mut self, sites: &Sites<'_>) -> Result<(), Vec<Fault>> {
        match self {
            Self::Sql(sql) => {
                sql.plan().await?;
                sql.wait_to_start().await.map_err(single_fault)
            }
            Self::Tool(tool) => {
                // The tool may go on from its list to the migration without another start, and waits only a short time.
                tool.wait_to_start().await.map_err(single_fault)?;
                tool.plan(sites).await
            }
        }
    }

    /// Returns whether there is anything to do.
    #[must_use]
    pub fn has_work(&self) -> bool {
        match self {
            Self::Sql(sql) => sql.has_work(),
            Self::Tool(tool) => tool.has_work(),
        }
    }

    /// Plans the backup, and reports what it will contain. Nothing is planned without the input, and without work.
    ///
    /// # Errors
    /// `backup-refused`; the lost connection; the fault of an image that can't be pulled.
    pub(crate) async fn plan_backup(&self, sites: &mut Sites<'_>) -> Result<Option<PlannedBackup>, Fault> {
        if !self.has_work() {
            return Ok(None);
        }
        let plan: Option<(&Session, &BackupSubject)> = match self {
            Self::Sql(sql) => sql.plan_to_back_up(),
            Self::Tool(tool) => tool.lock_holder.as_ref().map(LockHolder::session).zip(tool.backup_subject.as_ref()),
        };
        backup::plan_backup(sites, plan).await
    }

    /// Makes the backup and proves it.
    ///
    /// # Errors
    /// `backup-failed`, `backup-refused`: nothing passes for a backup then.
    pub(crate) async fn back_up(&mut self, sites: &mut Sites<'_>, planned: PlannedBackup) -> Result<(), Fault> {
        let lock = match self {
            Self::Sql(sql) => {
                sql.plan_to_back_up().map_or(BackupLock::Absent, |(session, _)| BackupLock::Session(session))
            }
            Self::Tool(tool) => tool.lock_holder.as_mut().map_or(BackupLock::Absent, BackupLock::Holder),
        };
        Box::pin(backup::back_up(sites, planned, lock)).await
    }

    /// Applies the plan.
    ///
    /// # Errors
    /// The reason why it stopped; events report what was applied before.
    pub async fn migrate(&mut self, sites: &mut Sites<'_>) -> Result<(), Vec<Fault>> {
        // Boxed, because the future is large and its caller holds it next to others.
        match self {
            Self::Sql(sql) => Box::pin(sql.migrate(sites.transport_mut().map_err(single_fault)?)).await,
            Self::Tool(tool) => Box::pin(tool.migrate(sites)).await.map_err(single_fault),
        }
    }

    /// Proves that the migration took place.
    ///
    /// # Errors
    /// All deviations from the expected state.
    pub async fn verify(&mut self, sites: &mut Sites<'_>) -> Result<(), Vec<Fault>> {
        match self {
            Self::Sql(sql) => sql.verify(sites.transport_mut().map_err(|fault| vec![fault])?).await,
            Self::Tool(tool) => tool.verify(sites).await,
        }
    }

    /// Returns the session that holds the run lock, if there is one.
    pub(crate) fn session(&self) -> Option<&Session> {
        match self {
            Self::Sql(sql) => sql.session(),
            Self::Tool(tool) => tool.lock_holder.as_ref().map(LockHolder::session),
        }
    }

    /// Returns the schema as it is now.
    ///
    /// # Errors
    /// `schema-unknown`, or the lost connection.
    pub async fn current_schema(&self) -> Result<SchemaDescription, Fault> {
        match self {
            Self::Sql(sql) => sql.current_schema().await,
            Self::Tool(tool) => tool.current_schema().await,
        }
    }

    /// Returns the step conditions that a successful run meets.
    #[must_use]
    pub fn met_conditions(&self) -> &'static [When] {
        match self {
            Self::Sql(sql) => sql.met_conditions(),
            Self::Tool(tool) => tool.met_conditions(),
        }
    }

    /// Completes the record of the run, if it has begun.
    pub async fn end_audit(&self, end: &RunEnd) {
        match self {
            Self::Sql(sql) => sql.end_audit(end).await,
            Self::Tool(tool) => tool.end_audit(end).await,
        }
    }

    /// Replaces the first fault by the cause of the lost connection, if that is what it reports.
    pub async fn with_root_cause(&mut self, sites: &Sites<'_>, faults: Vec<Fault>) -> Vec<Fault> {
        let Ok(transport) = sites.transport() else { return faults };
        match self {
            Self::Sql(sql) => sql.with_root_cause(transport, faults).await,
            Self::Tool(tool) => tool.with_root_cause(sites, faults),
        }
    }

    /// Stops work whose future was dropped.
    ///
    /// # Errors
    /// The reason why its outcome is unknown.
    pub async fn stop_work(&self, sites: &Sites<'_>) -> Result<(), Fault> {
        match (self, sites.transport()) {
            (Self::Sql(sql), Ok(transport)) => {
                let (ended, stopped) = join(sites.stop_commands(), sql.stop_work(transport)).await;
                ended.and(stopped)
            }
            (Self::Sql(_), Err(_)) => Ok(()),
            (Self::Tool(tool), _) => tool.stop_work(sites).await,
        }
    }

    /// Reports the migrations whose outcome is unknown.
    pub fn report_in_doubt(&self) {
        match self {
            Self::Sql(sql) => sql.report_in_doubt(),
            Self::Tool(tool) => tool.report_in_doubt(),
        }
    }

    /// Closes the sessions, which releases the run lock.
    pub async fn close(self) {
        match self {
            Self::Sql(sql) => sql.close().await,
            Self::Tool(tool) => tool.close().await,
        }
    }
}

fn single_fault(fault: Fault) -> Vec<Fault> {
    vec![fault]
}
