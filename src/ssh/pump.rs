//! The one loop that owns a session once it is logged in.
//!
//! It never waits but in `poll`: over the SSH socket, the wake socket and the local socket of each channel. What shapes it
//! is libssh2: an unfinished open lives in the session, so opens go one at a time; after EAGAIN in the middle of a packet
//! nothing but that packet may be sent, so the work that was cut short is finished before any other; a call on one channel
//! reads packets for all of them, so every channel is looked at again before the loop sleeps.
#![expect(clippy::disallowed_types, reason = "the pump is the owner of the session")]

use super::{
    Hop,
    channel::Stream,
    session::{CHANNEL_REFUSED, Connected, REQUEST_REFUSED, WOULD_BLOCK, code_of},
};
use crate::fault::{Code, Fault};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::{
    collections::VecDeque,
    io::{self, Read as _},
    os::{fd::OwnedFd, unix::net::UnixStream},
    sync::mpsc::{Receiver, TryRecvError},
    time::{Duration, Instant},
};
use tokio::sync::oneshot;

/// libssh2 keeps a window of its default, 2 MB, plus what a read asks for: together 4 MB, which doubles the speed of a
/// download over distance (50 ms and more).
const SCRATCH: usize = 2 << 20;

/// How long an ending pump goes on to hand over what its channels still hold.
const FAREWELL: Duration = Duration::from_secs(1);

/// How many intervals without a sign of life make a connection dead.
const MISSED: u32 = 3;

/// What is said of an end that came without an error.
const CLOSED: &str = "closed by the server";

/// What a channel is for.
#[derive(Debug)]
pub(super) enum Errand {
    /// A TCP connection from the server to there.
    Forward { host: String, port: u16 },
    /// A command, its output.
    Run(String),
}

/// What the handle asks of the pump.
#[derive(Debug)]
pub(super) enum Command {
    Open(Errand, Answer),
    Close,
}

/// Where the local end of a channel is handed over.
pub(super) type Answer = oneshot::Sender<Result<UnixStream, Refusal>>;

/// The server's no, in libssh2's words: it drops the server's own.
#[derive(Debug)]
pub(super) struct Refusal(pub(super) String);

/// The transport does not work any more.
#[derive(Debug)]
pub(super) struct Broken(String);

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

/// What poll watches.
#[derive(Clone, Copy)]
enum Source {
    Ssh,
    Wake,
    Local(usize),
}

struct Opening {
    errand: Errand,
    answer: Answer,
    /// The channel of a command that is not accepted yet.
    channel: Option<ssh2::Channel>,
}

/// The owner of a session.
pub(super) struct Pump {
    hop: Hop,
    session: ssh2::Session,
    socket: OwnedFd,
    wake: UnixStream,
    commands: Receiver<Command>,
    keepalive: Duration,
    streams: Vec<Stream>,
    queue: VecDeque<(Errand, Answer)>,
    opening: Option<Opening>,
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
    pub(super) fn new(
        hop: Hop,
        connected: Connected,
        wake: UnixStream,
        commands: Receiver<Command>,
        keepalive: Duration,
    ) -> Self {
        let Connected { session, socket, .. } = connected;
        session.set_blocking(false);
        // One second is the least that libssh2 knows; when it is time is decided here.
        session.set_keepalive(true, 1);
        let now = Instant::now();
        Self {
            hop,
            session,
            socket,
            wake,
            commands,
            keepalive,
            streams: Vec::new(),
            queue: VecDeque::new(),
            opening: None,
            cut: None,
            wants_room: false,
            heard: now,
            asked: now,
            reason: None,
            farewell: None,
            scratch: vec![0; SCRATCH],
        }
    }

    /// Moves bytes until the handle asks for the end.
    ///
    /// # Errors
    /// `BastionLost` with the transport's own reason.
    pub(super) fn run(&mut self) -> Result<(), Fault> {
        self.turn().map_err(|Broken(said)| {
            let reason = self.reason.take().unwrap_or(said);
            Fault::new(Code::BastionLost, format!("the connection to `{}` broke: {reason}", self.hop))
        })
    }

    fn turn(&mut self) -> Result<(), Broken> {
        loop {
            self.obey();
            if self.is_over() {
                // A courtesy to the server, which would notice anyway.
                drop(self.session.disconnect(None, "done", None));
                return Ok(());
            }
            let moved = self.pass()?;
            self.keep_alive()?;
            let again = moved || (self.cut.is_none() && self.streams.iter().any(Stream::is_due));
            self.wait(if again { Duration::ZERO } else { self.patience() })?;
        }
    }

