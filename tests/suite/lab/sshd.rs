//! A real sshd with its own keys, configuration and log.
#![expect(clippy::disallowed_methods, reason = "tests start servers and key generators")]

use super::process::{ServerProcess, poll, program, run_checked};
use bastion_migrate::{
    secret::Secret,
    ssh::{Hop, Login, Route},
};
use std::{
    fs,
    io::Write as _,
    net::TcpListener,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{Mutex, PoisonError},
    time::Duration,
};
use tempfile::TempDir;

/// Options of a server; the default has a single ed25519 host key and key login for root.
#[derive(Debug, Clone)]
pub(crate) struct SshdOptions {
    /// Types of `ssh-keygen -t`.
    pub(crate) host_keys: Vec<&'static str>,
    /// Lines of `sshd_config`; they take precedence over ours.
    pub(crate) config: String,
    /// Options before the key in `authorized_keys`, like `restrict`.
    pub(crate) key_options: String,
    /// `ssh-keygen` arguments for the user's key.
    pub(crate) user_key: Vec<&'static str>,
    /// Password of a temporary system user, who replaces root.
    pub(crate) password: Option<&'static str>,
    /// Login shell of a temporary system user with a home directory, who replaces root.
    pub(crate) shell: Option<String>,
}

impl Default for SshdOptions {
    fn default() -> Self {
        Self {
            host_keys: vec!["ed25519"],
            config: String::new(),
            key_options: String::new(),
            user_key: vec!["-t", "ed25519", "-N", ""],
            password: None,
            shell: None,
        }
    }
}

/// A running sshd.
pub(crate) struct Sshd {
    dir: TempDir,
    server: Mutex<Option<ServerProcess>>,
    account: Option<Account>,
    /// Its port on 127.0.0.1.
    pub(crate) port: u16,
}

