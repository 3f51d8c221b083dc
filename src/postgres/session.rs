//! One session over any stream: the client, the task that drives its socket, and a handle to cancel its statement.

use super::{
    backend_pid::BackendPid,
    fault,
    filtered_stream::{FilteredStream, FilteredTlsConnect},
    session_settings::SessionSettings,
    target::{DatabaseTarget, SslMode},
    tls,
};
use crate::{
    fault::{Code, Fault},
    run::event::{Event, Events, NoticeSubject},
    transport::{Transport, TransportStream},
};
use futures_util::future::poll_fn;
use std::{fmt, io, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    task::JoinHandle,
    time::timeout,
};
use tokio_postgres::{
    AsyncMessage, CancelToken, Client, Config, Connection, NoTls, config::SslNegotiation, tls::TlsConnect,
};
use tokio_postgres_rustls::MakeRustlsConnect;

/// A session with the database.
pub struct Session {
    /// The handle for queries.
    pub client: Client,
    /// The backend's pid as the server announced it at start-up.
    pub announced_pid: i32,
    driver: Option<JoinHandle<Option<Fault>>>,
    connector: Option<MakeRustlsConnect>,
    target: DatabaseTarget,
}

/// Time limit for an orderly close.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

impl Session {
    /// Connects over a new stream of `transport`.
    ///
    /// # Errors
    /// A fault of the tunnel if there is one, otherwise the reason why the database refused the session.
    pub async fn connect(
        transport: &Transport,
        target: &DatabaseTarget,
        settings: &SessionSettings,
        events: &Events,
    ) -> Result<Self, Fault> {
        let connector = tls::tls_connector(target)?;
        let mut stream = transport.open_stream(&target.host, target.port).await?;
        let pid = BackendPid::default();
        let config = driver_config(target, settings);
        let (client, driver) = match &connector {
            None => {
                let (client, connection) =
                    config.connect_raw(FilteredStream::new(stream, pid.clone()), NoTls).await.map_err(|error| {
                        transport.loss_fault().unwrap_or_else(|| fault::connection_fault(&error, target))
                    })?;
                (client, spawn_driver(connection, events.clone()))
            }
            Some(connector) => {
                tls::request_tls(&mut stream, target).await.map_err(|fault| transport.loss_fault().unwrap_or(fault))?;
                let connect = FilteredTlsConnect { connect: tls_for_stream(connector, target)?, pid: pid.clone() };
                let (client, connection) = config.connect_raw(stream, connect).await.map_err(|error| {
                    transport.loss_fault().unwrap_or_else(|| fault::connection_fault(&error, target))
                })?;
                (client, spawn_driver(connection, events.clone()))
            }
        };
        Ok(Self { client, announced_pid: pid.get(), driver: Some(driver), connector, target: target.clone() })
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
        Canceller { token: self.client.cancel_token(), connector: self.connector.clone(), target: self.target.clone() }
    }

    /// Closes the socket (or SSH channel) at once, without waiting for pending responses. Later queries fail because
    /// the session is closed.
    pub async fn abort_driver(&mut self) {
        let Some(driver) = self.driver.take() else { return };
        driver.abort();
        // The result only reports the abort.
        drop(driver.await);
    }

    /// Sends Terminate and waits until the socket is closed.
    pub async fn close(mut self) {
        let Some(driver) = self.driver.take() else { return };
        let abort = driver.abort_handle();
        // Dropping the client makes the driver send Terminate and finish.
        drop(self);
        if timeout(CLOSE_TIMEOUT, driver).await.is_err() {
            abort.abort();
        }
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
        formatter.debug_struct("Session").field("pid", &self.announced_pid).finish_non_exhaustive()
    }
}

/// Cancels a session's statement over a separate stream.
pub struct Canceller {
    token: CancelToken,
    connector: Option<MakeRustlsConnect>,
    target: DatabaseTarget,
}

impl Canceller {
    /// Sends one cancel request. The server does not report whether there was anything to cancel (PostgreSQL manual,
    /// 55.2.7).
    ///
    /// # Errors
    /// If the request could not be delivered.
    pub async fn cancel(&self, transport: &Transport) -> Result<(), Fault> {
        let mut stream = transport.open_stream(&self.target.host, self.target.port).await?;
        let sent = match &self.connector {
            None => self.token.cancel_query_raw(stream, NoTls).await,
            Some(connector) => {
                tls::request_tls(&mut stream, &self.target).await?;
                self.token.cancel_query_raw(stream, tls_for_stream(connector, &self.target)?).await
            }
        };
        sent.map_err(|error| fault::connection_fault(&error, &self.target))
    }
}

impl fmt::Debug for Canceller {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Canceller")
    }
}

/// Returns the connector that starts TLS on one stream to the target.
pub(crate) fn tls_for_stream(
    connector: &MakeRustlsConnect,
    target: &DatabaseTarget,
) -> Result<
    impl TlsConnect<TransportStream, Stream: Send + Unpin + 'static, Error = io::Error, Future: Send + 'static> + use<>,
    Fault,
> {
    let mut connector = connector.clone();
    tokio_postgres::tls::MakeTlsConnect::<TransportStream>::make_tls_connect(&mut connector, &target.host).map_err(
        |error| {
            Fault::new(Code::TlsWrongName, format!("a certificate can't be issued for `{}`", target.host))
                .with_causes(&error)
        },
    )
}

fn driver_config(target: &DatabaseTarget, settings: &SessionSettings) -> Config {
    let mut config = Config::new();
    config
        .host(&target.host)
        .user(&target.user)
        .dbname(&target.name)
        .application_name(&settings.application_name)
        .options(settings.as_options())
        // `tls::request_tls` has requested TLS already.
        .ssl_negotiation(SslNegotiation::Direct)
        .ssl_mode(match target.sslmode {
            SslMode::Disable => tokio_postgres::config::SslMode::Disable,
            SslMode::Require | SslMode::VerifyCa | SslMode::VerifyFull => tokio_postgres::config::SslMode::Require,
        });
    if let Some(password) = &target.password {
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
