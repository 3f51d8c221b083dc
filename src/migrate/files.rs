//! The migrations of a directory, as yet without a ledger.

use super::migration::{Content, Migration};
use crate::{fault::Fault, layout::Checksum, ledger::Layout, run::event::MigrationId};

/// The migrations of a directory.
#[derive(Debug)]
pub struct Files {
    pub(super) layout: Option<Layout>,
    pub(super) sqlx_project: Option<String>,
    /// In the order of their versions.
    pub(super) found: Vec<Found>,
    pub(super) doubts: Vec<Fault>,
}

/// A migration file that has been read.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) id: MigrationId,
    pub(super) content: Content,
    pub(super) plain: Checksum,
    pub(super) sqlx: Checksum,
}

impl Files {
    /// The layout, unless only a ledger can tell.
    #[must_use]
    pub fn layout(&self) -> Option<Layout> {
        self.layout
    }

    /// The file that says that an application applies these files with sqlx by itself, as the user would write its path.
    #[must_use]
    pub fn sqlx_project(&self) -> Option<&str> {
        self.sqlx_project.as_deref()
    }

    /// What may not be meant as it is read; each is a warning.
    #[must_use]
    pub fn doubts(&self) -> &[Fault] {
        &self.doubts
    }

    /// The migrations, in the order of their versions, with the checksums of this layout.
    #[must_use]
    pub fn into_migrations(self, layout: Layout) -> Vec<Migration> {
        let migration = |found: Found| Migration {
            id: found.id,
            body: found.content.body,
            work: found.content.work,
            modes: found.content.modes,
            remark: found.content.remark,
            leaves_traces: found.content.leaves_traces,
            checksum: match layout {
                Layout::Plain => found.plain,
                Layout::Sqlx => found.sqlx,
            },
        };
        self.found.into_iter().map(migration).collect()
    }
}
