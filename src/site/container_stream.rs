//! A script in a container whose output is a stream of bytes.

use super::{
    container::Containers,
    container_spec::{self, SessionTerms},
};
use crate::{
    docker::{ContainerSpec, OutputRecord},
    fault::Fault,
    run::process::{ExitStatus, OutputChunk},
    settings::SiteImage,
    tool::CommandLine,
    transport::Transport,
};
use std::rc::Rc;

impl Containers<'_> {
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
        let line = CommandLine::Shell(script.to_owned());
        let spec = self.container_spec(image, &line, terms)?;
        // Neither the tool's directory nor an entrypoint belongs to the script.
        let spec = ContainerSpec { working_directory: None, record: OutputRecord::None, ..spec };
        let container = self.create_from_spec(container_spec::for_step_image(spec, &line)).await?;
        let redactor = self.events.redactor();
        let work = async move { container.start(redactor).await?.stream_to_exit(on_output).await };
        let ended = self.endpoint.accept_loop(transport).run_during(work).await;
        self.remove_current().await?;
        Ok(ended?.status)
    }
}
