//! The live SSH connection, hop by hop, as everybody else sees it.

use super::{
    connection::{Link, NoChannel},
    forward::reach,
    host_key::Pins,
    open_queue::Refusal,
    process::Process,
    route::{Hop, Route},
    session::{Approach, Failure},
    stream::Stream,
};
use crate::{
    fault::{Code, Fault, Stage},
    run::{
        BastionFacts,
        event::{Event, Events},
    },
};
use futures_util::future::select_all;
use std::time::Duration;
use tokio::time::sleep;

/// Pauses before the second and the third try: long enough for an sshd that restarts, and too few to look like an attack.
const BACKOFF: [Duration; 2] = [Duration::from_millis(500), Duration::from_secs(2)];

/// The connection to the bastion. Dropping it ends it without waiting; `close` waits and says what went wrong.
#[derive(Debug)]
pub struct Tunnel {
    /// In the order in which they were dialled; never empty.
    links: Vec<Link>,
    bastion: Hop,
    connect_timeout: Duration,
}

impl Tunnel {
    /// Connects hop by hop. Only failures of the network are tried again, each with one connection, and told.
    ///
    /// # Errors
    /// A fault of the stage `bastion` that names the hop.
    pub async fn connect(route: &Route, events: &Events) -> Result<(Self, BastionFacts), Fault> {
        let mut links: Vec<Link> = Vec::with_capacity(route.hops.len());
        let mut reached = None;
        for (number, hop) in (1..).zip(&route.hops) {
            let fingerprint = route.fingerprint.as_deref().filter(|_| number == route.hops.len());
            let pins = Pins::read(route.known_hosts.as_deref(), fingerprint)?;
            let before = links.last().zip(reached.as_ref().map(|(hop, _)| *hop));
            match link(route, hop, &pins, before, events).await {
                Ok((link, facts)) => {
                    links.push(link);
                    reached = Some((hop, facts));
                }
                Err(fault) => {
                    let cause = links.iter().find_map(Link::check);
                    close_all(links).await.unwrap_or_default();
                    return Err(cause.unwrap_or(fault).at(Stage::Bastion));
                }
            }
        }
        let (bastion, facts) =
            reached.ok_or_else(|| Fault::new(Code::Bug, "a route without a hop was to be connected"))?;
        let tunnel = Self { links, bastion: bastion.clone(), connect_timeout: route.connect_timeout };
        Ok((tunnel, facts))
    }

    /// Has the bastion connect to a place, as it resolves the name.
    ///
    /// # Errors
    /// `ForwardingForbidden`, `DatabaseRefused`, `DatabaseUnknown`, `DatabaseTimeout`, `BastionLost`.
    pub async fn open(&self, host: &str, port: u16) -> Result<Stream, Fault> {
        let Some(link) = self.links.last() else {
            return Err(Fault::new(Code::Bug, "a tunnel without a hop was to be used"));
        };
        let stream = reach(link, host, port, self.connect_timeout).await;
        stream.map_err(|why| self.check().unwrap_or_else(|| why.for_database(&self.bastion, host, port)))
    }

    /// Starts a program on the bastion, by the shell of the login. The line is in the bastion's process list: nothing secret
    /// in it.
    ///
    /// # Errors
    /// `exec-refused`, `exec-no-channel`, `bastion-timeout`, `bastion-lost`.
    pub async fn exec(&self, line: &str) -> Result<Process, Fault> {
        let Some(link) = self.links.last() else {
            return Err(Fault::new(Code::Bug, "a tunnel without a hop was to be used"));
        };
        let lost = self.links.iter().map(Link::news).collect();
        let fault = match link.run(line, lost, self.connect_timeout).await {
            Ok(process) => return Ok(process),
            Err(NoChannel::Refused(Refusal::Channel(said))) => {
                let cause = format!("`{}` opens no channel for a command: {said}", self.bastion);
                Fault::new(Code::ExecNoChannel, cause)
            }
            Err(NoChannel::Refused(Refusal::Program(_))) => {
                Fault::new(Code::ExecRefused, format!("`{}` runs no commands for this login", self.bastion))
            }
            Err(NoChannel::TimedOut) => {
                Fault::new(Code::BastionTimeout, format!("`{}` does not answer a command", self.bastion))
            }
            Err(NoChannel::Lost(fault)) => fault,
        };
        Err(self.check().unwrap_or(fault))
    }

    /// Why the connection broke, if it did: the first hop of the way that broke.
    #[must_use]
    pub fn check(&self) -> Option<Fault> {
        self.links.iter().find_map(Link::check)
    }

    /// Resolves when the connection breaks. Several may wait, and each may stop waiting.
    pub async fn lost(&self) -> Fault {
        let (fault, ..) = select_all(self.links.iter().map(|link| Box::pin(link.lost()))).await;
        self.check().unwrap_or(fault)
    }

    /// Ends the connection, last hop first, and waits until nothing of it is left.
    ///
    /// # Errors
    /// What went wrong on the way out.
    pub async fn close(mut self) -> Result<(), Fault> {
        close_all(std::mem::take(&mut self.links)).await
    }
}

impl Drop for Tunnel {
    /// The last hop hears first that it is over, as the ones before carry its farewell.
    fn drop(&mut self) {
        while let Some(link) = self.links.pop() {
            drop(link);
        }
    }
}

async fn close_all(links: Vec<Link>) -> Result<(), Fault> {
    let mut outcome = Ok(());
    for link in links.into_iter().rev() {
        outcome = outcome.and(link.close().await);
    }
    outcome
}

async fn link(
    route: &Route,
    hop: &Hop,
    pins: &Pins,
    before: Option<(&Link, &Hop)>,
    events: &Events,
) -> Result<(Link, BastionFacts), Fault> {
    let mut pauses = BACKOFF.into_iter();
    loop {
        let fault = match try_once(route, hop, pins, before).await {
            Ok(connected) => return Ok(connected),
            Err(Failure::Final(fault)) => return Err(fault),
            Err(Failure::Transport(fault)) => fault,
        };
        let Some(pause) = pauses.next() else { return Err(fault) };
        events.tell(Event::Waiting { what: format!("the connection to {hop}"), why: fault.cause });
        sleep(pause).await;
    }
}

async fn try_once(
    route: &Route,
    hop: &Hop,
    pins: &Pins,
    before: Option<(&Link, &Hop)>,
) -> Result<(Link, BastionFacts), Failure> {
    let timeout = route.connect_timeout;
    let over = match before {
        None => None,
        Some((link, before)) => {
            let stream = reach(link, &hop.host, hop.port, timeout).await;
            Some(stream.map_err(|why| why.for_hop(before, hop))?)
        }
    };
    let approach = Approach { hop: hop.clone(), login: route.login.clone(), pins: pins.clone(), timeout };
    Link::connect(approach, over, route.keepalive).await
}
