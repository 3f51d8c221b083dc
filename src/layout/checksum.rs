//! Checksums of migration files.

use sha2::{Digest, Sha256, Sha384};
use siphasher::sip::SipHasher13;
use std::{
    fmt,
    hash::{Hash as _, Hasher as _},
};

/// The checksum of a file, as its layout's ledger stores it.
#[derive(Clone, PartialEq, Eq)]
pub struct Checksum {
    bytes: Vec<u8>,
    /// Checksums of the same text with other line endings, and other forms of its own.
    variants: Vec<Vec<u8>>,
}

impl Checksum {
    /// Returns the other forms under which a ledger may have it.
    pub(super) fn variants(&self) -> &[Vec<u8>] {
        &self.variants
    }

    /// Returns the checksum that also matches where the ledger has this other one.
    #[must_use]
    pub fn or_else_matching(mut self, other: &Self) -> Self {
        self.variants.push(other.bytes.clone());
        self
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

/// The checksum of a file that is being read.
#[derive(Debug, Clone)]
pub struct ChecksumDigest(Algorithm);

#[derive(Debug, Clone)]
enum Algorithm {
    Sha256WithoutCarriageReturns(LineEnds<Sha256>),
    Sha384(Box<WithVariants<Sha384>>),
    Sha256Text(Box<WithVariants<Sha256>>),
    Refinery { short: Option<SipHasher13>, long: Option<SipHasher13> },
    Crc32OfLines { hasher: crc32fast::Hasher, beginning: Vec<u8> },
}

/// The digest of the unchanged bytes, and of the text with other line endings.
#[derive(Debug, Clone)]
struct WithVariants<D> {
    unchanged: D,
    with_line_ends: [LineEnds<D>; 2],
}

impl<D: Digest> WithVariants<D> {
    fn new() -> Self {
        Self { unchanged: D::new(), with_line_ends: [&b"\r\n"[..], b"\n"].map(LineEnds::new) }
    }

    fn update(&mut self, content: &[u8]) {
        self.unchanged.update(content);
        self.with_line_ends.iter_mut().for_each(|variant| variant.update(content));
    }

    fn finish(self) -> (Vec<u8>, [Vec<u8>; 2]) {
        (self.unchanged.finalize().to_vec(), self.with_line_ends.map(LineEnds::finish))
    }
}

/// The byte order mark of UTF-8.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Appends bytes to the CRC-32 without line ends.
fn update_crc(hasher: &mut crc32fast::Hasher, content: &[u8]) {
    content.split(|byte| matches!(byte, b'\n' | b'\r')).for_each(|line| hasher.update(line));
}

fn unpadded_hex(digest: &[u8]) -> String {
    digest.iter().map(|byte| format!("{byte:x}")).collect()
}

impl ChecksumDigest {
    /// Starts the SHA-256 of the bytes with CRLF read as LF, so that a checkout with `core.autocrlf` is not a change.
    pub(super) fn sha256_without_carriage_returns() -> Self {
        Self(Algorithm::Sha256WithoutCarriageReturns(LineEnds::new(b"\n")))
    }

    /// Starts the SHA-384 of the unchanged bytes (sqlx-core 0.9, `migrate/migration.rs`).
    pub(super) fn sha384() -> Self {
        Self(Algorithm::Sha384(Box::new(WithVariants::new())))
    }

    /// Starts the SHA-256 in hexadecimal, as text (prisma-engines, `checksum.rs`). Old versions left out the leading
    /// zero of a byte.
    pub(super) fn sha256_text() -> Self {
        Self(Algorithm::Sha256Text(Box::new(WithVariants::new())))
    }

    /// Starts the checksum of refinery, as text: SipHash-1-3 over name, version and text (refinery-core 0.10,
    /// `runner.rs`). The variant is that of a ledger with `bigint` versions.
    pub(super) fn of_refinery(name: &str, version: &str) -> Self {
        let mut hasher = SipHasher13::new();
        name.hash(&mut hasher);
        let short = version.parse::<i32>().ok().map(|version| {
            let mut hasher = hasher;
            version.hash(&mut hasher);
            hasher
        });
        let long = version.parse::<i64>().ok().map(|version| {
            version.hash(&mut hasher);
            hasher
        });
        Self(Algorithm::Refinery { short, long })
    }

    /// Starts Flyway's checksum, as text: CRC-32 over the lines without their ends and without a byte order mark, as a
    /// signed number (Flyway 10, `ChecksumCalculator`).
    pub(super) fn crc32_of_lines() -> Self {
        Self(Algorithm::Crc32OfLines { hasher: crc32fast::Hasher::new(), beginning: Vec::new() })
    }

    /// Appends bytes of the file.
    pub fn update(&mut self, content: &[u8]) {
        match &mut self.0 {
            Algorithm::Sha256WithoutCarriageReturns(digest) => digest.update(content),
            Algorithm::Sha384(digest) => digest.update(content),
            Algorithm::Sha256Text(digest) => digest.update(content),
            Algorithm::Refinery { short, long } => {
                short.iter_mut().chain(long).for_each(|hasher| hasher.write(content));
            }
            Algorithm::Crc32OfLines { hasher, beginning } => {
                // The mark may come in pieces.
                let missing = BYTE_ORDER_MARK.len().saturating_sub(beginning.len());
                let (head, rest) = content.split_at(missing.min(content.len()));
                beginning.extend_from_slice(head);
                if !head.is_empty() && beginning.len() == BYTE_ORDER_MARK.len() && beginning != BYTE_ORDER_MARK {
                    update_crc(hasher, beginning);
                }
                update_crc(hasher, rest);
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
            Algorithm::Sha384(digest) => {
                let (bytes, variants) = digest.finish();
                Checksum { bytes, variants: variants.to_vec() }
            }
            Algorithm::Sha256Text(digest) => {
                let (own, others) = digest.finish();
                let digests = [own.clone()].into_iter().chain(others);
                let variants = digests.flat_map(|digest| [hex::encode(&digest), unpadded_hex(&digest)]);
                Checksum { bytes: hex::encode(own).into_bytes(), variants: variants.map(String::into_bytes).collect() }
            }
            Algorithm::Refinery { short, long } => {
                // A text is hashed with this byte behind it (Rust, `impl Hash for str`).
                let sum = |mut hasher: SipHasher13| {
                    hasher.write_u8(0xff);
                    hasher.finish().to_string().into_bytes()
                };
                let (short, long) = (short.map(sum), long.map(sum));
                Checksum {
                    bytes: short.or_else(|| long.clone()).unwrap_or_default(),
                    variants: long.into_iter().collect(),
                }
            }
            Algorithm::Crc32OfLines { mut hasher, beginning } => {
                if beginning.len() < BYTE_ORDER_MARK.len() {
                    update_crc(&mut hasher, &beginning);
                }
                Checksum { bytes: hasher.finalize().cast_signed().to_string().into_bytes(), variants: Vec::new() }
            }
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

    #[test]
    fn is_the_one_that_refinery_records() {
        let text = b"CREATE TABLE m_1 (id int PRIMARY KEY, x text);\n";
        for length in [1, 7, usize::MAX] {
            let checksum = in_pieces(ChecksumDigest::of_refinery("m1", "1"), text, length);
            assert!(checksum.matches(b"14777987110238092480") && checksum.matches(b"11434596689246467670"));
            assert_eq!(checksum.as_bytes(), b"14777987110238092480");
        }
        assert!(!in_pieces(ChecksumDigest::of_refinery("m2", "1"), text, 7).matches(b"14777987110238092480"));
    }

    #[test]
    fn is_the_one_that_flyway_records_with_any_line_ends() {
        // The check string of CRC-32.
        for text in [&b"12345\n6789\n"[..], b"12345\r\n6789", b"\xef\xbb\xbf12345\r6789\r\n"] {
            for length in [1, 2, usize::MAX] {
                assert_eq!(in_pieces(ChecksumDigest::crc32_of_lines(), text, length).as_bytes(), b"-873187034");
            }
        }
        assert_eq!(in_pieces(ChecksumDigest::crc32_of_lines(), b"a", 1).as_bytes(), b"-390611389");
    }

    #[test]
    fn is_the_one_that_prisma_records_in_any_of_its_forms() {
        let sha256_text = |content: &[u8]| in_pieces(ChecksumDigest::sha256_text(), content, 2);
        let padded = b"edeaaff3f1774ad2888673770c6d64097e391bc362d7d6fb34982ddf0efd18cb";
        assert_eq!(sha256_text(b"abc\n").as_bytes(), padded);
        let unpadded = b"edeaaff3f1774ad288867377c6d6497e391bc362d7d6fb34982ddfefd18cb";
        assert!(sha256_text(b"abc\n").matches(unpadded) && sha256_text(b"abc\r\n").matches(padded));
    }
}
