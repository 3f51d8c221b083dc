//! The handle to one hop: its thread, the way to command it, the news of its end.

use super::{
    Hop,
    pump::{Command, Errand, Pump, Refusal},
    session::{self, Approach, Failure},
};
use crate::{
    fault::{Code, Fault},
    run::event::BastionFacts,
};
use std::{
    convert::Infallible,
    io::{self, Write as _},
    os::unix::net::UnixStream,
    sync::mpsc,
    thread,
    time::Duration,
};
use tokio::{
    sync::{oneshot, watch},
    time::timeout,
};

/// Name resolution has timeouts of its own; nobody waits for them longer than this after ours.
const RESOLVER_GRACE: Duration = Duration::from_secs(1);

/// How long a thread may take to end: its farewell and the scheduling around it.
const ENDING: Duration = Duration::from_secs(3);

/// One hop that let us in.
#[derive(Debug)]
pub(super) struct Link {
    hop: Hop,
    commands: mpsc::Sender<Command>,
    wake: UnixStream,
    lost: watch::Receiver<Option<Fault>>,
    /// Nothing is ever sent: its other end goes with the thread.
    ended: oneshot::Receiver<Infallible>,
    /// Joined by `close`; after a mere drop it ends by itself.
    thread: thread::JoinHandle<()>,
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
    /// Connects on a new thread, which then pumps. If the future is dropped, the thread ends by its own timeouts.
    pub(super) async fn connect(approach: Approach, keepalive: Duration) -> Result<(Self, BastionFacts), Failure> {
        let hop = approach.hop.clone();
        let patience = approach.timeout + RESOLVER_GRACE;
        let defect = |error: io::Error| {
            let cause = format!("no thread for the connection to `{hop}` could be started");
            Failure::Final(Fault::new(Code::Bug, cause).because(&error))
        };
        let (commands, orders) = mpsc::channel();
        let (wake, woken) = UnixStream::pair().map_err(defect)?;
        for end in [&wake, &woken] {
            end.set_nonblocking(true).map_err(defect)?;
        }
        let (tell_ready, ready) = oneshot::channel();
        let (tell_lost, lost) = watch::channel(None);
        let (tell_ended, ended) = oneshot::channel::<Infallible>();
        let work = move || {
            connect_and_pump(approach, keepalive, (orders, woken), tell_ready, &tell_lost);
            drop(tell_ended);
        };
        let thread = thread::Builder::new().name("ssh-pump".to_owned()).spawn(work).map_err(defect)?;
        let facts = match timeout(patience, ready).await {
            Ok(Ok(facts)) => facts?,
            Ok(Err(_)) => return Err(Failure::Final(crashed(&hop))),
            Err(_) => {
                let cause = format!("the name of `{hop}` was not resolved in time");
                return Err(Failure::Transport(Fault::new(Code::BastionTimeout, cause)));
            }
        };
        Ok((Self { hop, commands, wake, lost, ended, thread }, facts))
    }

    /// Opens a channel; `within` bounds the wait for the server's answer.
    pub(super) async fn open(&self, errand: Errand, within: Duration) -> Result<UnixStream, NoChannel> {
        let (answer, answered) = oneshot::channel();
        self.command(Command::Open(errand, answer));
        match timeout(within, answered).await {
            Ok(Ok(Ok(stream))) => Ok(stream),
            Ok(Ok(Err(refusal))) => Err(NoChannel::Refused(refusal)),
            Ok(Err(_)) => Err(NoChannel::Lost(self.lost().await)),
            Err(_) => Err(NoChannel::TimedOut),
        }
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

    /// Ends the connection and waits for the thread.
    pub(super) async fn close(self) -> Result<(), Fault> {
        self.command(Command::Close);
        let ended = timeout(ENDING, self.ended).await;
        if ended.is_err() {
            let cause = format!("the connection to `{}` could not be closed in time", self.hop);
            return Err(Fault::new(Code::BastionLost, cause));
        }
        self.thread.join().map_err(|_panic| crashed(&self.hop))
    }

    /// A command, then a byte: the pump empties the wake socket first and the commands after. A full wake socket wakes as
    /// well, and a pump that has ended hears nothing.
    fn command(&self, command: Command) {
        drop(self.commands.send(command));
        drop((&self.wake).write(&[0]));
    }
}

type Orders = (mpsc::Receiver<Command>, UnixStream);
type Ready = oneshot::Sender<Result<BastionFacts, Failure>>;

fn connect_and_pump(
    approach: Approach,
    keepalive: Duration,
    (commands, wake): Orders,
    ready: Ready,
    lost: &watch::Sender<Option<Fault>>,
) {
    let hop = approach.hop.clone();
    let connected = match session::connect(approach) {
        Ok(connected) => connected,
        Err(failure) => return drop(ready.send(Err(failure))),
    };
    if ready.send(Ok(connected.facts.clone())).is_err() {
        return;
    }
    let mut pump = Pump::new(hop, connected, wake, commands, keepalive);
    // Told before the channels go down with the pump: who sees a stream end can ask for the reason.
    if let Err(fault) = pump.run() {
        lost.send_replace(Some(fault));
    }
}

fn crashed(hop: &Hop) -> Fault {
    Fault::new(Code::Bug, format!("the thread of the connection to `{hop}` ended before its time"))
}
