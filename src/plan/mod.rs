//! The plan: compares the files with the ledger before a run, and verifies the ledger after it.

mod compare;
mod verify;

pub use compare::{PlanRules, check_approved, compare_with_ledger};
pub use verify::{invalid_index_fault, missing_after_run, still_pending};
