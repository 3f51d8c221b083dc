//! One channel and the local socket it ends in: bytes up, bytes down, half-close each way, close.
//!
//! Nothing here waits. Every method does what can be done now and says whether anything moved.
#![expect(clippy::disallowed_types, reason = "a channel lives and dies with the pump's session")]

use super::pump::{Broken, attempt};
use rustix::event::PollFlags;
use std::{
    io::{ErrorKind, Read as _, Write as _},
    net::Shutdown,
    os::unix::net::UnixStream,
};

/// Twice what libssh2 puts into one packet.
const UP_BUFFER: usize = 2 * 32_700;

/// From the local socket to the server.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Up {
    Flowing,
    /// The local side is done; the server does not know yet.
    Ended,
    /// The server knows.
    Announced,
}

/// From the server to the local socket.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Down {
    Flowing,
    /// The server is done; the local side does not know yet.
    Ended,
    /// The local side knows, or has gone.
    Closed,
}

/// A channel with its local socket.
pub(super) struct Stream {
    channel: ssh2::Channel,
    local: UnixStream,
    up: Up,
    down: Down,
    /// Read from the local socket, not yet accepted by libssh2. After EAGAIN libssh2 wants these very bytes again, so it
    /// is filled only when it is empty.
    outgoing: Vec<u8>,
    /// How much of `outgoing` is sent.
    sent: usize,
    /// Received, not yet taken by the local socket.
    incoming: Vec<u8>,
    /// How much of `incoming` is delivered.
    delivered: usize,
    /// What may be tried on the local socket: what poll said, until it would block.
    ready: PollFlags,
    /// Nothing new will be waited for from the local side.
    last_call: bool,
    /// What the channel had to offer when libssh2 last said EAGAIN: only a change is worth another try.
    tried: Offer,
    closed: bool,
}

#[derive(Default, Clone, Copy, PartialEq, Eq)]
struct Offer {
    window: u32,
    available: u32,
    eof: bool,
}

impl Stream {
    pub(super) fn new(channel: ssh2::Channel, local: UnixStream) -> Self {
        Self {
            channel,
            local,
            up: Up::Flowing,
            down: Down::Flowing,
            outgoing: Vec::new(),
            sent: 0,
            incoming: Vec::new(),
            delivered: 0,
            ready: PollFlags::IN | PollFlags::OUT,
            last_call: false,
            tried: Offer::default(),
            closed: false,
        }
    }

    pub(super) fn local(&self) -> &UnixStream {
        &self.local
    }

    /// What to wait for on the local socket; `None` leaves it out, as even an empty set reports a hang-up.
    pub(super) fn interest(&self) -> Option<PollFlags> {
        let mut interest = PollFlags::empty();
        if self.up == Up::Flowing && self.outgoing.is_empty() && !self.ready.contains(PollFlags::IN) {
            interest |= PollFlags::IN;
        }
        if !self.incoming.is_empty() && !self.ready.contains(PollFlags::OUT) {
            interest |= PollFlags::OUT;
        }
        let may_hang_up = self.up == Up::Announced && self.down != Down::Closed;
        (may_hang_up || !interest.is_empty()).then_some(interest)
    }

    /// Takes in what poll said of the local socket.
    pub(super) fn notice(&mut self, ready: PollFlags) {
        let hung_up = ready.intersects(PollFlags::HUP | PollFlags::ERR);
        self.ready |= if hung_up { PollFlags::IN | PollFlags::OUT } else { ready };
        if hung_up && self.up == Up::Announced {
            self.drop_incoming();
        }
    }

    /// Sends what is already here, and then no more.
    pub(super) fn end(&mut self) {
        self.last_call = true;
        self.ready |= PollFlags::IN;
    }

    /// Local socket → server.
    pub(super) fn send(&mut self) -> Result<bool, Broken> {
        let mut moved = false;
        loop {
            if self.outgoing.is_empty() {
                moved |= self.fill();
            }
            let Some(rest) = self.outgoing.get(self.sent..).filter(|rest| !rest.is_empty()) else { return Ok(moved) };
            self.tried.window = self.channel.write_window().remaining;
            let Some(count) = attempt(self.channel.write(rest))? else { return Ok(moved) };
            moved |= count > 0;
            self.sent += count;
            if count == 0 {
                return Ok(moved);
            }
            if self.sent == self.outgoing.len() {
                self.outgoing.clear();
                self.sent = 0;
            }
        }
    }

