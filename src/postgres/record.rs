//! What a listener has seen of its clients: numbers, and the last thing that went wrong. Nothing of what they said.

use super::messages::Heard;
use crate::fault::Fault;
use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Instant,
};

/// What passed through a listener.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Traffic {
    /// Connections in all, those included that asked for a cancel or for nothing.
    pub connections: u64,
    /// Of those, the ones whose sessions have our settings.
    pub settled: u64,
    /// Of those, the ones whose TLS went through untouched.
    pub untouched: u64,
    /// Of those, the ones that were told to go on in plain text and did not: they want TLS, or nothing.
    pub declined: u64,
    /// Bytes from the clients.
    pub sent: u64,
    /// Bytes to the clients.
    pub received: u64,
}

/// What the database told a client, in plain sight.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerError {
    /// As in `55P03`.
    pub sqlstate: String,
    /// The primary message. Hostile text.
    pub message: String,
    /// When it passed.
    pub at: Instant,
}

/// The record of one listener.
#[derive(Debug, Default)]
pub(super) struct Record(Mutex<Seen>);

#[derive(Debug, Default)]
struct Seen {
    traffic: Traffic,
    pids: Vec<i32>,
    error: Option<ServerError>,
    fault: Option<Fault>,
}

/// A backend that is there as long as the value.
#[derive(Debug)]
pub(super) struct Present<'a> {
    record: &'a Record,
    pid: i32,
}

impl Record {
    pub(super) fn count(&self, count: impl FnOnce(&mut Traffic)) {
        count(&mut self.seen().traffic);
    }

    pub(super) fn fault(&self, fault: Fault) {
        self.seen().fault = Some(fault);
    }

    /// Notes what was heard of a session; whom it talks to only until the value's end.
    pub(super) fn hear<'a>(&'a self, heard: Heard, backend: &mut Option<Present<'a>>) {
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

    pub(super) fn traffic(&self) -> Traffic {
        self.seen().traffic
    }

    pub(super) fn pids(&self) -> Vec<i32> {
        self.seen().pids.clone()
    }

    pub(super) fn last_error(&self) -> Option<ServerError> {
        self.seen().error.clone()
    }

    pub(super) fn last_fault(&self) -> Option<Fault> {
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
    fn a_backend_is_known_as_long_as_it_is_there() {
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
