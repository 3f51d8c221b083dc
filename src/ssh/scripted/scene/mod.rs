//! A client with several channels, and the data that its users must see of the server's messages.

mod sight;
mod user;

use super::{
    effect::Effect,
    server::{KEX_ECDH_INIT, KEXINIT, Packet, Server, offer},
    step::{Kind, Said, Step},
};
use crate::{
    secret::Secret,
    ssh::{
        connection::{Link, NoChannel},
        host_key::Pins,
        process::Process,
        route::{Hop, Login},
        session::{self, Approach, Road},
        stream::Stream,
    },
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use rcgen::{KeyPair, PKCS_ED25519, PublicKeyData as _};
use std::{fmt::Debug, os::unix::net::UnixStream, pin::Pin, time::Duration};
use tokio::{sync::oneshot, task::spawn_blocking, time::timeout};

/// Time limit for an effect: data that has arrived takes effect at once, or never.
const NEVER: Duration = Duration::from_secs(30);

/// Only arriving data wakes the driver.
const KEEPALIVE: Duration = Duration::from_secs(86_400);

const GLOBAL_REQUEST: u8 = 80;
const GLOBAL_REFUSAL: u8 = 82;
const OPEN: u8 = 90;
const OPENED: u8 = 91;
const NOT_OPENED: u8 = 92;
const DATA: u8 = 94;
const MORE_DATA: u8 = 95;
const EOF: u8 = 96;
const CLOSE: u8 = 97;
const REQUEST: u8 = 98;
const DONE: u8 = 99;
const REFUSED: u8 = 100;

/// Connects a client to its server and logs it in.
pub(super) async fn connected() -> (Link, Server) {
    let key = KeyPair::generate_for(&PKCS_ED25519).unwrap();
    let blob = [b"\0\0\0\x0bssh-ed25519\0\0\0\x20".as_slice(), key.der_bytes()].concat();
    let pins = Pins::read(Some(&format!("scripted ssh-ed25519 {}", STANDARD.encode(blob))), None).unwrap();
    let hop = Hop { host: "scripted".to_owned(), port: 22, user: "u".to_owned() };
    let login = Login { password: Some(Secret::new("nobody asks for it")), ..Login::default() };
    let approach = Approach { hop: hop.clone(), login, pins, timeout: NEVER };
    let (ours, theirs) = UnixStream::pair().unwrap();
    let (tell, _told) = oneshot::channel();
    let connecting = spawn_blocking(move || session::connect(approach, Road::Over(ours), tell));
    let server = Server::let_in(theirs, key).await;
    let connected = connecting.await.unwrap().unwrap();
    (Link::of(hop, connected, None, KEEPALIVE).unwrap(), server)
}

/// The user's end of a channel.
enum User {
    Forward(Stream),
    Program(Process),
}

impl User {
    fn stdio(&mut self) -> &mut Stream {
        match self {
            Self::Forward(stream) => stream,
            Self::Program(process) => &mut process.stdio,
        }
    }
}

/// A channel, as the server sees it.
struct Channel {
    id: u32,
    kind: Kind,
    /// Present until the user has gone.
    user: Option<User>,
    status: i32,
    /// Set while the user may write.
    flows: bool,
    ended: bool,
    closed: bool,
}

type Asking<'l> = Pin<Box<dyn Future<Output = Result<User, NoChannel>> + 'l>>;

/// A requested channel: the server's replies open it, and then start its program.
struct Opening<'l> {
    id: u32,
    kind: Kind,
    asking: Asking<'l>,
    accepted: bool,
}

pub(super) struct Scene<'l> {
    link: &'l Link,
    server: Server,
    channels: Vec<Channel>,
    opening: Option<Opening<'l>>,
    /// Set when the next reply to the request is queued and not sent.
    answering: bool,
    /// Set when the queue contains new keys: before they arrive, the client can't send.
    rekeys: bool,
    /// The bytes that are queued and not sent; `effects` has the end of each packet in them.
    piece: Vec<u8>,
    effects: Vec<(usize, Effect)>,
    /// Packets of the client that no check has asked for yet.
    heard: Vec<Vec<u8>>,
}

impl<'l> Scene<'l> {
    pub(super) fn new(link: &'l Link, server: Server) -> Self {
        Self {
            link,
            server,
            channels: Vec::new(),
            opening: None,
            answering: false,
            rekeys: false,
            piece: Vec::new(),
            effects: Vec::new(),
            heard: Vec::new(),
        }
    }

