//! Statistics of a listener: counts, and the last failure. No content of the clients' sessions.

use crate::{fault::Fault, postgres::Heard};
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
    /// Of those, the ones that were told to go on in plain text and did not: they want TLS, or nothing.
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
    /// The primary message. Hostile text.
    pub message: String,
    /// Time at which it passed.
    pub at: Instant,
}

/// The statistics of one listener.
#[derive(Debug, Default)]
pub(crate) struct Record(Mutex<Seen>);

#[derive(Debug, Default)]
struct Seen {
    traffic: Traffic,
    pids: Vec<i32>,
    answered: Option<Instant>,
    error: Option<ServerError>,
    fault: Option<Fault>,
}

/// The entry of a backend, removed when the value is dropped.
#[derive(Debug)]
pub(crate) struct Present<'a> {
    record: &'a Record,
    pid: i32,
}

impl Record {
    pub(crate) fn count(&self, count: impl FnOnce(&mut Traffic)) {
        count(&mut self.seen().traffic);
    }

    pub(crate) fn fault(&self, fault: Fault) {
        self.seen().fault = Some(fault);
    }

    /// Records an event of a session. A backend's pid stays recorded until `backend` is dropped.
    pub(crate) fn hear<'a>(&'a self, heard: Heard, backend: &mut Option<Present<'a>>) {
        match heard {
            Heard::Error { sqlstate, message } => {
                self.seen().error = Some(ServerError { sqlstate, message, at: Instant::now() });
            }
            Heard::Backend(pid) => {
                self.seen().pids.push(pid);
                *backend = Some(Present { record: self, pid });
            }
        }
    }

    /// Notes that the server has said something to a client now.
    pub(crate) fn answer(&self) {
        self.seen().answered = Some(Instant::now());
    }

    pub(crate) fn answered(&self) -> Option<Instant> {
        self.seen().answered
    }

    pub(crate) fn traffic(&self) -> Traffic {
        self.seen().traffic
    }

    pub(crate) fn pids(&self) -> Vec<i32> {
        self.seen().pids.clone()
    }

    pub(crate) fn last_error(&self) -> Option<ServerError> {
        self.seen().error.clone()
    }

    pub(crate) fn last_fault(&self) -> Option<Fault> {
        self.seen().fault.clone()
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Present<'_> {
    fn drop(&mut self) {
        let pids = &mut self.record.seen().pids;
        if let Some(place) = pids.iter().position(|pid| *pid == self.pid) {
            pids.swap_remove(place);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_a_pid_until_its_entry_is_dropped() {
        let record = Record::default();
        let (mut one, mut other) = (None, None);
        record.hear(Heard::Backend(7), &mut one);
        record.hear(Heard::Backend(8), &mut other);
        drop(one);
        assert_eq!(record.pids(), [8]);
        drop(other);
        assert!(record.pids().is_empty());
    }
}
