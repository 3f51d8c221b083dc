//! A stretch of a text.

/// Bytes `start..end` of a migration's body; both ends are character boundaries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Span {
    /// First byte.
    pub start: usize,
    /// First byte after it.
    pub end: usize,
}

impl Span {
    /// The whole of a text.
    #[must_use]
    pub fn whole(text: &str) -> Self {
        Self { start: 0, end: text.len() }
    }

    /// The stretch itself; empty if the span is not one of this text.
    #[must_use]
    pub fn of(self, text: &str) -> &str {
        text.get(self.start..self.end).unwrap_or_default()
    }
}
