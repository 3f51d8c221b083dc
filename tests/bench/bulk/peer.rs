//! The far end of the byte loads: sends a greeting, reads a request for a direction and a size, and serves it.

use std::{
    io::{self, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    thread,
};

/// The peer's greeting, and its confirmation that it has received everything.
pub(super) const READY: u8 = b'!';

/// The first byte of a request, before the number of bytes as 64 bits in little-endian order.
pub(super) const SEND: u8 = b'<';
pub(super) const RECEIVE: u8 = b'>';

/// The peer's port. It serves until the process ends.
#[derive(Debug)]
pub(super) struct Peer(u16);

impl Peer {
    /// Starts the peer on a port of loopback.
    pub(super) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
        let port = listener.local_addr().expect("a bound socket has an address").port();
        spawn_thread(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                // A client that closes its connection needs no more data.
                spawn_thread(move || drop(serve(stream)));
            }
        });
        Self(port)
    }

    pub(super) fn port(&self) -> u16 {
        self.0
    }
}

fn serve(mut stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    stream.write_all(&[READY])?;
    let mut direction = [0];
    let mut count = [0; 8];
    stream.read_exact(&mut direction)?;
    stream.read_exact(&mut count)?;
    let mut remaining = usize::try_from(u64::from_le_bytes(count)).unwrap_or(usize::MAX);
    let mut buffer = vec![0; 256 << 10];
    if direction == [SEND] {
        while let Some(chunk) = buffer.get(..remaining.min(buffer.len())).filter(|chunk| !chunk.is_empty()) {
            stream.write_all(chunk)?;
            remaining -= chunk.len();
        }
        return Ok(());
    }
    while remaining > 0 {
        remaining = remaining.saturating_sub(match stream.read(&mut buffer)? {
            0 => return Ok(()),
            count => count,
        });
    }
    stream.write_all(&[READY])
}

fn spawn_thread(work: impl FnOnce() + Send + 'static) {
    thread::Builder::new().name("peer".to_owned()).spawn(work).expect("a thread can start");
}
