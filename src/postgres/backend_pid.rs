//! Learns which backend the server says we talk to, to find out a connection pooler: behind one, the pid of
//! `BackendKeyData` is not that of `pg_backend_pid()` (measured with PgBouncer 1.18). tokio-postgres keeps the pid to itself.

use std::{
    fmt, io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicI32, Ordering},
    },
    task::{Context, Poll, ready},
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_postgres::tls::{ChannelBinding, TlsConnect, TlsStream};

/// The pid that `BackendKeyData` told; zero until then.
#[derive(Debug, Clone, Default)]
pub(super) struct BackendPid(Arc<AtomicI32>);

impl BackendPid {
    pub(super) fn get(&self) -> i32 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A stream that reads along until the server is ready for the first query.
pub(super) struct Watched<S> {
    inner: S,
    scanner: Option<Scanner>,
}

impl<S> Watched<S> {
    pub(super) fn new(inner: S, pid: BackendPid) -> Self {
        Self { inner, scanner: Some(Scanner { pid, begun: false, message: Vec::new() }) }
    }
}

/// What is said of an answer that no PostgreSQL gives: without this its length would be waited for, which is a text, too.
pub(super) const STRANGE: &str = "the first byte of the answer is not PostgreSQL's";

struct Scanner {
    pid: BackendPid,
    begun: bool,
    message: Vec<u8>,
}

impl Scanner {
    /// Whether the server begins with what is no answer to a start-up packet (PostgreSQL manual, 55.2.1): authentication,
    /// error, version negotiation, notice.
    fn is_strange(&mut self, bytes: &[u8]) -> bool {
        let strange = !self.begun && bytes.first().is_some_and(|kind| !b"REvN".contains(kind));
        self.begun |= !bytes.is_empty();
        strange
    }

    /// Takes in what the server sent; true when `ReadyForQuery` has passed (PostgreSQL manual, 55.7: type byte, length that
    /// counts itself, body).
    fn feed(&mut self, bytes: &[u8]) -> bool {
        self.message.extend_from_slice(bytes);
        loop {
            let [kind, a, b, c, d, rest @ ..] = self.message.as_slice() else { return false };
            let Ok(length) = usize::try_from(u32::from_be_bytes([*a, *b, *c, *d])) else { return true };
            let Some(body) = length.checked_sub(4).and_then(|length| rest.get(..length)) else { return length < 4 };
            match (kind, body) {
                (b'Z', _) => return true,
                (b'K', [a, b, c, d, ..]) => {
                    self.pid.0.store(i32::from_be_bytes([*a, *b, *c, *d]), Ordering::Relaxed);
                }
                _ => {}
            }
            self.message.drain(..=length);
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.inner).poll_read(context, buffer))?;
        if let Some(scanner) = &mut self.scanner {
            let bytes = buffer.filled().get(before..).unwrap_or_default();
            if scanner.is_strange(bytes) {
                return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, STRANGE)));
            }
            if scanner.feed(bytes) {
                self.scanner = None;
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(context)
    }
}

impl<S: TlsStream + Unpin> TlsStream for Watched<S> {
    fn channel_binding(&self) -> ChannelBinding {
        self.inner.channel_binding()
    }
}

/// A TLS connector whose streams are watched.
pub(super) struct WatchedConnect<C> {
    pub(super) connect: C,
    pub(super) pid: BackendPid,
}

impl<S, C> TlsConnect<S> for WatchedConnect<C>
where
    C: TlsConnect<S>,
    C::Stream: Unpin,
    C::Future: Send + 'static,
{
    type Stream = Watched<C::Stream>;
    type Error = C::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Stream, C::Error>> + Send>>;

    fn connect(self, stream: S) -> Self::Future {
        let connecting = self.connect.connect(stream);
        Box::pin(async move { Ok(Watched::new(connecting.await?, self.pid)) })
    }
}

impl<S> fmt::Debug for Watched<S> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Watched")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn learns_the_pid_whatever_way_the_bytes_are_cut() {
        let mut bytes = Vec::new();
        bytes.extend_from_slice(b"R\0\0\0\x08\0\0\0\0");
        bytes.extend_from_slice(b"S\0\0\0\x09a\0b\0\0");
        bytes.extend_from_slice(b"K\0\0\0\x0c\0\0\x04\xd2\0\0\0\x01");
        bytes.extend_from_slice(b"Z\0\0\0\x05I");
        for cut in 1..bytes.len() {
            let pid = BackendPid::default();
            let mut scanner = Scanner { pid: pid.clone(), begun: false, message: Vec::new() };
            let (first, second) = bytes.split_at(cut);
            assert!(!scanner.feed(first));
            assert!(scanner.feed(second));
            assert_eq!(pid.get(), 1234);
        }
    }

    #[test]
    fn gives_up_on_bytes_that_are_no_postgres() {
        let mut scanner = Scanner { pid: BackendPid::default(), begun: false, message: Vec::new() };
        assert!(scanner.feed(b"X\0\0\0\x01....."));
    }

    #[test]
    fn judges_a_server_by_its_first_byte() {
        let is_strange = |pieces: &[&[u8]]| {
            let mut scanner = Scanner { pid: BackendPid::default(), begun: false, message: Vec::new() };
            pieces.iter().any(|piece| scanner.is_strange(piece))
        };
        assert!(is_strange(&[b"HTTP/1.1 400"]) && is_strange(&[b"", b"SSH-2.0-x"]));
        assert!(!is_strange(&[b"R\0\0\0\x08\0\0\0\0", b"S"]) && !is_strange(&[b"E", b"X"]));
    }
}
