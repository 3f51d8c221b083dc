//! The plan: files compared with the ledger before a run, and held against it afterwards.

mod compare;
mod verify;

pub use compare::{Rules, approved, plan};
pub use verify::{unfinished, unproven};
