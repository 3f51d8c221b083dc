//! One channel and its local end: data in both directions, half-close in each, close.
//!
//! Nothing here blocks. Every method does what can be done now and returns whether anything moved.
#![expect(clippy::disallowed_types, reason = "a channel lives and dies with the pump's session")]

use super::{
    process::{End, Far},
    receive_buffer::Outlet,
    socket::{Broken, attempt},
    stream::Local,
};
use std::{
    io::{Read as _, Write as _},
    ops::Range,
    task::{Context, Poll},
};
use tokio::{io::DuplexStream, sync::oneshot};

/// Twice the payload of one libssh2 packet.
const UP_BUFFER: usize = 2 * 32_700;

/// State of the direction from the local side to the server.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Up {
    Flowing,
    /// The local side has ended; the EOF is not sent yet.
    Ended,
    /// The EOF is sent.
    Announced,
}

/// The parts of a channel that only a program has.
struct Program {
    pipe: DuplexStream,
    outlet: Outlet,
    /// Present until the exit is reported or the user has gone.
    ended: Option<oneshot::Sender<End>>,
    /// Set when the user's end has gone.
    left: bool,
}

/// A channel and its local end.
pub(super) struct Channel {
    channel: ssh2::Channel,
    local: Local,
    up: Up,
    outlet: Outlet,
    program: Option<Program>,
    /// Data read from the local side. After EAGAIN libssh2 expects these very bytes again, so more is read only when
    /// all of it is sent.
    outgoing: Vec<u8>,
    /// The part of `outgoing` that is still to be sent.
    unsent: Range<usize>,
    /// Set when the channel only sends data that is already here.
    last_call: bool,
    /// The capacity at the last EAGAIN: only a change makes another attempt worthwhile.
    tried: Offer,
    /// Set when the server has closed the channel: reading it does not read the transport any more.
    gone: bool,
    closed: bool,
}

#[derive(Default, Clone, Copy, PartialEq, Eq)]
struct Offer {
    window: u32,
    available: u32,
    eof: bool,
}

impl Channel {
    pub(super) fn new(channel: ssh2::Channel, local: Local, far: Option<Far>) -> Self {
        let program = far.map(|Far { errors, ended }| Program {
            pipe: errors,
            outlet: Outlet::default(),
            ended: Some(ended),
            left: false,
        });
        Self {
            channel,
            local,
            up: Up::Flowing,
            outlet: Outlet::default(),
            program,
            outgoing: vec![0; UP_BUFFER],
            unsent: 0..0,
            last_call: false,
            tried: Offer::default(),
            gone: false,
            closed: false,
        }
    }

    /// Makes the channel send the data that is already here, and then its EOF.
    pub(super) fn end(&mut self) {
        self.last_call = true;
    }

    /// Moves data from the local side to the server.
    pub(super) fn send(&mut self, context: &mut Context<'_>) -> Result<bool, Broken> {
        let mut moved = false;
        loop {
            if self.program.as_ref().is_some_and(|program| program.left) {
                self.unsent = 0..0;
            }
            if self.unsent.is_empty() {
                moved |= self.fill(context);
            }
            let Some(rest) = self.outgoing.get(self.unsent.clone()).filter(|rest| !rest.is_empty()) else {
                return Ok(moved);
            };
            self.tried.window = self.channel.write_window().remaining;
            let Some(count) = attempt(self.channel.write(rest))? else { return Ok(moved) };
            moved |= count > 0;
            self.unsent.start += count;
            if count == 0 {
                return Ok(moved);
            }
        }
    }

    fn fill(&mut self, context: &mut Context<'_>) -> bool {
        if self.up != Up::Flowing {
            return false;
        }
        let read = self.local.read(context, &mut self.outgoing);
        let count = if let Poll::Ready(Ok(count)) = read { count } else { 0 };
        self.unsent = 0..count;
        if read.is_pending() && !self.last_call {
            return false;
        }
        if count == 0 {
            self.up = Up::Ended;
        }
        true
    }

    /// Moves data from the server to the local side. `scratch` is as large as the window should become: libssh2 widens
    /// it by the size of a read.
    pub(super) fn receive(&mut self, context: &mut Context<'_>, scratch: &mut [u8]) -> Result<bool, Broken> {
        let mut moved = self.outlet.deliver(self.local.pipe(), context);
        if let Some(program) = &mut self.program {
            moved |= program.outlet.deliver(&mut program.pipe, context);
        }
        if self.may_take() && self.offer().available > 0 {
            moved |= self.read(context, scratch)?;
        }
        if self.channel.eof() {
            moved |= self.finish_down(context)?;
        }
        Ok(moved | self.let_go(context))
    }

    /// Returns whether the local side has room for more data.
    fn may_take(&self) -> bool {
        self.outlet.is_empty() || self.program.as_ref().is_some_and(|program| program.outlet.is_empty())
    }

