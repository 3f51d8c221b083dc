//! The task that owns a session once it is logged in.
//!
//! It is woken by the SSH socket, by the local end of a channel, by a command or by its timer, and does everything that
//! can be done without blocking. libssh2 dictates its shape. An unfinished open lives in the session, so channels are
//! opened one at a time. After EAGAIN in the middle of a packet only that packet may be sent, so an interrupted
//! operation is finished before any other. A call on one channel reads packets for all of them, so every channel is
//! looked at again before the task sleeps. And libssh2 reads the socket in large chunks: a call that stops at its own
//! packet leaves the packets behind it in libssh2's buffer, for which the socket will never become readable. So the
//! task sleeps only when the last call that read the transport read it to the end.
#![expect(clippy::disallowed_types, reason = "the pump is the owner of the session")]

use super::{
    channel::Channel,
    open_queue::{Opened, Opens, Order},
    route::Hop,
    session::Connected,
    socket::{Broken, Look, Wire},
};
use crate::fault::{Code, Fault};
use std::{
    future::{Future as _, poll_fn},
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};
use tokio::{
    sync::mpsc::UnboundedReceiver,
    task::coop::unconstrained,
    time::{Instant, Sleep, sleep_until},
};

/// Size of one read. libssh2 keeps its default window of 2 MB plus the size of the read: together 4 MB, which doubles
/// the speed of a download over distance (50 ms and more).
const SCRATCH: usize = 2 << 20;

/// Time for which a closing driver still delivers the data that its channels hold.
const FAREWELL: Duration = Duration::from_secs(1);

/// Number of keepalive intervals without any received data after which the connection is dead.
const MISSED: u32 = 3;

/// Interval at which to check whether the server has closed a channel that has no more data. A call on another channel
/// may have read the close packet after this channel had its turn, so that no readiness announces it; and libssh2
/// cannot ask for a close without reading.
const RECHECK: Duration = Duration::from_millis(50);

/// Reason of a lost connection that has no error.
const CLOSED: &str = "closed by the server";

/// A command from the handle to the driver.
pub(super) enum Command {
    Open(Order),
    Close,
}

/// One operation that libssh2 may interrupt in the middle of a packet.
#[derive(Clone, Copy)]
enum Work {
    Hear,
    Send(usize),
    Receive(usize),
    Announce(usize),
    Close(usize),
    Open,
}

/// The state of the task that owns a session.
pub(super) struct Pump {
    hop: Hop,
    session: ssh2::Session,
    wire: Wire,
    commands: UnboundedReceiver<Command>,
    keepalive: Duration,
    timer: Pin<Box<Sleep>>,
    channels: Vec<Channel>,
    opens: Opens,
    /// The operation that was interrupted in the middle of a packet.
    cut: Option<Work>,
    /// Set when a small packet waits for room in the socket.
    wants_room: bool,
    /// Time of the last received data.
    heard: Instant,
    /// Time of the last keepalive.
    asked: Instant,
    /// The socket's own error, which is more exact than libssh2's.
    reason: Option<String>,
    /// Time at which a closing driver stops delivering data.
    farewell: Option<Instant>,
    scratch: Vec<u8>,
}

impl Pump {
    /// Takes over a session.
    ///
    /// # Errors
    /// If the socket can't be watched.
    pub(super) fn new(
        hop: Hop,
        connected: Connected,
        commands: UnboundedReceiver<Command>,
        keepalive: Duration,
    ) -> io::Result<Self> {
        let Connected { session, socket, .. } = connected;
        session.set_blocking(false);
        // One second is the smallest interval of libssh2; this task decides when to send one.
        session.set_keepalive(true, 1);
        let now = Instant::now();
        Ok(Self {
            hop,
            session,
            wire: Wire::new(socket)?,
            commands,
            keepalive,
            timer: Box::pin(sleep_until(now)),
            channels: Vec::new(),
            opens: Opens::default(),
            cut: None,
            wants_room: false,
            heard: now,
            asked: now,
            reason: None,
            farewell: None,
            scratch: vec![0; SCRATCH],
        })
    }

    /// Moves bytes until the handle closes the connection.
    ///
    /// # Errors
    /// `bastion-lost` with the transport's own reason.
    pub(super) async fn run(&mut self) -> Result<(), Fault> {
        // It yields after each turn by itself; a forced yield would look like having nothing to do.
        unconstrained(poll_fn(|context| self.turn(context))).await.map_err(|Broken(said)| {
            let reason = self.reason.take().unwrap_or(said);
            Fault::new(Code::BastionLost, format!("the connection to `{}` broke: {reason}", self.hop))
        })
    }

