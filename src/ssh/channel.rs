//! One channel and its local end: data in both directions, half-close in each, close.
//!
//! Nothing here blocks. Every method does what can be done now and returns whether anything moved.
#![expect(clippy::disallowed_types, reason = "a channel ends with the driver's session")]

use super::{
    receive_buffer::ReceiveBuffer,
    remote_process::{ProcessExit, ProgramPipes},
    socket::{TransportError, none_if_blocked},
    stream::LocalEnd,
};
use std::{
    io::{Read as _, Write as _},
    ops::Range,
    task::{Context, Poll},
};
use tokio::{io::DuplexStream, sync::oneshot};

/// Twice the payload of one libssh2 packet.
const SEND_BUFFER_SIZE: usize = 2 * 32_700;

/// State of the direction from the local side to the server.
#[derive(Clone, Copy, PartialEq, Eq)]
enum SendState {
    Open,
    /// The local side has ended; the EOF is not sent yet.
    EofPending,
    /// The EOF is sent.
    EofSent,
}

/// The parts of a channel that only a program has.
struct ProgramState {
    stderr: DuplexStream,
    stderr_buffer: ReceiveBuffer,
    /// Present until the exit is reported or the user has gone.
    exit: Option<oneshot::Sender<ProcessExit>>,
    /// Set when the user's end has gone.
    user_gone: bool,
}

/// A channel and its local end.
pub(super) struct Channel {
    channel: ssh2::Channel,
    local: LocalEnd,
    send_state: SendState,
    receive_buffer: ReceiveBuffer,
    program: Option<ProgramState>,
    /// Data read from the local side. After EAGAIN libssh2 expects these very bytes again, so more is read only when
    /// all of it is sent.
    outgoing: Vec<u8>,
    /// The part of `outgoing` that is still to be sent.
    unsent: Range<usize>,
    /// Set when the channel only sends data that is already here.
    draining: bool,
    /// The capacity at the last EAGAIN: only a change makes another attempt worthwhile.
    blocked_capacity: ChannelCapacity,
    /// Set when the server has closed the channel: reading it does not read the transport any more.
    closed_by_server: bool,
    closed: bool,
}

#[derive(Default, Clone, Copy, PartialEq, Eq)]
struct ChannelCapacity {
    window: u32,
    available: u32,
    eof: bool,
}

impl Channel {
    pub(super) fn new(channel: ssh2::Channel, local: LocalEnd, pipes: Option<ProgramPipes>) -> Self {
        let program = pipes.map(|ProgramPipes { stderr, exit }| ProgramState {
            stderr,
            stderr_buffer: ReceiveBuffer::default(),
            exit: Some(exit),
            user_gone: false,
        });
        Self {
            channel,
            local,
            send_state: SendState::Open,
            receive_buffer: ReceiveBuffer::default(),
            program,
            outgoing: vec![0; SEND_BUFFER_SIZE],
            unsent: 0..0,
            draining: false,
            blocked_capacity: ChannelCapacity::default(),
            closed_by_server: false,
            closed: false,
        }
    }

    /// Makes the channel send the data that is already here, and then its EOF.
    pub(super) fn begin_draining(&mut self) {
        self.draining = true;
    }

    /// Moves data from the local side to the server.
    pub(super) fn send(&mut self, context: &mut Context<'_>) -> Result<bool, TransportError> {
        let mut moved = false;
        loop {
            if self.program.as_ref().is_some_and(|program| program.user_gone) {
                self.unsent = 0..0;
            }
            if self.unsent.is_empty() {
                moved |= self.fill_outgoing(context);
            }
            let Some(rest) = self.outgoing.get(self.unsent.clone()).filter(|rest| !rest.is_empty()) else {
                return Ok(moved);
            };
            self.blocked_capacity.window = self.channel.write_window().remaining;
            let Some(count) = none_if_blocked(self.channel.write(rest))? else { return Ok(moved) };
            moved |= count > 0;
            self.unsent.start += count;
            if count == 0 {
                return Ok(moved);
            }
        }
    }

    fn fill_outgoing(&mut self, context: &mut Context<'_>) -> bool {
        if self.send_state != SendState::Open {
            return false;
        }
        let read = self.local.poll_read_local(context, &mut self.outgoing);
        let count = if let Poll::Ready(Ok(count)) = read { count } else { 0 };
        self.unsent = 0..count;
        if read.is_pending() && !self.draining {
            return false;
        }
        if count == 0 {
            self.send_state = SendState::EofPending;
        }
        true
    }

    /// Moves data from the server to the local side. `scratch` is as large as the window should become: libssh2 widens
    /// it by the size of a read.
    pub(super) fn receive(&mut self, context: &mut Context<'_>, scratch: &mut [u8]) -> Result<bool, TransportError> {
        let mut moved = self.receive_buffer.deliver_kept(self.local.pipe_mut(), context);
        if let Some(program) = &mut self.program {
            moved |= program.stderr_buffer.deliver_kept(&mut program.stderr, context);
        }
        if self.has_receive_room() && self.current_capacity().available > 0 {
            moved |= self.read_channel(context, scratch)?;
        }
        if self.channel.eof() {
            moved |= self.finish_receiving(context)?;
        }
        Ok(moved | self.abandon_if_user_gone(context))
    }

    /// Returns whether the local side has room for more data.
    fn has_receive_room(&self) -> bool {
        self.receive_buffer.is_empty() || self.program.as_ref().is_some_and(|program| program.stderr_buffer.is_empty())
    }

