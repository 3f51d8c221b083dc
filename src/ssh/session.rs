//! Connecting to one hop: dial, handshake, host key, log-in. Every step blocks for at most the time that is left;
//! nothing outlives the deadline.
#![expect(clippy::disallowed_types, reason = "sessions are created here")]

use super::{
    auth,
    clock::seconds_since_1970,
    host_key::HostKeyPins,
    libssh2::{ConnectDeadline, ConnectError, DISCONNECTED, FAILED_RECEIVE, FAILED_SEND, TIMED_OUT, error_code},
    route::{Hop, Login},
};
use crate::{
    fault::{Code, Fault},
    run::BastionFacts,
};
use std::{
    fmt, io,
    net::{SocketAddr, TcpStream, ToSocketAddrs as _},
    os::fd::OwnedFd,
    time::Duration,
};
use tokio::sync::oneshot;

// Error codes of libssh2 (libssh2.h).
pub(super) const WOULD_BLOCK: i32 = -37;

/// AES-GCM is the fastest cipher of libssh2 on a processor with AES instructions.
const CIPHERS: &str =
    "aes128-gcm@openssh.com,aes256-gcm@openssh.com,chacha20-poly1305@openssh.com,aes128-ctr,aes192-ctr,aes256-ctr";

/// The socket over which a hop is reached.
#[derive(Debug)]
pub(super) enum HopSocket {
    /// One that has yet to be connected, from this machine.
    Dial,
    /// One that is connected: with the hop itself, or with a stream that leads there.
    Connected(OwnedFd),
}

/// The parameters of a connection to one hop.
#[derive(Debug)]
pub(super) struct ConnectRequest {
    pub(super) hop: Hop,
    pub(super) login: Login,
    pub(super) pins: HostKeyPins,
    pub(super) timeout: Duration,
}

/// A logged-in session.
pub(super) struct ConnectedSession {
    pub(super) session: ssh2::Session,
    /// A duplicate of the session's socket, to poll.
    pub(super) socket: OwnedFd,
    pub(super) facts: BastionFacts,
}

/// Connects to a hop and logs in. `socket_sender` receives the socket as soon as there is one, so that the caller can
/// end the connection: libssh2 checks its timeout only when it has to wait, and a server that keeps sending never makes
/// it wait.
pub(super) fn connect_session(
    request: ConnectRequest,
    link: HopSocket,
    socket_sender: oneshot::Sender<OwnedFd>,
) -> Result<ConnectedSession, ConnectError> {
    let ConnectRequest { hop, login, pins, timeout } = request;
    let deadline = ConnectDeadline::after(timeout);
    let socket = match link {
        HopSocket::Dial => dial_hop(&hop, deadline)?.into(),
        HopSocket::Connected(socket) => socket,
    };
    let driver_socket = socket.try_clone().map_err(|error| setup_error(&hop, &error))?;
    let duplicate = socket.try_clone().map_err(|error| setup_error(&hop, &error))?;
    // The receiver may have been dropped.
    drop(socket_sender.send(duplicate));
    let session = perform_handshake(&hop, socket, &pins.preferred_algorithms(&hop), deadline)?;
    let key = session.host_key().map(|(key, _)| key.to_vec()).unwrap_or_default();
    let host_key = pins.verify_key(&hop, &key, seconds_since_1970()).map_err(ConnectError::Permanent)?;
    let login = auth::log_in(&session, &hop, &login, deadline)?;
    let banner = session.banner().map(printable_banner).unwrap_or_default();
    let facts = BastionFacts {
        host: hop.host,
        port: hop.port,
        user: hop.user,
        banner,
        host_key: host_key.key,
        host_certificate: host_key.certificate,
        login: login.methods,
        certificate: login.certificate,
    };
    Ok(ConnectedSession { session, socket: driver_socket, facts })
}

/// Longest part of a greeting that is kept, in characters (RFC 4253, 4.2: at most 255 bytes).
const LONGEST_BANNER: usize = 255;

fn printable_banner(banner: &str) -> String {
    banner.chars().filter(|letter| !letter.is_control()).take(LONGEST_BANNER).collect()
}

