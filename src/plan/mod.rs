//! The plan: compares the files with the ledger before a run, and verifies the ledger after it.

mod allowances;
mod compare;
mod rollback;
mod takeover;
mod tenants;
mod verify;

pub use allowances::with_allowances;
pub use compare::{PlanRules, check_approved, compare_with_ledger, plan_digest};
pub use rollback::find_applied_after_target;
pub use takeover::{find_taken_over, is_unfinished_takeover};
pub use tenants::{combined_digest, list_tenants, merge_faults};
pub use verify::{invalid_index_fault, missing_after_run, still_pending};
