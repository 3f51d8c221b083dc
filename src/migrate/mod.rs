//! SQL files: found, read, cut, judged, planned. Nothing here talks to a database; only [`read`] touches the disk.

mod checksum;
mod classify;
mod directive;
mod directory;
mod file;
mod layout;
mod locate;
mod name;
mod plan;
mod span;
mod split;
mod token;
mod work;

pub use checksum::Checksum;
pub use directory::read;
pub use file::Migration;
pub use layout::{Files, Layout};
pub use locate::Source;
pub use name::QualifiedName;
pub use plan::{Plan, Recorded, Rules, plan};
pub use span::Span;
pub use work::{Piece, Statement, StatementKind, Work};
