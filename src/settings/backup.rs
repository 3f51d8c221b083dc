//! The backup before a migration.

use super::tool::Site;
use crate::tool::CommandLine;
use std::path::PathBuf;

/// The backup before a migration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BackupSettings {
    /// A dump by `pg_dump`.
    Dump(DumpSettings),
    /// A command that makes a backup elsewhere, as a snapshot of a cloud: its success is the proof.
    Command {
        /// The command line.
        line: CommandLine,
        /// The site where it runs.
        site: Site,
    },
}

/// A dump by `pg_dump`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DumpSettings {
    /// The part of each object that is dumped.
    pub content: DumpContent,
    /// The tables that are dumped.
    pub tables: DumpedTables,
    /// The largest backup in bytes: the tables before the dump, and the dump itself.
    pub max_bytes: Option<u64>,
    /// The site of `pg_dump`.
    pub site: DumpSite,
    /// The destination of the dump.
    pub destination: DumpDestination,
}

/// The part of each object that is dumped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DumpContent {
    /// Definitions only.
    Schema,
    /// Definitions and rows.
    Data,
}

/// The tables that are dumped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DumpedTables {
    /// The whole database.
    All,
    /// The tables that the plan changes.
    OfPlan,
    /// These, as `schema.table` or `table`.
    Named(Vec<String>),
}

/// The site of `pg_dump`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DumpSite {
    /// The image `postgres` in the version of the server.
    ImageOfServerVersion,
    /// This site.
    At(Site),
}

/// The destination of a dump.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DumpDestination {
    /// A file in the workspace.
    File {
        /// Its place.
        place: BackupPlace,
        /// The recipient for whom the file is encrypted.
        recipient: Option<age::x25519::Recipient>,
    },
    /// A command that reads the dump from its standard input, beside `pg_dump`.
    Command(CommandLine),
}

/// The place of a backup file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BackupPlace {
    /// A name of our own, in this directory.
    NamedInDirectory {
        /// The directory as reports show it.
        shown: String,
        /// The directory to open.
        path: PathBuf,
    },
    /// A path that the user has chosen.
    Chosen {
        /// The path as reports show it.
        shown: String,
        /// The path to open.
        path: PathBuf,
    },
}

impl BackupSettings {
    /// Returns the site whose image or slot has to be prepared before the run knows the server.
    #[must_use]
    pub fn site(&self) -> Option<&Site> {
        match self {
            Self::Dump(DumpSettings { site: DumpSite::At(site), .. }) | Self::Command { site, .. } => Some(site),
            Self::Dump(DumpSettings { site: DumpSite::ImageOfServerVersion, .. }) => None,
        }
    }
}
