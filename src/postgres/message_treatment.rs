//! The filter's treatment of each type of message, and the limits on their lengths.

use super::{backend_messages as backend, protocol_violation::ProtocolViolation};

/// Length of PostgreSQL's longest message (`MaxAllocSize`).
pub(super) const MAX_MESSAGE: usize = 1 << 30;

/// Length of the longest message to buffer that is no row: the description of 1664 columns is less than half as long.
pub(super) const MAX_BUFFERED: usize = 1 << 20;

/// Length of the longest row to buffer; no row of our own queries comes near it.
pub(super) const MAX_ROW: usize = 4 << 20;

/// The treatment of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum MessageTreatment {
    /// The driver does not get it.
    Drop,
    /// It passes unchanged.
    Pass,
    /// It passes when it is complete and readable.
    Buffer,
    /// It passes when it is complete and readable; others of its kind follow.
    BufferRow,
    /// A row without values takes its place.
    ReplaceRow,
    /// It passes with each field cut to a readable length.
    CutFields,
    /// It passes if the driver has rows to send.
    AwaitCopyRows,
}

/// Returns the treatment of a message with this header.
///
/// # Errors
/// If PostgreSQL sends no such message.
pub(super) fn message_treatment(kind: u8, length: usize) -> Result<MessageTreatment, ProtocolViolation> {
    match kind {
        _ if length > MAX_MESSAGE => Err(ProtocolViolation::message_too_long(kind, length)),
        backend::ERROR_RESPONSE | backend::NOTICE_RESPONSE => Ok(MessageTreatment::CutFields),
        backend::DATA_ROW if length > MAX_ROW => Ok(MessageTreatment::ReplaceRow),
        backend::DATA_ROW => Ok(MessageTreatment::BufferRow),
        backend::COPY_DATA => Ok(MessageTreatment::Drop),
        _ if length > MAX_BUFFERED => Err(ProtocolViolation::message_too_long(kind, length)),
        // Nothing here uses notifications, the server's settings or the rows of a COPY.
        backend::NOTIFICATION_RESPONSE
        | backend::PARAMETER_STATUS
        | backend::COPY_OUT_RESPONSE
        | backend::COPY_DONE => Ok(MessageTreatment::Drop),
        backend::COPY_IN_RESPONSE => Ok(MessageTreatment::AwaitCopyRows),
        backend::ROW_DESCRIPTION | backend::COMMAND_COMPLETE | backend::BACKEND_KEY_DATA => {
            Ok(MessageTreatment::Buffer)
        }
        backend::AUTHENTICATION
        | backend::NEGOTIATE_PROTOCOL_VERSION
        | backend::READY_FOR_QUERY
        | backend::EMPTY_QUERY_RESPONSE
        | backend::PARSE_COMPLETE
        | backend::BIND_COMPLETE
        | backend::CLOSE_COMPLETE
        | backend::PARAMETER_DESCRIPTION
        | backend::NO_DATA
        | backend::PORTAL_SUSPENDED => Ok(MessageTreatment::Pass),
        kind => {
            Err(ProtocolViolation::malformed(format!("PostgreSQL has no message of the kind `{}`", char::from(kind))))
        }
    }
}
