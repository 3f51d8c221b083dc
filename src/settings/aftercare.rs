//! The settings of the after-care.

/// A task after a successful migration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum AftercareTask {
    /// Renew the statistics of the tables that the run rewrote or filled.
    Analyze,
    /// Validate the constraints that the run added NOT VALID.
    Validate,
    /// List what should be mended.
    Report,
}

impl AftercareTask {
    /// All tasks, in their order.
    pub const ALL: [Self; 3] = [Self::Analyze, Self::Validate, Self::Report];

    /// Returns the name as written in inputs.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Analyze => "analyze",
            Self::Validate => "validate",
            Self::Report => "report",
        }
    }
}
