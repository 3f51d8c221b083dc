//! Lengths, headers and texts as the protocol writes them (PostgreSQL manual, 55.7).

/// Bytes of the header of a message: its type and its length.
pub(crate) const HEADER_LENGTH: usize = 5;

/// Bytes of a length, which counts itself.
const LENGTH_FIELD: usize = 4;

/// Returns the length of the body for the length in a header; none if no message can have it.
pub(crate) fn body_length(length: [u8; LENGTH_FIELD]) -> Option<usize> {
    usize::try_from(i32::from_be_bytes(length)).ok()?.checked_sub(LENGTH_FIELD)
}

/// Encodes the length of a body for its header.
pub(crate) fn encode_length(body_length: usize) -> [u8; LENGTH_FIELD] {
    u32::try_from(body_length + LENGTH_FIELD).unwrap_or(u32::MAX).to_be_bytes()
}

/// Encodes the header of a message of type `kind`.
pub(crate) fn encode_header(kind: u8, body_length: usize) -> [u8; HEADER_LENGTH] {
    let [a, b, c, d] = encode_length(body_length);
    [kind, a, b, c, d]
}

/// Returns the message of type `kind` with this body.
pub(crate) fn encode_message(kind: u8, body: &[u8]) -> Vec<u8> {
    [encode_header(kind, body.len()).as_slice(), body].concat()
}

/// Returns the packet without a type, such as a client's first one, with this body.
pub(crate) fn encode_packet(body: &[u8]) -> Vec<u8> {
    [encode_length(body.len()).as_slice(), body].concat()
}

/// Splits off a text that ends with a NUL.
pub(crate) fn split_c_string(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = bytes.iter().position(|byte| *byte == 0)?;
    let (text, rest) = bytes.split_at(end);
    Some((text, rest.get(1..)?))
}

/// Appends a text, which contains no NUL, and the NUL that ends it.
pub(crate) fn push_c_string(bytes: &mut Vec<u8>, text: &[u8]) {
    bytes.extend_from_slice(text);
    bytes.push(0);
}
