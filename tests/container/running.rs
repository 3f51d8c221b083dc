//! A running stage: its log, its signals and its end.

use crate::{
    command_line::Container,
    engine,
    judge::{Finished, StepResult, expect},
    layout::Layout,
    leak,
    process::poll,
    runner::{
        Log, environment,
        file::{Processed, Purpose},
        mask::Masker,
        paths::Paths,
        summary::Summary,
    },
    step::Step,
};
use rustix::process::{Pid, Signal, kill_process};
use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead as _, BufReader, Read},
    process::{Child, Command, ExitStatus},
    sync::{Arc, Mutex, PoisonError},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

/// A stage that takes longer than this hangs.
const PATIENCE: Duration = Duration::from_secs(180);

/// Time from SIGINT to SIGTERM, and from SIGTERM to SIGKILL (`ProcessInvoker.cs`).
const UNTIL_TERM: Duration = Duration::from_millis(7_500);
const UNTIL_KILL: Duration = Duration::from_millis(2_500);

/// The step's conclusion on GitHub's page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Conclusion {
    Succeeded,
    Failed,
    Cancelled,
}

impl Conclusion {
    /// Decides the conclusion. The exit code of a cancelled step does not matter; exit code 0 is not enough if a
    /// command failed.
    fn of(status: ExitStatus, errors: &[String], stopped: Option<Self>) -> Self {
        match stopped {
            Some(conclusion) => conclusion,
            None if status.success() && errors.is_empty() => Self::Succeeded,
            None => Self::Failed,
        }
    }
}

/// The expected state of the action's sibling containers after its own has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ExpectedSiblings {
    /// All are removed.
    Removed,
    /// They may still exist: the action was killed, or later steps need them.
    MayRemain,
}

/// The files in the runner's directories after a stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ExpectedFiles {
    /// The same as before.
    Unchanged,
    /// New ones in the workspace.
    New,
}

/// The part of a stage that is judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Judged {
    Everything,
    /// Not the sessions in the database, where a command on a server goes on.
    AllButSessions,
    /// Only that no secret got out: a killed stage has tidied up nothing.
    Secrets,
}

/// The result of a stage: what is judged, and further facts for tests.
#[derive(Debug)]
pub(crate) struct EndedStage {
    pub(crate) finished: Finished,
    pub(crate) conclusion: Conclusion,
    /// The saved state, which a later stage of the step gets as `STATE_…`.
    pub(crate) state: Vec<(String, String)>,
    /// The log as the runner displays it.
    pub(crate) shown: String,
    /// The values that the step has asked the runner to mask.
    pub(crate) masks: Vec<String>,
    /// The marker by which [`engine::siblings`] finds the action's containers.
    pub(crate) marker: String,
    /// The runner's directories, for a later stage.
    pub(crate) layout: Layout,
}

/// A running stage.
#[must_use = "a running stage must be finished"]
#[derive(Debug)]
pub(crate) struct Running<'a> {
    step: Step<'a>,
    cli: CliProcess,
    container: Container,
    guid: String,
    paths: Paths,
    output: Output,
    before: BTreeMap<String, String>,
    started: Instant,
    signalled: Option<Instant>,
    stopped: Option<Conclusion>,
    files: ExpectedFiles,
    judged: Judged,
}

impl<'a> Running<'a> {
    pub(crate) fn start(step: Step<'a>, mut docker: Command, container: Container, guid: String, paths: Paths) -> Self {
        // Files that an earlier stage left for the following steps must be removed by the end.
        let lasting = |path: &String| !path.rsplit('/').next().is_some_and(|name| name.starts_with("bastion-migrate-"));
        let before = step.layout.snapshot().into_iter().filter(|(path, _)| lasting(path)).collect();
        let started = Instant::now();
        let mut child = docker.spawn().expect("the docker CLI is installed");
        let output = Output::of(&mut child);
        let label = container.label.clone();
        let cli = CliProcess { child, marker: engine::marker(&label), label, siblings: ExpectedSiblings::Removed };
        Self {
            step,
            cli,
            container,
            guid,
            paths,
            output,
            before,
            started,
            signalled: None,
            stopped: None,
            files: ExpectedFiles::Unchanged,
            judged: Judged::Everything,
        }
    }

