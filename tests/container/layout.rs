//! The runner's working directory on the host at the start of a stage.

use crate::runner::{environment::REPOSITORY, event::Event, file::Purpose};
use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown},
    path::{Path, PathBuf},
};
use tempfile::TempDir;

/// The uid and gid of `runner` on a hosted machine.
const RUNNER: u32 = 1001;

/// The owner of the command files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Owner {
    /// The user `runner`, as on hosted machines.
    Runner,
    /// Root, as with a self-hosted runner that runs as root.
    Root,
}

/// The directories `<work>/<repo>/<repo>` and `<work>/_temp`.
#[derive(Debug)]
pub(crate) struct Layout {
    root: TempDir,
    owner: Owner,
}

impl Layout {
    /// Creates the directories, with an empty checkout.
    pub(crate) fn new() -> Self {
        let root = tempfile::Builder::new().prefix("bastion-migrate-runner-").tempdir().expect("there is room");
        let layout = Self { root, owner: Owner::Runner };
        for directory in [
            layout.workspace(),
            layout.temp("_github_home"),
            layout.temp("_github_workflow"),
            layout.temp("_runner_file_commands"),
        ] {
            fs::create_dir_all(directory).expect("there is room");
        }
        layout
    }

    pub(crate) fn owned_by(self, owner: Owner) -> Self {
        Self { owner, ..self }
    }

    /// Returns `<work>`.
    pub(crate) fn work(&self) -> PathBuf {
        self.root.path().join("work")
    }

    /// Returns a path that never existed.
    pub(crate) fn nowhere(&self, name: &str) -> PathBuf {
        self.root.path().join("nowhere").join(name)
    }

    /// Returns `GITHUB_WORKSPACE` on the host.
    pub(crate) fn workspace(&self) -> PathBuf {
        self.work().join(REPOSITORY).join(REPOSITORY)
    }

    /// Returns a path in `RUNNER_TEMP` on the host.
    pub(crate) fn temp(&self, name: &str) -> PathBuf {
        self.work().join("_temp").join(name)
    }

    /// Writes a file of the checkout.
    pub(crate) fn write(&self, path: &str, content: &[u8]) {
        let path = self.workspace().join(path);
        fs::create_dir_all(path.parent().expect("a file is in a directory")).expect("there is room");
        fs::write(path, content).expect("there is room");
    }

    /// Writes what the runner writes before each stage: the event, and empty command files with a new guid.
    pub(crate) fn begin(&self, event: Event) -> String {
        fs::write(self.temp("_github_workflow/event.json"), event.payload().to_string()).expect("there is room");
        let mut bytes = [0; 16];
        getrandom::fill(&mut bytes).expect("there are random bytes");
        let guid = format!("{:032x}", u128::from_le_bytes(bytes));
        for purpose in Purpose::ALL {
            let file = self.command_file(purpose, &guid);
            fs::write(&file, "").expect("there is room");
            fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).expect("the file is ours");
        }
        if self.owner == Owner::Runner {
            chown_to_runner(&self.work());
        }
        guid
    }

    /// Returns the path of a command file from [`Self::begin`].
    pub(crate) fn command_file(&self, purpose: Purpose, guid: &str) -> PathBuf {
        self.temp("_runner_file_commands").join(format!("{}{guid}", purpose.prefix()))
    }

    /// Lists every file and directory with owner, mode and length, except the length of command files. Files that a
    /// step leaves here as root break later steps or the runner's own cleanup.
    pub(crate) fn snapshot(&self) -> BTreeMap<String, String> {
        let mut picture = BTreeMap::new();
        collect(&self.work(), &mut picture);
        picture
    }
}

fn collect(path: &Path, picture: &mut BTreeMap<String, String>) {
    let metadata = fs::symlink_metadata(path).expect("the directory is ours");
    let name = path.display().to_string();
    let length = if metadata.is_file() && !name.contains("_runner_file_commands") { metadata.len() } else { 0 };
    picture.insert(name, format!("{}:{} {:o} {length}", metadata.uid(), metadata.gid(), metadata.mode()));
    if metadata.is_dir() {
        fs::read_dir(path).expect("the directory is ours").flatten().for_each(|entry| collect(&entry.path(), picture));
    }
}

fn chown_to_runner(path: &Path) {
    chown(path, Some(RUNNER), Some(RUNNER)).expect("the suite runs as root");
    if path.is_dir() {
        fs::read_dir(path).expect("the directory is ours").flatten().for_each(|entry| chown_to_runner(&entry.path()));
    }
}
