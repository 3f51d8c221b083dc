//! The end of a run, as it is recorded in the database.

/// Longest cause of a fault in a record, in characters.
const MAX_FAULT_LENGTH: usize = 1_000;

/// The end of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunEnd {
    /// Its outcome, as in the output `outcome`.
    pub outcome: &'static str,
    /// The code and the cause of the fault that decided it, without secrets.
    pub fault: Option<String>,
    /// Number of planned migrations.
    pub planned: usize,
    /// Number of migrations that were applied, recorded or rolled back.
    pub done: usize,
}

impl RunEnd {
    /// Creates the end of a run that has succeeded with all that it had planned.
    #[must_use]
    pub fn success(planned: usize) -> Self {
        Self { outcome: "success", fault: None, planned, done: planned }
    }

    /// Adds the fault that decided it; a long one is cut.
    #[must_use]
    pub fn with_fault(self, fault: Option<&str>) -> Self {
        Self { fault: fault.map(|fault| fault.chars().take(MAX_FAULT_LENGTH).collect()), ..self }
    }
}
