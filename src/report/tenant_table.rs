//! What became of each tenant, where a tool keeps a ledger in each schema: people ask for tenants, not for the migrations of
//! all of them together.

use super::{
    entries::{Fate, MigrationReport},
    run_report::Report,
};
use std::collections::BTreeMap;

/// One tenant.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Tenant {
    pub(super) applied: usize,
    pub(super) rolled_back: usize,
    pub(super) open: usize,
    failed: usize,
    doubtful: usize,
}

/// Whether it is known in which schema a run has failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Blame {
    /// It has not failed.
    None,
    Known,
    Unknown,
}

/// Of this run.
pub(super) fn blame(report: &Report) -> Blame {
    let known = report.with_fate(Fate::Failed).next().is_some();
    match (known, report.faults.is_empty()) {
        (true, _) => Blame::Known,
        (false, true) => Blame::None,
        (false, false) => Blame::Unknown,
    }
}

impl Tenant {
    /// How it stands, in words. Where a run has failed and nobody has said in which schema, any that is not begun may be it.
    pub(super) fn state(&self, blame: Blame) -> &'static str {
        match (self, blame) {
            (Self { failed: 1.., .. }, _) => "failed",
            (Self { open: 0, .. }, _) => "done",
            (Self { doubtful: 1.., .. }, _) => "in doubt",
            (Self { applied: 0, rolled_back: 0, .. }, Blame::None) => "pending",
            (Self { applied: 0, rolled_back: 0, .. }, Blame::Known) => "not reached",
            (Self { applied: 0, rolled_back: 0, .. }, Blame::Unknown) => "failed or not reached",
            (_, _) => "partly done",
        }
    }

    fn add(&mut self, entry: &MigrationReport) {
        match entry.fate {
            Fate::Applied => self.applied += 1,
            Fate::RolledBack => self.rolled_back += 1,
            Fate::Failed => (self.failed, self.open) = (self.failed + 1, self.open + 1),
            Fate::InDoubt => (self.doubtful, self.open) = (self.doubtful + 1, self.open + 1),
            Fate::Pending | Fate::Running | Fate::Cancelled => self.open += 1,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenant_that_may_be_the_one_that_failed_is_not_told_as_not_reached() {
        let state = |tenant: Tenant| [Blame::None, Blame::Known, Blame::Unknown].map(|blame| tenant.state(blame));
        let untouched = Tenant { open: 2, ..Tenant::default() };
        assert_eq!(state(untouched), ["pending", "not reached", "failed or not reached"]);
        assert_eq!(state(Tenant { open: 1, failed: 1, ..Tenant::default() }), ["failed"; 3]);
        assert_eq!(state(Tenant { open: 1, doubtful: 1, ..Tenant::default() }), ["in doubt"; 3]);
        assert_eq!(state(Tenant { applied: 2, ..Tenant::default() }), ["done"; 3]);
        assert_eq!(state(Tenant { applied: 1, open: 1, ..Tenant::default() }), ["partly done"; 3]);
    }
}
