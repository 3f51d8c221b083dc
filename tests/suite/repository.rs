//! A small repository in which the scripts of a release run.
#![expect(clippy::disallowed_methods, reason = "runs scripts and git")]

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, Output},
};
use tempfile::TempDir;

const CHANGELOG: &str = "# Changelog\n\n## [1.2.3] - 2026-01-02\n\n### Added\n\n- A thing.\n\n## [1.2.2] - 2026-01-01\n\n- An older thing.\n";
const CARGO: &str = "[package]\nname = \"bastion-migrate\"\nversion = \"1.2.3\"\n";
const LOCK: &str = "[[package]]\nname = \"autocfg\"\nversion = \"1.0.0\"\n\n[[package]]\nname = \"bastion-migrate\"\nversion = \"1.2.3\"\n";
pub(crate) const REPOSITORY: &str = "ghcr.io/acme/bastion-migrate";

pub(crate) fn digest(digit: char) -> String {
    format!("sha256:{}", digit.to_string().repeat(64))
}

/// A repository at the commit of version 1.2.3, with an origin. Programs in `bin` replace those of the machine.
pub(crate) struct Repository {
    directory: TempDir,
}

impl Repository {
    pub(crate) fn new() -> Self {
        let repository = Self { directory: TempDir::new().unwrap() };
        repository.git("..", &["init", "--quiet", "--bare", "--initial-branch=main", "origin.git"]);
        repository.git("..", &["init", "--quiet", "--initial-branch=main", "tree"]);
        let ours = Path::new(env!("CARGO_MANIFEST_DIR"));
        for folder in [".github/release", ".github/binary"] {
            for file in fs::read_dir(ours.join(folder)).unwrap().map(|file| file.unwrap().path()) {
                let copy = repository.tree().join(file.strip_prefix(ours).unwrap());
                fs::create_dir_all(copy.parent().unwrap()).unwrap();
                fs::copy(&file, copy).unwrap();
            }
        }
        let action = fs::read_to_string(ours.join("action.yml")).unwrap();
        let files = [
            ("action.yml", action.as_str()),
            ("CHANGELOG.md", CHANGELOG),
            ("Cargo.toml", CARGO),
            ("Cargo.lock", LOCK),
            (".gitignore", "/dist\n"),
            ("README.md", "# A project\n"),
        ];
        for (path, text) in files {
            repository.write(path, text);
        }
        repository.git(".", &["remote", "add", "origin", "../origin.git"]);
        repository.commit();
        repository.git(".", &["push", "--quiet", "origin", "main"]);
        repository
    }

    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }

    pub(crate) fn tree(&self) -> PathBuf {
        self.directory.path().join("tree")
    }

    pub(crate) fn write(&self, path: &str, text: &str) {
        let path = self.tree().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    pub(crate) fn read(&self, path: &str) -> String {
        fs::read_to_string(self.tree().join(path)).unwrap()
    }

    /// Replaces a text that is in the file.
    pub(crate) fn replace(&self, path: &str, old: &str, new: &str) {
        let text = self.read(path);
        assert!(text.contains(old), "{path}: {old}");
        self.write(path, &text.replace(old, new));
    }

    /// Puts a program into `bin`.
    pub(crate) fn program(&self, name: &str, script: &str) {
        let path = self.directory.path().join("bin").join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, script).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    pub(crate) fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        let path = format!("{}/bin:{}", self.directory.path().display(), std::env::var("PATH").unwrap());
        command.current_dir(self.directory.path()).env("PATH", path).env("LOGS", self.directory.path());
        command.env("RELEASE_TARGET_DIR", self.directory.path().join("target"));
        for (name, value) in [("NAME", "A"), ("EMAIL", "a@example.com")] {
            command.env(format!("GIT_AUTHOR_{name}"), value).env(format!("GIT_COMMITTER_{name}"), value);
        }
        command
    }

    pub(crate) fn git(&self, directory: &str, arguments: &[&str]) -> String {
        let mut command = self.command("git");
        let directory = self.directory.path().join(if directory == ".." { "" } else { "tree" });
        let output = command.current_dir(directory).args(arguments).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    pub(crate) fn commit(&self) {
        self.git(".", &["add", "--all"]);
        self.git(".", &["commit", "--quiet", "--message", "a change"]);
    }

    pub(crate) fn run(&self, script: &str, arguments: &[&str]) -> Output {
        self.command(self.tree().join(".github/release").join(script)).args(arguments).output().unwrap()
    }

    /// Runs a script that has to succeed, and returns its output.
    pub(crate) fn succeeds(&self, script: &str, arguments: &[&str]) -> String {
        let output = self.run(script, arguments);
        assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Runs a script that has to refuse with one line, and asserts that this text is in it.
    pub(crate) fn refuses(&self, script: &str, arguments: &[&str], expected: &str) {
        let output = self.run(script, arguments);
        let error = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success(), "{script} {arguments:?} succeeds; expected: {expected}");
        assert!(error.contains(expected) && error.lines().count() == 1, "{error}; expected: {expected}");
    }

    /// Writes made-up tarballs, an SBOM and their sums.
    pub(crate) fn fill_dist(&self) {
        for name in ["linux-amd64.tar.gz", "linux-arm64.tar.gz", "cdx.json"] {
            let separator = if name == "cdx.json" { "." } else { "-" };
            self.write(&format!("dist/bastion-migrate-v1.2.3{separator}{name}"), name);
        }
        self.sum_dist();
    }

    pub(crate) fn sum_dist(&self) {
        let sums = "cd tree/dist && sha256sum *v1.2.3* >SHA256SUMS";
        assert!(self.command("sh").args(["-c", sums]).status().unwrap().success());
    }

    /// Stamps and tags a release with made-up files.
    pub(crate) fn tag(&self) {
        self.fill_dist();
        self.stamp_and_tag();
    }

    pub(crate) fn stamp_and_tag(&self) {
        self.git(".", &["checkout", "--quiet", "--detach"]);
        self.succeeds("stamp", &[REPOSITORY, "1.2.3", &digest('a')]);
        self.succeeds("tag", &["1.2.3"]);
    }
}
