//! What became of each tenant, where a tool keeps a ledger in each schema: people ask for tenants, not for the migrations of
//! all of them together.

use super::outcome::{Fate, MigrationReport, Report};
use std::collections::BTreeMap;

/// One tenant.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Tenant {
    pub(super) applied: usize,
    pub(super) rolled_back: usize,
    pub(super) open: usize,
    failed: usize,
}

impl Tenant {
    /// How it stands, in words.
    pub(super) fn state(&self) -> &'static str {
        match self {
            Self { failed: 1.., .. } => "failed",
            Self { open: 0, .. } => "done",
            Self { applied: 0, rolled_back: 0, .. } => "not reached",
            _ => "partly done",
        }
    }

    fn add(&mut self, entry: &MigrationReport) {
        match entry.fate {
            Fate::Applied => self.applied += 1,
            Fate::RolledBack => self.rolled_back += 1,
            Fate::Failed => (self.failed, self.open) = (self.failed + 1, self.open + 1),
            Fate::Pending | Fate::Running | Fate::InDoubt => self.open += 1,
        }
    }
}

/// Every tenant for which there was something to do, by schema; none where there are no tenants.
pub(super) fn tenants(report: &Report) -> BTreeMap<&str, Tenant> {
    let mut tenants: BTreeMap<&str, Tenant> = BTreeMap::new();
    for entry in report.migrations.iter().filter(|entry| !entry.id.schema.is_empty()) {
        tenants.entry(&entry.id.schema).or_default().add(entry);
    }
    tenants
}
