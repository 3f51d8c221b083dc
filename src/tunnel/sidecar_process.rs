//! The other side of `command: tunnel`: the process that keeps the tunnel open for later steps, in a container of its
//! own. It gets its inputs on standard input, so that the engine records none of them.

use super::sidecar_message::SidecarMessage;
use crate::{
    fault::{Code, Fault},
    github::runner::Runner,
    postgres::{SessionMeans, SessionSettings, SettingsDelivery, own_query::OwnQuery, preflight, run_lock, wait},
    proxy::ProxyListener,
    run::event::{Event, Events},
    settings::Settings,
    site::container_spec::{self, SessionAccess, SessionTerms},
    transport::Transport,
};
use futures_util::future::{Either, select};
use std::{
    collections::BTreeMap,
    convert::Infallible,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::Path,
    pin::pin,
    time::Duration,
};
use tokio::time::sleep;

/// Path at which the job's directory is mounted.
pub(crate) const JOB_MOUNT: &str = "/run/job";

/// Interval at which it checks that the job's marker is still there.
const MARKER_POLL_INTERVAL: Duration = Duration::from_secs(2);

/// The pause before a lost bastion is dialled again, and the number of failures in a row that end the tunnel.
const REDIAL_PAUSE: Duration = Duration::from_secs(5);
const MAX_REDIAL_FAILURES: u32 = 5;

/// The message on its standard input.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
pub struct Handover {
    /// Prefix of its messages to the other side.
    pub token: String,
    /// The only address from which clients may connect.
    pub from: Option<IpAddr>,
    /// Name of the marker file, which exists as long as the job.
    pub marker: Option<String>,
    /// The inputs, as environment variables.
    pub inputs: BTreeMap<String, String>,
}

/// The tunnel that it keeps open.
#[derive(Debug)]
pub struct Sidecar<'a> {
    settings: &'a Settings,
    runner: &'a Runner,
    handover: &'a Handover,
    events: Events,
    transport: Option<Transport>,
    listener: Option<ProxyListener>,
}

impl<'a> Sidecar<'a> {
    /// Prepares the tunnel; connects nothing yet.
    #[must_use]
    pub fn new(settings: &'a Settings, runner: &'a Runner, handover: &'a Handover, events: Events) -> Self {
        Self { settings, runner, handover, events, transport: None, listener: None }
    }

    /// Opens the transport, checks it with a query to the database, and serves clients until the job ends.
    ///
    /// # Errors
    /// The fault of the bastion or the database.
    pub async fn serve_until_job_ends(&mut self) -> Result<(), Fault> {
        let transport = Transport::connect(self.settings.route.as_ref(), &self.settings.way, &self.events).await?;
        let delivery = self.check_database(&transport).await?;
        let port = self.settings.required_database()?.port;
        let session_settings = container_spec::session_settings(
            self.settings,
            self.runner,
            SessionTerms::with_user_lock_timeout(self.settings, SessionAccess::ReadWrite),
        )
        .delivered(delivery);
        let address = SocketAddr::from((Ipv4Addr::UNSPECIFIED, port));
        let listener =
            ProxyListener::bind(address, self.settings.client_tls, session_settings).await.map_err(|error| {
                Fault::new(Code::ListenerUnavailable, format!("the tunnel can't listen at port {port}"))
                    .with_causes(&error)
            })?;
        let listener = listener.only_from(self.handover.from).emitting(&self.events);
        self.transport = Some(transport);
        self.listener = Some(listener);
        self.events.emit_note(SidecarMessage::Ready.to_line(&self.handover.token));
        let (marker, events) = (self.handover.marker.as_deref(), self.events.clone());
        let serving = pin!(self.serve_and_redial());
        match select(serving, pin!(wait_until_marker_gone(marker))).await {
            Either::Left((Err(fault), _)) => Err(fault),
            Either::Left((Ok(never), _)) => match never {},
            Either::Right(((), _)) => {
                events.emit_note("the job is gone");
                Ok(())
            }
        }
    }

    /// Checks the database, and returns the way in which settings reach its sessions.
    async fn check_database(&self, transport: &Transport) -> Result<SettingsDelivery, Fault> {
        let target = self.settings.required_database()?;
        let startup = SessionSettings::named(run_lock::application_name(self.runner)).with_role_of(Some(target));
        let wait = self.settings.wait_timeout;
        let mut session = wait::wait_for_session(transport, target, &startup, wait, &self.events).await?;
        let preflight_result = preflight::run_preflight(
            &mut session,
            preflight::LockAttempt::Skip,
            |_| OwnQuery::read_only("SELECT"),
            SessionMeans { transport, wait, events: &self.events },
        )
        .await;
        let delivery = session.delivery();
        session.close().await;
        self.events.emit(Event::Database(preflight_result?.facts));
        Ok(delivery)
    }

    /// Serves clients, and dials again when the bastion is lost.
    async fn serve_and_redial(&mut self) -> Result<Infallible, Fault> {
        let target = self.settings.required_database()?;
        let mut failures = 0;
        loop {
            if let (Some(transport), Some(listener)) = (&self.transport, &self.listener) {
                let serve = pin!(listener.serve(transport, target));
                match select(serve, pin!(transport.wait_for_loss())).await {
                    Either::Left((never, _)) => match never {},
                    Either::Right((lost, _)) => self.events.emit(Event::Warning(lost)),
                }
            }
            match Transport::connect(self.settings.route.as_ref(), &self.settings.way, &self.events).await {
                Ok(reconnected) => (self.transport, failures) = (Some(reconnected), 0),
                Err(fault) => {
                    failures += 1;
                    if failures == MAX_REDIAL_FAILURES {
                        return Err(fault);
                    }
                    self.transport = None;
                    self.events.emit(Event::Warning(fault));
                    sleep(REDIAL_PAUSE).await;
                }
            }
        }
    }

    /// Closes the transport, and returns a sentence about the traffic.
    ///
    /// # Errors
    /// The fault of closing the transport.
    pub async fn close(self) -> Result<String, Fault> {
        let traffic = self.listener.map(|listener| listener.traffic()).unwrap_or_default();
        if let Some(transport) = self.transport {
            transport.close().await?;
        }
        Ok(format!(
            "through the tunnel passed {} connection(s), {} bytes to the database and {} bytes from it",
            traffic.connections, traffic.sent, traffic.received
        ))
    }
}

/// Resolves when the job's marker file is gone; never resolves without one.
async fn wait_until_marker_gone(marker: Option<&str>) {
    let Some(marker) = marker else { return std::future::pending().await };
    let file = Path::new(JOB_MOUNT).join(marker);
    while file.exists() {
        sleep(MARKER_POLL_INTERVAL).await;
    }
}
