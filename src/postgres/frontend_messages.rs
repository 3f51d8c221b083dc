//! Types of a client's messages, and the codes of its first packets, which have no type (PostgreSQL manual, 55.7).

// Without the types that nothing here depends on.
pub(crate) const BIND: u8 = b'B';
pub(crate) const CLOSE: u8 = b'C';
pub(crate) const COPY_DONE: u8 = b'c';
pub(crate) const COPY_FAIL: u8 = b'f';
pub(crate) const DESCRIBE: u8 = b'D';
pub(crate) const EXECUTE: u8 = b'E';
pub(crate) const FLUSH: u8 = b'H';
pub(crate) const FUNCTION_CALL: u8 = b'F';
pub(crate) const PARSE: u8 = b'P';
pub(crate) const QUERY: u8 = b'Q';
pub(crate) const SYNC: u8 = b'S';

/// Types of the extended protocol, whose messages form a group up to a `Sync`.
pub(crate) const EXTENDED_TYPES: &[u8] = &[PARSE, BIND, DESCRIBE, EXECUTE, CLOSE, FLUSH];

/// The code of a `CancelRequest`.
pub(crate) const CANCEL_REQUEST: u32 = 80_877_102;
/// The code of an `SSLRequest`.
pub(crate) const SSL_REQUEST: u32 = 80_877_103;
/// The code of a `GSSENCRequest`.
pub(crate) const GSSENC_REQUEST: u32 = 80_877_104;
/// The major version in a `StartupMessage`, the upper half of its code.
pub(crate) const PROTOCOL_MAJOR_VERSION: u32 = 3;
