//! A listener on loopback through which foreign tools reach the database. For a client without TLS, our settings are
//! added to its start-up packet and its session is recorded; a client that insists on its own TLS is passed through.

use super::{
    lock_timeout::Lift,
    relay::relay,
    startup_packet::{self, Around, First},
    stats::{Record, ServerError, Traffic},
    upstream::Upstream,
};
use crate::{
    fault::{Code, Fault},
    postgres::{Messages, Target},
    transport::{Transport, TransportStream},
};
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use std::{
    convert::Infallible,
    io,
    net::{IpAddr, SocketAddr},
    pin::pin,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, copy, sink},
    net::{TcpListener, TcpStream},
    time::{sleep, timeout},
};

/// Time limit for each of a client's first packets.
const PATIENCE: Duration = Duration::from_secs(60);

/// Number of first packets that a client needs: a GSSAPI request, a TLS request, and the start-up packet.
const FIRST_PACKETS: usize = 3;

/// Time limit for a refused client to read the error.
const FAREWELL: Duration = Duration::from_secs(2);

/// Time limit for the server to process a cancel request.
const CANCEL: Duration = Duration::from_secs(10);

/// Pause after a failed accept, such as without a free file descriptor: the next one would fail at once.
const PAUSE: Duration = Duration::from_millis(100);

/// The handling of a client that requests TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Passage {
    /// Its TLS is passed through to the database: settings arrive only if the client reads them itself (PGOPTIONS,
    /// URL).
    Untouched,
    /// The client is told to go on in plain text; the proxy opens the TLS to the database that [`Target`] requires.
    Bridged,
}

/// The settings added to a client's start-up packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Injected {
    /// The server keeps 63 bytes at most; see [`crate::postgres::run_lock::application_name`].
    pub application_name: String,
    /// Names and values, as in `lock_timeout` and `5000`. The client's own settings win over them.
    pub settings: Vec<(String, String)>,
    /// Settings behind the client's own ones, so that its start-up packet can't override them.
    pub insisted: Vec<(String, String)>,
}

impl Injected {
    /// Returns all settings as the value of libpq's PGOPTIONS.
    #[must_use]
    pub fn options(&self) -> String {
        let all = self.settings.iter().chain(&self.insisted);
        all.map(|(name, value)| format!("-c {name}={value}")).collect::<Vec<_>>().join(" ")
    }

    /// Encodes the settings for start-up packets.
    fn packed(self) -> io::Result<Packed> {
        let lock_timeout = self.settings.iter().find(|(name, _)| name == "lock_timeout");
        let lock_timeout = lock_timeout.and_then(|(_, millis)| millis.parse().ok()).map(Duration::from_millis);
        let around =
            Around { before: startup_packet::options(&self.settings), after: startup_packet::options(&self.insisted) };
        if [&self.application_name, &around.before, &around.after].iter().any(|text| text.contains('\0')) {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "a setting contains a NUL"));
        }
        Ok(Packed { application_name: self.application_name, around, lock_timeout: lock_timeout.unwrap_or_default() })
    }
}

/// The settings as they are added to start-up packets.
#[derive(Debug, Clone)]
struct Packed {
    application_name: String,
    around: Around,
    /// The lock timeout among them, for the statements for which it is disabled.
    lock_timeout: Duration,
}

/// A listening socket; it serves clients while [`Listener::serve`] is polled.
#[derive(Debug)]
pub struct Listener {
    socket: TcpListener,
    passage: Mutex<Passage>,
    packed: Mutex<Packed>,
    from: Option<IpAddr>,
    record: Record,
}

impl Listener {
    /// Binds the socket.
    ///
    /// # Errors
    /// If the address can't be bound, or a setting contains a NUL, which the protocol can't transmit.
    pub async fn bind(address: SocketAddr, passage: Passage, injected: Injected) -> io::Result<Self> {
        let packed = Mutex::new(injected.packed()?);
        let socket = TcpListener::bind(address).await?;
        let passage = Mutex::new(passage);
        Ok(Self { socket, passage, packed, from: None, record: Record::default() })
    }

