//! The outcome of a run.

/// The outcome of a run, the value of the output `outcome`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum RunOutcome {
    /// Something was applied, or everything that was checked is in order.
    Success,
    /// Nothing was pending.
    NothingToDo,
    /// Something is pending, which is no fault: the result of `plan` and `status`.
    Pending,
    /// The run failed; the report lists the faults.
    Failed,
    /// Stopped by a signal or by `timeout`.
    Cancelled,
    /// It is unknown whether a migration was committed.
    InDoubt,
}

impl RunOutcome {
    /// Returns the value of the output `outcome`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::NothingToDo => "nothing-to-do",
            Self::Pending => "pending",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::InDoubt => "in-doubt",
        }
    }
}
