//! The connection to the engine, with the API version that both sides support.

use crate::fault::{Code, Fault};
use bollard::{API_DEFAULT_VERSION, Docker, errors::Error};
use std::{fmt, fs, io::ErrorKind, os::unix::fs::FileTypeExt as _, os::unix::net::UnixStream, path::Path};

/// Path at which the runner mounts the engine's socket, regardless of its own `DOCKER_HOST`
/// (`ContainerActionHandler.cs`).
pub const SOCKET: &str = "/var/run/docker.sock";

/// Time limit for one request, in seconds. A long response (a pull, the output of a container) only has to begin within
/// it.
const PATIENCE: u64 = 60;

/// A connection to a Docker engine that responds.
#[derive(Clone)]
pub struct Engine {
    pub(crate) docker: Docker,
}

impl Engine {
    /// Connects over this socket and negotiates the API version.
    ///
    /// # Errors
    /// `engine-absent`, `engine-forbidden`, `engine-too-old`.
    pub async fn connect(socket: &Path) -> Result<Self, Fault> {
        look_at(socket)?;
        let docker = Docker::connect_with_unix(&socket.to_string_lossy(), PATIENCE, API_DEFAULT_VERSION)
            .map_err(|error| absent(socket, "can't be used").because(&error))?;
        match docker.negotiate_version().await {
            Ok(docker) => Ok(Self { docker }),
            Err(Error::APIVersionParseError {}) => {
                Err(Fault::new(Code::EngineTooOld, "the Docker engine does not report the version of its API"))
            }
            Err(error) => Err(absent(socket, "does not answer as a Docker engine does").because(&error)),
        }
    }
}

impl fmt::Debug for Engine {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Engine")
    }
}

/// Checks the socket, for clearer faults than the library's errors.
fn look_at(socket: &Path) -> Result<(), Fault> {
    let Ok(there) = fs::metadata(socket) else { return Err(absent(socket, "is not there")) };
    if there.is_dir() {
        // The engine creates a directory if the source of a mount does not exist.
        return Err(absent(socket, "is a directory: the runner's host has no engine socket at that path").detail(
            "this is the case with rootless Docker, with Podman, and if the runner's DOCKER_HOST names another engine",
        ));
    }
    if !there.file_type().is_socket() {
        return Err(absent(socket, "is not a socket"));
    }
    match UnixStream::connect(socket) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            let cause = format!("`{}` may not be opened by this user", socket.display());
            Err(Fault::new(Code::EngineForbidden, cause).because(&error))
        }
        Err(error) => Err(absent(socket, "has no engine listening on it").because(&error)),
    }
}

fn absent(socket: &Path, what: &str) -> Fault {
    Fault::new(Code::EngineAbsent, format!("the Docker engine can't be reached: `{}` {what}", socket.display()))
}

/// Returns the engine's own error message, without the library's prefix.
pub(crate) fn said(error: &Error) -> String {
    match error {
        Error::DockerResponseServerError { message, .. } => message.clone(),
        Error::DockerStreamError { error } => error.clone(),
        other => other.to_string(),
    }
}

/// Returns the HTTP status of an error response.
pub(crate) fn status(error: &Error) -> Option<u16> {
    match error {
        Error::DockerResponseServerError { status_code, .. } => Some(*status_code),
        _ => None,
    }
}

/// Returns the fault for a request that usually succeeds.
pub(crate) fn trouble(what: &str, error: &Error) -> Fault {
    Fault::new(Code::EngineFailed, format!("{what}: {}", said(error)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn explains_an_unusable_socket() {
        let home = tempfile::tempdir().unwrap();
        let file = home.path().join("file");
        fs::write(&file, "").unwrap();
        let dead = home.path().join("dead");
        drop(std::os::unix::net::UnixListener::bind(&dead).unwrap());
        for (socket, cause) in [
            (home.path().join("none"), "is not there"),
            (home.path().to_owned(), "is a directory"),
            (file, "is not a socket"),
            (dead, "has no engine listening on it"),
        ] {
            let fault = Engine::connect(&socket).await.unwrap_err();
            assert_eq!(fault.code, Code::EngineAbsent);
            assert!(fault.cause.contains(cause), "{}", fault.cause);
        }
    }
}
