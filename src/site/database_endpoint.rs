//! The endpoint at which containers find the database: on the loopback that they share with us, at the database's own
//! port.

use super::{
    container_spec::{self, LOOPBACK, SessionAccess, SessionTerms},
    transcript::ProxyFindings,
};
use crate::{
    fault::{Code, Fault},
    github::runner::Runner,
    postgres::{DatabaseTarget, SessionSettings, SettingsDelivery},
    proxy::{ClientTls, ProxyListener, SessionWatch, StandIn},
    run::event::Events,
    secret::Secret,
    settings::Settings,
    ssh::Tunnel,
    transport::Transport,
};
use futures_util::future::{Either, pending, select};
use std::{
    cell::Cell,
    convert::Infallible,
    fmt,
    fs::OpenOptions,
    io::{self, Write as _},
    net::{Ipv4Addr, SocketAddr},
    pin::{Pin, pin},
    rc::Rc,
    time::Instant,
};

/// The report of settings that don't reach a tool's sessions.
pub(super) const NOT_THROUGH_POOLER: &str = "not delivered: a connection pooler does not pass on those of a log-in, so our `lock-timeout` and \
     `statement-timeout` do not apply to the tool";

/// The endpoint; closed until it is opened, and closed by being dropped.
#[derive(Debug)]
pub(crate) struct DatabaseEndpoint<'a> {
    settings: &'a Settings,
    runner: &'a Runner,
    listener: Option<Rc<ProxyListener>>,
    /// The way in which settings reach sessions with the database.
    delivery: Cell<SettingsDelivery>,
}

impl<'a> DatabaseEndpoint<'a> {
    pub(crate) fn new(settings: &'a Settings, runner: &'a Runner) -> Self {
        Self { settings, runner, listener: None, delivery: Cell::default() }
    }

    /// Opens the listener, if there is a database that containers can't reach as they are, or that only we can log in to.
    ///
    /// # Errors
    /// `listener-unavailable`.
    pub(crate) async fn open_listener(&mut self, events: &Events) -> Result<(), Fault> {
        let Some(database) = self.settings.database_for_tools() else { return Ok(()) };
        if self.settings.stands_in_for.is_some() {
            return self.open_stand_in(database).await;
        }
        let port = match (self.settings.is_direct(), database.identity.is_given()) {
            (false, _) => database.port,
            // The port may be that of the database itself, on this machine.
            (true, true) => 0,
            (true, false) => return Ok(()),
        };
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let session_settings =
            self.session_settings(SessionTerms::with_user_lock_timeout(self.settings, SessionAccess::ReadOnly));
        let listener =
            ProxyListener::bind(address, self.settings.client_tls, session_settings).await.map_err(|error| {
                let cause = format!("the tunnel can't listen at {LOOPBACK}:{}", database.port);
                Fault::new(Code::ListenerUnavailable, cause).with_causes(&error)
            })?;
        if container_spec::can_keep_host_name(self.settings, database) {
            add_hosts_entry(&database.host)?;
        }
        self.listener = Some(Rc::new(listener.emitting(events)));
        Ok(())
    }

    /// Opens the listener of a copy that stands in for this database. No other client than a container reaches it.
    async fn open_stand_in(&mut self, database: &DatabaseTarget) -> Result<(), Fault> {
        let unavailable = |error: &io::Error| {
            let cause = format!("the copy can't be reached at {LOOPBACK}:{}", database.port);
            Fault::new(Code::ListenerUnavailable, cause).with_causes(error)
        };
        let session_settings =
            self.session_settings(SessionTerms::with_user_lock_timeout(self.settings, SessionAccess::ReadOnly));
        let bind = |port| {
            let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
            ProxyListener::bind(address, ClientTls::Terminated, session_settings.clone())
        };
        let listener = match bind(database.port).await {
            // The port may be that of the database itself, on this machine.
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => bind(0).await,
            listener => listener,
        };
        let listener = listener.map_err(|error| unavailable(&error))?;
        if container_spec::can_keep_host_name(self.settings, database) {
            add_hosts_entry(&database.host)?;
        }
        self.listener = Some(Rc::new(listener.standing_in(StandIn::new(&database.host, Vec::new())?)));
        Ok(())
    }

