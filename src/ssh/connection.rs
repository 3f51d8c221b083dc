//! The handle to one hop: its task, the way to command it, the news of its end.

use super::{
    driver::{Command, Pump},
    open_queue::{Errand, Order, Refusal},
    process::{self, News, Process},
    route::Hop,
    session::{self, Approach, Connected, Failure, Road},
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

/// Name resolution has timeouts of its own; nobody waits for them longer than this after ours.
const RESOLVER_GRACE: Duration = Duration::from_secs(1);

/// How long a task may take to end: its farewell and the scheduling around it.
const ENDING: Duration = Duration::from_secs(3);

/// The socket of a thread that connects: dropped, it ends the connection, and so the thread.
struct Leash(oneshot::Receiver<OwnedFd>);

impl Leash {
    /// Ends the connection, if there is one to end.
    fn pull(&mut self) -> bool {
        self.0.try_recv().is_ok_and(|socket| shutdown(socket, Shutdown::Both).is_ok())
    }

    /// Leaves the connection to whoever has it now.
    fn let_go(mut self) {
        drop(self.0.try_recv());
    }
}

impl Drop for Leash {
    fn drop(&mut self) {
        self.pull();
    }
}

/// One hop that let us in.
#[derive(Debug)]
pub(super) struct Link {
    hop: Hop,
    commands: mpsc::UnboundedSender<Command>,
    lost: watch::Receiver<Option<Fault>>,
    /// Awaited by `close`; after a mere drop it ends by itself, as nobody can command it any more.
    pump: JoinHandle<()>,
    /// Between libssh2, which wants a socket, and the channel of the hop before; it ends with either.
    carrier: Option<JoinHandle<()>>,
}

/// Why a channel could not be had.
#[derive(Debug)]
pub(super) enum NoChannel {
    /// The server's no.
    Refused(Refusal),
    /// The connection is gone.
    Lost(Fault),
    /// Nobody answered in time.
    TimedOut,
}

impl Link {
    /// Connects on a thread of its own, as libssh2 waits in this, and then pumps. If the future is dropped, the thread ends
    /// with its connection. `over` is the channel of the hop before, if there is one.
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

    /// Pumps for a session that is logged in.
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
            // Told before the channels go down with the pump: who sees a stream end can ask for the reason.
            if let Err(fault) = pump.run().await {
                tell_lost.send_replace(Some(fault));
            }
        });
        Ok(Self { hop, commands, lost, pump, carrier })
    }

    /// Has the server connect to there; `within` bounds the wait for its answer.
    pub(super) async fn forward(&self, host: &str, port: u16, within: Duration) -> Result<Stream, NoChannel> {
        let (local, stream) = stream::pair();
        self.open(Errand::Forward { host: host.to_owned(), port }, local, within).await.map(|()| stream)
    }

    /// Has the server start a program; `lost` is the news that its user will want, of this hop and those before.
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

    /// Where the end of the connection will be told.
    pub(super) fn news(&self) -> News {
        self.lost.clone()
    }

    /// Why the connection ended, if it did.
    pub(super) fn check(&self) -> Option<Fault> {
        self.lost.borrow().clone()
    }

    /// Resolves when the connection has ended.
    pub(super) async fn lost(&self) -> Fault {
        let mut lost = self.lost.clone();
        match lost.wait_for(Option::is_some).await {
            Ok(fault) => fault.clone().unwrap_or_else(|| crashed(&self.hop)),
            Err(_) => crashed(&self.hop),
        }
    }

    /// Ends the connection and waits for the task.
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

    /// A pump that has ended hears nothing.
    fn command(&self, command: Command) {
        drop(self.commands.send(command));
    }
}

/// Gives libssh2 a socket for a stream.
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
        // SSH has no half-closed connection: a server that does not answer any more is not waited for. How it ends is known
        // from the pumps at both of its ends.
        drop(select(up, down).await);
    });
    Ok((theirs, carrier))
}

fn defect(hop: &Hop, error: &io::Error) -> Failure {
    let cause = format!("the connection to `{hop}` could not be set up on this side");
    Failure::Final(Fault::new(Code::Bug, cause).because(error))
}

fn crashed(hop: &Hop) -> Fault {
    Fault::new(Code::Bug, format!("the task of the connection to `{hop}` ended before its time"))
}
