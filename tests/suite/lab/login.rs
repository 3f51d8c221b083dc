//! A system user with a home, for logins on a server. Its processes and the files in its home can be listed.
#![expect(clippy::disallowed_methods, reason = "the lab makes users and looks at their processes")]

use super::process::{directory, run_checked};
use std::{
    collections::BTreeMap,
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};
use tempfile::TempDir;

/// Prefix of the test process's pid, in the comment field of the password file.
const COMMENT_PREFIX: &str = "bastion-migrate-lab of ";

/// Directory of the program's own files on a server.
const PROGRAM_DIRECTORY: &str = ".bastion-migrate";

/// Cache directory that Python itself creates beside its sources.
const CACHE: &str = "__pycache__";

/// Every path below the home, with its content.
pub(crate) type HomeSnapshot = BTreeMap<PathBuf, Vec<u8>>;

/// A user; dropping the value removes it with its processes and its home.
#[derive(Debug)]
pub(crate) struct Login {
    name: String,
    uid: String,
    password: String,
    home: TempDir,
}

impl Login {
    /// Creates a user with an empty home of its own, and a shell that has `source`.
    pub(crate) fn create(password: &str) -> Self {
        remove_stale_users();
        let mut bytes = [0; 4];
        getrandom::fill(&mut bytes).expect("the lab works");
        let name = format!("bm{:08x}", u32::from_le_bytes(bytes));
        let home = directory();
        run_checked(
            Command::new("useradd")
                .args(["--no-create-home", "--shell", "/bin/bash"])
                .args(["--comment", &format!("{COMMENT_PREFIX}{}", std::process::id())])
                .arg("--home-dir")
                .arg(home.path())
                .arg(&name),
        );
        let id = Command::new("id").args(["-u", &name]).output().expect("the lab works");
        let uid = String::from_utf8_lossy(&id.stdout).trim().to_owned();
        let login = Self { name, uid, password: password.to_owned(), home };
        let mut chpasswd = Command::new("chpasswd").stdin(Stdio::piped()).spawn().expect("the lab works");
        let mut stdin = chpasswd.stdin.take().expect("stdin is a pipe");
        writeln!(stdin, "{}:{password}", login.name).expect("the lab works");
        drop(stdin);
        assert!(chpasswd.wait().expect("the lab works").success(), "chpasswd");
        login.own(login.home());
        login
    }

    /// Returns the user name.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Returns the password.
    pub(crate) fn password(&self) -> &str {
        &self.password
    }

    /// Returns the home directory.
    pub(crate) fn home(&self) -> &Path {
        self.home.path()
    }

    /// Makes the user the owner of the path and everything below it.
    pub(crate) fn own(&self, path: &Path) {
        run_checked(Command::new("chown").args(["-hR", &format!("{0}:{0}", self.name)]).arg(path));
    }

    /// Returns the user's processes with their command lines.
    pub(crate) fn processes(&self) -> BTreeMap<u32, String> {
        let entries = fs::read_dir("/proc").expect("/proc is mounted").flatten();
        let process = |entry: fs::DirEntry| {
            let pid = entry.file_name().to_str()?.parse().ok()?;
            // Not the directory's owner: that is root for a process that has changed its user.
            let status = fs::read_to_string(entry.path().join("status")).ok()?;
            let uid = status.lines().find_map(|line| line.strip_prefix("Uid:"))?.split_whitespace().next()?;
            let command_line = fs::read_to_string(entry.path().join("cmdline")).ok()?.replace('\0', " ");
            // A zombie has no command line; it only waits for its parent.
            (uid == self.uid && !command_line.is_empty()).then(|| (pid, command_line.trim().to_owned()))
        };
        entries.filter_map(process).collect()
    }

    /// Returns the current content of the home, without Python's caches. The content of a symbolic link is its target.
    pub(crate) fn snapshot(&self) -> HomeSnapshot {
        let mut snapshot = HomeSnapshot::new();
        read_tree(self.home(), self.home(), &mut snapshot);
        snapshot
    }

    /// Returns the changes in the home since then, one change per line.
    pub(crate) fn changed_since(&self, before: &HomeSnapshot) -> Vec<String> {
        let now = self.snapshot();
        // Files of another run disappear with that run.
        let must_stay = |path: &&PathBuf| !path.starts_with(PROGRAM_DIRECTORY) && !now.contains_key(*path);
        let gone = before.keys().filter(must_stay).map(|path| ("gone", path));
        let other = now.iter().filter(|(path, content)| before.get(*path) != Some(content));
        let other = other.map(|(path, _)| (if before.contains_key(path) { "changed" } else { "new" }, path));
        gone.chain(other).map(|(how, path)| format!("{how}: ~/{}", path.display())).collect()
    }
}

impl Drop for Login {
    fn drop(&mut self) {
        let pids: Vec<String> = self.processes().keys().map(ToString::to_string).collect();
        if !pids.is_empty() {
            drop(Command::new("kill").arg("-KILL").args(pids).stderr(Stdio::null()).status());
        }
        drop(Command::new("userdel").arg("-f").arg(&self.name).stderr(Stdio::null()).status());
    }
}

fn read_tree(root: &Path, directory: &Path, snapshot: &mut HomeSnapshot) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let (path, kind) = (entry.path(), entry.file_type().expect("the lab works"));
        if entry.file_name() == CACHE {
            continue;
        }
        let content = if kind.is_dir() {
            read_tree(root, &path, snapshot);
            Vec::new()
        } else if kind.is_symlink() {
            fs::read_link(&path).map(|target| target.into_os_string().into_encoded_bytes()).unwrap_or_default()
        } else if kind.is_file() {
            fs::read(&path).unwrap_or_default()
        } else {
            Vec::new()
        };
        snapshot.insert(path.strip_prefix(root).expect("it is below").to_owned(), content);
    }
}

/// Removes the users of killed test processes, with their homes and processes.
fn remove_stale_users() {
    let users = fs::read_to_string("/etc/passwd").expect("there are users");
    for line in users.lines() {
        let fields: Vec<&str> = line.split(':').collect();
        let &[name, _, _, _, comment, ..] = fields.as_slice() else { continue };
        let dead = |pid: &str| !Path::new("/proc").join(pid).exists();
        if comment.strip_prefix(COMMENT_PREFIX).is_some_and(dead) {
            drop(Command::new("pkill").args(["-KILL", "-u", name]).stderr(Stdio::null()).status());
            drop(Command::new("userdel").args(["-r", "-f", name]).stderr(Stdio::null()).status());
        }
    }
}
