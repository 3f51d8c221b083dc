//! Waits with a time limit for a session and for responses, and reports the reason for each wait.

use super::{session::Session, session_settings::SessionSettings, target::DatabaseTarget};
use crate::{
    fault::{Code, Fault},
    run::event::{Event, Events},
    transport::Transport,
};
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout, timeout_at};

/// The first pause between two tries; it doubles up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// Connects as soon as the database accepts a session, within `wait`.
///
/// # Errors
/// A permanent fault (login, TLS, names) at once; after `wait` the last transient one.
pub async fn wait_for_session(
    transport: &Transport,
    target: &DatabaseTarget,
    settings: &SessionSettings,
    wait: Duration,
    events: &Events,
) -> Result<Session, Fault> {
    if let Some(login) = &target.identity.token {
        // Its sources have time limits of their own, and are not the database. The session gets this one.
        Box::pin(login.fresh_token(events)).await?;
    }
    let deadline = Instant::now() + wait;
    let mut pause = FIRST_PAUSE;
    let mut reason = Fault::new(Code::DatabaseTimeout, format!("`{}:{}` does not answer", target.host, target.port));
    loop {
        // An attempt cut off by the deadline has no result of its own: the previous fault is returned.
        let fault = match timeout_at(deadline, Session::connect(transport, target, settings, events)).await {
            Ok(Ok(session)) => return Ok(session),
            Ok(Err(fault)) => fault,
            Err(_) => reason,
        };
        if !is_transient(&fault) {
            return Err(fault);
        }
        if Instant::now() + pause >= deadline {
            let waited = format!("waited {} s for it (`wait-timeout`)", wait.as_secs());
            return Err(fault.detail(waited));
        }
        events.emit(Event::Waiting { what: "the database".to_owned(), why: fault.cause.clone() });
        reason = fault;
        sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// Tries again until the deadline if the session of an attempt is lost: a server that notices a crash ends all sessions, also
/// those that it has accepted since.
///
/// # Errors
/// Any other fault of an attempt at once; after the deadline the loss of the last one.
pub async fn retry_if_lost<T>(
    deadline: Instant,
    mut attempt: impl AsyncFnMut() -> Result<T, Fault>,
) -> Result<T, Fault> {
    loop {
        match attempt().await {
            Err(lost) if lost.code == Code::DatabaseLost && Instant::now() + FIRST_PAUSE < deadline => {
                sleep(FIRST_PAUSE).await;
            }
            result => return result,
        }
    }
}

/// Waits for a response no longer than `wait`: a database or its network can stop responding without an error.
///
/// # Errors
/// The response's own fault; `database-timeout`, after which the session is no longer usable.
pub async fn answer_within<T>(wait: Duration, response: impl Future<Output = Result<T, Fault>>) -> Result<T, Fault> {
    timeout(wait, response).await.unwrap_or_else(|_| Err(no_answer_fault(wait)))
}

/// Returns the fault for a database that no longer responds.
#[must_use]
pub fn no_answer_fault(wait: Duration) -> Fault {
    let cause = format!("the database has not answered for {} s (`wait-timeout`)", wait.as_secs());
    Fault::new(Code::DatabaseTimeout, cause)
        .fix("find out what keeps the database, or the network between the bastion and it, from answering; raise `wait-timeout` if it is only slow")
}

/// Reports whether the same attempt can succeed a little later.
fn is_transient(fault: &Fault) -> bool {
    matches!(
        fault.code,
        Code::DatabaseRefused | Code::DatabaseTimeout | Code::DatabaseUnready | Code::DatabaseLost | Code::ViaRefused
    )
}
