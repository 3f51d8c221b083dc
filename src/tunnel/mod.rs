//! `command: tunnel`: a container of our own image that goes on when this step has ended, and gives the following steps of the
//! job the way to the database at a port of the runner's machine. This is the side that starts it; `sidecar` is the other.

pub(crate) mod cleanup;
mod sidecar;
mod sidecar_message;

pub use sidecar::{Handover, Sidecar};
pub use sidecar_message::Tiding;

use crate::{
    docker::{Container, ContainerKind, ContainerSpec, ContainerStdin, FollowOutput, Labels, SelfContainer},
    fault::{Code, Fault, Stage},
    github::runner::Runner,
    random,
    run::{
        TunnelFacts,
        event::{Event, Events},
    },
    secret::Secret,
    settings::Settings,
    site::{Current, engine, run_name},
};
use sidecar::JOB;
use std::{
    cell::{Cell, RefCell},
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

/// Directories of the job that the runner mounts into an action and empties when the job ends, the newer one first.
const JOB_DIRECTORIES: [&str; 2] = ["/github/runner_temp", "/github/file_commands"];

/// With what the name begins by which another step of a job with its own network finds it. The rest tells it from every other
/// tunnel of the job.
const ALIAS: &str = "bastion-migrate-tunnel-";

/// Letters of the rest: with the beginning shorter than 64, as names of hosts have to be.
const ALIAS_REST: usize = 12;

/// No job is longer (GitHub: five days on a runner of one's own).
const LIFE: Duration = Duration::from_hours(5 * 24);

/// Where it ends for steps on the runner.
const HOST: &str = "127.0.0.1";

/// The tunnel that is being opened.
#[derive(Debug)]
pub struct Tunnel<'a> {
    settings: &'a Settings,
    runner: &'a Runner,
    events: Events,
    handover: &'a [(String, Secret)],
    tag: Labels,
    current: Current,
    opened: Cell<Opened>,
}

/// Whether the container may go on without us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Opened {
    NotYet,
    ForLaterSteps,
}

impl<'a> Tunnel<'a> {
    /// Nothing is asked yet. `handover` are the inputs, as the sidecar is told them.
    #[must_use]
    pub fn new(settings: &'a Settings, runner: &'a Runner, handover: &'a [(String, Secret)], events: Events) -> Self {
        Self {
            settings,
            runner,
            events,
            handover,
            tag: Labels::new(&run_name(runner), ContainerKind::Tunnel, LIFE),
            current: Current::default(),
            opened: Cell::new(Opened::NotYet),
        }
    }

    /// Starts the sidecar and waits until it has had an answer from the database.
    ///
    /// # Errors
    /// Its own faults, and those of the engine.
    pub async fn open(&mut self) -> Result<(), Fault> {
        let (engine, own) = engine(self.runner, &self.tag, &self.events).await?;
        let job = self.mark(&own)?;
        let port = self.settings.database()?.port;
        // Steps on the runner come from the engine's machine. In a network of the job its containers come, too; in the one that is
        // everybody's nobody else has any business here.
        let (alias, from) = match own.is_in_default_network() {
            true => (None, own.gateway),
            false => (Some(alias()), None),
        };
        let order = ContainerSpec {
            image: own.image.clone(),
            entrypoint: Some(vec!["/bastion-migrate-tunnel".to_owned()]),
            network: own.network.clone(),
            alias: alias.clone(),
            binds: job.iter().map(|(source, _)| format!("{source}:{JOB}:ro")).collect(),
            ports: vec![port],
            stdin: ContainerStdin::Once,
            ..ContainerSpec::default()
        };
        let container = self.current.make(&engine, order, &self.tag).await?;
        let handover = Handover {
            token: random::unguessable(),
            from,
            marker: job.map(|(_, marker)| marker),
            inputs: self.handover.iter().map(|(name, value)| (name.clone(), value.expose().to_owned())).collect(),
        };
        self.ready(&container, &handover).await?;
        let alias = alias.unwrap_or_default();
        let facts = TunnelFacts { host: HOST.to_owned(), port: container.published_port(port).await?, alias };
        self.events.note(match (facts.alias.as_str(), from) {
            ("", Some(_)) => {
                "what runs on this machine reaches it at the port that it got there, and no other container does"
                    .to_owned()
            }
            ("", None) => {
                "what runs on this machine reaches it, and every container in the engine's default network".to_owned()
            }
            (alias, _) => format!(
                "what runs on this machine reaches it, and what is in the network of this job, at {alias}:{port}"
            ),
        });
        self.opened.set(Opened::ForLaterSteps);
        self.events.tell(Event::Tunnel(facts));
        Ok(())
    }

    /// A file in the job's own directory, as (the directory's source, the file's name): when the job is gone, so is the file.
    fn mark(&self, own: &SelfContainer) -> Result<Option<(String, String)>, Fault> {
        let found = JOB_DIRECTORIES.iter().find_map(|place| Some((place, own.mount_source(Path::new(place))?)));
        let Some((place, source)) = found else { return Ok(None) };
        let name = marker(self.tag.run());
        fs::write(PathBuf::from(place).join(&name), "").map_err(|error| {
            Fault::new(Code::ReportUnwritten, format!("no file can be made in `{place}`"))
                .because(&error)
                .at(Stage::Image)
        })?;
        Ok(Some((source.to_owned(), name)))
    }

    async fn ready(&self, container: &Container, handover: &Handover) -> Result<(), Fault> {
        let failed = RefCell::new(None);
        let text = serde_json::to_vec(handover).unwrap_or_default();
        let heard = container.start_detached(&text, |line| {
            match line.trim_start().strip_prefix(&handover.token).map(Tiding::read) {
                Some(Some(Tiding::Ready)) => return FollowOutput::Stop,
                Some(Some(Tiding::Fault(fault))) => drop(failed.replace(Some(fault))),
                Some(Some(Tiding::Bastion(facts))) => self.events.tell(Event::Bastion(facts)),
                Some(Some(Tiding::Database(facts))) => self.events.tell(Event::Database(facts)),
                Some(None) => {}
                None => self.events.tell(Event::Output { line: line.to_owned() }),
            }
            FollowOutput::Continue
        });
        match (heard.await?, failed.into_inner()) {
            (FollowOutput::Stop, _) => Ok(()),
            (FollowOutput::Continue, Some(fault)) => Err(fault),
            (FollowOutput::Continue, None) => Err(Fault::new(Code::Bug, "the tunnel ended before it was ready")),
        }
    }

    /// Removes what was started, unless later steps have it.
    ///
    /// # Errors
    /// What could not be removed.
    pub async fn stop(&self) -> Result<(), Fault> {
        if self.opened.get() == Opened::ForLaterSteps {
            return Ok(());
        }
        forget(self.tag.run());
        self.current.remove().await
    }
}

/// Removes the marks of a run that is over; what is not there is removed.
pub(crate) fn forget(run: &str) {
    for place in JOB_DIRECTORIES {
        drop(fs::remove_file(PathBuf::from(place).join(marker(run))));
    }
}

fn alias() -> String {
    let rest: String = random::unguessable().chars().take(ALIAS_REST).collect();
    format!("{ALIAS}{rest}")
}

fn marker(run: &str) -> String {
    format!("bastion-migrate-{run}")
}
