//! The course of a run: its events, its time limits and signals, and the output and exit status of its processes.

mod aftercare;
pub mod backpressure;
pub mod blocking;
mod doctor_finding;
pub mod event;
mod facts;
mod large_number;
mod ledger_entry;
mod lint_finding;
pub mod lock_retries;
mod long_wait;
mod migration_id;
mod ongoing_wait;
mod past_run;
mod plan_facts;
mod plan_review;
pub mod process;
pub mod program;
mod reviewed_plan;
mod run_end;
pub mod shutdown;
pub mod supervisor;

pub use aftercare::{AftercareFacts, CareFinding, CareFindingKind};
pub use doctor_finding::{Area, Check, DoctorFinding, FindingState};
pub use facts::{BackupFacts, BastionFacts, DatabaseFacts, ImageFacts, MadeBackup, ResourceUsage, TunnelFacts};
pub use large_number::{format_bytes, group_digits};
pub use ledger_entry::{HalfDoneMigration, LedgerEntry};
pub use lint_finding::{FindingLevel, LintFinding};
pub use long_wait::LongWait;
pub use migration_id::{FILES_OF_DIRECTORIES, MigrationId};
pub use ongoing_wait::OngoingWait;
pub use past_run::{PastOutcome, PastRun};
pub use plan_facts::{Coverage, PlanAction, PlanFacts};
pub use plan_review::{Confidence, Content, DestroyedObject, Estimate, HeldUp, PlanReview, Risk, StatementReview};
pub use reviewed_plan::{ReviewedPlan, ShownScript};
pub use run_end::RunEnd;
