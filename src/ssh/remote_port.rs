//! Ports of the server's loopback whose connections come to us (RFC 4254, 7).
#![expect(clippy::disallowed_types, reason = "a listener ends with the driver's session")]

use super::{
    channel::Channel,
    libssh2::{GLOBAL_REQUEST_REFUSED, error_code},
    session::WOULD_BLOCK,
    socket::TransportError,
    stream::{ChannelStream, stream_pair},
};
use std::collections::VecDeque;
use tokio::sync::{mpsc, oneshot};

/// The address on which the server listens: programs of the server alone reach it.
const SERVER_LOOPBACK: &str = "127.0.0.1";

/// Number of connections that may wait to be accepted, as OpenSSH has it for a socket.
const WAITING_CONNECTIONS: u32 = 128;

/// A port of the server's loopback. The server listens until it is dropped.
#[derive(Debug)]
pub struct RemotePort {
    number: u16,
    streams: mpsc::UnboundedReceiver<ChannelStream>,
}

impl RemotePort {
    /// Returns the number of the port.
    #[must_use]
    pub fn number(&self) -> u16 {
        self.number
    }

    /// Returns the next connection; none once the connection to the server is lost.
    pub async fn accept(&mut self) -> Option<ChannelStream> {
        self.streams.recv().await
    }
}

/// A request for a port. The reply is the port, or the refusal in libssh2's words.
pub(super) struct ListenRequest {
    reply: oneshot::Sender<Result<RemotePort, String>>,
}

/// Creates a request and the receiver of its reply.
pub(super) fn listen_request() -> (ListenRequest, oneshot::Receiver<Result<RemotePort, String>>) {
    let (reply, response) = oneshot::channel();
    (ListenRequest { reply }, response)
}

/// The ports of one session, and the requests without a reply yet.
#[derive(Default)]
pub(super) struct RemotePorts {
    queue: VecDeque<ListenRequest>,
    /// The request that libssh2 works on.
    current: Option<ListenRequest>,
    open: Vec<OpenPort>,
}

struct OpenPort {
    listener: ssh2::Listener,
    streams: mpsc::UnboundedSender<ChannelStream>,
}

impl RemotePorts {
    pub(super) fn push(&mut self, request: ListenRequest) {
        self.queue.push_back(request);
    }

    /// Drops all ports, and the requests that libssh2 has not begun.
    pub(super) fn clear(&mut self) {
        self.queue.clear();
        self.open.clear();
    }

    /// Returns whether a call of these reads the transport.
    pub(super) fn can_read_transport(&self) -> bool {
        self.current.is_some() || !self.open.is_empty()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.current.is_none() && self.queue.is_empty() && self.open.is_empty()
    }

    /// Continues the unfinished request, or begins the next one. Returns whether one was answered.
    pub(super) fn advance_request(&mut self, session: &ssh2::Session) -> Result<bool, TransportError> {
        if self.current.is_none() {
            self.current = std::iter::from_fn(|| self.queue.pop_front()).find(|request| !request.reply.is_closed());
        }
        let Some(request) = self.current.take() else { return Ok(false) };
        // The server chooses a free port for the number 0.
        match session.channel_forward_listen(0, Some(SERVER_LOOPBACK), Some(WAITING_CONNECTIONS)) {
            Ok((listener, number)) => {
                let (sender, streams) = mpsc::unbounded_channel();
                // If the requester has gone, the port is dropped with the reply.
                if request.reply.send(Ok(RemotePort { number, streams })).is_ok() {
                    self.open.push(OpenPort { listener, streams: sender });
                }
                Ok(true)
            }
            Err(error) if error_code(&error) == WOULD_BLOCK => {
                self.current = Some(request);
                Ok(false)
            }
            Err(error) if error_code(&error) == GLOBAL_REQUEST_REFUSED => {
                drop(request.reply.send(Err(error.message().to_owned())));
                Ok(true)
            }
            Err(error) => Err(TransportError(error.message().to_owned())),
        }
    }

    /// Accepts one connection, and returns its channel.
    pub(super) fn accept(&mut self) -> Result<Option<Channel>, TransportError> {
        self.open.retain(|port| !port.streams.is_closed());
        for port in &mut self.open {
            match port.listener.accept() {
                Ok(channel) => {
                    let (local, stream) = stream_pair();
                    // If the user has gone meanwhile, its end is dropped, and that closes the channel.
                    drop(port.streams.send(stream));
                    return Ok(Some(Channel::new(channel, local, None)));
                }
                Err(error) if error_code(&error) == WOULD_BLOCK => {}
                Err(error) => return Err(TransportError(error.message().to_owned())),
            }
        }
        Ok(None)
    }
}
