//! The way back of a migration.

use crate::{settings::Placeholders, sql::Span};
use std::path::PathBuf;

/// The place of the SQL that undoes a migration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WayBack {
    /// The file, as the user would write its path.
    pub file: String,
    /// The path that can be opened.
    pub path: PathBuf,
    /// The sections of the file, in bytes; empty for a file of its own.
    pub sections: Vec<Span>,
    /// The values of placeholders in it.
    pub placeholders: Placeholders,
}
