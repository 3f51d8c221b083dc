//! The unencrypted header of a private key in OpenSSH's format (its PROTOCOL.key). No more is read here: the rest is up
//! to libssh2, which accepts the keys of `ssh-keygen`. A stricter parser rejects keys that work: some programs write
//! more padding than OpenSSH.

use super::public_key::{printable_name, read_string};
use base64::{Engine as _, engine::general_purpose::STANDARD};

/// First bytes of the format, after base64 decoding.
pub(super) const MAGIC: &[u8] = b"openssh-key-v1\0";

/// The data of a key that is known without its passphrase.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct KeyHeader {
    /// Cipher; `none` for an unencrypted key.
    pub(super) cipher: String,
    /// Key type, such as `ssh-ed25519`.
    pub(super) algorithm: String,
    /// The public half, in SSH's binary form.
    pub(super) public: Vec<u8>,
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
        Some(Self { cipher: printable_name(cipher)?, algorithm: printable_name(algorithm)?, public: public.to_vec() })
    }
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
        assert_eq!(header.public, [read_string(b"ssh-rsa"), read_string(b"point")].concat());
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