    fn read(&mut self, context: &mut Context<'_>, scratch: &mut [u8]) -> Result<bool, Broken> {
        let mut read = 0;
        if self.outlet.is_empty()
            && let Some(count) = attempt(self.channel.read(scratch))?
        {
            read += count;
            self.outlet.take(self.local.pipe(), context, scratch.get(..count).unwrap_or_default());
        }
        if let Some(program) = self.program.as_mut().filter(|program| program.outlet.is_empty())
            && let Some(count) = attempt(self.channel.stderr().read(scratch))?
        {
            read += count;
            program.outlet.take(&mut program.pipe, context, scratch.get(..count).unwrap_or_default());
        }
        // The remaining data is for a stream that has no room at the moment.
        self.tried.available = if read > 0 { 0 } else { self.channel.read_window().available };
        Ok(read > 0)
    }

    /// Handles the server's EOF. If the server has also closed the channel, it reads nothing more and has reported the
    /// program's exit.
    fn finish_down(&mut self, context: &mut Context<'_>) -> Result<bool, Broken> {
        let mut moved = self.outlet.end(self.local.pipe(), context);
        if let Some(program) = &mut self.program {
            moved |= program.outlet.end(&mut program.pipe, context);
        }
        let awaited = self.up == Up::Flowing || self.awaits_close();
        if awaited && attempt(self.channel.wait_close().map_err(Into::into))?.is_some() {
            moved = true;
            if self.up == Up::Flowing {
                self.unsent = 0..0;
                self.up = Up::Ended;
            }
            if let Some(told) = self.program.as_mut().and_then(|program| program.ended.take()) {
                drop(told.send(end_of(&self.channel)));
            }
        }
        Ok(moved)
    }

    /// Stops receiving when the user's end has gone; a program's input is dropped, too.
    fn let_go(&mut self, context: &mut Context<'_>) -> bool {
        let settled = match &self.program {
            Some(program) => program.left,
            None => self.outlet.is_closed() || self.up != Up::Announced,
        };
        if settled || !self.local.is_gone(context) {
            return false;
        }
        self.outlet.close();
        if let Some(program) = &mut self.program {
            program.outlet.close();
            program.ended = None;
            program.left = true;
        }
        true
    }

    fn offer(&self) -> Offer {
        Offer {
            window: self.channel.write_window().remaining,
            available: self.channel.read_window().available,
            eof: self.channel.eof(),
        }
    }

    /// Returns whether an operation of another channel received something for this one after its turn.
    pub(super) fn is_due(&self) -> bool {
        let offer = self.offer();
        let may_send = !self.unsent.is_empty() && offer.window > self.tried.window;
        let may_receive = self.may_take() && offer.available > self.tried.available;
        let ended = self.outlet.is_flowing() && offer.eof;
        !self.closed && (may_send || may_receive || ended)
    }

    /// Returns whether only the server's close is missing, which carries a program's exit.
    pub(super) fn awaits_close(&self) -> bool {
        !self.outlet.is_flowing() && self.program.as_ref().is_some_and(|program| program.ended.is_some())
    }

    /// Returns whether an EOF is to be sent: a small packet, sent only when the socket has room for all of it.
    pub(super) fn wants_room(&self) -> bool {
        self.up == Up::Ended && self.unsent.is_empty()
    }

    /// Sends the EOF to the server.
    pub(super) fn announce_end(&mut self) -> Result<bool, Broken> {
        let announced = attempt(self.channel.send_eof().map_err(Into::into))?.is_some();
        if announced {
            self.up = Up::Announced;
        }
        Ok(announced)
    }

    /// Returns whether both directions have ended and only the close is left.
    pub(super) fn is_done(&self) -> bool {
        let program_is_done = self
            .program
            .as_ref()
            .is_none_or(|program| program.outlet.is_closed() && (program.ended.is_none() || self.last_call));
        self.up == Up::Announced && self.outlet.is_closed() && program_is_done && !self.closed
    }

    /// Closes the channel; returns true once the server has closed it, too.
    pub(super) fn close(&mut self) -> Result<bool, Broken> {
        self.closed = attempt(self.channel.close().map_err(Into::into))?.is_some();
        Ok(self.closed)
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed
    }

    /// Reads the transport for all channels until it is empty, without sending anything of this one.
    pub(super) fn hear(&mut self) -> Result<(), Broken> {
        if attempt(self.channel.wait_eof().map_err(Into::into))?.is_some() {
            self.gone = attempt(self.channel.wait_close().map_err(Into::into))?.is_some();
        }
        Ok(())
    }

    /// Returns whether [`Self::hear`] still reads the transport.
    pub(super) fn can_hear(&self) -> bool {
        !self.gone && !self.closed
    }
}

/// Returns how a program ended, once its channel is closed.
fn end_of(channel: &ssh2::Channel) -> End {
    let signal = channel.exit_signal().ok().and_then(|told| told.exit_signal);
    match signal {
        Some(signal) => End::Signalled(signal),
        None => End::Exited(channel.exit_status().unwrap_or_default()),
    }
}