    /// Runs one turn without blocking. After a turn that moved data, other tasks run before the next one.
    fn turn(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        self.obey(context);
        if self.is_over() {
            // A courtesy to the server, which notices the end anyway.
            drop(self.session.disconnect(None, "done", None));
            return Poll::Ready(Ok(()));
        }
        let readable = self.look(context)?;
        let moved = self.pass(context, readable)?;
        self.keep_alive()?;
        let heard = self.hear_out(context)?;
        let due = self.cut.is_none() && self.channels.iter().any(Channel::is_due);
        // A readable socket is polled again, so that the next packet wakes the task.
        if moved || readable || heard || due || self.is_roused(context)? {
            context.waker().wake_by_ref();
        }
        Poll::Pending
    }

    fn obey(&mut self, context: &mut Context<'_>) {
        while self.farewell.is_none() {
            match self.commands.poll_recv(context) {
                Poll::Ready(Some(Command::Open(order))) => {
                    if !self.is_busy() {
                        self.heard = Instant::now();
                    }
                    self.opens.push(order);
                }
                Poll::Ready(Some(Command::Close) | None) => {
                    self.farewell = Some(Instant::now() + FAREWELL);
                    self.opens.clear();
                    self.channels.iter_mut().for_each(Channel::end);
                }
                Poll::Pending => return,
            }
        }
    }

    /// Returns whether the transport is readable. Reports a broken connection at once if no call would read it.
    fn look(&mut self, context: &mut Context<'_>) -> Result<bool, Broken> {
        // Without a channel libssh2 has no call that only reads; the replies to keepalives can stay in the socket.
        let listens = self.listens();
        let there = self.wire.poll_read(context, if listens { Look::Bytes } else { Look::End })?;
        if there.is_readable() {
            self.heard = Instant::now();
            self.wire.acknowledge();
        }
        if there.is_broken() {
            let reason = self.wire.error().unwrap_or_else(|| CLOSED.to_owned());
            self.reason.get_or_insert(reason);
            if !listens {
                return Err(Broken(CLOSED.to_owned()));
            }
        }
        Ok(there.is_readable())
    }

    fn is_over(&self) -> bool {
        self.farewell.is_some_and(|until| self.channels.is_empty() || Instant::now() >= until)
    }

    fn is_busy(&self) -> bool {
        !self.channels.is_empty() || !self.opens.is_empty()
    }

    /// Runs every operation that does not block; returns whether any data moved.
    fn pass(&mut self, context: &mut Context<'_>, readable: bool) -> Result<bool, Broken> {
        if let Some(work) = self.cut {
            self.perform(work, context)?;
            if self.cut.is_some() {
                return Ok(false);
            }
        }
        let mut moved = false;
        self.wants_room = false;
        for work in self.agenda(readable) {
            moved |= self.perform(work, context)?;
            if self.cut.is_some() {
                return Ok(moved);
            }
        }
        self.channels.retain(|channel| !channel.is_closed());
        Ok(moved)
    }

    /// Lists the operations of one turn. The transport is read first, so that every channel sees its data; a channel is
    /// opened last, because a later call of another channel would consume the server's reply.
    fn agenda(&self, readable: bool) -> impl Iterator<Item = Work> + use<> {
        let count = self.channels.len();
        let each = move |work: fn(usize) -> Work| (0..count).map(work);
        let hear = readable.then_some(Work::Hear);
        hear.into_iter()
            .chain(each(Work::Send))
            .chain(each(Work::Receive))
            .chain(each(Work::Announce))
            .chain(each(Work::Close))
            .chain([Work::Open])
    }

    fn perform(&mut self, work: Work, context: &mut Context<'_>) -> Result<bool, Broken> {
        let moved = match work {
            Work::Hear => self.hear().map(|()| false),
            Work::Send(index) => self.channels.get_mut(index).map_or(Ok(false), |channel| channel.send(context)),
            Work::Receive(index) => {
                let Self { channels, scratch, .. } = self;
                channels.get_mut(index).map_or(Ok(false), |channel| channel.receive(context, scratch))
            }
            Work::Announce(index) => self.announce(index),
            Work::Close(index) => match self.channels.get_mut(index) {
                Some(channel) if channel.is_done() => channel.close(),
                Some(_) | None => Ok(false),
            },
            Work::Open => self.open(),
        }?;
        let in_packet =
            matches!(self.session.block_directions(), ssh2::BlockDirections::Outbound | ssh2::BlockDirections::Both);
        self.cut = in_packet.then_some(work);
        Ok(moved)
    }

