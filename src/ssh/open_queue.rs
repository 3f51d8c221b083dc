//! The channels to be opened. An unfinished open lives in libssh2's session, so they are opened one at a time.
#![expect(clippy::disallowed_types, reason = "the pump is the owner of the session")]

use super::{
    channel::Channel,
    libssh2::{CHANNEL_REFUSED, REQUEST_REFUSED, code_of},
    process::Far,
    session::WOULD_BLOCK,
    socket::Broken,
    stream::Local,
};
use std::collections::VecDeque;
use tokio::sync::oneshot;

/// The purpose of a channel.
#[derive(Debug)]
pub(super) enum Errand {
    /// A TCP connection from the server to this address.
    Forward { host: String, port: u16 },
    /// A program: its command line, and the pipes for its standard error and exit.
    Run { line: String, far: Far },
}

/// Receives the server's reply; the requester holds the channel's local end already.
pub(super) type Answer = oneshot::Sender<Result<(), Refusal>>;

/// A refusal by the server, in libssh2's words: libssh2 drops the server's own.
#[derive(Debug)]
pub(super) enum Refusal {
    /// The server did not open the channel.
    Channel(String),
    /// The server opened the channel and did not start the program.
    Program(String),
}

/// A request for a channel.
pub(super) struct Order {
    pub(super) errand: Errand,
    pub(super) local: Local,
    pub(super) answer: Answer,
}

/// The requests without a reply yet.
#[derive(Default)]
pub(super) struct Opens {
    queue: VecDeque<Order>,
    /// The request that libssh2 works on, with the channel of a program that is not accepted yet.
    current: Option<(Order, Option<ssh2::Channel>)>,
}

/// The progress of an open.
pub(super) enum Opened {
    /// Nothing is to be opened, or the server has not replied yet.
    Waits,
    /// The server refused, and the requester has been notified.
    Refused,
    /// An open channel: with its program or, if the program was refused, to be closed.
    Channel(Box<Channel>),
}

impl Opens {
    pub(super) fn push(&mut self, order: Order) {
        self.queue.push_back(order);
    }

    /// Drops the requests that libssh2 has not begun.
    pub(super) fn clear(&mut self) {
        self.queue.clear();
    }

    /// Returns whether libssh2 has an unfinished open.
    pub(super) fn is_under_way(&self) -> bool {
        self.current.is_some()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.current.is_none() && self.queue.is_empty()
    }

    /// Continues the unfinished open, or begins the next one.
    pub(super) fn advance(&mut self, session: &ssh2::Session) -> Result<Opened, Broken> {
        if self.current.is_none() {
            // The requester may have stopped waiting.
            let next = std::iter::from_fn(|| self.queue.pop_front()).find(|order| !order.answer.is_closed());
            self.current = next.map(|order| (order, None));
        }
        let Some((order, mut begun)) = self.current.take() else { return Ok(Opened::Waits) };
        match open(session, &order.errand, &mut begun) {
            Ok(channel) => {
                // If the requester has gone, its end is dropped, and that closes the channel.
                drop(order.answer.send(Ok(())));
                let far = match order.errand {
                    Errand::Forward { .. } => None,
                    Errand::Run { far, .. } => Some(far),
                };
                Ok(Opened::Channel(Box::new(Channel::new(channel, order.local, far))))
            }
            Err(error) if code_of(&error) == WOULD_BLOCK => {
                self.current = Some((order, begun));
                Ok(Opened::Waits)
            }
            Err(error) => {
                let said = error.message().to_owned();
                match (code_of(&error), begun) {
                    (CHANNEL_REFUSED, _) => {
                        drop(order.answer.send(Err(Refusal::Channel(said))));
                        Ok(Opened::Refused)
                    }
                    (REQUEST_REFUSED, Some(channel)) => {
                        drop(order.answer.send(Err(Refusal::Program(said))));
                        // The user's end is dropped with the reply, so the channel is closed like any other without a
                        // user; dropping the channel here would send, too, and could not finish.
                        Ok(Opened::Channel(Box::new(Channel::new(channel, order.local, None))))
                    }
                    _ => Err(Broken(said)),
                }
            }
        }
    }
}

fn open(
    session: &ssh2::Session,
    errand: &Errand,
    begun: &mut Option<ssh2::Channel>,
) -> Result<ssh2::Channel, ssh2::Error> {
    match errand {
        Errand::Forward { host, port } => session.channel_direct_tcpip(host, *port, None),
        Errand::Run { line, .. } => {
            let mut channel = match begun.take() {
                Some(channel) => channel,
                None => session.channel_session()?,
            };
            let accepted = channel.exec(line);
            *begun = Some(channel.clone());
            accepted.map(|()| channel)
        }
    }
}
