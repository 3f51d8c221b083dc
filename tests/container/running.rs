//! A stage that runs: its log, its signals, its end.

use crate::{
    command_line::Container,
    engine,
    judge::{Finished, Left, expect},
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

/// A run that takes longer hangs.
const PATIENCE: Duration = Duration::from_secs(180);

/// From SIGINT to SIGTERM, and from there to SIGKILL (`ProcessInvoker.cs`).
const UNTIL_TERM: Duration = Duration::from_millis(7_500);
const UNTIL_KILL: Duration = Duration::from_millis(2_500);

/// How the step is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Conclusion {
    Succeeded,
    Failed,
    Cancelled,
}

impl Conclusion {
    /// The exit code of a step that was cancelled does not matter, and that of another is not enough.
    fn of(status: ExitStatus, errors: &[String], stopped: Option<Self>) -> Self {
        match stopped {
            Some(why) => why,
            None if status.success() && errors.is_empty() => Self::Succeeded,
            None => Self::Failed,
        }
    }
}

/// What becomes of the containers that the action has made, when its own has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Siblings {
    /// They are gone.
    Gone,
    /// It could do nothing any more, or later steps need them.
    LeftToThePostStage,
}

/// What a test may want to know of a stage beside what is judged.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) finished: Finished,
    pub(crate) conclusion: Conclusion,
    /// What a later stage of the step gets as `STATE_…`.
    pub(crate) state: Vec<(String, String)>,
    /// The log as the runner shows it.
    pub(crate) shown: String,
    /// What the step has asked the runner to hide.
    pub(crate) masks: Vec<String>,
    /// By which [`engine::siblings`] knows what the action has made.
    pub(crate) mark: String,
    /// The runner's directories, for a later stage.
    pub(crate) layout: Layout,
}

/// A stage that runs.
#[must_use = "a stage that runs must be finished"]
#[derive(Debug)]
pub(crate) struct Running<'a> {
    step: Step<'a>,
    cli: Leash,
    container: Container,
    guid: String,
    paths: Paths,
    output: Output,
    before: BTreeMap<String, String>,
    started: Instant,
    signalled: Option<Instant>,
    stopped: Option<Conclusion>,
}

impl<'a> Running<'a> {
    pub(crate) fn start(step: Step<'a>, mut docker: Command, container: Container, guid: String, paths: Paths) -> Self {
        // What an earlier stage has left for the following steps has to go.
        let lasting = |path: &String| !path.rsplit('/').next().is_some_and(|name| name.starts_with("bastion-migrate-"));
        let before = step.layout.picture().into_iter().filter(|(path, _)| lasting(path)).collect();
        let started = Instant::now();
        let mut child = docker.spawn().expect("the docker CLI is installed");
        let output = Output::of(&mut child);
        let label = container.label.clone();
        let cli = Leash { child, mark: engine::mark(&label), label, siblings: Siblings::Gone };
        Self { step, cli, container, guid, paths, output, before, started, signalled: None, stopped: None }
    }

    /// The docker CLI.
    pub(crate) fn cli(&self) -> u32 {
        self.cli.child.id()
    }

    /// The container's process, as the host sees it, once there is one.
    pub(crate) fn pid(&self) -> Option<u32> {
        let output = engine::ask(&["inspect", "--format", "{{.State.Pid}}", self.container()]);
        String::from_utf8_lossy(&output.stdout).trim().parse().ok().filter(|pid| *pid != 0)
    }

    /// What the engine calls the container.
    pub(crate) fn container(&self) -> &str {
        &self.container.name
    }

    /// Containers that the action has made and that are there now.
    pub(crate) fn siblings(&self) -> Vec<String> {
        engine::siblings(&self.cli.mark)
    }

    /// Whether the CLI has nothing more to say.
    pub(crate) fn ended(&self) -> bool {
        self.output.readers.iter().all(JoinHandle::is_finished)
    }

    /// Waits until the log has this text.
    pub(crate) fn wait_for_line(&self, text: &str) {
        self.wait_until(&format!("`{text}` in the log"), || self.output.so_far().contains(text).then_some(()));
    }

    /// Waits for this, which has to come before the step ends.
    pub(crate) fn wait_until<T>(&self, what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
        let come = poll(PATIENCE, || match (ask(), self.ended()) {
            (None, true) => Some(ask()),
            (None, false) => None,
            (come, _) => Some(come),
        });
        come.flatten().unwrap_or_else(|| panic!("waited in vain for {what}:\n{}", self.output.so_far()))
    }

    /// Sends one signal to the docker CLI, which hands it on.
    pub(crate) fn signal(&mut self, signal: Signal) {
        self.signalled.get_or_insert_with(Instant::now);
        kill_process(Pid::from_child(&self.cli.child), signal).expect("the CLI still runs");
    }

    /// The job is cancelled.
    pub(crate) fn cancel(self) -> Ended {
        self.stop(Conclusion::Cancelled)
    }

    /// The step has taken longer than its `timeout-minutes`: the same, but it counts as a failure.
    pub(crate) fn time_out(self) -> Ended {
        self.stop(Conclusion::Failed)
    }