impl Sshd {
    /// Starts it and waits until it listens.
    pub(crate) fn start(options: &SshdOptions) -> Self {
        // The directory of sshd's unprivileged child; only root needs it.
        drop(fs::create_dir_all("/run/sshd"));
        let dir = tempfile::Builder::new().prefix("sshd").tempdir().expect("the lab works");
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).expect("the lab works");
        for host_key in &options.host_keys {
            keygen(&dir.path().join(format!("host_{host_key}")), &["-t", host_key, "-N", ""]);
        }
        let key = dir.path().join("user");
        keygen(&key, &options.user_key);
        let public = fs::read_to_string(key.with_extension("pub")).expect("the lab works");
        fs::write(dir.path().join("authorized_keys"), format!("{} {public}", options.key_options).trim_start())
            .expect("the lab works");
        let account = match (&options.shell, options.password) {
            (None, None) => None,
            (None, Some(password)) => Some(Account::create("/bin/sh", None, Some(password))),
            (Some(shell), password) => Some(Account::create(shell, Some(&dir.path().join("home")), password)),
        };
        let (server, port) = (0..5).find_map(|_| launch(dir.path(), options)).expect("sshd starts");
        Self { dir, server: Mutex::new(Some(server)), account, port }
    }

    /// Starts a server with the default options.
    pub(crate) fn plain() -> Self {
        Self::start(&SshdOptions::default())
    }

    /// Returns the user to log in as.
    pub(crate) fn user(&self) -> String {
        match &self.account {
            Some(account) => account.name.clone(),
            None => own_name(),
        }
    }

    /// Returns the server as a hop.
    pub(crate) fn hop(&self) -> Hop {
        Hop { host: "127.0.0.1".to_owned(), port: self.port, user: self.user() }
    }

    /// Returns the user's private key.
    pub(crate) fn key(&self) -> Secret {
        Secret::new(fs::read_to_string(self.dir.path().join("user")).expect("the lab works"))
    }

    /// Returns the user's public key as `type base64`.
    pub(crate) fn public_key(&self) -> String {
        let text = fs::read_to_string(self.dir.path().join("user.pub")).expect("the lab works");
        text.split(' ').take(2).map(str::trim).collect::<Vec<_>>().join(" ")
    }

    /// Reloads the server with this certificate for the host key of a type, or without one.
    pub(crate) fn show_certificate(&self, kind: &str, certificate: Option<&str>) {
        let path = self.dir.path().join(format!("host_{kind}-cert.pub"));
        let config = self.dir.path().join("sshd_config");
        let line = format!("HostCertificate {}\n", path.display());
        let text = fs::read_to_string(&config).expect("the lab works").replace(&line, "");
        if let Some(certificate) = certificate {
            fs::write(&path, certificate).expect("the lab works");
        }
        fs::write(&config, certificate.map_or_else(String::new, |_| line) + &text).expect("the lab works");
        let starts = || self.log().matches("Server listening on").count();
        let before = starts();
        let pid = self.server.lock().unwrap_or_else(PoisonError::into_inner).as_ref().map(ServerProcess::pid);
        kill("-HUP", &pid.into_iter().collect::<Vec<_>>());
        let listens = poll(Duration::from_secs(20), || (starts() > before).then_some(()));
        assert!(listens.is_some(), "sshd listens again: {}", self.log());
    }

    /// Returns a host key as `type base64`.
    pub(crate) fn host_key(&self, kind: &str) -> String {
        let text = fs::read_to_string(self.dir.path().join(format!("host_{kind}.pub"))).expect("the lab works");
        text.split(' ').take(2).map(str::trim).collect::<Vec<_>>().join(" ")
    }

    /// Returns the `known_hosts` line of its ed25519 host key, or else of another one.
    pub(crate) fn known_hosts_line(&self) -> String {
        let has = |kind: &&str| self.dir.path().join(format!("host_{kind}.pub")).exists();
        let kind = ["ed25519", "ecdsa", "rsa"].into_iter().find(has).expect("it has a host key");
        format!("[127.0.0.1]:{} {}", self.port, self.host_key(kind))
    }

    /// Returns a valid route to the server.
    pub(crate) fn route(&self) -> Route {
        Route {
            hops: vec![self.hop()],
            login: Login { key: Some(self.key()), ..Login::default() },
            known_hosts: Some(self.known_hosts_line()),
            fingerprint: None,
            connect_timeout: Duration::from_secs(5),
            keepalive: Duration::from_secs(15),
        }
    }

    /// Authorizes the other server's user here too.
    pub(crate) fn authorize(&self, other: &Self) {
        let keys =
            [self, other].map(|sshd| fs::read_to_string(sshd.dir.path().join("user.pub")).expect("the lab works"));
        fs::write(self.dir.path().join("authorized_keys"), keys.concat()).expect("the lab works");
    }

    /// Returns the home directory of the temporary user.
    pub(crate) fn home(&self) -> PathBuf {
        self.dir.path().join("home")
    }

    /// Returns the temporary user's processes as (pid, command line), without sshd itself.
    pub(crate) fn processes(&self) -> Vec<(u32, String)> {
        self.account.as_ref().map(Account::processes).unwrap_or_default()
    }

    /// Returns the log so far.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("log")).expect("the lab works")
    }

    /// Returns the pids of the processes that serve its connections.
    pub(crate) fn sessions(&self) -> Vec<u32> {
        let Some(server) = self.server.lock().unwrap_or_else(PoisonError::into_inner).as_ref().map(ServerProcess::pid)
        else {
            return Vec::new();
        };
        let mut found = vec![server];
        let parents = parents();
        while let Some(more) = Some(&parents)
            .map(|parents| parents.iter().filter(|(pid, parent)| found.contains(parent) && !found.contains(pid)))
            .map(|more| more.map(|(pid, _)| *pid).collect::<Vec<_>>())
            .filter(|more| !more.is_empty())
        {
            found.extend(more);
        }
        found.split_off(1)
    }

    /// Kills the sessions.
    pub(crate) fn kill_sessions(&self) {
        self.signal("-KILL");
    }

    /// Stops the server and its connections, as if the machine went down; the port refuses connections.
    pub(crate) fn stop(&self) {
        let sessions = self.sessions();
        drop(self.server.lock().unwrap_or_else(PoisonError::into_inner).take());
        kill("-KILL", &sessions);
    }

    /// Starts the server again on the same port.
    pub(crate) fn resume(&self) {
        let server = listen(self.dir.path()).expect("sshd starts again");
        *self.server.lock().unwrap_or_else(PoisonError::into_inner) = Some(server);
    }

    /// Suspends the sessions.
    pub(crate) fn freeze_sessions(&self) {
        self.signal("-STOP");
    }

    /// Resumes the sessions.
    pub(crate) fn thaw_sessions(&self) {
        self.signal("-CONT");
    }

    fn signal(&self, signal: &str) {
        let pids = self.sessions();
        assert!(!pids.is_empty(), "there is a session to signal");
        kill(signal, &pids);
    }
}

