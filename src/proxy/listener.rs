//! A listener on loopback through which foreign tools reach the database. For a client without TLS, our settings are
//! added to its start-up packet and its session is recorded; a client that insists on its own TLS is passed through.

use super::{
    client_settings::{EncodedSettings, PreparedSession},
    client_source::{ClientSource, ClientStream},
    error_response,
    first_packets::{decline_encryption, read_first_packet, send_error_and_close},
    lock_timeout::LockTimeoutSwitch,
    own_login::LoginFailure,
    relay::relay_streams,
    session_recorder::SessionRecorder,
    stand_in::StandIn,
    startup_packet::{self, FirstPacket},
    stats::{ProxyStats, ServerError, Traffic},
    upstream::Upstream,
};
use crate::{
    fault::{Code, Fault},
    postgres::{DatabaseTarget, SessionSettings, backend_messages::TLS_ACCEPTED},
    run::event::Events,
    transport::{RemotePort, Transport, TransportStream},
};
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use std::{
    convert::Infallible,
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    pin::pin,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, join, split},
    net::TcpListener,
    sync::Mutex as AsyncMutex,
    time::timeout,
};

/// Time limit for each of a client's first packets.
const FIRST_PACKET_TIMEOUT: Duration = Duration::from_secs(60);

/// Number of first packets that a client needs: a GSSAPI request, a TLS request, and the start-up packet.
const MAX_FIRST_PACKETS: usize = 3;

/// The handling of a client that requests TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientTls {
    /// Its TLS is passed through to the database: settings arrive only if the client reads them itself (PGOPTIONS,
    /// URL).
    PassThrough,
    /// The client's TLS request is declined, so that it continues in plain text; the proxy opens the TLS connection to
    /// the database that [`DatabaseTarget`] requires.
    Terminated,
}

/// A listening socket; it serves clients while [`ProxyListener::serve`] is polled.
#[derive(Debug)]
pub struct ProxyListener {
    source: ClientSource,
    /// Set if the database is not the one that clients know.
    stand_in: Option<StandIn>,
    client_tls: Mutex<ClientTls>,
    session_settings: Mutex<EncodedSettings>,
    allowed_address: Option<IpAddr>,
    /// The receiver of what obtaining a token emits; its redactor is given the tokens.
    events: Events,
    stats: ProxyStats,
}

impl ProxyListener {
    /// Binds the socket.
    ///
    /// # Errors
    /// If the address can't be bound, or a setting contains a NUL, which the protocol can't transmit.
    pub async fn bind(address: SocketAddr, client_tls: ClientTls, injected: SessionSettings) -> io::Result<Self> {
        let session_settings = Mutex::new(EncodedSettings::encode(injected)?);
        let source = ClientSource::Socket(TcpListener::bind(address).await?);
        let client_tls = Mutex::new(client_tls);
        let (events, stats) = (Events::channel().0, ProxyStats::default());
        let (stand_in, allowed_address) = (None, None);
        Ok(Self { source, stand_in, client_tls, session_settings, allowed_address, events, stats })
    }

    /// Serves the clients of a port of the server's loopback.
    ///
    /// # Errors
    /// If a setting contains a NUL, which the protocol can't transmit.
    pub fn at_remote_port(port: RemotePort, injected: SessionSettings) -> io::Result<Self> {
        let number = port.number();
        Ok(Self {
            source: ClientSource::RemotePort(AsyncMutex::new(port), number),
            stand_in: None,
            client_tls: Mutex::new(ClientTls::Terminated),
            session_settings: Mutex::new(EncodedSettings::encode(injected)?),
            allowed_address: None,
            events: Events::channel().0,
            stats: ProxyStats::default(),
        })
    }

    /// Lets the database stand in for the one that clients know.
    #[must_use]
    pub fn standing_in(self, stand_in: StandIn) -> Self {
        Self { stand_in: Some(stand_in), ..self }
    }

    /// Returns the stand-in, if it is one.
    #[must_use]
    pub fn stand_in(&self) -> Option<&StandIn> {
        self.stand_in.as_ref()
    }

