//! Types of a server's messages, and their content as far as it is read (PostgreSQL manual, 55.7).
//!
//! The content is untrusted, and may be cut off. The crate postgres-protocol reads messages, too, but it keeps one of any
//! length, and rejects types and keys that only newer servers send.

// Without the types of replication and of function calls.
pub(crate) const AUTHENTICATION: u8 = b'R';
pub(crate) const BACKEND_KEY_DATA: u8 = b'K';
pub(crate) const BIND_COMPLETE: u8 = b'2';
pub(crate) const CLOSE_COMPLETE: u8 = b'3';
pub(crate) const COMMAND_COMPLETE: u8 = b'C';
pub(crate) const COPY_DATA: u8 = b'd';
pub(crate) const COPY_DONE: u8 = b'c';
pub(crate) const COPY_IN_RESPONSE: u8 = b'G';
pub(crate) const COPY_OUT_RESPONSE: u8 = b'H';
pub(crate) const DATA_ROW: u8 = b'D';
pub(crate) const EMPTY_QUERY_RESPONSE: u8 = b'I';
pub(crate) const ERROR_RESPONSE: u8 = b'E';
pub(crate) const NEGOTIATE_PROTOCOL_VERSION: u8 = b'v';
pub(crate) const NO_DATA: u8 = b'n';
pub(crate) const NOTICE_RESPONSE: u8 = b'N';
pub(crate) const NOTIFICATION_RESPONSE: u8 = b'A';
pub(crate) const PARAMETER_DESCRIPTION: u8 = b't';
pub(crate) const PARAMETER_STATUS: u8 = b'S';
pub(crate) const PARSE_COMPLETE: u8 = b'1';
pub(crate) const PORTAL_SUSPENDED: u8 = b's';
pub(crate) const READY_FOR_QUERY: u8 = b'Z';
pub(crate) const ROW_DESCRIPTION: u8 = b'T';

/// Types of the first message after a start-up packet (55.2.1).
pub(crate) const FIRST_TYPES: &[u8] = &[AUTHENTICATION, ERROR_RESPONSE, NEGOTIATE_PROTOCOL_VERSION, NOTICE_RESPONSE];

/// Types of the messages up to the first `ReadyForQuery` (55.2.1).
pub(crate) const STARTUP_TYPES: &[u8] = &[
    AUTHENTICATION,
    BACKEND_KEY_DATA,
    PARAMETER_STATUS,
    NOTICE_RESPONSE,
    ERROR_RESPONSE,
    NEGOTIATE_PROTOCOL_VERSION,
    READY_FOR_QUERY,
];

/// Types of the messages in the response to a query without a COPY (55.2.3); those of other types meanwhile do not belong
/// to it.
pub(crate) const RESPONSE_TYPES: &[u8] =
    &[ROW_DESCRIPTION, DATA_ROW, COMMAND_COMPLETE, ERROR_RESPONSE, EMPTY_QUERY_RESPONSE, READY_FOR_QUERY];

/// The response of one byte that accepts an `SSLRequest`.
pub(crate) const TLS_ACCEPTED: u8 = b'S';
/// The response of one byte that declines an `SSLRequest` or a `GSSENCRequest`.
pub(crate) const ENCRYPTION_DECLINED: u8 = b'N';

/// The transaction status of a session without an open transaction.
pub(crate) const IDLE: u8 = b'I';

/// Returns the pid in a `BackendKeyData`. A key follows, whose length depends on the version of the protocol.
pub(crate) fn announced_pid(body: &[u8]) -> Option<i32> {
    body.first_chunk().map(|pid| i32::from_be_bytes(*pid))
}

/// Returns the transaction status in a `ReadyForQuery`.
pub(crate) fn transaction_status(body: &[u8]) -> Option<u8> {
    body.first().copied()
}