    /// Returns the pid of the docker CLI.
    pub(crate) fn cli(&self) -> u32 {
        self.cli.child.id()
    }

    /// Returns the pid of the container's process on the host, once it runs.
    pub(crate) fn pid(&self) -> Option<u32> {
        let output = engine::try_docker(&["inspect", "--format", "{{.State.Pid}}", self.container()]);
        String::from_utf8_lossy(&output.stdout).trim().parse().ok().filter(|pid| *pid != 0)
    }

    /// Returns the container's name.
    pub(crate) fn container(&self) -> &str {
        &self.container.name
    }

    /// Lists the containers that the action has created and that still exist.
    pub(crate) fn siblings(&self) -> Vec<String> {
        engine::siblings(&self.cli.marker)
    }

    /// Returns the log so far.
    pub(crate) fn log(&self) -> String {
        self.output.so_far()
    }

    /// Returns whether the CLI has closed its output.
    pub(crate) fn ended(&self) -> bool {
        self.output.readers.iter().all(JoinHandle::is_finished)
    }

    /// Waits until the log contains this text.
    pub(crate) fn wait_for_line(&self, text: &str) {
        self.wait_until(&format!("`{text}` in the log"), || self.output.so_far().contains(text).then_some(()));
    }

    /// Waits until `check` returns a value, which has to happen before the step ends.
    pub(crate) fn wait_until<T>(&self, what: &str, mut check: impl FnMut() -> Option<T>) -> T {
        let found = poll(PATIENCE, || match (check(), self.ended()) {
            (None, true) => Some(check()),
            (None, false) => None,
            (found, _) => Some(found),
        });
        found.flatten().unwrap_or_else(|| panic!("waited in vain for {what}:\n{}", self.output.so_far()))
    }

    /// Sends one signal to the docker CLI, which forwards it.
    pub(crate) fn signal(&mut self, signal: Signal) {
        self.signalled.get_or_insert_with(Instant::now);
        kill_process(Pid::from_child(&self.cli.child), signal).expect("the CLI still runs");
    }

    /// Cancels the job.
    pub(crate) fn cancel(self) -> EndedStage {
        self.stop(Conclusion::Cancelled)
    }

    /// Ends the step as if it had exceeded its `timeout-minutes`: the same signals, but the step fails.
    pub(crate) fn time_out(self) -> EndedStage {
        self.stop(Conclusion::Failed)
    }

    /// Kills the action's container with SIGKILL, as a machine short of memory does.
    pub(crate) fn kill(mut self) -> EndedStage {
        self.cli.siblings = ExpectedSiblings::MayRemain;
        poll(PATIENCE, || self.pid().or_else(|| self.ended().then_some(0)));
        // It may have ended by itself in the meantime.
        drop(engine::try_docker(&["kill", "--signal", "KILL", self.container()]));
        self.finish()
    }

    /// Waits for the end of a stage that leaves containers to the following steps.
    pub(crate) fn finish_for_later(self) -> EndedStage {
        self.leaving_containers().finish()
    }

    /// Allows the stage to leave containers to the following steps.
    pub(crate) fn leaving_containers(mut self) -> Self {
        self.cli.siblings = ExpectedSiblings::MayRemain;
        self
    }

    /// Waits for the end of a step that leaves files in the workspace on purpose, such as a backup.
    pub(crate) fn finish_with_files(self) -> EndedStage {
        self.leaving_files().finish()
    }

    /// Allows the stage to leave files in the workspace.
    pub(crate) fn leaving_files(mut self) -> Self {
        self.files = ExpectedFiles::New;
        self
    }

