//! A client with several channels, and what its users have a right to see of what the server has sent.

use super::server::{KEX_ECDH_INIT, KEXINIT, Packet, Server, offer};
use crate::{
    secret::Secret,
    ssh::{
        Hop, Login,
        host_key::Pins,
        link::{Link, NoChannel},
        process::{End, Process},
        session::{self, Approach, Road},
        stream::Stream,
    },
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use futures_util::future::{Either, select};
use proptest::prelude::*;
use rcgen::{KeyPair, PKCS_ED25519, PublicKeyData as _};
use std::{fmt::Debug, io::ErrorKind, os::unix::net::UnixStream, pin::Pin, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _},
    sync::oneshot,
    task::spawn_blocking,
    time::timeout,
};

/// What has arrived is there at once, or never.
const NEVER: Duration = Duration::from_secs(10);

/// Nothing wakes the pump but what arrives.
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

/// A client that is logged in, and its server.
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

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Forward,
    Program,
}

/// What the server says on a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Said {
    Out(usize),
    Err(usize),
    Eof,
    Status(i32),
    Close,
}

/// One move of either side; what makes no sense at that moment is left out.
#[derive(Debug, Clone)]
pub(super) enum Step {
    /// The user asks for a channel.
    Ask(Kind),
    /// The server goes on with the channel that is asked for.
    Accept,
    Refuse,
    Say(usize, Said),
    /// The server asks for a sign of life.
    Question,
    /// The server says what nobody needs to know.
    Chat,
    /// The server wants other keys: its part of the exchange is said, and not sent.
    Rekey,
    /// What the server has said goes out, cut at these places (per mille).
    Flush(Vec<usize>),
    /// The same, while the client is awake for another reason.
    Slip(Vec<usize>),
    /// The user writes so many bytes.
    Write(usize, usize),
    /// The user writes no more.
    Shut(usize),
    /// The user goes.
    Leave(usize),
}

impl Arbitrary for Step {
    type Parameters = ();
    type Strategy = BoxedStrategy<Self>;

    fn arbitrary_with((): ()) -> Self::Strategy {
        let channel = 0..6_usize;
        let said = prop_oneof![
            4 => (1..3000_usize).prop_map(Said::Out),
            1 => (1..3000_usize).prop_map(Said::Err),
            1 => Just(Said::Eof),
            1 => (1..250_i32).prop_map(Said::Status),
            2 => Just(Said::Close),
        ];
        prop_oneof![
            3 => prop_oneof![Just(Kind::Forward), Just(Kind::Program)].prop_map(Step::Ask),
            4 => Just(Step::Accept),
            1 => Just(Step::Refuse),
            12 => (channel.clone(), said).prop_map(|(channel, said)| Step::Say(channel, said)),
            1 => Just(Step::Question),
            1 => Just(Step::Chat),
            1 => Just(Step::Rekey),
            2 => proptest::collection::vec(0..1000_usize, 0..4).prop_map(Step::Flush),
            2 => proptest::collection::vec(0..1000_usize, 0..4).prop_map(Step::Slip),
            1 => (channel.clone(), 1..40_000_usize).prop_map(|(channel, count)| Step::Write(channel, count)),
            1 => channel.clone().prop_map(Step::Shut),
            1 => channel.prop_map(Step::Leave),
        ]
        .boxed()
    }
}

/// What the user has of a channel.
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

/// A channel, as far as the server has told of it.
struct Channel {
    id: u32,
    kind: Kind,
    /// Until the user has gone.
    user: Option<User>,
    status: i32,
    /// The user still may write.
    flows: bool,
    ended: bool,
    closed: bool,
}

type Asking<'l> = Pin<Box<dyn Future<Output = Result<User, NoChannel>> + 'l>>;

/// A channel that is asked for: the server's answers are the channel, and for a program then its start.
struct Opening<'l> {
    id: u32,
    kind: Kind,
    asking: Asking<'l>,
    accepted: bool,
}

/// What has to be seen once a packet has arrived.
#[derive(Debug, Clone, Copy)]
pub(super) enum Effect {
    Said(usize, Said),
    /// A program is asked for on the new channel.
    Accepted,
    /// The one who asked has his channel.
    Opened,
    Refused,
    Answered,
    None,
}

