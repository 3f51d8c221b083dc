//! The type of every secret.

use std::fmt;
use zeroize::Zeroizing;

/// A secret value: no `Display`, a `Debug` that shows nothing, wiped from memory on drop.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Wraps a secret value.
    #[must_use]
    pub fn new(value: impl Into<String>) -> Self {
        Self(Zeroizing::new(value.into()))
    }

    /// Returns the value itself. This is the only way to get it; every caller needs review.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Returns whether the secret is long enough to be distinguished from ordinary text. Hiding a shorter one would
    /// blank out the whole log, and the rest of the log would spell the secret.
    #[must_use]
    pub fn can_be_hidden(&self) -> bool {
        self.0.trim().chars().count() >= SHORTEST_SECRET
    }
}

/// Length of the shortest secret that is hidden, in characters: see [`Secret::can_be_hidden`].
const SHORTEST_SECRET: usize = 3;

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("***")
    }
}
