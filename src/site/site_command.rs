//! A command that runs at a site.

use super::container_spec::SessionTerms;
use crate::{settings::Site, tool::CommandLine};

/// A command, its site, and the terms on which its sessions get the database.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SiteCommand<'t> {
    pub(crate) site: &'t Site,
    pub(crate) command: &'t CommandLine,
    pub(crate) purpose: CommandPurpose,
    pub(crate) terms: SessionTerms,
}

/// The purpose of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CommandPurpose {
    /// The migration itself. It resumes a tool that is paused at its confirmation prompt.
    Migrate,
    /// A list, a check, or a step before or after the migration. It ends a tool that is paused.
    Assist,
}
