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

/// The checksum of a file that is being read.
#[derive(Debug, Clone)]
pub struct ChecksumDigest(Algorithm);

#[derive(Debug, Clone)]
enum Algorithm {
    Sha256WithoutCarriageReturns(LineEnds<Sha256>),
    Sha384(Box<Sha384Variants>),
}

#[derive(Debug, Clone)]
struct Sha384Variants {
    unchanged: Sha384,
    with_line_ends: [LineEnds<Sha384>; 2],
}

impl ChecksumDigest {
    /// Starts the SHA-256 of the bytes with CRLF read as LF, so that a checkout with `core.autocrlf` is not a change.
    pub(super) fn sha256_without_carriage_returns() -> Self {
        Self(Algorithm::Sha256WithoutCarriageReturns(LineEnds::new(b"\n")))
    }

    /// Starts the SHA-384 of the unchanged bytes (sqlx-core 0.9, `migrate/migration.rs`).
    pub(super) fn sha384() -> Self {
        let with_line_ends = [&b"\r\n"[..], b"\n"].map(LineEnds::new);
        Self(Algorithm::Sha384(Box::new(Sha384Variants { unchanged: Sha384::new(), with_line_ends })))
    }

    /// Appends bytes of the file.
    pub fn update(&mut self, content: &[u8]) {
        match &mut self.0 {
            Algorithm::Sha256WithoutCarriageReturns(digest) => digest.update(content),
            Algorithm::Sha384(digest) => {
                digest.unchanged.update(content);
                digest.with_line_ends.iter_mut().for_each(|variant| variant.update(content));
            }
        }
    }

    /// Returns the checksum of all bytes.
    #[must_use]
    pub fn finish(self) -> Checksum {
        match self.0 {
            Algorithm::Sha256WithoutCarriageReturns(digest) => {
                Checksum { bytes: digest.finish(), variants: Vec::new() }
            }
            Algorithm::Sha384(digest) => Checksum {
                bytes: digest.unchanged.finalize().to_vec(),
                variants: digest.with_line_ends.map(LineEnds::finish).to_vec(),
            },
        }
    }
}

/// The digest of a text with other line endings than its own.
#[derive(Debug, Clone)]
struct LineEnds<D> {
    digest: D,
    end: &'static [u8],
    /// Set if the text so far ends with a carriage return, which may be part of a line ending.
    carriage_return: bool,
}

impl<D: Digest> LineEnds<D> {
    fn new(end: &'static [u8]) -> Self {
        Self { digest: D::new(), end, carriage_return: false }
    }

    fn update(&mut self, content: &[u8]) {
        for line in content.split_inclusive(|byte| *byte == b'\n') {
            let (text, ends) = match line.strip_suffix(b"\n") {
                Some(text) => (text, true),
                None => (line, false),
            };
            if self.carriage_return && !text.is_empty() {
                self.digest.update(b"\r");
            }
            self.carriage_return = match text.strip_suffix(b"\r") {
                Some(text) => {
                    self.digest.update(text);
                    true
                }
                None => {
                    self.digest.update(text);
                    self.carriage_return && text.is_empty()
                }
            };
            if ends {
                self.carriage_return = false;
                self.digest.update(self.end);
            }
        }
    }

    fn finish(mut self) -> Vec<u8> {
        if self.carriage_return {
            self.digest.update(b"\r");
        }
        self.digest.finalize().to_vec()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the checksum of a file that is read in pieces of this length.
    fn in_pieces(mut digest: ChecksumDigest, content: &[u8], length: usize) -> Checksum {
        content.chunks(length).for_each(|piece| digest.update(piece));
        digest.finish()
    }

    fn sha384(content: &[u8]) -> Checksum {
        in_pieces(ChecksumDigest::sha384(), content, usize::MAX)
    }

    fn without_carriage_returns(content: &[u8]) -> Checksum {
        in_pieces(ChecksumDigest::sha256_without_carriage_returns(), content, usize::MAX)
    }

    #[test]
    fn pieces_make_no_difference() {
        for content in [&b"a\r\nb\r\r\n\r\rc\r"[..], b"\r\n\r\n", b"\r", b"a\r\n\nb\n\r", b""] {
            for length in 1..=content.len() {
                let pieces = in_pieces(ChecksumDigest::sha384(), content, length);
                assert_eq!(format!("{pieces:?} {:?}", pieces.variants), {
                    let whole = sha384(content);
                    format!("{whole:?} {:?}", whole.variants)
                });
                let pieces = in_pieces(ChecksumDigest::sha256_without_carriage_returns(), content, length);
                assert_eq!(pieces, without_carriage_returns(content), "{content:?} in pieces of {length}");
            }
        }
    }

    #[test]
    fn is_the_one_that_sqlx_records() {
        let checksum = sha384(b"CREATE TABLE m_1 (id int PRIMARY KEY, x text);\n");
        assert_eq!(
            checksum.to_hex(),
            "676e334c5aac77778ea616b7eb5b17361a3c6e15f6c35bbcba323a1e231592245a95eeb5572471cf37af70b02d6ce3ac"
        );
    }

    #[test]
    fn is_the_one_that_sha256sum_prints() {
        assert_eq!(
            without_carriage_returns(b"abc\n").to_hex(),
            "edeaaff3f1774ad2888673770c6d64097e391bc362d7d6fb34982ddf0efd18cb"
        );
    }

    #[test]
    fn ignores_line_ends_in_plain_files() {
        assert_eq!(without_carriage_returns(b"a\r\nb\r\n"), without_carriage_returns(b"a\nb\n"));
        assert_ne!(without_carriage_returns(b"a\rb"), without_carriage_returns(b"ab"));
        assert_ne!(without_carriage_returns(b"a\r"), without_carriage_returns(b"a"));
    }

    #[test]
    fn recognises_a_file_of_sqlx_recorded_with_other_line_ends() {
        let (lf, crlf, mixed) = (&b"a\nb\n"[..], &b"a\r\nb\r\n"[..], &b"a\r\nb\n"[..]);
        assert_ne!(sha384(lf).as_bytes(), sha384(crlf).as_bytes());
        for file in [lf, crlf, mixed] {
            assert!(sha384(file).matches(sha384(lf).as_bytes()));
            assert!(sha384(file).matches(sha384(crlf).as_bytes()));
            assert!(!sha384(file).matches(sha384(b"a\nc\n").as_bytes()));
            assert!(!sha384(file).matches(&[]));
        }
    }
}
