//! A place on loopback where other people's tools find the database. A client that speaks plainly gets our settings with its
//! start-up packet and is watched until it leaves; one that insists on its own TLS is let through untouched.

use super::{
    Target,
    lift::Lift,
    messages::Messages,
    record::{Record, ServerError, Traffic},
    relay::relay,
    upstream::Upstream,
    wire::{self, Around, First},
};
use crate::{
    fault::{Code, Fault},
    reach::{Reach, Stream},
};
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use std::{
    convert::Infallible,
    io,
    net::{IpAddr, SocketAddr},
    pin::pin,
    sync::{Mutex, PoisonError},
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, copy, sink},
    net::{TcpListener, TcpStream},
    time::{sleep, timeout},
};

/// How long a client may take for one of its first packets.
const PATIENCE: Duration = Duration::from_secs(60);

/// A request for encryption by GSSAPI, one for TLS, and the start-up packet: nobody has more to say.
const FIRST_PACKETS: usize = 3;

/// How long a client may take to read why it is sent away.
const FAREWELL: Duration = Duration::from_secs(2);

/// How long the server may take to act on a request to cancel.
const CANCEL: Duration = Duration::from_secs(10);

/// The pause when the system has no socket for the next client: it would say so again at once.
const PAUSE: Duration = Duration::from_millis(100);

/// What becomes of a client that asks for TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Passage {
    /// Its TLS goes to the database untouched: settings arrive only by what the client reads itself (PGOPTIONS, URL).
    Untouched,
    /// It is told to go on in plain text; TLS to the database, as [`Target`] demands it, is ours.
    Bridged,
}

/// What the server is told in the tool's name, before the tool's own settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Injected {
    /// At most 63 bytes count; see [`super::lock::application_name`].
    pub application_name: String,
    /// Names and values, as in `lock_timeout` and `5000`.
    pub settings: Vec<(String, String)>,
    /// The same after the tool's own, so that its start-up can't turn them off.
    pub insisted: Vec<(String, String)>,
}

impl Injected {
    /// As libpq takes them in PGOPTIONS.
    #[must_use]
    pub fn options(&self) -> String {
        let all = self.settings.iter().chain(&self.insisted);
        all.map(|(name, value)| format!("-c {name}={value}")).collect::<Vec<_>>().join(" ")
    }

    /// What goes into start-up packets.
    fn packed(self) -> io::Result<Packed> {
        let lock_timeout = self.settings.iter().find(|(name, _)| name == "lock_timeout");
        let lock_timeout = lock_timeout.and_then(|(_, millis)| millis.parse().ok()).map(Duration::from_millis);
        let around = Around { before: wire::options(&self.settings), after: wire::options(&self.insisted) };
        if [&self.application_name, &around.before, &around.after].iter().any(|text| text.contains('\0')) {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "a NUL in a setting"));
        }
        Ok(Packed { application_name: self.application_name, around, lock_timeout: lock_timeout.unwrap_or_default() })
    }
}

/// The same as it goes into start-up packets.
#[derive(Debug, Clone)]
struct Packed {
    application_name: String,
    around: Around,
    /// The same limit again, for what it is lifted from.
    lock_timeout: Duration,
}

/// The place; it serves as long as somebody polls [`Listener::serve`].
#[derive(Debug)]
pub struct Listener {
    socket: TcpListener,
    passage: Mutex<Passage>,
    packed: Mutex<Packed>,
    from: Option<IpAddr>,
    record: Record,
}

impl Listener {
    /// Takes the place.
    ///
    /// # Errors
    /// When the address can't be had, or a NUL is in what is to be injected, which PostgreSQL can't be told.
    pub async fn bind(address: SocketAddr, passage: Passage, injected: Injected) -> io::Result<Self> {
        let packed = Mutex::new(injected.packed()?);
        let socket = TcpListener::bind(address).await?;
        let passage = Mutex::new(passage);
        Ok(Self { socket, passage, packed, from: None, record: Record::default() })
    }

    /// Lets in who comes from this address, and nobody else; without one, whoever comes.
    #[must_use]
    pub fn only_from(self, address: Option<IpAddr>) -> Self {
        Self { from: address, ..self }
    }

