//! Streams to the database for foreign sessions: with the TLS that the target requires; the rest is left to the client.

use super::{
    own_login::{self, LoginFailure},
    password_proof::PasswordProof,
    startup_packet,
    stats::ProxyStats,
};
use crate::{
    fault::{Code, Fault},
    postgres::{DatabaseTarget, fault, server_end_point, tls},
    run::event::Events,
    transport::{Transport, TransportStream},
};
use rustls::{ClientConfig, pki_types::ServerName};
use std::{io, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, copy, sink},
    time::timeout,
};
use tokio_rustls::TlsConnector;
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
    tls_client: Result<Option<(Arc<ClientConfig>, ServerName<'static>)>, Fault>,
}

/// A stream to the server, with its first packet sent.
pub(crate) struct SecuredStream<S> {
    pub(crate) stream: S,
    pub(crate) tls: UpstreamTls,
    /// The channel binding `tls-server-end-point`, if there is one.
    pub(super) server_end_point: Option<Vec<u8>>,
}

impl<'a> Upstream<'a> {
    pub(crate) fn new(transport: &'a Transport, target: &'a DatabaseTarget) -> Self {
        Self { transport, target, tls_client: tls::verified_client(target) }
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
        self.finish_step(self.within_timeout(tls::request_tls(&mut stream, self.target)).await)?;
        Ok(stream)
    }

    fn finish_step(&self, outcome: Result<Result<(), Fault>, Fault>) -> Result<(), Fault> {
        outcome.and_then(|result| result).map_err(|fault| self.transport_fault().unwrap_or(fault))
    }

    /// Opens a stream, with TLS if the target requires it, and sends the first packet.
    pub(crate) async fn open_secured(
        &self,
        first: &[u8],
    ) -> Result<SecuredStream<impl AsyncRead + AsyncWrite + Unpin + use<'a>>, Fault> {
        let Some((config, name)) = self.tls_client.clone()? else {
            let stream = Either::Left(self.open_with(first).await?);
            return Ok(SecuredStream { stream, tls: UpstreamTls::Off, server_end_point: None });
        };
        let mut stream = self.open_stream().await?;
        self.finish_step(self.within_timeout(tls::begin_tls(&mut stream, self.target)).await)?;
        let connected = self.within_timeout(TlsConnector::from(config).connect(name, stream)).await?;
        let mut secured = connected.map_err(|error| self.stream_fault(&error))?;
        let (_, connection) = secured.get_ref();
        let certificate = connection.peer_certificates().and_then(<[_]>::first);
        let server_end_point = certificate.and_then(server_end_point);
        self.write_first(&mut secured, first).await?;
        Ok(SecuredStream { stream: Either::Right(secured), tls: UpstreamTls::Terminated, server_end_point })
    }

    /// Opens a stream as [`Self::open_secured`], and logs the client in if that is our part. Returns the first messages
    /// for the client as well.
    pub(crate) async fn open_logged_in(
        &self,
        startup: &[u8],
        events: &Events,
    ) -> Result<(impl AsyncRead + AsyncWrite + Unpin + use<'a>, UpstreamTls, Vec<u8>), LoginFailure> {
        // A token is for one role: a client that names another one has a password of its own.
        let is_own_role = startup_packet::role_of(startup) == Some(self.target.user.as_bytes());
        let token = match &self.target.identity.token {
            Some(login) if is_own_role => Some(login.fresh_token(events).await.map_err(LoginFailure::of_fault)?),
            Some(_) | None => None,
        };
        let secured = self.open_secured(startup).await.map_err(LoginFailure::of_fault)?;
        let SecuredStream { stream: mut server, tls, server_end_point } = secured;
        if !self.target.identity.is_given() {
            return Ok((server, tls, Vec::new()));
        }
        let proof = token.map(|token| PasswordProof::new(&self.target.user, token, server_end_point));
        let logged_in = self.within_timeout(own_login::log_in(&mut server, self.target, proof)).await;
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
            Ok(mut server) => drop(timeout(CANCEL_TIMEOUT, copy(&mut server.stream, &mut sink())).await),
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
