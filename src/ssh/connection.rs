//! The handle to one hop: it owns the driver task, sends it commands and reports its end.

use super::{
    driver::{Command, Pump},
    libssh2::Failure,
    open_queue::{Errand, Order, Refusal},
    process::{self, News, Process},
    route::Hop,
    session::{self, Approach, Connected, Road},
    stream::{self, Local, Stream},
};
use crate::{
    fault::{Code, Fault},
    run::BastionFacts,
};
use futures_util::future::select;
use rustix::net::{Shutdown, shutdown};
use std::{
    io,
    os::{fd::OwnedFd, unix::net::UnixStream},
    pin::pin,
    time::Duration,
};
use tokio::{
    io::{copy, split},
    sync::{mpsc, oneshot, watch},
    task::{JoinHandle, spawn_blocking},
    time::timeout,
};

/// Extra time for name resolution, which has timeouts of its own.
const RESOLVER_GRACE: Duration = Duration::from_secs(1);

/// Time limit for the driver task to end: draining its channels and scheduling.
const ENDING: Duration = Duration::from_secs(3);

/// The socket of a connecting thread: dropping this ends the connection, and so the thread.
struct Leash(oneshot::Receiver<OwnedFd>);

impl Leash {
    /// Ends the connection, if there is one.
    fn pull(&mut self) -> bool {
        self.0.try_recv().is_ok_and(|socket| shutdown(socket, Shutdown::Both).is_ok())
    }

    /// Leaves the connection open for its new owner.
    fn let_go(mut self) {
        drop(self.0.try_recv());
    }
}

impl Drop for Leash {
    fn drop(&mut self) {
        self.pull();
    }
}

/// A logged-in connection to one hop.
#[derive(Debug)]
pub(super) struct Link {
    hop: Hop,
    commands: mpsc::UnboundedSender<Command>,
    lost: watch::Receiver<Option<Fault>>,
    /// Awaited by `close`; after a mere drop it ends by itself, because its command channel is closed.
    pump: JoinHandle<()>,
    /// Copies bytes between libssh2, which needs a socket, and the channel of the previous hop; ends with either of
    /// them.
    carrier: Option<JoinHandle<()>>,
}

/// The reason why a channel was not opened.
#[derive(Debug)]
pub(super) enum NoChannel {
    /// The server refused.
    Refused(Refusal),
    /// The connection is lost.
    Lost(Fault),
    /// No reply came in time.
    TimedOut,
}

impl Link {
    /// Connects on a separate thread, because libssh2 blocks, and then starts the driver. If the future is dropped, the
    /// connection is closed, and so the thread ends. `over` is the channel of the previous hop, if there is one.
    pub(super) async fn connect(
        approach: Approach,
        over: Option<Stream>,
        keepalive: Duration,
    ) -> Result<(Self, BastionFacts), Failure> {
        let hop = approach.hop.clone();
        let patience = approach.timeout + RESOLVER_GRACE;
        let (road, carrier) = match over.map(carry).transpose().map_err(|error| defect(&hop, &error))? {
            None => (Road::Dial, None),
            Some((socket, carrier)) => (Road::Over(socket), Some(carrier)),
        };
        let (tell, told) = oneshot::channel();
        let mut leash = Leash(told);
        let mut connecting = spawn_blocking(move || session::connect(approach, road, tell));
        let connected = match timeout(patience, &mut connecting).await {
            Err(_) if leash.pull() => timeout(ENDING, connecting).await,
            ended => ended,
        };
        let connected = match connected {
            Ok(Ok(connected)) => connected?,
            Ok(Err(_panic)) => return Err(Failure::Final(crashed(&hop))),
            Err(_) => {
                let cause = format!("the name of `{hop}` was not resolved in time");
                return Err(Failure::Transport(Fault::new(Code::BastionTimeout, cause)));
            }
        };
        leash.let_go();
        let facts = connected.facts.clone();
        Ok((Self::of(hop, connected, carrier, keepalive)?, facts))
    }

    /// Starts the driver of a logged-in session.
    #[expect(clippy::disallowed_methods, reason = "the link owns the task and awaits it in close()")]
    pub(super) fn of(
        hop: Hop,
        connected: Connected,
        carrier: Option<JoinHandle<()>>,
        keepalive: Duration,
    ) -> Result<Self, Failure> {
        let (commands, orders) = mpsc::unbounded_channel();
        let (tell_lost, lost) = watch::channel(None);
        let mut pump = Pump::new(hop.clone(), connected, orders, keepalive).map_err(|error| defect(&hop, &error))?;
        let pump = tokio::spawn(async move {
            // Published before the driver drops its channels: a user who sees a stream end can ask for the reason.
            if let Err(fault) = pump.run().await {
                tell_lost.send_replace(Some(fault));
            }
        });
        Ok(Self { hop, commands, lost, pump, carrier })
    }