    /// What becomes of those who ask for TLS now.
    #[must_use]
    pub fn passage(&self) -> Passage {
        *self.passage.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets everybody's TLS through untouched from now on.
    pub fn let_through(&self) {
        *self.passage.lock().unwrap_or_else(PoisonError::into_inner) = Passage::Untouched;
    }

    /// Has the sessions that begin from now on be told this.
    ///
    /// # Errors
    /// A NUL is in it.
    pub fn inject(&self, injected: Injected) -> io::Result<()> {
        *self.packed.lock().unwrap_or_else(PoisonError::into_inner) = injected.packed()?;
        Ok(())
    }

    /// Where it is.
    ///
    /// # Errors
    /// The system's own.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// Serves clients for as long as it is polled; never ends by itself. Dropping the future ends every client's connection.
    pub async fn serve(&self, reach: &Reach, target: &Target) -> Infallible {
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

    /// Backends that are connected now, as they announced themselves. Those of untouched clients are not known.
    #[must_use]
    pub fn pids(&self) -> Vec<i32> {
        self.record.pids()
    }

    /// What passed so far.
    #[must_use]
    pub fn traffic(&self) -> Traffic {
        self.record.traffic()
    }

    /// The last error that the server told a client; none when nothing was seen.
    #[must_use]
    pub fn last_error(&self) -> Option<ServerError> {
        self.record.last_error()
    }

    /// Why the last client that could not be connected to the database, or lost it with the tunnel, was sent away.
    #[must_use]
    pub fn last_fault(&self) -> Option<Fault> {
        self.record.last_fault()
    }

    async fn accept(&self) -> TcpStream {
        loop {
            match self.socket.accept().await {
                Ok((client, from)) if self.from.is_none_or(|only| only == from.ip()) => return client,
                // Dropped, it is closed.
                Ok(_) => {}
                Err(_) => sleep(PAUSE).await,
            }
        }
    }

    /// One client from its first packet to its end.
    async fn attend(&self, mut client: TcpStream, upstream: &Upstream<'_>) {
        self.record.count(|traffic| traffic.connections += 1);
        // Small queries must not wait for the acknowledgement of the one before; a socket that can't do it still works.
        drop(client.set_nodelay(true));
        if let Err(farewell) = self.admit(&mut client, upstream).await {
            send_away(&mut client, &farewell).await;
        }
    }

    /// Fails with what the client is told at last.
    async fn admit(&self, client: &mut TcpStream, upstream: &Upstream<'_>) -> Result<(), Vec<u8>> {
        let mut told_plain = 0;
        for _ in 0..FIRST_PACKETS {
            let Ok(Ok(packet)) = timeout(PATIENCE, first_packet(client)).await else { return Ok(()) };
            // Who goes on did not insist. Counted before, so that one who is cut off while we wait counts, too.
            self.record.count(|traffic| traffic.declined -= std::mem::take(&mut told_plain));
            match (wire::first(&packet), self.passage()) {
                (First::Tls, Passage::Bridged) => {
                    told_plain = 1;
                    self.record.count(|traffic| traffic.declined += told_plain);
                    go_on_in_plain_text(client).await;
                }
                (First::Gss, _) => go_on_in_plain_text(client).await,
                (First::Tls, Passage::Untouched) => match upstream.asked().await {
                    Ok(server) => return self.untouched(client, server, b"S", upstream).await,
                    // Without TLS the client can still have what the target demands, if it wants that.
                    Err(fault) if fault.code == Code::TlsUnavailable => go_on_in_plain_text(client).await,
                    Err(fault) => return Err(self.broken(fault)),
                },
                (First::Handshake, Passage::Untouched) => {
                    let server = upstream.begun(&packet).await.map_err(|fault| self.broken(fault))?;
                    return self.untouched(client, server, b"", upstream).await;
                }
                (First::Startup, _) => {
                    let Packed { application_name, around, lock_timeout } = self.packed();
                    let packet = wire::settled(&packet, &application_name, &around);
                    let packet = packet.ok_or_else(wire::refused)?;
                    let lift = Lift::new(lock_timeout);
                    return self.session(client, (&packet, lift), upstream, |traffic| traffic.settled += 1).await;
                }
                // What replicates is known by its name, and runs no statement of a migration.
                (First::Replication, _) => {
                    return self.session(client, (&packet, Lift::off()), upstream, |_| {}).await;
                }
                (First::Cancel, _) => return self.cancel(&packet, upstream).await,
                (First::Handshake, Passage::Bridged) | (First::Unknown, _) => break,
            }
        }
        Err(wire::refused())
    }

    /// A session in plain sight.
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

    /// A session in the client's own TLS; `answer` is what it waits for.
    async fn untouched(
        &self,
        client: &mut TcpStream,
        server: Stream,
        answer: &[u8],
        upstream: &Upstream<'_>,
    ) -> Result<(), Vec<u8>> {
        self.record.count(|traffic| traffic.untouched += 1);
        // A client that has gone meanwhile is noticed by the relay.
        drop(client.write_all(answer).await);
        relay(client, server, (Messages::blind(), Lift::off()), &self.record, || upstream.lost()).await;
        Ok(())
    }

    /// Hands on a request to cancel. The server closes the stream when it has done it, and a client may wait for that. It
    /// expects no other answer.
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
        let farewell = wire::broken(&fault);
        self.record.fault(fault);
        farewell
    }
}

/// What is not read here stays in the socket: it may be the beginning of the client's TLS.
async fn first_packet(client: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut length = [0; 4];
    client.read_exact(&mut length).await?;
    let mut packet = length.to_vec();
    if let Some(rest) = wire::rest(length) {
        packet.resize(length.len() + rest, 0);
        client.read_exact(packet.get_mut(length.len()..).unwrap_or_default()).await?;
    }
    Ok(packet)
}

/// A client that has gone meanwhile is noticed when its next packet does not come.
async fn go_on_in_plain_text(client: &mut TcpStream) {
    drop(client.write_all(b"N").await);
}

/// Closed with something unread, the system would take back what was written.
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

