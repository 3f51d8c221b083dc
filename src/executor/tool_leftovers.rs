//! The leftovers of a tool in the database: backends without a client, and INVALID indexes.

use super::lock_holder::LockHolder;
use crate::{
    fault::Fault,
    ledger::{invalid_indexes_sql, parse_invalid_indexes},
    postgres::{
        LockWaits, SessionSettings, WatchedSessions,
        fault::statement_fault,
        own_query::{AS_LOGIN_ROLE, OwnQuery},
        run_lock,
    },
    transport::Transport,
};
use futures_util::future::{Either, select};
use std::{pin::pin, time::Duration};
use tokio::time::{Instant, sleep};

/// Time limit for terminated backends to end.
const BACKEND_END_TIMEOUT: Duration = Duration::from_secs(3);

/// The backends of a tool that has no client any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ToolBackends {
    /// There were none left.
    Gone,
    /// Some had to be ended.
    Ended,
}

impl LockHolder<'_> {
    /// Returns the INVALID indexes by their SQL names.
    ///
    /// # Errors
    /// The fault of the query.
    pub(super) async fn invalid_indexes(&self) -> Result<Vec<String>, Fault> {
        let query = OwnQuery::read_only(invalid_indexes_sql()).requiring_lock(self.lock_requirement());
        let rows = self.query_rows(&query).await?;
        Ok(parse_invalid_indexes(&rows))
    }

    /// Drops the indexes that a tool's attempt left INVALID. That waits for other transactions, too, without a limit.
    ///
    /// # Errors
    /// The reason why one of them remains.
    pub(super) async fn drop_indexes(
        &self,
        transport: &Transport,
        indexes: &[String],
        lock_waits: &LockWaits,
    ) -> Result<(), Fault> {
        let target = self.settings.required_database()?;
        let startup = SessionSettings::dropping_indexes(run_lock::tool_application_name(self.runner), target);
        let session = self.connect_beside(transport, startup).await?;
        let work = async {
            session.client.batch_execute("SET lock_timeout TO 0").await?;
            for index in indexes {
                session.client.batch_execute(&format!("DROP INDEX CONCURRENTLY {index}")).await?;
                self.events.emit_note(format!("dropped the INVALID index {index} that this attempt left behind"));
            }
            Ok(())
        };
        lock_waits.begin_attempt(Duration::ZERO);
        let watch = self.monitor_until_lost(transport, || vec![session.pid()], lock_waits);
        let dropped = match select(pin!(work), pin!(watch)).await {
            Either::Left((done, _)) => done.map_err(|error: tokio_postgres::Error| statement_fault(&error)),
            Either::Right((lost, _)) => Err(lost),
        };
        session.close().await;
        dropped
    }

    /// Terminates the backends of a tool that has no client any more, and returns whether there were any; otherwise they
    /// would end only with their statement. Without the run lock, sessions with the tool's name may belong to another job,
    /// and only the given backends are terminated.
    ///
    /// # Errors
    /// The fault of the query.
    pub(super) async fn end_backends(&self, pids: Vec<i32>) -> Result<ToolBackends, Fault> {
        let WatchedSessions { application_name, pids, .. } = self.watched_sessions(pids);
        let application_literal = crate::postgres::quote_literal(if self.has_lock { &application_name } else { "" });
        let pids: Vec<String> = pids.iter().map(ToString::to_string).collect();
        let sql = format!(
            "{AS_LOGIN_ROLE}; SELECT pg_catalog.pg_terminate_backend(pid) FROM pg_catalog.pg_stat_activity WHERE pid = ANY ('{{{}}}'::int[]) \
             OR (datname = pg_catalog.current_database() AND application_name = {application_literal} AND application_name <> '')",
            pids.join(","),
        );
        let deadline = Instant::now() + BACKEND_END_TIMEOUT;
        let mut found = ToolBackends::Gone;
        loop {
            let remaining_rows = self.query_rows(&OwnQuery::read_only(&sql)).await?;
            if remaining_rows.is_empty() || Instant::now() >= deadline {
                return Ok(found);
            }
            found = ToolBackends::Ended;
            sleep(Duration::from_millis(100)).await;
        }
    }
}