    fn obey(&mut self) {
        loop {
            match self.commands.try_recv() {
                Ok(Command::Open(errand, answer)) => {
                    if !self.is_busy() {
                        self.heard = Instant::now();
                    }
                    self.queue.push_back((errand, answer));
                }
                Ok(Command::Close) | Err(TryRecvError::Disconnected) if self.farewell.is_none() => {
                    self.farewell = Some(Instant::now() + FAREWELL);
                    self.queue.clear();
                    self.streams.iter_mut().for_each(Stream::end);
                }
                Ok(Command::Close) | Err(TryRecvError::Empty | TryRecvError::Disconnected) => return,
            }
        }
    }

    fn is_over(&self) -> bool {
        self.farewell.is_some_and(|until| self.streams.is_empty() || Instant::now() >= until)
    }

    fn is_busy(&self) -> bool {
        !self.streams.is_empty() || self.opening.is_some() || !self.queue.is_empty()
    }

    /// Does everything that can be done without waiting; says whether anything moved.
    fn pass(&mut self) -> Result<bool, Broken> {
        if let Some(work) = self.cut {
            self.perform(work)?;
            if self.cut.is_some() {
                // What holds it up may be a packet of libssh2's own, which only the reading side can finish.
                if let Some(stream) = self.streams.first_mut() {
                    stream.hear()?;
                }
                return Ok(false);
            }
        }
        let mut moved = false;
        self.wants_room = false;
        for work in self.agenda() {
            moved |= self.perform(work)?;
            if self.cut.is_some() {
                return Ok(moved);
            }
        }
        self.streams.retain(|stream| !stream.is_closed());
        Ok(moved)
    }

    /// Reading the transport first, so that every channel sees what is there; opening last, as its answer would be missed
    /// if another call read it afterwards.
    fn agenda(&self) -> Vec<Work> {
        let count = self.streams.len();
        let each = |work: fn(usize) -> Work| (0..count).map(work);
        let hear = (count > 0).then_some(Work::Hear);
        hear.into_iter()
            .chain(each(Work::Send))
            .chain(each(Work::Receive))
            .chain(each(Work::Announce))
            .chain(each(Work::Close))
            .chain([Work::Open])
            .collect()
    }

    fn perform(&mut self, work: Work) -> Result<bool, Broken> {
        let moved = match work {
            Work::Hear => self.streams.first_mut().map_or(Ok(()), Stream::hear).map(|()| false),
            Work::Send(index) => self.streams.get_mut(index).map_or(Ok(false), Stream::send),
            Work::Receive(index) => {
                self.streams.get_mut(index).map_or(Ok(false), |stream| stream.receive(&mut self.scratch))
            }
            Work::Announce(index) => self.announce(index),
            Work::Close(index) => match self.streams.get_mut(index) {
                Some(stream) if stream.is_done() => stream.close(),
                Some(_) | None => Ok(false),
            },
            Work::Open => self.open(),
        }?;
        let in_packet =
            matches!(self.session.block_directions(), ssh2::BlockDirections::Outbound | ssh2::BlockDirections::Both);
        self.cut = in_packet.then_some(work);
        Ok(moved)
    }

    /// libssh2 keeps this packet on its stack: it must go out whole or not at all.
    fn announce(&mut self, index: usize) -> Result<bool, Broken> {
        let has_room = has_room(&self.socket);
        match self.streams.get_mut(index) {
            Some(stream) if stream.wants_room() && has_room => stream.announce_end(),
            Some(stream) => {
                self.wants_room |= stream.wants_room();
                Ok(false)
            }
            None => Ok(false),
        }
    }

    fn open(&mut self) -> Result<bool, Broken> {
        if self.opening.is_none() {
            // Who asked may have stopped waiting.
            self.opening = std::iter::from_fn(|| self.queue.pop_front())
                .find(|(_, answer)| !answer.is_closed())
                .map(|(errand, answer)| Opening { errand, answer, channel: None });
        }
        let Some(mut opening) = self.opening.take() else { return Ok(false) };
        match self.advance(&mut opening) {
            Ok(channel) => {
                self.hand_over(channel, opening.answer);
                Ok(true)
            }
            Err(error) if code_of(&error) == WOULD_BLOCK => {
                self.opening = Some(opening);
                Ok(false)
            }
            Err(error) if is_answer(&error) => {
                drop(opening.answer.send(Err(Refusal(error.message().to_owned()))));
                Ok(true)
            }
            Err(error) => Err(Broken(error.message().to_owned())),
        }
    }

    fn advance(&self, opening: &mut Opening) -> Result<ssh2::Channel, ssh2::Error> {
        match &opening.errand {
            Errand::Forward { host, port } => self.session.channel_direct_tcpip(host, *port, None),
            Errand::Run(line) => {
                let mut channel = match opening.channel.take() {
                    Some(channel) => channel,
                    None => self.session.channel_session()?,
                };
                let accepted = channel.exec(line);
                opening.channel = Some(channel.clone());
                accepted.map(|()| channel)
            }
        }
    }