    /// Opens the listener of a copy that stands in for this database, for commands on the server. Its port is on the
    /// loopback of a machine that others use, so a client has to know a password of the database.
    ///
    /// # Errors
    /// `forwarding-forbidden`, or the lost connection.
    pub(crate) async fn open_at_server(&mut self, tunnel: &Tunnel, passwords: Vec<Secret>) -> Result<(), Fault> {
        let Some(database) = self.settings.database_for_tools() else { return Ok(()) };
        let session_settings =
            self.session_settings(SessionTerms::with_user_lock_timeout(self.settings, SessionAccess::ReadOnly));
        let port = tunnel.listen().await?;
        let listener = ProxyListener::at_remote_port(port, session_settings).map_err(|error| {
            Fault::new(Code::ListenerUnavailable, "the copy can't be reached from the server").with_causes(&error)
        })?;
        self.listener = Some(Rc::new(listener.standing_in(StandIn::new(&database.host, passwords)?)));
        Ok(())
    }

    /// Closes the listener: from now on nothing leads to the database.
    pub(crate) fn close_listener(&mut self) {
        self.listener = None;
    }

    /// Watches the sessions with the copy from now on; none ends the watch.
    pub(crate) fn set_watch(&self, watch: Option<SessionWatch>) {
        if let Some(stand_in) = self.listener.as_deref().and_then(ProxyListener::stand_in) {
            stand_in.set_watch(watch);
        }
    }

    /// Returns the settings for the sessions of containers.
    pub(crate) fn session_settings(&self, terms: SessionTerms) -> SessionSettings {
        container_spec::session_settings(self.settings, self.runner, terms).delivered(self.delivery.get())
    }

    /// Changes the way in which settings reach the sessions that begin from now on.
    pub(crate) fn set_delivery(&self, delivery: SettingsDelivery) {
        self.delivery.set(delivery);
    }

    /// Sets the terms for sessions that start from now on.
    ///
    /// # Errors
    /// `listener-unavailable`.
    pub(crate) fn set_session_terms(&self, terms: SessionTerms) -> Result<(), Fault> {
        let result = self
            .listener
            .as_ref()
            .map_or(Ok(()), |listener| listener.set_session_settings(self.session_settings(terms)));
        result.map_err(|error| {
            Fault::new(Code::ListenerUnavailable, "the session settings for the tunnel can't be changed")
                .with_causes(&error)
        })
    }

    /// Returns its port, if it is open.
    pub(crate) fn local_port(&self) -> Option<u16> {
        self.listener.as_ref().and_then(|listener| listener.local_address().ok()).map(|address| address.port())
    }

    /// Returns the loop that accepts connections while it is polled. Dropping it closes the connections that it
    /// accepted.
    pub(crate) fn accept_loop(&self, transport: &Rc<Transport>) -> AcceptLoop {
        match (self.listener.clone(), self.settings.database.clone()) {
            (Some(listener), Some(database)) => {
                let transport = Rc::clone(transport);
                AcceptLoop(Box::pin(async move { listener.serve(&transport, &database).await }))
            }
            _ => AcceptLoop::without_connections(),
        }
    }

    /// Returns its observations so far.
    pub(crate) fn proxy_findings(&self) -> ProxyFindings {
        ProxyFindings {
            proxy_fault: self.listener.as_deref().and_then(ProxyListener::last_fault),
            server_error: self.listener.as_deref().and_then(ProxyListener::last_error),
        }
    }

    /// Returns the known backends of its connections.
    pub(crate) fn backend_pids(&self) -> Vec<i32> {
        self.listener.as_deref().map(ProxyListener::backend_pids).unwrap_or_default()
    }