    /// Waits for the end of a stage that was killed, of whose traces only secrets are a problem.
    pub(crate) fn finish_killed(mut self) -> EndedStage {
        (self.cli.siblings, self.judged) = (ExpectedSiblings::MayRemain, Judged::Secrets);
        self.finish()
    }

    /// Waits for the end of a stage during which the command of a killed one may go on.
    pub(crate) fn finish_beside_a_command(mut self) -> EndedStage {
        self.judged = Judged::AllButSessions;
        self.finish()
    }

    /// Sends the runner's sequence of signals until the CLI ends.
    fn stop(mut self, conclusion: Conclusion) -> EndedStage {
        self.stopped = Some(conclusion);
        for (signal, patience) in [(Signal::INT, UNTIL_TERM), (Signal::TERM, UNTIL_KILL), (Signal::KILL, PATIENCE)] {
            self.signal(signal);
            let ended = poll(patience, || self.cli.child.try_wait().expect("the CLI can be waited for"));
            if ended.is_some() {
                break;
            }
        }
        self.finish()
    }

    /// Waits for the end, processes the command files and collects everything that is wrong.
    pub(crate) fn finish(mut self) -> EndedStage {
        let Some(status) = poll(PATIENCE, || self.cli.child.try_wait().expect("the CLI can be waited for")) else {
            panic!("the step hangs:\n{}", self.output.so_far());
        };
        let elapsed = self.signalled.unwrap_or(self.started).elapsed();
        let (left, marker, siblings, files_expected) =
            (self.cli.remaining_containers(), self.cli.marker.clone(), self.cli.siblings, self.files);
        let Self { step, guid, paths, output, before, stopped, judged, .. } = self;
        let text = output.whole();
        let mut masker = Masker::with_secrets(step.secrets.iter().map(String::as_str).chain(environment::secrets()));
        let log = Log::of(&text, &paths, &mut masker, step.job.debug);
        let read =
            |purpose| fs::read_to_string(step.layout.command_file(purpose, &guid)).expect("the command files stay");
        let processed = Processed::of(read, &masker);
        let errors = [log.errors.clone(), processed.errors.clone()].concat();
        let conclusion = Conclusion::of(status, &errors, stopped);
        let leaks = leaks(&step, &log, read);
        let mut wrong = [errors, log.bad_manners.clone(), processed.issues.clone()].concat();
        let files = (&processed.path, &processed.env, read(Purpose::Artifacts) + &read(Purpose::ArtifactsList));
        expect(&mut wrong, "path, env and artifacts", &files, &(&Vec::new(), &Vec::new(), String::new()));
        expect(&mut wrong, "dropped by the job", &masker.job_outputs(&processed.outputs).1, &Vec::new());
        if siblings == ExpectedSiblings::Removed && files_expected == ExpectedFiles::Unchanged {
            expect(&mut wrong, "the runner's directories", &step.layout.snapshot(), &before);
        }
        if judged == Judged::Everything {
            expect(&mut wrong, "left behind", step.database.left_behind().as_str(), "");
        }
        if judged == Judged::Secrets {
            wrong.clear();
        }
        wrong.extend([left, leaks].concat());
        let summary = match processed.summary {
            Summary::Shown(text) => text,
            Summary::Nothing | Summary::Aborted(_) => String::new(),
        };
        let (outputs, annotations) = (processed.outputs, log.annotations);
        let result = StepResult { status, log: text, elapsed, outputs, summary, annotations, wrong };
        let (shown, masks, layout) = (log.shown, log.masks, step.layout);
        EndedStage { finished: result.into(), conclusion, state: processed.state, shown, masks, marker, layout }
    }
}

