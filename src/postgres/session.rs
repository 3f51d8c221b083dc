//! One session over any stream: the client, the task that drives its socket, and a handle to cancel its statement.

use super::{
    backend_pid::BackendPid,
    canceller::Canceller,
    fault,
    filtered_stream::{FilteredStream, FilteredTlsConnect},
    session_defaults::SessionDefaults,
    session_settings::{SessionSettings, SettingsDelivery},
    startup_options::encode_options,
    target::{DatabaseTarget, SslMode},
    tls,
};
use crate::{
    fault::{Code, Fault},
    random::random_token,
    run::event::{Event, Events, NoticeSubject},
    secret::Secret,
    transport::Transport,
};
use futures_util::future::poll_fn;
use std::{fmt, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    task::JoinHandle,
    time::timeout,
};
use tokio_postgres::{AsyncMessage, Client, Config, Connection, NoTls, config::SslNegotiation};
use tokio_postgres_rustls::MakeRustlsConnect;

/// A session with the database.
pub struct Session {
    /// The handle for queries.
    pub client: Client,
    backend: SessionBackend,
    settings: SessionSettings,
    defaults: SessionDefaults,
    driver: Option<JoinHandle<Option<Fault>>>,
    connector: Option<MakeRustlsConnect>,
    target: DatabaseTarget,
    /// The server's `server_version_num`, once it is known.
    pub(super) server_version: Option<u32>,
}

/// The knowledge about the backend of a session.
#[derive(Debug, Clone, PartialEq, Eq)]
enum SessionBackend {
    /// The server has announced it. It has [`TOKEN_SETTING`] if it has begun with our start-up packet.
    Announced { pid: i32, token: String },
    /// A pooler stands between: the pid that it announces is a number of its own.
    BehindPooler,
    /// A pooler has given it to this session until the end.
    Given { pid: i32 },
}

/// The means to open and to use a session.
#[derive(Debug, Clone, Copy)]
pub struct SessionMeans<'a> {
    /// The transport.
    pub transport: &'a Transport,
    /// Time limit for each response.
    pub wait: Duration,
    /// The receiver of events.
    pub events: &'a Events,
}

/// Time limit for an orderly close.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// The setting by which a backend shows that it has received the start-up packet of this very session: a pooler's has
/// begun with another one.
const TOKEN_SETTING: &str = "bastion_migrate.session";

/// Ends everything that a session can leave to the next client of a pooler (PostgreSQL manual, DISCARD).
pub(super) const DISCARD_ALL: &str = "DISCARD ALL";

impl Session {
    /// Connects over a new stream of `transport`. If a pooler refuses the settings in the start-up packet, they are
    /// left to statements ([`super::pooler`]).
    ///
    /// # Errors
    /// A fault of the tunnel if there is one, otherwise the reason why the database refused the session.
    pub async fn connect(
        transport: &Transport,
        target: &DatabaseTarget,
        settings: &SessionSettings,
        events: &Events,
    ) -> Result<Self, Fault> {
        // Boxed, because the future is large, and two of them would be.
        match Box::pin(Self::connect_once(transport, target, settings, events)).await {
            Err(fault)
                if fault.code == Code::DatabasePooler && settings.delivery() == SettingsDelivery::StartupPacket =>
            {
                let settings = settings.clone().delivered(SettingsDelivery::Statements);
                Box::pin(Self::connect_once(transport, target, &settings, events)).await
            }
            result => result,
        }
    }

