//! One container: made, run to its end, removed.

use super::{
    Engine, Tag,
    client::{said, status, trouble},
};
use crate::{
    fault::{Code, Fault},
    run::{
        event::Usage,
        program::{Lines, Output, Status},
    },
};
use bollard::{
    container::LogOutput,
    errors::Error,
    models::{
        ContainerCreateBody, ContainerStatsResponse, EndpointSettings, HostConfig, NetworkingConfig, PortBinding,
    },
    query_parameters::{
        AttachContainerOptionsBuilder, CreateContainerOptionsBuilder, RemoveContainerOptionsBuilder,
        StatsOptionsBuilder, StopContainerOptionsBuilder,
    },
};
use futures_util::{
    StreamExt as _,
    future::{Either, select},
};
use std::{cell::Cell, collections::HashMap, convert::Infallible, pin::pin, time::Duration};
use tokio::time::sleep;

/// What a container is made of.
#[derive(Debug, Clone, Default)]
pub struct Order {
    /// The image's id or reference.
    pub image: String,
    /// In place of the image's own entrypoint.
    pub entrypoint: Option<Vec<String>>,
    /// In place of the image's own command; its entrypoint stays.
    pub command: Option<Vec<String>>,
    /// Environment variables. The only place for secrets: who may read it, the engine's owner, has them anyway.
    pub env: Vec<(String, String)>,
    /// As in `container:<id>`.
    pub network: Option<String>,
    /// What others in a network of the user's call it.
    pub alias: Option<String>,
    /// `source:place:mode`, sources as the engine knows them.
    pub binds: Vec<String>,
    /// The directory that it begins in, if not the image's own.
    pub working_directory: Option<String>,
    /// Bytes.
    pub memory: Option<i64>,
    /// Files that are put into it before it begins, as (absolute path, content). Readable by everybody in it.
    pub files: Vec<(String, Vec<u8>)>,
    /// Ports of the container, published on the loopback of the engine's host at a free port.
    pub ports: Vec<u16>,
    /// Whether something will be written to its standard input.
    pub input: Input,
}

/// The standard input of a container.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Input {
    /// There is none.
    #[default]
    None,
    /// One writer, and then its end.
    Once,
}

/// The end of a container, and what it took.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ended {
    /// How.
    pub status: Status,
    /// What it used.
    pub usage: Usage,
}

/// A handle to a container that exists. Dropping it leaves it to the sweep: nothing can be waited for in a `Drop`.
#[derive(Debug, Clone)]
pub struct Container {
    pub(super) engine: Engine,
    id: String,
}

/// The interval between two looks at what a container uses.
const MEASURE: Duration = Duration::from_millis(250);

impl Container {
    /// Makes it; nothing runs yet.
    ///
    /// # Errors
    /// `engine-failed`, in the engine's words.
    pub async fn create(engine: &Engine, order: &Order, tag: &Tag) -> Result<Self, Fault> {
        let options = CreateContainerOptionsBuilder::new().build();
        let made = engine.docker.create_container(Some(options), body(order, tag)).await;
        let id = made.map_err(|error| trouble("the engine did not make the container", &error))?.id;
        let container = Self { engine: engine.clone(), id };
        if let Err(fault) = container.put(&order.files).await {
            container.remove().await?;
            return Err(fault);
        }
        Ok(container)
    }

    /// One that somebody else has made.
    pub(super) fn known(engine: &Engine, id: &str) -> Self {
        Self { engine: engine.clone(), id: id.to_owned() }
    }

