//! The channels that are asked for. An unfinished open lives in libssh2's session, so they are opened one at a time.
#![expect(clippy::disallowed_types, reason = "the pump is the owner of the session")]

use super::{
    channel::Channel,
    driver::Broken,
    process::Far,
    session::{CHANNEL_REFUSED, REQUEST_REFUSED, WOULD_BLOCK, code_of},
    stream::Local,
};
use std::collections::VecDeque;
use tokio::sync::oneshot;

/// What a channel is for.
#[derive(Debug)]
pub(super) enum Errand {
    /// A TCP connection from the server to there.
    Forward { host: String, port: u16 },
    /// A program: the line that starts it, and where its errors and its end go.
    Run { line: String, far: Far },
}

/// Where the server's answer is told; the channel's local end is with who asked already.
pub(super) type Answer = oneshot::Sender<Result<(), Refusal>>;

/// The server's no, in libssh2's words: it drops the server's own.
#[derive(Debug)]
pub(super) enum Refusal {
    /// There is no channel.
    Channel(String),
    /// There is a channel, and on it no program.
    Program(String),
}

/// A channel that somebody asked for.
pub(super) struct Order {
    pub(super) errand: Errand,
    pub(super) local: Local,
    pub(super) answer: Answer,
}

/// The orders that are not answered yet.
#[derive(Default)]
pub(super) struct Opens {
    queue: VecDeque<Order>,
    /// The one that libssh2 works on, with the channel of a program that is not accepted yet.
    current: Option<(Order, Option<ssh2::Channel>)>,
}

/// How far an open got.
pub(super) enum Opened {
    /// There is nothing to open, or the server has not answered yet.
    Waits,
    /// The server said no, and who asked knows.
    Refused,
    /// Here it is, with its program or, if that was refused, to be closed.
    Channel(Box<Channel>),
}

impl Opens {
    pub(super) fn push(&mut self, order: Order) {
        self.queue.push_back(order);
    }

    /// Forgets those that libssh2 does not know of yet.
    pub(super) fn clear(&mut self) {
        self.queue.clear();
    }

    /// Whether libssh2 is in the middle of one.
    pub(super) fn is_under_way(&self) -> bool {
        self.current.is_some()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.current.is_none() && self.queue.is_empty()
    }

    /// Goes on with the one that is under way, or with the next.
    pub(super) fn advance(&mut self, session: &ssh2::Session) -> Result<Opened, Broken> {
        if self.current.is_none() {
            // Who asked may have stopped waiting.
            let next = std::iter::from_fn(|| self.queue.pop_front()).find(|order| !order.answer.is_closed());
            self.current = next.map(|order| (order, None));
        }
        let Some((order, mut begun)) = self.current.take() else { return Ok(Opened::Waits) };
        match open(session, &order.errand, &mut begun) {
            Ok(channel) => {
                // If nobody waits any more, the other end is dropped, and with it the channel is closed.
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
                        // Its user goes with the answer, and it is closed like any other whose user has gone: a drop would
                        // send, too, and could not finish.
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
