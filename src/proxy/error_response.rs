//! Errors of the proxy for a client, as a server sends them.

use crate::{
    fault::Fault,
    postgres::{backend_messages::ERROR_RESPONSE, error_fields, wire_format::encode_message},
};

/// Returns an `ErrorResponse` that ends the session. Empty fields are left out.
pub(crate) fn fatal_error(sqlstate: &str, message: &str, detail: &str, hint: &str) -> Vec<u8> {
    let fields = [
        (error_fields::SEVERITY, "FATAL"),
        (error_fields::SEVERITY_NOT_LOCALIZED, "FATAL"),
        (error_fields::SQLSTATE, sqlstate),
        (error_fields::MESSAGE, message),
        (error_fields::DETAIL, detail),
        (error_fields::HINT, hint),
    ];
    let mut body = Vec::new();
    for (kind, text) in fields.into_iter().filter(|(_, text)| !text.is_empty()) {
        error_fields::push_field(&mut body, kind, text.replace('\0', "").as_bytes());
    }
    error_fields::end_fields(&mut body);
    encode_message(ERROR_RESPONSE, &body)
}

/// Returns the error for a client whose database can't be reached, or is lost (`connection_failure`).
pub(crate) fn connection_failure(fault: &Fault) -> Vec<u8> {
    fatal_error("08006", &fault.cause, &fault.detail.join("\n"), &fault.fix)
}

/// Returns the error for a client whose first packet is invalid (`protocol_violation`).
pub(crate) fn protocol_violation() -> Vec<u8> {
    fatal_error("08P01", "this is not a valid first packet of a PostgreSQL client", "", "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_has_the_fields_that_are_not_empty() {
        let expected = b"E\0\0\0\x2eSFATAL\0VFATAL\0C08006\0Mit\0Hfix it\0\0";
        let bytes = fatal_error("08006", "i\0t", "", "fix it");
        assert_eq!(bytes.len(), usize::from(bytes[4]) + 1);
        assert_eq!(bytes[5..], expected[5..]);
    }
}
