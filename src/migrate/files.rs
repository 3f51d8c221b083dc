//! The migrations of a directory before their ledger is known.

use super::{migration::Migration, parsed_file::ParsedFile};
use crate::{
    fault::{Code, Fault},
    layout::{Application, Checksum, Layout},
    run::MigrationId,
};

/// The migrations of a directory.
#[derive(Debug, Default)]
pub struct MigrationFiles {
    pub(super) layouts: Vec<Layout>,
    pub(super) application: Option<Application>,
    /// In the order of their versions.
    pub(super) files: Vec<LoadedFile>,
    pub(super) warnings: Vec<Fault>,
}

/// A migration file that has been read.
#[derive(Debug)]
pub(super) struct LoadedFile {
    pub(super) id: MigrationId,
    pub(super) content: ParsedFile,
    /// One for each layout that the files fit.
    pub(super) checksums: Vec<(Layout, Checksum)>,
}

impl MigrationFiles {
    /// Returns the layouts that the files fit. Where there are several, the ledger in the database decides.
    #[must_use]
    pub fn layouts(&self) -> &[Layout] {
        &self.layouts
    }

    /// Returns the application that applies these files by itself, if there is one beside them.
    #[must_use]
    pub fn application(&self) -> Option<&Application> {
        self.application.as_ref()
    }

    /// Returns a warning for everything that may be meant otherwise than it is read.
    #[must_use]
    pub fn warnings(&self) -> &[Fault] {
        &self.warnings
    }

    /// Returns the migrations in the order of their versions, with the checksums of this layout.
    ///
    /// # Errors
    ///
    /// `bug` for a layout that is none of [`Self::layouts`].
    pub fn into_migrations(self, layout: Layout) -> Result<Vec<Migration>, Fault> {
        self.files.into_iter().map(|found| found.into_migration(layout)).collect()
    }
}

impl LoadedFile {
    fn into_migration(self, layout: Layout) -> Result<Migration, Fault> {
        let Self { id, content, checksums } = self;
        let (_, checksum) =
            checksums.into_iter().find(|(checksum_layout, _)| *checksum_layout == layout).ok_or_else(|| {
                Fault::new(Code::Bug, format!("`{}` was not read as a file of the layout `{}`", id.file, layout.name()))
            })?;
        Ok(Migration {
            id,
            body: content.body,
            execution: content.execution,
            modes: content.modes,
            note: content.note,
            leaves_traces: content.leaves_traces,
            checksum,
        })
    }
}
