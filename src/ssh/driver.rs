//! The task that owns a session once it is logged in.
//!
//! It is woken by the SSH socket, by the local end of a channel, by a command or by its timer, and does everything that
//! can be done without blocking. libssh2 dictates its shape. An unfinished open lives in the session, so channels are
//! opened one at a time. After EAGAIN in the middle of a packet only that packet may be sent, so an interrupted
//! operation is finished before any other. A call on one channel reads packets for all of them, so every channel is
//! looked at again before the task sleeps. And libssh2 reads the socket in large chunks: a call that stops at its own
//! packet leaves the packets behind it in libssh2's buffer, for which the socket will never become readable. So the
//! task sleeps only when the last call that read the transport read it to the end.
#![expect(clippy::disallowed_types, reason = "the driver owns the session")]

use super::{
    channel::Channel,
    channel_open_queue::{OpenProgress, OpenQueue, OpenRequest},
    remote_port::{ListenRequest, RemotePorts},
    route::Hop,
    session::ConnectedSession,
    socket::{ReadInterest, SessionSocket, TransportError},
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
const SCRATCH_SIZE: usize = 2 << 20;

/// Time for which a closing driver still delivers the data that its channels hold.
const DRAIN_TIME: Duration = Duration::from_secs(1);

/// Number of keepalive intervals without any received data after which the connection is dead.
const MAX_MISSED_KEEPALIVES: u32 = 3;

/// Interval at which to check whether the server has closed a channel that has no more data. A call on another channel
/// may have read the close packet after this channel had its turn, so that no readiness announces it; and libssh2
/// cannot ask for a close without reading.
const CLOSE_CHECK_INTERVAL: Duration = Duration::from_millis(50);

/// Reason of a lost connection that has no error.
const CLOSED_BY_SERVER: &str = "closed by the server";

/// A command from the handle to the driver.
pub(super) enum DriverCommand {
    Open(OpenRequest),
    Listen(ListenRequest),
    Close,
}

/// One operation that libssh2 may interrupt in the middle of a packet.
#[derive(Clone, Copy)]
enum Operation {
    ReadTransport,
    Send(usize),
    Receive(usize),
    SendEof(usize),
    Close(usize),
    Accept,
    Listen,
    Open,
}

/// The state of the task that owns a session.
pub(super) struct Driver {
    hop: Hop,
    session: ssh2::Session,
    socket: SessionSocket,
    commands: UnboundedReceiver<DriverCommand>,
    keepalive: Duration,
    timer: Pin<Box<Sleep>>,
    channels: Vec<Channel>,
    open_queue: OpenQueue,
    remote_ports: RemotePorts,
    /// The operation that was interrupted in the middle of a packet.
    unfinished: Option<Operation>,
    /// Set when a small packet waits for room in the socket.
    wants_room: bool,
    /// Time of the last received data.
    last_received: Instant,
    /// Time of the last keepalive.
    last_keepalive: Instant,
    /// The socket's own error, which is more exact than libssh2's.
    socket_error: Option<String>,
    /// Time at which a closing driver stops delivering data.
    close_deadline: Option<Instant>,
    scratch: Vec<u8>,
}

impl Driver {
    /// Takes over a session.
    ///
    /// # Errors
    /// If the socket can't be watched.
    pub(super) fn new(
        hop: Hop,
        connected: ConnectedSession,
        commands: UnboundedReceiver<DriverCommand>,
        keepalive: Duration,
    ) -> io::Result<Self> {
        let ConnectedSession { session, socket, .. } = connected;
        session.set_blocking(false);
        // One second is the smallest interval of libssh2; this task decides when to send one.
        session.set_keepalive(true, 1);
        let now = Instant::now();
        Ok(Self {
            hop,
            session,
            socket: SessionSocket::new(socket)?,
            commands,
            keepalive,
            timer: Box::pin(sleep_until(now)),
            channels: Vec::new(),
            open_queue: OpenQueue::default(),
            remote_ports: RemotePorts::default(),
            unfinished: None,
            wants_room: false,
            last_received: now,
            last_keepalive: now,
            socket_error: None,
            close_deadline: None,
            scratch: vec![0; SCRATCH_SIZE],
        })
    }

    /// Moves bytes until the handle closes the connection.
    ///
    /// # Errors
    /// `bastion-lost` with the transport's own reason.
    pub(super) async fn run(&mut self) -> Result<(), Fault> {
        // It yields after each turn by itself; a forced yield would look like having nothing to do.
        unconstrained(poll_fn(|context| self.run_turn(context))).await.map_err(|TransportError(message)| {
            let reason = self.socket_error.take().unwrap_or(message);
            Fault::new(Code::BastionLost, format!("the connection to `{}` broke: {reason}", self.hop))
        })
    }

    /// Runs one turn without blocking. After a turn that moved data, other tasks run before the next one.
    fn run_turn(&mut self, context: &mut Context<'_>) -> Poll<Result<(), TransportError>> {
        self.take_commands(context);
        if self.is_finished() {
            // A courtesy to the server, which notices the end anyway.
            drop(self.session.disconnect(None, "done", None));
            return Poll::Ready(Ok(()));
        }
        let readable = self.poll_socket(context)?;
        let moved = self.run_operations(context, readable)?;
        self.check_keepalive()?;
        let drained = self.drain_transport(context)?;
        let due = self.unfinished.is_none() && self.channels.iter().any(Channel::needs_turn);
        // A readable socket is polled again, so that the next packet wakes the task.
        if moved || readable || drained || due || self.is_next_turn_due(context)? {
            context.waker().wake_by_ref();
        }
        Poll::Pending
    }

    fn take_commands(&mut self, context: &mut Context<'_>) {
        while self.close_deadline.is_none() {
            match self.commands.poll_recv(context) {
                Poll::Ready(Some(DriverCommand::Open(request))) => {
                    if !self.is_busy() {
                        self.last_received = Instant::now();
                    }
                    self.open_queue.push(request);
                }
                Poll::Ready(Some(DriverCommand::Listen(request))) => {
                    if !self.is_busy() {
                        self.last_received = Instant::now();
                    }
                    self.remote_ports.push(request);
                }
                Poll::Ready(Some(DriverCommand::Close) | None) => {
                    self.close_deadline = Some(Instant::now() + DRAIN_TIME);
                    self.open_queue.clear();
                    self.remote_ports.clear();
                    self.channels.iter_mut().for_each(Channel::begin_draining);
                }
                Poll::Pending => return,
            }
        }
    }

    /// Returns whether the transport is readable. Reports a broken connection at once if no call would read it.
    fn poll_socket(&mut self, context: &mut Context<'_>) -> Result<bool, TransportError> {
        // Without a channel libssh2 has no call that only reads; the replies to keepalives can stay in the socket.
        let reads_data = self.can_read_transport();
        let readiness =
            self.socket.poll_read(context, if reads_data { ReadInterest::Data } else { ReadInterest::Hangup })?;
        if readiness.is_readable() {
            self.last_received = Instant::now();
            self.socket.enable_quick_ack();
        }
        if readiness.is_broken() {
            let reason = self.socket.take_error().unwrap_or_else(|| CLOSED_BY_SERVER.to_owned());
            self.socket_error.get_or_insert(reason);
            if !reads_data {
                return Err(TransportError(CLOSED_BY_SERVER.to_owned()));
            }
        }
        Ok(readiness.is_readable())
    }

    fn is_finished(&self) -> bool {
        self.close_deadline.is_some_and(|deadline| self.channels.is_empty() || Instant::now() >= deadline)
    }

    fn is_busy(&self) -> bool {
        !self.channels.is_empty() || !self.open_queue.is_empty() || !self.remote_ports.is_empty()
    }

    /// Runs every operation that does not block; returns whether any data moved.
    fn run_operations(&mut self, context: &mut Context<'_>, readable: bool) -> Result<bool, TransportError> {
        if let Some(work) = self.unfinished {
            self.run_operation(work, context)?;
            if self.unfinished.is_some() {
                return Ok(false);
            }
        }
        let mut moved = false;
        self.wants_room = false;
        for work in self.due_operations(readable) {
            moved |= self.run_operation(work, context)?;
            if self.unfinished.is_some() {
                return Ok(moved);
            }
        }
        self.channels.retain(|channel| !channel.is_closed());
        Ok(moved)
    }

    /// Lists the operations of one turn. The transport is read first, so that every channel sees its data; a channel is
    /// opened last, because a later call of another channel would consume the server's reply.
    fn due_operations(&self, readable: bool) -> impl Iterator<Item = Operation> + use<> {
        let count = self.channels.len();
        let each = move |work: fn(usize) -> Operation| (0..count).map(work);
        let transport = readable.then_some(Operation::ReadTransport);
        transport
            .into_iter()
            .chain(each(Operation::Send))
            .chain(each(Operation::Receive))
            .chain(each(Operation::SendEof))
            .chain(each(Operation::Close))
            .chain([Operation::Accept, Operation::Listen, Operation::Open])
    }

    fn run_operation(&mut self, work: Operation, context: &mut Context<'_>) -> Result<bool, TransportError> {
        let moved = match work {
            Operation::ReadTransport => self.read_transport().map(|()| false),
            Operation::Send(index) => self.channels.get_mut(index).map_or(Ok(false), |channel| channel.send(context)),
            Operation::Receive(index) => {
                let Self { channels, scratch, .. } = self;
                channels.get_mut(index).map_or(Ok(false), |channel| channel.receive(context, scratch))
            }
            Operation::SendEof(index) => self.send_channel_eof(index),
            Operation::Close(index) => match self.channels.get_mut(index) {
                Some(channel) if channel.is_done() => channel.close(),
                Some(_) | None => Ok(false),
            },
            Operation::Accept => self.accept_connection(),
            Operation::Listen => self.remote_ports.advance_request(&self.session),
            Operation::Open => self.advance_open(),
        }?;
        let in_packet =
            matches!(self.session.block_directions(), ssh2::BlockDirections::Outbound | ssh2::BlockDirections::Both);
        self.unfinished = in_packet.then_some(work);
        Ok(moved)
    }

    /// Returns whether some call can read the transport.
    fn can_read_transport(&self) -> bool {
        self.channels.iter().any(Channel::can_read_transport)
            || ((self.open_queue.has_unfinished() || self.remote_ports.can_read_transport())
                && self.unfinished.is_none())
    }

    /// Returns whether the last call that read the transport read it to the end, so that nothing is left in libssh2's
    /// buffer. libssh2 clears this flag when it begins to read, and sets it when no whole packet is left; a send may
    /// read, too, during a key exchange.
    fn is_transport_drained(&self) -> bool {
        matches!(self.session.block_directions(), ssh2::BlockDirections::Inbound | ssh2::BlockDirections::Both)
    }

    /// Reads the packets that earlier calls have left behind their own; returns whether every channel has to be looked
    /// at again.
    fn drain_transport(&mut self, context: &mut Context<'_>) -> Result<bool, TransportError> {
        let was_drained = self.is_transport_drained();
        if self.unfinished.is_some() {
            // The operation may be blocked by a packet of libssh2's own, which only a read can finish.
            self.read_transport()?;
        } else if !was_drained && self.can_read_transport() {
            self.run_operation(Operation::ReadTransport, context)?;
            // The rest is read now, or an unfinished open reads it, or something has to be sent before more can arrive.
            return Ok(self.unfinished.is_none());
        }
        Ok(!was_drained && self.is_transport_drained())
    }

    /// Reads the transport through any channel that the server has not closed.
    fn read_transport(&mut self) -> Result<(), TransportError> {
        while let Some(channel) = self.channels.iter_mut().find(|channel| channel.can_read_transport()) {
            channel.read_transport()?;
            if channel.can_read_transport() {
                break;
            }
        }
        Ok(())
    }

    /// Sends a channel's EOF. libssh2 keeps this packet on its stack: it must go out whole or not at all.
    fn send_channel_eof(&mut self, index: usize) -> Result<bool, TransportError> {
        match self.channels.get_mut(index) {
            Some(channel) if channel.has_eof_to_send() => {
                if !self.socket.has_room() {
                    self.wants_room = true;
                    return Ok(false);
                }
                channel.send_eof()
            }
            Some(_) | None => Ok(false),
        }
    }

    fn accept_connection(&mut self) -> Result<bool, TransportError> {
        let accepted = self.remote_ports.accept()?;
        let is_new = accepted.is_some();
        self.channels.extend(accepted);
        Ok(is_new)
    }

    fn advance_open(&mut self) -> Result<bool, TransportError> {
        match self.open_queue.advance(&self.session)? {
            OpenProgress::Pending => return Ok(false),
            OpenProgress::Refused => {}
            OpenProgress::Opened(channel) => self.channels.push(*channel),
        }
        Ok(true)
    }

    fn check_keepalive(&mut self) -> Result<(), TransportError> {
        let now = Instant::now();
        let silence = now.duration_since(self.last_received);
        if self.is_busy() && silence >= self.keepalive * MAX_MISSED_KEEPALIVES {
            self.socket_error = None;
            return Err(TransportError(format!("no answer for {} s", silence.as_secs())));
        }
        if now >= self.next_keepalive() {
            self.last_keepalive = now;
            // A full socket already holds packets that need a reply.
            if self.unfinished.is_none() && self.socket.has_room() {
                self.session.keepalive_send().map_err(|error| TransportError(error.message().to_owned()))?;
            }
        }
        Ok(())
    }

    fn next_keepalive(&self) -> Instant {
        self.last_received.max(self.last_keepalive) + self.keepalive
    }

    /// Returns when the next turn is due even if nothing happens.
    fn next_deadline(&self) -> Instant {
        let presumed_dead = self.is_busy().then(|| self.last_received + self.keepalive * MAX_MISSED_KEEPALIVES);
        let next = self.next_keepalive();
        let recheck = self.channels.iter().any(Channel::awaits_close).then(|| Instant::now() + CLOSE_CHECK_INTERVAL);
        [presumed_dead, self.close_deadline, recheck].into_iter().flatten().fold(next, Instant::min)
    }

    /// Returns whether the next turn is due already; if not, the task is woken when it is.
    fn is_next_turn_due(&mut self, context: &mut Context<'_>) -> Result<bool, TransportError> {
        let deadline = self.next_deadline();
        // A timer that fires too early costs one turn; resetting it with every packet costs more.
        if deadline < self.timer.deadline() || self.timer.is_elapsed() {
            self.timer.as_mut().reset(deadline);
        }
        let late = self.timer.as_mut().poll(context).is_ready();
        let waits_for_room = self.unfinished.is_some() || self.wants_room;
        Ok(late || (waits_for_room && self.socket.poll_room(context)?))
    }
}
