//! Public keys in SSH's binary form (RFC 4253, 6.6): the type as a string, then its numbers.

use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD};
use sha2::{Digest as _, Sha256};

/// Longest name of an algorithm, in bytes (RFC 4251, 6).
const LONGEST_NAME: usize = 64;

/// Splits the first string off the bytes (RFC 4251, 5).
pub(super) fn read_string(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    rest.split_at_checked(usize::try_from(u32::from_be_bytes(*length)).ok()?)
}

/// Writes a string (RFC 4251, 5) behind the bytes.
pub(super) fn write_string(bytes: &mut Vec<u8>, text: &[u8]) {
    let length = u32::try_from(text.len()).unwrap_or(u32::MAX);
    bytes.extend(length.to_be_bytes());
    bytes.extend(text);
}

/// Returns a key of these fields, the type first.
pub(super) fn key_of_fields(fields: &[&[u8]]) -> Vec<u8> {
    let mut key = Vec::new();
    fields.iter().for_each(|field| write_string(&mut key, field));
    key
}

/// Returns a name if it is printable.
pub(super) fn printable_name(bytes: &[u8]) -> Option<String> {
    let name = String::from_utf8(bytes.to_vec()).ok()?;
    (name.len() <= LONGEST_NAME && !name.is_empty() && name.chars().all(|letter| letter.is_ascii_graphic()))
        .then_some(name)
}

/// Returns the key type: the first string of the key.
pub(super) fn key_type(key: &[u8]) -> String {
    read_string(key).and_then(|(name, _)| printable_name(name)).unwrap_or_default()
}

/// Returns the SHA-256 of a key in base64 without padding, as in `SHA256:…`.
pub(super) fn key_fingerprint(key: &[u8]) -> String {
    STANDARD_NO_PAD.encode(Sha256::digest(key))
}

/// Returns `ssh-ed25519 SHA256:…`.
pub(super) fn describe_key(key: &[u8]) -> String {
    format!("{} SHA256:{}", key_type(key), key_fingerprint(key))
}
