//! What is wrong, all of it at once.

use crate::fault::Fault;

/// Faults and warnings, collected while reading goes on.
#[derive(Debug, Default)]
pub(super) struct Findings {
    /// What makes a run impossible.
    pub(super) faults: Vec<Fault>,
    /// What the user should know.
    pub(super) warnings: Vec<Fault>,
}

impl Findings {
    /// Notes a warning.
    pub(super) fn warning(&mut self, fault: Fault) {
        self.warnings.push(fault);
    }

    /// The value, or nothing once its fault is noted.
    pub(super) fn keep<T>(&mut self, result: Result<T, Fault>) -> Option<T> {
        result.map_err(|fault| self.faults.push(fault)).ok()
    }
}
