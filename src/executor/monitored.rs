//! Work of our own is watched over like a tool's, once it takes so long, or has met a lock, that there is something to see: a
//! run that is over by then pays for no second connection.

use crate::{
    fault::Code,
    github::runner::Runner,
    postgres::{ActivityMonitor, LockWaits, WatchedSessions, WorkOwner, run_lock},
    run::event::{Event, Events},
    settings::Settings,
    transport::Transport,
};
use futures_util::future::{Either, pending, select};
use std::{convert::Infallible, pin::pin, time::Duration};

/// Before that nobody is watched who has met no lock.
const GRACE: Duration = Duration::from_millis(500);

/// Who watches, and over which backend.
#[derive(Debug, Clone, Copy)]
pub(super) struct Watch<'w> {
    pub(super) settings: &'w Settings,
    pub(super) runner: &'w Runner,
    pub(super) events: &'w Events,
    pub(super) pid: i32,
}

/// Does the work, and tells meanwhile who is in its way and how far it is.
pub(super) async fn watched<T>(
    watch: Watch<'_>,
    reach: &Transport,
    lookout: &LockWaits,
    work: impl Future<Output = T>,
) -> T {
    match select(pin!(work), pin!(looking(watch, reach, lookout))).await {
        Either::Left((done, _)) => done,
        Either::Right((never, _)) => match never {},
    }
}

async fn looking(watch: Watch<'_>, reach: &Transport, lookout: &LockWaits) -> Infallible {
    let Watch { settings, runner, events, pid } = watch;
    lookout.wait_for_phase_change(GRACE).await;
    let Some(target) = &settings.database else { return pending().await };
    match ActivityMonitor::connect(
        reach,
        target,
        &run_lock::monitor_application_name(runner),
        settings.wait_timeout,
        events,
    )
    .await
    {
        Ok(guard) => {
            let ward = || WatchedSessions { pids: vec![pid], owner: WorkOwner::Run, ..WatchedSessions::default() };
            guard.poll_activity(ward, lookout, events).await
        }
        // The session that works notices as well, and says so.
        Err(fault) if fault.code.ends_session() || fault.code == Code::BastionLost => pending().await,
        Err(fault) => {
            events.tell(Event::Warning(fault.detail("so nobody watches who blocks whom during this run")));
            pending().await
        }
    }
}
