//! The SSH connection through all hops, as other modules use it.

use super::{
    channel_open_queue::OpenRefusal,
    connection::{HopCarrier, HopConnection, OpenError},
    forward::connect_through,
    host_key::HostKeyPins,
    libssh2::ConnectError,
    remote_port::RemotePort,
    remote_process::RemoteProcess,
    route::{Hop, Route},
    session::ConnectRequest,
    stream::ChannelStream,
};
use crate::{
    fault::{Code, Fault, Stage},
    run::{
        BastionFacts,
        event::{Event, Events},
    },
    way::{OpenWay, WayIn, may_pass},
};
use futures_util::future::select_all;
use std::time::Duration;
use tokio::time::sleep;

/// Pauses before the second and third attempt: long enough for an sshd that restarts, and too few to look like an
/// attack.
const BACKOFF: [Duration; 2] = [Duration::from_millis(500), Duration::from_secs(2)];

/// A connection to the bastion. Dropping it closes it without waiting; `close` waits and reports errors.
#[derive(Debug)]
pub struct Tunnel {
    /// The connections in the order in which they were dialled; never empty.
    connections: Vec<HopConnection>,
    /// The way to the first hop; `None` once it is closed.
    way: Option<OpenWay>,
    bastion: Hop,
    connect_timeout: Duration,
}

impl Tunnel {
    /// Opens the way in and connects hop by hop. Only network failures are retried; each retry is one new connection and one event.
    ///
    /// # Errors
    /// A fault of the stage `bastion` that names the hop.
    pub async fn connect(route: &Route, way: &WayIn, events: &Events) -> Result<(Self, BastionFacts), Fault> {
        let way = Box::pin(OpenWay::open(way, events)).await.map_err(|fault| fault.in_stage(Stage::Bastion))?;
        let mut connections: Vec<HopConnection> = Vec::with_capacity(route.hops.len());
        let mut last_hop = None;
        for (number, hop) in (1..).zip(&route.hops) {
            let fingerprint = route.fingerprint.as_deref().filter(|_| number == route.hops.len());
            let pins = HostKeyPins::parse(route.known_hosts.as_deref(), fingerprint)?;
            let before = match connections.last().zip(last_hop.as_ref().map(|(hop, _)| *hop)) {
                Some((connection, hop)) => HopOrigin::Hop(connection, hop),
                None => HopOrigin::Here(&way),
            };
            match connect_hop(route, hop, &pins, before, events).await {
                Ok((connection, facts)) => {
                    connections.push(connection);
                    last_hop = Some((hop, facts));
                }
                Err(fault) => {
                    let cause = connections.iter().find_map(HopConnection::loss_fault);
                    close_all(connections).await.unwrap_or_default();
                    way.close().await.unwrap_or_default();
                    return Err(cause.unwrap_or(fault).in_stage(Stage::Bastion));
                }
            }
        }
        let (bastion, facts) = last_hop.ok_or_else(|| Fault::new(Code::Bug, "the route to connect has no hop"))?;
        Ok((Self::of_hops(connections, way, bastion, route.connect_timeout), facts))
    }

    /// Returns the connection that consists of these hops, in the order in which they were dialled; never none.
    pub(super) fn of_hops(
        connections: Vec<HopConnection>,
        way: OpenWay,
        bastion: &Hop,
        connect_timeout: Duration,
    ) -> Self {
        Self { connections, way: Some(way), bastion: bastion.clone(), connect_timeout }
    }

    /// Returns the connections to the hops, in the order in which they were dialled.
    pub(super) fn connections(&self) -> &[HopConnection] {
        &self.connections
    }

    /// Asks the bastion to connect to an address; the bastion resolves the name.
    ///
    /// # Errors
    /// `forwarding-forbidden`, `database-refused`, `database-unknown`, `database-timeout`, `bastion-lost`.
    pub async fn open_stream(&self, host: &str, port: u16) -> Result<ChannelStream, Fault> {
        let Some(connection) = self.connections.last() else {
            return Err(Fault::new(Code::Bug, "the tunnel to use has no hop"));
        };
        let stream = connect_through(connection, host, port, self.connect_timeout).await;
        stream.map_err(|error| self.loss_fault().unwrap_or_else(|| error.for_database(&self.bastion, host, port)))
    }

    /// Starts a program on the bastion, through the login shell. The line is visible in the bastion's process list: it
    /// must contain no secret.
    ///
    /// # Errors
    /// `exec-refused`, `exec-no-channel`, `bastion-timeout`, `bastion-lost`.
    pub async fn start_program(&self, line: &str) -> Result<RemoteProcess, Fault> {
        let Some(connection) = self.connections.last() else {
            return Err(Fault::new(Code::Bug, "the tunnel to use has no hop"));
        };
        let loss_watches = self.connections.iter().map(HopConnection::loss_watch).collect();
        let fault = match connection.start_program(line, loss_watches, self.connect_timeout).await {
            Ok(process) => return Ok(process),
            Err(OpenError::Refused(OpenRefusal::Channel(message))) => {
                let cause = format!("`{}` opens no channel for a command: {message}", self.bastion);
                Fault::new(Code::ExecNoChannel, cause)
            }
            Err(OpenError::Refused(OpenRefusal::Program(_))) => {
                Fault::new(Code::ExecRefused, format!("`{}` runs no commands for this login", self.bastion))
            }
            Err(OpenError::TimedOut) => {
                Fault::new(Code::BastionTimeout, format!("`{}` does not answer a command", self.bastion))
            }
            Err(OpenError::Lost(fault)) => fault,
        };
        Err(self.loss_fault().unwrap_or(fault))
    }

