//! Servers that can't outlive the tests: whatever ends the test process, its servers end and their directory goes.
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

/// Holds the server; its standard input is the life line. A signal's name on it ends the server alone; its end means that
/// the test process is gone, so the directory goes too. (`PR_SET_PDEATHSIG` won't do: it follows the *thread* that
/// started the server, and that is a test's, which ends long before the process.) `set -m` gives the server a process
/// group of its own, so that Ctrl-C on the terminal reaches the tests alone.
const KEEPER: &str = r#"
set -m
directory=$1 log=$2
shift 2
"$@" </dev/null >>"$log" 2>&1 &
server=$!
trap '' INT TERM HUP
echo "$server"
if read -r signal; then
    case $signal in
        # PostgreSQL's children leave its process group; stopped, it makes no more of them. They share memory with it, and
        # while one of them has it the server does not start again.
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
pub(crate) struct Kept {
    keeper: Child,
    pid: u32,
    ending: &'static str,
}

impl Kept {
    /// Starts it. `ending` is the signal at which it ends at once and cleanly.
    pub(crate) fn start(command: &Command, directory: &Path, log: &Path, ending: &'static str) -> Self {
        let mut keeper = Command::new("bash")
            .current_dir("/")
            .args(["-c", KEEPER, "keeper"])
            .args([directory, log])
            .arg(command.get_program())
            .args(command.get_args())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("bash is installed");
        let mut line = String::new();
        let stdout = keeper.stdout.as_mut().expect("stdout is a pipe");
        BufReader::new(stdout).read_line(&mut line).expect("the keeper tells the server's pid");
        let pid = line.trim().parse().expect("the keeper tells a number");
        Self { keeper, pid, ending }
    }

    /// The server's own process.
    pub(crate) fn pid(&self) -> u32 {
        self.pid
    }

    /// Ends it as if the machine had lost power: the whole process group at once.
    pub(crate) fn crash(mut self) {
        self.end("KILL");
    }

    /// Ends it by another signal than usual.
    pub(crate) fn end_by(mut self, signal: &str) {
        self.end(signal);
    }

    /// What the end of the test process does to it.
    #[cfg(test)]
    pub(crate) fn abandon(mut self) {
        drop(self.keeper.stdin.take());
        drop(self.keeper.wait());
    }

    fn end(&mut self, signal: &str) {
        if let Some(mut line) = self.keeper.stdin.take() {
            drop(writeln!(line, "{signal}"));
        }
        drop(self.keeper.wait());
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.end(self.ending);
    }
}

/// The program's path; servers are often outside of an ordinary user's `PATH`.
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

/// PostgreSQL and `PgBouncer` refuse to run as root: then they run as the user that Debian's package makes for them.
pub(crate) fn unprivileged(program: &Path) -> Command {
    let mut command = Command::new(if is_root() { Path::new("setpriv") } else { program });
    // That user may not look into the directory of the tests.
    command.current_dir("/");
    if is_root() {
        command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups", "--"]).arg(program);
    }
    command
}

/// Gives the directory and all in it to the user of [`unprivileged`].
pub(crate) fn hand_over(directory: &Path) {
    if is_root() {
        finish(Command::new("chown").args(["-R", "postgres:postgres"]).arg(directory));
    }
}

/// Whether the tests run as root.
pub(crate) fn is_root() -> bool {
    fs::metadata("/proc/self").expect("/proc is mounted").uid() == 0
}

/// Runs it to its end, which must be a good one.
pub(crate) fn finish(command: &mut Command) {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// A directory for a server; its name tells what it is if it is ever found lying about.
pub(crate) fn directory() -> tempfile::TempDir {
    tempfile::Builder::new().prefix("bastion-migrate-lab-").tempdir().expect("there is room for temporary files")
}

/// A port that was free a moment ago.
pub(crate) fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
    listener.local_addr().expect("a bound socket has an address").port()
}

/// Asks until there is an answer; `None` when there was none in time.
pub(crate) fn poll<T>(patience: Duration, mut ask: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + patience;
    loop {
        if let Some(answer) = ask() {
            return Some(answer);
        }
        if Instant::now() > deadline {
            return None;
        }
        thread::sleep(Duration::from_millis(10));
    }
}
