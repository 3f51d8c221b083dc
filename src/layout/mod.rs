//! Layouts of migration directories: file names, checksums and the ledger that belongs to them. A layout is one file,
//! which implements [`LayoutRules`], and one line in [`ALL`].

mod checksum;
mod file_name;
pub(crate) mod plain;
mod sqlx;
mod table;

pub use checksum::{Checksum, ChecksumDigest};
pub use file_name::{Direction, FileName};
pub use table::{NewRow, RecordedMigration, Table};

use crate::postgres::quote_literal;
use std::{cmp::Ordering, fmt, ops::Deref, path::Path};

/// Every layout. With `layout: auto` an earlier one is preferred where nothing decides.
pub const ALL: [Layout; 2] = [Layout(&plain::Plain), Layout(&sqlx::Sqlx)];

/// One of [`ALL`].
#[derive(Clone, Copy)]
pub struct Layout(&'static dyn LayoutRules);

impl Layout {
    /// Returns the layout with the name that the input `layout` has for it.
    #[must_use]
    pub fn by_name(name: &str) -> Option<Self> {
        ALL.into_iter().find(|layout| layout.name() == name)
    }
}

impl Layout {
    /// Returns the checksum of a file's content, as the ledger keeps it.
    #[must_use]
    pub fn checksum(self, content: &[u8]) -> Checksum {
        let mut digest = self.start_checksum();
        digest.update(content);
        digest.finish()
    }
}

impl Deref for Layout {
    type Target = dyn LayoutRules;

    fn deref(&self) -> &Self::Target {
        self.0
    }
}

impl PartialEq for Layout {
    fn eq(&self, other: &Self) -> bool {
        self.name() == other.name()
    }
}

impl Eq for Layout {}

impl fmt::Debug for Layout {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// The input `layout`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LayoutChoice {
    /// The files and the database decide.
    Auto,
    /// This one.
    Named(Layout),
}

/// The degree to which file names fit a layout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fit {
    /// Another layout may have the same names.
    Possible,
    /// No other layout has names like these.
    Certain,
}

/// An application beside the files that applies them by itself, with the tool that this layout belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Application {
    /// The layout of its tool.
    pub layout: Layout,
    /// The file that shows it, as the user would write its path.
    pub file: String,
}

/// The rules of one layout. Those that are given here hold for files whose versions are numbers.
pub trait LayoutRules: Sync {
    /// Returns the name in the input `layout`.
    fn name(&self) -> &'static str;

    /// Reads the name of a file.
    ///
    /// # Errors
    ///
    /// The reason why it can't be read, to follow the file's name in a sentence.
    fn read_file_name(&self, file_name: &str) -> Result<FileName, String> {
        FileName::read_numbered(file_name)
    }

    /// Reports how well these names, all of which the layout can read, fit it.
    fn fit_names(&self, names: &[&FileName]) -> Fit;

    /// Returns the cause and the fix if a file with this name has no place in the layout, to follow the file's name in
    /// a sentence.
    fn refuse_name(&self, name: &FileName) -> Option<(String, &'static str)>;

    /// Returns a version as the ledger has it, from the form in which a file's name or `target` has it.
    fn canonical_version(&self, version: &str) -> Option<String> {
        file_name::canonical_number(version)
    }

    /// Compares two versions of the ledger's form, in the order in which they are applied.
    fn compare_versions(&self, left: &str, right: &str) -> Ordering {
        file_name::compare_numbers(left, right)
    }

    /// Returns the first version that is left out between two neighbours, where versions are numbered one by one.
    fn first_gap(&self, before: &str, after: &str) -> Option<String> {
        file_name::first_gap(before, after)
    }

    /// Starts the checksum of a file, as the ledger keeps it.
    fn start_checksum(&self) -> ChecksumDigest;

    /// Returns the table if the input `ledger-table` names none.
    fn default_table(&self) -> &'static str;

    /// Returns the columns that make a table such a ledger.
    fn columns(&self) -> &'static [&'static str];

    /// Returns the column by which the ledger is found under any name: no other table has one of this name.
    fn unique_column(&self) -> &'static str;

    /// Returns the statement that creates the table if it does not exist.
    fn create_sql(&self, table: &Table) -> String;

    /// Returns the query for all rows, as [`RecordedMigration::from_row`] reads them: the tag
    /// [`RowTag::RecordedMigration`](crate::postgres::RowTag), version, name, checksum in hexadecimal, success,
    /// milliseconds.
    fn read_sql(&self, table: &Table) -> String;

    /// Returns the statement that records a migration and returns its milliseconds.
    fn insert_sql(&self, table: &Table, row: &NewRow<'_>) -> String;

    /// Returns the condition that a version is recorded.
    fn is_recorded_sql(&self, table: &Table, version: &str) -> String {
        format!("EXISTS (SELECT FROM {} WHERE version = {})", table.to_sql(), quote_literal(version))
    }

    /// Returns the key of the advisory lock that the layout's own tool takes in this database, if it takes one.
    fn lock_key(&self, _database: &str) -> Option<i64> {
        None
    }

    /// Finds a file which shows that an application beside the files applies them with the layout's own tool. `written`
    /// is the directory of the migrations as the user wrote it, `directory` the same as a path that can be opened.
    fn find_application(&self, _given_path: &Path, _directory: &Path) -> Option<String> {
        None
    }
}