fn dial_hop(hop: &Hop, deadline: ConnectDeadline) -> Result<TcpStream, ConnectError> {
    let unknown = |cause: String| ConnectError::Permanent(Fault::new(Code::BastionUnknown, cause));
    let addresses: Vec<SocketAddr> = (hop.host.as_str(), hop.port)
        .to_socket_addrs()
        .map_err(|error| unknown(format!("the name of `{hop}` can't be resolved: {error}")))?
        .collect();
    let mut failure = unknown(format!("the name of `{hop}` has no address"));
    for (tried, address) in addresses.iter().enumerate() {
        // A dead address must leave time for the next ones.
        let limit = deadline.remaining() / u32::try_from(addresses.len() - tried).unwrap_or(1);
        match TcpStream::connect_timeout(address, limit.max(Duration::from_millis(1))) {
            Ok(stream) => {
                stream.set_nodelay(true).map_err(|error| setup_error(hop, &error))?;
                return Ok(stream);
            }
            Err(error) => failure = dial_error(hop, &error),
        }
    }
    Err(failure)
}

fn dial_error(hop: &Hop, error: &io::Error) -> ConnectError {
    ConnectError::Transient(match error.kind() {
        io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => {
            Fault::new(Code::BastionTimeout, format!("`{hop}` does not answer"))
        }
        io::ErrorKind::ConnectionRefused => Fault::new(Code::BastionRefused, format!("`{hop}` refuses the connection")),
        _ => Fault::new(Code::BastionTimeout, format!("`{hop}` can't be reached: {error}")),
    })
}

fn setup_error(hop: &Hop, error: &(dyn std::error::Error + 'static)) -> ConnectError {
    let cause = format!("the connection to `{hop}` could not be set up on this side");
    ConnectError::Permanent(Fault::new(Code::Bug, cause).with_causes(error))
}

fn perform_handshake(
    hop: &Hop,
    socket: OwnedFd,
    algorithms: &str,
    deadline: ConnectDeadline,
) -> Result<ssh2::Session, ConnectError> {
    let mut session = ssh2::Session::new().map_err(|error| setup_error(hop, &error))?;
    for (method, preferred) in [
        (ssh2::MethodType::HostKey, algorithms),
        (ssh2::MethodType::CryptCs, CIPHERS),
        (ssh2::MethodType::CryptSc, CIPHERS),
    ] {
        session.method_pref(method, preferred).map_err(|error| setup_error(hop, &error))?;
    }
    session.set_tcp_stream(socket);
    deadline.arm(&session);
    match session.handshake() {
        Ok(()) => Ok(session),
        Err(error) => Err(explain_handshake_failure(hop, &session, &error, deadline)),
    }
}

/// Explains a failed handshake by the data received so far.
fn explain_handshake_failure(
    hop: &Hop,
    session: &ssh2::Session,
    error: &ssh2::Error,
    deadline: ConnectDeadline,
) -> ConnectError {
    let banner = session.banner_bytes().map(|banner| String::from_utf8_lossy(banner).into_owned());
    let timed_out = error_code(error) == TIMED_OUT;
    let is_cut_off = [FAILED_SEND, DISCONNECTED, FAILED_RECEIVE].contains(&error_code(error));
    match banner {
        Some(line) if !line.starts_with("SSH-") => {
            let line: String = line.chars().filter(|letter| !letter.is_control()).collect();
            let cause = if deadline.is_over() {
                format!("`{hop}` sends line after line and no SSH greeting; the last one is: {line}")
            } else {
                format!("`{hop}` does not speak SSH; the last line it sent is: {line}")
            };
            ConnectError::Permanent(Fault::new(Code::BastionNotSsh, cause))
        }
        Some(_) if timed_out => ConnectError::Transient(Fault::new(
            Code::BastionTimeout,
            format!("`{hop}` stopped answering in the key exchange"),
        )),
        Some(_) if is_cut_off => {
            let cause = format!("`{hop}` cut the connection in the key exchange");
            ConnectError::Transient(Fault::new(Code::BastionHandshake, cause))
        }
        Some(line) => {
            let cause = format!("no key exchange with `{hop}` ({line}): {}", error.message());
            ConnectError::Permanent(Fault::new(Code::BastionHandshake, cause))
        }
        None if timed_out => {
            let cause = format!("`{hop}` accepts the connection and sends nothing");
            ConnectError::Transient(Fault::new(Code::BastionTimeout, cause))
        }
        None => {
            let cause = format!("`{hop}` closes the connection without an SSH greeting");
            let fix = "check that `ssh-port` is sshd's port; an sshd that is overloaded (MaxStartups) or has banned the \
                       runner's address closes like this too";
            ConnectError::Transient(Fault::new(Code::BastionNotSsh, cause).fix(fix))
        }
    }
}

impl fmt::Debug for ConnectedSession {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("ConnectedSession").field("facts", &self.facts).finish_non_exhaustive()
    }
}
