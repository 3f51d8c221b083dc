//! A script at a site whose output is a stream of bytes. Its sessions with the database can only read.

use super::{
    Sites,
    container_spec::{SessionAccess, SessionTerms},
};
use crate::{
    fault::{Code, Fault},
    run::process::{ExitStatus, OutputChunk},
    settings::Site,
};

impl Sites<'_> {
    /// Gets an image that the settings do not name.
    ///
    /// # Errors
    /// The fault of the engine.
    pub(crate) async fn ensure_image(&mut self, reference: &str) -> Result<(), Fault> {
        match &mut self.containers {
            Some(containers) => containers.ensure_image(reference).await,
            None => Err(Fault::new(Code::Bug, format!("no engine is prepared for `{reference}`"))),
        }
    }

    /// Runs the script to its exit; `on_output` is awaited before more of its output is read. A script that is not
    /// awaited any more is ended by [`Self::stop_commands`], or with its connection.
    ///
    /// # Errors
    /// The fault of `on_output`, of the engine or of the connection.
    pub(crate) async fn stream_script(
        &self,
        site: &Site,
        script: &str,
        on_output: impl AsyncFnMut(OutputChunk<'_>) -> Result<(), Fault>,
    ) -> Result<ExitStatus, Fault> {
        let terms = SessionTerms::with_user_lock_timeout(self.settings, SessionAccess::ReadOnly);
        match (site, &self.containers, &self.server) {
            (Site::Image(image), Some(containers), _) => {
                containers.stream_script(self.shared_transport()?, image, script, terms, on_output).await
            }
            (Site::Server, _, Some(server)) => server.stream_script(self.transport()?, script, terms, on_output).await,
            (Site::Image(_) | Site::Server, ..) => Err(Fault::new(Code::Bug, "no site is prepared for a stream")),
        }
    }
}
