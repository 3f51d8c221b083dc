//! The far end of the bytes: greets, is told how much of what, and does it.

use std::{
    io::{self, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    thread,
};

/// What the peer says when it is there, and when it has everything.
pub(super) const READY: u8 = b'!';

/// What it is asked for, before the number of bytes as eight bytes, the lowest first.
pub(super) const GIVE: u8 = b'<';
pub(super) const TAKE: u8 = b'>';

/// It serves for as long as the process.
#[derive(Debug)]
pub(super) struct Peer(u16);

impl Peer {
    /// On a port of loopback.
    pub(super) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
        let port = listener.local_addr().expect("a bound socket has an address").port();
        run(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                // Who hangs up does not want any more.
                run(move || drop(serve(stream)));
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
    let mut what = [0];
    let mut count = [0; 8];
    stream.read_exact(&mut what)?;
    stream.read_exact(&mut count)?;
    let mut left = usize::try_from(u64::from_le_bytes(count)).unwrap_or(usize::MAX);
    let mut buffer = vec![0; 256 << 10];
    if what == [GIVE] {
        while let Some(some) = buffer.get(..left.min(buffer.len())).filter(|some| !some.is_empty()) {
            stream.write_all(some)?;
            left -= some.len();
        }
        return Ok(());
    }
    while left > 0 {
        left = left.saturating_sub(match stream.read(&mut buffer)? {
            0 => return Ok(()),
            count => count,
        });
    }
    stream.write_all(&[READY])
}

fn run(work: impl FnOnce() + Send + 'static) {
    thread::Builder::new().name("peer".to_owned()).spawn(work).expect("a thread can start");
}