    /// Returns whether some call can read the transport.
    fn listens(&self) -> bool {
        self.channels.iter().any(Channel::can_hear) || (self.opens.is_under_way() && self.cut.is_none())
    }

    /// Returns whether the last call that read the transport read it to the end, so that nothing is left in libssh2's
    /// buffer. libssh2 clears this flag when it begins to read, and sets it when no whole packet is left; a send may
    /// read, too, during a key exchange.
    fn is_dry(&self) -> bool {
        matches!(self.session.block_directions(), ssh2::BlockDirections::Inbound | ssh2::BlockDirections::Both)
    }

    /// Reads the packets that earlier calls have left behind their own; returns whether every channel has to be looked
    /// at again.
    fn hear_out(&mut self, context: &mut Context<'_>) -> Result<bool, Broken> {
        let was_dry = self.is_dry();
        if self.cut.is_some() {
            // The operation may be blocked by a packet of libssh2's own, which only a read can finish.
            self.hear()?;
        } else if !was_dry && self.listens() {
            self.perform(Work::Hear, context)?;
            // The rest is read now, or an unfinished open reads it, or something has to be sent before more can arrive.
            return Ok(self.cut.is_none());
        }
        Ok(!was_dry && self.is_dry())
    }

    /// Reads the transport through any channel that the server has not closed.
    fn hear(&mut self) -> Result<(), Broken> {
        while let Some(channel) = self.channels.iter_mut().find(|channel| channel.can_hear()) {
            channel.hear()?;
            if channel.can_hear() {
                break;
            }
        }
        Ok(())
    }

    /// Sends a channel's EOF. libssh2 keeps this packet on its stack: it must go out whole or not at all.
    fn announce(&mut self, index: usize) -> Result<bool, Broken> {
        match self.channels.get_mut(index) {
            Some(channel) if channel.wants_room() => {
                if !self.wire.has_room() {
                    self.wants_room = true;
                    return Ok(false);
                }
                channel.announce_end()
            }
            Some(_) | None => Ok(false),
        }
    }

    fn open(&mut self) -> Result<bool, Broken> {
        match self.opens.advance(&self.session)? {
            Opened::Waits => return Ok(false),
            Opened::Refused => {}
            Opened::Channel(channel) => self.channels.push(*channel),
        }
        Ok(true)
    }

    fn keep_alive(&mut self) -> Result<(), Broken> {
        let now = Instant::now();
        let silence = now.duration_since(self.heard);
        if self.is_busy() && silence >= self.keepalive * MISSED {
            self.reason = None;
            return Err(Broken(format!("no answer for {} s", silence.as_secs())));
        }
        if now >= self.next_question() {
            self.asked = now;
            // A full socket already holds packets that need a reply.
            if self.cut.is_none() && self.wire.has_room() {
                self.session.keepalive_send().map_err(|error| Broken(error.message().to_owned()))?;
            }
        }
        Ok(())
    }

    fn next_question(&self) -> Instant {
        self.heard.max(self.asked) + self.keepalive
    }

    /// Returns when the next turn is due even if nothing happens.
    fn deadline(&self) -> Instant {
        let death = self.is_busy().then(|| self.heard + self.keepalive * MISSED);
        let next = self.next_question();
        let recheck = self.channels.iter().any(Channel::awaits_close).then(|| Instant::now() + RECHECK);
        [death, self.farewell, recheck].into_iter().flatten().fold(next, Instant::min)
    }

    /// Returns whether the next turn is due already; if not, the task is woken when it is.
    fn is_roused(&mut self, context: &mut Context<'_>) -> Result<bool, Broken> {
        let deadline = self.deadline();
        // A timer that fires too early costs one turn; resetting it with every packet costs more.
        if deadline < self.timer.deadline() || self.timer.is_elapsed() {
            self.timer.as_mut().reset(deadline);
        }
        let late = self.timer.as_mut().poll(context).is_ready();
        let waits_for_room = self.cut.is_some() || self.wants_room;
        Ok(late || (waits_for_room && self.wire.poll_room(context)?))
    }
}