    fn fill(&mut self) -> bool {
        if self.up != Up::Flowing || !self.ready.contains(PollFlags::IN) {
            return false;
        }
        self.outgoing.resize(UP_BUFFER, 0);
        let read = self.local.read(&mut self.outgoing);
        self.outgoing.truncate(*read.as_ref().unwrap_or(&0));
        match read {
            Ok(count) if count > 0 => return true,
            Err(error) if error.kind() == ErrorKind::Interrupted => return false,
            Err(error) if error.kind() == ErrorKind::WouldBlock && !self.last_call => {
                self.ready.remove(PollFlags::IN);
                return false;
            }
            Ok(_) | Err(_) => self.up = Up::Ended,
        }
        true
    }

    /// Server → local socket. `scratch` is as large as the window should grow: libssh2 widens it by what it is asked for.
    pub(super) fn receive(&mut self, scratch: &mut [u8]) -> Result<bool, Broken> {
        let mut moved = self.deliver();
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
            self.take(scratch.get(..count).unwrap_or_default());
        }
        if self.channel.eof() {
            moved |= self.finish_down()?;
        }
        Ok(moved)
    }

    /// Hands the bytes on at once; what the local socket does not take now is kept.
    fn take(&mut self, bytes: &[u8]) {
        if self.down == Down::Closed {
            return;
        }
        let mut rest = bytes;
        while !rest.is_empty() && self.ready.contains(PollFlags::OUT) {
            match self.local.write(rest) {
                Ok(count) => rest = rest.get(count..).unwrap_or_default(),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.ready.remove(PollFlags::OUT),
                Err(_) => return self.drop_incoming(),
            }
        }
        self.incoming.extend_from_slice(rest);
    }

    fn deliver(&mut self) -> bool {
        let mut moved = false;
        while self.ready.contains(PollFlags::OUT) {
            let Some(rest) = self.incoming.get(self.delivered..).filter(|rest| !rest.is_empty()) else { break };
            match self.local.write(rest) {
                Ok(count) => self.delivered += count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.ready.remove(PollFlags::OUT);
                    return moved;
                }
                Err(_) => self.drop_incoming(),
            }
            moved = true;
        }
        if self.delivered == self.incoming.len() {
            self.incoming.clear();
            self.delivered = 0;
            if self.down == Down::Ended {
                self.down = Down::Closed;
                moved = true;
                // It fails only when the other side has gone, which is what it would say.
                drop(self.local.shutdown(Shutdown::Write));
            }
        }
        moved
    }

    /// The server has no more to say. If it has closed the channel altogether, it does not listen any more either.
    fn finish_down(&mut self) -> Result<bool, Broken> {
        let mut moved = false;
        if self.down == Down::Flowing {
            self.down = Down::Ended;
            self.deliver();
            moved = true;
        }
        if self.up == Up::Flowing && attempt(self.channel.wait_close().map_err(Into::into))?.is_some() {
            self.outgoing.clear();
            self.sent = 0;
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
        let may_send = !self.outgoing.is_empty() && offer.window > self.tried.window;
        let may_receive = self.incoming.is_empty() && offer.available > self.tried.available;
        let ended = self.down == Down::Flowing && self.incoming.is_empty() && offer.eof;
        !self.closed && (may_send || may_receive || ended)
    }

    /// Whether there is an end to tell the server of: small packets, sent only when the socket has room for all of it.
    pub(super) fn wants_room(&self) -> bool {
        self.up == Up::Ended && self.outgoing.is_empty()
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

    /// Runs the transport, for all channels, without sending anything of this one.
    pub(super) fn hear(&mut self) -> Result<(), Broken> {
        if attempt(self.channel.wait_eof().map_err(Into::into))?.is_some() {
            attempt(self.channel.wait_close().map_err(Into::into))?;
        }
        Ok(())
    }
}