    async fn connect_once(
        transport: &Transport,
        target: &DatabaseTarget,
        settings: &SessionSettings,
        events: &Events,
    ) -> Result<Self, Fault> {
        let connector = tls::tls_connector(target)?;
        let password = match &target.identity.token {
            Some(login) => Some(login.fresh_token(events).await?),
            None => target.password.clone(),
        };
        let mut stream = transport.open_stream(&target.host, target.port).await?;
        let (pid, token) = (BackendPid::default(), random_token());
        let config = driver_config(target, password.as_ref(), settings, &token);
        let (client, driver) = match &connector {
            None => {
                let (client, connection) =
                    config.connect_raw(FilteredStream::new(stream, pid.clone()), NoTls).await.map_err(|error| {
                        transport.loss_fault().unwrap_or_else(|| fault::connection_fault(&error, target))
                    })?;
                (client, spawn_driver(connection, events.clone()))
            }
            Some(connector) => {
                tls::begin_tls(&mut stream, target).await.map_err(|fault| transport.loss_fault().unwrap_or(fault))?;
                let connect = FilteredTlsConnect { connect: tls::tls_for_stream(connector, target)?, pid: pid.clone() };
                let (client, connection) = config.connect_raw(stream, connect).await.map_err(|error| {
                    transport.loss_fault().unwrap_or_else(|| fault::connection_fault(&error, target))
                })?;
                (client, spawn_driver(connection, events.clone()))
            }
        };
        Ok(Self {
            client,
            backend: match settings.delivery() {
                SettingsDelivery::StartupPacket => SessionBackend::Announced { pid: pid.get(), token },
                SettingsDelivery::Statements => SessionBackend::BehindPooler,
            },
            settings: settings.clone(),
            defaults: settings.session_defaults()?,
            driver: Some(driver),
            connector,
            target: target.clone(),
            server_version: None,
        })
    }

    /// Returns the server's version as 150018 for 15.18 (`server_version_num`), once it is known.
    #[must_use]
    pub fn server_version(&self) -> Option<u32> {
        self.server_version
    }

    /// Returns the pid of its backend. Behind a pooler it is zero until the pooler's mode is known.
    #[must_use]
    pub fn pid(&self) -> i32 {
        match self.backend {
            SessionBackend::Announced { pid, .. } | SessionBackend::Given { pid } => pid,
            SessionBackend::BehindPooler => 0,
        }
    }

    /// Returns the SQL condition that the backend that runs it belongs to this session alone.
    #[must_use]
    pub fn is_own_backend_sql(&self) -> String {
        let has_pid = format!("pg_catalog.pg_backend_pid() OPERATOR(pg_catalog.=) {}", self.pid());
        match &self.backend {
            SessionBackend::Announced { token, .. } => format!(
                "({has_pid} AND COALESCE(pg_catalog.current_setting('{TOKEN_SETTING}', true), '') OPERATOR(pg_catalog.=) '{token}')"
            ),
            SessionBackend::BehindPooler | SessionBackend::Given { .. } => has_pid,
        }
    }

    /// Returns the way in which its settings reach it.
    #[must_use]
    pub fn delivery(&self) -> SettingsDelivery {
        self.settings.delivery()
    }

    /// Returns the settings to which it returns.
    #[must_use]
    pub fn defaults(&self) -> &SessionDefaults {
        &self.defaults
    }

    /// Returns whether it takes the role of its target.
    pub(super) fn takes_role(&self) -> bool {
        self.settings.enforced_settings().iter().any(|(name, _)| name == "role")
    }

    /// Returns its database.
    pub(super) fn target(&self) -> &DatabaseTarget {
        &self.target
    }

    /// Leaves its settings to statements, because a pooler has not passed its start-up packet on.
    ///
    /// # Errors
    /// `database-pooler` for an option that no statement can set.
    pub(super) fn leave_settings_to_statements(&mut self) -> Result<(), Fault> {
        self.settings = self.settings.clone().delivered(SettingsDelivery::Statements);
        self.defaults = self.settings.session_defaults()?;
        self.backend = SessionBackend::BehindPooler;
        Ok(())
    }

    /// Keeps the pid of the backend that a pooler has given to it.
    pub(super) fn keep_backend(&mut self, pid: i32) {
        self.backend = SessionBackend::Given { pid };
    }

    /// Returns the reason why the session ended, if it did: the driver has more detail than the query that failed.
    pub async fn close_reason(&mut self) -> Option<Fault> {
        if !self.client.is_closed() {
            return None;
        }
        let driver = self.driver.take()?;
        let reason = timeout(CLOSE_TIMEOUT, driver).await.ok()?.ok()?;
        Some(reason.unwrap_or_else(|| Fault::new(Code::DatabaseLost, "the database closed the connection")))
    }

