//! Collects all faults and warnings of the inputs.

use crate::fault::Fault;

/// Faults and warnings, collected while reading goes on.
#[derive(Debug, Default)]
pub(super) struct Findings {
    /// Faults, which prevent the run.
    pub(super) faults: Vec<Fault>,
    /// Warnings, which do not.
    pub(super) warnings: Vec<Fault>,
}

impl Findings {
    /// Records a warning.
    pub(super) fn add_warning(&mut self, fault: Fault) {
        self.warnings.push(fault);
    }

    /// Returns the value, or records the fault and returns `None`.
    pub(super) fn ok_or_record<T>(&mut self, result: Result<T, Fault>) -> Option<T> {
        result.map_err(|fault| self.faults.push(fault)).ok()
    }
}
