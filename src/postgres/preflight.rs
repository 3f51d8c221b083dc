//! The first query of a session, in one round trip: it identifies the server and, for a run that writes, tries to
//! take the run lock.

use super::{
    own_query::{self, OwnQuery},
    pooler, query_rows,
    row_tag::RowTag,
    rows::Rows,
    run_lock,
    session::{Session, SessionMeans},
    session_settings::SettingsDelivery,
    target::{DatabaseTarget, SslMode},
    tls,
    wait::answer_within,
};
use crate::{
    fault::{Code, Fault},
    run::DatabaseFacts,
};
use std::time::Duration;

/// The oldest server version with `client_connection_check_interval`, without which the statements of a vanished run
/// would go on.
const OLDEST_VERSION: i64 = 140_000;

/// The result of the first query.
#[derive(Debug)]
pub struct Preflight {
    /// The server's `server_version_num`.
    pub server_version: Option<u32>,
    /// Facts for the report.
    pub facts: DatabaseFacts,
    /// Set if the run lock was free and is held now.
    pub locked: bool,
    /// Set if no session of another run's tool is connected.
    pub no_tool_active: bool,
    /// All rows, with those of the query that the caller added.
    pub rows: Rows,
}

/// The handling of the run lock in the first query.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LockAttempt {
    /// Leave the lock alone.
    Skip,
    /// Take the lock if it is free.
    TryRunLock,
}

/// Identifies the server and refuses an unsupported one. `extra` returns another query for the same round trip; it gets
/// the SQL condition that the backend is the session's own. Behind a pooler in session mode, the session gets its
/// settings, and the query is sent again.
///
/// # Errors
/// A standby, a pooler in another mode or a server that is too old; a failure of the query.
pub async fn run_preflight(
    session: &mut Session,
    lock_attempt: LockAttempt,
    extra: impl Fn(&str) -> OwnQuery,
    means: SessionMeans<'_>,
) -> Result<Preflight, Fault> {
    if let Some(result) = ask_server(session, lock_attempt, &extra, means.wait).await? {
        session.server_version = result.server_version;
        return Ok(result);
    }
    session.leave_settings_to_statements()?;
    pooler::check_session_mode(session, means).await?;
    pooler::take_backend(session, means.wait).await?;
    let result = ask_server(session, lock_attempt, &extra, means.wait).await?;
    let result = result.ok_or_else(|| pooler::shared_backend_fault(session.target()))?;
    session.server_version = result.server_version;
    Ok(result)
}

/// Sends the first query; none if the backend that answers is not the session's own.
async fn ask_server(
    session: &Session,
    lock_attempt: LockAttempt,
    extra: impl Fn(&str) -> OwnQuery,
    wait: Duration,
) -> Result<Option<Preflight>, Fault> {
    let target = session.target();
    // Behind a pooler the lock would stay with a backend that is not ours.
    let is_own = session.is_own_backend_sql();
    let lock = match lock_attempt {
        LockAttempt::Skip => "NULL".to_owned(),
        LockAttempt::TryRunLock => format!(
            "CASE WHEN {is_own} AND NOT pg_catalog.pg_is_in_recovery() THEN pg_catalog.pg_try_advisory_lock({}) END",
            own_query::bastion_migrate_key()
        ),
    };
    let sql = format!(
        "SELECT {}, current_setting('server_version_num'), current_setting('server_version'), \
         pg_is_in_recovery(), {is_own}, session_user, current_user, {lock}, {}",
        RowTag::Server,
        run_lock::ACTIVE_TOOL_COUNT
    );
    let query = extra(&is_own).with_prepended(&sql);
    let rows = answer_within(wait, query_rows(&session.client, &query)).await?;
    let Some(server) = rows.tagged(RowTag::Server).next() else {
        return Err(Fault::new(Code::DatabaseNotPostgres, "the server does not report its version"));
    };
    let [number, version, in_recovery, is_own, role, acting_role, locked, tool_count] =
        server.columns().map(Option::unwrap_or_default);
    refuse_unsupported(number, version, in_recovery, target)?;
    if is_own != "t" {
        return Ok(None);
    }
    if let Some(wanted) = target.role.as_deref().filter(|wanted| session.takes_role() && *wanted != acting_role) {
        let cause = format!("the session has the role `{acting_role}`, and not `{wanted}`, which it asked for");
        return Err(Fault::new(Code::DatabaseRole, cause));
    }
    let facts = DatabaseFacts {
        host: target.host.clone(),
        port: target.port,
        name: target.name.clone(),
        role: role.to_owned(),
        acting_role: (acting_role != role).then(|| acting_role.to_owned()),
        version: version.split_whitespace().next().unwrap_or_default().to_owned(),
        tls: match tls::effective_mode(target) {
            SslMode::Disable => "off".to_owned(),
            mode => mode.name().to_owned(),
        },
        pooler: match session.delivery() {
            SettingsDelivery::StartupPacket => None,
            SettingsDelivery::Statements => Some("session".to_owned()),
        },
    };
    let server_version = number.parse().ok();
    Ok(Some(Preflight { server_version, facts, locked: locked == "t", no_tool_active: tool_count == "0", rows }))
}

fn refuse_unsupported(number: &str, version: &str, in_recovery: &str, target: &DatabaseTarget) -> Result<(), Fault> {
    if number.parse::<i64>().is_ok_and(|number| number < OLDEST_VERSION) {
        return Err(Fault::new(Code::DatabaseTooOld, format!("the server is PostgreSQL {version}")));
    }
    if in_recovery == "t" {
        let at = format!("`{}:{}` is a read-only standby", target.host, target.port);
        return Err(Fault::new(Code::DatabaseStandby, at));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target() -> DatabaseTarget {
        DatabaseTarget::new("db", 5432, "app", "shop")
    }

    #[test]
    fn refuses_servers_older_than_14_and_standbys() {
        let fault = refuse_unsupported("130014", "13.14 (Debian 13.14-1)", "f", &target()).unwrap_err();
        assert_eq!(
            (fault.code, fault.cause.as_str()),
            (Code::DatabaseTooOld, "the server is PostgreSQL 13.14 (Debian 13.14-1)")
        );
        let fault = refuse_unsupported("140000", "14.0", "t", &target()).unwrap_err();
        assert_eq!((fault.code, fault.cause.as_str()), (Code::DatabaseStandby, "`db:5432` is a read-only standby"));
        for number in ["140000", "180001", ""] {
            assert!(refuse_unsupported(number, "", "f", &target()).is_ok(), "{number}");
        }
    }
}
