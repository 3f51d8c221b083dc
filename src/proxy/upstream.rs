//! Streams to the database for foreign sessions: with the TLS that the target requires; the rest is left to the client.

use crate::{
    fault::{Code, Fault},
    postgres::{Target, Tls, fault, for_stream, tls},
    transport::{Transport, TransportStream},
};
use std::{io, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt as _},
    time::timeout,
};
use tokio_postgres::tls::TlsConnect as _;
use tokio_postgres_rustls::MakeRustlsConnect;
use tokio_util::either::Either;

/// Time limit for one step of TLS; opening a stream has a limit of its own.
const PATIENCE: Duration = Duration::from_secs(30);

/// The connection data of one database.
pub(crate) struct Upstream<'a> {
    reach: &'a Transport,
    target: &'a Target,
    connector: Result<Option<MakeRustlsConnect>, Fault>,
}

impl<'a> Upstream<'a> {
    pub(crate) fn new(reach: &'a Transport, target: &'a Target) -> Self {
        Self { reach, target, connector: tls::connector(target) }
    }

    /// Opens a stream and sends the first packet.
    pub(crate) async fn begun(&self, first: &[u8]) -> Result<TransportStream, Fault> {
        let mut stream = self.open().await?;
        self.say(&mut stream, first).await?;
        Ok(stream)
    }

    /// Opens a stream on which the database expects a TLS handshake.
    pub(crate) async fn asked(&self) -> Result<TransportStream, Fault> {
        let mut stream = self.open().await?;
        let asked = self.in_time(tls::ask(&mut stream, self.target)).await;
        asked.and_then(|answer| answer).map_err(|fault| self.lost().unwrap_or(fault))?;
        Ok(stream)
    }

    /// Opens a stream, with TLS if the target requires it, and sends the first packet.
    pub(crate) async fn secured(
        &self,
        first: &[u8],
    ) -> Result<(impl AsyncRead + AsyncWrite + Unpin + use<'a>, Tls), Fault> {
        let Some(connector) = self.connector.clone()? else {
            return Ok((Either::Left(self.begun(first).await?), Tls::Off));
        };
        let connect = for_stream(&connector, self.target)?;
        let stream = self.asked().await?;
        let connected = self.in_time(connect.connect(stream)).await?;
        let mut secured = connected.map_err(|error| self.broken(&error))?;
        self.say(&mut secured, first).await?;
        Ok((Either::Right(secured), Tls::Ours))
    }

    /// Returns the fault of the transport, if it is broken.
    pub(crate) fn lost(&self) -> Option<Fault> {
        self.reach.loss_fault()
    }

    async fn open(&self) -> Result<TransportStream, Fault> {
        self.reach.open_stream(&self.target.host, self.target.port).await
    }

    async fn say(&self, stream: &mut (impl AsyncWrite + Unpin), first: &[u8]) -> Result<(), Fault> {
        stream.write_all(first).await.map_err(|error| self.broken(&error))?;
        stream.flush().await.map_err(|error| self.broken(&error))
    }

    fn broken(&self, error: &io::Error) -> Fault {
        self.lost().unwrap_or_else(|| fault::handshake(error, self.target))
    }

    async fn in_time<T>(&self, step: impl Future<Output = T>) -> Result<T, Fault> {
        timeout(PATIENCE, step).await.map_err(|_late| {
            let at = format!("`{}:{}`", self.target.host, self.target.port);
            Fault::new(Code::DatabaseTimeout, format!("{at} does not answer"))
        })
    }
}
