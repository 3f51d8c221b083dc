//! Channel binding in a server's offer of authentication methods (PostgreSQL manual, 55.3.1 and 55.7).

use crate::postgres::wire_format::{push_c_string, split_c_string};

/// The code of an `AuthenticationSASL`, before the names of its mechanisms.
const SASL: [u8; 4] = 10_u32.to_be_bytes();

/// Ending of the mechanisms with channel binding.
const CHANNEL_BINDING: &[u8] = b"-PLUS";

/// Removes the mechanisms with channel binding from the body of an `Authentication…` message. None if it is another
/// message than `AuthenticationSASL`, has no such mechanism or no other one.
pub(crate) fn without_channel_binding(body: &[u8]) -> Option<Vec<u8>> {
    let mut names = body.strip_prefix(&SASL)?;
    let (mut mechanisms, mut found) = (SASL.to_vec(), false);
    loop {
        let (name, after) = split_c_string(names)?;
        if name.is_empty() {
            let any_left = mechanisms.len() > SASL.len();
            push_c_string(&mut mechanisms, b"");
            return (found && any_left && after.is_empty()).then_some(mechanisms);
        }
        if name.ends_with(CHANNEL_BINDING) {
            found = true;
        } else {
            push_c_string(&mut mechanisms, name);
        }
        names = after;
    }
}
