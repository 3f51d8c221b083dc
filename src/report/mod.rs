//! Events → fold → report; all surfaces are pure functions of it.

mod annotations;
mod buffered_output;
mod comment;
mod console;
mod database_changes;
mod early_notices;
mod entries;
mod facts;
mod headline;
mod log;
mod log_lines;
mod markdown;
mod outputs;
pub(crate) mod publish;
mod redact;
mod reporter;
mod run_report;
#[cfg(test)]
mod sample;
mod summary;
mod tenant_table;
mod tunnel_usage;

pub use comment::{comment, marker};
pub use entries::{Fate, MigrationReport, NoticeReport, StageTime};
pub use headline::Verdict;
pub use log::{Log, Surface};
pub use outputs::outputs;
pub use publish::publish;
pub use reporter::Teller;
pub use run_report::{NOTICES_KEPT, Outcome, Report};
pub use summary::summary;
