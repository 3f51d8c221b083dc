//! The plan: compares the files with the ledger before a run, and verifies the ledger after it.

mod compare;
mod verify;

pub use compare::{Rules, approved, plan};
pub use verify::{unfinished, unproven};