    /// Emits these events, whose redactor hides the tokens by which it logs clients in.
    #[must_use]
    pub fn emitting(self, events: &Events) -> Self {
        Self { events: events.clone(), ..self }
    }

    /// Accepts only clients from this address; without one, all clients.
    #[must_use]
    pub fn only_from(self, address: Option<IpAddr>) -> Self {
        Self { allowed_address: address, ..self }
    }

    /// Returns the current treatment of clients that ask for TLS.
    #[must_use]
    pub fn passage(&self) -> ClientTls {
        *self.client_tls.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Passes the TLS of all clients through from now on.
    pub fn let_through(&self) {
        *self.client_tls.lock().unwrap_or_else(PoisonError::into_inner) = ClientTls::PassThrough;
    }

    /// Changes the settings of sessions that begin from now on.
    ///
    /// # Errors
    /// If a setting contains a NUL.
    pub fn set_session_settings(&self, injected: SessionSettings) -> io::Result<()> {
        *self.session_settings.lock().unwrap_or_else(PoisonError::into_inner) = EncodedSettings::encode(injected)?;
        Ok(())
    }

    /// Returns the address at which clients find it, here or on the server.
    ///
    /// # Errors
    /// The error of the operating system.
    pub fn local_address(&self) -> io::Result<SocketAddr> {
        match &self.source {
            ClientSource::Socket(socket) => socket.local_addr(),
            ClientSource::RemotePort(_, number) => Ok(SocketAddr::from((Ipv4Addr::LOCALHOST, *number))),
        }
    }

    /// Serves clients while it is polled; never ends by itself. Dropping the future closes every client's connection.
    pub async fn serve(&self, transport: &Transport, target: &DatabaseTarget) -> Infallible {
        let upstream = Upstream::new(transport, target);
        let mut clients = FuturesUnordered::new();
        let mut next = pin!(self.accept_client());
        loop {
            tokio::select! {
                client = &mut next => {
                    clients.push(self.serve_client(client, &upstream));
                    next.set(self.accept_client());
                }
                Some(()) = clients.next() => {}
            }
        }
    }

    /// Returns the pids of the connected backends, as they announced them. Those of passed-through clients are unknown.
    #[must_use]
    pub fn backend_pids(&self) -> Vec<i32> {
        self.stats.backend_pids()
    }

    /// Returns the traffic so far.
    #[must_use]
    pub fn traffic(&self) -> Traffic {
        self.stats.traffic()
    }

    /// Returns the time at which the server last responded to a client; `None` if only encrypted streams passed.
    #[must_use]
    pub fn answered(&self) -> Option<Instant> {
        self.stats.last_response()
    }

    /// Returns the last error that the server sent to a client over an unencrypted stream.
    #[must_use]
    pub fn last_error(&self) -> Option<ServerError> {
        self.stats.last_error()
    }

    /// Returns the fault of the last client that could not be connected to the database, or lost it with the tunnel.
    #[must_use]
    pub fn last_fault(&self) -> Option<Fault> {
        self.stats.last_fault()
    }

    async fn accept_client(&self) -> ClientStream {
        self.source.accept(self.allowed_address).await
    }

    /// Serves one client from its first packet to its end.
    async fn serve_client(&self, mut client: ClientStream, upstream: &Upstream<'_>) {
        self.stats.update_traffic(|traffic| traffic.connections += 1);
        let served = match &self.stand_in {
            Some(stand_in) => {
                let with_ours =
                    |packet: &[u8]| self.current_settings().prepare_session(packet).map(|session| session.packet);
                Box::pin(stand_in.serve_client(&mut client, upstream, &self.stats, with_ours)).await
            }
            None => self.handle_first_packets(&mut client, upstream).await,
        };
        if let Err(error_packet) = served {
            send_error_and_close(&mut client, &error_packet).await;
        }
    }

    /// Handles the client's first packets and its session. The error is the last message to the client.
    async fn handle_first_packets(&self, client: &mut ClientStream, upstream: &Upstream<'_>) -> Result<(), Vec<u8>> {
        let mut declined = 0;
        for _ in 0..MAX_FIRST_PACKETS {
            let Ok(Ok(packet)) = timeout(FIRST_PACKET_TIMEOUT, read_first_packet(client)).await else { return Ok(()) };
            // A client that sends a further packet accepts plain text. A declined request is counted at once, so that a
            // client that disconnects while we wait is counted, too.
            self.stats.update_traffic(|traffic| traffic.declined -= std::mem::take(&mut declined));
            match (startup_packet::classify_packet(&packet), self.passage()) {
                (FirstPacket::TlsRequest, ClientTls::Terminated) => {
                    declined = 1;
                    self.stats.update_traffic(|traffic| traffic.declined += declined);
                    decline_encryption(client).await;
                }
                (FirstPacket::GssRequest, _) => decline_encryption(client).await,
                (FirstPacket::TlsRequest, ClientTls::PassThrough) => match upstream.open_tls_ready().await {
                    Ok(server) => return self.relay_client_tls(client, server, &[TLS_ACCEPTED], upstream).await,
                    // The database has no TLS: the client may continue in plain text, if the target allows it.
                    Err(fault) if fault.code == Code::TlsUnavailable => decline_encryption(client).await,
                    Err(fault) => return Err(self.record_failure(fault)),
                },
                (FirstPacket::TlsHandshake, ClientTls::PassThrough) => {
                    let server = upstream.open_with(&packet).await.map_err(|fault| self.record_failure(fault))?;
                    return self.relay_client_tls(client, server, &[], upstream).await;
                }
                (FirstPacket::Startup, _) => {
                    let PreparedSession { packet, switch } = self.current_settings().prepare_session(&packet)?;
                    return self
                        .relay_session(client, (&packet, switch), upstream, |traffic| traffic.settled += 1)
                        .await;
                }
                // A replication client is known by its own name, and runs no statement of a migration.
                (FirstPacket::Replication, _) => {
                    return self
                        .relay_session(client, (&packet, LockTimeoutSwitch::inactive()), upstream, |_| {})
                        .await;
                }
                (FirstPacket::CancelRequest, _) => {
                    upstream.forward_cancel(&packet, &self.stats).await;
                    return Ok(());
                }
                (FirstPacket::TlsHandshake, ClientTls::Terminated) | (FirstPacket::Invalid, _) => break,
            }
        }
        Err(error_response::protocol_violation())
    }

    /// Relays a session that the proxy can read.
    async fn relay_session(
        &self,
        client: &mut ClientStream,
        (packet, switch): (&[u8], LockTimeoutSwitch),
        upstream: &Upstream<'_>,
        count: impl FnOnce(&mut Traffic),
    ) -> Result<(), Vec<u8>> {
        let opened = Box::pin(upstream.open_logged_in(packet, &self.events)).await;
        let (server, tls, first) = opened.map_err(|LoginFailure { fault, packet }| {
            self.stats.record_fault(fault);
            packet
        })?;
        self.stats.update_traffic(count);
        let (from_server, to_server) = split(server);
        let server = join(io::Cursor::new(first).chain(from_server), to_server);
        relay_streams(client, server, (SessionRecorder::new(tls), switch), &self.stats, || upstream.transport_fault())
            .await;
        Ok(())
    }

    /// Relays a session in the client's own TLS; `reply` is the response that the client waits for.
    async fn relay_client_tls(
        &self,
        client: &mut ClientStream,
        server: TransportStream,
        reply: &[u8],
        upstream: &Upstream<'_>,
    ) -> Result<(), Vec<u8>> {
        self.stats.update_traffic(|traffic| traffic.untouched += 1);
        // If the client has gone meanwhile, the relay notices it.
        drop(client.write_all(reply).await);
        relay_streams(
            client,
            server,
            (SessionRecorder::unparsed(), LockTimeoutSwitch::inactive()),
            &self.stats,
            || upstream.transport_fault(),
        )
        .await;
        Ok(())
    }

    fn current_settings(&self) -> EncodedSettings {
        self.session_settings.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn record_failure(&self, fault: Fault) -> Vec<u8> {
        let error_packet = error_response::connection_failure(&fault);
        self.stats.record_fault(fault);
        error_packet
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpStream;

    async fn listener(client_tls: ClientTls) -> ProxyListener {
        ProxyListener::bind(([127, 0, 0, 1], 0).into(), client_tls, SessionSettings::named("we")).await.unwrap()
    }

    async fn client(listener: &ProxyListener, sent: &[u8]) -> TcpStream {
        let mut client = TcpStream::connect(listener.local_address().unwrap()).await.unwrap();
        client.write_all(sent).await.unwrap();
        client
    }

    fn target(server: &TcpListener) -> DatabaseTarget {
        DatabaseTarget::new("127.0.0.1", server.local_addr().unwrap().port(), "me", "shop")
    }

    /// Returns the bytes that a refused client receives from a listener in front of this server.
    async fn replies(server: &TcpListener, sent: &[u8]) -> (Vec<u8>, ProxyListener) {
        let (listener, target) = (listener(ClientTls::Terminated).await, target(server));
        let mut client = client(&listener, sent).await;
        let mut replies = Vec::new();
        tokio::select! {
            _ = listener.serve(&Transport::Direct, &target) => {}
            read = client.read_to_end(&mut replies) => drop(read.unwrap()),
        }
        (replies, listener)
    }

    #[tokio::test(start_paused = true)]
    async fn drops_a_silent_client_after_a_minute() {
        let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
        for sent in [b"".as_slice(), b"\0\0", b"\0\0\0\x20\0\x03\0\0user\0"] {
            let begin = tokio::time::Instant::now();
            let (replies, listener) = replies(&server, sent).await;
            assert!(replies.is_empty() && begin.elapsed() >= FIRST_PACKET_TIMEOUT);
            assert_eq!(listener.last_fault(), None);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn gives_up_a_silent_server() {
        let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (replies, listener) = replies(&server, b"\0\0\0\x11\0\x03\0\0user\0me\0\0").await;
        let fault = listener.last_fault().unwrap();
        assert_eq!(fault.code, Code::DatabaseTimeout);
        assert_eq!(replies, error_response::connection_failure(&fault));
    }

    #[tokio::test(start_paused = true)]
    async fn refuses_a_client_that_only_requests_encryption() {
        let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (replies, _) = replies(&server, &b"\0\0\0\x08\x04\xd2\x16\x2f".repeat(4)).await;
        assert_eq!(replies, [b"NNN".as_slice(), &error_response::protocol_violation()].concat());
    }

    #[tokio::test]
    async fn passes_direct_tls_through() {
        let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (listener, target) = (listener(ClientTls::PassThrough).await, target(&server));
        let handshake: Vec<u8> = [0x16, 3, 1].into_iter().chain(0..200).collect();
        let mut client = client(&listener, &handshake).await;
        let exchange = async {
            let (mut server, _) = server.accept().await.unwrap();
            let mut arrived = vec![0; handshake.len()];
            server.read_exact(&mut arrived).await.unwrap();
            assert_eq!(arrived, handshake);
            server.write_all(&handshake).await.unwrap();
            drop(server);
            let mut received = Vec::new();
            client.read_to_end(&mut received).await.unwrap();
            assert_eq!(received, handshake);
        };
        tokio::select! {
            _ = listener.serve(&Transport::Direct, &target) => {}
            () = exchange => {}
        }
        let traffic = listener.traffic();
        assert_eq!((traffic.connections, traffic.settled, traffic.untouched), (1, 0, 1));
    }

    #[tokio::test]
    async fn refuses_a_setting_with_a_nul() {
        let injected = SessionSettings::named("we").with_default("search_path", "a\0b");
        let error = ProxyListener::bind(([127, 0, 0, 1], 0).into(), ClientTls::Terminated, injected).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    }
}
