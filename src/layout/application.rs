//! Files beside the migrations which show that a tool, or an application with it, applies them.

use super::Layout;
use std::path::Path;

/// A file beside the migrations which shows that a tool applies them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Application {
    /// The layout of the tool.
    pub layout: Layout,
    /// The file that shows it, as the user would write its path.
    pub file: String,
    /// Its weight.
    pub evidence: Evidence,
}

/// The weight of such a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Evidence {
    /// The tool's own configuration: these are its files.
    Configuration,
    /// An application depends on the tool: these may be its files.
    Dependency,
}

/// A file that was found, as the user would write its path, and its weight.
pub type FoundEvidence = (String, Evidence);

/// Finds the first file for which `find` returns a name, in the directory of the migrations and in those above it, up
/// to the root of the workspace. `given_path` is the directory as the user wrote it, `directory` the same as a path
/// that can be opened.
pub(super) fn find_above(
    given_path: &Path,
    directory: &Path,
    find: impl Fn(&Path) -> Option<(&'static str, Evidence)>,
) -> Option<FoundEvidence> {
    // A path from the root of the machine does not show where a project begins.
    let depth = if given_path.is_absolute() { 2 } else { given_path.components().count() + 1 };
    let mut directories = directory.ancestors().zip(given_path.ancestors()).take(depth);
    directories.find_map(|(directory, given_path)| {
        let (name, evidence) = find(directory)?;
        Some((given_path.join(name).to_string_lossy().into_owned(), evidence))
    })
}
