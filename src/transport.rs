//! Streams to the database: through the tunnel, or by the way in alone when no bastion is configured.

use crate::{
    fault::{Code, Fault, Stage},
    run::event::{Event, Events},
    ssh::{Route, Tunnel},
    way::{OpenWay, WayIn, WayStream},
};
use std::{io::ErrorKind, net::IpAddr, time::Duration};
use tokio::{
    net::{TcpStream, lookup_host},
    time::timeout,
};
use tokio_util::either::Either;

pub use crate::ssh::{ChannelStream, RemotePort};

/// A stream to the database.
pub type TransportStream = Either<WayStream, ChannelStream>;

/// An open route to the database.
#[derive(Debug)]
pub enum Transport {
    /// Directly, without a bastion.
    Direct,
    /// Without a bastion, by another way than a connection from here.
    Way(OpenWay),
    /// Through the bastion.
    Tunnel(Tunnel),
}

/// Time limit for a direct connection; a bastion has its own `connect-timeout`.
const DIRECT_TIMEOUT: Duration = Duration::from_secs(30);

/// Fix for a failed direct connection, which usually was not meant to be direct.
const DIRECT_FIX: &str = "check host and port of the database; without `ssh-host` the connection is made directly from here, so set \
    `ssh-host` if the database is behind a bastion";

const LOOPBACK_BEHIND_BASTION: &str = "set the database's host to the name or address by which the bastion knows it; if PostgreSQL runs on the \
    bastion itself, check that it listens on this port";

const LOOPBACK_HERE: &str = "for a service container, set the database's host to the container's name under `services:` (such as `postgres`), its port to \
    the one inside the container (5432), and `database-sslmode: disable`; for a database behind a bastion, set `ssh-host`, and \
    the database's host to the name or address by which the bastion knows it";

/// Returns whether a host is the machine, or the container, that connects to it.
#[must_use]
pub fn is_loopback(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost") || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

impl Transport {
    /// Opens the way in, and connects to the bastion, if there is one.
    ///
    /// # Errors
    /// The fault of the way or of the SSH connection.
    pub async fn connect(route: Option<&Route>, way: &WayIn, events: &Events) -> Result<Self, Fault> {
        let Some(route) = route else {
            return match way.is_direct() {
                true => Ok(Self::Direct),
                false => Ok(Self::Way(
                    Box::pin(OpenWay::open(way, events)).await.map_err(|fault| fault.in_stage(Stage::Database))?,
                )),
            };
        };
        let (tunnel, facts) = Tunnel::connect(route, way, events).await?;
        events.emit(Event::Bastion(facts));
        Ok(Self::Tunnel(tunnel))
    }

    /// Opens another stream to the database.
    ///
    /// # Errors
    /// The reason why none could be opened, as seen from the bastion.
    pub async fn open_stream(&self, host: &str, port: u16) -> Result<TransportStream, Fault> {
        match self {
            Self::Tunnel(tunnel) => tunnel.open_stream(host, port).await.map(Either::Right),
            Self::Way(way) => match Box::pin(way.open_stream(host, port, DIRECT_TIMEOUT)).await {
                Ok(Some(stream)) => Ok(Either::Left(stream)),
                Ok(None) => dial_database(host, port).await.map(|stream| Either::Left(Either::Left(stream))),
                Err(fault) => Err(fault),
            },
            Self::Direct => dial_database(host, port).await.map(|stream| Either::Left(Either::Left(stream))),
        }
        .map_err(|fault| match fault.code {
            Code::DatabaseRefused if is_loopback(host) => self.explain_loopback(fault, host),
            _ => fault,
        })
    }

    /// Explains a refused connection to a loopback address: usually the database runs on another machine.
    fn explain_loopback(&self, fault: Fault, host: &str) -> Fault {
        let (location, fix) = match self {
            Self::Tunnel(_) => ("the bastion itself", LOOPBACK_BEHIND_BASTION),
            Self::Direct | Self::Way(_) => {
                ("where bastion-migrate itself runs, which in a workflow is the action's own container", LOOPBACK_HERE)
            }
        };
        Fault { cause: format!("{}; here `{host}` is {location}", fault.cause), ..fault }.fix(fix)
    }

    /// Returns the SSH connection, if there is one.
    #[must_use]
    pub fn tunnel(&self) -> Option<&Tunnel> {
        match self {
            Self::Tunnel(tunnel) => Some(tunnel),
            Self::Direct | Self::Way(_) => None,
        }
    }

    /// Returns why the route was lost, if it was: the connection to a hop, or the last stream of a command.
    #[must_use]
    pub fn loss_fault(&self) -> Option<Fault> {
        match self {
            Self::Tunnel(tunnel) => tunnel.loss_fault(),
            Self::Way(way) => way.failure(),
            Self::Direct => None,
        }
    }

    /// Waits until the route is lost as a whole, which one without a bastion never is: each of its streams is a
    /// connection of its own.
    pub async fn wait_for_loss(&self) -> Fault {
        match self {
            Self::Tunnel(tunnel) => tunnel.wait_for_loss().await,
            Self::Direct | Self::Way(_) => std::future::pending().await,
        }
    }

    /// Closes the route.
    ///
    /// # Errors
    /// If it could not be closed in time.
    pub async fn close(self) -> Result<(), Fault> {
        match self {
            Self::Tunnel(tunnel) => tunnel.close().await,
            Self::Way(way) => way.close().await,
            Self::Direct => Ok(()),
        }
    }
}

async fn dial_database(host: &str, port: u16) -> Result<TcpStream, Fault> {
    let address = format!("{host}:{port}");
    let fault = |code, problem: &str| Fault::new(code, format!("`{address}` {problem}"));
    let Ok(addresses) = lookup_host((host, port)).await else {
        return Err(fault(Code::DatabaseUnknown, "has no address here").fix(DIRECT_FIX));
    };
    let addresses: Vec<_> = addresses.collect();
    match timeout(DIRECT_TIMEOUT, TcpStream::connect(addresses.as_slice())).await {
        Err(_) => Err(fault(Code::DatabaseTimeout, "does not answer").fix(DIRECT_FIX)),
        Ok(Err(error)) if error.kind() == ErrorKind::TimedOut => {
            Err(fault(Code::DatabaseTimeout, "does not answer").fix(DIRECT_FIX))
        }
        Ok(Err(error)) => {
            Err(fault(Code::DatabaseRefused, "refuses the connection").fix(DIRECT_FIX).with_causes(&error))
        }
        Ok(Ok(stream)) => {
            // Small queries must not wait for the acknowledgement of the previous one; a socket without this option
            // works, too.
            drop(stream.set_nodelay(true));
            Ok(stream)
        }
    }
}
