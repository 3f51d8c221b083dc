//! Streams to the database for foreign sessions: with the TLS that the target requires; the rest is left to the client.

use super::{
    own_login::{self, LoginFailure},
    startup_packet,
    stats::ProxyStats,
};
use crate::{
    fault::{Code, Fault},
    postgres::{DatabaseTarget, fault, tls, tls_for_stream},
    secret::Redactor,
    transport::{Transport, TransportStream},
};
use std::{io, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, copy, sink},
    time::timeout,
};
use tokio_postgres::tls::TlsConnect as _;
use tokio_postgres_rustls::MakeRustlsConnect;
use tokio_util::either::Either;

/// Time limit for the server to process a cancel request.
const CANCEL_TIMEOUT: Duration = Duration::from_secs(10);

/// Time limit for one step of TLS; opening a stream has a limit of its own.
const STEP_TIMEOUT: Duration = Duration::from_secs(30);

/// The TLS between the proxy and the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum UpstreamTls {
    /// No TLS of the proxy's own.
    Off,
    /// The proxy terminates TLS. So the client can't use channel binding, and libpq fails if the server offers it
    /// over a connection without TLS (measured).
    Terminated,
}

/// The connection data of one database.
pub(crate) struct Upstream<'a> {
    transport: &'a Transport,
    target: &'a DatabaseTarget,
    connector: Result<Option<MakeRustlsConnect>, Fault>,
}

impl<'a> Upstream<'a> {
    pub(crate) fn new(transport: &'a Transport, target: &'a DatabaseTarget) -> Self {
        Self { transport, target, connector: tls::tls_connector(target) }
    }

    /// Opens a stream and sends the first packet.
    pub(crate) async fn open_with(&self, first: &[u8]) -> Result<TransportStream, Fault> {
        let mut stream = self.open_stream().await?;
        self.write_first(&mut stream, first).await?;
        Ok(stream)
    }

    /// Opens a stream on which the database expects a TLS handshake.
    pub(crate) async fn open_tls_ready(&self) -> Result<TransportStream, Fault> {
        let mut stream = self.open_stream().await?;
        let outcome = self.within_timeout(tls::request_tls(&mut stream, self.target)).await;
        outcome.and_then(|result| result).map_err(|fault| self.transport_fault().unwrap_or(fault))?;
        Ok(stream)
    }

    /// Opens a stream, with TLS if the target requires it, and sends the first packet.
    pub(crate) async fn open_secured(
        &self,
        first: &[u8],
    ) -> Result<(impl AsyncRead + AsyncWrite + Unpin + use<'a>, UpstreamTls), Fault> {
        let Some(connector) = self.connector.clone()? else {
            return Ok((Either::Left(self.open_with(first).await?), UpstreamTls::Off));
        };
        let connect = tls_for_stream(&connector, self.target)?;
        let stream = self.open_tls_ready().await?;
        let connected = self.within_timeout(connect.connect(stream)).await?;
        let mut secured = connected.map_err(|error| self.stream_fault(&error))?;
        self.write_first(&mut secured, first).await?;
        Ok((Either::Right(secured), UpstreamTls::Terminated))
    }

    /// Opens a stream as [`Self::open_secured`], and logs the client in if that is our part. Returns the first messages
    /// for the client as well.
    pub(crate) async fn open_logged_in(
        &self,
        startup: &[u8],
        redactor: &Redactor,
    ) -> Result<(impl AsyncRead + AsyncWrite + Unpin + use<'a>, UpstreamTls, Vec<u8>), LoginFailure> {
        // A token is for one role: a client that names another one has a password of its own.
        let is_own_role = startup_packet::role_of(startup) == Some(self.target.user.as_bytes());
        let token = match &self.target.identity.token {
            Some(login) if is_own_role => Some(login.fresh_token(redactor).await.map_err(LoginFailure::of_fault)?),
            Some(_) | None => None,
        };
        let (mut server, tls) = self.open_secured(startup).await.map_err(LoginFailure::of_fault)?;
        if !self.target.identity.is_given() {
            return Ok((server, tls, Vec::new()));
        }
        let logged_in = self.within_timeout(own_login::log_in(&mut server, self.target, token.as_ref())).await;
        let first = logged_in.map_err(LoginFailure::of_fault)?.map_err(|failure| match self.transport_fault() {
            Some(fault) => LoginFailure::of_fault(fault),
            None => failure,
        })?;
        Ok((server, tls, first))
    }

    /// Forwards a cancel request. The server closes the stream when it has processed it, and the client may wait for
    /// that. It expects no other response.
    pub(crate) async fn forward_cancel(&self, packet: &[u8], stats: &ProxyStats) {
        match self.open_secured(packet).await {
            Ok((mut server, _)) => drop(timeout(CANCEL_TIMEOUT, copy(&mut server, &mut sink())).await),
            Err(fault) => stats.record_fault(fault),
        }
    }

    /// Returns the database.
    pub(crate) fn target(&self) -> &'a DatabaseTarget {
        self.target
    }

    /// Returns the fault of the transport, if it is broken.
    pub(crate) fn transport_fault(&self) -> Option<Fault> {
        self.transport.loss_fault()
    }

    async fn open_stream(&self) -> Result<TransportStream, Fault> {
        self.transport.open_stream(&self.target.host, self.target.port).await
    }

    async fn write_first(&self, stream: &mut (impl AsyncWrite + Unpin), first: &[u8]) -> Result<(), Fault> {
        stream.write_all(first).await.map_err(|error| self.stream_fault(&error))?;
        stream.flush().await.map_err(|error| self.stream_fault(&error))
    }

    fn stream_fault(&self, error: &io::Error) -> Fault {
        self.transport_fault().unwrap_or_else(|| fault::handshake_fault(error, self.target))
    }

    async fn within_timeout<T>(&self, step: impl Future<Output = T>) -> Result<T, Fault> {
        timeout(STEP_TIMEOUT, step).await.map_err(|_late| {
            let at = format!("`{}:{}`", self.target.host, self.target.port);
            Fault::new(Code::DatabaseTimeout, format!("{at} does not answer"))
        })
    }
}
