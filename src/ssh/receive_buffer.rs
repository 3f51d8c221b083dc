//! One stream of a channel, from the server to the local side.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};
use tokio::io::{AsyncWrite as _, DuplexStream};

#[derive(Default, Clone, Copy, PartialEq, Eq)]
enum State {
    #[default]
    Flowing,
    /// The server is done; the local side does not know yet.
    Ended,
    /// The local side knows, or has gone.
    Closed,
}

/// What was received and not yet taken by the local side.
#[derive(Default)]
pub(super) struct Outlet {
    state: State,
    incoming: Vec<u8>,
    /// How much of `incoming` is delivered.
    delivered: usize,
}

impl Outlet {
    /// Whether the next bytes may come: those before are taken.
    pub(super) fn is_empty(&self) -> bool {
        self.incoming.is_empty()
    }

    pub(super) fn is_flowing(&self) -> bool {
        self.state == State::Flowing
    }

    pub(super) fn is_closed(&self) -> bool {
        self.state == State::Closed
    }

    /// Hands the bytes on at once; what the local side does not take now is kept.
    pub(super) fn take(&mut self, pipe: &mut DuplexStream, context: &mut Context<'_>, bytes: &[u8]) {
        if self.state == State::Closed {
            return;
        }
        let mut rest = bytes;
        while !rest.is_empty() {
            match write(pipe, context, rest) {
                Poll::Ready(Ok(count)) => rest = rest.get(count..).unwrap_or_default(),
                Poll::Ready(Err(_)) => return self.close(),
                Poll::Pending => break,
            }
        }
        self.incoming.extend_from_slice(rest);
    }

    /// Hands on what was kept, and then the end, if that is known; says whether anything moved.
    pub(super) fn deliver(&mut self, pipe: &mut DuplexStream, context: &mut Context<'_>) -> bool {
        let mut moved = false;
        while let Some(rest) = self.incoming.get(self.delivered..).filter(|rest| !rest.is_empty()) {
            match write(pipe, context, rest) {
                Poll::Ready(Ok(count)) => self.delivered += count,
                Poll::Ready(Err(_)) => self.close(),
                Poll::Pending => return moved,
            }
            moved = true;
        }
        self.incoming.clear();
        self.delivered = 0;
        if self.state == State::Ended {
            self.state = State::Closed;
            moved = true;
            // A pipe has nothing to wait for.
            drop(Pin::new(pipe).poll_shutdown(context));
        }
        moved
    }

    /// The server has no more to say.
    pub(super) fn end(&mut self, pipe: &mut DuplexStream, context: &mut Context<'_>) -> bool {
        if self.state == State::Flowing {
            self.state = State::Ended;
            self.deliver(pipe, context);
            return true;
        }
        false
    }

    /// The local side does not read any more; what still comes is thrown away, so that the window stays open.
    pub(super) fn close(&mut self) {
        *self = Self { state: State::Closed, ..Self::default() };
    }
}

fn write(pipe: &mut DuplexStream, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
    Pin::new(pipe).poll_write(context, bytes)
}
