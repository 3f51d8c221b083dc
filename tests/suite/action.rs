//! The runner's part in a test: starts the real binary as a step of a job, and collects its results. Everything that a
//! test does not state is expected to be empty.
#![expect(clippy::disallowed_methods, reason = "starts the program under test and reads its output")]

use crate::{
    judge::{Finished, StepResult, expect},
    lab::{Lab, login::HomeSnapshot, poll, postgres::PASSWORD, project::SECRET_KEY, server::Server},
    leak,
    runner::{
        Log,
        environment::{self, variable},
        event::Event,
        file::{self, KeyValues},
        manifest::Manifest,
    },
};
use rustix::process::{Pid, Signal, kill_process};
use std::{
    cell::OnceCell,
    collections::BTreeMap,
    env, fs,
    io::{self, BufRead as _, BufReader, Read},
    os::unix::process::ExitStatusExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex, PoisonError},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};
use tempfile::TempDir;

/// A run that logs nothing for so long hangs.
const HANG_TIMEOUT: Duration = Duration::from_secs(60);

/// A run that takes longer hangs, even if it logs something: a sign of life is no progress.
const LONGEST_RUN: Duration = Duration::from_secs(300);

/// The value of `${{ github.token }}` in these runs.
const TOKEN: &str = "ghs_0123456789abcdefghijklmnopqrstuvwxyz";

const COMMAND_FILES: [&str; 5] = ["GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY", "GITHUB_ENV", "GITHUB_PATH", "GITHUB_STATE"];

/// Variables that the runner sets for every step; no server listens at the API's address.
const RUNNER: &str = "GITHUB_ACTIONS=true CI=true GITHUB_ACTOR=octocat GITHUB_API_URL=http://127.0.0.1:9 \
    GITHUB_EVENT_NAME=push GITHUB_JOB=migrate GITHUB_REF=refs/heads/main GITHUB_REF_NAME=main \
    GITHUB_REPOSITORY=octo/app GITHUB_REPOSITORY_OWNER=octo GITHUB_RUN_ATTEMPT=1 GITHUB_RUN_ID=4711 GITHUB_RUN_NUMBER=7 \
    GITHUB_SERVER_URL=https://github.com GITHUB_SHA=0123456789abcdef0123456789abcdef01234567 GITHUB_WORKFLOW=deploy \
    RUNNER_ARCH=X64 RUNNER_ENVIRONMENT=github-hosted RUNNER_NAME=lab RUNNER_OS=Linux";

/// One step of a job, not started yet.
#[must_use = "a step does nothing until it is run"]
#[derive(Debug)]
pub(crate) struct Action<'a> {
    lab: &'a Lab,
    server: Option<&'a Server>,
    home: TempDir,
    inputs: BTreeMap<String, String>,
    environment: BTreeMap<String, String>,
    secrets: Vec<String>,
    expected_on_server: Vec<String>,
}

impl<'a> Action<'a> {
    /// A step that connects through the lab's bastion to its database, with an empty workspace.
    pub(crate) fn new(lab: &'a Lab) -> Self {
        let bastion = &lab.bastion;
        Self::direct(lab)
            .input("ssh-host", "127.0.0.1")
            .input("ssh-port", bastion.port.to_string())
            .input("ssh-user", bastion.user())
            .input("ssh-known-hosts", bastion.known_hosts_line())
            .secret("ssh-private-key", bastion.key().expose())
    }

    /// A step that connects without a bastion.
    pub(crate) fn direct(lab: &'a Lab) -> Self {
        let home = tempfile::Builder::new().prefix("bastion-migrate-step-").tempdir().expect("there is room");
        fs::create_dir(home.path().join("workspace")).expect("there is room");
        fs::write(home.path().join("event.json"), Event::Push.payload().to_string()).expect("there is room");
        let secrets = [TOKEN, PASSWORD].into_iter().chain(environment::secrets()).map(str::to_owned).collect();
        let (inputs, environment, expected_on_server) =
            (Manifest::with_token(TOKEN).inputs, BTreeMap::new(), Vec::new());
        Self { lab, server: None, home, inputs, environment, secrets, expected_on_server }
            .secret("database-url", lab.database.url())
    }

