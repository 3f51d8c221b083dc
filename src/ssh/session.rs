//! Connecting to one hop: dial, handshake, host key, log-in. Every step blocks for at most the time that is left;
//! nothing outlives the deadline.
#![expect(clippy::disallowed_types, reason = "here sessions are made")]

use super::{
    auth,
    host_key::Pins,
    libssh2::{DISCONNECTED, Deadline, FAILED_RECEIVE, FAILED_SEND, Failure, TIMED_OUT, code_of},
    route::{Hop, Login},
};
use crate::{
    fault::{Code, Fault},
    run::BastionFacts,
};
use std::{
    fmt, io,
    net::{SocketAddr, TcpStream, ToSocketAddrs as _},
    os::{fd::OwnedFd, unix::net::UnixStream},
    time::Duration,
};
use tokio::sync::oneshot;

// Error codes of libssh2 (libssh2.h).
pub(super) const WOULD_BLOCK: i32 = -37;

/// AES-GCM is the fastest cipher of libssh2 on a processor with AES instructions.
const CIPHERS: &str =
    "aes128-gcm@openssh.com,aes256-gcm@openssh.com,chacha20-poly1305@openssh.com,aes128-ctr,aes192-ctr,aes256-ctr";

/// The way to reach a hop.
#[derive(Debug)]
pub(super) enum Road {
    /// A TCP connection from this machine.
    Dial,
    /// A channel of the previous hop, whose bytes pass through this socket.
    Over(UnixStream),
}

/// The parameters of a connection to one hop.
#[derive(Debug)]
pub(super) struct Approach {
    pub(super) hop: Hop,
    pub(super) login: Login,
    pub(super) pins: Pins,
    pub(super) timeout: Duration,
}

/// A logged-in session.
pub(super) struct Connected {
    pub(super) session: ssh2::Session,
    /// A duplicate of the session's socket, to poll.
    pub(super) socket: OwnedFd,
    pub(super) facts: BastionFacts,
}

/// Connects to a hop and logs in. `tell` receives the socket as soon as there is one, so that the caller can end the
/// connection: libssh2 checks its timeout only when it has to wait, and a server that keeps sending never makes it
/// wait.
pub(super) fn connect(approach: Approach, road: Road, tell: oneshot::Sender<OwnedFd>) -> Result<Connected, Failure> {
    let Approach { hop, login, pins, timeout } = approach;
    let until = Deadline::after(timeout);
    let socket = match road {
        Road::Dial => dial(&hop, until)?.into(),
        Road::Over(stream) => OwnedFd::from(stream),
    };
    let own = socket.try_clone().map_err(|error| defect(&hop, &error))?;
    let told = socket.try_clone().map_err(|error| defect(&hop, &error))?;
    // The receiver may have been dropped.
    drop(tell.send(told));
    let session = shake_hands(&hop, socket, &pins.algorithms(&hop), until)?;
    let key = session.host_key().map(|(key, _)| key.to_vec()).unwrap_or_default();
    let host_key = pins.judge(&hop, &key).map_err(Failure::Final)?;
    let login = auth::log_in(&session, &hop, &login, until)?;
    let facts = BastionFacts { host: hop.host, port: hop.port, user: hop.user, host_key, login };
    Ok(Connected { session, socket: own, facts })
}

fn dial(hop: &Hop, until: Deadline) -> Result<TcpStream, Failure> {
    let unknown = |cause: String| Failure::Final(Fault::new(Code::BastionUnknown, cause));
    let addresses: Vec<SocketAddr> = (hop.host.as_str(), hop.port)
        .to_socket_addrs()
        .map_err(|error| unknown(format!("the name of `{hop}` can't be resolved: {error}")))?
        .collect();
    let mut failure = unknown(format!("the name of `{hop}` has no address"));
    for (tried, address) in addresses.iter().enumerate() {
        // A dead address must leave time for the next ones.
        let share = until.left() / u32::try_from(addresses.len() - tried).unwrap_or(1);
        match TcpStream::connect_timeout(address, share.max(Duration::from_millis(1))) {
            Ok(stream) => {
                stream.set_nodelay(true).map_err(|error| defect(hop, &error))?;
                return Ok(stream);
            }
            Err(error) => failure = unreachable(hop, &error),
        }
    }
    Err(failure)
}

