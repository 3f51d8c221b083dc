//! Checksums of migration files.

use sha2::{Digest, Sha256, Sha384};
use std::fmt;

/// The checksum of a file, as its layout's ledger stores it.
#[derive(Clone, PartialEq, Eq)]
pub struct Checksum {
    bytes: Vec<u8>,
    /// Checksums of the same text with other line endings.
    variants: Vec<Vec<u8>>,
}

impl Checksum {
    /// Returns the SHA-256 of the bytes with CRLF read as LF, so that a checkout with `core.autocrlf` is not a change.
    #[must_use]
    pub fn sha256_without_carriage_returns(content: &[u8]) -> Self {
        Self { bytes: with_line_ends::<Sha256>(content, b"\n"), variants: Vec::new() }
    }

    /// Returns the SHA-384 of the unchanged bytes (sqlx-core 0.9, `migrate/migration.rs`).
    #[must_use]
    pub fn sha384(content: &[u8]) -> Self {
        let variants = [&b"\r\n"[..], b"\n"].map(|end| with_line_ends::<Sha384>(content, end)).to_vec();
        Self { bytes: Sha384::digest(content).to_vec(), variants }
    }

    /// Returns the bytes for the ledger.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Returns the checksum in hexadecimal.
    #[must_use]
    pub fn to_hex(&self) -> String {
        hex::encode(&self.bytes)
    }

    /// Reports whether a recorded checksum belongs to this file, with any line endings.
    #[must_use]
    pub fn matches(&self, recorded: &[u8]) -> bool {
        self.bytes == recorded || self.variants.iter().any(|variant| variant == recorded)
    }
}

impl fmt::Debug for Checksum {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Checksum({})", self.to_hex())
    }
}

/// Returns the digest of the text with these line endings in place of its own, without building that text.
fn with_line_ends<D: Digest>(content: &[u8], end: &[u8]) -> Vec<u8> {
    let mut digest = D::new();
    for line in content.split_inclusive(|byte| *byte == b'\n') {
        match line.strip_suffix(b"\n") {
            Some(line) => {
                digest.update(line.strip_suffix(b"\r").unwrap_or(line));
                digest.update(end);
            }
            None => digest.update(line),
        }
    }
    digest.finalize().to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_the_one_that_sqlx_records() {
        let checksum = Checksum::sha384(b"CREATE TABLE m_1 (id int PRIMARY KEY, x text);\n");
        assert_eq!(
            checksum.to_hex(),
            "676e334c5aac77778ea616b7eb5b17361a3c6e15f6c35bbcba323a1e231592245a95eeb5572471cf37af70b02d6ce3ac"
        );
    }

    #[test]
    fn is_the_one_that_sha256sum_prints() {
        assert_eq!(
            Checksum::sha256_without_carriage_returns(b"abc\n").to_hex(),
            "edeaaff3f1774ad2888673770c6d64097e391bc362d7d6fb34982ddf0efd18cb"
        );
    }

    #[test]
    fn ignores_line_ends_in_plain_files() {
        assert_eq!(
            Checksum::sha256_without_carriage_returns(b"a\r\nb\r\n"),
            Checksum::sha256_without_carriage_returns(b"a\nb\n")
        );
        assert_ne!(
            Checksum::sha256_without_carriage_returns(b"a\rb"),
            Checksum::sha256_without_carriage_returns(b"ab")
        );
        assert_ne!(Checksum::sha256_without_carriage_returns(b"a\r"), Checksum::sha256_without_carriage_returns(b"a"));
    }

    #[test]
    fn recognises_a_file_of_sqlx_recorded_with_other_line_ends() {
        let (lf, crlf, mixed) = (&b"a\nb\n"[..], &b"a\r\nb\r\n"[..], &b"a\r\nb\n"[..]);
        assert_ne!(Checksum::sha384(lf).as_bytes(), Checksum::sha384(crlf).as_bytes());
        for file in [lf, crlf, mixed] {
            assert!(Checksum::sha384(file).matches(Checksum::sha384(lf).as_bytes()));
            assert!(Checksum::sha384(file).matches(Checksum::sha384(crlf).as_bytes()));
            assert!(!Checksum::sha384(file).matches(Checksum::sha384(b"a\nc\n").as_bytes()));
            assert!(!Checksum::sha384(file).matches(&[]));
        }
    }
}
