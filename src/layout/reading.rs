//! The reading of a directory by one layout: which paths are migrations, and how well they fit.

use super::file_name::{FileName, is_sql};

/// The meaning of one file of the directory in a layout.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PathReading {
    /// It is a migration, or the way back of one.
    Migration(FileName),
    /// It has nothing to do with the migrations.
    Unrelated,
    /// It is a SQL file in a place, or with a name, that the layout's tool does not read.
    LeftOut,
    /// Its name can't be read, for this reason, which follows the name in a sentence.
    Unreadable(String),
}

/// The files of a directory, as one layout reads them.
#[derive(Debug, Clone, Copy)]
pub struct FoundFiles<'a> {
    /// The names of the migrations.
    pub names: &'a [&'a FileName],
    /// Number of SQL files beside the migrations that the layout does not read.
    pub left_out: usize,
    /// Number of files whose names it can't read.
    pub unreadable: usize,
    /// Names of the layouts whose marks are in the files.
    pub marks: &'a [&'static str],
}

impl FoundFiles<'_> {
    /// Reports whether every SQL file is a migration of this layout, and no other layout's mark is in one.
    #[must_use]
    pub fn are_all_read(&self) -> bool {
        !self.names.is_empty() && self.left_out == 0 && self.unreadable == 0 && self.marks.is_empty()
    }
}

/// The degree to which a directory fits a layout.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fit {
    /// These are no files of this layout.
    No,
    /// Another layout may have the same names.
    Possible,
    /// No other layout has names or marks like these.
    Certain,
}

/// Reads a path of a layout whose files are all in the directory itself, by the name of the file.
pub(super) fn read_flat(path: &str, read_name: impl Fn(&str) -> Result<FileName, String>) -> PathReading {
    match (path.contains('/'), is_sql(path)) {
        (_, false) => PathReading::Unrelated,
        (true, true) => PathReading::LeftOut,
        (false, true) => read_name(path).map_or_else(PathReading::Unreadable, PathReading::Migration),
    }
}