pub(super) struct Scene<'l> {
    link: &'l Link,
    server: Server,
    channels: Vec<Channel>,
    opening: Option<Opening<'l>>,
    /// The next answer to it is said, and has not gone out.
    answering: bool,
    /// What is said has new keys in it: before they have come, the client can't send.
    rekeys: bool,
    /// What the server has said and not sent, with the end of each packet in it.
    piece: Vec<u8>,
    effects: Vec<(usize, Effect)>,
    /// What the client has sent and nobody has asked for.
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

    /// Opens a channel; says its index.
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
            // Nobody can read for a connection without a channel.
            Step::Question if self.channels.iter().any(|channel| !channel.closed) => self.question(),
            Step::Rekey if self.channels.iter().any(|channel| !channel.closed) => self.rekey().await,
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

    async fn ask(&mut self, kind: Kind) {
        let link = self.link;
        let mut asking: Asking<'l> = match kind {
            Kind::Forward => Box::pin(async { link.forward("db", 5432, NEVER).await.map(User::Forward) }),
            Kind::Program => Box::pin(async { link.run("true", Vec::new(), NEVER).await.map(User::Program) }),
        };
        let asked = {
            let hears = Box::pin(self.hears(OPEN, None));
            match select(hears, &mut asking).await {
                Either::Left((packet, _)) => packet,
                Either::Right(_) => panic!("a channel is there that the server has not opened"),
            }
        };
        let length = usize::try_from(u32_at(&asked, 1)).unwrap();
        self.opening = Some(Opening { id: u32_at(&asked, 5 + length), kind, asking, accepted: false });
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
            // What is behind it in the same piece may be for the new channel.
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
            let goes = !channel.closed && !(channel.ended && matches!(said, Said::Out(_) | Said::Err(_) | Said::Eof));
            goes && (channel.kind == Kind::Program || !matches!(said, Said::Err(_) | Said::Status(_)))
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

    /// Sends what was said, and has nobody look at it; the client has taken it when it answers what stands behind it.
    pub(super) async fn let_lie(&mut self) -> Vec<Effect> {
        self.question();
        let effects = std::mem::take(&mut self.effects).into_iter().map(|(_, effect)| effect);
        let piece = std::mem::take(&mut self.piece);
        self.server.write(&piece).await;
        self.hears(GLOBAL_REFUSAL, None).await;
        effects.filter(|effect| !matches!(effect, Effect::Answered)).collect()
    }

    /// Sends what was said while the client is awake for a user that takes up what lies there, and sees that all has come.
    pub(super) async fn slip_behind(&mut self, lying: Vec<Effect>) {
        let effects = std::mem::take(&mut self.effects).into_iter().map(|(_, effect)| effect);
        let piece = std::mem::take(&mut self.piece);
        self.server.slip(&piece);
        for effect in lying.into_iter().chain(effects) {
            self.see(effect).await;
        }
    }

    /// What comes behind is sealed with the new keys, in the same piece.
    pub(super) async fn rekey(&mut self) {
        self.flush(&[]).await;
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

    /// Sends what was said, cut at these places, and sees after each part that all of it has come; says how long it was.
    pub(super) async fn flush(&mut self, cuts: &[usize]) -> usize {
        self.send(cuts, None).await
    }

    /// The same, while the client is awake for another reason: it looks for something to read before its reactor knows of it,
    /// and then its own calls read it.
    pub(super) async fn slip(&mut self, cuts: &[usize]) -> usize {
        let waking = (0..self.channels.len()).find(|index| self.may_write(*index));
        // The client has to write before it can see the rest.
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

    async fn see(&mut self, effect: Effect) {
        match effect {
            Effect::None => {}
            Effect::Answered => drop(self.hears(GLOBAL_REFUSAL, None).await),
            Effect::Accepted => {
                self.answering = false;
                let Some(mut opening) = self.opening.take() else { panic!("nobody asks for a channel") };
                let id = opening.id;
                let hears = Box::pin(self.hears(REQUEST, Some(id)));
                if let Either::Right(_) = select(hears, &mut opening.asking).await {
                    panic!("a program is there that the server has not started")
                }
                self.opening = Some(Opening { accepted: true, ..opening });
            }
            Effect::Opened => {
                self.answering = false;
                let Opening { id, asking, .. } = self.opening.take().unwrap();
                let user = in_time(&effect, asking).await.unwrap();
                // A number is used again when its channel is closed.
                self.channels.iter_mut().rfind(|channel| channel.id == id).unwrap().user = Some(user);
            }
            Effect::Refused => {
                self.answering = false;
                let Opening { id, asking, accepted, .. } = self.opening.take().unwrap();
                assert!(matches!(in_time(&effect, asking).await, Err(NoChannel::Refused(_))));
                if accepted {
                    // The channel of a program that there is not.
                    self.hears(CLOSE, Some(id)).await;
                    self.add(&Packet::of(CLOSE).number(id), Effect::None);
                }
            }
            Effect::Said(index, said) => self.see_said(index, said).await,
        }
    }

    async fn see_said(&mut self, index: usize, said: Said) {
        let channel = &mut self.channels[index];
        let id = channel.id;
        let Some(user) = &mut channel.user else { return };
        match (said, &mut *user) {
            (Said::Out(count), user) => gets(&said, user.stdio(), count).await,
            (Said::Err(count), User::Program(process)) => gets(&said, &mut process.stderr, count).await,
            (Said::Eof | Said::Close, user) => {
                ends(&said, user.stdio()).await;
                if let User::Program(process) = user {
                    ends(&said, &mut process.stderr).await;
                }
            }
            (Said::Status(code), _) => channel.status = code,
            (Said::Err(_), User::Forward(_)) => panic!("a connection has no errors"),
        }
        if said == Said::Close {
            if let Some(User::Program(process)) = &mut channel.user {
                let end = in_time(&said, &mut process.ended).await.unwrap();
                assert_eq!(end, End::Exited(channel.status));
            }
            channel.user = None;
            channel.flows = false;
            self.hears(CLOSE, Some(id)).await;
        }
    }

    fn may_write(&self, channel: usize) -> bool {
        // A channel that the server is about to close may be closed by us before.
        self.channels.get(channel).is_some_and(|channel| channel.user.is_some() && channel.flows && !channel.closed)
    }

    async fn write(&mut self, index: usize, count: usize) {
        let channel = &mut self.channels[index];
        let id = channel.id;
        let stream = channel.user.as_mut().unwrap().stdio();
        in_time(&"write", stream.write_all(&pattern(count))).await.unwrap();
        let mut come = Vec::new();
        while come.len() < count {
            come.extend_from_slice(&self.hears(DATA, Some(id)).await[9..]);
        }
        assert!(come == pattern(count));
    }

    async fn shut(&mut self, index: usize) {
        let channel = &mut self.channels[index];
        let id = channel.id;
        channel.flows = false;
        channel.user.as_mut().unwrap().stdio().shutdown().await.unwrap();
        self.hears(EOF, Some(id)).await;
    }

    async fn leave(&mut self, index: usize) {
        // What was said before is owed to the user.
        self.flush(&[]).await;
        let channel = &mut self.channels[index];
        let id = channel.id;
        if channel.user.take().is_some() {
            self.hears(CLOSE, Some(id)).await;
        }
    }

    /// Both sides close all that is open. The server stays, for the connection's own end.
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
        self.flush(&[]).await;
        self.server
    }

    /// The client's next packet of this kind, for this channel.
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

async fn gets(said: &Said, stream: &mut (impl AsyncRead + Unpin), count: usize) {
    let mut bytes = vec![0; count];
    in_time(said, stream.read_exact(&mut bytes)).await.unwrap();
    assert!(bytes == pattern(count), "{said:?}");
}

async fn ends(said: &Said, stream: &mut (impl AsyncRead + Unpin)) {
    assert_eq!(in_time(said, stream.read_u8()).await.map_err(|error| error.kind()), Err(ErrorKind::UnexpectedEof));
}

fn pattern(count: usize) -> Vec<u8> {
    (0..=u8::MAX).cycle().take(count).collect()
}

fn u32_at(packet: &[u8], offset: usize) -> u32 {
    u32::from_be_bytes(packet[offset..offset + 4].try_into().unwrap())
}
