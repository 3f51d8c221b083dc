//! Limits on a server's messages before it is ready for the first query: they come before any proof that it is
//! PostgreSQL.

use super::{backend_messages::FIRST_TYPES, protocol_violation::ProtocolViolation};

/// Bytes that the server may send before it is ready for the first query: the driver keeps them.
pub(super) const MAX_STARTUP: usize = 16 << 20;

/// The progress of a session's start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum StartupPhase {
    /// No message has come yet.
    NothingReceived,
    /// Not ready for a query yet, after this many bytes.
    Starting(usize),
    Ready,
}

impl StartupPhase {
    /// Checks the type of the next message.
    ///
    /// # Errors
    /// If it is the first message, and no server begins with it.
    pub(super) fn check_type(self, kind: u8) -> Result<(), ProtocolViolation> {
        if self == Self::NothingReceived && !FIRST_TYPES.contains(&kind) {
            return Err(ProtocolViolation::malformed(
                "the first byte of the response does not begin a PostgreSQL message",
            ));
        }
        Ok(())
    }

    /// Counts the bytes of the next message.
    ///
    /// # Errors
    /// If the messages before it are too long.
    pub(super) fn count_bytes(&mut self, length: usize) -> Result<(), ProtocolViolation> {
        let received = match self {
            Self::Ready => return Ok(()),
            Self::NothingReceived => 0,
            Self::Starting(received) => *received,
        };
        *self = Self::Starting(received.saturating_add(length));
        if received > MAX_STARTUP {
            return Err(ProtocolViolation::malformed("the server sends too much without becoming ready for a query"));
        }
        Ok(())
    }
}
