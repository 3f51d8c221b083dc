//! A companion: a container that does nothing but hold the programs that are started in it. It ends with this process,
//! because it waits for the end of its standard input, and the engine removes it then.

use super::user_program::{ProgramImage, UserProgram};
use crate::{
    docker::{
        Container, ContainerKind, ContainerSpec, DockerEngine, ENGINE_SOCKET, Labels, PullPolicy, RunningContainer,
        SelfContainer,
    },
    fault::{Code, Fault},
    random::random_token,
    run::{event::Events, program::StartedProgram},
    secret::Secret,
};
use std::{path::Path, sync::Mutex, time::Duration};

/// Path of the program that holds a companion open, in the action's image and in every other companion.
pub const HOLDING_PROGRAM: &str = "/bastion-migrate-relay";

/// The message that the engine writes into the output of a program that it can't start (moby,
/// `daemon/exec.go`; the text is runc's).
const NOT_STARTED: &[u8] = b"OCI runtime exec failed";

/// Network of the engine's machine, whose loopback is that of the runner.
const HOST_NETWORK: &str = "host";

/// Time after which any run may remove a companion that was created and never started: no job is longer.
const MAX_LIFETIME: Duration = Duration::from_hours(5 * 24);

const NO_ENGINE_FIX: &str = "without the engine's socket, what works is the program in place of the action (`.github/binary`, see docs/ways-in.md): \
    it reaches `runner:` by itself, and runs a command without an `image`";

/// A running companion. Dropping it ends its container.
#[derive(Debug)]
pub struct Companion {
    container: Container,
    /// Holds the standard input open. Locked by nobody: it may be shared between threads, which its streams may not.
    _running: Mutex<RunningContainer>,
}

impl Companion {
    /// Starts a companion in the network of the runner, from our own image.
    ///
    /// # Errors
    /// `engine-absent` and its kind; `self-unknown`; `engine-failed`.
    pub async fn start_on_runner() -> Result<Self, Fault> {
        let engine = connect_engine(None).await?;
        let image = SelfContainer::find(&engine).await?.image;
        Self::start(engine, ContainerSpec { image, network: Some(HOST_NETWORK.to_owned()), ..base_spec() }).await
    }

    /// Starts a companion in the program's image, in our own network.
    ///
    /// # Errors
    /// `engine-absent` and its kind; the faults of a pull; `engine-failed`.
    pub async fn start_for(program: &UserProgram, image: &ProgramImage, events: &Events) -> Result<Self, Fault> {
        let engine = connect_engine(Some(program)).await?;
        let ProgramImage { reference, credentials } = image;
        let image = engine.ensure_image(reference, PullPolicy::Missing, credentials.as_ref(), events).await?;
        // A program on the runner is in no container, and its network is that of the machine.
        let network = match SelfContainer::find(&engine).await {
            Ok(own) => own.network,
            Err(_) => Some(HOST_NETWORK.to_owned()),
        };
        let own_program = std::fs::read("/proc/self/exe").map_err(|error| {
            let cause = format!("our own program can't be read for the image of {}", program.shown());
            Fault::new(Code::Bug, cause).with_causes(&error)
        })?;
        let programs = vec![(HOLDING_PROGRAM.to_owned(), own_program)];
        Self::start(engine, ContainerSpec { image: image.facts.id, network, programs, ..base_spec() }).await
    }

    async fn start(engine: DockerEngine, spec: ContainerSpec) -> Result<Self, Fault> {
        let labels = Labels::new(&random_token(), ContainerKind::Companion, MAX_LIFETIME);
        let (container, running) = Container::start_bound(engine, spec, labels).await?;
        Ok(Self { container, _running: Mutex::new(running) })
    }

    /// Starts a program in it.
    ///
    /// # Errors
    /// `engine-failed`.
    pub async fn start_program(&self, argv: &[String], env: &[(String, Secret)]) -> Result<StartedProgram, Fault> {
        self.container.start_program(argv, env).await
    }

    /// Removes the container.
    ///
    /// # Errors
    /// `engine-failed`.
    pub async fn close(self) -> Result<(), Fault> {
        self.container.remove().await
    }
}

/// Returns whether this process runs in the action's image.
#[must_use]
pub fn is_in_own_image() -> bool {
    Path::new(HOLDING_PROGRAM).exists()
}

/// Returns whether these first bytes of a program's output are the engine's report that it can't start it.
#[must_use]
pub fn is_start_failure(output: &[u8]) -> bool {
    output.starts_with(NOT_STARTED)
}

/// Connects to the engine; the fix of its absence depends on the program for which it is needed, if there is one.
async fn connect_engine(program: Option<&UserProgram>) -> Result<DockerEngine, Fault> {
    let connected = DockerEngine::connect(Path::new(ENGINE_SOCKET)).await;
    connected.map_err(|fault| match (fault.code, is_in_own_image(), program) {
        (Code::EngineAbsent, false, Some(program)) => {
            fault.fix(format!("remove `image` from `{}`: the command then runs on this machine", program.input))
        }
        (Code::EngineAbsent, ..) => fault.fix(NO_ENGINE_FIX),
        _ => fault,
    })
}

fn base_spec() -> ContainerSpec {
    ContainerSpec { entrypoint: Some(vec![HOLDING_PROGRAM.to_owned()]), ..ContainerSpec::default() }
}