    fn read_channel(&mut self, context: &mut Context<'_>, scratch: &mut [u8]) -> Result<bool, TransportError> {
        let mut read = 0;
        if self.receive_buffer.is_empty()
            && let Some(count) = none_if_blocked(self.channel.read(scratch))?
        {
            read += count;
            self.receive_buffer.write_or_keep(self.local.pipe_mut(), context, scratch.get(..count).unwrap_or_default());
        }
        if let Some(program) = self.program.as_mut().filter(|program| program.stderr_buffer.is_empty())
            && let Some(count) = none_if_blocked(self.channel.stderr().read(scratch))?
        {
            read += count;
            program.stderr_buffer.write_or_keep(&mut program.stderr, context, scratch.get(..count).unwrap_or_default());
        }
        // The remaining data is for a stream that has no room at the moment.
        self.blocked_capacity.available = if read > 0 { 0 } else { self.channel.read_window().available };
        Ok(read > 0)
    }

    /// Handles the server's EOF. If the server has also closed the channel, it reads nothing more and has reported the
    /// program's exit.
    fn finish_receiving(&mut self, context: &mut Context<'_>) -> Result<bool, TransportError> {
        let mut moved = self.receive_buffer.receive_eof(self.local.pipe_mut(), context);
        if let Some(program) = &mut self.program {
            moved |= program.stderr_buffer.receive_eof(&mut program.stderr, context);
        }
        let awaited = self.send_state == SendState::Open || self.awaits_close();
        if awaited && none_if_blocked(self.channel.wait_close().map_err(Into::into))?.is_some() {
            moved = true;
            if self.send_state == SendState::Open {
                self.unsent = 0..0;
                self.send_state = SendState::EofPending;
            }
            if let Some(exit) = self.program.as_mut().and_then(|program| program.exit.take()) {
                drop(exit.send(process_exit(&self.channel)));
            }
        }
        Ok(moved)
    }

    /// Stops receiving when the user's end has gone; a program's input is dropped, too.
    fn abandon_if_user_gone(&mut self, context: &mut Context<'_>) -> bool {
        let already_handled = match &self.program {
            Some(program) => program.user_gone,
            None => self.receive_buffer.is_closed() || self.send_state != SendState::EofSent,
        };
        if already_handled || !self.local.is_user_gone(context) {
            return false;
        }
        self.receive_buffer.close();
        if let Some(program) = &mut self.program {
            program.stderr_buffer.close();
            program.exit = None;
            program.user_gone = true;
        }
        true
    }

    fn current_capacity(&self) -> ChannelCapacity {
        ChannelCapacity {
            window: self.channel.write_window().remaining,
            available: self.channel.read_window().available,
            eof: self.channel.eof(),
        }
    }

    /// Returns whether an operation of another channel received something for this one after its turn.
    pub(super) fn needs_turn(&self) -> bool {
        let capacity = self.current_capacity();
        let may_send = !self.unsent.is_empty() && capacity.window > self.blocked_capacity.window;
        let may_receive = self.has_receive_room() && capacity.available > self.blocked_capacity.available;
        let has_eof = self.receive_buffer.is_open() && capacity.eof;
        !self.closed && (may_send || may_receive || has_eof)
    }

    /// Returns whether only the server's close is missing, which carries a program's exit.
    pub(super) fn awaits_close(&self) -> bool {
        !self.receive_buffer.is_open() && self.program.as_ref().is_some_and(|program| program.exit.is_some())
    }

    /// Returns whether an EOF is to be sent: a small packet, sent only when the socket has room for all of it.
    pub(super) fn has_eof_to_send(&self) -> bool {
        self.send_state == SendState::EofPending && self.unsent.is_empty()
    }

    /// Sends the EOF to the server.
    pub(super) fn send_eof(&mut self) -> Result<bool, TransportError> {
        let is_sent = none_if_blocked(self.channel.send_eof().map_err(Into::into))?.is_some();
        if is_sent {
            self.send_state = SendState::EofSent;
        }
        Ok(is_sent)
    }

    /// Returns whether both directions have ended and only the close is left.
    pub(super) fn is_done(&self) -> bool {
        let program_is_done = self
            .program
            .as_ref()
            .is_none_or(|program| program.stderr_buffer.is_closed() && (program.exit.is_none() || self.draining));
        self.send_state == SendState::EofSent && self.receive_buffer.is_closed() && program_is_done && !self.closed
    }

    /// Closes the channel; returns true once the server has closed it, too.
    pub(super) fn close(&mut self) -> Result<bool, TransportError> {
        self.closed = none_if_blocked(self.channel.close().map_err(Into::into))?.is_some();
        Ok(self.closed)
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed
    }

    /// Reads the transport for all channels until it is empty, without sending anything of this one.
    pub(super) fn read_transport(&mut self) -> Result<(), TransportError> {
        if none_if_blocked(self.channel.wait_eof().map_err(Into::into))?.is_some() {
            self.closed_by_server = none_if_blocked(self.channel.wait_close().map_err(Into::into))?.is_some();
        }
        Ok(())
    }

    /// Returns whether [`Self::read_transport`] still reads the transport.
    pub(super) fn can_read_transport(&self) -> bool {
        !self.closed_by_server && !self.closed
    }
}

/// Returns how a program ended, once its channel is closed.
fn process_exit(channel: &ssh2::Channel) -> ProcessExit {
    let signal = channel.exit_signal().ok().and_then(|reported| reported.exit_signal);
    match signal {
        Some(signal) => ProcessExit::Signalled(signal),
        None => ProcessExit::Exited(channel.exit_status().unwrap_or_default()),
    }
}
