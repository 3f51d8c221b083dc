//! The tenants that are still to be migrated, and what has happened so far: the sessions of a run take one after the
//! other. Without tenants there is one entry.

use crate::{fault::Fault, migrate::PlannedMigration, settings::OnFailure};
use std::{cell::RefCell, collections::VecDeque};

/// The queue of a run.
#[derive(Debug)]
pub(super) struct TenantQueue {
    /// The migrations of each tenant that no session has begun.
    waiting: RefCell<VecDeque<Vec<PlannedMigration>>>,
    on_failure: OnFailure,
    /// The schemas of tenants that failed, with the faults.
    failed: RefCell<Vec<(String, Fault)>>,
    /// The fault after which the outcome has to be read from the ledger.
    lost: RefCell<Option<Fault>>,
}

impl TenantQueue {
    /// Creates the queue for the migrations of all tenants, those of the canary first.
    pub(super) fn new(tenants: impl IntoIterator<Item = Vec<PlannedMigration>>, on_failure: OnFailure) -> Self {
        let waiting = tenants.into_iter().filter(|migrations| !migrations.is_empty()).collect();
        let (failed, lost) = (RefCell::default(), RefCell::default());
        Self { waiting: RefCell::new(waiting), on_failure, failed, lost }
    }

    /// Returns the migrations of the next tenant, unless the run has to stop.
    pub(super) fn take_next(&self) -> Option<Vec<PlannedMigration>> {
        let may_go_on = self.failed.borrow().is_empty() || self.on_failure == OnFailure::Continue;
        if may_go_on && self.lost.borrow().is_none() { self.waiting.borrow_mut().pop_front() } else { None }
    }

    /// Stops the run if the canary has failed.
    pub(super) fn end_canary(&self) {
        if !self.failed.borrow().is_empty() {
            self.waiting.borrow_mut().clear();
        }
    }

    /// Returns the number of tenants that no session has begun.
    pub(super) fn remaining(&self) -> usize {
        self.waiting.borrow().len()
    }

    /// Returns the migrations that no session has begun.
    pub(super) fn waiting_migrations(&self) -> Vec<PlannedMigration> {
        self.waiting.borrow().iter().flatten().cloned().collect()
    }

    /// Records that a tenant failed.
    pub(super) fn record_failure(&self, schema: &str, fault: Fault) {
        self.failed.borrow_mut().push((schema.to_owned(), fault));
    }

    /// Records that a session was lost; the first loss counts.
    pub(super) fn record_loss(&self, fault: Fault) {
        self.lost.borrow_mut().get_or_insert(fault);
    }

    /// Returns the first loss.
    pub(super) fn take_loss(&self) -> Option<Fault> {
        self.lost.borrow_mut().take()
    }

    /// Returns the failures so far.
    pub(super) fn take_failures(&self) -> Vec<(String, Fault)> {
        self.failed.take()
    }
}
