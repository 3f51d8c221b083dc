//! An SSH server that sends the bytes that a test dictates: no real server controls in which chunks a client reads its
//! packets.
//!
//! It knows only as much of SSH as libssh2 needs for a session (RFC 4253, RFC 4252, RFC 5647): one key exchange, one
//! cipher, a log-in that accepts any user, channels (RFC 4254). The cipher comes from rustls, which lets a caller
//! choose the nonce for QUIC alone.

use rcgen::{KeyPair, PublicKeyData as _, SigningKey as _};
use rustls::{
    crypto::{
        cipher::{AeadKey, Iv},
        ring::{cipher_suite::TLS13_AES_256_GCM_SHA384, kx_group::X25519},
    },
    quic::PacketKey,
};
use sha2::{Digest as _, Sha256};
use std::os::unix::net::UnixStream as Socket;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::UnixStream,
};

const GREETING: &str = "SSH-2.0-scripted";
const CIPHER: &str = "aes256-gcm@openssh.com";
const TAG: usize = 16;

const SERVICE_REQUEST: u8 = 5;
const SERVICE_ACCEPT: u8 = 6;
pub(super) const KEXINIT: u8 = 20;
const NEWKEYS: u8 = 21;
pub(super) const KEX_ECDH_INIT: u8 = 30;
const KEX_ECDH_REPLY: u8 = 31;
const USERAUTH_REQUEST: u8 = 50;
const USERAUTH_SUCCESS: u8 = 52;

/// The content of a packet that is being assembled.
#[derive(Debug, Clone)]
pub(super) struct Packet(Vec<u8>);

impl Packet {
    pub(super) fn with_type(kind: u8) -> Self {
        Self(vec![kind])
    }

    pub(super) fn push_byte(mut self, byte: u8) -> Self {
        self.0.push(byte);
        self
    }

    pub(super) fn push_u32(mut self, number: u32) -> Self {
        self.0.extend(number.to_be_bytes());
        self
    }

    pub(super) fn push_string(self, bytes: &[u8]) -> Self {
        let mut longer = self.push_u32(u32::try_from(bytes.len()).unwrap());
        longer.0.extend(bytes);
        longer
    }

    /// Appends a non-negative number of any length (RFC 4251, 5).
    fn push_mpint(self, bytes: &[u8]) -> Self {
        let rest: Vec<u8> = bytes.iter().copied().skip_while(|byte| *byte == 0).collect();
        match rest.first() {
            Some(0x80..) => self.push_string(&[&[0], rest.as_slice()].concat()),
            Some(_) | None => self.push_string(&rest),
        }
    }
}

/// One encrypted direction of the connection.
struct PacketCipher {
    key: Box<dyn PacketKey>,
    packets: u64,
}

impl PacketCipher {
    /// Creates the cipher. The nonce is a fixed part and a counter (RFC 5647, 7.1); QUIC adds the packet number to it.
    fn new(key: [u8; 32], nonce: &[u8]) -> Self {
        let mut fixed = [0; 12];
        fixed[..4].copy_from_slice(&nonce[..4]);
        let packets = u64::from_be_bytes(nonce[4..12].try_into().unwrap());
        let suite = TLS13_AES_256_GCM_SHA384.tls13().unwrap().quic.unwrap();
        Self { key: suite.packet_key(AeadKey::from(key), Iv::new(fixed)), packets }
    }

    fn next_sequence(&mut self) -> u64 {
        self.packets = self.packets.wrapping_add(1);
        self.packets.wrapping_sub(1)
    }
}

/// The server's end of a connection.
pub(super) struct ScriptedServer {
    stream: UnixStream,
    host_key: KeyPair,
    /// The client's greeting.
    greeting: Vec<u8>,
    /// The hash of the first key exchange, once it is known.
    session: Vec<u8>,
    send_cipher: Option<PacketCipher>,
    receive_cipher: Option<PacketCipher>,
    /// The cipher for incoming packets once the client uses its new keys.
    next_receive_cipher: Option<PacketCipher>,
}

impl ScriptedServer {
    /// Accepts the client at the other end of the socket and logs it in.
    pub(super) async fn accept_client(socket: Socket, host_key: KeyPair) -> Self {
        socket.set_nonblocking(true).unwrap();
        let stream = UnixStream::from_std(socket).unwrap();
        let (greeting, session) = (Vec::new(), Vec::new());
        let mut server = Self {
            stream,
            host_key,
            greeting,
            session,
            send_cipher: None,
            receive_cipher: None,
            next_receive_cipher: None,
        };
        server.write_bytes(format!("{GREETING}\r\n").as_bytes()).await;
        while !server.greeting.ends_with(b"\r\n") {
            let byte = server.stream.read_u8().await.unwrap();
            server.greeting.push(byte);
        }
        server.send_packet(&kexinit_packet()).await;
        let client_kexinit = server.next_of_type(KEXINIT).await;
        let first = server.next_of_type(KEX_ECDH_INIT).await;
        let reply = server.new_keys(&client_kexinit, &first);
        server.write_bytes(&reply).await;
        server.next_of_type(NEWKEYS).await;
        server.next_of_type(SERVICE_REQUEST).await;
        server.send_packet(&Packet::with_type(SERVICE_ACCEPT).push_string(b"ssh-userauth")).await;
        server.next_of_type(USERAUTH_REQUEST).await;
        server.send_packet(&Packet::with_type(USERAUTH_SUCCESS)).await;
        server
    }

