//! Statistics of a listener: counts, and the last failure. No content of the clients' sessions.

use super::backend_event::BackendEvent;
use crate::fault::Fault;
use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Instant,
};

/// The traffic of a listener.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Traffic {
    /// All connections, including those that sent only a cancel request or nothing.
    pub connections: u64,
    /// Connections whose sessions have our settings.
    pub settled: u64,
    /// Connections whose TLS was passed through.
    pub untouched: u64,
    /// Connections that ended after their TLS request was declined: these clients require TLS.
    pub declined: u64,
    /// Bytes from the clients.
    pub sent: u64,
    /// Bytes to the clients.
    pub received: u64,
}

/// An error that the database sent to a client over an unencrypted stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerError {
    /// SQLSTATE, such as `55P03`.
    pub sqlstate: String,
    /// The primary message. Untrusted text.
    pub message: String,
    /// The time at which it passed.
    pub at: Instant,
}

/// The statistics of one listener.
#[derive(Debug, Default)]
pub(crate) struct ProxyStats(Mutex<StatsState>);

#[derive(Debug, Default)]
struct StatsState {
    traffic: Traffic,
    pids: Vec<i32>,
    last_response: Option<Instant>,
    error: Option<ServerError>,
    fault: Option<Fault>,
}

/// The entry of a backend, removed when the value is dropped.
#[derive(Debug)]
pub(crate) struct BackendEntry<'a> {
    stats: &'a ProxyStats,
    pid: i32,
}

impl ProxyStats {
    pub(crate) fn update_traffic(&self, count: impl FnOnce(&mut Traffic)) {
        count(&mut self.lock_state().traffic);
    }

    pub(crate) fn record_fault(&self, fault: Fault) {
        self.lock_state().fault = Some(fault);
    }

    /// Records an event of a session. A backend's pid stays recorded until `backend` is dropped.
    pub(crate) fn record_event<'a>(&'a self, event: BackendEvent, backend: &mut Option<BackendEntry<'a>>) {
        match event {
            BackendEvent::Error { sqlstate, message } => {
                self.lock_state().error = Some(ServerError { sqlstate, message, at: Instant::now() });
            }
            BackendEvent::Started(pid) => {
                self.lock_state().pids.push(pid);
                *backend = Some(BackendEntry { stats: self, pid });
            }
        }
    }

    /// Records that the server has just sent data to a client.
    pub(crate) fn record_response(&self) {
        self.lock_state().last_response = Some(Instant::now());
    }

    pub(crate) fn last_response(&self) -> Option<Instant> {
        self.lock_state().last_response
    }

    pub(crate) fn traffic(&self) -> Traffic {
        self.lock_state().traffic
    }

    pub(crate) fn backend_pids(&self) -> Vec<i32> {
        self.lock_state().pids.clone()
    }

    pub(crate) fn last_error(&self) -> Option<ServerError> {
        self.lock_state().error.clone()
    }

    pub(crate) fn last_fault(&self) -> Option<Fault> {
        self.lock_state().fault.clone()
    }

    fn lock_state(&self) -> MutexGuard<'_, StatsState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for BackendEntry<'_> {
    fn drop(&mut self) {
        let pids = &mut self.stats.lock_state().pids;
        if let Some(index) = pids.iter().position(|pid| *pid == self.pid) {
            pids.swap_remove(index);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_a_pid_until_its_entry_is_dropped() {
        let stats = ProxyStats::default();
        let (mut first, mut second) = (None, None);
        stats.record_event(BackendEvent::Started(7), &mut first);
        stats.record_event(BackendEvent::Started(8), &mut second);
        drop(first);
        assert_eq!(stats.backend_pids(), [8]);
        drop(second);
        assert!(stats.backend_pids().is_empty());
    }
}
