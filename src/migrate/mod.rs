//! SQL files: found, read, cut, judged, planned, applied. [`read`] alone touches the disk; `apply` and what it calls
//! (`copy`, `statements`, `index`) alone talk to the database.

mod apply;
mod blame;
mod checksum;
mod classify;
mod copy;
mod directive;
mod directory;
mod file;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod index;
mod latch;
mod layout;
mod locate;
mod name;
mod plan;
mod proof;
mod span;
mod split;
mod statements;
mod tally;
mod token;
mod work;

pub use apply::{Apply, Stopped};
pub use checksum::Checksum;
pub use directory::read;
pub use file::Migration;
pub use latch::FLUSH;
pub use layout::Files;
pub use locate::Source;
pub use name::QualifiedName;
pub use plan::{Plan, Rules, approved, plan};
pub use proof::{unfinished, unproven};
pub use span::Span;
pub use statements::half_done;
pub use tally::Tally;
pub use work::{Piece, Statement, StatementKind, Work};