    /// Returns the time of the last response of the database that the proxy could read.
    pub(super) fn last_answer_at(&self) -> Option<Instant> {
        self.listener.as_deref().and_then(ProxyListener::answered)
    }

    /// Returns the number of connections so far, if it is open.
    pub(crate) fn connection_count(&self) -> Option<u64> {
        self.listener.as_deref().map(|listener| listener.traffic().connections)
    }

    /// Returns the handling of the tool's TLS.
    pub(super) fn client_tls(&self) -> ClientTls {
        self.listener.as_deref().map_or(self.settings.client_tls, ProxyListener::passage)
    }

    /// Returns whether the proxy reads the sessions of its connections, and can change them.
    pub(super) fn reads_sessions(&self) -> bool {
        self.listener.is_some() && self.client_tls() == ClientTls::Terminated
    }

    /// Passes the tool's own TLS through from now on, if the tool was refused TLS so far. Returns a note about it then.
    pub(super) fn pass_tls_if_demanded(&self) -> Option<&'static str> {
        let is_ours = self.settings.database.as_ref().is_some_and(|database| database.identity.is_given());
        let terminates = |listener: &&ProxyListener| listener.passage() == ClientTls::Terminated && !is_ours;
        let listener = self.listener.as_deref().filter(terminates)?;
        (listener.traffic().declined > 0).then(|| {
            listener.let_through();
            "the tool demands TLS of its own, which passes through to the database from now on; with \
             `database-sslmode: require` it does so at once"
        })
    }

    /// Describes how our settings reached the sessions of its connections.
    pub(crate) fn describe_delivery(&self) -> String {
        match (&self.listener, self.client_tls()) {
            (Some(listener), ClientTls::Terminated) => {
                let (traffic, means) = (
                    listener.traffic(),
                    match self.delivery.get() {
                        SettingsDelivery::StartupPacket => "by the start-up packet",
                        SettingsDelivery::Statements => "by statements, behind the pooler's log-in,",
                    },
                );
                format!("{means} of {} of {} connections", traffic.settled, traffic.connections)
            }
            _ if self.delivery.get() == SettingsDelivery::Statements => NOT_THROUGH_POOLER.to_owned(),
            (Some(_), ClientTls::PassThrough) => {
                "by PGOPTIONS: the tool's own TLS passes through the tunnel".to_owned()
            }
            (None, _) => "by PGOPTIONS: there is no tunnel".to_owned(),
        }
    }
}

/// The loop that accepts connections and keeps them open while it is polled.
pub(crate) struct AcceptLoop(Pin<Box<dyn Future<Output = Infallible>>>);

impl AcceptLoop {
    /// Returns the loop of a command that needs none.
    pub(super) fn without_connections() -> Self {
        Self(Box::pin(pending()))
    }

    /// Polls the loop while the work runs.
    pub(crate) async fn run_during<T>(&mut self, work: impl Future<Output = T>) -> T {
        match select(pin!(work), &mut self.0).await {
            Either::Left((done, _)) => done,
            Either::Right((never, _)) => match never {},
        }
    }
}

impl fmt::Debug for AcceptLoop {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("AcceptLoop")
    }
}

/// Adds the database's name to our own `/etc/hosts`, which a container that joins our network shares.
fn add_hosts_entry(host: &str) -> Result<(), Fault> {
    let result =
        OpenOptions::new().append(true).open(HOSTS_FILE).and_then(|mut hosts| writeln!(hosts, "{LOOPBACK} {host}"));
    result.map_err(|error| {
        Fault::new(Code::ListenerUnavailable, format!("`{HOSTS_FILE}` can't be written"))
            .with_causes(&error)
            .fix("run it as a step of a workflow: there its container has this file")
    })
}

const HOSTS_FILE: &str = "/etc/hosts";
