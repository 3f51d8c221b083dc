//! The state of each tenant, for tools with a ledger in each schema: readers look for a tenant, not for the migrations
//! of all tenants together.

use super::{
    entries::{MigrationReport, MigrationState},
    run_report::RunReport,
};
use std::collections::BTreeMap;

/// Counts of one tenant's migrations by state.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct TenantCounts {
    pub(super) applied: usize,
    pub(super) rolled_back: usize,
    pub(super) open: usize,
    failed: usize,
    doubtful: usize,
}

/// Knowledge about the schema in which a run failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FailedSchema {
    /// The run has not failed.
    NotFailed,
    KnownSchema,
    UnknownSchema,
}

/// Returns whether the schema in which this run failed is known.
pub(super) fn failed_schema(report: &RunReport) -> FailedSchema {
    let known = report.in_state(MigrationState::Failed).next().is_some();
    match (known, report.faults.is_empty()) {
        (true, _) => FailedSchema::KnownSchema,
        (false, true) => FailedSchema::NotFailed,
        (false, false) => FailedSchema::UnknownSchema,
    }
}

impl TenantCounts {
    /// Describes the tenant's state. If the run failed in an unknown schema, it may be any that has not started.
    pub(super) fn describe_state(&self, failed: FailedSchema) -> &'static str {
        match (self, failed) {
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

/// Counts the migrations of every tenant that has any, by schema; empty without tenants.
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
    fn a_tenant_that_may_have_failed_is_not_shown_as_not_reached() {
        let state = |tenant: TenantCounts| {
            [FailedSchema::NotFailed, FailedSchema::KnownSchema, FailedSchema::UnknownSchema]
                .map(|failed| tenant.describe_state(failed))
        };
        let untouched = TenantCounts { open: 2, ..TenantCounts::default() };
        assert_eq!(state(untouched), ["pending", "not reached", "failed or not reached"]);
        assert_eq!(state(TenantCounts { open: 1, failed: 1, ..TenantCounts::default() }), ["failed"; 3]);
        assert_eq!(state(TenantCounts { open: 1, doubtful: 1, ..TenantCounts::default() }), ["in doubt"; 3]);
        assert_eq!(state(TenantCounts { applied: 2, ..TenantCounts::default() }), ["done"; 3]);
        assert_eq!(state(TenantCounts { applied: 1, open: 1, ..TenantCounts::default() }), ["partly done"; 3]);
    }
}