/// Finds secrets in the step's output, before the runner has masked anything.
fn leaks(step: &Step<'_>, log: &Log, read: impl Fn(Purpose) -> String) -> Vec<String> {
    let properties = log.annotations.iter().flat_map(|annotation| annotation.properties.values().cloned());
    let mut surfaces = vec![("log".to_owned(), log.without_masks.clone())];
    surfaces.push(("annotations".to_owned(), properties.collect::<Vec<_>>().join("\n")));
    surfaces.extend(Purpose::ALL.map(|purpose| (format!("{purpose:?}"), read(purpose))));
    let secrets: Vec<&str> = step.secrets.iter().map(String::as_str).chain(environment::secrets()).collect();
    let found = |(surface, text): &(String, String)| {
        let forms = secrets.iter().filter_map(|secret| leak::find_secret(text, secret));
        forms.map(|form| format!("a secret is in the {surface}: {form}")).collect::<Vec<_>>()
    };
    surfaces.iter().flat_map(found).collect()
}

/// The output of both pipes so far, in order of arrival.
#[derive(Debug)]
struct Output {
    text: Arc<Mutex<String>>,
    readers: Vec<JoinHandle<()>>,
}

impl Output {
    fn of(child: &mut Child) -> Self {
        let text = Arc::new(Mutex::new(String::new()));
        let stdout = child.stdout.take().expect("stdout is a pipe");
        let stderr = child.stderr.take().expect("stderr is a pipe");
        let readers = vec![reader(stdout, &text), reader(stderr, &text)];
        Self { text, readers }
    }

    fn so_far(&self) -> String {
        self.text.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn whole(self) -> String {
        self.readers.into_iter().for_each(|reader| reader.join().expect("the reader does not panic"));
        self.text.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn reader(pipe: impl Read + Send + 'static, text: &Arc<Mutex<String>>) -> JoinHandle<()> {
    let text = Arc::clone(text);
    let read = move || {
        let (mut pipe, mut line) = (BufReader::new(pipe), Vec::new());
        while pipe.read_until(b'\n', &mut line).is_ok_and(|length| length > 0) {
            text.lock().unwrap_or_else(PoisonError::into_inner).push_str(&String::from_utf8_lossy(&line));
            line.clear();
        }
    };
    thread::Builder::new().name("log".to_owned()).spawn(read).expect("a thread can start")
}

/// The docker CLI's process. When dropped, it kills the CLI and removes the containers, so that a failed test leaves
/// neither.
#[derive(Debug)]
struct CliProcess {
    child: Child,
    label: String,
    marker: String,
    siblings: ExpectedSiblings,
}

impl CliProcess {
    /// Lists containers that still exist a moment after the end. The runner itself never removes one.
    fn remaining_containers(&self) -> Vec<String> {
        poll(Duration::from_secs(3), || self.containers().is_empty().then_some(()));
        self.containers().into_iter().map(|id| format!("the container {id} is left")).collect()
    }

    fn containers(&self) -> Vec<String> {
        let filter = format!("label={}", self.label);
        let own = engine::docker(&["ps", "--all", "--quiet", "--filter", &filter]);
        let created =
            if self.siblings == ExpectedSiblings::Removed { engine::siblings(&self.marker) } else { Vec::new() };
        own.lines().map(str::to_owned).chain(created).collect()
    }
}

impl Drop for CliProcess {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
        for id in self.containers() {
            engine::docker(&["rm", "--force", "--volumes", &id]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::ExitStatusExt as _;

    #[test]
    fn a_step_succeeds_with_exit_0_and_no_failed_command_unless_it_was_cancelled() {
        let exit = |code: i32| ExitStatus::from_raw(code << 8);
        let failed = ["a command failed".to_owned()];
        assert_eq!(Conclusion::of(exit(0), &[], None), Conclusion::Succeeded);
        assert_eq!(Conclusion::of(exit(0), &failed, None), Conclusion::Failed);
        assert_eq!(Conclusion::of(exit(130), &[], None), Conclusion::Failed);
        assert_eq!(Conclusion::of(exit(0), &[], Some(Conclusion::Cancelled)), Conclusion::Cancelled);
        assert_eq!(Conclusion::of(exit(0), &failed, Some(Conclusion::Failed)), Conclusion::Failed);
    }
}
