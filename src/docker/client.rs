//! The connection to the engine, with the API version that both sides support.

use crate::fault::{Code, Fault};
use bollard::{API_DEFAULT_VERSION, Docker, errors::Error};
use std::{fmt, fs, io::ErrorKind, os::unix::fs::FileTypeExt as _, os::unix::net::UnixStream, path::Path};

/// Path at which the runner mounts the engine's socket, regardless of its own `DOCKER_HOST`
/// (`ContainerActionHandler.cs`).
pub const ENGINE_SOCKET: &str = "/var/run/docker.sock";

/// Time limit for one request, in seconds. A long response (a pull, the output of a container) only has to begin within
/// it.
const REQUEST_TIMEOUT_SECONDS: u64 = 60;

/// A connection to a Docker engine that responds.
#[derive(Clone)]
pub struct DockerEngine {
    pub(crate) docker: Docker,
}

impl DockerEngine {
    /// Connects over this socket and negotiates the API version.
    ///
    /// # Errors
    /// `engine-absent`, `engine-forbidden`, `engine-too-old`.
    pub async fn connect(socket: &Path) -> Result<Self, Fault> {
        check_socket(socket)?;
        let docker = Docker::connect_with_unix(&socket.to_string_lossy(), REQUEST_TIMEOUT_SECONDS, API_DEFAULT_VERSION)
            .map_err(|error| engine_absent_fault(socket, "can't be used").with_causes(&error))?;
        match docker.negotiate_version().await {
            Ok(docker) => Ok(Self { docker }),
            Err(Error::APIVersionParseError {}) => {
                Err(Fault::new(Code::EngineTooOld, "the Docker engine does not report the version of its API"))
            }
            Err(error) => {
                Err(engine_absent_fault(socket, "does not answer as a Docker engine does").with_causes(&error))
            }
        }
    }
}

impl fmt::Debug for DockerEngine {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("DockerEngine")
    }
}

/// Checks the socket, for clearer faults than the library's errors.
fn check_socket(socket: &Path) -> Result<(), Fault> {
    let Ok(metadata) = fs::metadata(socket) else { return Err(engine_absent_fault(socket, "is not there")) };
    if metadata.is_dir() {
        // The engine creates a directory if the source of a mount does not exist.
        return Err(engine_absent_fault(socket, "is a directory: the runner's host has no engine socket at that path").detail(
            "this is the case with rootless Docker, with Podman, and if the runner's DOCKER_HOST names another engine",
        ));
    }
    if !metadata.file_type().is_socket() {
        return Err(engine_absent_fault(socket, "is not a socket"));
    }
    match UnixStream::connect(socket) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            let cause = format!("`{}` may not be opened by this user", socket.display());
            Err(Fault::new(Code::EngineForbidden, cause).with_causes(&error))
        }
        Err(error) => Err(engine_absent_fault(socket, "has no engine listening on it").with_causes(&error)),
    }
}

fn engine_absent_fault(socket: &Path, problem: &str) -> Fault {
    Fault::new(Code::EngineAbsent, format!("the Docker engine can't be reached: `{}` {problem}", socket.display()))
}

/// Returns the engine's own error message, without the library's prefix.
pub(crate) fn engine_message(error: &Error) -> String {
    match error {
        Error::DockerResponseServerError { message, .. } => message.clone(),
        Error::DockerStreamError { error } => error.clone(),
        other => other.to_string(),
    }
}

/// Returns the HTTP status of an error response.
pub(crate) fn http_status(error: &Error) -> Option<u16> {
    match error {
        Error::DockerResponseServerError { status_code, .. } => Some(*status_code),
        _ => None,
    }
}

/// Returns the fault for a request that usually succeeds.
pub(crate) fn engine_fault(problem: &str, error: &Error) -> Fault {
    Fault::new(Code::EngineFailed, format!("{problem}: {}", engine_message(error)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn explains_an_unusable_socket() {
        let home = tempfile::tempdir().unwrap();
        let file = home.path().join("file");
        fs::write(&file, "").unwrap();
        let abandoned = home.path().join("dead");
        drop(std::os::unix::net::UnixListener::bind(&abandoned).unwrap());
        for (socket, cause) in [
            (home.path().join("none"), "is not there"),
            (home.path().to_owned(), "is a directory"),
            (file, "is not a socket"),
            (abandoned, "has no engine listening on it"),
        ] {
            let fault = DockerEngine::connect(&socket).await.unwrap_err();
            assert_eq!(fault.code, Code::EngineAbsent);
            assert!(fault.cause.contains(cause), "{}", fault.cause);
        }
    }
}
