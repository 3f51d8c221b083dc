//! A system user with a home, whom a server lets in. What belongs to it is known: its processes, and every file in its home.
#![expect(clippy::disallowed_methods, reason = "the lab makes users and looks at their processes")]

use super::process::{directory, finish};
use std::{
    collections::BTreeMap,
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};
use tempfile::TempDir;

/// In front of the pid of the test process, in the field of the password file that is there for remarks.
const REMARK: &str = "bastion-migrate-lab of ";

/// Where runs of ours keep what they have on a server.
const OURS: &str = ".bastion-migrate";

/// What Python leaves beside its sources whoever runs it.
const CACHE: &str = "__pycache__";

/// Every path below the home, and what is in it.
pub(crate) type Picture = BTreeMap<PathBuf, Vec<u8>>;

/// The user; it goes with the value, its processes and its home with it.
#[derive(Debug)]
pub(crate) struct Login {
    name: String,
    uid: String,
    password: String,
    home: TempDir,
}

impl Login {
    /// With an empty home that is nobody else's, and a shell that knows `source`.
    pub(crate) fn create(password: &str) -> Self {
        sweep_after_the_dead();
        let mut bytes = [0; 4];
        getrandom::fill(&mut bytes).expect("the lab works");
        let name = format!("bm{:08x}", u32::from_le_bytes(bytes));
        let home = directory();
        finish(
            Command::new("useradd")
                .args(["--no-create-home", "--shell", "/bin/bash"])
                .args(["--comment", &format!("{REMARK}{}", std::process::id())])
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

    /// What it is called.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// What it logs in with, if not with a key.
    pub(crate) fn password(&self) -> &str {
        &self.password
    }

    /// Where it begins.
    pub(crate) fn home(&self) -> &Path {
        self.home.path()
    }

    /// Gives the path and all that is below it to the user.
    pub(crate) fn own(&self, path: &Path) {
        finish(Command::new("chown").args(["-hR", &format!("{0}:{0}", self.name)]).arg(path));
    }

    /// Its processes, each with its command line.
    pub(crate) fn processes(&self) -> BTreeMap<u32, String> {
        let entries = fs::read_dir("/proc").expect("/proc is mounted").flatten();
        let process = |entry: fs::DirEntry| {
            let pid = entry.file_name().to_str()?.parse().ok()?;
            // Not the directory's owner: that is root for a process that has changed its user.
            let status = fs::read_to_string(entry.path().join("status")).ok()?;
            let uid = status.lines().find_map(|line| line.strip_prefix("Uid:"))?.split_whitespace().next()?;
            let words = fs::read_to_string(entry.path().join("cmdline")).ok()?.replace('\0', " ");
            // One that has ended has no command line; it only waits to be counted.
            (uid == self.uid && !words.is_empty()).then(|| (pid, words.trim().to_owned()))
        };
        entries.filter_map(process).collect()
    }

    /// All that is in its home now, but what Python puts there by itself. A link is what it leads to.
    pub(crate) fn picture(&self) -> Picture {
        let mut picture = Picture::new();
        look(self.home(), self.home(), &mut picture);
        picture
    }

    /// What has changed in its home since then, one thing to a line.
    pub(crate) fn changed_since(&self, before: &Picture) -> Vec<String> {
        let now = self.picture();
        // What another run of ours had there is gone with that run.
        let lasts = |path: &&PathBuf| !path.starts_with(OURS) && !now.contains_key(*path);
        let gone = before.keys().filter(lasts).map(|path| ("gone", path));
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

fn look(root: &Path, directory: &Path, picture: &mut Picture) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let (path, kind) = (entry.path(), entry.file_type().expect("the lab works"));
        if entry.file_name() == CACHE {
            continue;
        }
        let content = if kind.is_dir() {
            look(root, &path, picture);
            Vec::new()
        } else if kind.is_symlink() {
            fs::read_link(&path).map(|target| target.into_os_string().into_encoded_bytes()).unwrap_or_default()
        } else if kind.is_file() {
            fs::read(&path).unwrap_or_default()
        } else {
            Vec::new()
        };
        picture.insert(path.strip_prefix(root).expect("it is below").to_owned(), content);
    }
}

/// Users whose test process was killed, their homes and what they still run.
fn sweep_after_the_dead() {
    let users = fs::read_to_string("/etc/passwd").expect("there are users");
    for line in users.lines() {
        let fields: Vec<&str> = line.split(':').collect();
        let &[name, _, _, _, remark, ..] = fields.as_slice() else { continue };
        let dead = |pid: &str| !Path::new("/proc").join(pid).exists();
        if remark.strip_prefix(REMARK).is_some_and(dead) {
            drop(Command::new("pkill").args(["-KILL", "-u", name]).stderr(Stdio::null()).status());
            drop(Command::new("userdel").args(["-r", "-f", name]).stderr(Stdio::null()).status());
        }
    }
}
