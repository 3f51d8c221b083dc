//! What became of each tenant, where a tool keeps a ledger in each schema: people ask for tenants, not for the migrations of
//! all of them together.

use super::{
    entries::{MigrationReport, MigrationState},
    run_report::RunReport,
};
use std::collections::BTreeMap;

/// One tenant.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct TenantCounts {
    pub(super) applied: usize,
    pub(super) rolled_back: usize,
    pub(super) open: usize,
    failed: usize,
    doubtful: usize,
}

/// Whether it is known in which schema a run has failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FailedSchema {
    /// It has not failed.
    NotFailed,
    KnownSchema,
    UnknownSchema,
}

/// Of this run.
pub(super) fn failed_schema(report: &RunReport) -> FailedSchema {
    let known = report.in_state(MigrationState::Failed).next().is_some();
    match (known, report.faults.is_empty()) {
        (true, _) => FailedSchema::KnownSchema,
        (false, true) => FailedSchema::NotFailed,
        (false, false) => FailedSchema::UnknownSchema,
    }
}

impl TenantCounts {
    /// How it stands, in words. Where a run has failed and nobody has said in which schema, any that is not begun may be it.
    pub(super) fn describe_state(&self, blame: FailedSchema) -> &'static str {
        match (self, blame) {
            (Self { failed: 1.., .. }, _) => "failed",
            (Self { open: 0, .. }, _) => "done",
            (Self { doubtful: 1.., .. }, _) => "in doubt",
            (Self { applied: 0, rolled_back: 0, .. }, FailedSchema::NotFailed) => "pending",
            (Self { applied: 0, rolled_back: 0, .. }, FailedSchema::KnownSchema) => "not reached",
            (Self { applied: 0, rolled_back: 0, .. }, FailedSchema::UnknownSchema) => "failed or not reached",
            (_, _) => "partly done",
        }
    }

    fn count_migration(&mut self, entry: &MigrationReport) {
        match entry.fate {
            MigrationState::Applied => self.applied += 1,
            MigrationState::RolledBack => self.rolled_back += 1,
            MigrationState::Failed => (self.failed, self.open) = (self.failed + 1, self.open + 1),
            MigrationState::InDoubt => (self.doubtful, self.open) = (self.doubtful + 1, self.open + 1),
            MigrationState::Pending | MigrationState::Running | MigrationState::Cancelled => self.open += 1,
        }
    }
}

/// Every tenant for which there was something to do, by schema; none where there are no tenants.
pub(super) fn count_by_tenant(report: &RunReport) -> BTreeMap<&str, TenantCounts> {
    let mut tenants: BTreeMap<&str, TenantCounts> = BTreeMap::new();
    for entry in report.migrations.iter().filter(|entry| !entry.id.schema.is_empty()) {
        tenants.entry(&entry.id.schema).or_default().count_migration(entry);
    }
    tenants
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenant_that_may_be_the_one_that_failed_is_not_told_as_not_reached() {
        let state = |tenant: TenantCounts| {
            [FailedSchema::NotFailed, FailedSchema::KnownSchema, FailedSchema::UnknownSchema]
                .map(|blame| tenant.describe_state(blame))
        };
        let untouched = TenantCounts { open: 2, ..TenantCounts::default() };
        assert_eq!(state(untouched), ["pending", "not reached", "failed or not reached"]);
        assert_eq!(state(TenantCounts { open: 1, failed: 1, ..TenantCounts::default() }), ["failed"; 3]);
        assert_eq!(state(TenantCounts { open: 1, doubtful: 1, ..TenantCounts::default() }), ["in doubt"; 3]);
        assert_eq!(state(TenantCounts { applied: 2, ..TenantCounts::default() }), ["done"; 3]);
        assert_eq!(state(TenantCounts { applied: 1, open: 1, ..TenantCounts::default() }), ["partly done"; 3]);
    }
}
