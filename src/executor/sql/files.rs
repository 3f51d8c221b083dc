//! The first phase: the files have been read, and the session is opened.

use super::{
    connected::{ConnectedSql, opening_query},
    fresh_session, recovery,
    setup::SqlSetup,
};
use crate::{
    executor::lock_holder,
    fault::Fault,
    ledger::{LedgerState, Survey},
    migrate::{self, FreshState, MigrationFiles},
    postgres::{Session, preflight, wait},
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
    state_without_ledger: LedgerState,
    fresh_state: FreshState,
    has_lock: bool,
    is_alone: bool,
}

impl<'a> SqlFiles<'a> {
    /// Reads the files.
    ///
    /// # Errors
    /// All faults of the files.
    pub(super) async fn read(setup: SqlSetup<'a>) -> Result<Self, Vec<Fault>> {
        let directory = setup.settings.sql.clone();
        let files = run_blocking(move || migrate::read_directory(&directory)).await?;
        files.warnings().iter().for_each(|warning| setup.events.emit(Event::Warning(warning.clone())));
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
        let query = opening_query(settings).with_appended(&fresh_session::fresh_state_query(target));
        let attempt = lock_holder::lock_attempt(settings);
        let result = match preflight::run_preflight(&session, target, attempt, query, wait).await {
            Ok(result) => result,
            Err(symptom) => return Err(recovery::root_cause(&mut session, transport, symptom).await),
        };
        let fresh_state = fresh_session::parse_fresh_state(target, &result.rows)?;
        events.emit(Event::Database(result.facts));
        Ok(OpenedSession {
            session,
            survey: Survey::from_rows(&result.rows),
            state_without_ledger: LedgerState::from_rows(&result.rows),
            fresh_state,
            has_lock: result.locked,
            is_alone: result.no_tool_active,
        })
    }

    /// Continues with this session.
    pub(super) fn into_connected(self, opened: OpenedSession) -> ConnectedSql<'a> {
        let OpenedSession { session, survey, state_without_ledger, fresh_state, has_lock, is_alone } = opened;
        let Self { setup, files } = self;
        ConnectedSql { setup, session, files, survey, state_without_ledger, fresh_state, has_lock, is_alone }
    }
}
