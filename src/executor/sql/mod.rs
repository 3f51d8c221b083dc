//! `executor: sql`: plain SQL files, applied by the action over the tunnel. One session holds the run lock and runs the
//! migration, so that both are lost only together. Each phase is a type: the files, the connected session, the plan.

mod comparison;
mod connected;
mod files;
mod fresh_session;
mod lane;
mod planned;
mod recovery;
mod rehearsed;
mod scripts;
mod setup;
mod shared_plan;
mod single_place;
mod takeover;
mod tenant_places;
mod tenant_queue;
mod tenant_schemas;

use crate::{
    executor::{audit_trail::AuditTrail, backup::BackupSubject, lock_holder, root_cause::root_cause},
    fault::{Code, Fault},
    github::runner::Runner,
    migrate,
    postgres::{Session, SettingsDelivery, start_conditions::wait_to_start},
    run::{RunEnd, event::Events},
    schema::SchemaDescription,
    settings::{Settings, When},
    transport::Transport,
};
use connected::ConnectedSql;
use files::SqlFiles;
use planned::PlannedSql;
use setup::SqlSetup;

/// The executor, in one of its phases.
#[derive(Debug)]
pub enum SqlExecutor<'a> {
    /// The files have been read.
    Files(Box<SqlFiles<'a>>),
    /// The session is open.
    Connected(Box<ConnectedSql<'a>>),
    /// The plan is made.
    Planned(Box<PlannedSql<'a>>),
    /// Between two phases.
    Empty,
}

impl<'a> SqlExecutor<'a> {
    /// Reads the files; uses no network yet.
    ///
    /// # Errors
    /// All faults of the files.
    pub(super) async fn new(
        settings: &'a Settings,
        runner: &'a Runner,
        events: Events,
        audit: Option<AuditTrail>,
    ) -> Result<Self, Vec<Fault>> {
        let setup = SqlSetup::new(settings, runner, events, audit).map_err(|fault| vec![fault])?;
        Ok(Self::Files(Box::new(SqlFiles::read(setup).await?)))
    }

    /// Opens the session, and in one round trip reads the facts of the database and its ledgers, and takes the lock if
    /// it is free. Returns the way in which settings reach sessions with this database.
    ///
    /// # Errors
    /// The reason why the database can't be used.
    pub async fn connect(&mut self, transport: &Transport) -> Result<SettingsDelivery, Fault> {
        let Self::Files(files) = self else { return Err(wrong_phase()) };
        let opened = files.open_session(transport).await?;
        let delivery = opened.delivery();
        if let Self::Files(files) = std::mem::replace(self, Self::Empty) {
            *self = Self::Connected(Box::new(files.into_connected(opened)));
        }
        Ok(delivery)
    }

    /// Takes the run lock, and the lock of sqlx if its ledger is used.
    ///
    /// # Errors
    /// The holder of the lock.
    pub async fn take_run_lock(&mut self) -> Result<(), Fault> {
        self.connected()?.take_run_lock().await
    }

    /// Reads again which ledgers there are.
    ///
    /// # Errors
    /// The fault of the query.
    pub async fn find_ledgers_again(&mut self) -> Result<(), Fault> {
        self.connected()?.refresh_survey().await
    }

    /// Compares the ledger with the files.
    ///
    /// # Errors
    /// All faults that forbid the plan.
    pub async fn plan(&mut self) -> Result<(), Vec<Fault>> {
        let plan = self.connected().map_err(|fault| vec![fault])?.plan().await?;
        if let Self::Connected(connected) = std::mem::replace(self, Self::Empty) {
            *self = Self::Planned(Box::new(connected.into_planned(plan)));
        }
        Ok(())
    }

    /// Waits until the work may begin, if there is any.
    ///
    /// # Errors
    /// `not-now`.
    pub async fn wait_to_start(&self) -> Result<(), Fault> {
        let Self::Planned(planned) = self else { return Err(wrong_phase()) };
        let SqlSetup { settings, runner, events, .. } = &planned.plan.setup;
        let Some(conditions) = settings.start_conditions().filter(|_| self.has_work()) else { return Ok(()) };
        let wait = lock_holder::lock_wait(settings, runner);
        wait_to_start(&planned.main.session, conditions, &wait, events).await
    }

    /// Applies the plan. A lost connection is opened again to find out what was committed.
    ///
    /// # Errors
    /// The reason why it stopped; events report what was applied before.
    pub async fn migrate(&mut self, transport: &mut Transport) -> Result<(), Vec<Fault>> {
        self.planned().map_err(|fault| vec![fault])?.migrate(transport).await
    }

    /// Proves the result: after `migrate`, that the ledger contains everything that was applied; for `verify`, that
    /// nothing is pending; for both, that no index is INVALID.
    ///
    /// # Errors
    /// All deviations from the expected state.
    pub async fn verify(&mut self, transport: &mut Transport) -> Result<(), Vec<Fault>> {
        self.planned().map_err(|fault| vec![fault])?.verify(transport).await
    }

    /// Returns the schema as it is now.
    ///
    /// # Errors
    /// `schema-unknown`, or the lost connection.
    pub async fn current_schema(&self) -> Result<SchemaDescription, Fault> {
        let Self::Planned(planned) = self else { return Err(wrong_phase()) };
        let PlannedSql { plan, main, .. } = planned.as_ref();
        let readings = main.schema.as_ref().ok_or_else(wrong_phase)?;
        readings.current_schema(&main.session, plan.setup.settings).await
    }

    /// Returns the session that holds the run lock, and the part of the plan that a backup depends on, once it is made.
    pub(super) fn plan_to_back_up(&self) -> Option<(&Session, &BackupSubject)> {
        match self {
            Self::Planned(planned) => Some((&planned.main.session, &planned.backup_subject)),
            Self::Files(_) | Self::Connected(_) | Self::Empty => None,
        }
    }

    fn connected(&mut self) -> Result<&mut ConnectedSql<'a>, Fault> {
        match self {
            Self::Connected(connected) => Ok(connected),
            Self::Files(_) | Self::Planned(_) | Self::Empty => Err(wrong_phase()),
        }
    }

    fn planned(&mut self) -> Result<&mut PlannedSql<'a>, Fault> {
        match self {
            Self::Planned(planned) => Ok(planned),
            Self::Files(_) | Self::Connected(_) | Self::Empty => Err(wrong_phase()),
        }
    }

    /// Returns the session that holds the run lock, if it is open.
    pub(crate) fn session(&self) -> Option<&Session> {
        match self {
            Self::Connected(connected) => Some(&connected.session),
            Self::Planned(planned) => Some(&planned.main.session),
            Self::Files(_) | Self::Empty => None,
        }
    }

    fn session_mut(&mut self) -> Option<&mut Session> {
        match self {
            Self::Connected(connected) => Some(&mut connected.session),
            Self::Planned(planned) => Some(&mut planned.main.session),
            Self::Files(_) | Self::Empty => None,
        }
    }

    /// Returns whether there is anything to apply.
    #[must_use]
    pub fn has_work(&self) -> bool {
        matches!(self, Self::Planned(planned) if planned.plan.pending_count > 0)
    }

    /// Returns the step conditions that a successful run meets.
    #[must_use]
    pub fn met_conditions(&self) -> &'static [When] {
        if self.has_work() { &[When::Always, When::Pending] } else { &[When::Always] }
    }

    /// Begins the record of the run, for a step.
    pub(super) async fn begin_audit(&self) {
        let (setup, session, digest) = match self {
            Self::Connected(connected) => (&connected.setup, &connected.session, None),
            Self::Planned(planned) => (&planned.plan.setup, &planned.main.session, Some(planned.plan.digest.as_str())),
            Self::Files(_) | Self::Empty => return,
        };
        if let Some(audit) = &setup.audit {
            audit.begin_if_possible(session, digest, None).await;
        }
    }

    /// Completes the record of the run.
    pub(super) async fn end_audit(&self, end: &RunEnd) {
        let (setup, session, digest) = match self {
            Self::Connected(connected) => (&connected.setup, &connected.session, ""),
            Self::Planned(planned) => (&planned.plan.setup, &planned.main.session, planned.plan.digest.as_str()),
            Self::Files(_) | Self::Empty => return,
        };
        if let Some(audit) = &setup.audit {
            audit.end(session, end, digest).await;
        }
    }

    /// Replaces the first fault by the cause of the lost connection, if that is what it reports: the bastion and the
    /// session's driver know more than the query that found it closed.
    pub async fn with_root_cause(&mut self, transport: &Transport, mut faults: Vec<Fault>) -> Vec<Fault> {
        if let (Some(first), Some(session)) = (faults.first_mut(), self.session_mut()) {
            *first = root_cause(session, transport, first.clone()).await;
        }
        faults
    }

    /// Stops work whose future was dropped: cancels the statement until the session responds, rolls back, and reads
    /// from the ledger what was committed meanwhile.
    ///
    /// # Errors
    /// The reason why its outcome is unknown.
    pub async fn stop_work(&self, transport: &Transport) -> Result<(), Fault> {
        match self {
            Self::Connected(connected) => {
                let rollback = migrate::rollback_sql(connected.session.defaults());
                recovery::interrupt_and_roll_back(&connected.session, transport, &rollback).await
            }
            Self::Planned(planned) => planned.stop_work(transport).await,
            Self::Files(_) | Self::Empty => Ok(()),
        }
    }

    /// Reports the migrations whose outcome is unknown, after a stop that did not succeed in time.
    pub fn report_in_doubt(&self) {
        if let Self::Planned(planned) = self {
            planned.report_in_doubt();
        }
    }

    /// Closes the session, which releases the lock.
    pub async fn close(self) {
        match self {
            Self::Connected(connected) => connected.session.close().await,
            Self::Planned(planned) => planned.close().await,
            Self::Files(_) | Self::Empty => {}
        }
    }
}

/// Returns the fault of a stage that was run before the one that it builds on.
fn wrong_phase() -> Fault {
    Fault::new(Code::Bug, "the stages ran in a wrong order")
}
