//! The course of a run: its events, its time limits and signals, and the output and exit status of its processes.

pub mod backpressure;
pub mod blocking;
pub mod event;
mod facts;
mod ledger_entry;
pub mod lock_retries;
mod migration_id;
mod plan_facts;
pub mod process;
pub mod shutdown;
pub mod supervisor;

pub use facts::{BastionFacts, DatabaseFacts, ImageFacts, ResourceUsage, TunnelFacts};
pub use ledger_entry::{HalfDoneMigration, LedgerEntry};
pub use migration_id::{FILES_OF_DIRECTORIES, MigrationId};
pub use plan_facts::{Coverage, PlanAction, PlanFacts};