    /// Opens a channel; returns its index.
    pub(super) async fn opened(&mut self, kind: Kind) -> usize {
        self.ask(kind).await;
        while self.opening.is_some() {
            self.accept();
            self.flush(&[]).await;
        }
        self.channels.len() - 1
    }

    pub(super) async fn play(&mut self, step: Step) {
        if self.rekeys && matches!(step, Step::Ask(_) | Step::Write(..) | Step::Shut(_)) {
            self.flush(&[]).await;
        }
        match step {
            Step::Ask(kind) if self.opening.is_none() => self.ask(kind).await,
            Step::Accept if self.opening.is_some() && !self.answering => self.accept(),
            Step::Refuse if self.opening.is_some() && !self.answering => self.refuse(),
            Step::Say(channel, said) if self.may_say(channel, said) => self.say(channel, said),
            Step::Question if self.is_read() => self.question(),
            Step::Rekey if self.is_read() => self.rekey().await,
            Step::Chat => self.add(&Packet::of(2).string(b"psst"), Effect::None),
            Step::Flush(cuts) => {
                let cuts = self.per_mille(&cuts);
                self.flush(&cuts).await;
            }
            Step::Slip(cuts) => {
                let cuts = self.per_mille(&cuts);
                self.slip(&cuts).await;
            }
            Step::Write(channel, count) if self.may_write(channel) => self.write(channel, count).await,
            Step::Shut(channel) if self.may_write(channel) => self.shut(channel).await,
            Step::Leave(channel) if self.channels.get(channel).is_some_and(|channel| channel.user.is_some()) => {
                self.leave(channel).await;
            }
            _ => {}
        }
    }

    /// Returns whether the client reads: no call reads a connection without a channel, and while the client closes a
    /// channel libssh2 may take any packet for the reply.
    fn is_read(&self) -> bool {
        self.channels.iter().any(|channel| channel.user.is_some() && !channel.closed)
    }

    fn accept(&mut self) {
        let Some(Opening { id, kind, accepted, .. }) = self.opening else { return };
        self.answering = true;
        if accepted {
            self.add(&Packet::of(DONE).number(id), Effect::Opened);
        } else {
            let opened = Packet::of(OPENED).number(id).number(id).number(1 << 24).number(32_768);
            self.add(&opened, if kind == Kind::Forward { Effect::Opened } else { Effect::Accepted });
        }
        if accepted || kind == Kind::Forward {
            // Later packets in the same chunk may be for the new channel.
            let flows = true;
            self.channels.push(Channel { id, kind, user: None, status: 0, flows, ended: false, closed: false });
        }
    }

    fn refuse(&mut self) {
        let Some(Opening { id, accepted, .. }) = self.opening else { return };
        self.answering = true;
        let packet = if accepted {
            Packet::of(REFUSED).number(id)
        } else {
            Packet::of(NOT_OPENED).number(id).number(2).string(b"no").string(b"")
        };
        self.add(&packet, Effect::Refused);
    }

    fn may_say(&self, channel: usize, said: Said) -> bool {
        self.channels.get(channel).is_some_and(|channel| {
            let is_over = match said {
                Said::Out(_) | Said::Err(_) | Said::Eof => channel.closed || channel.ended,
                Said::Status(_) | Said::Close => channel.closed,
            };
            !is_over && (channel.kind == Kind::Program || !matches!(said, Said::Err(_) | Said::Status(_)))
        })
    }

    pub(super) fn say(&mut self, index: usize, said: Said) {
        let channel = &mut self.channels[index];
        let to = |kind| Packet::of(kind).number(channel.id);
        let packet = match said {
            Said::Out(count) => to(DATA).string(&pattern(count)),
            Said::Err(count) => to(MORE_DATA).number(1).string(&pattern(count)),
            Said::Eof => to(EOF),
            Said::Status(code) => to(REQUEST).string(b"exit-status").byte(0).number(code.unsigned_abs()),
            Said::Close => to(CLOSE),
        };
        match said {
            Said::Eof => channel.ended = true,
            Said::Close => channel.closed = true,
            Said::Out(_) | Said::Err(_) | Said::Status(_) => {}
        }
        self.add(&packet, Effect::Said(index, said));
    }

    fn add(&mut self, packet: &Packet, effect: Effect) {
        self.piece.extend(self.server.seal(packet));
        self.effects.push((self.piece.len(), effect));
    }

    /// Sends the queue without any user reading; the client has taken all of it when it answers the keepalive behind
    /// it.
    pub(super) async fn let_lie(&mut self) -> Vec<Effect> {
        self.question();
        let effects = std::mem::take(&mut self.effects).into_iter().map(|(_, effect)| effect);
        let piece = std::mem::take(&mut self.piece);
        self.server.write(&piece).await;
        self.hears(GLOBAL_REFUSAL, None).await;
        effects.filter(|effect| !matches!(effect, Effect::Answered)).collect()
    }

