//! The text of a migration: in memory, or on disk if it is long.

use super::{long_file::LongFile, surroundings::Surroundings};
use crate::{
    fault::Fault,
    run::blocking::run_blocking,
    sql::{Span, TextStart},
};
use std::{borrow::Cow, sync::Arc};

/// A file's text, without a byte order mark. `\restrict` lines, and statements that our own SQL replaces, are
/// overwritten with spaces, so that positions stay the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body {
    /// The text itself.
    InMemory(Arc<str>),
    /// A long file, which is read again while it is sent.
    OnDisk(Arc<LongFile>),
}

impl Body {
    /// Returns the text if it is in memory.
    pub(super) fn in_memory(&self) -> Option<&str> {
        match self {
            Self::InMemory(text) => Some(text),
            Self::OnDisk(_) => None,
        }
    }

    /// Returns this part of the text.
    ///
    /// # Errors
    ///
    /// `file-changed` or `file-unreadable` for a file on disk that is not what it was.
    pub(super) async fn read(&self, span: Span) -> Result<Cow<'_, str>, Fault> {
        match self {
            Self::InMemory(text) => Ok(Cow::Borrowed(span.slice_of(text))),
            Self::OnDisk(file) => {
                let file = Arc::clone(file);
                run_blocking(move || file.read(span)).await.map(Cow::Owned)
            }
        }
    }

    /// Returns this part of the text and the lines around it.
    ///
    /// # Errors
    ///
    /// As for [`Self::read`].
    pub(super) async fn surroundings(&self, span: Span) -> Result<Surroundings<'_>, Fault> {
        match self {
            Self::InMemory(text) => Ok(Surroundings::new(&**text, 0, TextStart::OF_FILE)),
            Self::OnDisk(file) => {
                let file = Arc::clone(file);
                run_blocking(move || file.surroundings(span)).await
            }
        }
    }

    /// Divides a part of the text into parts that are read one by one.
    pub(super) fn pieces(&self, span: Span) -> Vec<Span> {
        match self {
            Self::InMemory(_) => vec![span],
            Self::OnDisk(file) => file.pieces(span),
        }
    }
}