    /// Returns the reply to a client's part in a key exchange that our [`kexinit_packet`] has begun. Packets sealed
    /// afterwards use the new keys.
    pub(super) fn new_keys(&mut self, client_kexinit: &[u8], first: &[u8]) -> Vec<u8> {
        let exchange = X25519.start().unwrap();
        let point = exchange.pub_key().to_vec();
        let secret = exchange.complete(&first[5..37]).unwrap();
        let public = Packet(Vec::new()).push_string(b"ssh-ed25519").push_string(self.host_key.der_bytes()).0;
        let shared = Packet(Vec::new()).push_mpint(secret.secret_bytes()).0;
        let mut all = Packet(Vec::new()).push_string(self.greeting.trim_ascii_end()).push_string(GREETING.as_bytes());
        for part in [client_kexinit, &kexinit_packet().0, &public, &first[5..37], &point] {
            all = all.push_string(part);
        }
        let digest = |parts: &[&[u8]]| -> [u8; 32] { Sha256::digest(parts.concat()).into() };
        let hash = digest(&[&all.0, &shared]);
        if self.session.is_empty() {
            self.session = hash.to_vec();
        }
        let signature =
            Packet(Vec::new()).push_string(b"ssh-ed25519").push_string(&self.host_key.sign(&hash).unwrap()).0;
        let mut reply = self
            .seal(&Packet::with_type(KEX_ECDH_REPLY).push_string(&public).push_string(&point).push_string(&signature));
        reply.extend(self.seal(&Packet::with_type(NEWKEYS)));
        let derived = |letter: &[u8]| digest(&[&shared, &hash, letter, &self.session]);
        let [outgoing, incoming] =
            [(b"D", b"B"), (b"C", b"A")].map(|(key, nonce)| PacketCipher::new(derived(key), &derived(nonce)));
        (self.send_cipher, self.next_receive_cipher) = (Some(outgoing), Some(incoming));
        reply
    }

    /// Encrypts a packet. Packets have to be sent in the order in which they are sealed.
    pub(super) fn seal(&mut self, Packet(content): &Packet) -> Vec<u8> {
        let (block, outside) = if self.send_cipher.is_some() { (16, 0) } else { (8, 4) };
        let padding = 4 + (block - (outside + 1 + content.len() + 4) % block) % block;
        let mut body = vec![u8::try_from(padding).unwrap()];
        body.extend(content);
        body.resize(1 + content.len() + padding, 0);
        let length = u32::try_from(body.len()).unwrap().to_be_bytes();
        let Some(out) = &mut self.send_cipher else { return [length.as_slice(), &body].concat() };
        let count = out.next_sequence();
        let tag = out.key.encrypt_in_place(count, &length, &mut body).unwrap();
        [length.as_slice(), &body, tag.as_ref()].concat()
    }

    /// Reads packets up to the next one of this type; those before it are ignored.
    pub(super) async fn next_of_type(&mut self, kind: u8) -> Vec<u8> {
        loop {
            let packet = self.read_packet().await;
            if packet.first() == Some(&kind) {
                return packet;
            }
        }
    }

    pub(super) async fn read_packet(&mut self) -> Vec<u8> {
        let mut length = [0; 4];
        self.stream.read_exact(&mut length).await.unwrap();
        let size = usize::try_from(u32::from_be_bytes(length)).unwrap();
        let mut body = vec![0; size + self.receive_cipher.as_ref().map_or(0, |_| TAG)];
        self.stream.read_exact(&mut body).await.unwrap();
        if let Some(into) = &mut self.receive_cipher {
            let count = into.next_sequence();
            into.key.decrypt_in_place(count, &length, &mut body).unwrap();
        }
        let packet = body[1..size - usize::from(body[0])].to_vec();
        if packet.first() == Some(&NEWKEYS) {
            self.receive_cipher = self.next_receive_cipher.take();
        }
        packet
    }

    /// Sends the bytes as they are, in one chunk.
    pub(super) async fn write_bytes(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
    }

    /// Sends the bytes before the client can learn that its socket is readable.
    pub(super) fn write_at_once(&mut self, bytes: &[u8]) {
        assert_eq!(self.stream.try_write(bytes).unwrap(), bytes.len());
    }

    pub(super) async fn send_packet(&mut self, packet: &Packet) {
        let sealed = self.seal(packet);
        self.write_bytes(&sealed).await;
    }
}

/// Returns the packet that begins a key exchange, with one algorithm of each kind.
pub(super) fn kexinit_packet() -> Packet {
    let lists =
        ["curve25519-sha256", "ssh-ed25519", CIPHER, CIPHER, "hmac-sha2-256", "hmac-sha2-256", "none", "none", "", ""];
    let cookie = (0..16).fold(Packet::with_type(KEXINIT), Packet::push_byte);
    lists.iter().fold(cookie, |packet, list| packet.push_string(list.as_bytes())).push_byte(0).push_u32(0)
}
