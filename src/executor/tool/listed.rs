//! The migrations that a tool lists, as far as it lists them.

use crate::tool::{ListedMigration, PrintedScript, Verb};
use std::collections::BTreeSet;

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

/// A tool's listing, and the SQL of the pending migrations or the reason why it is not shown, as a sentence without its
/// full stop.
pub(super) struct ListingWithSql {
    pub(super) listing: ToolListing,
    pub(super) scripts: Result<Vec<PrintedScript>, String>,
    pub(super) others: CompletedVerbs,
}

/// The verbs whose commands have succeeded in the start of the tool for its list.
#[derive(Debug, Default)]
pub(super) struct CompletedVerbs {
    pub(super) verbs: BTreeSet<Verb>,
    /// The output of that start.
    pub(super) output: Vec<String>,
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