    /// The action is killed where nothing can be done about it, as when the machine is short of memory.
    pub(crate) fn kill(mut self) -> Ended {
        self.cli.siblings = Siblings::LeftToThePostStage;
        poll(PATIENCE, || self.pid().or_else(|| self.ended().then_some(0)));
        // It may have ended by itself in this moment.
        drop(engine::ask(&["kill", "--signal", "KILL", self.container()]));
        self.finish()
    }

    /// Waits for the end of a stage that leaves something to the following steps.
    pub(crate) fn finish_for_later(mut self) -> Ended {
        self.cli.siblings = Siblings::LeftToThePostStage;
        self.finish()
    }

    /// The runner's whole sequence, as far as it is needed.
    fn stop(mut self, why: Conclusion) -> Ended {
        self.stopped = Some(why);
        for (signal, patience) in [(Signal::INT, UNTIL_TERM), (Signal::TERM, UNTIL_KILL), (Signal::KILL, PATIENCE)] {
            self.signal(signal);
            let ended = poll(patience, || self.cli.child.try_wait().expect("the CLI can be waited for"));
            if ended.is_some() {
                break;
            }
        }
        self.finish()
    }

    /// Waits for the end, processes what is left and looks at what should not be.
    pub(crate) fn finish(mut self) -> Ended {
        let Some(status) = poll(PATIENCE, || self.cli.child.try_wait().expect("the CLI can be waited for")) else {
            panic!("the step hangs:\n{}", self.output.so_far());
        };
        let elapsed = self.signalled.unwrap_or(self.started).elapsed();
        let (mut wrong, mark, siblings) = (self.cli.left(), self.cli.mark.clone(), self.cli.siblings);
        let Self { step, guid, paths, output, before, stopped, .. } = self;
        let text = output.whole();
        let mut masker = Masker::knowing(step.secrets.iter().map(String::as_str).chain(environment::secrets()));
        let log = Log::of(&text, &paths, &mut masker, step.job.debug);
        let read =
            |purpose| fs::read_to_string(step.layout.command_file(purpose, &guid)).expect("the command files stay");
        let processed = Processed::of(read, &masker);
        let errors = [log.errors.clone(), processed.errors.clone()].concat();
        let conclusion = Conclusion::of(status, &errors, stopped);
        wrong.extend([errors, log.bad_manners.clone(), processed.issues.clone()].concat());
        wrong.extend(leaks(&step, &log, read));
        let files = (&processed.path, &processed.env, read(Purpose::Artifacts) + &read(Purpose::ArtifactsList));
        expect(&mut wrong, "path, env and artifacts", &files, &(&Vec::new(), &Vec::new(), String::new()));
        expect(&mut wrong, "dropped by the job", &masker.job_outputs(&processed.outputs).1, &Vec::new());
        if siblings == Siblings::Gone {
            expect(&mut wrong, "the runner's directories", &step.layout.picture(), &before);
        }
        expect(&mut wrong, "left behind", step.database.left_behind().as_str(), "");
        let summary = match processed.summary {
            Summary::Shown(text) => text,
            Summary::Nothing | Summary::Aborted(_) => String::new(),
        };
        let (outputs, annotations) = (processed.outputs, log.annotations);
        let left = Left { status, log: text, elapsed, outputs, summary, annotations, wrong };
        let (shown, masks, layout) = (log.shown, log.masks, step.layout);
        Ended { finished: left.into(), conclusion, state: processed.state, shown, masks, mark, layout }
    }
}

/// Secrets in what the step has written, before the runner has hidden anything.
fn leaks(step: &Step<'_>, log: &Log, read: impl Fn(Purpose) -> String) -> Vec<String> {
    let properties = log.annotations.iter().flat_map(|annotation| annotation.properties.values().cloned());
    let mut surfaces = vec![("log".to_owned(), log.without_masks.clone())];
    surfaces.push(("annotations".to_owned(), properties.collect::<Vec<_>>().join("\n")));
    surfaces.extend(Purpose::ALL.map(|purpose| (format!("{purpose:?}"), read(purpose))));
    let secrets: Vec<&str> = step.secrets.iter().map(String::as_str).chain(environment::secrets()).collect();
    let found = |(surface, text): &(String, String)| {
        let forms = secrets.iter().filter_map(|secret| leak::found(text, secret));
        forms.map(|form| format!("a secret is in the {surface}: {form}")).collect::<Vec<_>>()
    };
    surfaces.iter().flat_map(found).collect()
}

/// What has come out of both pipes so far, in the order in which it came.
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

/// A test that fails leaves neither the CLI nor the container behind.
#[derive(Debug)]
struct Leash {
    child: Child,
    label: String,
    mark: String,
    siblings: Siblings,
}

impl Leash {
    /// Containers that are still there a moment after the end. The runner itself never removes one.
    fn left(&self) -> Vec<String> {
        poll(Duration::from_secs(3), || self.containers().is_empty().then_some(()));
        self.containers().into_iter().map(|id| format!("the container {id} is left")).collect()
    }

    fn containers(&self) -> Vec<String> {
        let filter = format!("label={}", self.label);
        let own = engine::docker(&["ps", "--all", "--quiet", "--filter", &filter]);
        let made = if self.siblings == Siblings::Gone { engine::siblings(&self.mark) } else { Vec::new() };
        own.lines().map(str::to_owned).chain(made).collect()
    }
}

impl Drop for Leash {
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