    /// A step that runs its commands on the deployment server, whose own configuration names the database.
    pub(crate) fn on_server(lab: &'a Lab, server: &'a Server) -> Self {
        Self::at_server(lab, server)
            .input("ssh-host", "127.0.0.1")
            .input("ssh-user", server.login().name())
            .secret("ssh-private-key", server.sshd().key().expose())
    }

    /// A step on the server whose inputs contain neither host nor login: the job's environment has them.
    pub(crate) fn at_server(lab: &'a Lab, server: &'a Server) -> Self {
        let mut step = Self::direct(lab);
        step.inputs.remove("database-url");
        step.server = Some(server);
        step.input("executor", "server")
            .input("ssh-port", server.sshd().port.to_string())
            .input("ssh-known-hosts", server.sshd().known_hosts_line())
            .hides(server.login().password())
            .hides(SECRET_KEY)
    }

    /// Adds a line of `with:`.
    pub(crate) fn input(mut self, name: &str, value: impl Into<String>) -> Self {
        self.inputs.insert(name.to_owned(), value.into());
        self
    }

    /// Adds a line of `with:` whose value must not appear on any surface.
    pub(crate) fn secret(mut self, name: &str, value: impl Into<String>) -> Self {
        let value = value.into();
        self.secrets.push(value.clone());
        self.input(name, value)
    }

    /// Adds a value that is no input and must not appear on any surface either.
    pub(crate) fn hides(mut self, value: &str) -> Self {
        self.secrets.push(value.to_owned());
        self
    }

    /// Adds a line of `env:` whose value must not appear on any surface.
    pub(crate) fn secret_env(self, name: &str, value: &str) -> Self {
        self.hides(value).env(name, value)
    }

    /// Expects a new path in the home on the server.
    pub(crate) fn leaves_on_server(mut self, path: &str) -> Self {
        self.expected_on_server.push(format!("new: ~/{path}"));
        self
    }

    /// Leaves what is on the server to the caller to judge: the command of a killed run may go on there. Only soaks kill one
    /// without looking at it first.
    #[cfg(not(test))]
    pub(crate) fn without_judging_the_server(self) -> Self {
        Self { server: None, ..self }
    }

    /// Adds a file to the workspace.
    pub(crate) fn file(self, path: &str, content: impl AsRef<[u8]>) -> Self {
        let path = self.workspace().join(path);
        fs::create_dir_all(path.parent().expect("a file is in a directory")).expect("there is room");
        fs::write(path, content).expect("there is room");
        self
    }

    /// Adds a line of `env:`.
    pub(crate) fn env(mut self, name: &str, value: impl Into<String>) -> Self {
        self.environment.insert(name.to_owned(), value.into());
        self
    }

    /// `GITHUB_WORKSPACE`.
    pub(crate) fn workspace(&self) -> PathBuf {
        self.home.path().join("workspace")
    }

    /// Starts the step.
    pub(crate) fn start(self) -> Running<'a> {
        self.start_on(Stdio::piped())
    }

    /// Starts the step with a log that goes elsewhere and is not checked.
    pub(crate) fn start_on(self, log: Stdio) -> Running<'a> {
        let home = self.home.path();
        let mut command = Command::new(binary());
        command.env_clear().current_dir(self.workspace()).stdin(Stdio::null());
        command.stdout(log).stderr(Stdio::piped());
        command.env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
        command.env("HOME", home).env("RUNNER_TEMP", home).env("GITHUB_WORKSPACE", self.workspace());
        command.env("GITHUB_EVENT_PATH", home.join("event.json"));
        command.envs(RUNNER.split_whitespace().filter_map(|pair| pair.split_once('=')));
        command.envs(environment::credentials());
        for name in COMMAND_FILES {
            fs::write(home.join(name), "").expect("there is room");
            command.env(name, home.join(name));
        }
        command.envs(self.inputs.iter().map(|(name, value)| (variable(name), value))).envs(&self.environment);
        let before = self.server.map(Server::snapshot).unwrap_or_default();
        let started = Instant::now();
        let mut child = command.spawn().expect("the program is built");
        let stdout = child.stdout.take().map_or_else(|| PipeReader::of(io::empty()), PipeReader::of);
        let stderr = PipeReader::of(child.stderr.take().expect("stderr is a pipe"));
        Running {
            action: self,
            before,
            child: KillOnDrop(child),
            stdout,
            stderr,
            started,
            signalled: OnceCell::new(),
            ended: OnceCell::new(),
        }
    }

    /// Runs the step to its end.
    pub(crate) fn run(self) -> Finished {
        self.start().finish()
    }
}

