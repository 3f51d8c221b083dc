//! A client with several channels, and the data that its users must see of the server's messages.

mod checks;
mod user;

use super::{
    effect::Effect,
    server::{KEX_ECDH_INIT, KEXINIT, Packet, ScriptedServer, kexinit_packet},
    step::{ChannelKind, ChannelMessage, ScriptedStep},
};
use crate::{
    secret::Secret,
    ssh::{
        connection::{HopConnection, OpenError},
        host_key::HostKeyPins,
        remote_process::RemoteProcess,
        route::{Hop, Login},
        session::{self, ConnectRequest, HopSocket},
        stream::ChannelStream,
    },
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use rcgen::{KeyPair, PKCS_ED25519, PublicKeyData as _};
use std::{fmt::Debug, os::unix::net::UnixStream, pin::Pin, time::Duration};
use tokio::{sync::oneshot, task::spawn_blocking, time::timeout};

/// Time limit for an effect: data that has arrived takes effect at once, or never.
const WAIT_LIMIT: Duration = Duration::from_secs(30);

/// Only arriving data wakes the driver.
const KEEPALIVE: Duration = Duration::from_secs(86_400);

const GLOBAL_REQUEST: u8 = 80;
const REQUEST_FAILURE: u8 = 82;
const CHANNEL_OPEN: u8 = 90;
const CHANNEL_OPEN_CONFIRMATION: u8 = 91;
const CHANNEL_OPEN_FAILURE: u8 = 92;
const CHANNEL_DATA: u8 = 94;
const CHANNEL_EXTENDED_DATA: u8 = 95;
const CHANNEL_EOF: u8 = 96;
const CHANNEL_CLOSE: u8 = 97;
const CHANNEL_REQUEST: u8 = 98;
const CHANNEL_SUCCESS: u8 = 99;
const CHANNEL_FAILURE: u8 = 100;

/// Connects a client to its server and logs it in.
pub(super) async fn connect_to_scripted_server() -> (HopConnection, ScriptedServer) {
    let key = KeyPair::generate_for(&PKCS_ED25519).unwrap();
    let blob = [b"\0\0\0\x0bssh-ed25519\0\0\0\x20".as_slice(), key.der_bytes()].concat();
    let pins = HostKeyPins::parse(Some(&format!("scripted ssh-ed25519 {}", STANDARD.encode(blob))), None).unwrap();
    let hop = Hop { host: "scripted".to_owned(), port: 22, user: "u".to_owned() };
    let login = Login { password: Some(Secret::new("nobody asks for it")), ..Login::default() };
    let request = ConnectRequest { hop: hop.clone(), login, pins, timeout: WAIT_LIMIT };
    let (client_socket, server_socket) = UnixStream::pair().unwrap();
    let (socket_sender, _socket_receiver) = oneshot::channel();
    let connecting = spawn_blocking(move || {
        session::connect_session(request, HopSocket::Connected(client_socket.into()), socket_sender)
    });
    let server = ScriptedServer::accept_client(server_socket, key).await;
    let connected = connecting.await.unwrap().unwrap();
    (HopConnection::start_driver(hop, connected, None, KEEPALIVE).unwrap(), server)
}

/// The user's end of a channel.
enum User {
    Forward(ChannelStream),
    Program(RemoteProcess),
}

impl User {
    fn stdio(&mut self) -> &mut ChannelStream {
        match self {
            Self::Forward(stream) => stream,
            Self::Program(process) => &mut process.stdio,
        }
    }
}

/// A channel, as the server sees it.
struct ScriptedChannel {
    id: u32,
    kind: ChannelKind,
    /// Present until the user has gone.
    user: Option<User>,
    status: i32,
    /// Set while the user may write.
    may_write: bool,
    ended: bool,
    closed: bool,
}

type OpenFuture<'l> = Pin<Box<dyn Future<Output = Result<User, OpenError>> + 'l>>;

/// A requested channel: the server's replies open it, and then start its program.
struct UnansweredOpen<'l> {
    id: u32,
    kind: ChannelKind,
    future: OpenFuture<'l>,
    accepted: bool,
}

