//! A server for copies in a container beside this process. It ends with this process, because it waits for the end of its
//! standard input, and the engine removes it then, with its volumes; its data is in memory.

use crate::{
    docker::{Container, ContainerSpec, ContainerUser, DockerEngine, Labels, RunningContainer, SelfContainer},
    fault::{Code, Fault},
    postgres::{DatabaseTarget, SslMode},
    random::random_token,
    run::{
        event::Events,
        process::{FollowOutput, Output},
    },
    secret::Secret,
    settings::CopyImage,
};
use std::{net::Ipv4Addr, time::Duration};
use tokio::{net::TcpListener, time::timeout};

/// The program that makes a cluster and serves it.
const SERVER_SCRIPT: &str = include_str!("copy_server.sh");

/// The superuser of the cluster. A role of the original hardly has its name.
const SUPERUSER: &str = "bastion_migrate";

/// The directory of the data, in memory.
const DATA_DIRECTORY: &str = "/bastion-migrate";

/// The size of that directory, in bytes: two copies of a large schema, a sample of 512 MiB in each, and the WAL.
const DATA_BYTES: i64 = 4 << 30;

/// The memory of the container, in bytes: its data, and the server.
const MEMORY_BYTES: i64 = 5 << 30;

/// The size of `/dev/shm`, in bytes, which parallel workers use.
const SHARED_MEMORY_BYTES: i64 = 256 << 20;

/// The port of the server in a network of its own.
const USUAL_PORT: u16 = 5432;

/// Time limit for making the cluster and starting the server, which takes a second or two.
const START_LIMIT: Duration = Duration::from_secs(120);

/// The end of the server's line when it is ready (PostgreSQL, `postmaster.c`).
const READY: &str = "database system is ready to accept connections";

/// Number of lines of a failed start that are shown.
const SHOWN_LINES: usize = 10;

/// A running server. Dropping it ends its container.
#[derive(Debug)]
pub struct CopyContainer {
    container: Container,
    /// Holds the standard input open.
    running: RunningContainer,
    target: DatabaseTarget,
    image: String,
}

/// The network of the server.
enum CopyNetwork {
    /// That of our own container, on whose loopback the server has this port.
    Shared { own: String, port: u16 },
    /// One of its own, whose port is published on the loopback of this machine.
    Published,
}

impl CopyContainer {
    /// Pulls the image, and starts a server of this major version.
    ///
    /// # Errors
    /// The faults of a pull; `rehearsal-copy` if the image can't serve; `engine-failed`.
    pub async fn start(
        engine: &DockerEngine,
        image: &CopyImage,
        (major, labels): (u32, &Labels),
        events: &Events,
    ) -> Result<Self, Fault> {
        let reference = image.reference.clone().unwrap_or_else(|| format!("postgres:{major}"));
        let found = engine.ensure_image(&reference, image.pull, image.credentials.as_ref(), events).await?;
        let network = CopyNetwork::find(engine).await?;
        let (address, port) = match &network {
            CopyNetwork::Shared { port, .. } => ("127.0.0.1", *port),
            CopyNetwork::Published => ("*", USUAL_PORT),
        };
        let argv = ["sh", "-c", SERVER_SCRIPT, "sh", &major.to_string(), address, &port.to_string()];
        let spec = ContainerSpec {
            image: found.facts.id,
            entrypoint: Some(argv.map(str::to_owned).to_vec()),
            network: match &network {
                CopyNetwork::Shared { own, .. } => Some(format!("container:{own}")),
                CopyNetwork::Published => None,
            },
            ports: if matches!(network, CopyNetwork::Published) { vec![USUAL_PORT] } else { Vec::new() },
            memory: Some(MEMORY_BYTES),
            user: ContainerUser::Nobody,
            memory_directory: Some((DATA_DIRECTORY.to_owned(), DATA_BYTES)),
            shared_memory: Some(SHARED_MEMORY_BYTES),
            ..ContainerSpec::default()
        };
        let password = Secret::new(random_token());
        events.redactor().hide(&password);
        let (container, running) =
            Container::start_bound(engine.clone(), spec, labels.clone()).await.map_err(start_fault)?;
        let target = target_at(port, password);
        let mut started = Self { container, running, target, image: reference };
        match started.wait_until_ready(&network, events).await {
            Ok(()) => Ok(started),
            Err(fault) => Err(started.container.remove_after(fault).await),
        }
    }

