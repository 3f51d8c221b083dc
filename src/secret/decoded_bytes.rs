//! The bytes for which an escape sequence stands.

/// The result of one decoding: up to four bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct DecodedBytes {
    bytes: [u8; 4],
    length: usize,
}

impl DecodedBytes {
    /// No bytes: an escaped line break, which only wraps the line.
    pub(super) const EMPTY: Self = Self { bytes: [0; 4], length: 0 };

    pub(super) fn from_byte(byte: u8) -> Self {
        Self { bytes: [byte, 0, 0, 0], length: 1 }
    }

    pub(super) fn from_char(letter: char) -> Self {
        let mut bytes = [0; 4];
        let length = letter.encode_utf8(&mut bytes).len();
        Self { bytes, length }
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }
}
