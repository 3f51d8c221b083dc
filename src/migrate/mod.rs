//! Reads SQL files and applies them. Only [`read`] touches the disk; only `pipeline`, `copy`, `resumable`,
//! `concurrent_index` and `script` use the database.

mod answer;
mod applier;
mod commit_progress;
mod concurrent_index;
mod copy;
mod directory;
mod error_location;
mod files;
mod migration;
mod pipeline;
mod resumable;
mod script;
mod transaction;

pub use applier::{Apply, Limits};
pub use commit_progress::Tally;
pub use directory::read;
pub use files::Files;
pub use migration::Migration;
pub use pipeline::{Reached, Stopped};
pub use resumable::half_done;
pub use script::run;
pub use transaction::{FLUSH, Fresh};

pub use script::run as run_script;
