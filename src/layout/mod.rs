//! Layouts of migration directories: file names, checksums and the ledger that belongs to them.

mod checksum;
mod file_name;
pub(crate) mod hex;
pub(crate) mod plain;
pub(crate) mod sqlx;
pub(crate) mod sqlx_project;

pub use checksum::Checksum;
pub(crate) use file_name::{Direction, FileName, duplicates, gaps, layout_of};