    /// Returns a handle that can cancel this session's statement while the session is busy.
    #[must_use]
    pub fn canceller(&self) -> Canceller {
        Canceller::new(self.client.cancel_token(), self.connector.clone(), self.target.clone())
    }

    /// Closes the socket (or SSH channel) at once, without waiting for pending responses. Later queries fail because
    /// the session is closed.
    pub async fn abort_driver(&mut self) {
        let Some(driver) = self.driver.take() else { return };
        driver.abort();
        // The result only reports the abort.
        drop(driver.await);
    }

    /// Sends Terminate and waits until the socket is closed. A pooler's server session outlives that, so all that this
    /// session has left there is discarded before.
    pub async fn close(mut self) {
        if matches!(self.backend, SessionBackend::Given { .. }) && !self.client.is_closed() {
            drop(timeout(CLOSE_TIMEOUT, self.discard_all()).await);
        }
        let Some(driver) = self.driver.take() else { return };
        let abort = driver.abort_handle();
        // Dropping the client makes the driver send Terminate and finish.
        drop(self);
        if timeout(CLOSE_TIMEOUT, driver).await.is_err() {
            abort.abort();
        }
    }
}

impl Session {
    /// Discards everything that this session has left in its backend, its advisory locks included.
    async fn discard_all(&self) -> Result<(), tokio_postgres::Error> {
        // In a transaction, or a failed one, it is refused.
        if self.client.batch_execute(DISCARD_ALL).await.is_err() {
            self.client.batch_execute("ROLLBACK").await?;
            self.client.batch_execute(DISCARD_ALL).await?;
        }
        Ok(())
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // Best effort: nothing waits for the task without `close`, so the socket is dropped with it.
        if let Some(driver) = &self.driver
            && !self.client.is_closed()
        {
            driver.abort();
        }
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Session").field("backend", &self.backend).finish_non_exhaustive()
    }
}

fn driver_config(
    target: &DatabaseTarget,
    password: Option<&Secret>,
    settings: &SessionSettings,
    token: &str,
) -> Config {
    let token = encode_options(&[(TOKEN_SETTING.to_owned(), token.to_owned())]);
    let options = [settings.as_options(), token].join(" ");
    let mut config = Config::new();
    config
        .host(&target.host)
        .user(&target.user)
        .dbname(&target.name)
        // `tls::begin_tls` has requested TLS already, if it is to be requested.
        .ssl_negotiation(SslNegotiation::Direct)
        .ssl_mode(match target.sslmode {
            SslMode::Disable => tokio_postgres::config::SslMode::Disable,
            SslMode::Require | SslMode::VerifyCa | SslMode::VerifyFull => tokio_postgres::config::SslMode::Require,
        });
    // A pooler would leave the name in a server session of others: behind one, it is set with the other settings.
    if settings.delivery() == SettingsDelivery::StartupPacket {
        config.application_name(&settings.application_name).options(options);
    }
    if let Some(password) = password {
        config.password(password.expose());
    }
    config
}

/// Starts the task that owns the socket. It turns notices into events, and returns the reason if the session ended
/// without `close`.
#[expect(clippy::disallowed_methods, reason = "the session owns the task and awaits it in close()")]
fn spawn_driver<S, T>(mut connection: Connection<S, T>, events: Events) -> JoinHandle<Option<Fault>>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    tokio::spawn(async move {
        loop {
            match poll_fn(|context| connection.poll_message(context)).await {
                None => return None,
                Some(Err(error)) => return Some(fault::session_fault(&error)),
                Some(Ok(AsyncMessage::Notice(notice))) => {
                    let (severity, text) = (notice.severity().to_owned(), notice.message().to_owned());
                    // The message filter has put the migration into this field.
                    let version = notice.file().and_then(|version| version.parse().ok());
                    events.emit(Event::Notice { severity, text, about: version.map(NoticeSubject::Migration) });
                    events.wait_for_room().await;
                }
                Some(Ok(_)) => {}
            }
        }
    })
}