fn kill(signal: &str, pids: &[u32]) {
    // One of them may just have ended by itself (the child for the key exchange): kill then reports an error.
    let pids = pids.iter().map(ToString::to_string);
    Command::new("kill").arg(signal).args(pids).stderr(Stdio::null()).status().expect("the lab works");
}

impl std::fmt::Debug for Sshd {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Sshd").field("port", &self.port).finish_non_exhaustive()
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        let sessions = self.sessions();
        if !sessions.is_empty() {
            kill("-KILL", &sessions);
        }
    }
}

fn launch(dir: &Path, options: &SshdOptions) -> Option<(ServerProcess, u16)> {
    let port = TcpListener::bind("127.0.0.1:0").expect("the lab works").local_addr().expect("the lab works").port();
    let path = |name: &str| dir.join(name).display().to_string();
    let host_keys = options.host_keys.iter().map(|kind| format!("HostKey {}", path(&format!("host_{kind}"))));
    let ours = format!(
        "Port {port}\nListenAddress 127.0.0.1\nPidFile none\nStrictModes no\nUsePAM no\nLogLevel VERBOSE\n\
         PermitRootLogin yes\nPasswordAuthentication no\nKbdInteractiveAuthentication no\nMaxStartups 100\n\
         PrintMotd no\nAuthorizedKeysFile {}\n",
        path("authorized_keys")
    );
    let config = [options.config.clone()].into_iter().chain(host_keys).chain([ours]).collect::<Vec<_>>().join("\n");
    fs::write(dir.join("sshd_config"), config).expect("the lab works");
    fs::write(dir.join("log"), "").expect("the lab works");
    // Another process may have taken the port meanwhile.
    listen(dir).map(|server| (server, port))
}

/// Starts sshd with the configuration in its directory, and waits until it listens.
fn listen(dir: &Path) -> Option<ServerProcess> {
    let mut sshd = Command::new(program("sshd", "openssh-server"));
    sshd.args(["-D", "-e", "-f"]).arg(dir.join("sshd_config"));
    let log = dir.join("log");
    let starts = || fs::read_to_string(&log).unwrap_or_default().matches("Server listening on").count();
    let before = starts();
    let server = ServerProcess::start(&sshd, dir, &log, "TERM");
    poll(Duration::from_secs(5), || (starts() > before).then_some(server.pid())).map(|_| server)
}

