//! One stream of a channel, from the server to the local side.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};
use tokio::io::{AsyncWrite as _, DuplexStream};

#[derive(Default, Clone, Copy, PartialEq, Eq)]
enum ReceiveState {
    #[default]
    Open,
    /// The server has ended; the local side has not seen the end yet.
    EofReceived,
    /// The local side has seen the end, or has gone.
    Closed,
}

/// Data that was received and not yet taken by the local side.
#[derive(Default)]
pub(super) struct ReceiveBuffer {
    state: ReceiveState,
    incoming: Vec<u8>,
    /// Number of bytes of `incoming` that are delivered.
    delivered: usize,
}

impl ReceiveBuffer {
    /// Returns whether all earlier bytes are taken, so that the next ones may come.
    pub(super) fn is_empty(&self) -> bool {
        self.incoming.is_empty()
    }

    pub(super) fn is_open(&self) -> bool {
        self.state == ReceiveState::Open
    }

    pub(super) fn is_closed(&self) -> bool {
        self.state == ReceiveState::Closed
    }

    /// Writes the bytes at once; keeps those that the local side does not take now.
    pub(super) fn write_or_keep(&mut self, pipe: &mut DuplexStream, context: &mut Context<'_>, bytes: &[u8]) {
        if self.state == ReceiveState::Closed {
            return;
        }
        let mut rest = bytes;
        while !rest.is_empty() {
            match poll_write_pipe(pipe, context, rest) {
                Poll::Ready(Ok(count)) => rest = rest.get(count..).unwrap_or_default(),
                Poll::Ready(Err(_)) => return self.close(),
                Poll::Pending => break,
            }
        }
        self.incoming.extend_from_slice(rest);
    }

    /// Writes the kept bytes, and then the end if it has come; returns whether anything moved.
    pub(super) fn deliver_kept(&mut self, pipe: &mut DuplexStream, context: &mut Context<'_>) -> bool {
        let mut moved = false;
        while let Some(rest) = self.incoming.get(self.delivered..).filter(|rest| !rest.is_empty()) {
            match poll_write_pipe(pipe, context, rest) {
                Poll::Ready(Ok(count)) => self.delivered += count,
                Poll::Ready(Err(_)) => self.close(),
                Poll::Pending => return moved,
            }
            moved = true;
        }
        self.incoming.clear();
        self.delivered = 0;
        if self.state == ReceiveState::EofReceived {
            self.state = ReceiveState::Closed;
            moved = true;
            // Shutting down a pipe in memory never blocks.
            drop(Pin::new(pipe).poll_shutdown(context));
        }
        moved
    }

    /// Records the server's EOF; returns whether it is new.
    pub(super) fn receive_eof(&mut self, pipe: &mut DuplexStream, context: &mut Context<'_>) -> bool {
        if self.state == ReceiveState::Open {
            self.state = ReceiveState::EofReceived;
            self.deliver_kept(pipe, context);
            return true;
        }
        false
    }

    /// Closes the stream, because the local side has gone; later data is discarded, so that the window stays open.
    pub(super) fn close(&mut self) {
        *self = Self { state: ReceiveState::Closed, ..Self::default() };
    }
}

fn poll_write_pipe(pipe: &mut DuplexStream, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
    Pin::new(pipe).poll_write(context, bytes)
}