    /// Sends the queue while the client is awake for a user that reads the data already there, and checks that all of
    /// it takes effect.
    pub(super) async fn slip_behind(&mut self, lying: Vec<Effect>) {
        let effects = std::mem::take(&mut self.effects).into_iter().map(|(_, effect)| effect);
        let piece = std::mem::take(&mut self.piece);
        self.server.slip(&piece);
        for effect in lying.into_iter().chain(effects) {
            self.see(effect).await;
        }
    }

    /// Starts a key exchange. Later packets are sealed with the new keys, in the same chunk.
    pub(super) async fn rekey(&mut self) {
        // The server may still have to answer earlier packets.
        while !self.piece.is_empty() {
            self.flush(&[]).await;
        }
        self.server.send(&offer()).await;
        let theirs = self.hears(KEXINIT, None).await;
        let first = self.hears(KEX_ECDH_INIT, None).await;
        self.piece = self.server.new_keys(&theirs, &first);
        self.rekeys = true;
    }

    fn question(&mut self) {
        let packet = Packet::of(GLOBAL_REQUEST).string(b"keepalive@openssh.com").byte(1);
        self.add(&packet, Effect::Answered);
    }

    fn per_mille(&self, cuts: &[usize]) -> Vec<usize> {
        cuts.iter().map(|cut| cut * self.piece.len() / 1000).collect()
    }

    /// Sends the queue, cut at these positions, and checks after each part that all of it takes effect; returns its
    /// length.
    pub(super) async fn flush(&mut self, cuts: &[usize]) -> usize {
        self.send(cuts, None).await
    }

    /// Sends the queue while the client is awake for another reason: it reads the socket before its reactor knows that
    /// there is data.
    pub(super) async fn slip(&mut self, cuts: &[usize]) -> usize {
        let waking = (0..self.channels.len()).find(|index| self.may_write(*index));
        // The client has to write before it can read the rest.
        let cuts = if self.rekeys { &[] } else { cuts };
        self.send(cuts, waking).await
    }

    async fn send(&mut self, cuts: &[usize], waking: Option<usize>) -> usize {
        self.rekeys = false;
        let piece = std::mem::take(&mut self.piece);
        let mut effects = std::mem::take(&mut self.effects).into_iter().peekable();
        let mut ends: Vec<usize> = cuts.iter().copied().chain([piece.len()]).collect();
        ends.sort_unstable();
        let mut sent = 0;
        for end in ends {
            match waking {
                None => self.server.write(&piece[sent..end]).await,
                Some(index) => {
                    self.server.slip(&piece[sent..end]);
                    self.write(index, 1).await;
                }
            }
            sent = end;
            while let Some((_, effect)) = effects.next_if(|(complete, _)| *complete <= end) {
                self.see(effect).await;
            }
        }
        piece.len()
    }

    /// Closes all channels from both sides. Returns the server, for the end of the connection.
    pub(super) async fn end(mut self) -> Server {
        while self.opening.is_some() {
            self.refuse();
            self.flush(&[]).await;
        }
        for index in 0..self.channels.len() {
            self.leave(index).await;
            if self.may_say(index, Said::Close) {
                self.say(index, Said::Close);
            }
        }
        while !self.piece.is_empty() {
            self.flush(&[]).await;
        }
        self.server
    }

    /// Returns the client's next packet of this type, for this channel.
    async fn hears(&mut self, kind: u8, id: Option<u32>) -> Vec<u8> {
        let is_it = |packet: &Vec<u8>| packet[0] == kind && id.is_none_or(|id| u32_at(packet, 1) == id);
        if let Some(index) = self.heard.iter().position(is_it) {
            return self.heard.remove(index);
        }
        loop {
            let packet = in_time(&(kind, id), self.server.read()).await;
            if is_it(&packet) {
                return packet;
            }
            self.heard.push(packet);
        }
    }
}

async fn in_time<T>(what: &impl Debug, future: impl Future<Output = T>) -> T {
    timeout(NEVER, future).await.unwrap_or_else(|_| panic!("{what:?} has arrived and takes no effect"))
}

fn pattern(count: usize) -> Vec<u8> {
    (0..=u8::MAX).cycle().take(count).collect()
}

fn u32_at(packet: &[u8], offset: usize) -> u32 {
    u32::from_be_bytes(packet[offset..offset + 4].try_into().unwrap())
}
