//! Creation, stop and removal of a container.

use super::{
    archive::{FileUse, tar_archive},
    client::{DockerEngine, engine_fault, http_status},
    labels::Labels,
};
use crate::fault::{Code, Fault};
use bollard::{
    models::{ContainerCreateBody, EndpointSettings, HostConfig, HostConfigLogConfig, NetworkingConfig, PortBinding},
    query_parameters::{CreateContainerOptionsBuilder, RemoveContainerOptionsBuilder, StopContainerOptionsBuilder},
};
use std::{collections::HashMap, time::Duration};

/// The specification of a container.
#[derive(Debug, Clone, Default)]
pub struct ContainerSpec {
    /// The image's id or reference.
    pub image: String,
    /// Replaces the image's own entrypoint.
    pub entrypoint: Option<Vec<String>>,
    /// Replaces the image's own command; its entrypoint stays.
    pub command: Option<Vec<String>>,
    /// Environment variables. The only place for secrets: only the engine's owner can read it, who has them anyway.
    pub env: Vec<(String, String)>,
    /// The network mode, such as `container:<id>`.
    pub network: Option<String>,
    /// Its name for other containers in a user-defined network.
    pub alias: Option<String>,
    /// Mounts as `source:target:mode`, with the sources on the engine's host.
    pub binds: Vec<String>,
    /// The working directory, if not the image's own.
    pub working_directory: Option<String>,
    /// Memory limit in bytes.
    pub memory: Option<i64>,
    /// The user and the privileges of its processes.
    pub user: ContainerUser,
    /// A directory in memory that every user in the container may write to, and its size in bytes. It counts as memory.
    pub memory_directory: Option<(String, i64)>,
    /// The size of `/dev/shm` in bytes, if not the engine's default of 64 MiB.
    pub shared_memory: Option<i64>,
    /// Files to upload before the start, as (absolute path, content). Readable by every user in the container.
    pub files: Vec<(String, Vec<u8>)>,
    /// Programs to upload before the start, in the same form. Every user in the container may run them.
    pub programs: Vec<(String, Vec<u8>)>,
    /// Ports of the container, published on the loopback of the engine's host at a free port.
    pub ports: Vec<u16>,
    /// The use of its standard input.
    pub stdin: ContainerStdin,
    /// The record that the engine keeps of its output.
    pub record: OutputRecord,
    /// The fate of the container when it has ended.
    pub removal: ContainerRemoval,
}

/// The user of a container's processes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ContainerUser {
    /// That of the image.
    #[default]
    OfImage,
    /// `nobody`, which every Linux image has, without any capability.
    Nobody,
}

/// The fate of a container that has ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ContainerRemoval {
    /// It stays until it is removed, so that its exit status can be read.
    #[default]
    OnRequest,
    /// The engine removes it at once, even if this process is gone by then.
    AtItsEnd,
}

/// The record that the engine keeps of a container's output.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum OutputRecord {
    /// As the engine is configured: usually a file.
    #[default]
    EngineDefault,
    /// None, for output that is as large as a database, or secret.
    None,
}

/// The standard input of a container.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ContainerStdin {
    /// No standard input.
    #[default]
    None,
    /// One writer, after which it is closed.
    Once,
}

/// A handle to an existing container. Dropping it leaves the container to the cleanup, because a `Drop` can't wait.
#[derive(Debug, Clone)]
pub struct Container {
    pub(crate) engine: DockerEngine,
    pub(crate) id: String,
}

impl Container {
    /// Creates the container without starting it.
    ///
    /// # Errors
    /// `engine-failed`, with the engine's message.
    pub async fn create(engine: &DockerEngine, spec: &ContainerSpec, labels: &Labels) -> Result<Self, Fault> {
        let options = CreateContainerOptionsBuilder::new().build();
        let created = engine.docker.create_container(Some(options), create_body(spec, labels)).await;
        let id = created.map_err(|error| engine_fault("the engine did not create the container", &error))?.id;
        let container = Self { engine: engine.clone(), id };
        if let Err(fault) = container.upload_all(spec).await {
            return Err(container.remove_after(fault).await);
        }
        Ok(container)
    }

    /// Returns a handle to a container that was created elsewhere.
    pub(crate) fn from_id(engine: &DockerEngine, id: &str) -> Self {
        Self { engine: engine.clone(), id: id.to_owned() }
    }

    /// Returns the engine's id of the container.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Copies files into the container before it is started; see [`ContainerSpec::files`].
    ///
    /// # Errors
    /// `engine-failed`, as when it can't be written to.
    pub async fn upload_files(&self, files: &[(String, Vec<u8>)]) -> Result<(), Fault> {
        self.upload_archive(files, FileUse::Read).await
    }

    async fn upload_all(&self, spec: &ContainerSpec) -> Result<(), Fault> {
        self.upload_archive(&spec.files, FileUse::Read).await?;
        self.upload_archive(&spec.programs, FileUse::Run).await
    }

