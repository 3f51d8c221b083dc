//! The channels to be opened. An unfinished open lives in libssh2's session, so they are opened one at a time.
#![expect(clippy::disallowed_types, reason = "the driver owns the session")]

use super::{
    channel::Channel,
    libssh2::{CHANNEL_REFUSED, REQUEST_REFUSED, error_code},
    remote_process::ProgramPipes,
    session::WOULD_BLOCK,
    socket::TransportError,
    stream::LocalEnd,
};
use std::collections::VecDeque;
use tokio::sync::oneshot;

/// The purpose of a channel.
#[derive(Debug)]
pub(super) enum ChannelPurpose {
    /// A TCP connection from the server to this address.
    Forward { host: String, port: u16 },
    /// A program: its command line, and the pipes for its standard error and exit.
    Exec { line: String, pipes: ProgramPipes },
}

/// Receives the server's reply; the requester holds the channel's local end already.
pub(super) type OpenReply = oneshot::Sender<Result<(), OpenRefusal>>;

/// A refusal by the server, in libssh2's words: libssh2 drops the server's own.
#[derive(Debug)]
pub(super) enum OpenRefusal {
    /// The server did not open the channel.
    Channel(String),
    /// The server opened the channel and did not start the program.
    Program(String),
}

/// A request for a channel.
pub(super) struct OpenRequest {
    pub(super) purpose: ChannelPurpose,
    pub(super) local: LocalEnd,
    pub(super) reply: OpenReply,
}

/// The requests without a reply yet.
#[derive(Default)]
pub(super) struct OpenQueue {
    queue: VecDeque<OpenRequest>,
    /// The request that libssh2 works on, with the channel of a program that is not accepted yet.
    current: Option<(OpenRequest, Option<ssh2::Channel>)>,
}

/// The progress of an open.
pub(super) enum OpenProgress {
    /// Nothing is to be opened, or the server has not replied yet.
    Pending,
    /// The server refused, and the requester has been notified.
    Refused,
    /// An open channel: with its program or, if the program was refused, to be closed.
    Opened(Box<Channel>),
}

impl OpenQueue {
    pub(super) fn push(&mut self, request: OpenRequest) {
        self.queue.push_back(request);
    }

    /// Drops the requests that libssh2 has not begun.
    pub(super) fn clear(&mut self) {
        self.queue.clear();
    }

    /// Returns whether libssh2 has an unfinished open.
    pub(super) fn has_unfinished(&self) -> bool {
        self.current.is_some()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.current.is_none() && self.queue.is_empty()
    }

    /// Continues the unfinished open, or begins the next one.
    pub(super) fn advance(&mut self, session: &ssh2::Session) -> Result<OpenProgress, TransportError> {
        if self.current.is_none() {
            // The requester may have stopped waiting.
            let next = std::iter::from_fn(|| self.queue.pop_front()).find(|request| !request.reply.is_closed());
            self.current = next.map(|request| (request, None));
        }
        let Some((request, mut partial)) = self.current.take() else { return Ok(OpenProgress::Pending) };
        match open_channel(session, &request.purpose, &mut partial) {
            Ok(channel) => {
                // If the requester has gone, its end is dropped, and that closes the channel.
                drop(request.reply.send(Ok(())));
                let pipes = match request.purpose {
                    ChannelPurpose::Forward { .. } => None,
                    ChannelPurpose::Exec { pipes, .. } => Some(pipes),
                };
                Ok(OpenProgress::Opened(Box::new(Channel::new(channel, request.local, pipes))))
            }
            Err(error) if error_code(&error) == WOULD_BLOCK => {
                self.current = Some((request, partial));
                Ok(OpenProgress::Pending)
            }
            Err(error) => {
                let message = error.message().to_owned();
                match (error_code(&error), partial) {
                    (CHANNEL_REFUSED, _) => {
                        drop(request.reply.send(Err(OpenRefusal::Channel(message))));
                        Ok(OpenProgress::Refused)
                    }
                    (REQUEST_REFUSED, Some(channel)) => {
                        drop(request.reply.send(Err(OpenRefusal::Program(message))));
                        // The user's end is dropped with the reply, so the channel is closed like any other without a
                        // user; dropping the channel here would send, too, and could not finish.
                        Ok(OpenProgress::Opened(Box::new(Channel::new(channel, request.local, None))))
                    }
                    _ => Err(TransportError(message)),
                }
            }
        }
    }
}

fn open_channel(
    session: &ssh2::Session,
    purpose: &ChannelPurpose,
    partial: &mut Option<ssh2::Channel>,
) -> Result<ssh2::Channel, ssh2::Error> {
    match purpose {
        ChannelPurpose::Forward { host, port } => session.channel_direct_tcpip(host, *port, None),
        ChannelPurpose::Exec { line, .. } => {
            let mut channel = match partial.take() {
                Some(channel) => channel,
                None => session.channel_session()?,
            };
            let accepted = channel.exec(line);
            *partial = Some(channel.clone());
            accepted.map(|()| channel)
        }
    }
}
