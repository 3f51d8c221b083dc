//! The stream between the server and the driver: received bytes pass through [`Sieve`], sent bytes through [`Asked`].

use super::{
    backend_pid::BackendPid,
    message_filter::{Breach, Sieve},
    sent_requests::Asked,
};
use std::{
    fmt, io,
    pin::Pin,
    task::{Context, Poll, ready},
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_postgres::tls::{ChannelBinding, TlsConnect, TlsStream};

/// Bytes read at once.
const PIECE: usize = 16 << 10;
/// Bytes that may wait to be sent before a write has to wait.
/// Bytes that may wait to be sent before a write has to wait.
const HELD: usize = 64 << 10;

/// Reads without output after which the stream yields to other tasks.
const TURNS: usize = 32;

/// A stream whose messages are filtered in both directions.
pub(super) struct Sifted<S> {
    inner: S,
    sieve: Sieve,
    asked: Asked,
    piece: Box<[u8]>,
    /// The violation after which the rest of the stream can't be read.
    breach: Option<Breach>,
}

impl<S> Sifted<S> {
    pub(super) fn new(inner: S, pid: BackendPid) -> Self {
        let piece = vec![0; PIECE].into_boxed_slice();
        Self { inner, sieve: Sieve::new(pid), asked: Asked::new(), piece, breach: None }
    }

    /// Copies filtered bytes into `buffer` and returns whether there were any.
    fn give(&mut self, buffer: &mut ReadBuf<'_>) -> bool {
        let passed = self.sieve.passed();
        let (now, _) = passed.split_at(passed.len().min(buffer.remaining()));
        buffer.put_slice(now);
        let count = now.len();
        self.sieve.given(count);
        count > 0
    }
}

impl<S: AsyncWrite + Unpin> Sifted<S> {
    /// Sends until no more than `left` bytes wait to be sent.
    fn poll_send(&mut self, context: &mut Context<'_>, left: usize) -> Poll<io::Result<()>> {
        while self.asked.outgoing().len() > left {
            let sent = ready!(Pin::new(&mut self.inner).poll_write(context, self.asked.outgoing()))?;
            if sent == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.asked.sent(sent);
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Sifted<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        for _ in 0..TURNS {
            if this.give(buffer) {
                return Poll::Ready(Ok(()));
            }
            if let Some(breach) = &this.breach {
                return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, breach.clone())));
            }
            let mut piece = ReadBuf::new(&mut this.piece);
            ready!(Pin::new(&mut this.inner).poll_read(context, &mut piece))?;
            if piece.filled().is_empty() {
                this.breach = this.sieve.at_end();
                if this.breach.is_none() {
                    return Poll::Ready(Ok(()));
                }
                continue;
            }
            this.breach = this.sieve.feed(piece.filled(), &mut this.asked).err();
            // The filter may have queued a response. Bytes that can't be sent now go with the next flush.
            if let Poll::Ready(Err(error)) = this.poll_send(context, 0) {
                return Poll::Ready(Err(error));
            }
        }
        context.waker().wake_by_ref();
        Poll::Pending
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Sifted<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        ready!(self.poll_send(context, HELD))?;
        let (now, _) = bytes.split_at(bytes.len().min(HELD));
        self.asked.take(now)?;
        match self.poll_send(context, 0) {
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Ready(Ok(())) | Poll::Pending => Poll::Ready(Ok(now.len())),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_send(context, 0))?;
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_send(context, 0))?;
        Pin::new(&mut self.inner).poll_shutdown(context)
    }
}

impl<S: TlsStream + Unpin> TlsStream for Sifted<S> {
    fn channel_binding(&self) -> ChannelBinding {
        self.inner.channel_binding()
    }
}

impl<S> fmt::Debug for Sifted<S> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Sifted")
    }
}

/// A TLS connector whose streams are filtered.
pub(super) struct SiftedConnect<C> {
    pub(super) connect: C,
    pub(super) pid: BackendPid,
}

impl<S, C> TlsConnect<S> for SiftedConnect<C>
where
    C: TlsConnect<S>,
    C::Stream: Unpin,
    C::Future: Send + 'static,
{
    type Stream = Sifted<C::Stream>;
    type Error = C::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Stream, C::Error>> + Send>>;

    fn connect(self, stream: S) -> Self::Future {
        let connecting = self.connect.connect(stream);
        Box::pin(async move { Ok(Sifted::new(connecting.await?, self.pid)) })
    }
}