    /// The engine's id of it.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    async fn put(&self, files: &[(String, Vec<u8>)]) -> Result<(), Fault> {
        if files.is_empty() {
            return Ok(());
        }
        let options = bollard::query_parameters::UploadToContainerOptionsBuilder::new().path("/").build();
        let archive = super::archive::of(files);
        let put =
            self.engine.docker.upload_to_container(&self.id, Some(options), bollard::body_full(archive.into())).await;
        put.map_err(|error| trouble("a file could not be put into the container", &error))
    }

    /// Runs it to its end and tells every line that it says, as it says it.
    ///
    /// # Errors
    /// `tool-missing` when its program can't be begun; `engine-failed`.
    pub async fn run(&self, tell: impl FnMut(Output<'_>)) -> Result<Ended, Fault> {
        // Before the start, so that nothing is missed.
        let output = self.attach().await?;
        self.start().await?;
        let usage = Cell::new(Usage::default());
        let read = pin!(read(output.output, tell));
        let measure = pin!(self.measure(&usage));
        if let Either::Right((never, _)) = select(read, measure).await {
            match never {}
        }
        let status = self.status().await?;
        Ok(Ended { status, usage: usage.get() })
    }

    pub(super) async fn attach(&self) -> Result<bollard::container::AttachContainerResults, Fault> {
        let options = AttachContainerOptionsBuilder::new().stream(true).stdin(true).stdout(true).stderr(true).build();
        let attached = self.engine.docker.attach_container(&self.id, Some(options)).await;
        attached.map_err(|error| trouble("the output of the container can't be read", &error))
    }

    pub(super) async fn start(&self) -> Result<(), Fault> {
        let started = self.engine.docker.start_container(&self.id, None).await;
        started.map_err(|error| {
            let words = said(&error);
            let missing =
                ["executable file not found", "no such file or directory", "permission denied", "not a directory"];
            let missing = missing.iter().any(|sign| words.contains(sign));
            let code = if missing { Code::ToolMissing } else { Code::EngineFailed };
            Fault::new(code, format!("the container's command can't be started: {words}"))
        })
    }

    /// Asks for the engine's figures again and again, for as long as it is polled: when the container has ended they are gone.
    #[expect(clippy::infinite_loop, reason = "it is dropped with what it measures")]
    async fn measure(&self, usage: &Cell<Usage>) -> Infallible {
        loop {
            let options = StatsOptionsBuilder::new().stream(false).one_shot(true).build();
            let mut figures = pin!(self.engine.docker.stats(&self.id, Some(options)));
            if let Some(Ok(figure)) = figures.next().await {
                usage.set(at_most(usage.get(), &figure));
            }
            sleep(MEASURE).await;
        }
    }

    async fn status(&self) -> Result<Status, Fault> {
        let failed = |error: &Error| trouble("the end of the container can't be read", error);
        let mut ends = pin!(self.engine.docker.wait_container(&self.id, None));
        match ends.next().await {
            None | Some(Ok(_) | Err(Error::DockerContainerWaitError { .. })) => {}
            Some(Err(error)) => return Err(failed(&error)),
        }
        let known = self.engine.docker.inspect_container(&self.id, None).await.map_err(|error| failed(&error))?;
        let state = known.state.unwrap_or_default();
        let code = state.exit_code.unwrap_or_default();
        Ok(match state.oom_killed {
            Some(true) => Status::OutOfMemory,
            _ => Status::of_code(code),
        })
    }

    /// Asks it to end, and after `grace` sees to it. Nothing to stop is no failure.
    ///
    /// # Errors
    /// `engine-failed`.
    pub async fn stop(&self, grace: Duration) -> Result<(), Fault> {
        let seconds = i32::try_from(grace.as_secs()).unwrap_or(i32::MAX);
        let options = StopContainerOptionsBuilder::new().t(seconds).build();
        match self.engine.docker.stop_container(&self.id, Some(options)).await {
            Ok(()) => Ok(()),
            Err(error) if matches!(status(&error), Some(304 | 404)) => Ok(()),
            Err(error) => Err(trouble("the container could not be stopped", &error)),
        }
    }

    /// Removes it, running or not, with its anonymous volumes.
    ///
    /// # Errors
    /// `engine-failed`.
    pub async fn remove(self) -> Result<(), Fault> {
        self.engine.remove(&self.id).await
    }
}

