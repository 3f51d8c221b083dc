//! The tunnel's end at which containers find the database: on the loopback that they share with us, at the database's own port.

use super::{
    container_spec::{self, Access, LOOPBACK, Terms},
    transcript::Around,
};
use crate::{
    fault::{Code, Fault},
    github::runner::Runner,
    proxy::{Injected, Listener, Passage},
    settings::Settings,
    transport::Transport,
};
use futures_util::future::{Either, pending, select};
use std::{
    convert::Infallible,
    fmt,
    fs::OpenOptions,
    io::Write as _,
    net::{Ipv4Addr, SocketAddr},
    pin::{Pin, pin},
    rc::Rc,
    time::Instant,
};

/// Closed until it is opened; dropping it closes it.
#[derive(Debug)]
pub(crate) struct TunnelEnd<'a> {
    settings: &'a Settings,
    runner: &'a Runner,
    listener: Option<Rc<Listener>>,
}

impl<'a> TunnelEnd<'a> {
    pub(crate) fn new(settings: &'a Settings, runner: &'a Runner) -> Self {
        Self { settings, runner, listener: None }
    }

    /// Opens it, if there is a tunnel and a database at its other end.
    ///
    /// # Errors
    /// `listener-unavailable`.
    pub(crate) async fn open(&mut self) -> Result<(), Fault> {
        let (Some(database), true) = (&self.settings.database, self.settings.route.is_some()) else { return Ok(()) };
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, database.port));
        let injected = self.injected(Terms::of(self.settings, Access::Reading));
        let listener = Listener::bind(address, self.settings.passage, injected).await.map_err(|error| {
            let cause = format!("the tunnel's end can't be opened at {LOOPBACK}:{}", database.port);
            Fault::new(Code::ListenerUnavailable, cause).because(&error)
        })?;
        if container_spec::keeps_its_name(self.settings, database) {
            name_loopback(&database.host)?;
        }
        self.listener = Some(Rc::new(listener));
        Ok(())
    }

    /// What the sessions of containers are told.
    pub(crate) fn injected(&self, terms: Terms) -> Injected {
        container_spec::injected(self.settings, self.runner, terms)
    }

    /// Has the sessions that begin from now on be told so.
    ///
    /// # Errors
    /// `listener-unavailable`: they can't be.
    pub(crate) fn tell(&self, terms: Terms) -> Result<(), Fault> {
        let told = self.listener.as_ref().map_or(Ok(()), |listener| listener.inject(self.injected(terms)));
        told.map_err(|error| Fault::new(Code::ListenerUnavailable, "the tunnel's end can't be told").because(&error))
    }

    /// Its port, if it is open.
    pub(crate) fn port(&self) -> Option<u16> {
        self.listener.as_ref().and_then(|listener| listener.address().ok()).map(|address| address.port())
    }

    /// Lets through whoever comes, for as long as it is polled. Dropping it ends the connections of all who came.
    pub(crate) fn serve(&self, reach: &Rc<Transport>) -> Serving {
        match (self.listener.clone(), self.settings.database.clone()) {
            (Some(listener), Some(database)) => {
                let reach = Rc::clone(reach);
                Serving(Box::pin(async move { listener.serve(&reach, &database).await }))
            }
            _ => Serving(Box::pin(pending())),
        }
    }

    /// What it has seen so far.
    pub(crate) fn around(&self) -> Around {
        Around {
            trouble: self.listener.as_deref().and_then(Listener::last_fault),
            error: self.listener.as_deref().and_then(Listener::last_error),
        }
    }

    /// The backends of what came through, as far as they could be seen.
    pub(crate) fn pids(&self) -> Vec<i32> {
        self.listener.as_deref().map(Listener::pids).unwrap_or_default()
    }

    /// When the database last answered somebody in plain sight.
    pub(super) fn answered(&self) -> Option<Instant> {
        self.listener.as_deref().and_then(Listener::answered)
    }

    /// How many have come so far, if it is open.
    pub(crate) fn connections(&self) -> Option<u64> {
        self.listener.as_deref().map(|listener| listener.traffic().connections)
    }

    /// What becomes of the tool's TLS.
    pub(super) fn passage(&self) -> Passage {
        self.listener.as_deref().map_or(self.settings.passage, Listener::passage)
    }

    /// Lets the tool's own TLS through from now on, if it has demanded that and was told to go on in plain text; says so then.
    pub(super) fn heed_demand(&self) -> Option<&'static str> {
        let listener = self.listener.as_deref().filter(|listener| listener.passage() == Passage::Bridged)?;
        (listener.traffic().declined > 0).then(|| {
            listener.let_through();
            "the tool demands TLS of its own, so that goes through to the database from now on; with `database-sslmode: require` it does at once"
        })
    }

    /// By which way our settings reached the sessions of what came through.
    pub(crate) fn settings_way(&self) -> String {
        match (&self.listener, self.passage()) {
            (Some(listener), Passage::Bridged) => {
                let traffic = listener.traffic();
                format!("by the start-up packet of {} of {} connections", traffic.settled, traffic.connections)
            }
            (Some(_), Passage::Untouched) => "by PGOPTIONS: the tool's own TLS passes the tunnel untouched".to_owned(),
            (None, _) => "by PGOPTIONS: there is no tunnel".to_owned(),
        }
    }
}

/// The connections that go on through the end while somebody works.
pub(crate) struct Serving(Pin<Box<dyn Future<Output = Infallible>>>);

impl Serving {
    /// Lets the work go on.
    pub(crate) async fn during<T>(&mut self, work: impl Future<Output = T>) -> T {
        match select(pin!(work), &mut self.0).await {
            Either::Left((done, _)) => done,
            Either::Right((never, _)) => match never {},
        }
    }
}

impl fmt::Debug for Serving {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Serving")
    }
}

/// Writes the database's name into our own `/etc/hosts`, which a container that joins our network shares.
fn name_loopback(host: &str) -> Result<(), Fault> {
    let written =
        OpenOptions::new().append(true).open(HOSTS).and_then(|mut hosts| writeln!(hosts, "{LOOPBACK} {host}"));
    written.map_err(|error| {
        Fault::new(Code::ListenerUnavailable, format!("`{HOSTS}` can't be written"))
            .because(&error)
            .fix("run it as a step of a workflow, whose container has a file of its own there")
    })
}

const HOSTS: &str = "/etc/hosts";
