//! The backup before a migration: what it contains and how large that is, its file, and the proof that it is complete.
//! It depends neither on the site of `pg_dump` nor on the executors.

mod dump_arguments;
mod dump_file;
mod dump_receiver;
mod dump_scope;
mod dump_script;
mod end_report;
mod file_name;
mod proof;
mod restore_command;
mod scope_query;

pub use dump_arguments::pg_dump_arguments;
pub use dump_file::Cipher;
pub use dump_receiver::{DumpReceiver, ReceivedDump};
pub use dump_scope::{DumpScope, DumpedRelation, RelationUse};
pub use dump_script::DumpOrder;
pub use end_report::EndReport;
pub use file_name::{BackupTarget, default_file_name};
pub use proof::{DumpEnding, ProvenDump, prove_dump};
pub use restore_command::restore_command;
pub use scope_query::{ScopeSelection, read_scope};