    /// Asks the last hop to listen on a free port of its loopback.
    ///
    /// # Errors
    /// `forwarding-forbidden`, `bastion-timeout`, `bastion-lost`.
    pub async fn listen(&self) -> Result<RemotePort, Fault> {
        let Some(connection) = self.connections.last() else {
            return Err(Fault::new(Code::Bug, "the tunnel to use has no hop"));
        };
        let fault = match connection.listen(self.connect_timeout).await {
            Ok(port) => return Ok(port),
            Err(OpenError::Refused(_)) => {
                let cause =
                    format!("`{}` lets no connections come back through SSH (`AllowTcpForwarding`)", self.bastion);
                let fix = "set `AllowTcpForwarding yes` or `remote` in its sshd_config, for this login, and remove `DisableForwarding` and \
                           `restrict` from its line in authorized_keys";
                Fault::new(Code::ForwardingForbidden, cause).fix(fix)
            }
            Err(OpenError::TimedOut) => {
                Fault::new(Code::BastionTimeout, format!("`{}` does not answer the request for a port", self.bastion))
            }
            Err(OpenError::Lost(fault)) => fault,
        };
        Err(self.loss_fault().unwrap_or(fault))
    }

    /// Returns why the connection was lost, if it was: the fault of the first hop that was lost.
    #[must_use]
    pub fn loss_fault(&self) -> Option<Fault> {
        let lost = self.connections.iter().find_map(HopConnection::loss_fault)?;
        Some(match self.way.as_ref().and_then(OpenWay::failure) {
            Some(failure) => Fault { cause: format!("{}: {}", lost.cause, failure.cause), ..lost },
            None => lost,
        })
    }

    /// Waits until the connection is lost. Several callers may wait, and each may stop waiting.
    pub async fn wait_for_loss(&self) -> Fault {
        let (fault, ..) =
            select_all(self.connections.iter().map(|connection| Box::pin(connection.wait_for_loss()))).await;
        self.loss_fault().unwrap_or(fault)
    }

    /// Closes the connection, last hop first, and waits until nothing of it is left.
    ///
    /// # Errors
    /// The first error while closing.
    pub async fn close(mut self) -> Result<(), Fault> {
        let closed = close_all(std::mem::take(&mut self.connections)).await;
        match self.way.take() {
            Some(way) => closed.and(way.close().await),
            None => closed,
        }
    }
}

impl Drop for Tunnel {
    /// Drops the last hop first, because the previous ones carry its disconnect message.
    fn drop(&mut self) {
        while let Some(connection) = self.connections.pop() {
            drop(connection);
        }
    }
}

pub(super) async fn close_all(connections: Vec<HopConnection>) -> Result<(), Fault> {
    let mut outcome = Ok(());
    for connection in connections.into_iter().rev() {
        outcome = outcome.and(connection.close().await);
    }
    outcome
}

async fn connect_hop(
    route: &Route,
    hop: &Hop,
    pins: &HostKeyPins,
    before: HopOrigin<'_>,
    events: &Events,
) -> Result<(HopConnection, BastionFacts), Fault> {
    let mut pauses = BACKOFF.into_iter();
    loop {
        let fault = match try_connect_hop(route, hop, pins, before).await {
            Ok(connected) => return Ok(connected),
            Err(ConnectError::Permanent(fault)) => return Err(fault),
            Err(ConnectError::Transient(fault)) => fault,
        };
        let Some(pause) = pauses.next() else { return Err(fault) };
        events.emit(Event::Waiting { what: format!("the connection to {hop}"), why: fault.cause });
        sleep(pause).await;
    }
}

/// The machine from which a hop is reached.
#[derive(Debug, Clone, Copy)]
pub(super) enum HopOrigin<'a> {
    /// This one, over the way in: for the first hop.
    Here(&'a OpenWay),
    /// The previous hop.
    Hop(&'a HopConnection, &'a Hop),
}

/// Connects to a hop, over the way in or the channel of the hop before.
pub(super) async fn try_connect_hop(
    route: &Route,
    hop: &Hop,
    pins: &HostKeyPins,
    before: HopOrigin<'_>,
) -> Result<(HopConnection, BastionFacts), ConnectError> {
    let timeout = route.connect_timeout;
    let carrier = match before {
        HopOrigin::Here(way) => {
            let stream = Box::pin(way.open_stream(&hop.host, hop.port, timeout)).await;
            stream.map_err(by_retry)?.map(HopCarrier::Way)
        }
        HopOrigin::Hop(connection, before) => {
            let stream = connect_through(connection, &hop.host, hop.port, timeout).await;
            Some(HopCarrier::Channel(stream.map_err(|error| error.for_hop(before, hop))?))
        }
    };
    let request = ConnectRequest { hop: hop.clone(), login: route.login.clone(), pins: pins.clone(), timeout };
    let connected = HopConnection::connect(request, carrier, route.keepalive).await;
    match (connected, before) {
        // A command that ended is the cause of whatever was missing from its stream.
        (Err(error), HopOrigin::Here(way)) => Err(way.failure().map_or(error, ConnectError::Permanent)),
        (connected, _) => connected,
    }
}

fn by_retry(fault: Fault) -> ConnectError {
    if may_pass(&fault) { ConnectError::Transient(fault) } else { ConnectError::Permanent(fault) }
}
