//! Reads SQL files and applies them. Only [`read_directory`], what it is made of, and [`Body`] touch the disk; only `pipeline`, `copy`, `resumable`,
//! `concurrent_index` and `script` use the database.

mod applier;
mod blank;
mod blocks;
mod body;
mod commit_progress;
mod concurrent_index;
mod copy;
mod decode;
mod detection;
mod directory;
mod error_location;
mod files;
mod listing;
mod long_file;
mod migration;
mod named_file;
mod options_file;
mod parsed_file;
mod pipeline;
mod response;
mod resumable;
mod resumable_refusal;
mod script;
mod surroundings;
mod transaction;
mod undo;
mod way_back;
mod work;

pub use applier::{LockTimeouts, Pipeline};
pub use body::Body;
pub use commit_progress::CommitProgress;
pub use directory::read_directory;
pub use files::MigrationFiles;
pub use long_file::LongFile;
pub use migration::Migration;
pub use pipeline::{SessionOutcome, StoppedAt};
pub use resumable_refusal::{refuse_half_done, refuse_other_direction};
pub use script::run_script;
pub use transaction::{FLUSH, FreshState, ROLLBACK};
pub use undo::read_ways_back;
pub use way_back::WayBack;
pub use work::{Work, split_progress_key};
