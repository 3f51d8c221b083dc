//! A script in a container whose output is a stream of bytes.

use super::{
    container::Containers,
    container_spec::{self, SessionTerms},
};
use crate::{
    docker::{Container, ContainerSpec, OutputRecord},
    fault::{Code, Fault},
    run::process::{ExitStatus, OutputChunk},
    settings::{ImageSettings, SiteImage},
    tool::CommandLine,
    transport::Transport,
};
use std::rc::Rc;

impl Containers<'_> {
    /// Gets an image that becomes known only after the connection.
    ///
    /// # Errors
    /// The engine's fault.
    pub(crate) async fn ensure_image(&mut self, reference: &str) -> Result<(), Fault> {
        let Some((engine, _)) = &self.connected_engine else {
            return Err(Fault::new(Code::Bug, "the engine is not connected"));
        };
        let ImageSettings { pull, credentials, .. } = self.image_settings;
        let image = engine.ensure_image(reference, *pull, credentials.as_ref(), &self.events).await?;
        self.images.insert(reference.to_owned(), image);
        Ok(())
    }

    /// Creates the container.
    pub(super) async fn create_from_spec(&self, spec: ContainerSpec) -> Result<Container, Fault> {
        let Some((engine, _)) = &self.connected_engine else {
            return Err(Fault::new(Code::Bug, "the engine is not connected"));
        };
        // This removes a tool that was paused.
        self.current.remove().await?;
        self.current.create(engine, spec, &self.labels).await
    }

    /// Runs the script in a container of its own to its exit, and removes the container. The engine keeps no record of
    /// the output.
    ///
    /// # Errors
    /// The fault of `on_output`, or of the engine.
    pub(super) async fn stream_script(
        &self,
        transport: &Rc<Transport>,
        image: &SiteImage,
        script: &str,
        terms: SessionTerms,
        on_output: impl AsyncFnMut(OutputChunk<'_>) -> Result<(), Fault>,
    ) -> Result<ExitStatus, Fault> {
        // In a file: one argument may have 128 KiB (execve(2), MAX_ARG_STRLEN), and the script names all tables.
        let path = format!("{}/stream.sh", container_spec::OWN_DIRECTORY);
        let line = CommandLine::Program(vec!["sh".to_owned(), path.clone()]);
        let mut spec = self.container_spec(image, &line, terms)?;
        spec.files.push((path, script.as_bytes().to_vec()));
        // Neither the tool's directory nor an entrypoint belongs to the script.
        (spec.entrypoint, spec.command) = (spec.command, None);
        (spec.working_directory, spec.record) = (None, OutputRecord::None);
        let container = self.create_from_spec(spec).await?;
        let redactor = self.events.redactor();
        let work = async move { container.start(redactor).await?.stream_to_exit(on_output).await };
        let ended = self.endpoint.accept_loop(transport).run_during(work).await;
        self.remove_current().await?;
        Ok(ended?.status)
    }
}
