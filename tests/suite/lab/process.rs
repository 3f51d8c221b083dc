//! Servers that can't outlive the tests: however the test process ends, its servers end and their directory is removed.
#![expect(
    clippy::disallowed_methods,
    reason = "the lab starts servers and waits for them; production code does neither"
)]

use std::{
    env,
    ffi::OsStr,
    fs,
    io::{BufRead as _, BufReader, Write as _},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

/// Supervises the server. The name of a signal on standard input ends the server alone; the end of standard input means
/// that the test process has ended, so the directory is removed too. (`PR_SET_PDEATHSIG` won't do: it follows the
/// *thread* that started the server, a test's thread, which ends long before the process.) `set -m` gives the server a
/// process group of its own, so that Ctrl-C on the terminal reaches only the tests.
const SUPERVISOR: &str = r#"
set -m
directory=$1 log=$2
shift 2
"$@" </dev/null >>"$log" 2>&1 &
server=$!
trap '' INT TERM HUP
echo "$server"
if read -r signal; then
    case $signal in
        # PostgreSQL's children leave its process group; after SIGSTOP it forks no more of them. They share memory with
        # it, and the server does not start again while one of them is attached.
        KILL)
            kill -STOP "$server"
            children=$(cat "/proc/$server/task/$server/children")
            kill -KILL -- "-$server" $children
            for (( turn = 0; turn < 500; turn++ )); do
                kill -0 $children 2>/dev/null || break
                sleep 0.01
            done
            ;;
        *) kill "-$signal" "$server" ;;
    esac
    wait "$server"
else
    kill -QUIT "$server"
    kill -TERM "$server"
    wait "$server"
    rm -rf "$directory"
fi
"#;

/// A running server.
#[derive(Debug)]
pub(crate) struct ServerProcess {
    supervisor: Child,
    pid: u32,
    stop_signal: &'static str,
}

impl ServerProcess {
    /// Starts a server. `stop_signal` ends it at once and cleanly.
    pub(crate) fn start(command: &Command, directory: &Path, log: &Path, stop_signal: &'static str) -> Self {
        let mut supervisor = Command::new("bash")
            .current_dir("/")
            .args(["-c", SUPERVISOR, "supervisor"])
            .args([directory, log])
            .arg(command.get_program())
            .args(command.get_args())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("bash is installed");
        let mut line = String::new();
        let stdout = supervisor.stdout.as_mut().expect("stdout is a pipe");
        BufReader::new(stdout).read_line(&mut line).expect("the supervisor prints the server's pid");
        let pid = line.trim().parse().expect("the pid is a number");
        Self { supervisor, pid, stop_signal }
    }

    /// Returns the server's own process id.
    pub(crate) fn pid(&self) -> u32 {
        self.pid
    }

    /// Ends the server as a power failure would: the whole process group at once.
    pub(crate) fn crash(mut self) {
        self.end("KILL");
    }

    /// Ends the server with another signal than usual.
    pub(crate) fn stop_with(mut self, signal: &str) {
        self.end(signal);
    }

    /// Does what the end of the test process does to the server.
    #[cfg(test)]
    pub(crate) fn abandon(mut self) {
        drop(self.supervisor.stdin.take());
        drop(self.supervisor.wait());
    }

    fn end(&mut self, signal: &str) {
        if let Some(mut line) = self.supervisor.stdin.take() {
            drop(writeln!(line, "{signal}"));
        }
        drop(self.supervisor.wait());
    }
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        self.end(self.stop_signal);
    }
}

/// Returns the path of a program; servers are often outside an ordinary user's `PATH`.
pub(crate) fn program(name: &str, package: &str) -> PathBuf {
    let version = |path: &Path| path.file_name().and_then(OsStr::to_str).and_then(|name| name.parse::<u32>().ok());
    let installed = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten().map(|entry| entry.path());
    let newest = installed.max_by_key(|path| version(path)).map(|path| path.join("bin"));
    let path = env::var_os("PATH").unwrap_or_default();
    newest
        .into_iter()
        .chain(env::split_paths(&path))
        .chain(["/usr/sbin", "/usr/local/sbin"].map(PathBuf::from))
        .map(|directory| directory.join(name))
        .find(|candidate| candidate.is_file())
        .unwrap_or_else(|| panic!("`{name}` is not installed: run `make setup`, or `apt-get install {package}`"))
}

/// Returns a command for a program that refuses to run as root (PostgreSQL, `PgBouncer`): if the tests run as root, it
/// runs as the user that Debian's package creates.
pub(crate) fn unprivileged(program: &Path) -> Command {
    let mut command = Command::new(if is_root() { Path::new("setpriv") } else { program });
    // That user may not enter the directory of the tests.
    command.current_dir("/");
    if is_root() {
        command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups", "--"]).arg(program);
    }
    command
}

/// Makes the user of [`unprivileged`] the owner of the directory and everything in it.
pub(crate) fn chown_to_unprivileged(directory: &Path) {
    if is_root() {
        run_checked(Command::new("chown").args(["-R", "postgres:postgres"]).arg(directory));
    }
}

/// Returns whether the tests run as root.
pub(crate) fn is_root() -> bool {
    fs::metadata("/proc/self").expect("/proc is mounted").uid() == 0
}

/// Runs a command, which must succeed.
pub(crate) fn run_checked(command: &mut Command) {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Creates a directory for a server; its name explains a leftover one.
pub(crate) fn directory() -> tempfile::TempDir {
    tempfile::Builder::new().prefix("bastion-migrate-lab-").tempdir().expect("there is room for temporary files")
}

/// Returns a port that was free a moment ago.
pub(crate) fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
    listener.local_addr().expect("a bound socket has an address").port()
}

/// Calls the probe until it returns a value; `None` if it did not within the limit.
pub(crate) fn poll<T>(limit: Duration, mut probe: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(value) = probe() {
            return Some(value);
        }
        if Instant::now() > deadline {
            return None;
        }
        thread::sleep(Duration::from_millis(10));
    }
}
