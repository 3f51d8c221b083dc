//! The first phase: the files have been read, and the session is opened.

use super::{
    connected::{ConnectedSql, opening_query, state_without_ledger},
    fresh_session::{self, NewSessionState},
    setup::{self, SqlSetup},
};
use crate::{
    executor::{lock_holder, root_cause::root_cause},
    fault::Fault,
    ledger::{DatabaseState, Survey},
    migrate::{self, MigrationFiles},
    postgres::{
        Session, SessionMeans, SettingsDelivery,
        preflight::{self, LockAttempt},
        run_lock::{self, AdvisoryLock},
        wait,
    },
    run::{blocking::run_blocking, event::Event},
    transport::Transport,
};

/// The files, before there is a session.
#[derive(Debug)]
pub struct SqlFiles<'a> {
    setup: SqlSetup<'a>,
    files: MigrationFiles,
}

/// A new session, and the response to its first query.
#[derive(Debug)]
pub(super) struct OpenedSession {
    session: Session,
    survey: Survey,
    /// The state of a database without a ledger.
    state_without_ledger: DatabaseState,
    new_session: NewSessionState,
    has_lock: bool,
    /// The locks of the layout's tool that the first query took.
    held_locks: Vec<AdvisoryLock>,
    is_alone: bool,
}

impl OpenedSession {
    /// Returns the way in which settings reach sessions with this database.
    pub(super) fn delivery(&self) -> SettingsDelivery {
        self.session.delivery()
    }
}

impl<'a> SqlFiles<'a> {
    /// Reads the files.
    ///
    /// # Errors
    /// All faults of the files.
    pub(super) async fn read(setup: SqlSetup<'a>) -> Result<Self, Vec<Fault>> {
        let directory = setup.settings.sql.clone();
        let files = run_blocking(move || migrate::read_directory(&directory)).await?;
        Ok(Self { setup, files })
    }

    /// Opens the session and sends its first query.
    ///
    /// # Errors
    /// The reason why the database can't be used.
    pub(super) async fn open_session(&self, transport: &Transport) -> Result<OpenedSession, Fault> {
        let SqlSetup { settings, events, target, startup, .. } = &self.setup;
        let wait = settings.wait_timeout;
        let mut session = wait::wait_for_session(transport, target, startup, wait, events).await?;
        let attempt = lock_holder::lock_attempt(settings);
        let likely_layout = self.files.likely_layout().filter(|_| settings.sql.tenants.is_none());
        let likely_locks = match (attempt, likely_layout) {
            (LockAttempt::TryRunLock, Some(layout)) => setup::usual_locks(layout, target),
            _ => Vec::new(),
        };
        let locks = fresh_session::own_locks(target, &likely_locks);
        let query = |is_own_backend: &str| {
            opening_query(settings)
                .with_appended(&fresh_session::fresh_state_query(&locks))
                .with_appended(&run_lock::try_under_run_lock_sql(&likely_locks, is_own_backend))
        };
        let means = SessionMeans { transport, wait, events };
        let result = match preflight::run_preflight(&mut session, attempt, query, means).await {
            Ok(result) => result,
            Err(symptom) => return Err(root_cause(&mut session, transport, symptom).await),
        };
        let new_session = fresh_session::parse_fresh_state(&result.rows)?;
        events.emit(Event::Database(result.facts));
        Ok(OpenedSession {
            session,
            survey: Survey::from_rows(&result.rows),
            state_without_ledger: state_without_ledger(&result.rows),
            new_session,
            has_lock: result.locked,
            held_locks: run_lock::parse_taken_locks(&likely_locks, &result.rows),
            is_alone: result.no_tool_active,
        })
    }

    /// Continues with this session.
    pub(super) fn into_connected(self, opened: OpenedSession) -> ConnectedSql<'a> {
        let OpenedSession { session, survey, state_without_ledger, new_session, has_lock, held_locks, is_alone } =
            opened;
        let Self { setup, files } = self;
        ConnectedSql {
            setup,
            session,
            files,
            survey,
            state_without_ledger,
            early_read: None,
            new_session,
            has_lock,
            held_locks,
            is_alone,
        }
    }
}
