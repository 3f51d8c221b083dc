//! Layouts of migration directories: file names, sections, checksums and the ledger that belongs to them. A layout is
//! one file, which implements [`LayoutRules`], and one line in [`ALL`].

mod application;
mod checksum;
mod dbmate;
mod diesel;
mod file_name;
mod flyway;
mod flyway_version;
mod golang_migrate;
mod goose;
pub(crate) mod origin;
mod placeholders;
pub(crate) mod plain;
mod prisma;
mod reading;
mod refinery;
mod sections;
mod source_ledger;
mod sqlx;
mod supabase;
mod table;
mod tern;

pub use application::{Application, Evidence, FoundEvidence};
pub use checksum::{Checksum, ChecksumDigest};
pub use file_name::{FileName, FileRole};
pub use origin::{OriginSql, RowDetail, RowOrigin};
pub use placeholders::{FilledIn, ValueOf};
pub use reading::{Fit, FoundFiles, PathReading};
pub use sections::{SectionProblem, SectionProblemKind, Sections};
pub use source_ledger::{LedgerSource, SourceTool, is_same_name};
pub use table::{MigrationKey, NewRow, RecordedMigration, Table};

use crate::postgres::quote_literal;
use std::{cmp::Ordering, fmt, ops::Deref, path::Path};

/// Every layout. With `layout: auto` an earlier one is preferred where nothing decides.
pub const ALL: [Layout; 11] = [
    Layout(&plain::Plain),
    Layout(&sqlx::Sqlx),
    Layout(&golang_migrate::GolangMigrate),
    Layout(&dbmate::Dbmate),
    Layout(&goose::Goose),
    Layout(&diesel::Diesel),
    Layout(&refinery::Refinery),
    Layout(&flyway::Flyway),
    Layout(&prisma::Prisma),
    Layout(&tern::Tern),
    Layout(&supabase::Supabase),
];

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
    /// Returns the checksum of a file's content, as the ledger keeps it, if the file's name is no part of it.
    #[must_use]
    pub fn checksum(self, content: &[u8]) -> Checksum {
        let name = FileName { version: String::new(), name: String::new(), role: FileRole::Whole };
        let mut digest = self.start_checksum(&name);
        digest.update(content);
        digest.finish()
    }
}

impl Default for Layout {
    fn default() -> Self {
        Self(&plain::Plain)
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

/// The files of a layout, in relation to the directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// They are in the directory itself.
    Flat,
    /// Each migration is a directory with files of fixed names.
    Directories,
    /// They are in the directory and in all below it.
    Recursive,
}

/// The treatment of a file that begins or ends transactions itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OwnTransactionTreatment {
    /// It is refused, unless it is one transaction from its first statement to its last.
    Refused,
    /// It is sent as it is, in one message without a transaction around it, as the layout's tool sends it.
    OneMessage,
}

/// The place of the table that remembers how far a migration without a transaction has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProgressPlace {
    /// Beside the ledger, which is ours.
    BesideLedger,
    /// In our own schema, for as long as there is such a migration: the ledger stands among the application's tables.
    OwnSchema,
}

/// The rules of one layout. Those that are given here hold for numbered files without sections, whose ledger has a row
/// for each version.
pub trait LayoutRules: Sync {
    /// Returns the name in the input `layout`.
    fn name(&self) -> &'static str;

    /// Returns where the files are.
    fn depth(&self) -> Depth {
        Depth::Flat
    }

    /// Reads a path relative to the directory, with `/` between its parts.
    fn read_path(&self, path: &str) -> PathReading {
        reading::read_flat(path, FileName::read_numbered)
    }

    /// Reports how well the directory fits.
    fn fit(&self, found: &FoundFiles<'_>) -> Fit {
        if found.are_all_read() { Fit::Possible } else { Fit::No }
    }

    /// Reports whether a line of a file is a mark that only this layout has.
    fn has_mark(&self, _line: &str) -> bool {
        false
    }

