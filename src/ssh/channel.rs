//! One channel and the local end of it: bytes up, bytes down, half-close each way, close.
//!
//! Nothing here waits. Every method does what can be done now and says whether anything moved.
#![expect(clippy::disallowed_types, reason = "a channel lives and dies with the pump's session")]

use super::{
    pump::{Broken, attempt},
    stream::Local,
};
use std::{
    io::{Read as _, Write as _},
    ops::Range,
    task::{Context, Poll},
};

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

/// From the server to the local side.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Down {
    Flowing,
    /// The server is done; the local side does not know yet.
    Ended,
    /// The local side knows, or has gone.
    Closed,
}

/// A channel with its local end.
pub(super) struct Channel {
    channel: ssh2::Channel,
    local: Local,
    up: Up,
    down: Down,
    /// Read from the local side, not yet accepted by libssh2. After EAGAIN libssh2 wants these very bytes again, so more
    /// is read only when all of it is sent.
    outgoing: Vec<u8>,
    /// The part of `outgoing` that is to be sent.
    unsent: Range<usize>,
    /// Received, not yet taken by the local side.
    incoming: Vec<u8>,
    /// How much of `incoming` is delivered.
    delivered: usize,
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
    pub(super) fn new(channel: ssh2::Channel, local: Local) -> Self {
        Self {
            channel,
            local,
            up: Up::Flowing,
            down: Down::Flowing,
            outgoing: vec![0; UP_BUFFER],
            unsent: 0..0,
            incoming: Vec::new(),
            delivered: 0,
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
        let mut moved = self.deliver(context);
        if !self.incoming.is_empty() || self.down == Down::Ended {
            return Ok(moved);
        }
        let offer = self.offer();
        if offer.available > 0 {
            let Some(count) = attempt(self.channel.read(scratch))? else {
                self.tried.available = offer.available;
                return Ok(moved);
            };
            self.tried.available = 0;
            moved |= count > 0;
            self.take(context, scratch.get(..count).unwrap_or_default());
        }
        if self.channel.eof() {
            moved |= self.finish_down(context)?;
        }
        if self.up == Up::Announced && self.down != Down::Closed && self.local.is_gone(context) {
            self.drop_incoming();
            moved = true;
        }
        Ok(moved)
    }

    /// Hands the bytes on at once; what the local side does not take now is kept.
    fn take(&mut self, context: &mut Context<'_>, bytes: &[u8]) {
        if self.down == Down::Closed {
            return;
        }
        let mut rest = bytes;
        while !rest.is_empty() {
            match self.local.write(context, rest) {
                Poll::Ready(Ok(count)) => rest = rest.get(count..).unwrap_or_default(),
                Poll::Ready(Err(_)) => return self.drop_incoming(),
                Poll::Pending => break,
            }
        }
        self.incoming.extend_from_slice(rest);
    }

    fn deliver(&mut self, context: &mut Context<'_>) -> bool {
        let mut moved = false;
        while let Some(rest) = self.incoming.get(self.delivered..).filter(|rest| !rest.is_empty()) {
            match self.local.write(context, rest) {
                Poll::Ready(Ok(count)) => self.delivered += count,
                Poll::Ready(Err(_)) => self.drop_incoming(),
                Poll::Pending => return moved,
            }
            moved = true;
        }
        self.incoming.clear();
        self.delivered = 0;
        if self.down == Down::Ended {
            self.down = Down::Closed;
            moved = true;
            self.local.end(context);
        }
        moved
    }

    /// The server has no more to say. If it has closed the channel altogether, it does not listen any more either.
    fn finish_down(&mut self, context: &mut Context<'_>) -> Result<bool, Broken> {
        let mut moved = false;
        if self.down == Down::Flowing {
            self.down = Down::Ended;
            self.deliver(context);
            moved = true;
        }
        if self.up == Up::Flowing && attempt(self.channel.wait_close().map_err(Into::into))?.is_some() {
            self.unsent = 0..0;
            self.up = Up::Ended;
            moved = true;
        }
        Ok(moved)
    }

    /// The local side does not read any more; what still comes is thrown away, so that the window stays open.
    fn drop_incoming(&mut self) {
        self.incoming = Vec::new();
        self.delivered = 0;
        self.down = Down::Closed;
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
        let may_receive = self.incoming.is_empty() && offer.available > self.tried.available;
        let ended = self.down == Down::Flowing && self.incoming.is_empty() && offer.eof;
        !self.closed && (may_send || may_receive || ended)
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
        self.up == Up::Announced && self.down == Down::Closed && !self.closed
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
