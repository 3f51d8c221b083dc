//! A proxy that stands for a network: counts the client's flights, adds latency, freezes and cuts connections.
//!
//! A flight is a burst of bytes from the client after at least one byte from the server; the first burst counts too.
//! With latency, a run takes about the time of its flights.
#![expect(clippy::disallowed_methods, reason = "a delay line sleeps: that is what it is for")]

use std::{
    io::{self, Read as _, Write as _},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Condvar, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread,
    time::{Duration, Instant},
};

/// The proxy. Dropping it ends every connection.
#[derive(Debug)]
pub(crate) struct Flights {
    address: SocketAddr,
    network: Arc<Network>,
}

#[derive(Debug)]
struct Network {
    target: SocketAddr,
    one_way: Duration,
    flights: AtomicUsize,
    /// Flights of the first connection.
    first: AtomicUsize,
    accepted: AtomicUsize,
    closed: AtomicBool,
    frozen: Mutex<Frozen>,
    thawed: Condvar,
    sockets: Mutex<Vec<TcpStream>>,
}

/// The frozen connections.
#[derive(Debug, Clone, Copy, Default)]
struct Frozen {
    everything: bool,
    /// Connections up to this number.
    until: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum From {
    Client,
    Server,
}

impl Flights {
    /// Starts a proxy to a port on 127.0.0.1.
    pub(crate) fn to(port: u16) -> Self {
        Self::over(port, Duration::ZERO)
    }

    /// Starts a proxy with this round-trip time.
    pub(crate) fn over(port: u16, round_trip: Duration) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
        let address = listener.local_addr().expect("a bound socket has an address");
        let network = Arc::new(Network {
            target: SocketAddr::from(([127, 0, 0, 1], port)),
            one_way: round_trip / 2,
            flights: AtomicUsize::new(0),
            first: AtomicUsize::new(0),
            accepted: AtomicUsize::new(0),
            closed: AtomicBool::new(false),
            frozen: Mutex::default(),
            thawed: Condvar::new(),
            sockets: Mutex::new(Vec::new()),
        });
        let accepting = Arc::clone(&network);
        run("flights", move || {
            for client in listener.incoming().map_while(Result::ok) {
                if accepting.closed.load(Ordering::Acquire) {
                    break;
                }
                let number = accepting.accepted.fetch_add(1, Ordering::AcqRel) + 1;
                drop(accepting.connect(number, client));
            }
        });
        Self { address, network }
    }

    /// Returns the port of the proxy.
    pub(crate) fn port(&self) -> u16 {
        self.address.port()
    }

    /// Returns the number of flights so far.
    pub(crate) fn count(&self) -> usize {
        self.network.flights.load(Ordering::Acquire)
    }

    /// Returns the number of flights of the first connection.
    pub(crate) fn count_of_first(&self) -> usize {
        self.network.first.load(Ordering::Acquire)
    }

    /// Returns the number of connections so far, closed ones included.
    pub(crate) fn connections(&self) -> usize {
        self.network.accepted.load(Ordering::Acquire)
    }

    /// Stops forwarding; the connections stay open.
    pub(crate) fn freeze(&self) {
        self.network.frozen.lock().unwrap_or_else(PoisonError::into_inner).everything = true;
    }

    /// Stops forwarding on the existing connections, which stay open; new ones work.
    pub(crate) fn freeze_existing(&self) {
        self.network.frozen.lock().unwrap_or_else(PoisonError::into_inner).until = self.connections();
    }

    /// Resumes forwarding; no byte is lost.
    pub(crate) fn thaw(&self) {
        *self.network.frozen.lock().unwrap_or_else(PoisonError::into_inner) = Frozen::default();
        self.network.thawed.notify_all();
    }

    /// Closes every existing connection; new ones work.
    pub(crate) fn cut(&self) {
        for socket in self.network.sockets.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            // It may be gone already.
            drop(socket.shutdown(Shutdown::Both));
        }
    }
}

impl Drop for Flights {
    fn drop(&mut self) {
        self.network.closed.store(true, Ordering::Release);
        // In this order, so that held-back bytes are lost.
        self.cut();
        self.thaw();
        // Wakes the listener.
        drop(TcpStream::connect(self.address));
    }
}

impl Network {
    fn connect(self: &Arc<Self>, number: usize, client: TcpStream) -> io::Result<()> {
        let server = TcpStream::connect(self.target)?;
        let mut sockets = self.sockets.lock().unwrap_or_else(PoisonError::into_inner);
        if self.closed.load(Ordering::Acquire) {
            return Ok(());
        }
        for socket in [&client, &server] {
            socket.set_nodelay(true)?;
            sockets.push(socket.try_clone()?);
        }
        let answered = Arc::new(AtomicBool::new(true));
        self.carry(number, From::Client, client.try_clone()?, server.try_clone()?, Arc::clone(&answered));
        self.carry(number, From::Server, server, client, answered);
        Ok(())
    }