    /// Returns the configuration files of the layout's tool, as paths from a directory of the project.
    fn config_files(&self) -> &'static [&'static str] {
        &[]
    }

    /// Finds a file which shows that the layout's tool applies these migrations. `given_path` is the directory as the
    /// user wrote it, `directory` the same as a path that can be opened.
    fn find_evidence(&self, given_path: &Path, directory: &Path) -> Option<FoundEvidence> {
        application::find_above(given_path, directory, |directory| {
            let file = self.config_files().iter().find(|file| directory.join(file).is_file())?;
            Some((*file, Evidence::Configuration))
        })
    }

    /// Returns the cause and the fix if a file with this name has no place in the layout, to follow the file's name in
    /// a sentence.
    fn refuse_name(&self, _name: &FileName) -> Option<(String, &'static str)> {
        None
    }

    /// Reports whether files have sections.
    fn has_sections(&self) -> bool {
        false
    }

    /// Finds the sections of a file.
    ///
    /// # Errors
    ///
    /// A problem with a mark or a template.
    fn find_sections(&self, _text: &str) -> Result<Sections, SectionProblem> {
        Ok(Sections::default())
    }

    /// Reports whether files have placeholders that the tool fills in.
    fn has_placeholders(&self) -> bool {
        false
    }

    /// Finds the placeholders of a file, with what takes their place.
    ///
    /// # Errors
    ///
    /// A placeholder without a value.
    fn fill_in(&self, _text: &str, _value_of: &ValueOf<'_>) -> Result<Vec<FilledIn>, SectionProblem> {
        Ok(Vec::new())
    }

    /// Reports whether the file beside a migration says that its placeholders stay as they are.
    fn keeps_placeholders(&self, _options: &str) -> bool {
        false
    }

    /// Reports whether the checksum of this migration covers the values of its placeholders.
    fn checksum_covers_values(&self, _version: &str) -> bool {
        false
    }

    /// Reports whether the tool merges the files of several directories.
    fn merges_locations(&self) -> bool {
        false
    }

    /// Returns the file beside a migration that can opt it out of its transaction. `path` is that of the migration.
    fn options_file(&self, _path: &Path) -> Option<std::path::PathBuf> {
        None
    }

    /// Returns the line of that file which opts out.
    fn opt_out_line<'t>(&self, _options: &'t str) -> Option<&'t str> {
        None
    }

    /// Returns the reason why the section that undoes a migration runs without a transaction; `of_file` is that of the
    /// file.
    fn opt_out_of_down(&self, _down: &str, of_file: Option<String>) -> Option<String> {
        of_file
    }

    /// Returns the treatment of files that begin or end transactions themselves.
    fn own_transactions(&self) -> OwnTransactionTreatment {
        OwnTransactionTreatment::Refused
    }

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

    /// Reports whether the migration of this version is applied again when its checksum has changed.
    fn is_repeatable(&self, _version: &str) -> bool {
        false
    }

    /// Returns the versions that are not applied because another one stands for them.
    fn superseded_versions(&self, _versions: &[&str], _recorded: &[RecordedMigration]) -> Vec<String> {
        Vec::new()
    }

    /// Starts the checksum of a migration. Where the ledger has none, it only identifies the migration in a plan.
    fn start_checksum(&self, _name: &FileName) -> ChecksumDigest {
        ChecksumDigest::sha256_without_carriage_returns()
    }

    /// Returns the table if the input `ledger-table` names none.
    fn default_table(&self) -> &'static str;

    /// Returns the name of the table in the schema of a tenant, unless the ledger has one place for all.
    fn tenant_table(&self) -> Option<&'static str> {
        Some(self.default_table().split_once('.').map_or(self.default_table(), |(_, name)| name))
    }

    /// Returns the columns that make a table such a ledger.
    fn columns(&self) -> &'static [&'static str];

    /// Reports whether a table with these columns is such a ledger.
    fn recognises(&self, columns: &[String]) -> bool {
        self.columns().iter().all(|column| columns.iter().any(|found| found == column))
    }

    /// Returns the column by which the ledger is found under any name, if no other table has one of this name.
    fn unique_column(&self) -> Option<&'static str> {
        None
    }

    /// Returns the statements that create the table if it does not exist.
    fn create_sql(&self, table: &Table) -> String;

    /// Returns the query for all rows, as [`RecordedMigration::from_row`] reads them: the tag
    /// [`RowTag::RecordedMigration`](crate::postgres::RowTag), version, name, checksum in hexadecimal or `NULL`,
    /// success, milliseconds, and then [`Self::origin_sql`] if it is to be read.
    fn read_sql(&self, table: &Table, detail: RowDetail) -> String;

    /// Returns what the ledger has about the origin of a row.
    fn origin_sql(&self) -> OriginSql {
        OriginSql::default()
    }

    /// Reports whether the ledger has nothing but the newest version.
    fn records_newest_only(&self) -> bool {
        false
    }

    /// Completes the rows of a ledger that does not have one for each applied migration. `versions` are those of all
    /// files.
    fn complete_rows(&self, rows: Vec<RecordedMigration>, _versions: &[&str]) -> Vec<RecordedMigration> {
        rows
    }

    /// Returns the statements that record a migration; the last of them returns its milliseconds.
    fn insert_sql(&self, table: &Table, row: &NewRow<'_>) -> String {
        let (table, version) = (table.to_sql(), quote_literal(row.version));
        format!("INSERT INTO {table} (version) VALUES ({version}) RETURNING {}", row.duration_sql(1_000))
    }

    /// Returns the statements that remove a migration. `previous` is the version before it.
    fn remove_sql(&self, table: &Table, version: &str, _previous: Option<&str>) -> String {
        format!("DELETE FROM {} WHERE version = {}", table.to_sql(), quote_literal(version))
    }

    /// Returns the name of the part that undoes a migration, as in "it has no …".
    fn way_back(&self) -> &'static str {
        "`.down.sql` beside it"
    }

    /// Reports whether the ledger has the statements of each file.
    fn records_statements(&self) -> bool {
        false
    }

    /// Returns the condition that a migration is recorded.
    fn is_recorded_sql(&self, table: &Table, migration: &MigrationKey<'_>) -> String {
        format!("EXISTS (SELECT FROM {} WHERE version = {})", table.to_sql(), quote_literal(migration.version))
    }

    /// Returns the keys of the advisory locks that the layout's own tool takes in this database.
    fn lock_keys(&self, _database: &str, _table: &Table) -> Vec<i64> {
        Vec::new()
    }

    /// Returns where the progress of a migration without a transaction is remembered.
    fn progress_place(&self) -> ProgressPlace {
        ProgressPlace::OwnSchema
    }
}

/// Returns the layouts for which a line of a file is a mark.
pub fn marked_layouts(line: &str) -> impl Iterator<Item = Layout> {
    ALL.into_iter().filter(move |layout| layout.has_mark(line))
}