fn unreachable(hop: &Hop, error: &io::Error) -> Failure {
    Failure::Transport(match error.kind() {
        io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => {
            Fault::new(Code::BastionTimeout, format!("`{hop}` does not answer"))
        }
        io::ErrorKind::ConnectionRefused => Fault::new(Code::BastionRefused, format!("`{hop}` refuses the connection")),
        _ => Fault::new(Code::BastionTimeout, format!("`{hop}` can't be reached: {error}")),
    })
}

fn defect(hop: &Hop, error: &(dyn std::error::Error + 'static)) -> Failure {
    let cause = format!("the connection to `{hop}` could not be set up on this side");
    Failure::Final(Fault::new(Code::Bug, cause).because(error))
}

fn shake_hands(hop: &Hop, socket: OwnedFd, algorithms: &str, until: Deadline) -> Result<ssh2::Session, Failure> {
    let mut session = ssh2::Session::new().map_err(|error| defect(hop, &error))?;
    for (method, preferred) in [
        (ssh2::MethodType::HostKey, algorithms),
        (ssh2::MethodType::CryptCs, CIPHERS),
        (ssh2::MethodType::CryptSc, CIPHERS),
    ] {
        session.method_pref(method, preferred).map_err(|error| defect(hop, &error))?;
    }
    session.set_tcp_stream(socket);
    until.arm(&session);
    match session.handshake() {
        Ok(()) => Ok(session),
        Err(error) => Err(no_handshake(hop, &session, &error, until)),
    }
}

/// Explains a failed handshake by the data received so far.
fn no_handshake(hop: &Hop, session: &ssh2::Session, error: &ssh2::Error, until: Deadline) -> Failure {
    let banner = session.banner_bytes().map(|banner| String::from_utf8_lossy(banner).into_owned());
    let timed_out = code_of(error) == TIMED_OUT;
    let cut = [FAILED_SEND, DISCONNECTED, FAILED_RECEIVE].contains(&code_of(error));
    match banner {
        Some(line) if !line.starts_with("SSH-") => {
            let line: String = line.chars().filter(|letter| !letter.is_control()).collect();
            let cause = if until.is_over() {
                format!("`{hop}` sends line after line and no SSH greeting; the last one is: {line}")
            } else {
                format!("`{hop}` does not speak SSH; the last line it sent is: {line}")
            };
            Failure::Final(Fault::new(Code::BastionNotSsh, cause))
        }
        Some(_) if timed_out => Failure::Transport(Fault::new(
            Code::BastionTimeout,
            format!("`{hop}` stopped answering in the key exchange"),
        )),
        Some(_) if cut => {
            let cause = format!("`{hop}` cut the connection in the key exchange");
            Failure::Transport(Fault::new(Code::BastionHandshake, cause))
        }
        Some(line) => {
            let cause = format!("no key exchange with `{hop}` ({line}): {}", error.message());
            Failure::Final(Fault::new(Code::BastionHandshake, cause))
        }
        None if timed_out => {
            let cause = format!("`{hop}` accepts the connection and sends nothing");
            Failure::Transport(Fault::new(Code::BastionTimeout, cause))
        }
        None => {
            let cause = format!("`{hop}` closes the connection without an SSH greeting");
            let fix = "check that `ssh-port` is sshd's port; an sshd that is overloaded (MaxStartups) or has banned the \
                       runner's address closes like this too";
            Failure::Transport(Fault::new(Code::BastionNotSsh, cause).fix(fix))
        }
    }
}

impl fmt::Debug for Connected {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Connected").field("facts", &self.facts).finish_non_exhaustive()
    }
}
