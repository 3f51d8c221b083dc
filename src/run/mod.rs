//! The course of a run: its events, its time limits and signals, and the output and exit status of its processes.

pub mod backpressure;
pub mod blocking;
mod byte_count;
pub mod event;
mod facts;
mod ledger_entry;
mod lint_finding;
pub mod lock_retries;
mod migration_id;
mod plan_facts;
mod plan_review;
pub mod process;
mod reviewed_plan;
pub mod shutdown;
pub mod supervisor;

pub use byte_count::format_bytes;
pub use facts::{BackupFacts, BastionFacts, DatabaseFacts, ImageFacts, MadeBackup, ResourceUsage, TunnelFacts};
pub use ledger_entry::{HalfDoneMigration, LedgerEntry};
pub use lint_finding::{FindingLevel, LintFinding};
pub use migration_id::{FILES_OF_DIRECTORIES, MigrationId};
pub use plan_facts::{Coverage, PlanAction, PlanFacts};
pub use plan_review::{Confidence, Content, DestroyedObject, Estimate, HeldUp, PlanReview, Risk, StatementReview};
pub use reviewed_plan::{ReviewedPlan, ShownScript};
