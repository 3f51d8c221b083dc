//! One stage of a container action, started exactly as actions/runner starts it (`DockerCommandManager.cs`,
//! `ContainerActionHandler.cs`): one `docker run` whose values are in the environment of the docker CLI.
#![expect(clippy::disallowed_methods, reason = "starts the docker CLI, as the runner does")]

use crate::{
    ACTION,
    command_line::Container,
    engine,
    judge::Finished,
    layout::{Layout, Owner},
    network::{Database, PASSWORD},
    runner::{
        environment::{Job, REPOSITORY},
        event::Event,
        log::Debug,
        manifest::Manifest,
        paths::{Paths, Temp},
    },
    running::Running,
};
use std::{
    path::Path,
    process::{Command, Stdio},
};

/// What `${{ github.token }}` is in these jobs.
pub(crate) const TOKEN: &str = "ghs_0123456789abcdefghijklmnopqrstuvwxyz";

/// What the host has where the runner expects the engine's socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Socket {
    Present,
    /// There is none on the host, so the engine makes a directory of that name.
    Directory,
    Absent,
}

/// Whether the engine finds the runner's directories. A runner inside of a container, without the same mounts, talks of
/// directories that the engine does not have, and gets empty ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sources {
    Visible,
    Invisible,
}

/// One stage of a step, not started yet.
#[must_use = "a step does nothing until it is run"]
#[derive(Debug)]
pub(crate) struct Step<'a> {
    pub(crate) database: &'a Database,
    pub(crate) layout: Layout,
    pub(crate) job: Job,
    pub(crate) secrets: Vec<String>,
    image: &'static str,
    args: Vec<String>,
    entrypoint: Option<String>,
    network: Option<String>,
    temp: Temp,
    socket: Socket,
    sources: Sources,
}

impl<'a> Step<'a> {
    /// A step that knows no way to anything, and has an empty workspace.
    pub(crate) fn bare(database: &'a Database) -> Self {
        let Manifest { inputs, env, .. } = Manifest::with_token(TOKEN);
        Self {
            database,
            layout: Layout::new(),
            job: Job { action_env: env, ..Job::new(inputs) },
            secrets: vec![TOKEN.to_owned()],
            image: ACTION,
            args: Vec::new(),
            entrypoint: None,
            network: Some(database.network().public().to_owned()),
            temp: Temp::Mounted,
            socket: Socket::Present,
            sources: Sources::Visible,
        }
    }

    /// A step that knows the way through the network's bastion to this database.
    pub(crate) fn new(database: &'a Database) -> Self {
        let network = database.network();
        let step = Self::bare(database)
            .input("ssh-host", network.bastion_host())
            .input("ssh-known-hosts", network.known_hosts())
            .input("database-ca", network.ca())
            .secret("ssh-private-key", network.key())
            .secret("database-url", database.url());
        step.hides(PASSWORD)
    }

    /// A line of `with:`.
    pub(crate) fn input(mut self, name: &str, value: impl Into<String>) -> Self {
        self.job.inputs.insert(name.to_owned(), value.into());
        self
    }

    /// A line of `with:` whose value must not be seen anywhere.
    pub(crate) fn secret(mut self, name: &str, value: impl Into<String>) -> Self {
        let value = value.into();
        self.secrets.push(value.clone());
        self.input(name, value)
    }

    /// A part of a secret that must not be seen anywhere, either.
    pub(crate) fn hides(mut self, value: &str) -> Self {
        self.secrets.push(value.to_owned());
        self
    }

    /// A file that the checkout has put into the workspace.
    pub(crate) fn file(self, path: &str, content: impl AsRef<[u8]>) -> Self {
        self.layout.write(path, content.as_ref());
        self
    }

    /// A line of `env:`.
    pub(crate) fn env(mut self, name: &str, value: impl Into<String>) -> Self {
        self.job.env.insert(name.to_owned(), value.into());
        self
    }

    /// What started the workflow.
    pub(crate) fn on(mut self, event: Event) -> Self {
        self.job.event = event;
        self
    }

    /// The job runs with `ACTIONS_STEP_DEBUG`.
    pub(crate) fn with_debug_logging(mut self) -> Self {
        self.job.debug = Debug::On;
        self
    }

    /// GitHub itself is elsewhere.
    pub(crate) fn of_server(mut self, server_url: &str, api_url: &str) -> Self {
        (self.job.server_url, self.job.api_url) = (server_url.to_owned(), api_url.to_owned());
        self
    }

