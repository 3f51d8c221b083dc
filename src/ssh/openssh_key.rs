//! The unencrypted header of a private key in OpenSSH's format (its PROTOCOL.key). No more is read here: the rest is up
//! to libssh2, which accepts the keys of `ssh-keygen`. A stricter parser rejects keys that work: some programs write
//! more padding than OpenSSH.

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, STANDARD_NO_PAD},
};
use sha2::{Digest as _, Sha256};

/// First bytes of the format, after base64 decoding.
pub(super) const MAGIC: &[u8] = b"openssh-key-v1\0";

/// The data of a key that is known without its passphrase.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct KeyHeader {
    /// Cipher; `none` for an unencrypted key.
    pub(super) cipher: String,
    /// Key type, such as `ssh-ed25519`.
    pub(super) algorithm: String,
    /// Fingerprint `SHA256:…` of the public half, as `ssh-keygen -l` prints it.
    pub(super) fingerprint: String,
}

impl KeyHeader {
    /// Parses a text that was normalised to the way OpenSSH writes keys.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let body: String = text.lines().filter(|line| !line.starts_with("-----")).collect();
        let decoded = STANDARD.decode(body).ok()?;
        let (cipher, rest) = read_string(decoded.strip_prefix(MAGIC)?)?;
        let (_function, rest) = read_string(rest)?;
        let (_options, rest) = read_string(rest)?;
        let (_count, rest) = rest.split_first_chunk::<4>()?;
        let (public, _) = read_string(rest)?;
        let (algorithm, _) = read_string(public)?;
        let fingerprint = format!("SHA256:{}", STANDARD_NO_PAD.encode(Sha256::digest(public)));
        Some(Self { cipher: printable_name(cipher)?, algorithm: printable_name(algorithm)?, fingerprint })
    }
}

/// Splits the first string off the bytes (RFC 4251, 5).
fn read_string(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    rest.split_at_checked(usize::try_from(u32::from_be_bytes(*length)).ok()?)
}

/// Returns a name if it is printable.
fn printable_name(bytes: &[u8]) -> Option<String> {
    let name = String::from_utf8(bytes.to_vec()).ok()?;
    (name.len() < 60 && !name.is_empty() && name.chars().all(|letter| letter.is_ascii_graphic())).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn framed(body: &[u8]) -> String {
        let body = STANDARD.encode(body);
        format!("-----BEGIN OPENSSH PRIVATE KEY-----\n{body}\n-----END OPENSSH PRIVATE KEY-----\n")
    }

    fn read_string(bytes: &[u8]) -> Vec<u8> {
        [&u32::try_from(bytes.len()).unwrap().to_be_bytes(), bytes].concat()
    }

    fn key(cipher: &[u8], algorithm: &[u8]) -> Vec<u8> {
        let public = [read_string(algorithm), read_string(b"point")].concat();
        [
            MAGIC,
            &read_string(cipher),
            &read_string(b"none"),
            &read_string(b""),
            &[0, 0, 0, 1],
            &read_string(&public),
            b"rest",
        ]
        .concat()
    }

    #[test]
    fn reads_the_unencrypted_header() {
        let header = KeyHeader::parse(&framed(&key(b"aes256-ctr", b"ssh-rsa"))).unwrap();
        assert_eq!((header.cipher.as_str(), header.algorithm.as_str()), ("aes256-ctr", "ssh-rsa"));
        assert!(header.fingerprint.starts_with("SHA256:") && header.fingerprint.len() == 50, "{header:?}");
    }

    #[test]
    fn rejects_a_truncated_key_and_other_formats() {
        let complete = key(b"none", b"ssh-ed25519");
        for length in 0..complete.len() - b"rest".len() {
            assert_eq!(KeyHeader::parse(&framed(&complete[..length])), None, "{length}");
        }
        for (cipher, algorithm) in [(b"a b".as_slice(), b"ssh-rsa".as_slice()), (b"none", b"\x1b[31m"), (b"none", b"")]
        {
            assert_eq!(KeyHeader::parse(&framed(&key(cipher, algorithm))), None);
        }
        assert_eq!(KeyHeader::parse("-----BEGIN RSA PRIVATE KEY-----\nYWJj\n-----END RSA PRIVATE KEY-----\n"), None);
    }
}
