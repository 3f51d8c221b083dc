//! The one task that owns a session once it is logged in.
//!
//! It is woken by the SSH socket, by the local end of a channel, by a command or by its timer, and does everything that can be
//! done without waiting. What shapes it is libssh2: an unfinished open lives in the session, so opens go one at a time; after
//! EAGAIN in the middle of a packet nothing but that packet may be sent, so the work that was cut short is finished before
//! any other; a call on one channel reads packets for all of them, so every channel is looked at again before the task sleeps.
//! And it reads the socket in large pieces: a call that stops at its own packet leaves those behind it in libssh2's buffer, for
//! which no readiness will ever come. So the task sleeps only when the last call that has read the transport got to its end.
#![expect(clippy::disallowed_types, reason = "the pump is the owner of the session")]

use super::{
    channel::Channel,
    open_queue::{Opened, Opens, Order},
    route::Hop,
    session::Connected,
    socket::{Look, Wire},
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

/// libssh2 keeps a window of its default, 2 MB, plus what a read asks for: together 4 MB, which doubles the speed of a
/// download over distance (50 ms and more).
const SCRATCH: usize = 2 << 20;

/// How long an ending pump goes on to hand over what its channels still hold.
const FAREWELL: Duration = Duration::from_secs(1);

/// How many intervals without a sign of life make a connection dead.
const MISSED: u32 = 3;

/// How often to see whether the server has closed a channel that has nothing more to say. The packet that tells so may have
/// been read by a call on another channel, after this one had its turn, and so be gone before the reactor could tell of it; and
/// libssh2 has no way to ask for a close without reading.
const RECHECK: Duration = Duration::from_millis(50);

/// What is said of an end that came without an error.
const CLOSED: &str = "closed by the server";

/// What the handle asks of the pump.
pub(super) enum Command {
    Open(Order),
    Close,
}

/// The transport does not work any more.
#[derive(Debug)]
pub(super) struct Broken(pub(super) String);

/// `None` is EAGAIN. Everything else that libssh2 complains of on a channel in use is the transport.
pub(super) fn attempt<T>(result: io::Result<T>) -> Result<Option<T>, Broken> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
        Err(error) => Err(Broken(error.to_string())),
    }
}

/// One piece of work that libssh2 may cut short in the middle of a packet.
#[derive(Clone, Copy)]
enum Work {
    Hear,
    Send(usize),
    Receive(usize),
    Announce(usize),
    Close(usize),
    Open,
}

/// The owner of a session.
pub(super) struct Pump {
    hop: Hop,
    session: ssh2::Session,
    wire: Wire,
    commands: UnboundedReceiver<Command>,
    keepalive: Duration,
    timer: Pin<Box<Sleep>>,
    channels: Vec<Channel>,
    opens: Opens,
    /// Work in the middle of a packet.
    cut: Option<Work>,
    /// Something small waits for room in the socket.
    wants_room: bool,
    /// When something was last received.
    heard: Instant,
    /// When a sign of life was last asked for.
    asked: Instant,
    /// What the socket itself said before libssh2 did.
    reason: Option<String>,
    /// Until when to go on after the end was asked for.
    farewell: Option<Instant>,
    scratch: Vec<u8>,
}

