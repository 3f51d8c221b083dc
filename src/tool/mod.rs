//! Migration tools as data: their commands, the patterns of their output and their known failures. A new tool is a new
//! file in `recipes`.

mod command_line;
mod commands;
pub(crate) mod explain;
mod known_failure;
mod list_then_migrate;
mod listing;
mod pattern;
mod printed_sql;
mod recipe;
mod sql_listing;
mod target;

pub use command_line::{CommandLine, NamedCommand};
pub use commands::Verb;
pub use explain::explain_failure;
pub use known_failure::KnownFailure;
pub use list_then_migrate::{CONFIRM, CONFIRM_PROMPT, FileCommand, ListThenMigrate};
pub use listing::{LedgerMoment, LedgerRows, ListBounds, ListOrder, ListedMigration, ListingFormat, ListingOutcome};
pub use pattern::Pattern;
pub use printed_sql::{OutputMark, PrintedScript, PrintedSql};
pub use recipe::{Done, LedgerCount, MigrationStarted, Recipe};
pub use sql_listing::{ListingRequest, WantedScripts};
pub use target::{Itself, TargetMeaning, TargetSyntax};
