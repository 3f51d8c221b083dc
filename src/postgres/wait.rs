//! Waits, bounded, until the database accepts queries and answers them, and says each time why it does not yet.

use super::{
    session::{Session, Startup},
    target::Target,
};
use crate::{
    fault::{Code, Fault},
    run::event::{Event, Events},
    transport::Reach,
};
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout, timeout_at};

/// The first pause between two tries; it doubles up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// A session, as soon as the database gives one, at the latest after `wait`.
///
/// # Errors
/// At once what waiting can't mend (log-in, TLS, names); after `wait` the last reason.
pub async fn connect(
    reach: &Reach,
    target: &Target,
    startup: &Startup,
    wait: Duration,
    events: &Events,
) -> Result<Session, Fault> {
    let deadline = Instant::now() + wait;
    let mut pause = FIRST_PAUSE;
    let mut reason = Fault::new(Code::DatabaseTimeout, format!("`{}:{}` does not answer", target.host, target.port));
    loop {
        // What ends with the wait has no answer of its own: the one before it counts.
        let fault = match timeout_at(deadline, Session::connect(reach, target, startup, events)).await {
            Ok(Ok(session)) => return Ok(session),
            Ok(Err(fault)) => fault,
            Err(_) => reason,
        };
        if !may_pass(&fault) {
            return Err(fault);
        }
        if Instant::now() + pause >= deadline {
            let waited = format!("waited {} s for it (`wait-timeout`)", wait.as_secs());
            return Err(fault.detail(waited));
        }
        events.tell(Event::Waiting { what: "the database".to_owned(), why: fault.cause.clone() });
        reason = fault;
        sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// The answer to questions of ours, at the latest after `wait`: a database can fall silent, and its network stand still,
/// without a word.
///
/// # Errors
/// The answer's own; `database-timeout`, after which the session is of no use any more.
pub async fn answered<T>(wait: Duration, answer: impl Future<Output = Result<T, Fault>>) -> Result<T, Fault> {
    timeout(wait, answer).await.unwrap_or_else(|_| Err(silence(wait)))
}

/// The fault for a database that says nothing any more.
#[must_use]
pub fn silence(wait: Duration) -> Fault {
    let cause = format!("the database has not answered for {} s (`wait-timeout`)", wait.as_secs());
    Fault::new(Code::DatabaseTimeout, cause)
        .fix("find out what keeps the database, or the network between the bastion and it, from answering; raise `wait-timeout` if it is only slow")
}

/// Whether the same try can succeed a little later.
fn may_pass(fault: &Fault) -> bool {
    matches!(fault.code, Code::DatabaseRefused | Code::DatabaseTimeout | Code::DatabaseUnready | Code::DatabaseLost)
}
