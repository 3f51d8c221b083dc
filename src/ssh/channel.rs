//! One channel and the local end of it: bytes up, bytes down, half-close each way, close.
//!
//! Nothing here waits. Every method does what can be done now and says whether anything moved.
#![expect(clippy::disallowed_types, reason = "a channel lives and dies with the pump's session")]

use super::{
    driver::{Broken, attempt},
    process::{End, Far},
    receive_buffer::Outlet,
    stream::Local,
};
use std::{
    io::{Read as _, Write as _},
    ops::Range,
    task::{Context, Poll},
};
use tokio::{io::DuplexStream, sync::oneshot};

/// Twice what libssh2 puts into one packet.
const UP_BUFFER: usize = 2 * 32_700;

/// From the local side to the server.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Up {
    Flowing,
    /// The local side is done; the server does not know yet.
    Ended,
    /// The server knows.
    Announced,
}

/// What a channel has that runs a program.
struct Program {
    pipe: DuplexStream,
    outlet: Outlet,
    /// Until its end is told, or nobody wants to hear it.
    ended: Option<oneshot::Sender<End>>,
    /// The user's end has gone.
    left: bool,
}

/// A channel with its local end.
pub(super) struct Channel {
    channel: ssh2::Channel,
    local: Local,
    up: Up,
    outlet: Outlet,
    program: Option<Program>,
    /// Read from the local side, not yet accepted by libssh2. After EAGAIN libssh2 wants these very bytes again, so more
    /// is read only when all of it is sent.
    outgoing: Vec<u8>,
    /// The part of `outgoing` that is to be sent.
    unsent: Range<usize>,
    /// Nothing new will be waited for from the local side.
    last_call: bool,
    /// What the channel had to offer when libssh2 last said EAGAIN: only a change is worth another try.
    tried: Offer,
    /// The server has closed the channel: reading it does not run the transport any more.
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

    /// Sends what is already here, and then no more.
    pub(super) fn end(&mut self) {
        self.last_call = true;
    }

    /// Local side → server.
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

    /// Server → local side. `scratch` is as large as the window should grow: libssh2 widens it by what it is asked for.
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

    /// Whether there is room on the local side for more.
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
        // What is there now is for a side that takes nothing at the moment.
        self.tried.available = if read > 0 { 0 } else { self.channel.read_window().available };
        Ok(read > 0)
    }

    /// The server has no more to say. If it has closed the channel altogether, it does not listen any more either, and has
    /// told how a program ended.
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

    /// When the user's end has gone, nothing more is received, and a program's input is not worth waiting for.
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

    /// Whether work of another channel brought something for this one after it had its turn.
    pub(super) fn is_due(&self) -> bool {
        let offer = self.offer();
        let may_send = !self.unsent.is_empty() && offer.window > self.tried.window;
        let may_receive = self.may_take() && offer.available > self.tried.available;
        let ended = self.outlet.is_flowing() && offer.eof;
        !self.closed && (may_send || may_receive || ended)
    }

    /// Whether only the server's close is missing, which tells a program's end.
    pub(super) fn awaits_close(&self) -> bool {
        !self.outlet.is_flowing() && self.program.as_ref().is_some_and(|program| program.ended.is_some())
    }

    /// Whether there is an end to tell the server of: small packets, sent only when the socket has room for all of it.
    pub(super) fn wants_room(&self) -> bool {
        self.up == Up::Ended && self.unsent.is_empty()
    }

    /// Tells the server that nothing more will come.
    pub(super) fn announce_end(&mut self) -> Result<bool, Broken> {
        let announced = attempt(self.channel.send_eof().map_err(Into::into))?.is_some();
        if announced {
            self.up = Up::Announced;
        }
        Ok(announced)
    }

    /// Whether both directions are done and only the closing is left.
    pub(super) fn is_done(&self) -> bool {
        let program_is_done = self
            .program
            .as_ref()
            .is_none_or(|program| program.outlet.is_closed() && (program.ended.is_none() || self.last_call));
        self.up == Up::Announced && self.outlet.is_closed() && program_is_done && !self.closed
    }

    /// Closes the channel; done when the server has closed it too.
    pub(super) fn close(&mut self) -> Result<bool, Broken> {
        self.closed = attempt(self.channel.close().map_err(Into::into))?.is_some();
        Ok(self.closed)
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed
    }

    /// Runs the transport, for all channels, without sending anything of this one, until nothing is there any more.
    pub(super) fn hear(&mut self) -> Result<(), Broken> {
        if attempt(self.channel.wait_eof().map_err(Into::into))?.is_some() {
            self.gone = attempt(self.channel.wait_close().map_err(Into::into))?.is_some();
        }
        Ok(())
    }

    /// Whether [`Self::hear`] still does that.
    pub(super) fn can_hear(&self) -> bool {
        !self.gone && !self.closed
    }
}

/// How a program ended, once its channel is closed.
fn end_of(channel: &ssh2::Channel) -> End {
    let signal = channel.exit_signal().ok().and_then(|told| told.exit_signal);
    match signal {
        Some(signal) => End::Signalled(signal),
        None => End::Exited(channel.exit_status().unwrap_or_default()),
    }
}
