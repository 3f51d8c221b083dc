//! The values of placeholders in SQL files.

use crate::secret::Secret;
use std::sync::Arc;

/// The values of placeholders, by their names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Placeholders(Arc<[Placeholder]>);

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placeholder {
    /// The name, as between `${` and `}`.
    pub name: String,
    /// The value, which has no line break.
    pub value: Secret,
    /// Whether the value may be shown.
    pub visibility: Visibility,
}

/// Whether a value may be shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Visibility {
    /// It may.
    Public,
    /// It is hidden everywhere, and no digest covers it.
    Hidden,
}

impl Placeholders {
    /// Collects these; the last value of a name counts.
    #[must_use]
    pub fn new(placeholders: Vec<Placeholder>) -> Self {
        Self(placeholders.into())
    }

    /// Returns whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the placeholder with this name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Placeholder> {
        self.0.iter().rev().find(|placeholder| placeholder.name == name)
    }
}