    /// What a client at a listener in front of this server has heard when it is sent away.
    async fn heard(server: &TcpListener, says: &[u8]) -> (Vec<u8>, Listener) {
        let (listener, target) = (listener(Passage::Bridged).await, target(server));
        let mut client = client(&listener, says).await;
        let mut heard = Vec::new();
        tokio::select! {
            _ = listener.serve(&Reach::Direct, &target) => {}
            read = client.read_to_end(&mut heard) => drop(read.unwrap()),
        }
        (heard, listener)
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_says_nothing_is_dropped_after_a_minute() {
        let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
        for says in [b"".as_slice(), b"\0\0", b"\0\0\0\x20\0\x03\0\0user\0"] {
            let begin = tokio::time::Instant::now();
            let (heard, listener) = heard(&server, says).await;
            assert!(heard.is_empty() && begin.elapsed() >= PATIENCE);
            assert_eq!(listener.last_fault(), None);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_says_nothing_is_given_up() {
        let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (heard, listener) = heard(&server, b"\0\0\0\x11\0\x03\0\0user\0me\0\0").await;
        let fault = listener.last_fault().unwrap();
        assert_eq!(fault.code, Code::DatabaseTimeout);
        assert_eq!(heard, wire::broken(&fault));
    }

    #[tokio::test(start_paused = true)]
    async fn who_only_ever_asks_for_encryption_is_sent_away() {
        let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (heard, _) = heard(&server, &b"\0\0\0\x08\x04\xd2\x16\x2f".repeat(4)).await;
        assert_eq!(heard, [b"NNN".as_slice(), &wire::refused()].concat());
    }

    #[tokio::test]
    async fn tls_that_begins_at_once_is_let_through_untouched() {
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
            _ = listener.serve(&Reach::Direct, &target) => {}
            () = talk => {}
        }
        let traffic = listener.traffic();
        assert_eq!((traffic.connections, traffic.settled, traffic.untouched), (1, 0, 1));
    }

    #[tokio::test]
    async fn a_setting_that_postgresql_can_not_be_told_is_refused() {
        let settings = vec![("search_path".to_owned(), "a\0b".to_owned())];
        let injected = Injected { application_name: "we".to_owned(), settings, insisted: Vec::new() };
        let error = Listener::bind(([127, 0, 0, 1], 0).into(), Passage::Bridged, injected).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    }
}
