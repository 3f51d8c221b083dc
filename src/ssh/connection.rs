//! The handle to one hop: it owns the driver task, sends it commands and reports its end.

use super::{
    channel_open_queue::{ChannelPurpose, OpenRefusal, OpenRequest},
    driver::{Driver, DriverCommand},
    libssh2::ConnectError,
    remote_port::{RemotePort, listen_request},
    remote_process::{self, LossWatch, RemoteProcess},
    route::Hop,
    session::{self, ConnectRequest, ConnectedSession, HopSocket},
    stream::{self, ChannelStream, LocalEnd},
};
use crate::{
    fault::{Code, Fault},
    run::BastionFacts,
    way::WayStream,
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
    io::{AsyncRead, AsyncWrite, copy, split},
    sync::{mpsc, oneshot, watch},
    task::{JoinHandle, spawn_blocking},
    time::timeout,
};
use tokio_util::either::Either;

/// Extra time for name resolution, which has timeouts of its own.
const RESOLVER_GRACE: Duration = Duration::from_secs(1);

/// Time limit for the driver task to end: draining its channels and scheduling.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(3);

/// The socket of a connecting thread: dropping this ends the connection, and so the thread.
struct ConnectGuard(oneshot::Receiver<OwnedFd>);

impl ConnectGuard {
    /// Ends the connection, if there is one.
    fn shut_down_socket(&mut self) -> bool {
        self.0.try_recv().is_ok_and(|socket| shutdown(socket, Shutdown::Both).is_ok())
    }

    /// Leaves the connection open for its new owner.
    fn disarm(mut self) {
        drop(self.0.try_recv());
    }
}

impl Drop for ConnectGuard {
    fn drop(&mut self) {
        self.shut_down_socket();
    }
}

/// The stream that leads to a hop.
#[derive(Debug)]
pub(super) enum HopCarrier {
    /// A channel of the previous hop.
    Channel(ChannelStream),
    /// The way to the first hop.
    Way(WayStream),
}

/// A logged-in connection to one hop.
#[derive(Debug)]
pub(super) struct HopConnection {
    hop: Hop,
    commands: mpsc::UnboundedSender<DriverCommand>,
    loss: watch::Receiver<Option<Fault>>,
    /// Awaited by `close`; after a mere drop it ends by itself, because its command channel is closed.
    driver: JoinHandle<()>,
    /// Copies bytes between libssh2, which needs a socket, and the stream that leads to the hop; ends with either of
    /// them.
    bridge: Option<JoinHandle<()>>,
}

/// The reason why a channel was not opened.
#[derive(Debug)]
pub(super) enum OpenError {
    /// The server refused.
    Refused(OpenRefusal),
    /// The connection is lost.
    Lost(Fault),
    /// No reply came in time.
    TimedOut,
}

impl HopConnection {
    /// Connects on a separate thread, because libssh2 blocks, and then starts the driver. If the future is dropped, the
    /// connection is closed, and so the thread ends. `over` is the stream that leads to the hop, if there is one.
    pub(super) async fn connect(
        request: ConnectRequest,
        over: Option<HopCarrier>,
        keepalive: Duration,
    ) -> Result<(Self, BastionFacts), ConnectError> {
        let hop = request.hop.clone();
        let limit = request.timeout + RESOLVER_GRACE;
        let link = over.map(socket_of).transpose().map_err(|error| setup_error(&hop, &error))?;
        let (link, bridge) = link.unwrap_or((HopSocket::Dial, None));
        let (socket_sender, socket_receiver) = oneshot::channel();
        let mut guard = ConnectGuard(socket_receiver);
        let mut connecting = spawn_blocking(move || session::connect_session(request, link, socket_sender));
        let connected = match timeout(limit, &mut connecting).await {
            Err(_) if guard.shut_down_socket() => timeout(CLOSE_TIMEOUT, connecting).await,
            result => result,
        };
        let connected = match connected {
            Ok(Ok(connected)) => connected?,
            Ok(Err(_panic)) => return Err(ConnectError::Permanent(driver_crashed(&hop))),
            Err(_) => {
                let cause = format!("the name of `{hop}` was not resolved in time");
                return Err(ConnectError::Transient(Fault::new(Code::BastionTimeout, cause)));
            }
        };
        guard.disarm();
        let facts = connected.facts.clone();
        Ok((Self::start_driver(hop, connected, bridge, keepalive)?, facts))
    }

    /// Starts the driver of a logged-in session.
    #[expect(clippy::disallowed_methods, reason = "the link owns the task and awaits it in close()")]
    pub(super) fn start_driver(
        hop: Hop,
        connected: ConnectedSession,
        bridge: Option<JoinHandle<()>>,
        keepalive: Duration,
    ) -> Result<Self, ConnectError> {
        let (commands, command_receiver) = mpsc::unbounded_channel();
        let (loss_sender, loss) = watch::channel(None);
        let mut driver = Driver::new(hop.clone(), connected, command_receiver, keepalive)
            .map_err(|error| setup_error(&hop, &error))?;
        let driver = tokio::spawn(async move {
            // Published before the driver drops its channels: a user who sees a stream end can ask for the reason.
            if let Err(fault) = driver.run().await {
                loss_sender.send_replace(Some(fault));
            }
        });
        Ok(Self { hop, commands, loss, driver, bridge })
    }

    /// Asks the server to connect to this address; `limit` limits the wait for its reply.
    pub(super) async fn open_forward(
        &self,
        host: &str,
        port: u16,
        limit: Duration,
    ) -> Result<ChannelStream, OpenError> {
        let (local, stream) = stream::stream_pair();
        self.open_channel(ChannelPurpose::Forward { host: host.to_owned(), port }, local, limit).await.map(|()| stream)
    }

