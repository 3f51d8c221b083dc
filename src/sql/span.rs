//! Byte ranges of a text.

/// The bytes `start..end` of a migration's body; both ends are character boundaries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Span {
    /// The first byte.
    pub start: usize,
    /// The first byte after the range.
    pub end: usize,
}

impl Span {
    /// Returns the span of a whole text.
    #[must_use]
    pub fn whole(text: &str) -> Self {
        Self { start: 0, end: text.len() }
    }

    /// Returns the text in the span; empty if the span lies outside of this text.
    #[must_use]
    pub fn slice_of(self, text: &str) -> &str {
        text.get(self.start..self.end).unwrap_or_default()
    }
}
