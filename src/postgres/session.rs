//! One session over any stream: the client, the task that drives its socket, and how to cancel what it runs.

use super::{
    backend_pid::BackendPid,
    fault,
    filtered_stream::{Sifted, SiftedConnect},
    target::{SslMode, Target},
    tls,
};
use crate::{
    fault::{Code, Fault},
    run::event::{About, Event, Events},
    transport::{Reach, Stream},
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

/// A session of ours may have to wait for others, however long the database lets a session be idle. (Since PostgreSQL 14.)
pub(super) const PATIENT: &str = "-c idle_session_timeout=0";

/// Lifts a limit that database or role puts on whole transactions, for what is ours to limit by `timeout` and
/// `statement-timeout`. It is the body of a block, as a start-up can't say it: servers before PostgreSQL 17 don't know it.
/// (The inner condition costs 2 ms, as each block is planned anew.)
pub const UNLIMITED: &str = "IF pg_catalog.current_setting('transaction_timeout', true) OPERATOR(pg_catalog.<>) '0' THEN \
    IF EXISTS (SELECT FROM pg_catalog.pg_settings s WHERE s.name OPERATOR(pg_catalog.=) 'transaction_timeout' \
    AND s.source OPERATOR(pg_catalog.<>) 'client') \
    THEN PERFORM pg_catalog.set_config('transaction_timeout', '0', false); END IF; END IF; ";

/// What the server is told at start-up; costs no round trip, and `RESET ALL` returns to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Startup {
    /// At most 63 bytes count; see [`super::lock::application_name`].
    pub application_name: String,
    /// `-c name=value` pairs, space-separated.
    pub options: String,
}

impl Startup {
    /// Our settings and, after them, those of the user's URL, which win.
    #[must_use]
    pub fn new(application_name: String, ours: &str, target: Option<&Target>) -> Self {
        let own = target.and_then(|target| target.options.as_deref()).unwrap_or_default();
        let options = [PATIENT, ours, own].into_iter().filter(|some| !some.is_empty()).collect::<Vec<_>>().join(" ");
        Self { application_name, options }
    }
}

/// A session with the database.
pub struct Session {
    /// The handle for queries.
    pub client: Client,
    /// The backend that the server announced at start-up.
    pub announced_pid: i32,
    driver: Option<JoinHandle<Option<Fault>>>,
    connector: Option<MakeRustlsConnect>,
    target: Target,
}

/// How long a polite good-bye may take.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

impl Session {
    /// Connects over one more stream of `reach`.
    ///
    /// # Errors
    /// Why the database does not let us in, the tunnel's own trouble first.
    pub async fn connect(reach: &Reach, target: &Target, startup: &Startup, events: &Events) -> Result<Self, Fault> {
        let connector = tls::connector(target)?;
        let mut stream = reach.open(&target.host, target.port).await?;
        let pid = BackendPid::default();
        let config = config(target, startup);
        let (client, driver) = match &connector {
            None => {
                let (client, connection) = config
                    .connect_raw(Sifted::new(stream, pid.clone()), NoTls)
                    .await
                    .map_err(|error| reach.check().unwrap_or_else(|| fault::connection(&error, target)))?;
                (client, drive(connection, events.clone()))
            }
            Some(connector) => {
                tls::ask(&mut stream, target).await.map_err(|fault| reach.check().unwrap_or(fault))?;
                let connect = SiftedConnect { connect: for_stream(connector, target)?, pid: pid.clone() };
                let (client, connection) = config
                    .connect_raw(stream, connect)
                    .await
                    .map_err(|error| reach.check().unwrap_or_else(|| fault::connection(&error, target)))?;
                (client, drive(connection, events.clone()))
            }
        };
        Ok(Self { client, announced_pid: pid.get(), driver: Some(driver), connector, target: target.clone() })
    }

