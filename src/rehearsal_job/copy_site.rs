//! The place of the copies: a server of the user's, or one that is started in a container for them.

use crate::{
    docker::{ContainerKind, Labels},
    fault::{Code, Fault},
    github::runner::Runner,
    rehearsal::{CopyContainer, CopyServer, Original},
    run::event::Events,
    settings::{CopyPlace, Settings},
    site::{connect_engine_from_anywhere, unique_run_name},
};

/// The place of the copies, as far as it was reached.
#[derive(Debug, Default)]
pub(super) struct CopySite {
    container: Option<CopyContainer>,
    server: Option<CopyServer>,
}

const NO_ENGINE_FIX: &str = "without the engine's socket, what works is `rehearse` with the URL of a PostgreSQL server, as a service of the job is \
    (docs/rehearsal.md)";

impl CopySite {
    /// Starts the server if it is ours, and connects to it. What was started stays here, to be closed.
    ///
    /// # Errors
    /// The faults of the engine and of a pull; `rehearsal-copy`.
    pub(super) async fn open(
        &mut self,
        (settings, place): (&Settings, &CopyPlace),
        (runner, events): (&Runner, &Events),
        original: &Original,
    ) -> Result<&CopyServer, Fault> {
        let reached = match place {
            CopyPlace::Server(target) => ((**target).clone(), format!("{}:{}", target.host, target.port)),
            CopyPlace::Container(image) => {
                let labels = Labels::new(&unique_run_name(runner), ContainerKind::Copy, settings.safety.timeout * 2);
                let engine = connect_engine_from_anywhere(runner, &labels, events).await;
                let engine = engine.map_err(|fault| match fault.code {
                    Code::EngineAbsent | Code::EngineForbidden | Code::EngineTooOld => fault.fix(NO_ENGINE_FIX),
                    _ => fault,
                })?;
                let major = original.server_version / 10_000;
                let started = CopyContainer::start(&engine, image, (major, &labels), events).await?;
                let started = self.container.insert(started);
                let target = started.target();
                (target.clone(), format!("{}:{} (a container of {})", target.host, target.port, started.image()))
            }
        };
        let server = CopyServer::connect(reached, settings.wait_timeout, events, original).await?;
        Ok(self.server.insert(server))
    }

    /// Drops the copies at the end of their use.
    ///
    /// # Errors
    /// The names of what is left.
    pub(super) async fn drop_copies(&self) -> Result<(), Fault> {
        match (&self.container, &self.server) {
            (Some(container), _) => container.remove().await,
            (None, Some(server)) => server.drop_copies().await,
            (None, None) => Ok(()),
        }
    }

    /// Drops the copies of work that was stopped.
    ///
    /// # Errors
    /// The names of what is left.
    pub(super) async fn stop(&self) -> Result<(), Fault> {
        match (&self.container, &self.server) {
            (Some(container), _) => container.remove().await,
            (None, Some(server)) => server.stop().await,
            (None, None) => Ok(()),
        }
    }

    /// Drops what is left, and closes the session.
    ///
    /// # Errors
    /// The names of what is left.
    pub(super) async fn close(self) -> Result<(), Fault> {
        match (self.container, self.server) {
            (Some(container), server) => {
                let removed = container.close().await;
                if let Some(server) = server {
                    server.abandon().await;
                }
                removed
            }
            (None, Some(server)) => server.close().await,
            (None, None) => Ok(()),
        }
    }
}
