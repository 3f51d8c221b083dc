//! Responses of a server after which its stream can't be read.

/// A response that no PostgreSQL server sends after a successful start.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum ProtocolViolation {
    /// Bytes that violate the protocol.
    #[error("{0}")]
    Malformed(String),
    /// Plain text, as from a server that could not fork a backend (PostgreSQL, `report_fork_failure_to_client`).
    #[error("{0}")]
    PlainText(String),
}

impl ProtocolViolation {
    /// Returns the violation with this description.
    pub(super) fn malformed(problem: impl Into<String>) -> Self {
        Self::Malformed(problem.into())
    }

    /// Returns the violation of a header with this length.
    pub(super) fn message_too_long(kind: u8, length: usize) -> Self {
        Self::malformed(format!(
            "the server begins a message of {length} bytes (kind `{}`): PostgreSQL sends none so long",
            char::from(kind)
        ))
    }

    /// Returns the violation of a text, which may go on behind a NUL.
    pub(super) fn plain_text(text: &[u8]) -> Self {
        let text = text.split(|byte| *byte == 0).next().unwrap_or_default();
        Self::PlainText(String::from_utf8_lossy(text).trim().to_owned())
    }
}
