//! A stage of a container action, started exactly as actions/runner starts it (`DockerCommandManager.cs`,
//! `ContainerActionHandler.cs`): one `docker run` whose values are in the environment of the docker CLI.
#![expect(clippy::disallowed_methods, reason = "starts the docker CLI, as the runner does")]

use crate::{
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
    sync::LazyLock,
};

/// The image that action.yml names, as that of a release does; else the one that `make image` builds from its Dockerfile.
pub(crate) static ACTION: LazyLock<String> =
    LazyLock::new(|| Manifest::with_token("").image.unwrap_or_else(|| "bastion-migrate:dev".to_owned()));

/// The value of `${{ github.token }}` in these jobs.
pub(crate) const TOKEN: &str = "ghs_0123456789abcdefghijklmnopqrstuvwxyz";

/// State of the engine's socket on the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Socket {
    Present,
    /// The host has none, so the engine creates a directory of that name for the mount.
    Directory,
    Absent,
}

/// Visibility of the runner's directories to the engine. A runner in a container without the same mounts names
/// directories that do not exist on the engine's host, and gets empty ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sources {
    Visible,
    Invisible,
}

/// A stage of a step, not started yet.
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
    /// A step without inputs for bastion or database, and with an empty workspace.
    pub(crate) fn bare(database: &'a Database) -> Self {
        let Manifest { inputs, env, entrypoint, .. } = Manifest::with_token(TOKEN);
        Self {
            database,
            layout: Layout::new(),
            job: Job { action_env: env, ..Job::new(inputs) },
            secrets: vec![TOKEN.to_owned()],
            image: &ACTION,
            args: Vec::new(),
            entrypoint,
            network: Some(database.network().public().to_owned()),
            temp: Temp::Mounted,
            socket: Socket::Present,
            sources: Sources::Visible,
        }
    }

    /// A step with the inputs to reach this database through the network's bastion.
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

    /// Sets an input, as a line of `with:` does.
    pub(crate) fn input(mut self, name: &str, value: impl Into<String>) -> Self {
        self.job.inputs.insert(name.to_owned(), value.into());
        self
    }

    /// Sets an input whose value must not appear anywhere.
    pub(crate) fn secret(mut self, name: &str, value: impl Into<String>) -> Self {
        let value = value.into();
        self.secrets.push(value.clone());
        self.input(name, value)
    }

    /// Adds another text that must not appear anywhere, such as a part of a secret.
    pub(crate) fn hides(mut self, value: &str) -> Self {
        self.secrets.push(value.to_owned());
        self
    }

    /// Adds a file to the workspace, as a checkout does.
    pub(crate) fn file(self, path: &str, content: impl AsRef<[u8]>) -> Self {
        self.layout.write(path, content.as_ref());
        self
    }

    /// Sets a variable, as a line of `env:` does.
    pub(crate) fn env(mut self, name: &str, value: impl Into<String>) -> Self {
        self.job.env.insert(name.to_owned(), value.into());
        self
    }

    /// Sets the event that started the workflow.
    pub(crate) fn on(mut self, event: Event) -> Self {
        self.job.event = event;
        self
    }

    /// Enables debug logging, as `ACTIONS_STEP_DEBUG` does.
    pub(crate) fn with_debug_logging(mut self) -> Self {
        self.job.debug = Debug::On;
        self
    }

    /// Sets the URLs of another GitHub server.
    pub(crate) fn of_server(mut self, server_url: &str, api_url: &str) -> Self {
        (self.job.server_url, self.job.api_url) = (server_url.to_owned(), api_url.to_owned());
        self
    }

    /// Sets the state that an earlier stage has saved.
    pub(crate) fn with_state(mut self, state: Vec<(String, String)>) -> Self {
        self.job.state = state;
        self
    }

    /// Uses the directories of an earlier stage.
    pub(crate) fn after(self, layout: Layout) -> Self {
        Self { layout, ..self }
    }

    /// Turns this into the post stage of the step.
    pub(crate) fn post(self) -> Self {
        let entrypoint = Manifest::with_token(TOKEN).post_entrypoint;
        assert!(entrypoint.is_some(), "action.yml has no post stage");
        Self { entrypoint, ..self }
    }

    /// Runs another image with these arguments, by its own entrypoint, to see what a step receives.
    pub(crate) fn probe(mut self, image: &'static str, args: &[&str]) -> Self {
        self.entrypoint = None;
        (self.image, self.args) = (image, args.iter().map(|arg| (*arg).to_owned()).collect());
        self
    }

    /// Sets the owner of the command files.
    pub(crate) fn command_files_of(self, owner: Owner) -> Self {
        Self { layout: self.layout.owned_by(owner), ..self }
    }

    /// Sets whether `RUNNER_TEMP` is mounted.
    pub(crate) fn temp(self, temp: Temp) -> Self {
        Self { temp, ..self }
    }

    pub(crate) fn socket(self, socket: Socket) -> Self {
        Self { socket, ..self }
    }

    pub(crate) fn sources(self, sources: Sources) -> Self {
        Self { sources, ..self }
    }

    /// Runs in the database's network, where it is reached without a bastion.
    pub(crate) fn beside_the_database(mut self) -> Self {
        for name in ["ssh-host", "ssh-known-hosts", "ssh-private-key"] {
            self.job.inputs.insert(name.to_owned(), String::new());
        }
        self.network = Some(self.database.network().private().to_owned());
        self
    }

    /// Runs in the default network, as a job without `services:` and `container:` does.
    pub(crate) fn on_the_default_network(self) -> Self {
        Self { network: None, ..self }
    }

    /// Starts the stage.
    pub(crate) fn start(mut self) -> Running<'a> {
        let guid = self.layout.begin(self.job.event);
        let paths = Paths::of(&self.layout.work(), REPOSITORY, self.temp);
        let container = Container::new(self.image, self.entrypoint.clone());
        let has_siblings = |name: &&str| self.job.inputs.get(*name).is_some_and(|value| !value.is_empty());
        if ["image", "backup"].iter().any(has_siblings) {
            self = self.pass_variable(&engine::marker(&container.label));
        }
        let environment = self.job.environment(&self.layout.work(), &guid, &paths);
        engine::image(self.image);
        let mut docker = Command::new("docker");
        docker.args(container.arguments(&environment, self.network.as_deref(), &self.mounts())).args(&self.args);
        // The CLI itself runs with the container's variables, HOME among them, as under the runner.
        docker.envs(&environment).current_dir(self.layout.workspace());
        docker.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Running::start(self, docker, container, guid, paths)
    }

    /// Runs the stage to its end.
    pub(crate) fn run(self) -> Finished {
        self.start().finish().finished
    }

    /// Lists the mounts in the runner's order.
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