/// Returns the path of the program. Cargo passes it to tests; an example takes it from the variable `BASTION_MIGRATE`
/// or from the parent of its own directory.
fn binary() -> PathBuf {
    let beside = || env::current_exe().ok()?.parent()?.parent().map(|target| target.join("bastion-migrate"));
    option_env!("CARGO_BIN_EXE_bastion-migrate")
        .map(PathBuf::from)
        .or_else(|| env::var_os("BASTION_MIGRATE").map(PathBuf::from))
        .or_else(beside)
        .expect("a program is in a directory")
}

/// Reads a pipe to its end in a thread of its own.
#[derive(Debug)]
struct PipeReader {
    text: Arc<Mutex<String>>,
    reader: JoinHandle<()>,
}

impl PipeReader {
    fn of(pipe: impl Read + Send + 'static) -> Self {
        let text = Arc::new(Mutex::new(String::new()));
        let sink = Arc::clone(&text);
        let read = move || {
            let (mut pipe, mut line) = (BufReader::new(pipe), Vec::new());
            while pipe.read_until(b'\n', &mut line).is_ok_and(|length| length > 0) {
                sink.lock().unwrap_or_else(PoisonError::into_inner).push_str(&String::from_utf8_lossy(&line));
                line.clear();
            }
        };
        Self { text, reader: thread::Builder::new().name("log".to_owned()).spawn(read).expect("a thread can start") }
    }

