//! `command: tunnel`: a container of our own image that keeps running when this step has ended, and lets the following
//! steps of the job reach the database at a port of the runner's machine. This is the side that starts it; `sidecar` is
//! the other.

pub(crate) mod cleanup;
mod sidecar_message;
mod sidecar_process;

pub use sidecar_message::SidecarMessage;
pub use sidecar_process::{Handover, Sidecar};

use crate::{
    docker::{Container, ContainerKind, ContainerSpec, ContainerStdin, ENGINE_SOCKET, Labels, SelfContainer},
    fault::{Code, Fault, Stage},
    github::runner::Runner,
    random,
    run::{
        TunnelFacts,
        event::{Event, Events},
        process::FollowOutput,
    },
    secret::Secret,
    settings::Settings,
    site::{CurrentContainer, connect_engine, unique_run_name},
};
use sidecar_process::JOB_MOUNT;
use std::{
    cell::{Cell, RefCell},
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

/// Directories of the job that the runner mounts into an action and empties when the job ends, the newer one first.
const JOB_DIRECTORIES: [&str; 2] = ["/github/runner_temp", "/github/file_commands"];

/// Prefix of the host name by which another step of a job with its own network finds the tunnel. The rest distinguishes
/// it from every other tunnel of the job.
const ALIAS_PREFIX: &str = "bastion-migrate-tunnel-";

/// Number of letters after the prefix; with it the name is shorter than 64, as host names have to be.
const ALIAS_RANDOM_LENGTH: usize = 12;

/// Lifetime of the container: no job is longer (GitHub: five days on a self-hosted runner).
const MAX_LIFETIME: Duration = Duration::from_hours(5 * 24);

/// Address of the tunnel for steps on the runner.
const RUNNER_HOST: &str = "127.0.0.1";

/// The tunnel, while it is being opened.
#[derive(Debug)]
pub struct JobTunnel<'a> {
    settings: &'a Settings,
    runner: &'a Runner,
    events: Events,
    handover: &'a [(String, Secret)],
    labels: Labels,
    current: CurrentContainer,
    state: Cell<TunnelState>,
}

/// The state of the tunnel's container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum TunnelState {
    Opening,
    Ready,
}

impl<'a> JobTunnel<'a> {
    /// Prepares the tunnel; does not contact the engine yet. `handover` are the inputs that the sidecar gets.
    #[must_use]
    pub fn new(settings: &'a Settings, runner: &'a Runner, handover: &'a [(String, Secret)], events: Events) -> Self {
        Self {
            settings,
            runner,
            events,
            handover,
            labels: Labels::new(&unique_run_name(runner), ContainerKind::Tunnel, MAX_LIFETIME),
            current: CurrentContainer::default(),
            state: Cell::new(TunnelState::Opening),
        }
    }

    /// Opens the tunnel, as the stage of the image: a fault of the sidecar has the stage in which it occurred there.
    ///
    /// # Errors
    /// The sidecar's faults, and those of the engine.
    pub async fn open(&self) -> Result<(), Fault> {
        self.events.emit(Event::StageStarted(Stage::Image));
        self.start_sidecar().await?;
        self.events.emit(Event::StageDone(Stage::Image));
        Ok(())
    }

    /// Starts the sidecar and waits until the database has responded to it.
    async fn start_sidecar(&self) -> Result<(), Fault> {
        let (engine, self_container) = connect_engine(self.runner, &self.labels, &self.events).await?;
        let job_marker = self.create_marker(&self_container)?;
        let port = self.settings.required_database()?.port;
        // Steps on the runner connect from the engine's machine. In the job's own network, its containers connect, too;
        // in the default network, which all containers share, no other container may connect.
        let (alias, client_address) = match self_container.is_in_default_network() {
            true => (None, self_container.gateway),
            false => (Some(random_alias()), None),
        };
        let marker_mount = job_marker.iter().map(|(source, _)| format!("{source}:{JOB_MOUNT}:ro"));
        let spec = ContainerSpec {
            image: self_container.image.clone(),
            entrypoint: Some(vec!["/bastion-migrate-tunnel".to_owned()]),
            network: self_container.network.clone(),
            alias: alias.clone(),
            binds: marker_mount.chain(self.engine_mount(&self_container)).collect(),
            ports: vec![port],
            stdin: ContainerStdin::Once,
            ..ContainerSpec::default()
        };
        let container = self.current.create(&engine, spec, &self.labels).await?;
        let handover = Handover {
            token: random::random_token(),
            from: client_address,
            marker: job_marker.map(|(_, marker)| marker),
            inputs: self.handover.iter().map(|(name, value)| (name.clone(), value.expose().to_owned())).collect(),
        };
        self.wait_until_ready(&container, &handover).await?;
        let alias = alias.unwrap_or_default();
        let facts = TunnelFacts { host: RUNNER_HOST.to_owned(), port: container.published_port(port).await?, alias };
        self.events.emit_note(match (facts.alias.as_str(), client_address) {
            ("", Some(_)) => {
                "processes on this machine can reach it at the published port, and no other container can".to_owned()
            }
            ("", None) => {
                "processes on this machine can reach it, and every container in the engine's default network".to_owned()
            }
            (alias, _) => format!(
                "processes on this machine can reach it, and containers in the network of this job, at {alias}:{port}"
            ),
        });
        self.state.set(TunnelState::Ready);
        self.events.emit(Event::Tunnel(facts));
        Ok(())
    }