pub(super) struct Scenario<'l> {
    connection: &'l HopConnection,
    server: ScriptedServer,
    channels: Vec<ScriptedChannel>,
    opening: Option<UnansweredOpen<'l>>,
    /// Set when the next reply to the request is queued and not sent.
    answering: bool,
    /// Set when the queue contains new keys: before they arrive, the client can't send.
    rekeying: bool,
    /// The bytes that are queued and not sent; `effects` has the end of each packet in them.
    unsent: Vec<u8>,
    effects: Vec<(usize, Effect)>,
    /// Packets of the client that no check has asked for yet.
    unread_packets: Vec<Vec<u8>>,
}

impl<'l> Scenario<'l> {
    pub(super) fn new(connection: &'l HopConnection, server: ScriptedServer) -> Self {
        Self {
            connection,
            server,
            channels: Vec::new(),
            opening: None,
            answering: false,
            rekeying: false,
            unsent: Vec::new(),
            effects: Vec::new(),
            unread_packets: Vec::new(),
        }
    }

    /// Opens a channel; returns its index.
    pub(super) async fn open_channel(&mut self, kind: ChannelKind) -> usize {
        self.request_channel(kind).await;
        while self.opening.is_some() {
            self.accept_open();
            self.flush_in_parts(&[]).await;
        }
        self.channels.len() - 1
    }

    pub(super) async fn perform_step(&mut self, step: ScriptedStep) {
        if self.rekeying
            && matches!(
                step,
                ScriptedStep::RequestChannel(_) | ScriptedStep::Write(..) | ScriptedStep::ShutDownWriting(_)
            )
        {
            self.flush_in_parts(&[]).await;
        }
        match step {
            ScriptedStep::RequestChannel(kind) if self.opening.is_none() => self.request_channel(kind).await,
            ScriptedStep::Accept if self.opening.is_some() && !self.answering => self.accept_open(),
            ScriptedStep::Refuse if self.opening.is_some() && !self.answering => self.refuse_open(),
            ScriptedStep::Send(channel, message) if self.may_send(channel, message) => {
                self.queue_message(channel, message);
            }
            ScriptedStep::Keepalive if self.client_reads() => self.queue_keepalive(),
            ScriptedStep::Rekey if self.client_reads() => self.start_rekey().await,
            ScriptedStep::Ignore => self.queue_packet(&Packet::with_type(2).push_string(b"psst"), Effect::None),
            ScriptedStep::Flush(cuts) => {
                let cuts = self.per_mille(&cuts);
                self.flush_in_parts(&cuts).await;
            }
            ScriptedStep::FlushUnnoticed(cuts) => {
                let cuts = self.per_mille(&cuts);
                self.flush_unnoticed(&cuts).await;
            }
            ScriptedStep::Write(channel, count) if self.may_write(channel) => self.write_bytes(channel, count).await,
            ScriptedStep::ShutDownWriting(channel) if self.may_write(channel) => self.shut_down_writing(channel).await,
            ScriptedStep::DropUser(channel)
                if self.channels.get(channel).is_some_and(|channel| channel.user.is_some()) =>
            {
                self.drop_user(channel).await;
            }
            _ => {}
        }
    }

    /// Returns whether the client reads: no call reads a connection without a channel, and while the client closes a
    /// channel libssh2 may take any packet for the reply.
    fn client_reads(&self) -> bool {
        self.channels.iter().any(|channel| channel.user.is_some() && !channel.closed)
    }

    fn accept_open(&mut self) {
        let Some(UnansweredOpen { id, kind, accepted, .. }) = self.opening else { return };
        self.answering = true;
        if accepted {
            self.queue_packet(&Packet::with_type(CHANNEL_SUCCESS).push_u32(id), Effect::Opened);
        } else {
            let opened = Packet::with_type(CHANNEL_OPEN_CONFIRMATION)
                .push_u32(id)
                .push_u32(id)
                .push_u32(1 << 24)
                .push_u32(32_768);
            self.queue_packet(
                &opened,
                if kind == ChannelKind::Forward { Effect::Opened } else { Effect::ProgramRequested },
            );
        }
        if accepted || kind == ChannelKind::Forward {
            // Later packets in the same chunk may be for the new channel.
            let may_write = true;
            self.channels.push(ScriptedChannel {
                id,
                kind,
                user: None,
                status: 0,
                may_write,
                ended: false,
                closed: false,
            });
        }
    }

