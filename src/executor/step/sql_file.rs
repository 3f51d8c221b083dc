//! A step that is an SQL file: it runs over a session of its own.

use crate::{
    executor::monitored::{MonitoredBackend, run_monitored},
    fault::{Code, Fault, FilePosition},
    migrate::run_script,
    postgres::{
        DISABLE_TRANSACTION_TIMEOUT, LockWaits, Session, SessionSettings, StatementTimeouts,
        fault::statement_fault,
        own_query::OwnQuery,
        pooler, query_rows, run_lock,
        wait::{self, answer_within},
        waits_for_transactions,
    },
    run::blocking::run_blocking,
    site::Sites,
    sql::SqlSource,
    transport::Transport,
};
use std::{path::Path, time::Duration};
use tokio::time::timeout;

/// Runs the file as psql would run it as one command: in one transaction, unless the file controls transactions itself.
///
/// # Errors
/// The server's error with its position in the file; `step-timeout`.
pub(crate) async fn run_sql_file(
    sites: &Sites<'_>,
    file_name: &str,
    path: &Path,
    limit: Option<Duration>,
) -> Result<(), Fault> {
    let file = path.to_owned();
    let text = run_blocking(move || std::fs::read_to_string(file)).await.map_err(|error| {
        Fault::new(Code::FileUnreadable, format!("the file `{file_name}` can't be read"))
            .with_causes(&error)
            .in_file(FilePosition::of_file(file_name))
    })?;
    let text = text.trim_start_matches('\u{feff}');
    let safety = &sites.settings.safety;
    let timeouts = StatementTimeouts {
        lock: if waits_for_transactions(text).is_some() { Duration::ZERO } else { safety.lock_timeout },
        statement: safety.statement_timeout,
    };
    let target = sites.settings.required_database()?;
    let startup = SessionSettings::for_step(run_lock::tool_application_name(sites.runner), timeouts, target);
    let wait = sites.settings.wait_timeout;
    let events = sites.events.clone().for_file(file_name);
    let startup = startup.delivered(sites.delivery());
    let mut session = wait::wait_for_session(sites.transport()?, target, &startup, wait, &events).await?;
    pooler::take_backend_if_pooled(&mut session, wait).await?;
    let watch = MonitoredBackend { settings: sites.settings, runner: sites.runner, events: &events, session: &session };
    let (transport, lock_waits) = (sites.transport()?, LockWaits::default());
    let work = run_within_limit(transport, limit, (file_name, text), (&session, wait));
    let done = match run_monitored(watch, transport, &lock_waits, work).await {
        Ok(()) => answer_within(wait, check_transaction_ended(&session, file_name)).await,
        failed => {
            failed.map_err(|fault| match lock_waits.describe_blockers().filter(|_| fault.code == Code::LockTimeout) {
                Some(blockers) => fault.detail(blockers),
                None => fault,
            })
        }
    };
    session.close().await;
    done
}

async fn run_within_limit(
    transport: &Transport,
    limit: Option<Duration>,
    (file_name, text): (&str, &str),
    (session, wait): (&Session, Duration),
) -> Result<(), Fault> {
    let work = async {
        let unlimited = format!("DO $bastion_migrate$ BEGIN {DISABLE_TRANSACTION_TIMEOUT}END $bastion_migrate$");
        session.client.batch_execute(&unlimited).await.map_err(|error| statement_fault(&error))?;
        run_script(&session.client, SqlSource::of_file(file_name, text)).await
    };
    let Some(limit) = limit else { return work.await };
    if let Ok(done) = timeout(limit, work).await {
        return done;
    }
    answer_within(wait, session.canceller().cancel(transport)).await?;
    let cause = format!("`{file_name}` was not done after {} s", limit.as_secs());
    Err(Fault::new(Code::StepTimeout, cause))
}

/// Fails if the file has left a transaction open: it would be rolled back with the session, without a notice.
async fn check_transaction_ended(session: &Session, file_name: &str) -> Result<(), Fault> {
    // In an open transaction, its start time differs from that of this statement.
    let query = OwnQuery::read_write("SELECT now() <> statement_timestamp()");
    let rows = query_rows(&session.client, &query).await?;
    match rows.first_text() {
        Some("t") => {
            let cause = format!("`{file_name}` begins a transaction and does not end it: its changes were rolled back");
            Err(Fault::new(Code::OwnTransaction, cause)
                .fix("add COMMIT at its end")
                .in_file(FilePosition::of_file(file_name)))
        }
        _ => Ok(()),
    }
}