impl Pump {
    /// Takes over a session.
    ///
    /// # Errors
    /// When the socket can't be watched.
    pub(super) fn new(
        hop: Hop,
        connected: Connected,
        commands: UnboundedReceiver<Command>,
        keepalive: Duration,
    ) -> io::Result<Self> {
        let Connected { session, socket, .. } = connected;
        session.set_blocking(false);
        // One second is the least that libssh2 knows; when it is time is decided here.
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

    /// Moves bytes until the handle asks for the end.
    ///
    /// # Errors
    /// `BastionLost` with the transport's own reason.
    pub(super) async fn run(&mut self) -> Result<(), Fault> {
        // It gives way after each turn by itself; being made to wait would look like having nothing to do.
        unconstrained(poll_fn(|context| self.turn(context))).await.map_err(|Broken(said)| {
            let reason = self.reason.take().unwrap_or(said);
            Fault::new(Code::BastionLost, format!("the connection to `{}` broke: {reason}", self.hop))
        })
    }

    /// Never waits. After a turn in which something moved, others get theirs before the next one.
    fn turn(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        self.obey(context);
        if self.is_over() {
            // A courtesy to the server, which would notice anyway.
            drop(self.session.disconnect(None, "done", None));
            return Poll::Ready(Ok(()));
        }
        let readable = self.look(context)?;
        let moved = self.pass(context, readable)?;
        self.keep_alive()?;
        let heard = self.hear_out(context)?;
        let due = self.cut.is_none() && self.channels.iter().any(Channel::is_due);
        // What was readable is asked for again, so that the next packet wakes the task.
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

    /// Whether the transport has something to read. A broken connection that nobody will read is told at once.
    fn look(&mut self, context: &mut Context<'_>) -> Result<bool, Broken> {
        // Without a channel libssh2 has no call that only reads; the answers to keepalives can wait in the socket.
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

    /// Does everything that can be done without waiting; says whether anything moved.
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

    /// Reading the transport first, so that every channel sees what is there; opening last, as its answer would be missed
    /// if another call read it afterwards.
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

    /// Whether there is a call that reads the transport.
    fn listens(&self) -> bool {
        self.channels.iter().any(Channel::can_hear) || (self.opens.is_under_way() && self.cut.is_none())
    }

    /// Whether the last call that has read the transport got to its end, and nothing is left in libssh2's buffer. libssh2 takes
    /// the flag away when it begins to read, and sets it when there is no whole packet any more; what sends may read, too, if
    /// the keys are exchanged anew.
    fn is_dry(&self) -> bool {
        matches!(self.session.block_directions(), ssh2::BlockDirections::Inbound | ssh2::BlockDirections::Both)
    }

    /// Reads what the calls before have left behind their own packets; says whether every channel has to be looked at again.
    fn hear_out(&mut self, context: &mut Context<'_>) -> Result<bool, Broken> {
        let was_dry = self.is_dry();
        if self.cut.is_some() {
            // What holds it up may be a packet of libssh2's own, which only the reading side can finish.
            self.hear()?;
        } else if !was_dry && self.listens() {
            self.perform(Work::Hear, context)?;
            // Now it is read, or there is an open left that reads, or something is to be sent before there can be more.
            return Ok(self.cut.is_none());
        }
        Ok(!was_dry && self.is_dry())
    }

    /// Reads the transport, through any channel that the server has not closed.
    fn hear(&mut self) -> Result<(), Broken> {
        while let Some(channel) = self.channels.iter_mut().find(|channel| channel.can_hear()) {
            channel.hear()?;
            if channel.can_hear() {
                break;
            }
        }
        Ok(())
    }

    /// libssh2 keeps this packet on its stack: it must go out whole or not at all.
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
            // In a full socket enough is already on its way that wants an answer.
            if self.cut.is_none() && self.wire.has_room() {
                self.session.keepalive_send().map_err(|error| Broken(error.message().to_owned()))?;
            }
        }
        Ok(())
    }

    fn next_question(&self) -> Instant {
        self.heard.max(self.asked) + self.keepalive
    }

    /// When something needs to be done even if nothing happens.
    fn deadline(&self) -> Instant {
        let death = self.is_busy().then(|| self.heard + self.keepalive * MISSED);
        let next = self.next_question();
        let recheck = self.channels.iter().any(Channel::awaits_close).then(|| Instant::now() + RECHECK);
        [death, self.farewell, recheck].into_iter().flatten().fold(next, Instant::min)
    }

    /// Whether there already is a reason for the next turn; if not, the task is woken when there is.
    fn is_roused(&mut self, context: &mut Context<'_>) -> Result<bool, Broken> {
        let deadline = self.deadline();
        // An alarm that is too early costs a turn; to set it anew with every packet costs more.
        if deadline < self.timer.deadline() || self.timer.is_elapsed() {
            self.timer.as_mut().reset(deadline);
        }
        let late = self.timer.as_mut().poll(context).is_ready();
        let waits_for_room = self.cut.is_some() || self.wants_room;
        Ok(late || (waits_for_room && self.wire.poll_room(context)?))
    }
}
