//! A container that outlives this process: its standard input at the start, and its output until it is ready.

use super::{
    client::{engine_fault, engine_message},
    container::Container,
};
use crate::{
    fault::Fault,
    run::process::{FollowOutput, Output},
    secret::Redactor,
};
use bollard::query_parameters::LogsOptionsBuilder;
use futures_util::StreamExt as _;
use std::pin::pin;

/// Number of lines to read from the end of a container's log.
const LOG_TAIL_LINES: &str = "20";

impl Container {
    /// Starts the container, writes `input` to its standard input, and passes its lines to `on_line` until that stops
    /// or the output ends. The container goes on.
    ///
    /// # Errors
    /// `engine-failed`.
    pub async fn start_detached(
        &self,
        input: &[u8],
        mut on_line: impl FnMut(&str) -> FollowOutput,
    ) -> Result<FollowOutput, Fault> {
        // The container redacts its own output.
        let mut running = self.start(&Redactor::default()).await?;
        running.write_stdin(input).await?;
        running.close_stdin().await?;
        let following = running.follow_output(|output| match output {
            Output::Stdout(line) | Output::Stderr(line) => on_line(line),
            Output::PartialLine(_) => FollowOutput::Continue,
        });
        Ok(following.await)
    }

    /// Returns the port of the engine's host at which a port of the container is published.
    ///
    /// # Errors
    /// `engine-failed` if it is not published.
    pub async fn published_port(&self, port: u16) -> Result<u16, Fault> {
        let inspection = self.engine.docker.inspect_container(self.id(), None).await;
        let inspection = inspection.map_err(|error| engine_fault("the container can't be inspected", &error))?;
        let bindings =
            inspection.network_settings.and_then(|settings| settings.ports?.remove(&format!("{port}/tcp"))?);
        let host_port =
            bindings.and_then(|bindings| bindings.into_iter().find_map(|binding| binding.host_port?.parse().ok()));
        host_port.ok_or_else(|| {
            Fault::new(
                crate::fault::Code::EngineFailed,
                format!("the engine did not publish port {port} of the container"),
            )
        })
    }

    /// Returns the last lines of its log.
    ///
    /// # Errors
    /// `engine-failed`.
    pub(crate) async fn log_tail(&self) -> Result<Vec<String>, Fault> {
        let options = LogsOptionsBuilder::new().stdout(true).stderr(true).tail(LOG_TAIL_LINES).build();
        let mut chunks = pin!(self.engine.docker.logs(self.id(), Some(options)));
        let mut text = String::new();
        while let Some(chunk) = chunks.next().await {
            let chunk = chunk.map_err(|error| {
                engine_fault(&format!("the log can't be read ({})", engine_message(&error)), &error)
            })?;
            // The engine splits a long line into pieces.
            text.push_str(&String::from_utf8_lossy(&chunk.into_bytes()));
        }
        Ok(text.lines().map(str::to_owned).collect())
    }
}
