//! A part of a file's text, with the lines around it.

use crate::sql::{Span, SqlSource, TextStart};
use std::borrow::Cow;

/// A part of a body, with the lines around it.
#[derive(Debug)]
pub(super) struct Surroundings<'a> {
    text: Cow<'a, str>,
    /// The byte of the body at which the text begins.
    offset: usize,
    start: TextStart,
}

impl<'a> Surroundings<'a> {
    pub(super) fn new(text: impl Into<Cow<'a, str>>, offset: usize, start: TextStart) -> Self {
        Self { text: text.into(), offset, start }
    }

    /// Returns the text, to find places in it.
    pub(super) fn source<'s>(&'s self, file: &'s str) -> SqlSource<'s> {
        SqlSource { file, text: &self.text, start: self.start }
    }

    /// Returns the position in this text of a part of the body.
    pub(super) fn span(&self, span: Span) -> Span {
        Span { start: span.start.saturating_sub(self.offset), end: span.end.saturating_sub(self.offset) }
    }
}
