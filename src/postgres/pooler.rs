//! Sessions through a connection pooler. In session mode it gives a session one server session until the end; in
//! transaction or statement mode any of its server sessions runs the next query, so no lock and no setting holds.
//!
//! Nothing may be set before the mode is known: in the other modes it would stay in server sessions of others.

use super::{
    fault::{setting_fault, statement_fault},
    own_query::{AS_LOGIN_ROLE, OwnQuery},
    query_rows,
    session::{DISCARD_ALL, Session, SessionMeans},
    session_settings::{SessionSettings, SettingsDelivery},
    target::DatabaseTarget,
    wait::answer_within,
};
use crate::fault::{Code, Fault};
use futures_util::future::join;
use std::time::Duration;
use tokio::time::timeout;

/// Number of times that each of two sessions must keep its backend while the other one is in a transaction. One is
/// enough unless other clients take the backends in between.
const ROUNDS: usize = 3;

/// Time limit for a pooler to give a session a backend: one that has none left lets it wait for minutes.
const BACKEND_TIMEOUT: Duration = Duration::from_secs(5);

/// Number of backends that a pooler may have kept since before a time.
const MAX_KEPT_BACKENDS: usize = 200;

/// Checks that the pooler keeps one backend for this session: a second session through it gets another one, and both
/// keep theirs, whichever of them is in a transaction. In the other modes, a backend is free for others as soon as no
/// transaction is open.
///
/// # Errors
/// `database-pooler`.
pub(super) async fn check_session_mode(session: &Session, means: SessionMeans<'_>) -> Result<(), Fault> {
    let limit = means.wait.min(BACKEND_TIMEOUT);
    let settings = SessionSettings::named("").delivered(SettingsDelivery::Statements);
    let connecting = Session::connect(means.transport, session.target(), &settings, means.events);
    let probe = timeout(limit, connecting).await.unwrap_or_else(|_| Err(no_second_session_fault(session.target())))?;
    let result = compare_backends(session, &probe, limit).await;
    if result.is_ok() {
        // Its backend is its own, so no other client loses anything.
        drop(timeout(limit, probe.client.batch_execute(DISCARD_ALL)).await);
    }
    probe.close().await;
    result
}

async fn compare_backends(session: &Session, probe: &Session, limit: Duration) -> Result<(), Fault> {
    let shared = || shared_backend_fault(session.target());
    let own = backend_pid(session, limit).await?.ok_or_else(shared)?;
    let other = backend_pid(probe, limit).await?.ok_or_else(|| no_second_session_fault(session.target()))?;
    for _ in 0..ROUNDS {
        for ((holder, held), (idle, kept)) in [((probe, other), (session, own)), ((session, own), (probe, other))] {
            run_within(limit, holder, "BEGIN READ ONLY").await?.ok_or_else(shared)?;
            let (in_transaction, beside) = join(backend_pid(holder, limit), backend_pid(idle, limit)).await;
            let beside = beside?;
            // If it got no backend, nor does the end of the transaction help.
            if in_transaction? != Some(held) || beside != Some(kept) || own == other {
                return Err(shared());
            }
            run_within(limit, holder, "COMMIT").await?.ok_or_else(shared)?;
        }
    }
    Ok(())
}

/// Returns the pid of the backend that answers; none if there is no answer.
async fn backend_pid(session: &Session, limit: Duration) -> Result<Option<i32>, Fault> {
    let query = OwnQuery::read_only("SELECT pg_backend_pid()");
    match timeout(limit, query_rows(&session.client, &query)).await {
        Ok(rows) => Ok(rows?.row(0).and_then(|row| row.parse(0))),
        Err(_) => Ok(None),
    }
}

/// Runs a statement; none if the pooler refuses it, as in statement mode, or does not answer.
async fn run_within(limit: Duration, session: &Session, sql: &str) -> Result<Option<()>, Fault> {
    match timeout(limit, session.client.batch_execute(sql)).await {
        Ok(Ok(())) => Ok(Some(())),
        Ok(Err(error)) if error.as_db_error().is_none() => Err(statement_fault(&error)),
        Ok(Err(_)) | Err(_) => Ok(None),
    }
}

