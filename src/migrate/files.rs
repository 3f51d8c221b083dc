//! The migrations of a directory before their ledger is known.

use super::{migration::Migration, parsed_file::ParsedFile, way_back::WayBack, work::Work};
use crate::{
    fault::Fault,
    layout::{Application, Checksum, Evidence, Layout},
    run::MigrationId,
};

/// The migrations of a directory.
#[derive(Debug, Default)]
pub struct MigrationFiles {
    pub(super) layout: Layout,
    pub(super) candidates: Vec<Layout>,
    pub(super) application: Option<Application>,
    /// In the order of their versions.
    pub(super) files: Vec<LoadedFile>,
    pub(super) programs: Vec<MigrationId>,
    pub(super) warnings: Vec<Fault>,
}

/// A migration file that has been read.
#[derive(Debug)]
pub(super) struct LoadedFile {
    pub(super) id: MigrationId,
    pub(super) content: ParsedFile,
    pub(super) checksum: Checksum,
    pub(super) way_back: Option<WayBack>,
    pub(super) relative_path: String,
}

impl MigrationFiles {
    /// Returns the layout by which the files were read.
    #[must_use]
    pub fn layout(&self) -> Layout {
        self.layout
    }

    /// Returns the number of migrations.
    #[must_use]
    pub fn count(&self) -> usize {
        self.files.len() + self.programs.len()
    }

    /// Returns the layouts that the files fit, the preferred one first. Where there are several, the ledger in the
    /// database decides.
    #[must_use]
    pub fn candidates(&self) -> &[Layout] {
        &self.candidates
    }

    /// Returns the layout whose ledger is probably the one, before the database has been asked.
    #[must_use]
    pub fn likely_layout(&self) -> Option<Layout> {
        match (self.candidates.as_slice(), &self.application) {
            ([layout], _) => Some(*layout),
            (_, Some(application)) if application.evidence == Evidence::Configuration => Some(application.layout),
            _ => None,
        }
    }

    /// Returns the file beside the migrations which shows that a tool applies them.
    #[must_use]
    pub fn application(&self) -> Option<&Application> {
        self.application.as_ref()
    }

    /// Returns a warning for everything that may be meant otherwise than it is read.
    #[must_use]
    pub fn warnings(&self) -> &[Fault] {
        &self.warnings
    }

    /// Returns the migrations in the order of their versions, and those that are programs which only the layout's tool
    /// can run.
    #[must_use]
    pub fn into_migrations(self) -> (Vec<Migration>, Vec<MigrationId>) {
        let mut migrations: Vec<Migration> = self.files.into_iter().map(LoadedFile::into_migration).collect();
        migrations.shrink_to_fit();
        (migrations, self.programs)
    }
}

impl LoadedFile {
    fn into_migration(self) -> Migration {
        let Self { id, content, checksum, way_back, relative_path } = self;
        Migration {
            id,
            body: content.body,
            execution: content.execution.into(),
            modes: content.modes,
            note: content.note,
            leaves_traces: content.leaves_traces,
            checks: content.checks,
            path_reset: content.path_reset,
            replaced: content.replaced,
            checksum,
            way_back,
            relative_path,
            work: Work::Apply,
        }
    }
}
