//! One container: made, stopped, removed.

use super::{
    Engine, Tag,
    client::{status, trouble},
};
use crate::fault::Fault;
use bollard::{
    models::{ContainerCreateBody, EndpointSettings, HostConfig, NetworkingConfig, PortBinding},
    query_parameters::{CreateContainerOptionsBuilder, RemoveContainerOptionsBuilder, StopContainerOptionsBuilder},
};
use std::{collections::HashMap, time::Duration};

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

/// A handle to a container that exists. Dropping it leaves it to the sweep: nothing can be waited for in a `Drop`.
#[derive(Debug, Clone)]
pub struct Container {
    pub(super) engine: Engine,
    pub(super) id: String,
}

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

    /// Puts files into it, as [`Order::files`] says, before it is started.
    ///
    /// # Errors
    /// `engine-failed`, as when it can't be written to.
    pub async fn put(&self, files: &[(String, Vec<u8>)]) -> Result<(), Fault> {
        if files.is_empty() {
            return Ok(());
        }
        let options = bollard::query_parameters::UploadToContainerOptionsBuilder::new().path("/").build();
        let archive = super::archive::of(files);
        let put =
            self.engine.docker.upload_to_container(&self.id, Some(options), bollard::body_full(archive.into())).await;
        put.map_err(|error| trouble("a file could not be put into the container", &error))
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
    let network = order.network.as_ref().filter(|network| *network != super::own::DEFAULT_NETWORK)?;
    let endpoint = EndpointSettings { aliases: Some(vec![order.alias.clone()?]), ..EndpointSettings::default() };
    Some(NetworkingConfig { endpoints_config: Some(HashMap::from([(network.clone(), endpoint)])) })
}