    /// Passes the password on, and waits until the server is ready.
    async fn wait_until_ready(&mut self, network: &CopyNetwork, events: &Events) -> Result<(), Fault> {
        let Self { running, target, image, .. } = self;
        let password = target.password.as_ref().map(Secret::expose).unwrap_or_default();
        running.write_stdin(format!("{password}\n").as_bytes()).await?;
        let mut lines: Vec<String> = Vec::new();
        let following = running.follow_output(|output| match output {
            Output::Stdout(line) | Output::Stderr(line) if line.ends_with(READY) => FollowOutput::Stop,
            Output::Stdout(line) | Output::Stderr(line) => {
                lines.push(events.redactor().redact(line).into_owned());
                FollowOutput::Continue
            }
            Output::PartialLine(_) => FollowOutput::Continue,
        });
        let cause = match timeout(START_LIMIT, following).await {
            Ok(FollowOutput::Stop) => {
                if let CopyNetwork::Published = network {
                    self.target.port = self.container.published_port(USUAL_PORT).await?;
                }
                return Ok(());
            }
            Ok(FollowOutput::Continue) => {
                let last = lines.last().map(|line| format!(": {line}")).unwrap_or_default();
                format!("no server has started in a container of `{image}`{last}")
            }
            Err(_late) => {
                format!("a server in a container of `{image}` was not ready after {} s", START_LIMIT.as_secs())
            }
        };
        let fault = Fault::new(Code::RehearsalCopy, cause).fix(IMAGE_FIX);
        let from = lines.len().saturating_sub(SHOWN_LINES);
        Err(lines.drain(from..).fold(fault, Fault::detail))
    }

    /// Returns the server.
    #[must_use]
    pub fn target(&self) -> &DatabaseTarget {
        &self.target
    }

    /// Returns the name of its image.
    #[must_use]
    pub fn image(&self) -> &str {
        &self.image
    }

    /// Removes the container at once, with all that was made in it.
    ///
    /// # Errors
    /// `engine-failed`.
    pub async fn close(self) -> Result<(), Fault> {
        self.remove().await
    }

    /// Removes the container, whose handle stays.
    ///
    /// # Errors
    /// `engine-failed`.
    pub async fn remove(&self) -> Result<(), Fault> {
        self.container.clone().remove().await
    }
}

const IMAGE_FIX: &str = "set `image` of `rehearse` to one that has PostgreSQL's `initdb` and `postgres`, and `sh`, as the images `postgres` have; \
    or set `url` to a server of your own, as a service of the job is";

impl CopyNetwork {
    /// Finds the network: a program outside of a container has none that it could share.
    async fn find(engine: &DockerEngine) -> Result<Self, Fault> {
        match SelfContainer::find(engine).await {
            Ok(own) => Ok(Self::Shared { own: own.id, port: free_port().await? }),
            Err(fault) if fault.code == Code::SelfUnknown => Ok(Self::Published),
            Err(fault) => Err(fault),
        }
    }
}

fn start_fault(fault: Fault) -> Fault {
    match fault.code {
        Code::ToolMissing => fault.code(Code::RehearsalCopy).fix(IMAGE_FIX),
        _ => fault,
    }
}

/// Finds a port of our loopback that is free.
async fn free_port() -> Result<u16, Fault> {
    let found = async { TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?.local_addr() };
    let address = found.await.map_err(|error| {
        Fault::new(Code::RehearsalCopy, "no port is free for the server of the copy").with_causes(&error)
    })?;
    Ok(address.port())
}

fn target_at(port: u16, password: Secret) -> DatabaseTarget {
    DatabaseTarget {
        password: Some(password),
        sslmode: SslMode::Disable,
        ..DatabaseTarget::new(Ipv4Addr::LOCALHOST.to_string(), port, SUPERUSER, "postgres")
    }
}
