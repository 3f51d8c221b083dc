//! The content of the migrations directory on the disk.

use crate::{
    fault::{Code, Fault},
    layout::Depth,
    settings::SqlSettings,
};
use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// A file of the directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ListedFile {
    /// The path that can be opened.
    pub(super) path: PathBuf,
    /// The path relative to the directory, with `/` between its parts; `None` if it is not UTF-8.
    pub(super) relative_path: Option<String>,
    /// The path as the user would write it.
    pub(super) file: String,
    /// The beginning of that path that names the directory, in bytes.
    directory_length: usize,
}

impl ListedFile {
    /// Returns the path relative to the directory, for people if it is not UTF-8.
    pub(super) fn shown_path(&self) -> String {
        self.file.get(self.directory_length..).unwrap_or_default().to_owned()
    }
}

/// The files of the directory, sorted. Hidden ones are left out.
#[derive(Debug, Default)]
pub(super) struct DirectoryListing {
    pub(super) files: Vec<ListedFile>,
    /// The directories in the directory itself.
    pub(super) directories: Vec<PathBuf>,
}

impl DirectoryListing {
    /// Lists the directory, the directories in it, and with [`Depth::Recursive`] all below them. What can't be listed
    /// below the directory itself is left out.
    ///
    /// # Errors
    ///
    /// The reason why the directory can't be listed.
    pub(super) fn read(settings: &SqlSettings, depth: Depth) -> Result<Self, Fault> {
        let mut listing = Self::default();
        for (migrations, directory) in settings.locations() {
            listing.read_location(migrations, directory, depth)?;
        }
        listing.directories.sort();
        listing.files.sort_by(|left, right| left.path.cmp(&right.path));
        Ok(listing)
    }

    fn read_location(&mut self, migrations: &str, root: &Path, depth: Depth) -> Result<(), Fault> {
        let fault = |error: io::Error| listing_fault(migrations, &error);
        let location = (migrations, root);
        let mut below = Vec::new();
        for entry in fs::read_dir(root).map_err(fault)? {
            self.add(entry.map_err(fault)?.path(), location, &mut below);
        }
        self.directories.extend_from_slice(&below);
        let mut levels = if depth == Depth::Recursive { DEEPEST } else { 1 };
        while levels > 0 && !below.is_empty() {
            levels -= 1;
            for directory in std::mem::take(&mut below) {
                for entry in fs::read_dir(&directory).into_iter().flatten().flatten() {
                    self.add(entry.path(), location, &mut below);
                }
            }
        }
        Ok(())
    }

    fn add(&mut self, path: PathBuf, (migrations, root): (&str, &Path), below: &mut Vec<PathBuf>) {
        match (is_hidden(&path), path.is_dir()) {
            (true, _) => {}
            (false, true) => below.push(path),
            (false, false) => {
                let relative_path = path.strip_prefix(root).unwrap_or(&path);
                let shown = relative_path.to_string_lossy().into_owned();
                let relative_path = relative_path.to_str().map(str::to_owned);
                let file = path_in(migrations, &shown);
                let directory_length = file.len() - shown.len();
                self.files.push(ListedFile { path, relative_path, file, directory_length });
            }
        }
    }
}

/// The number of directories inside each other that are read; a link to a directory above would have no end.
const DEEPEST: usize = 16;

fn listing_fault(given_path: &str, error: &io::Error) -> Fault {
    match error.kind() {
        io::ErrorKind::NotFound => {
            Fault::new(Code::FilesMissing, format!("the directory `{given_path}` named by `migrations` does not exist"))
        }
        io::ErrorKind::NotADirectory => {
            Fault::new(Code::FilesMissing, format!("`{given_path}` named by `migrations` is not a directory"))
        }
        _ => Fault::new(Code::FileUnreadable, format!("the directory `{given_path}` can't be read")).with_causes(error),
    }
}

pub(super) fn is_hidden(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."))
}

pub(super) fn is_sql(path: &Path) -> bool {
    path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("sql"))
}

/// Returns the path of a file in the directory, as the user would write it.
pub(super) fn written_path(settings: &SqlSettings, name: &str) -> String {
    path_in(&settings.migrations, name)
}

fn path_in(migrations: &str, name: &str) -> String {
    match migrations.trim_end_matches('/') {
        "." => name.to_owned(),
        directory => format!("{directory}/{name}"),
    }
}
