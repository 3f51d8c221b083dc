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
pub(super) struct Cover {
    /// Cipher; `none` for an unencrypted key.
    pub(super) cipher: String,
    /// Key type, such as `ssh-ed25519`.
    pub(super) algorithm: String,
    /// Fingerprint `SHA256:…` of the public half, as `ssh-keygen -l` prints it.
    pub(super) fingerprint: String,
}

impl Cover {
    /// Parses a text that was normalised to the way OpenSSH writes keys.
    pub(super) fn read(text: &str) -> Option<Self> {
        let body: String = text.lines().filter(|line| !line.starts_with("-----")).collect();
        let decoded = STANDARD.decode(body).ok()?;
        let (cipher, rest) = string(decoded.strip_prefix(MAGIC)?)?;
        let (_function, rest) = string(rest)?;
        let (_options, rest) = string(rest)?;
        let (_count, rest) = rest.split_first_chunk::<4>()?;
        let (public, _) = string(rest)?;
        let (algorithm, _) = string(public)?;
        let fingerprint = format!("SHA256:{}", STANDARD_NO_PAD.encode(Sha256::digest(public)));
        Some(Self { cipher: name(cipher)?, algorithm: name(algorithm)?, fingerprint })
    }
}

/// Splits the first string off the bytes (RFC 4251, 5).
fn string(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    rest.split_at_checked(usize::try_from(u32::from_be_bytes(*length)).ok()?)
}

/// Returns a name if it is printable.
fn name(bytes: &[u8]) -> Option<String> {
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

    fn string(bytes: &[u8]) -> Vec<u8> {
        [&u32::try_from(bytes.len()).unwrap().to_be_bytes(), bytes].concat()
    }

    fn key(cipher: &[u8], algorithm: &[u8]) -> Vec<u8> {
        let public = [string(algorithm), string(b"point")].concat();
        [MAGIC, &string(cipher), &string(b"none"), &string(b""), &[0, 0, 0, 1], &string(&public), b"rest"].concat()
    }

    #[test]
    fn reads_the_unencrypted_header() {
        let cover = Cover::read(&framed(&key(b"aes256-ctr", b"ssh-rsa"))).unwrap();
        assert_eq!((cover.cipher.as_str(), cover.algorithm.as_str()), ("aes256-ctr", "ssh-rsa"));
        assert!(cover.fingerprint.starts_with("SHA256:") && cover.fingerprint.len() == 50, "{cover:?}");
    }

    #[test]
    fn rejects_a_truncated_key_and_other_formats() {
        let whole = key(b"none", b"ssh-ed25519");
        for length in 0..whole.len() - b"rest".len() {
            assert_eq!(Cover::read(&framed(&whole[..length])), None, "{length}");
        }
        for (cipher, algorithm) in [(b"a b".as_slice(), b"ssh-rsa".as_slice()), (b"none", b"\x1b[31m"), (b"none", b"")]
        {
            assert_eq!(Cover::read(&framed(&key(cipher, algorithm))), None);
        }
        assert_eq!(Cover::read("-----BEGIN RSA PRIVATE KEY-----\nYWJj\n-----END RSA PRIVATE KEY-----\n"), None);
    }
}
