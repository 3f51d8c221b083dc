//! SQL files: found, read, cut, judged, planned, applied. [`read`] alone touches the disk; `apply` and what it calls
//! (`copy`, `statements`, `index`) alone talk to the database.

mod answer;
mod apply;
mod blame;
mod checksum;
mod classify;
mod copy;
mod decide;
mod directive;
mod directory;
mod file;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod index;
mod kept;
mod latch;
mod layout;
mod locate;
mod modes;
mod name;
mod options;
mod phrase;
mod plan;
mod proof;
mod refusal;
mod resume;
mod script;
mod session;
mod span;
mod split;
mod sqlx_project;
mod statements;
mod tally;
mod template;
mod token;
mod traces;
mod work;

pub use apply::{Apply, Limits, Reached, Stopped};
pub use checksum::Checksum;
pub use directory::read;
pub use file::Migration;
pub use latch::{FLUSH, Fresh};
pub use layout::Files;
pub use locate::Source;
pub use modes::Modes;
pub use name::QualifiedName;
pub use plan::{Plan, Rules, approved, plan};
pub use proof::{unfinished, unproven};
pub use script::run as run_script;
pub use span::Span;
pub use statements::half_done;
pub use tally::Tally;
pub use work::{Again, Lost, Piece, Statement, StatementKind, Work};