    fn text_so_far(&self) -> String {
        self.text.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn length_so_far(&self) -> usize {
        self.text.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    fn full_text(self) -> String {
        self.reader.join().expect("the reader does not panic");
        let text = self.text.lock().unwrap_or_else(PoisonError::into_inner);
        text.clone()
    }
}

/// Kills the step when its test fails.
#[derive(Debug)]
struct KillOnDrop(Child);

impl Drop for KillOnDrop {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// A running step.
#[must_use = "a step that runs must be finished"]
#[derive(Debug)]
pub(crate) struct Running<'a> {
    action: Action<'a>,
    before: HomeSnapshot,
    child: KillOnDrop,
    stdout: PipeReader,
    stderr: PipeReader,
    started: Instant,
    signalled: OnceCell<Instant>,
    ended: OnceCell<(ExitStatus, Duration)>,
}

impl Running<'_> {
    /// Returns the process id of the step.
    pub(crate) fn pid(&self) -> u32 {
        self.child.0.id()
    }

    /// Sends a signal, as the docker CLI forwards the runner's.
    pub(crate) fn signal(&self, signal: Signal) {
        self.signalled.get_or_init(Instant::now);
        kill_process(Pid::from_child(&self.child.0), signal).expect("the step still runs");
    }

    /// Waits until the log contains this text.
    pub(crate) fn wait_for_line(&self, text: &str, limit: Duration) {
        poll(limit, || self.log().contains(text).then_some(()))
            .unwrap_or_else(|| panic!("`{text}` is not in the log after {limit:?}:\n{}", self.log()));
    }

    /// Returns the peak memory of the step so far besides its code, in bytes.
    pub(crate) fn peak_memory(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.0.id())).expect("the step still runs");
        let figure = |name: &str| {
            let mut lines = status.lines();
            let kibibytes: Option<u64> =
                lines.find_map(|line| line.strip_prefix(name)?.trim().strip_suffix(" kB")?.parse().ok());
            1024 * kibibytes.expect("a process has memory")
        };
        figure("VmHWM:").saturating_sub(figure("RssFile:"))
    }

    /// Kills the step, as the runner does in the end, and returns its log; its traces are not checked.
    pub(crate) fn kill(mut self) -> String {
        self.child.0.kill().expect("the step can be killed");
        self.child.0.wait().expect("the step can be waited for");
        self.stdout.full_text()
    }

    /// Returns the log so far.
    pub(crate) fn log(&self) -> String {
        self.stdout.text_so_far()
    }

    /// Returns the exit status and the elapsed time if the step has ended.
    pub(crate) fn ended(&mut self) -> Option<(ExitStatus, Duration)> {
        if let Some(ended) = self.ended.get() {
            return Some(*ended);
        }
        let status = self.child.0.try_wait().expect("the step can be waited for")?;
        Some(*self.ended.get_or_init(|| (status, self.signalled.get().unwrap_or(&self.started).elapsed())))
    }

    /// Waits for the end, so that a test can inspect the servers before [`Self::finish`] checks them.
    pub(crate) fn wait(&mut self) -> (ExitStatus, Duration) {
        loop {
            let logged = self.stdout.length_so_far();
            poll(HANG_TIMEOUT, || (self.ended().is_some() || self.stdout.length_so_far() > logged).then_some(()));
            match self.ended() {
                Some(ended) => return ended,
                None if self.stdout.length_so_far() > logged && self.started.elapsed() < LONGEST_RUN => {}
                None => panic!("the step hangs:\n{}", self.log()),
            }
        }
    }

    /// Waits for the end, and until the servers have noticed it.
    pub(crate) fn finish(mut self) -> Finished {
        let (status, elapsed) = self.wait();
        let Action { lab, server, home, inputs, environment, secrets, expected_on_server } = self.action;
        let (log, stderr) = (self.stdout.full_text(), self.stderr.full_text());
        let file = |name: &str| fs::read_to_string(home.path().join(name)).expect("the command files stay");
        let (summary, raw_outputs) = (file("GITHUB_STEP_SUMMARY"), file("GITHUB_OUTPUT"));
        let read = Log::read(&log);
        // The log of a killed step is incomplete.
        let killed = status.signal().is_some();

        let mut wrong = if killed { Vec::new() } else { [read.errors.clone(), read.bad_manners.clone()].concat() };
        let surfaces =
            [("log", &read.without_masks), ("stderr", &stderr), ("outputs", &raw_outputs), ("summary", &summary)];
        for (surface, text) in surfaces {
            let leaks = secrets.iter().filter_map(|secret| leak::find_secret(text, secret));
            wrong.extend(leaks.map(|form| format!("a secret is in the {surface}: {form}")));
        }
        for name in ["GITHUB_ENV", "GITHUB_PATH"] {
            expect(&mut wrong, name, file(name).as_str(), "");
        }
        expect(&mut wrong, "stderr", stderr.as_str(), "");
        expect(&mut wrong, "left behind", lab.left_behind().as_str(), "");
        let on_server = server.map(|server| server.left_behind(&self.before)).unwrap_or_default();
        expect(&mut wrong, "left behind on the server", &on_server, &expected_on_server);
        let shown = inputs.get("summary").is_none_or(|value| value != "false")
            && !environment.contains_key("GITHUB_STEP_SUMMARY");
        if !killed {
            expect(&mut wrong, "there is a summary", &!summary.is_empty(), &shown);
        }
        expect(&mut wrong, "files left behind", &unexpected_files(home.path()), &Vec::new());
        let KeyValues { entries, malformed } = KeyValues::read(&raw_outputs);
        wrong.extend(malformed);
        let outputs = file::any_case(entries);
        Finished::from(StepResult { status, log, elapsed, outputs, summary, annotations: read.annotations, wrong })
    }
}

/// Returns the files in the step's temporary directory that the runner did not put there.
fn unexpected_files(home: &Path) -> Vec<String> {
    let entries = fs::read_dir(home).expect("the directory stays").flatten();
    let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
    names.filter(|name| !COMMAND_FILES.iter().chain(&["workspace", "event.json"]).any(|known| known == name)).collect()
}
