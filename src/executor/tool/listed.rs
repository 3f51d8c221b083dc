//! The migrations that a tool lists, as far as it lists them.

use crate::tool::ListedMigration;

/// The result of a tool's listing.
#[derive(Debug)]
pub(crate) enum ToolListing {
    /// The listed migrations.
    Listed(Vec<ListedMigration>),
    /// The tool can't list them without a ledger.
    NoLedger,
    /// The tool can't list them.
    Unknown,
}

impl ToolListing {
    pub(crate) fn migrations(&self) -> &[ListedMigration] {
        match self {
            Self::Listed(listed) => listed,
            Self::NoLedger | Self::Unknown => &[],
        }
    }

    pub(crate) fn is_listed(&self) -> bool {
        matches!(self, Self::Listed(_))
    }
}
