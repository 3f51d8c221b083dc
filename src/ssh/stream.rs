//! The two local ends of a channel: the user's, and the one that the driver moves bytes through.

use std::{
    convert::Infallible,
    future::Future as _,
    io,
    pin::Pin,
    task::{Context, Poll},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf, duplex},
    sync::oneshot,
};

/// Bytes buffered in each direction: two packets of libssh2.
pub(super) const PIPE_CAPACITY: usize = 64 << 10;

/// A byte stream to a host beyond the bastion. Dropping it closes its channel and no other.
#[derive(Debug)]
pub struct ChannelStream {
    pipe: DuplexStream,
    /// Never sent on: the driver notices when it is dropped.
    _user_alive: oneshot::Sender<Infallible>,
}

/// The driver's end.
pub(super) struct LocalEnd {
    pipe: DuplexStream,
    user_alive: oneshot::Receiver<Infallible>,
}

/// Creates both ends.
pub(super) fn stream_pair() -> (LocalEnd, ChannelStream) {
    let (local_pipe, user_pipe) = duplex(PIPE_CAPACITY);
    let (alive_sender, alive_receiver) = oneshot::channel();
    (
        LocalEnd { pipe: local_pipe, user_alive: alive_receiver },
        ChannelStream { pipe: user_pipe, _user_alive: alive_sender },
    )
}

impl LocalEnd {
    /// Reads the bytes that the user has written; 0 is the end.
    pub(super) fn poll_read_local(&mut self, context: &mut Context<'_>, into: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut buffer = ReadBuf::new(into);
        Pin::new(&mut self.pipe).poll_read(context, &mut buffer).map_ok(|()| buffer.filled().len())
    }

    /// Returns the pipe for the data that the server sends.
    pub(super) fn pipe_mut(&mut self) -> &mut DuplexStream {
        &mut self.pipe
    }

    /// Returns whether the user's end has gone.
    pub(super) fn is_user_gone(&mut self, context: &mut Context<'_>) -> bool {
        self.user_alive.is_terminated() || Pin::new(&mut self.user_alive).poll(context).is_ready()
    }
}

impl AsyncRead for ChannelStream {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.pipe).poll_read(context, into)
    }
}

impl AsyncWrite for ChannelStream {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.pipe).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.pipe).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.pipe).poll_shutdown(context)
    }
}
