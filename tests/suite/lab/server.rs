//! A deployment server of the first users: an sshd for one user with a home, by key or by password, and their project
//! there. The server's own configuration names the database.
#![expect(clippy::disallowed_methods, reason = "logs in with OpenSSH's own client")]

use super::{
    login::{HomeSnapshot, Login},
    poll,
    postgres::Database,
    project::Project,
    sshd::{Sshd, SshdOptions},
    venv::venv,
};
use std::{
    fs,
    io::Write as _,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};
use tempfile::TempDir;

/// The user's password; it has to be quoted for a shell and encoded in JSON.
const PASSWORD: &str = "c0rrect h'rse \"deploy\"";

/// Path in the home of the project with a Python environment.
pub(crate) const BACKEND: &str = "ProjectMeats/backend";

/// A credential for a login.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Credential<'t> {
    Password(&'t str),
    /// A private key.
    Key(&'t str),
}

/// A running server.
#[derive(Debug)]
pub(crate) struct Server {
    // sshd before its user, so that it is dropped first.
    sshd: Sshd,
    login: Login,
    programs: TempDir,
}

impl Server {
    /// Starts a server whose home contains only a profile. Programs in [`Self::programs`] precede the machine's own.
    pub(crate) fn start() -> Self {
        Self::configured("")
    }

    /// Starts a server with these lines before sshd's configuration.
    pub(crate) fn configured(lines: &str) -> Self {
        let (login, programs) = (Login::create(PASSWORD), super::process::directory());
        login.own(programs.path());
        let path = format!("{}:/usr/local/bin:/usr/bin:/bin", programs.path().display());
        let config = format!("{lines}\nPasswordAuthentication yes\nAllowUsers {}\nSetEnv PATH={path}\n", login.name());
        let sshd = Sshd::start(&SshdOptions { config, ..SshdOptions::default() });
        // A login shell starts with the system's own PATH.
        let profile = format!("PATH={path}\n");
        Self { sshd, login, programs }.file(".profile", profile)
    }

    /// Adds `~/ProjectMeats`: the project, configured for this database, and its Python environment.
    pub(crate) fn project(self, project: Project, database: &Database, python: &str) -> Self {
        let root = self.path("ProjectMeats");
        project.unpack(&root.join("backend"));
        fs::write(root.join("backend/.env"), project.dotenv(&from_the_server(database))).expect("there is room");
        symlink(venv(python), root.join("venv")).expect("there is room");
        self.login.own(&root);
        self
    }

    /// Starts a server with `~/ProjectMeats` as the first users have it: Django 4.2 and one schema.
    pub(crate) fn with_project(database: &Database) -> Self {
        Self::start().project(Project::Plain, database, super::venv::DJANGO_4_2)
    }

    /// Adds a file to the home.
    pub(crate) fn file(self, path: &str, content: impl AsRef<[u8]>) -> Self {
        let path = self.path(path);
        fs::create_dir_all(path.parent().expect("a file is in a directory")).expect("there is room");
        fs::write(&path, content).expect("there is room");
        self.login.own(&path);
        self
    }

    /// Removes a path from the home.
    pub(crate) fn without(self, path: &str) -> Self {
        let path = self.path(path);
        if path.is_dir() && !path.is_symlink() {
            fs::remove_dir_all(path).expect("it was there");
        } else {
            fs::remove_file(path).expect("it was there");
        }
        self
    }

    /// Returns a path in the home.
    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.login.home().join(path)
    }

    /// Returns the user of the server.
    pub(crate) fn login(&self) -> &Login {
        &self.login
    }

    /// Returns its sshd.
    pub(crate) fn sshd(&self) -> &Sshd {
        &self.sshd
    }

    /// Returns a directory of programs that precede the machine's own.
    pub(crate) fn programs(&self) -> &Path {
        self.programs.path()
    }

    /// Returns the output of OpenSSH's own client for this shell script, logged in with the password; or its failure.
    pub(crate) fn shell(&self, script: &str) -> Result<String, String> {
        self.shell_with(Credential::Password(self.login.password()), script)
    }

    /// Runs the script with another credential.
    pub(crate) fn shell_with(&self, credential: Credential<'_>, script: &str) -> Result<String, String> {
        let secrets = super::process::directory();
        let (known_hosts, key) = (secrets.path().join("known_hosts"), secrets.path().join("key"));
        fs::write(&known_hosts, self.sshd.known_hosts_line() + "\n").expect("there is room");
        let mut ssh = Command::new("sshpass");
        ssh.args(["-e", "ssh", "-T", "-o", "StrictHostKeyChecking=yes", "-o"])
            .arg(format!("UserKnownHostsFile={}", known_hosts.display()))
            .args(["-p", &self.sshd.port.to_string(), "-l", self.login.name()]);
        match credential {
            Credential::Password(password) => ssh.args(["-o", "PubkeyAuthentication=no"]).env("SSHPASS", password),
            Credential::Key(secret) => {
                fs::write(&key, secret).expect("there is room");
                fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).expect("it is ours");
                ssh.args(["-o", "PasswordAuthentication=no", "-i"]).arg(&key).env("SSHPASS", "")
            }
        };
        ssh.arg("127.0.0.1").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = ssh.spawn().expect("sshpass is installed: run `make setup`");
        let mut stdin = child.stdin.take().expect("stdin is a pipe");
        // After a failed login ssh does not read its input.
        drop(stdin.write_all(script.as_bytes()));
        drop(stdin);
        let output = child.wait_with_output().expect("ssh ends");
        let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
        if output.status.success() { Ok(text) } else { Err(format!("{}: {text}", output.status)) }
    }

    /// Returns the content of the home, to compare it after a step.
    pub(crate) fn snapshot(&self) -> HomeSnapshot {
        self.login.snapshot()
    }

    /// Returns the user's processes and the changes in the home, one per line; waits a moment for sessions to end.
    pub(crate) fn left_behind(&self, before: &HomeSnapshot) -> Vec<String> {
        poll(Duration::from_secs(3), || self.login.processes().is_empty().then_some(()));
        let processes = self.login.processes().into_iter().map(|(pid, line)| format!("process {pid}: {line}"));
        processes.chain(self.login.changed_since(before)).collect()
    }
}

/// Creates this many tenants, from `t01` on, each with an empty schema, as the project's commands do one by one.
pub(crate) fn tenants(database: &Database, count: u32) {
    database.sql(&format!(
        "set role app; do $$ begin for number in 1..{count} loop \
         execute format('create schema t%s', to_char(number, 'FM00')); \
         insert into tenants_client (schema_name, name, description) \
         values ('t' || to_char(number, 'FM00'), 'Tenant ' || number, ''); end loop; end $$"
    ));
}

/// Returns the URL of the database in a server's own configuration.
pub(crate) fn from_the_server(database: &Database) -> String {
    format!("{}?sslmode=require", database.url())
}
