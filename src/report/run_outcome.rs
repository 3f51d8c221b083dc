//! The outcome of a run.

/// How it ended, as the output `outcome` says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum RunOutcome {
    /// Something was applied, or everything checked is in order.
    Success,
    /// Nothing was pending.
    NothingToDo,
    /// Something is pending, and that is no fault: the end of `plan` and `status`.
    Pending,
    /// See the faults.
    Failed,
    /// Stopped by a signal or by `timeout`.
    Cancelled,
    /// Nobody knows whether a commit took place.
    InDoubt,
}

impl RunOutcome {
    /// As the output `outcome` says it.
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