    /// Forwards one direction: a reader stamps the bytes with their due time, a writer sends them when it has come.
    fn carry(
        self: &Arc<Self>,
        number: usize,
        from: From,
        source: TcpStream,
        sink: TcpStream,
        answered: Arc<AtomicBool>,
    ) {
        let (sender, receiver) = sync_channel(1024);
        let (reading, writing) = (Arc::clone(self), Arc::clone(self));
        let counting = Arc::clone(&answered);
        run("flights in", move || reading.read((number, from), source, &sender, &counting));
        run("flights out", move || drop(writing.write(number, from, sink, &receiver, &answered)));
    }

    fn read(
        &self,
        (number, from): (usize, From),
        mut source: TcpStream,
        out: &SyncSender<(Instant, Vec<u8>)>,
        answered: &AtomicBool,
    ) {
        let mut buffer = [0; 16 * 1024];
        while let Ok(length) = source.read(&mut buffer) {
            if from == From::Client && length > 0 && answered.swap(false, Ordering::AcqRel) {
                self.flights.fetch_add(1, Ordering::AcqRel);
                self.first.fetch_add(usize::from(number == 1), Ordering::AcqRel);
            }
            let bytes = buffer.iter().take(length).copied().collect();
            if out.send((Instant::now() + self.one_way, bytes)).is_err() || length == 0 {
                break;
            }
        }
    }

    fn write(
        &self,
        number: usize,
        from: From,
        mut sink: TcpStream,
        arriving: &Receiver<(Instant, Vec<u8>)>,
        answered: &AtomicBool,
    ) -> io::Result<()> {
        for (due, bytes) in arriving {
            thread::sleep(due.saturating_duration_since(Instant::now()));
            let frozen = self.frozen.lock().unwrap_or_else(PoisonError::into_inner);
            drop(
                self.thawed
                    .wait_while(frozen, |frozen| frozen.everything || number <= frozen.until)
                    .unwrap_or_else(PoisonError::into_inner),
            );
            if bytes.is_empty() {
                return sink.shutdown(Shutdown::Write);
            }
            if from == From::Server {
                // Before the bytes, because the client may respond at once.
                answered.store(true, Ordering::Release);
            }
            sink.write_all(&bytes)?;
        }
        Ok(())
    }
}

fn run(name: &str, work: impl FnOnce() + Send + 'static) {
    thread::Builder::new().name(name.to_owned()).spawn(work).expect("a thread can start");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::{
        postgres::{Login, Options, Postgres, Tls},
        session::Session,
    };

    fn connect(proxy: &Flights) -> Session {
        Session::open(&format!("postgres://app@localhost:{}/postgres", proxy.port()).parse().unwrap()).unwrap()
    }

    #[test]
    fn a_start_up_and_a_query_are_one_flight_each() {
        let server = Postgres::start(&Options { tls: Tls::Off, login: Login::Trust, settings: &[] });
        let proxy = Flights::to(server.port());
        // Without TLS support the client sends no SSLRequest.
        let session = connect(&proxy);
        assert_eq!(proxy.count(), 1);
        assert_eq!(session.sql("select 1"), "1");
        assert_eq!(session.sql("select 1; select repeat('x', 100000) is null"), "1\nf");
        assert_eq!((proxy.count(), proxy.connections()), (3, 1));
        proxy.cut();
        assert!(session.try_sql("select 1").is_err());
        assert_eq!(connect(&proxy).sql("select 2"), "2");
        assert_eq!((proxy.count(), proxy.connections()), (5, 2));
    }

    #[test]
    fn latency_delays_a_query_and_a_frozen_network_holds_it_back() {
        let server = Postgres::start(&Options { tls: Tls::Off, login: Login::Trust, settings: &[] });
        let round_trip = Duration::from_millis(60);
        let proxy = Flights::over(server.port(), round_trip);
        let session = connect(&proxy);
        let began = Instant::now();
        session.sql("select 1");
        assert!(began.elapsed() >= round_trip && began.elapsed() < round_trip * 10, "{:?}", began.elapsed());

        proxy.freeze();
        thread::scope(|scope| {
            let waiting = scope.spawn(|| session.sql("select 2"));
            thread::sleep(round_trip * 2);
            assert!(!waiting.is_finished());
            proxy.thaw();
            assert_eq!(waiting.join().unwrap(), "2");
        });
    }
}
