//! Monitoring of our own work, as of a tool's, once it has run for some time or met a lock: a run that is shorter needs
//! no second connection.

use crate::{
    fault::Code,
    github::runner::Runner,
    postgres::{ActivityMonitor, LockWaits, Session, SessionMeans, WatchedSessions, WorkOwner, run_lock},
    run::event::{Event, Events},
    settings::Settings,
    transport::Transport,
};
use futures_util::future::{Either, pending, select};
use std::{convert::Infallible, pin::pin, time::Duration};

/// Delay before work is monitored that has met no lock.
const MONITOR_DELAY: Duration = Duration::from_millis(500);

/// A backend of ours, and the means to monitor it.
#[derive(Debug, Clone, Copy)]
pub(super) struct MonitoredBackend<'w> {
    pub(super) settings: &'w Settings,
    pub(super) runner: &'w Runner,
    pub(super) events: &'w Events,
    pub(super) session: &'w Session,
}

/// Does the work, and reports meanwhile which sessions block it and its progress.
pub(super) async fn run_monitored<T>(
    watch: MonitoredBackend<'_>,
    transport: &Transport,
    lock_waits: &LockWaits,
    work: impl Future<Output = T>,
) -> T {
    match select(pin!(work), pin!(monitor_when_needed(watch, transport, lock_waits))).await {
        Either::Left((done, _)) => done,
        Either::Right((never, _)) => match never {},
    }
}

async fn monitor_when_needed(watch: MonitoredBackend<'_>, transport: &Transport, lock_waits: &LockWaits) -> Infallible {
    let MonitoredBackend { settings, runner, events, session } = watch;
    lock_waits.wait_for_phase_change(MONITOR_DELAY).await;
    let Some(target) = &settings.database else { return pending().await };
    let name = run_lock::monitor_application_name(runner);
    let means = SessionMeans { transport, wait: settings.wait_timeout, events };
    match ActivityMonitor::connect(target, &name, session.delivery(), means).await {
        Ok(monitor) => {
            let watched =
                || WatchedSessions { pids: vec![session.pid()], owner: WorkOwner::Run, ..WatchedSessions::default() };
            monitor.poll_activity(watched, lock_waits, events).await
        }
        // The working session notices this loss as well, and reports it.
        Err(fault) if fault.code.ends_session() || fault.code == Code::BastionLost => pending().await,
        Err(fault) => {
            events.emit(Event::Warning(fault.detail("so blocked sessions are not monitored during this run")));
            pending().await
        }
    }
}