    fn hand_over(&mut self, channel: ssh2::Channel, answer: Answer) {
        match socketpair() {
            Ok((ours, theirs)) => {
                self.streams.push(Stream::new(channel, ours));
                // If nobody waits any more, the other end is dropped, and with it the channel is closed.
                drop(answer.send(Ok(theirs)));
            }
            Err(error) => drop(answer.send(Err(Refusal(error.to_string())))),
        }
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
            if self.cut.is_none() && has_room(&self.socket) {
                self.session.keepalive_send().map_err(|error| Broken(error.message().to_owned()))?;
            }
        }
        Ok(())
    }

    fn next_question(&self) -> Instant {
        self.heard.max(self.asked) + self.keepalive
    }

    /// How long nothing needs to be done unless something happens.
    fn patience(&self) -> Duration {
        let death = self.is_busy().then(|| self.heard + self.keepalive * MISSED);
        let next = [Some(self.next_question()), death, self.farewell].into_iter().flatten().min();
        next.map_or(self.keepalive, |next| next.saturating_duration_since(Instant::now()))
    }

    fn wait(&mut self, patience: Duration) -> Result<(), Broken> {
        // Without a channel libssh2 has no call that only reads; the answers to keepalives can wait in the socket.
        let listens = !self.streams.is_empty() || (self.opening.is_some() && self.cut.is_none());
        let mut interest = PollFlags::RDHUP;
        interest.set(PollFlags::IN, listens);
        interest.set(PollFlags::OUT, self.cut.is_some() || self.wants_room);
        let mut sources = vec![Source::Ssh];
        let mut polled = vec![PollFd::new(&self.socket, interest)];
        if self.farewell.is_none() {
            sources.push(Source::Wake);
            polled.push(PollFd::new(&self.wake, PollFlags::IN));
        }
        for (index, stream) in self.streams.iter().enumerate() {
            if let Some(interest) = stream.interest() {
                sources.push(Source::Local(index));
                polled.push(PollFd::new(stream.local(), interest));
            }
        }
        // sshd holds a small packet back until the one before it is acknowledged, and the kernel takes 40 ms for that
        // (measured: four files in 133 ms, so in 38). It forgets the option, and a socket that knows none works too.
        rustix::net::sockopt::set_tcp_quickack(&self.socket, true).unwrap_or_default();
        let patience = Timespec::try_from(patience)
            .map_err(|error| Broken(format!("the keepalive interval is too long: {error}")))?;
        match poll(&mut polled, Some(&patience)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(Broken(error.to_string())),
        }
        let ready: Vec<PollFlags> = polled.iter().map(PollFd::revents).collect();
        for (source, ready) in sources.into_iter().zip(ready).filter(|(_, ready)| !ready.is_empty()) {
            match source {
                Source::Ssh => self.notice(ready, listens)?,
                Source::Wake => self.empty_wake(),
                Source::Local(index) => {
                    self.streams.iter_mut().skip(index).take(1).for_each(|stream| stream.notice(ready));
                }
            }
        }
        Ok(())
    }

    /// Before the commands are read, so that none is missed.
    fn empty_wake(&mut self) {
        let mut bytes = [0; 64];
        while self.wake.read(&mut bytes).is_ok_and(|count| count == bytes.len()) {}
    }

    /// Takes in what poll said of the SSH socket. `listens`: libssh2 is about to read it and will meet its end by itself.
    fn notice(&mut self, ready: PollFlags, listens: bool) -> Result<(), Broken> {
        if ready.contains(PollFlags::IN) {
            self.heard = Instant::now();
        }
        if ready.intersects(PollFlags::RDHUP | PollFlags::HUP | PollFlags::ERR) {
            let reason = match rustix::net::sockopt::socket_error(&self.socket) {
                Ok(Err(error)) => io::Error::from(error).to_string(),
                Ok(Ok(())) | Err(_) => CLOSED.to_owned(),
            };
            self.reason.get_or_insert(reason);
            if !listens {
                return Err(Broken(CLOSED.to_owned()));
            }
        }
        Ok(())
    }
}

/// Whether the kernel takes a small packet whole: it reports room only when a good part of the buffer is free.
fn has_room(socket: &OwnedFd) -> bool {
    let mut polled = [PollFd::new(socket, PollFlags::OUT)];
    poll(&mut polled, Some(&Timespec::default())).is_ok()
        && polled.iter().all(|fd| fd.revents().contains(PollFlags::OUT))
}

/// Whether the server answered, and with no.
fn is_answer(error: &ssh2::Error) -> bool {
    [CHANNEL_REFUSED, REQUEST_REFUSED].contains(&code_of(error))
}

fn socketpair() -> io::Result<(UnixStream, UnixStream)> {
    let (ours, theirs) = UnixStream::pair()?;
    ours.set_nonblocking(true)?;
    theirs.set_nonblocking(true)?;
    Ok((ours, theirs))
}
