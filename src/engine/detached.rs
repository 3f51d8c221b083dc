//! A container that goes on when we have ended: what it is told at its beginning, and what it says until it is ready.

use super::{
    Container,
    client::{said, trouble},
    container::read,
};
use crate::{fault::Fault, run::program::Output};
use bollard::query_parameters::LogsOptionsBuilder;
use futures_util::{StreamExt as _, future::Either, future::select};
use std::{cell::Cell, pin::pin};
use tokio::{io::AsyncWriteExt as _, sync::Notify};

/// Whether enough was heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heard {
    /// There is more to come.
    More,
    /// No more is needed.
    Enough,
}

/// Lines of a container's log that are worth reading at its end.
const LAST: &str = "20";

impl Container {
    /// Starts it, writes this to its standard input, and tells its lines until enough was heard or it has ended. It goes on.
    ///
    /// # Errors
    /// `engine-failed`.
    pub async fn begin(&self, input: &[u8], mut tell: impl FnMut(&str) -> Heard) -> Result<Heard, Fault> {
        let mut attached = self.attach().await?;
        self.start().await?;
        let written = async {
            attached.input.write_all(input).await?;
            attached.input.shutdown().await
        };
        written.await.map_err(|error| {
            trouble("the container's input could not be written", &bollard::errors::Error::from(error))
        })?;
        let (enough, heard) = (Notify::new(), Cell::new(Heard::More));
        let listen = read(attached.output, |output| {
            if let Output::Out(line) | Output::Err(line) = output
                && heard.get() == Heard::More
            {
                heard.set(tell(line));
                if heard.get() == Heard::Enough {
                    enough.notify_one();
                }
            }
        });
        match select(pin!(listen), pin!(enough.notified())).await {
            Either::Left(_) | Either::Right(_) => Ok(heard.get()),
        }
    }

    /// The port of the engine's host at which a port of it is published.
    ///
    /// # Errors
    /// `engine-failed` when it is not.
    pub async fn published(&self, port: u16) -> Result<u16, Fault> {
        let known = self.engine.docker.inspect_container(self.id(), None).await;
        let known = known.map_err(|error| trouble("the container can't be looked at", &error))?;
        let bindings = known.network_settings.and_then(|settings| settings.ports?.remove(&format!("{port}/tcp"))?);
        let found =
            bindings.and_then(|bindings| bindings.into_iter().find_map(|binding| binding.host_port?.parse().ok()));
        found.ok_or_else(|| {
            Fault::new(
                crate::fault::Code::EngineFailed,
                format!("the engine did not publish port {port} of the container"),
            )
        })
    }

    /// The last lines that it said.
    ///
    /// # Errors
    /// `engine-failed`.
    pub(super) async fn last_words(&self) -> Result<Vec<String>, Fault> {
        let options = LogsOptionsBuilder::new().stdout(true).stderr(true).tail(LAST).build();
        let mut pieces = pin!(self.engine.docker.logs(self.id(), Some(options)));
        let mut lines = Vec::new();
        while let Some(piece) = pieces.next().await {
            let piece = piece.map_err(|error| trouble(&format!("the log can't be read ({})", said(&error)), &error))?;
            let text = String::from_utf8_lossy(&piece.into_bytes()).into_owned();
            lines.extend(text.lines().map(str::to_owned));
        }
        Ok(lines)
    }
}