    /// Asks the server to connect to this address; `within` limits the wait for its reply.
    pub(super) async fn forward(&self, host: &str, port: u16, within: Duration) -> Result<Stream, NoChannel> {
        let (local, stream) = stream::pair();
        self.open(Errand::Forward { host: host.to_owned(), port }, local, within).await.map(|()| stream)
    }

    /// Asks the server to start a program; `lost` watches this hop and those before it, for the program's user.
    pub(super) async fn run(&self, line: &str, lost: Vec<News>, within: Duration) -> Result<Process, NoChannel> {
        let (local, far, process) = process::pair(lost);
        self.open(Errand::Run { line: line.to_owned(), far }, local, within).await.map(|()| process)
    }

    async fn open(&self, errand: Errand, local: Local, within: Duration) -> Result<(), NoChannel> {
        let (answer, answered) = oneshot::channel();
        self.command(Command::Open(Order { errand, local, answer }));
        match timeout(within, answered).await {
            Ok(Ok(Ok(()))) => Ok(()),
            Ok(Ok(Err(refusal))) => Err(NoChannel::Refused(refusal)),
            Ok(Err(_)) => Err(NoChannel::Lost(self.lost().await)),
            Err(_) => Err(NoChannel::TimedOut),
        }
    }

    /// Returns a watch on the loss of the connection.
    pub(super) fn news(&self) -> News {
        self.lost.clone()
    }

    /// Returns why the connection was lost, if it was.
    pub(super) fn check(&self) -> Option<Fault> {
        self.lost.borrow().clone()
    }

    /// Waits until the connection is lost.
    pub(super) async fn lost(&self) -> Fault {
        let mut lost = self.lost.clone();
        match lost.wait_for(Option::is_some).await {
            Ok(fault) => fault.clone().unwrap_or_else(|| crashed(&self.hop)),
            Err(_) => crashed(&self.hop),
        }
    }

    /// Closes the connection and waits for the task.
    pub(super) async fn close(mut self) -> Result<(), Fault> {
        self.command(Command::Close);
        let ended = timeout(ENDING, async {
            let pumped = (&mut self.pump).await;
            match &mut self.carrier {
                Some(carrier) => pumped.and(carrier.await),
                None => pumped,
            }
        });
        match ended.await {
            Ok(ended) => ended.map_err(|_panic| crashed(&self.hop)),
            Err(_) => {
                self.pump.abort();
                let cause = format!("the connection to `{}` could not be closed in time", self.hop);
                Err(Fault::new(Code::BastionLost, cause))
            }
        }
    }

    /// A driver that has ended receives nothing.
    fn command(&self, command: Command) {
        drop(self.commands.send(command));
    }
}

/// Connects a stream to a socket for libssh2.
#[expect(clippy::disallowed_methods, reason = "the link owns the task and awaits it in close()")]
fn carry(stream: Stream) -> io::Result<(UnixStream, JoinHandle<()>)> {
    let (ours, theirs) = UnixStream::pair()?;
    ours.set_nonblocking(true)?;
    theirs.set_nonblocking(true)?;
    let ours = tokio::net::UnixStream::from_std(ours)?;
    let carrier = tokio::spawn(async move {
        let ((mut ours_in, mut ours_out), (mut stream_in, mut stream_out)) = (split(ours), split(stream));
        let up = pin!(copy(&mut ours_in, &mut stream_out));
        let down = pin!(copy(&mut stream_in, &mut ours_out));
        // SSH has no half-closed connection, so an unresponsive server is not waited for. The drivers at both ends
        // report how the connection ended.
        drop(select(up, down).await);
    });
    Ok((theirs, carrier))
}

fn defect(hop: &Hop, error: &io::Error) -> Failure {
    let cause = format!("the connection to `{hop}` could not be set up on this side");
    Failure::Final(Fault::new(Code::Bug, cause).because(error))
}

fn crashed(hop: &Hop) -> Fault {
    Fault::new(Code::Bug, format!("the task of the connection to `{hop}` ended unexpectedly"))
}
