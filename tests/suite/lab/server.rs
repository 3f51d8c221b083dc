//! A deployment server of the first users: an sshd that lets in a user with a home, by key or by password, and what they have
//! put there. The database is reached from it by its own configuration.
#![expect(clippy::disallowed_methods, reason = "logs in with OpenSSH's own client")]

use super::{
    login::{Login, Picture},
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

/// What the user logs in with; it has to be quoted for a shell and encoded in JSON.
const PASSWORD: &str = "c0rrect h'rse \"deploy\"";

/// Where the project with a Python environment lies in the home.
pub(crate) const BACKEND: &str = "ProjectMeats/backend";

/// What somebody shows to be let in.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Ticket<'t> {
    Password(&'t str),
    /// A private key.
    Key(&'t str),
}

/// A running server.
#[derive(Debug)]
pub(crate) struct Server {
    // sshd before the user that it serves.
    sshd: Sshd,
    login: Login,
    programs: TempDir,
}

impl Server {
    /// With a home in which only a profile is. What is put into [`Self::programs`] is found before the machine's own programs.
    pub(crate) fn start() -> Self {
        Self::configured("")
    }

    /// The same with these lines in front of sshd's configuration.
    pub(crate) fn configured(lines: &str) -> Self {
        let (login, programs) = (Login::create(PASSWORD), super::process::directory());
        login.own(programs.path());
        let path = format!("{}:/usr/local/bin:/usr/bin:/bin", programs.path().display());
        let config = format!("{lines}\nPasswordAuthentication yes\nAllowUsers {}\nSetEnv PATH={path}\n", login.name());
        let sshd = Sshd::start(&SshdOptions { config, ..SshdOptions::default() });
        // A shell that somebody logs in to begins with the system's own PATH.
        let profile = format!("PATH={path}\n");
        Self { sshd, login, programs }.file(".profile", profile)
    }

    /// `~/ProjectMeats`: the project that knows this database, and its Python environment.
    pub(crate) fn project(self, project: Project, database: &Database, python: &str) -> Self {
        let root = self.path("ProjectMeats");
        project.unpack(&root.join("backend"));
        fs::write(root.join("backend/.env"), project.dotenv(&from_the_server(database))).expect("there is room");
        symlink(venv(python), root.join("venv")).expect("there is room");
        self.login.own(&root);
        self
    }

    /// `~/ProjectMeats` of a server that has all that the first users' has: Django 4.2 and one schema.
    pub(crate) fn with_project(database: &Database) -> Self {
        Self::start().project(Project::Plain, database, super::venv::DJANGO_4_2)
    }

    /// A file in the home.
    pub(crate) fn file(self, path: &str, content: impl AsRef<[u8]>) -> Self {
        let path = self.path(path);
        fs::create_dir_all(path.parent().expect("a file is in a directory")).expect("there is room");
        fs::write(&path, content).expect("there is room");
        self.login.own(&path);
        self
    }

    /// The home lacks this.
    pub(crate) fn without(self, path: &str) -> Self {
        let path = self.path(path);
        if path.is_dir() && !path.is_symlink() {
            fs::remove_dir_all(path).expect("it was there");
        } else {
            fs::remove_file(path).expect("it was there");
        }
        self
    }

    /// A path in the home.
    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.login.home().join(path)
    }

    /// Whom it lets in.
    pub(crate) fn login(&self) -> &Login {
        &self.login
    }

    /// What lets them in.
    pub(crate) fn sshd(&self) -> &Sshd {
        &self.sshd
    }

    /// A directory of programs that come before the machine's own.
    pub(crate) fn programs(&self) -> &Path {
        self.programs.path()
    }

    /// What OpenSSH's own client says when the user logs in with the password and gives the shell this script; or how it has
    /// failed.
    pub(crate) fn shell(&self, script: &str) -> Result<String, String> {
        self.shell_with(Ticket::Password(self.login.password()), script)
    }

    /// The same with something else to get in by.
    pub(crate) fn shell_with(&self, ticket: Ticket<'_>, script: &str) -> Result<String, String> {
        let secrets = super::process::directory();
        let (known_hosts, key) = (secrets.path().join("known_hosts"), secrets.path().join("key"));
        fs::write(&known_hosts, self.sshd.known_hosts_line() + "\n").expect("there is room");
        let mut ssh = Command::new("sshpass");
        ssh.args(["-e", "ssh", "-T", "-o", "StrictHostKeyChecking=yes", "-o"])
            .arg(format!("UserKnownHostsFile={}", known_hosts.display()))
            .args(["-p", &self.sshd.port.to_string(), "-l", self.login.name()]);
        match ticket {
            Ticket::Password(password) => ssh.args(["-o", "PubkeyAuthentication=no"]).env("SSHPASS", password),
            Ticket::Key(secret) => {
                fs::write(&key, secret).expect("there is room");
                fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).expect("it is ours");
                ssh.args(["-o", "PasswordAuthentication=no", "-i"]).arg(&key).env("SSHPASS", "")
            }
        };
        ssh.arg("127.0.0.1").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = ssh.spawn().expect("sshpass is installed: run `make setup`");
        let mut stdin = child.stdin.take().expect("stdin is a pipe");
        // Whoever is not let in reads nothing.
        drop(stdin.write_all(script.as_bytes()));
        drop(stdin);
        let output = child.wait_with_output().expect("ssh ends");
        let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
        if output.status.success() { Ok(text) } else { Err(format!("{}: {text}", output.status)) }
    }

    /// What the home is like before a step.
    pub(crate) fn picture(&self) -> Picture {
        self.login.picture()
    }

    /// Processes of the user and what has changed in the home since then, one to a line; waits a moment for a session to end.
    pub(crate) fn left_behind(&self, before: &Picture) -> Vec<String> {
        poll(Duration::from_secs(3), || self.login.processes().is_empty().then_some(()));
        let processes = self.login.processes().into_iter().map(|(pid, words)| format!("process {pid}: {words}"));
        processes.chain(self.login.changed_since(before)).collect()
    }
}

/// So many tenants, `t01` and on, each with an empty schema: what the commands of the project make one by one.
pub(crate) fn tenants(database: &Database, count: u32) {
    database.sql(&format!(
        "set role app; do $$ begin for number in 1..{count} loop \
         execute format('create schema t%s', to_char(number, 'FM00')); \
         insert into tenants_client (schema_name, name, description) \
         values ('t' || to_char(number, 'FM00'), 'Tenant ' || number, ''); end loop; end $$"
    ));
}

/// The database as a server's own configuration names it.
pub(crate) fn from_the_server(database: &Database) -> String {
    format!("{}?sslmode=require", database.url())
}
