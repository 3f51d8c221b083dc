//! The runner's working directory on the host, as it is when a stage begins.

use crate::runner::{environment::REPOSITORY, event::Event, file::Purpose};
use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown},
    path::{Path, PathBuf},
};
use tempfile::TempDir;

/// `runner` on a hosted machine.
const RUNNER: u32 = 1001;

/// Who has made the command files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Owner {
    /// As everywhere.
    Runner,
    /// A self-hosted runner that runs as root.
    Root,
}

/// `<work>/<repo>/<repo>` and `<work>/_temp`.
#[derive(Debug)]
pub(crate) struct Layout {
    root: TempDir,
    owner: Owner,
}

impl Layout {
    /// A checkout without files.
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

    /// `<work>`.
    pub(crate) fn work(&self) -> PathBuf {
        self.root.path().join("work")
    }

    /// What is not there, and never was.
    pub(crate) fn nowhere(&self, name: &str) -> PathBuf {
        self.root.path().join("nowhere").join(name)
    }

    /// `GITHUB_WORKSPACE` on the host.
    pub(crate) fn workspace(&self) -> PathBuf {
        self.work().join(REPOSITORY).join(REPOSITORY)
    }

    /// Something in `RUNNER_TEMP` on the host.
    pub(crate) fn temp(&self, name: &str) -> PathBuf {
        self.work().join("_temp").join(name)
    }

    /// A file of the checkout.
    pub(crate) fn write(&self, path: &str, content: &[u8]) {
        let path = self.workspace().join(path);
        fs::create_dir_all(path.parent().expect("a file is in a directory")).expect("there is room");
        fs::write(path, content).expect("there is room");
    }

    /// What the runner makes before each stage: the event, and the command files, empty and with a new guid.
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
            give(&self.work());
        }
        guid
    }

    /// A file of [`Self::begin`].
    pub(crate) fn command_file(&self, purpose: Purpose, guid: &str) -> PathBuf {
        self.temp("_runner_file_commands").join(format!("{}{guid}", purpose.prefix()))
    }

    /// Everything there is but what the command files hold: whose it is, and how long it is. Whatever a step leaves here
    /// breaks a later one, or the runner's own cleaning, when it belongs to root.
    pub(crate) fn picture(&self) -> BTreeMap<String, String> {
        let mut picture = BTreeMap::new();
        paint(&self.work(), &mut picture);
        picture
    }
}

fn paint(path: &Path, picture: &mut BTreeMap<String, String>) {
    let facts = fs::symlink_metadata(path).expect("the directory is ours");
    let name = path.display().to_string();
    let length = if facts.is_file() && !name.contains("_runner_file_commands") { facts.len() } else { 0 };
    picture.insert(name, format!("{}:{} {:o} {length}", facts.uid(), facts.gid(), facts.mode()));
    if facts.is_dir() {
        fs::read_dir(path).expect("the directory is ours").flatten().for_each(|entry| paint(&entry.path(), picture));
    }
}

fn give(path: &Path) {
    chown(path, Some(RUNNER), Some(RUNNER)).expect("the suite runs as root");
    if path.is_dir() {
        fs::read_dir(path).expect("the directory is ours").flatten().for_each(|entry| give(&entry.path()));
    }
}