    /// Why the session ended, if it did: the driver knows more than the query that found the connection closed.
    pub async fn why_closed(&mut self) -> Option<Fault> {
        if !self.client.is_closed() {
            return None;
        }
        let driver = self.driver.take()?;
        let reason = timeout(CLOSE_TIMEOUT, driver).await.ok()?.ok()?;
        Some(reason.unwrap_or_else(|| Fault::new(Code::DatabaseLost, "the database closed the connection")))
    }

    /// Whatever can cancel this session's statement, while the session itself is busy.
    #[must_use]
    pub fn canceller(&self) -> Canceller {
        Canceller { token: self.client.cancel_token(), connector: self.connector.clone(), target: self.target.clone() }
    }

    /// Closes the socket, and with it the channel that it may be, at once: nothing that comes over it is waited for any more.
    /// What is asked then finds the session closed.
    pub async fn give_up(&mut self) {
        let Some(driver) = self.driver.take() else { return };
        driver.abort();
        // It ends by being aborted, and that is all that it says.
        drop(driver.await);
    }

    /// Says good-bye and waits until the socket is closed.
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
        // Best effort: without `close` nobody waits, so the socket is dropped with the task.
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

/// Cancels the statement of a session over a stream of its own.
pub struct Canceller {
    token: CancelToken,
    connector: Option<MakeRustlsConnect>,
    target: Target,
}

impl Canceller {
    /// Asks once. The server does not say whether there was anything to cancel (PostgreSQL manual, 55.2.7).
    ///
    /// # Errors
    /// When the request could not be delivered.
    pub async fn cancel(&self, reach: &Reach) -> Result<(), Fault> {
        let mut stream = reach.open(&self.target.host, self.target.port).await?;
        let sent = match &self.connector {
            None => self.token.cancel_query_raw(stream, NoTls).await,
            Some(connector) => {
                tls::ask(&mut stream, &self.target).await?;
                self.token.cancel_query_raw(stream, for_stream(connector, &self.target)?).await
            }
        };
        sent.map_err(|error| fault::connection(&error, &self.target))
    }
}

impl fmt::Debug for Canceller {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Canceller")
    }
}

/// What makes TLS of one stream to the target.
pub(crate) fn for_stream(
    connector: &MakeRustlsConnect,
    target: &Target,
) -> Result<
    impl TlsConnect<Stream, Stream: Send + Unpin + 'static, Error = io::Error, Future: Send + 'static> + use<>,
    Fault,
> {
    let mut connector = connector.clone();
    tokio_postgres::tls::MakeTlsConnect::<Stream>::make_tls_connect(&mut connector, &target.host).map_err(|error| {
        Fault::new(Code::TlsWrongName, format!("no certificate can be for `{}`", target.host)).because(&error)
    })
}

fn config(target: &Target, startup: &Startup) -> Config {
    let mut config = Config::new();
    config
        .host(&target.host)
        .user(&target.user)
        .dbname(&target.name)
        .application_name(&startup.application_name)
        .options(&startup.options)
        // The server is asked for TLS by `tls::ask`.
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

/// Starts the task that owns the socket. It turns notices into events and ends with the reason if it was not asked to end.
#[expect(clippy::disallowed_methods, reason = "the session owns the task and awaits it in close()")]
fn drive<S, T>(mut connection: Connection<S, T>, events: Events) -> JoinHandle<Option<Fault>>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    tokio::spawn(async move {
        loop {
            match poll_fn(|context| connection.poll_message(context)).await {
                None => return None,
                Some(Err(error)) => return Some(fault::session(&error)),
                Some(Ok(AsyncMessage::Notice(notice))) => {
                    let (severity, text) = (notice.severity().to_owned(), notice.message().to_owned());
                    // The sieve has put it there.
                    let version = notice.file().and_then(|version| version.parse().ok());
                    events.tell(Event::Notice { severity, text, about: version.map(About::Migration) });
                    events.room().await;
                }
                Some(Ok(_)) => {}
            }
        }
    })
}