    /// Asks the server to start a program; `loss_watches` watches this hop and those before it, for the program's user.
    pub(super) async fn start_program(
        &self,
        line: &str,
        loss_watches: Vec<LossWatch>,
        limit: Duration,
    ) -> Result<RemoteProcess, OpenError> {
        let (local, pipes, process) = remote_process::process_pair(loss_watches);
        self.open_channel(ChannelPurpose::Exec { line: line.to_owned(), pipes }, local, limit).await.map(|()| process)
    }

    /// Asks the server to listen on a port of its loopback; `limit` limits the wait for its reply.
    pub(super) async fn listen(&self, limit: Duration) -> Result<RemotePort, OpenError> {
        let (request, response) = listen_request();
        self.send_command(DriverCommand::Listen(request));
        match timeout(limit, response).await {
            Ok(Ok(Ok(port))) => Ok(port),
            Ok(Ok(Err(refusal))) => Err(OpenError::Refused(OpenRefusal::Channel(refusal))),
            Ok(Err(_)) => Err(OpenError::Lost(self.wait_for_loss().await)),
            Err(_) => Err(OpenError::TimedOut),
        }
    }

    async fn open_channel(&self, purpose: ChannelPurpose, local: LocalEnd, limit: Duration) -> Result<(), OpenError> {
        let (reply, response) = oneshot::channel();
        self.send_command(DriverCommand::Open(OpenRequest { purpose, local, reply }));
        match timeout(limit, response).await {
            Ok(Ok(Ok(()))) => Ok(()),
            Ok(Ok(Err(refusal))) => Err(OpenError::Refused(refusal)),
            Ok(Err(_)) => Err(OpenError::Lost(self.wait_for_loss().await)),
            Err(_) => Err(OpenError::TimedOut),
        }
    }

    /// Returns a watch on the loss of the connection.
    pub(super) fn loss_watch(&self) -> LossWatch {
        self.loss.clone()
    }

    /// Returns why the connection was lost, if it was.
    pub(super) fn loss_fault(&self) -> Option<Fault> {
        self.loss.borrow().clone()
    }

    /// Waits until the connection is lost.
    pub(super) async fn wait_for_loss(&self) -> Fault {
        let mut loss = self.loss.clone();
        match loss.wait_for(Option::is_some).await {
            Ok(fault) => fault.clone().unwrap_or_else(|| driver_crashed(&self.hop)),
            Err(_) => driver_crashed(&self.hop),
        }
    }

    /// Closes the connection and waits for the task.
    pub(super) async fn close(mut self) -> Result<(), Fault> {
        self.send_command(DriverCommand::Close);
        let outcome = timeout(CLOSE_TIMEOUT, async {
            let driver_result = (&mut self.driver).await;
            match &mut self.bridge {
                Some(bridge) => driver_result.and(bridge.await),
                None => driver_result,
            }
        });
        match outcome.await {
            Ok(outcome) => outcome.map_err(|_panic| driver_crashed(&self.hop)),
            Err(_) => {
                self.driver.abort();
                let cause = format!("the connection to `{}` could not be closed in time", self.hop);
                Err(Fault::new(Code::BastionLost, cause))
            }
        }
    }

    /// A driver that has ended receives nothing.
    fn send_command(&self, command: DriverCommand) {
        drop(self.commands.send(command));
    }
}

/// Returns the socket for libssh2, and the task that moves its bytes, if it is not the network's own.
fn socket_of(carrier: HopCarrier) -> io::Result<(HopSocket, Option<JoinHandle<()>>)> {
    let (socket, bridge) = match carrier {
        HopCarrier::Way(Either::Left(stream)) => return Ok((HopSocket::Connected(stream.into_std()?.into()), None)),
        HopCarrier::Way(Either::Right(stream)) => bridge_to_socket(stream)?,
        HopCarrier::Channel(stream) => bridge_to_socket(stream)?,
    };
    Ok((HopSocket::Connected(socket.into()), Some(bridge)))
}

/// Connects a stream to a socket for libssh2.
#[expect(clippy::disallowed_methods, reason = "the link owns the task and awaits it in close()")]
fn bridge_to_socket(stream: impl AsyncRead + AsyncWrite + Send + 'static) -> io::Result<(UnixStream, JoinHandle<()>)> {
    let (near, session_socket) = UnixStream::pair()?;
    near.set_nonblocking(true)?;
    session_socket.set_nonblocking(true)?;
    let near = tokio::net::UnixStream::from_std(near)?;
    let task = tokio::spawn(async move {
        let ((mut ours_in, mut ours_out), (mut stream_in, mut stream_out)) = (split(near), split(stream));
        let up = pin!(copy(&mut ours_in, &mut stream_out));
        let down = pin!(copy(&mut stream_in, &mut ours_out));
        // SSH has no half-closed connection, so an unresponsive server is not waited for. The drivers at both ends
        // report how the connection ended.
        drop(select(up, down).await);
    });
    Ok((session_socket, task))
}

fn setup_error(hop: &Hop, error: &io::Error) -> ConnectError {
    let cause = format!("the connection to `{hop}` could not be set up on this side");
    ConnectError::Permanent(Fault::new(Code::Bug, cause).with_causes(error))
}

fn driver_crashed(hop: &Hop) -> Fault {
    Fault::new(Code::Bug, format!("the task of the connection to `{hop}` ended unexpectedly"))
}