    async fn upload_archive(&self, files: &[(String, Vec<u8>)], usage: FileUse) -> Result<(), Fault> {
        if files.is_empty() {
            return Ok(());
        }
        let options = bollard::query_parameters::UploadToContainerOptionsBuilder::new().path("/").build();
        let archive = tar_archive(files, usage).map_err(|error| {
            Fault::new(Code::EngineFailed, "a file could not be put into the archive for the container")
                .with_causes(&error)
        })?;
        let uploaded =
            self.engine.docker.upload_to_container(&self.id, Some(options), bollard::body_full(archive.into())).await;
        uploaded.map_err(|error| engine_fault("a file could not be put into the container", &error))
    }

    /// Stops the container, and kills it after `grace`. A container that does not run is no error.
    ///
    /// # Errors
    /// `engine-failed`.
    pub async fn stop(&self, grace: Duration) -> Result<(), Fault> {
        let seconds = i32::try_from(grace.as_secs()).unwrap_or(i32::MAX);
        let options = StopContainerOptionsBuilder::new().t(seconds).build();
        match self.engine.docker.stop_container(&self.id, Some(options)).await {
            Ok(()) => Ok(()),
            Err(error) if matches!(http_status(&error), Some(304 | 404)) => Ok(()),
            Err(error) => Err(engine_fault("the container could not be stopped", &error)),
        }
    }

    /// Removes the container, running or not, with its anonymous volumes.
    ///
    /// # Errors
    /// `engine-failed`.
    pub async fn remove(self) -> Result<(), Fault> {
        self.engine.remove_container(&self.id).await
    }
}

impl DockerEngine {
    /// Removes a container. One that is gone or being removed is no error.
    pub(crate) async fn remove_container(&self, id: &str) -> Result<(), Fault> {
        let options = RemoveContainerOptionsBuilder::new().force(true).v(true).build();
        match self.docker.remove_container(id, Some(options)).await {
            Ok(()) => Ok(()),
            Err(error) if matches!(http_status(&error), Some(404 | 409)) => Ok(()),
            Err(error) => Err(engine_fault("a container could not be removed", &error)),
        }
    }
}

fn create_body(spec: &ContainerSpec, labels: &Labels) -> ContainerCreateBody {
    let stdin_once = spec.stdin == ContainerStdin::Once;
    let port = |port: &u16| format!("{port}/tcp");
    let is_nobody = spec.user == ContainerUser::Nobody;
    let loopback = || PortBinding { host_ip: Some("127.0.0.1".to_owned()), host_port: Some(String::new()) };
    ContainerCreateBody {
        image: Some(spec.image.clone()),
        entrypoint: spec.entrypoint.clone(),
        cmd: spec.command.clone(),
        env: Some(spec.env.iter().map(|(name, value)| format!("{name}={value}")).collect()),
        labels: Some(labels.labels()),
        working_dir: spec.working_directory.clone(),
        user: is_nobody.then(|| "nobody".to_owned()),
        attach_stdin: Some(stdin_once),
        attach_stdout: Some(true),
        attach_stderr: Some(true),
        open_stdin: Some(stdin_once),
        stdin_once: Some(stdin_once),
        exposed_ports: (!spec.ports.is_empty()).then(|| spec.ports.iter().map(port).collect()),
        host_config: Some(HostConfig {
            network_mode: spec.network.clone(),
            binds: Some(spec.binds.clone()),
            auto_remove: (spec.removal == ContainerRemoval::AtItsEnd).then_some(true),
            memory: spec.memory,
            // The same limit for memory with swap, so that no swap is used.
            memory_swap: spec.memory,
            cap_drop: is_nobody.then(|| vec!["ALL".to_owned()]),
            security_opt: is_nobody.then(|| vec!["no-new-privileges".to_owned()]),
            tmpfs: spec
                .memory_directory
                .as_ref()
                .map(|(path, bytes)| HashMap::from([(path.clone(), format!("rw,mode=1777,size={bytes}"))])),
            shm_size: spec.shared_memory,
            port_bindings: (!spec.ports.is_empty()).then(|| {
                spec.ports.iter().map(|number| (port(number), Some(vec![loopback()]))).collect::<HashMap<_, _>>()
            }),
            log_config: match spec.record {
                OutputRecord::EngineDefault => None,
                OutputRecord::None => Some(HostConfigLogConfig { typ: Some("none".to_owned()), config: None }),
            },
            ..HostConfig::default()
        }),
        networking_config: networking_config(spec),
        ..ContainerCreateBody::default()
    }
}

/// Returns the alias as an endpoint setting. None for the default network, which does not support aliases.
fn networking_config(spec: &ContainerSpec) -> Option<NetworkingConfig> {
    let network = spec.network.as_ref().filter(|network| *network != crate::docker::self_container::DEFAULT_NETWORK)?;
    let endpoint = EndpointSettings { aliases: Some(vec![spec.alias.clone()?]), ..EndpointSettings::default() };
    Some(NetworkingConfig { endpoints_config: Some(HashMap::from([(network.clone(), endpoint)])) })
}