    fn refuse_open(&mut self) {
        let Some(UnansweredOpen { id, accepted, .. }) = self.opening else { return };
        self.answering = true;
        let packet = if accepted {
            Packet::with_type(CHANNEL_FAILURE).push_u32(id)
        } else {
            Packet::with_type(CHANNEL_OPEN_FAILURE).push_u32(id).push_u32(2).push_string(b"no").push_string(b"")
        };
        self.queue_packet(&packet, Effect::Refused);
    }

    fn may_send(&self, channel: usize, message: ChannelMessage) -> bool {
        self.channels.get(channel).is_some_and(|channel| {
            let is_over = match message {
                ChannelMessage::Stdout(_) | ChannelMessage::Stderr(_) | ChannelMessage::Eof => {
                    channel.closed || channel.ended
                }
                ChannelMessage::Status(_) | ChannelMessage::Close => channel.closed,
            };
            !is_over
                && (channel.kind == ChannelKind::Program
                    || !matches!(message, ChannelMessage::Stderr(_) | ChannelMessage::Status(_)))
        })
    }

    pub(super) fn queue_message(&mut self, index: usize, message: ChannelMessage) {
        let channel = &mut self.channels[index];
        let to = |kind| Packet::with_type(kind).push_u32(channel.id);
        let packet = match message {
            ChannelMessage::Stdout(count) => to(CHANNEL_DATA).push_string(&pattern(count)),
            ChannelMessage::Stderr(count) => to(CHANNEL_EXTENDED_DATA).push_u32(1).push_string(&pattern(count)),
            ChannelMessage::Eof => to(CHANNEL_EOF),
            ChannelMessage::Status(code) => {
                to(CHANNEL_REQUEST).push_string(b"exit-status").push_byte(0).push_u32(code.unsigned_abs())
            }
            ChannelMessage::Close => to(CHANNEL_CLOSE),
        };
        match message {
            ChannelMessage::Eof => channel.ended = true,
            ChannelMessage::Close => channel.closed = true,
            ChannelMessage::Stdout(_) | ChannelMessage::Stderr(_) | ChannelMessage::Status(_) => {}
        }
        self.queue_packet(&packet, Effect::Message(index, message));
    }

    fn queue_packet(&mut self, packet: &Packet, effect: Effect) {
        self.unsent.extend(self.server.seal(packet));
        self.effects.push((self.unsent.len(), effect));
    }

    /// Sends the queue without any user reading; the client has taken all of it when it answers the keepalive behind
    /// it.
    pub(super) async fn send_unread(&mut self) -> Vec<Effect> {
        self.queue_keepalive();
        let effects = std::mem::take(&mut self.effects).into_iter().map(|(_, effect)| effect);
        let bytes = std::mem::take(&mut self.unsent);
        self.server.write_bytes(&bytes).await;
        self.next_packet(REQUEST_FAILURE, None).await;
        effects.filter(|effect| !matches!(effect, Effect::KeepaliveAnswered)).collect()
    }

    /// Sends the queue while the client is awake for a user that reads the data already there, and checks that all of
    /// it takes effect.
    pub(super) async fn send_unnoticed_after(&mut self, unread: Vec<Effect>) {
        let effects = std::mem::take(&mut self.effects).into_iter().map(|(_, effect)| effect);
        let bytes = std::mem::take(&mut self.unsent);
        self.server.write_at_once(&bytes);
        for effect in unread.into_iter().chain(effects) {
            self.check_effect(effect).await;
        }
    }