impl Engine {
    /// Removes a container; one that is gone, or is going, is removed.
    pub(super) async fn remove(&self, id: &str) -> Result<(), Fault> {
        let options = RemoveContainerOptionsBuilder::new().force(true).v(true).build();
        match self.docker.remove_container(id, Some(options)).await {
            Ok(()) => Ok(()),
            Err(error) if matches!(status(&error), Some(404 | 409)) => Ok(()),
            Err(error) => Err(trouble("a container could not be removed", &error)),
        }
    }
}

fn body(order: &Order, tag: &Tag) -> ContainerCreateBody {
    let once = order.input == Input::Once;
    let port = |port: &u16| format!("{port}/tcp");
    let loopback = || PortBinding { host_ip: Some("127.0.0.1".to_owned()), host_port: Some(String::new()) };
    ContainerCreateBody {
        image: Some(order.image.clone()),
        entrypoint: order.entrypoint.clone(),
        cmd: order.command.clone(),
        env: Some(order.env.iter().map(|(name, value)| format!("{name}={value}")).collect()),
        labels: Some(tag.labels()),
        working_dir: order.working_directory.clone(),
        attach_stdin: Some(once),
        attach_stdout: Some(true),
        attach_stderr: Some(true),
        open_stdin: Some(once),
        stdin_once: Some(once),
        exposed_ports: (!order.ports.is_empty()).then(|| order.ports.iter().map(port).collect()),
        host_config: Some(HostConfig {
            network_mode: order.network.clone(),
            binds: Some(order.binds.clone()),
            memory: order.memory,
            // Without swap: a limit is a limit.
            memory_swap: order.memory,
            port_bindings: (!order.ports.is_empty()).then(|| {
                order.ports.iter().map(|number| (port(number), Some(vec![loopback()]))).collect::<HashMap<_, _>>()
            }),
            ..HostConfig::default()
        }),
        networking_config: aliased(order),
        ..ContainerCreateBody::default()
    }
}

/// The engine's default network knows no names.
fn aliased(order: &Order) -> Option<NetworkingConfig> {
    let network = order.network.as_ref().filter(|network| *network != "bridge")?;
    let endpoint = EndpointSettings { aliases: Some(vec![order.alias.clone()?]), ..EndpointSettings::default() };
    Some(NetworkingConfig { endpoints_config: Some(HashMap::from([(network.clone(), endpoint)])) })
}

pub(super) async fn read(
    mut output: impl futures_util::Stream<Item = Result<LogOutput, Error>> + Unpin,
    mut tell: impl FnMut(Output<'_>),
) {
    let (mut out, mut err) = (Lines::default(), Lines::default());
    // An output that breaks off is an end: what became of the container is asked for next.
    while let Some(Ok(piece)) = output.next().await {
        match piece {
            LogOutput::StdErr { message } => err.take(&message).iter().for_each(|line| tell(Output::Err(line))),
            LogOutput::StdOut { message } | LogOutput::Console { message } | LogOutput::StdIn { message } => {
                out.take(&message).iter().for_each(|line| tell(Output::Out(line)));
                out.begun().iter().for_each(|begun| tell(Output::Begun(begun)));
            }
        }
    }
    out.end().iter().for_each(|line| tell(Output::Out(line)));
    err.end().iter().for_each(|line| tell(Output::Err(line)));
}

/// The greatest memory, without the files that the kernel keeps for it, and the latest time. The names are those of
/// control groups, version 1 and 2 (docker stats(1) subtracts the same).
fn at_most(so_far: Usage, figure: &ContainerStatsResponse) -> Usage {
    let memory = figure.memory_stats.as_ref();
    let cached = memory.and_then(|memory| {
        let stats = memory.stats.as_ref()?;
        stats.get("inactive_file").or_else(|| stats.get("total_inactive_file")).copied()
    });
    let used = memory.and_then(|memory| memory.usage).unwrap_or_default().saturating_sub(cached.unwrap_or_default());
    let cpu = figure.cpu_stats.as_ref().and_then(|cpu| cpu.cpu_usage.as_ref()?.total_usage).unwrap_or_default();
    Usage { memory_bytes: so_far.memory_bytes.max(used), cpu_ms: so_far.cpu_ms.max(cpu / 1_000_000) }
}
