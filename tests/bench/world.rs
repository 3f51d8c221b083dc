//! The servers of a topic, the connections to them, and the client's runtime.

use crate::{
    flights::Flights,
    lab::{
        Lab,
        postgres::{Database, Login, Options, Postgres, ROLE, Tls},
        sshd::{Sshd, SshdOptions},
    },
};
use bastion_migrate::{
    postgres::{DatabaseTarget, Session, SessionSettings, SslMode},
    run::event::Events,
    ssh::Route,
    transport::Transport,
    way::WayIn,
};
use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    time::Duration,
};
use tempfile::TempDir;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    runtime::{Builder, Runtime},
};
use tokio_postgres::{Client, Config, NoTls};

/// The round-trip times for which targets exist.
pub(crate) const DISTANCES: [Duration; 3] = [Duration::ZERO, Duration::from_millis(20), Duration::from_millis(100)];

/// A bastion and a PostgreSQL server without TLS and passwords, so that only the connection and the work are measured.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) lab: Lab,
    home: TempDir,
}

impl World {
    /// Starts the servers. PostgreSQL does not wait for the disk.
    pub(crate) fn new() -> Self {
        Self::with(&[], Sshd::plain())
    }

    /// Starts the servers, with these lines in front of the configuration of the bastion. PostgreSQL does not wait for the disk.
    pub(crate) fn with_bastion(config: &str) -> Self {
        Self::with(&[], Sshd::start(&SshdOptions { config: config.to_owned(), ..SshdOptions::default() }))
    }

    /// Starts the servers. PostgreSQL waits for the disk at each commit, as it does by default.
    pub(crate) fn durable() -> Self {
        Self::with(&["fsync = on"], Sshd::plain())
    }

    fn with(settings: &'static [&'static str], bastion: Sshd) -> Self {
        let options = Options { tls: Tls::Off, login: Login::Trust, settings };
        let lab = Lab::on(&Postgres::start(&options)).behind(bastion);
        let home = tempfile::Builder::new().prefix("bastion-migrate-bench-").tempdir().expect("there is room");
        fs::write(home.path().join("key"), lab.bastion.key().expose()).expect("there is room");
        fs::set_permissions(home.path().join("key"), fs::Permissions::from_mode(0o600)).expect("the file is ours");
        Self { lab, home }
    }

    /// Returns a directory for the topic's files.
    pub(crate) fn home(&self) -> &Path {
        self.home.path()
    }

    /// Returns the path of the private key.
    pub(crate) fn key(&self) -> PathBuf {
        self.home().join("key")
    }

    /// Starts a delay line to the bastion.
    pub(crate) fn network(&self, round_trip: Duration) -> Flights {
        Flights::over(self.lab.bastion.port, round_trip)
    }

    /// Returns the `known_hosts` line of the bastion at this port.
    pub(crate) fn known_hosts(&self, port: u16) -> String {
        format!("[127.0.0.1]:{port} {}", self.lab.bastion.host_key("ed25519"))
    }

    /// Returns the route to the bastion at this port.
    pub(crate) fn route(&self, port: u16) -> Route {
        let mut route = self.lab.bastion.route();
        route.known_hosts = Some(self.known_hosts(port));
        route.hops.iter_mut().for_each(|hop| hop.port = port);
        route
    }

    /// Returns PostgreSQL's port.
    pub(crate) fn database_port(&self) -> u16 {
        self.lab.database.server().port()
    }

    /// Returns the URL of a database at a port on loopback.
    pub(crate) fn url(&self, database: &Database, port: u16) -> String {
        format!("postgres://{ROLE}@127.0.0.1:{port}/{}", database.name())
    }

    /// Returns the database's address as the program uses it.
    pub(crate) fn target(&self) -> DatabaseTarget {
        DatabaseTarget {
            sslmode: SslMode::Disable,
            ..DatabaseTarget::new("127.0.0.1", self.database_port(), ROLE, self.lab.database.name())
        }
    }

    /// Opens a tunnel through the bastion at this port.
    pub(crate) async fn transport(&self, port: u16) -> Transport {
        let (events, _receiver) = Events::channel();
        Transport::connect(Some(&self.route(port)), &WayIn::Direct, &events)
            .await
            .expect("the bastion accepts the login")
    }

    /// Opens a session with the program's own code.
    pub(crate) async fn session(&self, transport: &Transport) -> Session {
        let (events, _receiver) = Events::channel();
        let settings = SessionSettings::named("bench");
        Session::connect(transport, &self.target(), &settings, &events).await.expect("the database accepts the login")
    }

    /// Connects the client that all parties use, over this stream.
    #[expect(clippy::disallowed_methods, reason = "the runtime owns the task, and the topic owns the runtime")]
    pub(crate) async fn client<S>(&self, stream: S) -> Client
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let mut config = Config::new();
        config.user(ROLE).dbname(self.lab.database.name());
        let (client, connection) = config.connect_raw(stream, NoTls).await.expect("the database accepts the login");
        tokio::spawn(connection);
        client
    }
}

/// Returns the round trips over a delay line, and cuts it.
pub(crate) fn flights_of(network: &Flights) -> f64 {
    let flights = u32::try_from(network.count()).unwrap_or(u32::MAX);
    network.cut();
    f64::from(flights)
}

/// Returns a runtime of the kind that the program uses.
pub(crate) fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().expect("a runtime can be made")
}
