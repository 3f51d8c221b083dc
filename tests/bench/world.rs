//! The servers of a topic, the ways to them, and the runtime that they are asked from.

use crate::{
    flights::Flights,
    lab::{
        Lab,
        postgres::{Database, Login, Options, Postgres, ROLE, Tls},
        sshd::Sshd,
    },
};
use bastion_migrate::{
    postgres::{DatabaseTarget, Session, SslMode, StartupSettings},
    run::event::Events,
    ssh::Route,
    transport::Transport,
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

/// The distances over which there is a target, as times of a round trip.
pub(crate) const DISTANCES: [Duration; 3] = [Duration::ZERO, Duration::from_millis(20), Duration::from_millis(100)];

/// A bastion and a PostgreSQL that asks for neither TLS nor a password: what is measured is the way and the work.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) lab: Lab,
    home: TempDir,
}

impl World {
    /// Starts the servers; PostgreSQL does not wait for the disk.
    pub(crate) fn new() -> Self {
        Self::with(&[])
    }

    /// The same with a PostgreSQL that waits for the disk at each commit, as it does by default.
    pub(crate) fn durable() -> Self {
        Self::with(&["fsync = on"])
    }

    fn with(settings: &'static [&'static str]) -> Self {
        let options = Options { tls: Tls::Off, login: Login::Trust, settings };
        let lab = Lab::on(&Postgres::start(&options)).behind(Sshd::plain());
        let home = tempfile::Builder::new().prefix("bastion-migrate-bench-").tempdir().expect("there is room");
        fs::write(home.path().join("key"), lab.bastion.key().expose()).expect("there is room");
        fs::set_permissions(home.path().join("key"), fs::Permissions::from_mode(0o600)).expect("the file is ours");
        Self { lab, home }
    }

    /// A directory for the topic's files.
    pub(crate) fn home(&self) -> &Path {
        self.home.path()
    }

    /// The file with the private key.
    pub(crate) fn key(&self) -> PathBuf {
        self.home().join("key")
    }

    /// The delay line to the bastion.
    pub(crate) fn network(&self, round_trip: Duration) -> Flights {
        Flights::over(self.lab.bastion.port, round_trip)
    }

    /// What pins the bastion when it is reached by this port.
    pub(crate) fn known_hosts(&self, port: u16) -> String {
        format!("[127.0.0.1]:{port} {}", self.lab.bastion.host_key("ed25519"))
    }

    /// The way to the bastion by this port.
    pub(crate) fn route(&self, port: u16) -> Route {
        let mut route = self.lab.bastion.route();
        route.known_hosts = Some(self.known_hosts(port));
        route.hops.iter_mut().for_each(|hop| hop.port = port);
        route
    }

    /// Where PostgreSQL listens.
    pub(crate) fn database_port(&self) -> u16 {
        self.lab.database.server().port()
    }

    /// A database of the server, by a port on loopback.
    pub(crate) fn url(&self, database: &Database, port: u16) -> String {
        format!("postgres://{ROLE}@127.0.0.1:{port}/{}", database.name())
    }

    /// The database, as the program sees it.
    pub(crate) fn target(&self) -> DatabaseTarget {
        DatabaseTarget {
            host: "127.0.0.1".to_owned(),
            port: self.database_port(),
            user: ROLE.to_owned(),
            password: None,
            name: self.lab.database.name().to_owned(),
            sslmode: SslMode::Disable,
            ca: None,
            options: None,
        }
    }

    /// The tunnel, by this port.
    pub(crate) async fn reach(&self, port: u16) -> Transport {
        let (events, _told) = Events::channel();
        Transport::connect(Some(&self.route(port)), &events).await.expect("the bastion lets us in")
    }

    /// A session of the program's own kind.
    pub(crate) async fn session(&self, reach: &Transport) -> Session {
        let (events, _told) = Events::channel();
        let startup = StartupSettings { application_name: "bench".to_owned(), options: String::new() };
        Session::connect(reach, &self.target(), &startup, &events).await.expect("the database lets us in")
    }

    /// The same client for every party, over whatever stream.
    #[expect(clippy::disallowed_methods, reason = "the runtime owns the task, and the topic the runtime")]
    pub(crate) async fn client<S>(&self, stream: S) -> Client
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let mut config = Config::new();
        config.user(ROLE).dbname(self.lab.database.name());
        let (client, connection) = config.connect_raw(stream, NoTls).await.expect("the database lets us in");
        tokio::spawn(connection);
        client
    }
}

/// The kind that the program runs on.
pub(crate) fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().expect("a runtime can be made")
}
