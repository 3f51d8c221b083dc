//! Error codes of libssh2, and the time limit and failures of its blocking calls.

#![expect(clippy::disallowed_types, reason = "the time limit of a call belongs to its session")]

use crate::fault::Fault;
use std::time::{Duration, Instant};

pub(super) const FAILED_SEND: i32 = -7;

pub(super) const TIMED_OUT: i32 = -9;

pub(super) const DISCONNECTED: i32 = -13;

pub(super) const PASSWORD_EXPIRED: i32 = -15;

pub(super) const REFUSED: i32 = -18;

pub(super) const NOT_VERIFIED: i32 = -19;

pub(super) const CHANNEL_REFUSED: i32 = -21;

pub(super) const REQUEST_REFUSED: i32 = -22;

pub(super) const GLOBAL_REQUEST_REFUSED: i32 = -32;

pub(super) const TOO_LONG: i32 = -41;

pub(super) const FAILED_RECEIVE: i32 = -43;

/// The reason why connecting failed.
#[derive(Debug)]
pub(super) enum ConnectError {
    /// A network failure: another attempt may succeed.
    Transient(Fault),
    /// A definite answer: another attempt would get the same one.
    Permanent(Fault),
}

/// The time by which connecting has to be finished.
#[derive(Debug, Clone, Copy)]
pub(super) struct ConnectDeadline(Instant);

impl ConnectDeadline {
    pub(super) fn after(timeout: Duration) -> Self {
        Self(Instant::now() + timeout)
    }

    /// Returns the remaining time. Never zero, which means "for ever" to libssh2 and is an error to `connect_timeout`.
    pub(super) fn remaining(self) -> Duration {
        self.0.saturating_duration_since(Instant::now()).max(Duration::from_millis(1))
    }

    pub(super) fn is_over(self) -> bool {
        Instant::now() >= self.0
    }

    /// Limits the session's next blocking call to the remaining time.
    pub(super) fn arm(self, session: &ssh2::Session) {
        session.set_timeout(u32::try_from(self.remaining().as_millis()).unwrap_or(u32::MAX).max(1));
    }
}

/// Returns libssh2's error code.
pub(super) fn error_code(error: &ssh2::Error) -> i32 {
    match error.code() {
        ssh2::ErrorCode::Session(code) | ssh2::ErrorCode::SFTP(code) => code,
    }
}
