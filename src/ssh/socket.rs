//! The SSH socket and its present state in the kernel. Tokio's readiness is only a hint, because libssh2 reads and
//! writes the socket, too.

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::{
    io,
    os::fd::OwnedFd,
    task::{Context, Poll},
};
use tokio::io::unix::AsyncFd;

/// The socket of a session.
pub(super) struct SessionSocket(AsyncFd<OwnedFd>);

/// The events that a poll returned.
#[derive(Debug, Clone, Copy)]
pub(super) struct SocketReadiness(PollFlags);

impl SocketReadiness {
    /// Returns whether there are bytes to read.
    pub(super) fn is_readable(self) -> bool {
        self.0.contains(PollFlags::IN)
    }

    /// Returns whether the peer has closed or broken the connection.
    pub(super) fn is_broken(self) -> bool {
        self.0.intersects(PollFlags::RDHUP | PollFlags::HUP | PollFlags::ERR)
    }
}

/// The events to wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ReadInterest {
    /// Data or the end.
    Data,
    /// The end alone.
    Hangup,
}

impl SessionSocket {
    /// # Errors
    /// If the socket can't be watched.
    #[expect(deprecated, reason = "its successor is unsafe, and wants a promise that the type of this socket keeps")]
    pub(super) fn new(socket: OwnedFd) -> io::Result<Self> {
        Ok(Self(AsyncFd::new(socket)?))
    }

    /// Returns the socket's readiness; if there is none, the task is woken when there is.
    pub(super) fn poll_read(
        &self,
        context: &mut Context<'_>,
        interest: ReadInterest,
    ) -> Result<SocketReadiness, TransportError> {
        let mut flags = PollFlags::RDHUP;
        flags.set(PollFlags::IN, interest == ReadInterest::Data);
        loop {
            let Poll::Ready(readiness) = self.0.poll_read_ready(context) else {
                return Ok(SocketReadiness(PollFlags::empty()));
            };
            let mut readiness = readiness.map_err(|error| TransportError(error.to_string()))?;
            let ready_flags = self.poll_now(flags);
            if !ready_flags.is_empty() {
                return Ok(SocketReadiness(ready_flags));
            }
            readiness.clear_ready();
        }
    }

    /// Returns whether there is room for writing; if there is none, the task is woken when there is.
    pub(super) fn poll_room(&self, context: &mut Context<'_>) -> Result<bool, TransportError> {
        loop {
            let Poll::Ready(readiness) = self.0.poll_write_ready(context) else { return Ok(false) };
            let mut readiness = readiness.map_err(|error| TransportError(error.to_string()))?;
            if self.has_room() {
                return Ok(true);
            }
            readiness.clear_ready();
        }
    }

    /// Returns whether a good part of the send buffer is free, so that a small packet is taken whole.
    pub(super) fn has_room(&self) -> bool {
        !self.poll_now(PollFlags::OUT).is_empty()
    }

    /// Sends acknowledgements at once. sshd holds a small packet back until the previous one is acknowledged, and the
    /// kernel delays that by 40 ms (measured: four files in 133 ms, with this in 38). The kernel forgets the option, so
    /// it is set again after each read; a socket without it works, too.
    pub(super) fn enable_quick_ack(&self) {
        rustix::net::sockopt::set_tcp_quickack(&self.0, true).unwrap_or_default();
    }

    /// Returns the socket's own error, if it has one.
    pub(super) fn take_error(&self) -> Option<String> {
        match rustix::net::sockopt::socket_error(&self.0) {
            Ok(Err(error)) => Some(io::Error::from(error).to_string()),
            Ok(Ok(())) | Err(_) => None,
        }
    }

    fn poll_now(&self, interest: PollFlags) -> PollFlags {
        let mut polled = [PollFd::new(self.0.get_ref(), interest)];
        match poll(&mut polled, Some(&Timespec::default())) {
            Ok(_) => polled.iter().map(PollFd::revents).collect(),
            Err(_) => PollFlags::empty(),
        }
    }
}

/// A failure of the transport, with its reason.
#[derive(Debug)]
pub(super) struct TransportError(pub(super) String);

/// Turns EAGAIN into `None`. Every other error of libssh2 on a channel in use is a failure of the transport.
pub(super) fn none_if_blocked<T>(result: io::Result<T>) -> Result<Option<T>, TransportError> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
        Err(error) => Err(TransportError(error.to_string())),
    }
}
