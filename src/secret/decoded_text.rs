//! A decoded text, and where each of its bytes comes from.

use std::ops::Range;

/// A decoded text. A window is searched at a time (`super::WINDOW_SIZE`), so four bytes hold any position.
#[derive(Debug, Clone, Default)]
pub(super) struct DecodedText {
    bytes: Vec<u8>,
    /// For each byte, its range in the encoded text.
    sources: Vec<(u32, u32)>,
}

impl DecodedText {
    /// Creates an empty text with room for this many bytes.
    pub(super) fn with_capacity(capacity: usize) -> Self {
        Self { bytes: Vec::with_capacity(capacity), sources: Vec::with_capacity(capacity) }
    }

    /// Returns the decoded bytes.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Adds a byte that is decoded from this range.
    pub(super) fn push(&mut self, byte: u8, source: &Range<usize>) {
        let position = |position: usize| u32::try_from(position).unwrap_or(u32::MAX);
        self.bytes.push(byte);
        self.sources.push((position(source.start), position(source.end)));
    }

    /// Forgets the text, but not its room.
    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.sources.clear();
    }

    /// Returns the range of the encoded text for which a range of the decoded bytes stands.
    pub(super) fn source_of(&self, part: &Range<usize>) -> Option<Range<usize>> {
        let (start, _) = self.sources.get(part.start)?;
        let (_, end) = self.sources.get(part.end.checked_sub(1)?)?;
        Some(usize::try_from(*start).ok()?..usize::try_from(*end).ok()?)
    }

    /// Returns this text as decoded from the text that `outer` was decoded from.
    pub(super) fn within(self, outer: &Self) -> Self {
        let mut composed = Self::with_capacity(self.bytes.len());
        for (at, byte) in self.bytes.iter().enumerate() {
            if let Some(source) = self.source_of(&(at..at + 1)).and_then(|source| outer.source_of(&source)) {
                composed.push(*byte, &source);
            }
        }
        composed
    }
}
