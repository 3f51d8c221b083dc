//! The decision of a person about one migration.

/// The decision that `command: resolve` records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resolution {
    /// The changes of the migration are in the database.
    Applied,
    /// They are not.
    NotApplied,
}

impl Resolution {
    /// Both of them.
    pub const ALL: [Self; 2] = [Self::Applied, Self::NotApplied];

    /// Returns the name as written in the input `resolve`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Applied => "applied",
            Self::NotApplied => "not-applied",
        }
    }
}
