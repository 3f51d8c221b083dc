//! The stream between the server and the driver: received bytes pass through [`MessageFilter`], sent bytes through
//! [`SentRequests`].

use super::{
    backend_pid::BackendPid, message_filter::MessageFilter, protocol_violation::ProtocolViolation,
    sent_requests::SentRequests,
};
use std::{
    fmt, io,
    pin::Pin,
    task::{Context, Poll, ready},
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_postgres::tls::{ChannelBinding, TlsConnect, TlsStream};

/// Bytes read at once.
const READ_SIZE: usize = 16 << 10;

/// Bytes that may wait to be sent before a write has to wait.
const MAX_UNSENT: usize = 64 << 10;

/// Reads without output after which the stream yields to other tasks.
const MAX_READS_PER_POLL: usize = 32;

/// A stream whose messages are filtered in both directions.
pub(super) struct FilteredStream<S> {
    inner: S,
    filter: MessageFilter,
    requests: SentRequests,
    read_buffer: Box<[u8]>,
    /// The violation after which the rest of the stream can't be read.
    violation: Option<ProtocolViolation>,
}

impl<S> FilteredStream<S> {
    pub(super) fn new(inner: S, pid: BackendPid) -> Self {
        let read_buffer = vec![0; READ_SIZE].into_boxed_slice();
        Self { inner, filter: MessageFilter::new(pid), requests: SentRequests::new(), read_buffer, violation: None }
    }

    /// Copies filtered bytes into `buffer` and returns whether there were any.
    fn copy_output(&mut self, buffer: &mut ReadBuf<'_>) -> bool {
        let passed = self.filter.output();
        let (now, _) = passed.split_at(passed.len().min(buffer.remaining()));
        buffer.put_slice(now);
        let count = now.len();
        self.filter.consume_output(count);
        count > 0
    }
}

impl<S: AsyncWrite + Unpin> FilteredStream<S> {
    /// Sends until no more than `max_unsent` bytes wait to be sent.
    fn poll_send(&mut self, context: &mut Context<'_>, max_unsent: usize) -> Poll<io::Result<()>> {
        while self.requests.outgoing().len() > max_unsent {
            let sent = ready!(Pin::new(&mut self.inner).poll_write(context, self.requests.outgoing()))?;
            if sent == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.requests.consume_sent(sent);
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for FilteredStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        for _ in 0..MAX_READS_PER_POLL {
            if this.copy_output(buffer) {
                return Poll::Ready(Ok(()));
            }
            if let Some(violation) = &this.violation {
                return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, violation.clone())));
            }
            let mut chunk = ReadBuf::new(&mut this.read_buffer);
            ready!(Pin::new(&mut this.inner).poll_read(context, &mut chunk))?;
            if chunk.filled().is_empty() {
                this.violation = this.filter.violation_at_end();
                if this.violation.is_none() {
                    return Poll::Ready(Ok(()));
                }
                continue;
            }
            this.violation = this.filter.filter_bytes(chunk.filled(), &mut this.requests).err();
            // The filter may have queued a response. Bytes that can't be sent now go with the next flush.
            if let Poll::Ready(Err(error)) = this.poll_send(context, 0) {
                return Poll::Ready(Err(error));
            }
        }
        context.waker().wake_by_ref();
        Poll::Pending
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for FilteredStream<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        ready!(self.poll_send(context, MAX_UNSENT))?;
        let (now, _) = bytes.split_at(bytes.len().min(MAX_UNSENT));
        self.requests.push_bytes(now)?;
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

impl<S: TlsStream + Unpin> TlsStream for FilteredStream<S> {
    fn channel_binding(&self) -> ChannelBinding {
        self.inner.channel_binding()
    }
}

impl<S> fmt::Debug for FilteredStream<S> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("FilteredStream")
    }
}

/// A TLS connector whose streams are filtered.
pub(super) struct FilteredTlsConnect<C> {
    pub(super) connect: C,
    pub(super) pid: BackendPid,
}

impl<S, C> TlsConnect<S> for FilteredTlsConnect<C>
where
    C: TlsConnect<S>,
    C::Stream: Unpin,
    C::Future: Send + 'static,
{
    type Stream = FilteredStream<C::Stream>;
    type Error = C::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Stream, C::Error>> + Send>>;

    fn connect(self, stream: S) -> Self::Future {
        let connecting = self.connect.connect(stream);
        Box::pin(async move { Ok(FilteredStream::new(connecting.await?, self.pid)) })
    }
}
