//! The report of a run: folded from its events. Every surface (summary, outputs, comment) is a pure function of it.

mod annotations;
mod backup_section;
mod buffered_output;
mod chart;
mod comment;
mod console;
mod database_changes;
mod early_notices;
mod entries;
mod facts;
mod fault_section;
mod first_run;
mod folded_details;
#[cfg(test)]
mod golden;
mod headline;
mod host_key_pin;
mod ledger_lines;
mod ledger_tables;
mod log;
mod log_lines;
mod markdown;
mod migration_tables;
mod outputs;
mod publish;
mod pull_request_comment;
mod redact;
mod rendering;
mod reporter;
mod review_lines;
mod review_section;
mod run_outcome;
mod run_report;
#[cfg(test)]
mod sample;
mod source_links;
mod summary;
mod summary_page;
mod tenant_table;
mod tunnel_usage;
mod verdict;
mod visible_text;
mod wording;

pub use comment::{CommentStamp, comment_body, comment_marker};
pub use console::ConsoleKind;
pub use entries::{MigrationReport, MigrationState, NoticeReport, StageTime};
pub use headline::Headline;
pub use log::Log;
pub use outputs::step_outputs;
pub use publish::publish_report;
pub use reporter::Reporter;
pub use run_outcome::RunOutcome;
pub use run_report::{MAX_NOTICES, RunReport};
pub use summary::render_summary;