/// Returns the user who runs the tests: an sshd that is not root can serve no other user.
fn own_name() -> String {
    let output = Command::new("id").arg("-un").output().expect("the lab works");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// Returns every process with its parent.
fn parents() -> Vec<(u32, u32)> {
    let entries = fs::read_dir("/proc").expect("the lab works").flatten();
    entries
        .filter_map(|entry| {
            let pid = entry.file_name().to_str()?.parse().ok()?;
            let stat = fs::read_to_string(entry.path().join("stat")).ok()?;
            let (_, rest) = stat.rsplit_once(") ")?;
            let mut fields = rest.split(' ');
            // A zombie has ended; it only waits for its parent.
            let state = fields.next().filter(|state| *state != "Z");
            state.and(fields.next()?.parse().ok()).map(|parent| (pid, parent))
        })
        .collect()
}

/// A system user that lives as long as the test.
struct Account {
    name: String,
}

impl Account {
    fn create(shell: &str, home: Option<&Path>, password: Option<&str>) -> Self {
        let mut bytes = [0; 4];
        getrandom::fill(&mut bytes).expect("the lab works");
        let name = format!("bm{:08x}", u32::from_le_bytes(bytes));
        let account = Self { name };
        let mut useradd = Command::new("useradd");
        // `*`: no password, but not locked either.
        useradd.args(["-M", "-p", "*", "-s", shell]);
        if let Some(home) = home {
            useradd.arg("-d").arg(home);
        }
        run_checked(useradd.arg(&account.name));
        if let Some(home) = home {
            fs::create_dir(home).expect("the lab works");
            run_checked(Command::new("chown").arg(&account.name).arg(home));
        }
        let Some(password) = password else { return account };
        let mut chpasswd = Command::new("chpasswd").stdin(Stdio::piped()).spawn().expect("the lab works");
        writeln!(chpasswd.stdin.take().expect("the lab works"), "{}:{password}", account.name).expect("the lab works");
        assert!(chpasswd.wait().expect("the lab works").success(), "chpasswd");
        account
    }

    /// Returns the processes other than sshd's, as (pid, command line).
    fn processes(&self) -> Vec<(u32, String)> {
        let output = Command::new("ps").args(["-o", "pid=,stat=,args=", "-u", &self.name]).output();
        let text = String::from_utf8_lossy(&output.expect("ps is installed").stdout).into_owned();
        let lines = text.lines().filter_map(|line| line.trim().split_once(' '));
        lines
            .filter(|(_, rest)| !rest.trim_start().starts_with('Z') && !rest.contains("sshd: "))
            .filter_map(|(pid, rest)| Some((pid.parse().ok()?, rest.to_owned())))
            .collect()
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        let pids = self.processes().into_iter().map(|(pid, _)| pid.to_string()).collect::<Vec<_>>();
        if !pids.is_empty() {
            drop(Command::new("kill").arg("-KILL").args(pids).stderr(Stdio::null()).status());
        }
        drop(Command::new("userdel").arg("-f").arg(&self.name).stderr(Stdio::null()).stdout(Stdio::null()).status());
    }
}

/// Creates a key pair at this path.
pub(crate) fn keygen(path: &Path, arguments: &[&str]) {
    let status = Command::new("ssh-keygen")
        .args(["-q", "-C", ""])
        .args(arguments)
        .arg("-f")
        .arg(path)
        .status()
        .expect("the lab works");
    assert!(status.success(), "ssh-keygen {arguments:?}");
}

/// Replaces the names in a `known_hosts` text by their hashes.
pub(crate) fn hashed(known_hosts: &str) -> String {
    let dir = tempfile::tempdir().expect("the lab works");
    let file: PathBuf = dir.path().join("known_hosts");
    fs::write(&file, known_hosts).expect("the lab works");
    let status =
        Command::new("ssh-keygen").arg("-H").arg("-f").arg(&file).stderr(Stdio::null()).stdout(Stdio::null()).status();
    assert!(status.expect("the lab works").success(), "ssh-keygen -H");
    fs::read_to_string(&file).expect("the lab works")
}

/// Returns the fingerprint of a `type base64` key, from `ssh-keygen -lf`.
pub(crate) fn fingerprint(key: &str) -> String {
    let dir = tempfile::tempdir().expect("the lab works");
    let file = dir.path().join("key.pub");
    fs::write(&file, format!("{key}\n")).expect("the lab works");
    let output = Command::new("ssh-keygen").arg("-lf").arg(&file).output().expect("the lab works");
    String::from_utf8(output.stdout).expect("the lab works").split(' ').nth(1).expect("the lab works").to_owned()
}