    /// What an earlier stage has saved.
    pub(crate) fn with_state(mut self, state: Vec<(String, String)>) -> Self {
        self.job.state = state;
        self
    }

    /// In the directories of an earlier stage.
    pub(crate) fn after(self, layout: Layout) -> Self {
        Self { layout, ..self }
    }

    /// The post stage of the step, whatever became of the main one.
    pub(crate) fn post(self) -> Self {
        let entrypoint = Manifest::with_token(TOKEN).post_entrypoint;
        assert!(entrypoint.is_some(), "action.yml has no post stage");
        Self { entrypoint, ..self }
    }

    /// Another image and what it runs, to see what a step is given.
    pub(crate) fn probe(mut self, image: &'static str, args: &[&str]) -> Self {
        (self.image, self.args) = (image, args.iter().map(|arg| (*arg).to_owned()).collect());
        self
    }

    /// Whose the command files are.
    pub(crate) fn command_files_of(self, owner: Owner) -> Self {
        Self { layout: self.layout.owned_by(owner), ..self }
    }

    /// Whether `RUNNER_TEMP` is mounted.
    pub(crate) fn temp(self, temp: Temp) -> Self {
        Self { temp, ..self }
    }

    pub(crate) fn socket(self, socket: Socket) -> Self {
        Self { socket, ..self }
    }

    pub(crate) fn sources(self, sources: Sources) -> Self {
        Self { sources, ..self }
    }

    /// In the network of the database, which is reached there without a bastion.
    pub(crate) fn beside_the_database(mut self) -> Self {
        for name in ["ssh-host", "ssh-known-hosts", "ssh-private-key"] {
            self.job.inputs.insert(name.to_owned(), String::new());
        }
        self.network = Some(self.database.network().private().to_owned());
        self
    }

    /// A job without `services:` and without `container:` has no network of its own.
    pub(crate) fn on_the_default_network(self) -> Self {
        Self { network: None, ..self }
    }

    /// Starts the stage.
    pub(crate) fn start(mut self) -> Running<'a> {
        let guid = self.layout.begin(self.job.event);
        let paths = Paths::of(&self.layout.work(), REPOSITORY, self.temp);
        let container = Container::new(self.image, self.entrypoint.clone());
        if self.job.inputs.get("image").is_some_and(|image| !image.is_empty()) {
            self = self.hands_over(&engine::mark(&container.label));
        }
        let environment = self.job.environment(&self.layout.work(), &guid, &paths);
        engine::image(self.image);
        let mut docker = Command::new("docker");
        docker.args(container.arguments(&environment, self.network.as_deref(), &self.mounts())).args(&self.args);
        // With what the image lacks, HOME among it, the CLI runs too: the runner does not tell them apart.
        docker.envs(&environment).current_dir(self.layout.workspace());
        docker.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Running::start(self, docker, container, guid, paths)
    }

    /// Runs the stage to its end.
    pub(crate) fn run(self) -> Finished {
        self.start().finish().finished
    }

    /// In the runner's order.
    fn mounts(&self) -> Vec<(String, &'static str)> {
        let temp = |name: &str| match self.sources {
            Sources::Visible => self.layout.temp(name),
            Sources::Invisible => self.layout.nowhere(&format!("temp/{name}")),
        };
        let workspace = match self.sources {
            Sources::Visible => self.layout.workspace(),
            Sources::Invisible => self.layout.nowhere("workspace"),
        };
        let socket = match self.socket {
            Socket::Present => Some(Path::new("/var/run/docker.sock").to_owned()),
            Socket::Directory => Some(self.layout.nowhere("docker.sock")),
            Socket::Absent => None,
        };
        let runner_temp = (self.temp == Temp::Mounted).then(|| temp(""));
        let all = [
            (socket, "/var/run/docker.sock"),
            (runner_temp, "/github/runner_temp"),
            (Some(temp("_github_home")), "/github/home"),
            (Some(temp("_github_workflow")), "/github/workflow"),
            (Some(temp("_runner_file_commands")), "/github/file_commands"),
            (Some(workspace), "/github/workspace"),
        ];
        let shown = |path: &Path| path.display().to_string().trim_end_matches('/').to_owned();
        all.into_iter().filter_map(|(host, inside)| Some((shown(&host?), inside))).collect()
    }
}
