//! The plan: compares the files with the ledger before a run, and verifies the ledger after it.

mod approval;
mod compare;
mod decision;
mod rollback;
mod takeover;
mod tenants;
mod verify;

pub use approval::{check_approved, digest_to_approve};
pub use compare::{PlanRules, compare_with_ledger, plan_digest};
pub use decision::find_decided;
pub use rollback::find_applied_after_target;
pub use takeover::{find_taken_over, is_unfinished_takeover};
pub use tenants::{combined_digest, list_tenants, merge_faults};
pub use verify::{invalid_index_fault, missing_after_run, still_pending};
