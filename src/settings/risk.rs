//! The risk that a plan may have.

use super::lint::LintSettings;
use crate::run::Risk;
use std::time::Duration;

/// The risk that a plan may have, and the rules by which it is found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RiskSettings {
    /// The highest risk that is accepted; `None` accepts any.
    pub max: Option<Risk>,
    /// The policy for statements that destroy data.
    pub destructive: DestructionPolicy,
    /// The part of other sessions' queries that is shown.
    pub queries: QueryDisplay,
    /// The time for which the approval of a plan holds, from the plan to the run; `None` if it does not expire.
    pub plan_max_age: Option<Duration>,
    /// The number of rows below which a table is small, as for the lint.
    pub small_table: u64,
}

impl Default for RiskSettings {
    fn default() -> Self {
        Self {
            max: None,
            destructive: DestructionPolicy::Warn,
            queries: QueryDisplay::FirstWords,
            plan_max_age: None,
            small_table: LintSettings::SMALL_TABLE,
        }
    }
}

/// The policy for statements that destroy data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DestructionPolicy {
    /// Refuse the plan.
    Refuse,
    /// Refuse the plan unless nothing is lost.
    IfEmpty,
    /// Report them.
    Warn,
}

/// The part of other sessions' queries that is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QueryDisplay {
    /// The command and its object. The rest may be other people's data.
    FirstWords,
    /// All of it.
    Whole,
}