/// Takes the backend that a pooler in session mode gives to this session: discards all that other clients have left
/// there, and sets the session's own settings.
///
/// # Errors
/// A setting that can't be set there; a failure of the query.
pub async fn take_backend(session: &mut Session, wait: Duration) -> Result<(), Fault> {
    let taking = async {
        session.client.batch_execute(DISCARD_ALL).await.map_err(|error| statement_fault(&error))?;
        let set = session.client.batch_execute(&session.defaults().reset_all_sql()).await;
        set.map_err(|error| setting_fault(&error, session.target()))?;
        backend_pid(session, wait).await
    };
    let pid = answer_within(wait, taking).await?;
    session.keep_backend(pid.ok_or_else(|| shared_backend_fault(session.target()))?);
    Ok(())
}

/// Takes the backend of a further session if it is behind a pooler, whose mode is known.
///
/// # Errors
/// A setting that can't be set there; a failure of the query.
pub async fn take_backend_if_pooled(session: &mut Session, wait: Duration) -> Result<(), Fault> {
    match session.delivery() {
        SettingsDelivery::StartupPacket => Ok(()),
        SettingsDelivery::Statements => take_backend(session, wait).await,
    }
}

/// Opens a session that begins with the settings which the database and the role have now. A pooler may have kept a
/// backend from before they changed: such a one is ended.
///
/// # Errors
/// The reason why there is none.
pub async fn connect_anew(
    previous: &Session,
    startup: &SessionSettings,
    since: Option<&str>,
    means: SessionMeans<'_>,
) -> Result<Session, Fault> {
    let startup = startup.clone().delivered(previous.delivery());
    for _ in 0..MAX_KEPT_BACKENDS {
        let mut session = Session::connect(means.transport, previous.target(), &startup, means.events).await?;
        take_backend_if_pooled(&mut session, means.wait).await?;
        let Some(since) = since else { return Ok(session) };
        if has_begun_since(&session, since).await? {
            return Ok(session);
        }
        // The pooler closes the session with its backend, so there is no answer.
        drop(session.client.batch_execute(END_BACKEND).await);
        session.abort_driver().await;
    }
    Err(no_second_session_fault(previous.target()))
}

/// Ends the session's own backend, as its login role.
const END_BACKEND: &str =
    "RESET SESSION AUTHORIZATION; SET ROLE NONE; SELECT pg_catalog.pg_terminate_backend(pg_catalog.pg_backend_pid())";

/// Returns the server's time, if the session's backend comes from a pooler: a newer one begins after it.
///
/// # Errors
/// The fault of the query.
pub async fn server_time_if_pooled(session: &Session) -> Result<Option<String>, Fault> {
    match session.delivery() {
        SettingsDelivery::StartupPacket => Ok(None),
        SettingsDelivery::Statements => {
            let query = OwnQuery::read_only("SELECT extract(epoch FROM clock_timestamp())");
            Ok(query_rows(&session.client, &query).await?.first_text().map(str::to_owned))
        }
    }
}

async fn has_begun_since(session: &Session, since: &str) -> Result<bool, Fault> {
    let sql = format!(
        "{AS_LOGIN_ROLE}; SELECT extract(epoch FROM backend_start) > {since} FROM pg_stat_activity WHERE pid = pg_backend_pid()"
    );
    let rows = query_rows(&session.client, &OwnQuery::read_only(sql)).await?;
    Ok(rows.first_text() == Some("t"))
}

/// Returns the fault of a pooler that gives the same backend to several sessions.
pub(super) fn shared_backend_fault(target: &DatabaseTarget) -> Fault {
    let at = format!("`{}:{}`", target.host, target.port);
    let cause = format!(
        "a connection pooler answers at {at}, in transaction or statement mode: the run lock would not hold behind it"
    );
    Fault::new(Code::DatabasePooler, cause)
}

fn no_second_session_fault(target: &DatabaseTarget) -> Fault {
    let at = format!("`{}:{}`", target.host, target.port);
    let cause = format!(
        "a connection pooler answers at {at}, and has no server session for a second session of ours within {} s, so \
         its mode can't be checked",
        BACKEND_TIMEOUT.as_secs()
    );
    Fault::new(Code::DatabasePooler, cause)
        .fix("raise the size of its pool: a run needs up to three; or use the direct port")
}
