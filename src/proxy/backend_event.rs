//! The messages of a server that the proxy records.

use crate::postgres::{
    backend_messages::{self, BACKEND_KEY_DATA, ERROR_RESPONSE},
    error_fields::{ErrorFieldReader, FieldPart, MESSAGE, SQLSTATE},
};

/// Bytes kept of one message: no message before `ReadyForQuery` is longer, and of an error this is enough.
pub(crate) const MAX_KEPT: usize = 64 << 10;

/// A message of the server that the proxy records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum BackendEvent {
    /// The pid of the client's backend (`BackendKeyData`).
    Started(i32),
    /// An `ErrorResponse`.
    Error {
        /// Five characters.
        sqlstate: String,
        /// The primary message.
        message: String,
    },
}

impl BackendEvent {
    /// Returns the event of a message, whose body may be cut off; none if the proxy does not record it.
    pub(crate) fn from_message(kind: u8, body: &[u8]) -> Option<Self> {
        match kind {
            BACKEND_KEY_DATA => backend_messages::announced_pid(body).map(Self::Started),
            ERROR_RESPONSE => Self::from_error_fields(body),
            _ => None,
        }
    }

    fn from_error_fields(body: &[u8]) -> Option<Self> {
        let (mut sqlstate, mut message, mut rest) = (None, String::new(), body);
        let mut fields = ErrorFieldReader::default();
        while let Some(FieldPart::Text(kind, text) | FieldPart::TextEnd(kind, text)) = fields.next_part(&mut rest) {
            match kind {
                SQLSTATE => sqlstate = Some(String::from_utf8_lossy(text).into_owned()),
                MESSAGE => message = String::from_utf8_lossy(text).into_owned(),
                _ => {}
            }
        }
        Some(Self::Error { sqlstate: sqlstate?, message })
    }
}