    /// Returns the mount of the engine's socket, for a way in or a log-in that needs a container of its own: the sidecar is
    /// our own program, which starts it as this process would.
    fn engine_mount(&self, self_container: &SelfContainer) -> Option<String> {
        let source = self_container.mount_source(Path::new(ENGINE_SOCKET)).unwrap_or(ENGINE_SOCKET);
        let database = self.settings.database.as_ref();
        let login = database.and_then(|database| database.identity.token.as_ref());
        let needs_engine = self.settings.way.needs_engine() || login.is_some_and(|login| login.needs_engine());
        needs_engine.then(|| format!("{source}:{ENGINE_SOCKET}"))
    }

    /// Creates a file in the job's own directory, which is removed with the job. Returns the source of the directory's
    /// mount and the name of the file.
    fn create_marker(&self, self_container: &SelfContainer) -> Result<Option<(String, String)>, Fault> {
        let found = JOB_DIRECTORIES
            .iter()
            .find_map(|directory| Some((directory, self_container.mount_source(Path::new(directory))?)));
        let Some((directory, source)) = found else { return Ok(None) };
        let name = marker_name(self.labels.run());
        fs::write(PathBuf::from(directory).join(&name), "").map_err(|error| {
            Fault::new(Code::ReportUnwritten, format!("no file can be created in `{directory}`"))
                .with_causes(&error)
                .in_stage(Stage::Image)
        })?;
        Ok(Some((source.to_owned(), name)))
    }

    async fn wait_until_ready(&self, container: &Container, handover: &Handover) -> Result<(), Fault> {
        let failed = RefCell::new(None);
        let text = serde_json::to_vec(handover).unwrap_or_default();
        let following = container.start_detached(&text, |line| {
            match line.trim_start().strip_prefix(&handover.token).map(SidecarMessage::parse) {
                Some(Some(SidecarMessage::Ready)) => return FollowOutput::Stop,
                Some(Some(SidecarMessage::Fault(fault))) => drop(failed.replace(Some(fault))),
                Some(Some(SidecarMessage::Bastion(facts))) => self.events.emit(Event::Bastion(facts)),
                Some(Some(SidecarMessage::Database(facts))) => self.events.emit(Event::Database(facts)),
                Some(None) => {}
                None => self.events.emit(Event::Output { line: line.to_owned() }),
            }
            FollowOutput::Continue
        });
        match (following.await?, failed.into_inner()) {
            (FollowOutput::Stop, _) => Ok(()),
            (FollowOutput::Continue, Some(fault)) => Err(fault),
            // Our own program reports why it ends, unless it is killed.
            (FollowOutput::Continue, None) => {
                let fault =
                    Fault::new(Code::EngineFailed, "the tunnel's container was killed before the tunnel was open");
                Err(fault.fix("find out who stopped it (`docker events`), or whether the machine has run out of memory; then run the job again"))
            }
        }
    }

    /// Removes the container, unless it is ready for later steps.
    ///
    /// # Errors
    /// The engine's fault.
    pub async fn stop_unless_ready(&self) -> Result<(), Fault> {
        if self.state.get() == TunnelState::Ready {
            return Ok(());
        }
        remove_markers(self.labels.run());
        self.current.remove().await
    }
}

/// Removes the marker files of a run that has ended, if there are any.
pub(crate) fn remove_markers(run: &str) {
    for directory in JOB_DIRECTORIES {
        drop(fs::remove_file(PathBuf::from(directory).join(marker_name(run))));
    }
}

fn random_alias() -> String {
    let rest: String = random::random_token().chars().take(ALIAS_RANDOM_LENGTH).collect();
    format!("{ALIAS_PREFIX}{rest}")
}

fn marker_name(run: &str) -> String {
    format!("bastion-migrate-{run}")
}