    /// Accepts only clients from this address; without one, all clients.
    #[must_use]
    pub fn only_from(self, address: Option<IpAddr>) -> Self {
        Self { from: address, ..self }
    }

    /// Returns the current treatment of clients that ask for TLS.
    #[must_use]
    pub fn passage(&self) -> Passage {
        *self.passage.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Passes the TLS of all clients through from now on.
    pub fn let_through(&self) {
        *self.passage.lock().unwrap_or_else(PoisonError::into_inner) = Passage::Untouched;
    }

    /// Changes the settings of sessions that begin from now on.
    ///
    /// # Errors
    /// If a setting contains a NUL.
    pub fn inject(&self, injected: Injected) -> io::Result<()> {
        *self.packed.lock().unwrap_or_else(PoisonError::into_inner) = injected.packed()?;
        Ok(())
    }

    /// Returns the local address of the socket.
    ///
    /// # Errors
    /// The error of the operating system.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// Serves clients while it is polled; never ends by itself. Dropping the future closes every client's connection.
    pub async fn serve(&self, reach: &Transport, target: &Target) -> Infallible {
        let upstream = Upstream::new(reach, target);
        let mut clients = FuturesUnordered::new();
        let mut next = pin!(self.accept());
        loop {
            tokio::select! {
                client = &mut next => {
                    clients.push(self.attend(client, &upstream));
                    next.set(self.accept());
                }
                Some(()) = clients.next() => {}
            }
        }
    }

    /// Returns the pids of the connected backends, as they announced them. Those of passed-through clients are unknown.
    #[must_use]
    pub fn pids(&self) -> Vec<i32> {
        self.record.pids()
    }

    /// Returns the traffic so far.
    #[must_use]
    pub fn traffic(&self) -> Traffic {
        self.record.traffic()
    }

    /// When the server last answered a client; nothing where all that passed was the clients' own TLS.
    #[must_use]
    pub fn answered(&self) -> Option<Instant> {
        self.record.answered()
    }

    /// The last error that the server told a client; none when nothing was seen.
    #[must_use]
    pub fn last_error(&self) -> Option<ServerError> {
        self.record.last_error()
    }

    /// Returns the fault of the last client that could not be connected to the database, or lost it with the tunnel.
    #[must_use]
    pub fn last_fault(&self) -> Option<Fault> {
        self.record.last_fault()
    }

    async fn accept(&self) -> TcpStream {
        loop {
            match self.socket.accept().await {
                Ok((client, from)) if self.from.is_none_or(|only| only == from.ip()) => return client,
                // Dropping the client closes it.
                Ok(_) => {}
                Err(_) => sleep(PAUSE).await,
            }
        }
    }

    /// Serves one client from its first packet to its end.
    async fn attend(&self, mut client: TcpStream, upstream: &Upstream<'_>) {
        self.record.count(|traffic| traffic.connections += 1);
        // Small queries must not wait for the previous acknowledgement; without the option the socket still works.
        drop(client.set_nodelay(true));
        if let Err(farewell) = self.admit(&mut client, upstream).await {
            send_away(&mut client, &farewell).await;
        }
    }

    /// Handles the client's first packets and its session. The error is the last message to the client.
    async fn admit(&self, client: &mut TcpStream, upstream: &Upstream<'_>) -> Result<(), Vec<u8>> {
        let mut told_plain = 0;
        for _ in 0..FIRST_PACKETS {
            let Ok(Ok(packet)) = timeout(PATIENCE, first_packet(client)).await else { return Ok(()) };
            // Who goes on did not insist. Counted before, so that one who is cut off while we wait counts, too.
            self.record.count(|traffic| traffic.declined -= std::mem::take(&mut told_plain));
            match (startup_packet::first(&packet), self.passage()) {
                (First::Tls, Passage::Bridged) => {
                    told_plain = 1;
                    self.record.count(|traffic| traffic.declined += told_plain);
                    go_on_in_plain_text(client).await;
                }
                (First::Gss, _) => go_on_in_plain_text(client).await,
                (First::Tls, Passage::Untouched) => match upstream.asked().await {
                    Ok(server) => return self.untouched(client, server, b"S", upstream).await,
                    // The database has no TLS: the client may go on in plain text, as far as the target allows it.
                    Err(fault) if fault.code == Code::TlsUnavailable => go_on_in_plain_text(client).await,
                    Err(fault) => return Err(self.broken(fault)),
                },
                (First::Handshake, Passage::Untouched) => {
                    let server = upstream.begun(&packet).await.map_err(|fault| self.broken(fault))?;
                    return self.untouched(client, server, b"", upstream).await;
                }
                (First::Startup, _) => {
                    let Packed { application_name, around, lock_timeout } = self.packed();
                    let packet = startup_packet::settled(&packet, &application_name, &around);
                    let packet = packet.ok_or_else(startup_packet::refused)?;
                    let lift = Lift::new(lock_timeout);
                    return self.session(client, (&packet, lift), upstream, |traffic| traffic.settled += 1).await;
                }
                // A replication client is known by its own name, and runs no statement of a migration.
                (First::Replication, _) => {
                    return self.session(client, (&packet, Lift::off()), upstream, |_| {}).await;
                }
                (First::Cancel, _) => return self.cancel(&packet, upstream).await,
                (First::Handshake, Passage::Bridged) | (First::Unknown, _) => break,
            }
        }
        Err(startup_packet::refused())
    }

    /// Relays a session that the proxy can read.
    async fn session(
        &self,
        client: &mut TcpStream,
        (packet, lift): (&[u8], Lift),
        upstream: &Upstream<'_>,
        count: impl FnOnce(&mut Traffic),
    ) -> Result<(), Vec<u8>> {
        let (server, tls) = upstream.secured(packet).await.map_err(|fault| self.broken(fault))?;
        self.record.count(count);
        relay(client, server, (Messages::new(tls), lift), &self.record, || upstream.lost()).await;
        Ok(())
    }

    /// Relays a session in the client's own TLS; `answer` is the response that the client waits for.
    async fn untouched(
        &self,
        client: &mut TcpStream,
        server: TransportStream,
        answer: &[u8],
        upstream: &Upstream<'_>,
    ) -> Result<(), Vec<u8>> {
        self.record.count(|traffic| traffic.untouched += 1);
        // If the client has gone meanwhile, the relay notices it.
        drop(client.write_all(answer).await);
        relay(client, server, (Messages::blind(), Lift::off()), &self.record, || upstream.lost()).await;
        Ok(())
    }

    /// Forwards a cancel request. The server closes the stream when it has processed it, and the client may wait for
    /// that. It expects no other response.
    async fn cancel(&self, packet: &[u8], upstream: &Upstream<'_>) -> Result<(), Vec<u8>> {
        match upstream.secured(packet).await {
            Ok((mut server, _)) => drop(timeout(CANCEL, copy(&mut server, &mut sink())).await),
            Err(fault) => self.record.fault(fault),
        }
        Ok(())
    }

    fn packed(&self) -> Packed {
        self.packed.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn broken(&self, fault: Fault) -> Vec<u8> {
        let farewell = startup_packet::broken(&fault);
        self.record.fault(fault);
        farewell
    }
}

/// Reads one packet and no byte more: the next bytes may be the beginning of the client's TLS.
async fn first_packet(client: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut length = [0; 4];
    client.read_exact(&mut length).await?;
    let mut packet = length.to_vec();
    if let Some(rest) = startup_packet::rest(length) {
        packet.resize(length.len() + rest, 0);
        client.read_exact(packet.get_mut(length.len()..).unwrap_or_default()).await?;
    }
    Ok(packet)
}

/// Declines encryption. If the client has gone meanwhile, its next packet does not come.
async fn go_on_in_plain_text(client: &mut TcpStream) {
    drop(client.write_all(b"N").await);
}

/// Sends the last message and closes. It reads to the end first, because the system would discard the message if
/// bytes were left unread.
async fn send_away(client: &mut TcpStream, farewell: &[u8]) {
    let heard = async {
        client.write_all(farewell).await?;
        client.shutdown().await?;
        copy(client, &mut sink()).await
    };
    drop(timeout(FAREWELL, heard).await);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::postgres::SslMode;

    async fn listener(passage: Passage) -> Listener {
        let injected = Injected { application_name: "we".to_owned(), settings: Vec::new(), insisted: Vec::new() };
        Listener::bind(([127, 0, 0, 1], 0).into(), passage, injected).await.unwrap()
    }

    async fn client(listener: &Listener, says: &[u8]) -> TcpStream {
        let mut client = TcpStream::connect(listener.address().unwrap()).await.unwrap();
        client.write_all(says).await.unwrap();
        client
    }

    fn target(server: &TcpListener) -> Target {
        Target {
            host: "127.0.0.1".to_owned(),
            port: server.local_addr().unwrap().port(),
            user: "me".to_owned(),
            password: None,
            name: "shop".to_owned(),
            sslmode: SslMode::Require,
            ca: None,
            options: None,
        }
    }

    /// Returns the bytes that a refused client receives from a listener in front of this server.
    async fn heard(server: &TcpListener, says: &[u8]) -> (Vec<u8>, Listener) {
        let (listener, target) = (listener(Passage::Bridged).await, target(server));
        let mut client = client(&listener, says).await;
        let mut heard = Vec::new();
        tokio::select! {
            _ = listener.serve(&Transport::Direct, &target) => {}
            read = client.read_to_end(&mut heard) => drop(read.unwrap()),
        }
        (heard, listener)
    }

    #[tokio::test(start_paused = true)]
    async fn drops_a_silent_client_after_a_minute() {
        let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
        for says in [b"".as_slice(), b"\0\0", b"\0\0\0\x20\0\x03\0\0user\0"] {
            let begin = tokio::time::Instant::now();
            let (heard, listener) = heard(&server, says).await;
            assert!(heard.is_empty() && begin.elapsed() >= PATIENCE);
            assert_eq!(listener.last_fault(), None);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn gives_up_a_silent_server() {
        let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (heard, listener) = heard(&server, b"\0\0\0\x11\0\x03\0\0user\0me\0\0").await;
        let fault = listener.last_fault().unwrap();
        assert_eq!(fault.code, Code::DatabaseTimeout);
        assert_eq!(heard, startup_packet::broken(&fault));
    }

    #[tokio::test(start_paused = true)]
    async fn refuses_a_client_that_only_requests_encryption() {
        let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (heard, _) = heard(&server, &b"\0\0\0\x08\x04\xd2\x16\x2f".repeat(4)).await;
        assert_eq!(heard, [b"NNN".as_slice(), &startup_packet::refused()].concat());
    }

    #[tokio::test]
    async fn passes_direct_tls_through() {
        let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (listener, target) = (listener(Passage::Untouched).await, target(&server));
        let hello: Vec<u8> = [0x16, 3, 1].into_iter().chain(0..200).collect();
        let mut client = client(&listener, &hello).await;
        let talk = async {
            let (mut server, _) = server.accept().await.unwrap();
            let mut arrived = vec![0; hello.len()];
            server.read_exact(&mut arrived).await.unwrap();
            assert_eq!(arrived, hello);
            server.write_all(&hello).await.unwrap();
            drop(server);
            let mut answer = Vec::new();
            client.read_to_end(&mut answer).await.unwrap();
            assert_eq!(answer, hello);
        };
        tokio::select! {
            _ = listener.serve(&Transport::Direct, &target) => {}
            () = talk => {}
        }
        let traffic = listener.traffic();
        assert_eq!((traffic.connections, traffic.settled, traffic.untouched), (1, 0, 1));
    }

    #[tokio::test]
    async fn refuses_a_setting_with_a_nul() {
        let settings = vec![("search_path".to_owned(), "a\0b".to_owned())];
        let injected = Injected { application_name: "we".to_owned(), settings, insisted: Vec::new() };
        let error = Listener::bind(([127, 0, 0, 1], 0).into(), Passage::Bridged, injected).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    }
}