    /// Starts a key exchange. Later packets are sealed with the new keys, in the same chunk.
    pub(super) async fn start_rekey(&mut self) {
        // The server may still have to answer earlier packets.
        while !self.unsent.is_empty() {
            self.flush_in_parts(&[]).await;
        }
        self.server.send_packet(&kexinit_packet()).await;
        let client_kexinit = self.next_packet(KEXINIT, None).await;
        let first = self.next_packet(KEX_ECDH_INIT, None).await;
        self.unsent = self.server.new_keys(&client_kexinit, &first);
        self.rekeying = true;
    }

    fn queue_keepalive(&mut self) {
        let packet = Packet::with_type(GLOBAL_REQUEST).push_string(b"keepalive@openssh.com").push_byte(1);
        self.queue_packet(&packet, Effect::KeepaliveAnswered);
    }

    fn per_mille(&self, cuts: &[usize]) -> Vec<usize> {
        cuts.iter().map(|cut| cut * self.unsent.len() / 1000).collect()
    }

    /// Sends the queue, cut at these positions, and checks after each part that all of it takes effect; returns its
    /// length.
    pub(super) async fn flush_in_parts(&mut self, cuts: &[usize]) -> usize {
        self.send_queued(cuts, None).await
    }

    /// Sends the queue while the client is awake for another reason: it reads the socket before its reactor knows that
    /// there is data.
    pub(super) async fn flush_unnoticed(&mut self, cuts: &[usize]) -> usize {
        let waking_channel = (0..self.channels.len()).find(|index| self.may_write(*index));
        // The client has to write before it can read the rest.
        let cuts = if self.rekeying { &[] } else { cuts };
        self.send_queued(cuts, waking_channel).await
    }

    async fn send_queued(&mut self, cuts: &[usize], waking_channel: Option<usize>) -> usize {
        self.rekeying = false;
        let bytes = std::mem::take(&mut self.unsent);
        let mut effects = std::mem::take(&mut self.effects).into_iter().peekable();
        let mut ends: Vec<usize> = cuts.iter().copied().chain([bytes.len()]).collect();
        ends.sort_unstable();
        let mut sent = 0;
        for end in ends {
            match waking_channel {
                None => self.server.write_bytes(&bytes[sent..end]).await,
                Some(index) => {
                    self.server.write_at_once(&bytes[sent..end]);
                    self.write_bytes(index, 1).await;
                }
            }
            sent = end;
            while let Some((_, effect)) = effects.next_if(|(complete, _)| *complete <= end) {
                self.check_effect(effect).await;
            }
        }
        bytes.len()
    }

    /// Closes all channels from both sides. Returns the server, for the end of the connection.
    pub(super) async fn close_all(mut self) -> ScriptedServer {
        while self.opening.is_some() {
            self.refuse_open();
            self.flush_in_parts(&[]).await;
        }
        for index in 0..self.channels.len() {
            self.drop_user(index).await;
            if self.may_send(index, ChannelMessage::Close) {
                self.queue_message(index, ChannelMessage::Close);
            }
        }
        while !self.unsent.is_empty() {
            self.flush_in_parts(&[]).await;
        }
        self.server
    }

    /// Returns the client's next packet of this type, for this channel.
    async fn next_packet(&mut self, kind: u8, id: Option<u32>) -> Vec<u8> {
        let is_expected = |packet: &Vec<u8>| packet[0] == kind && id.is_none_or(|id| u32_at(packet, 1) == id);
        if let Some(index) = self.unread_packets.iter().position(is_expected) {
            return self.unread_packets.remove(index);
        }
        loop {
            let packet = in_time(&(kind, id), self.server.read_packet()).await;
            if is_expected(&packet) {
                return packet;
            }
            self.unread_packets.push(packet);
        }
    }
}

async fn in_time<T>(subject: &impl Debug, future: impl Future<Output = T>) -> T {
    timeout(WAIT_LIMIT, future).await.unwrap_or_else(|_| panic!("{subject:?} has arrived and takes no effect"))
}

fn pattern(count: usize) -> Vec<u8> {
    (0..=u8::MAX).cycle().take(count).collect()
}

fn u32_at(packet: &[u8], offset: usize) -> u32 {
    u32::from_be_bytes(packet[offset..offset + 4].try_into().unwrap())
}
