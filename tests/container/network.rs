//! A realistic network: a bastion in a public and a private network, and a PostgreSQL server in the private one only.
//! Only the bastion can resolve the database's name and reach it.

use crate::{
    certificate::{Certificate, Expired},
    engine::{Container, NetworkAccess, Subnet, docker, image},
    lab::session::Session,
    process::poll,
};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    sync::{
        Arc, LazyLock,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tempfile::TempDir;
use tokio_postgres::Config;

/// The image of every machine in the network, from `tests/container/lab/Dockerfile`.
pub(crate) const MACHINE: &str = "bastion-migrate-lab:bookworm";

/// The engine's default network, which a step of a job without services runs in. The bastion is connected to it, too.
const DEFAULT: &str = "bridge";

/// The bastion's name in the public network.
pub(crate) const BASTION: &str = "bastion.public.example";
/// The user that logs in there.
pub(crate) const USER: &str = "deploy";
/// The user's password on the bastion, for a step without a key.
pub(crate) const LOGIN: &str = "c0rrect h'rse:\"deploy\"";
/// The image of a deployment server with the application, from `tests/container/server/Dockerfile`.
const SERVER_MACHINE: &str = "bastion-migrate-server:bookworm";
/// A deployment server's name in the public network.
const SERVER: &str = "server.public.example";
/// The database's host name, which resolves in the private network only.
pub(crate) const DATABASE: &str = "db.private.internal";
/// The role that migrates. It owns every test's database.
pub(crate) const ROLE: &str = "app";
/// The role's password, which has to be escaped in a URL, in JSON and for a shell.
pub(crate) const PASSWORD: &str = "pa55 w\"rd/of'the@net:%";

/// The bastion's script. It ends with `exec`, so that sshd is process 1 and ends with the container.
const SSHD: &str = "
ssh-keygen -q -t ed25519 -N '' -f /etc/ssh/ssh_host_ed25519_key
ssh-keygen -q -t ed25519 -N '' -C '' -f /lab/key
install -D -o deploy -m 600 /lab/key.pub /home/deploy/.ssh/authorized_keys
chown deploy /home/deploy/.ssh
printf 'deploy:%s\n' \"$LOGIN\" | chpasswd
unset LOGIN
exec /usr/sbin/sshd -D -e -o LogLevel=VERBOSE -o PasswordAuthentication=yes -o UsePAM=no -o MaxStartups=100";

const POSTGRES: &str = "
cd /lab/cluster
printenv CERTIFICATE > server.crt
install -o postgres -m 600 /dev/null server.key
printenv KEY > server.key
exec setpriv --reuid=postgres --regid=postgres --clear-groups env --unset=KEY postgres -D /lab/cluster \
    -c listen_addresses='*' -c ssl=on -c fsync=off -c max_connections=200";

static SHARED: LazyLock<Arc<Network>> = LazyLock::new(|| Arc::new(Network::start()));

/// Returns the network that tests share unless they damage it.
pub(crate) fn shared() -> Arc<Network> {
    // Checked here, so that every test names a missing image, not only the first one.
    image(MACHINE);
    Arc::clone(&SHARED)
}

/// The two networks and their two servers.
#[derive(Debug)]
pub(crate) struct Network {
    // Dropped in this order: containers before their networks.
    bastion: Container,
    postgres: Container,
    public: Subnet,
    private: Subnet,
    /// The directory of the database server's Unix socket.
    socket: TempDir,
    certificate: Certificate,
    /// `ssh-known-hosts` for the bastion.
    known_hosts: String,
    /// A private key that the bastion accepts.
    key: String,
    databases: AtomicUsize,
}

impl Network {
    /// Starts both servers and waits until they accept connections.
    pub(crate) fn start() -> Self {
        let machine = image(MACHINE);
        let (public, private) =
            (Subnet::create("public", NetworkAccess::External), Subnet::create("private", NetworkAccess::Internal));
        let certificate = Certificate::named(DATABASE, Expired::Nothing);
        let socket = tempfile::Builder::new().prefix("bastion-migrate-socket-").tempdir().expect("there is room");
        fs::set_permissions(socket.path(), fs::Permissions::from_mode(0o777)).expect("it is ours");
        let mount = format!("{}:/run/postgresql", socket.path().display());
        let postgres = start_postgres(machine, (&private, DATABASE), &certificate, &["--volume", &mount]);
        let bastion = start_sshd(machine, BASTION, &public, &private);
        docker(&["network", "connect", DEFAULT, bastion.id()]);
        wait_for_sshd(&bastion);
        let names = format!("{BASTION},{}", bastion.address(DEFAULT));
        let (known_hosts, key) = (known_hosts_line(&bastion, &names), private_key(&bastion));
        let databases = AtomicUsize::new(0);
        let network = Self { bastion, postgres, public, private, socket, certificate, known_hosts, key, databases };
        // Over TCP: the Unix socket opens a moment earlier.
        let answers = || network.postgres.try_exec(&["pg_isready", "--quiet", "--host=127.0.0.1"]).ok();
        poll(Duration::from_secs(30), answers).unwrap_or_else(|| panic!("PostgreSQL: {}", network.postgres.log()));
        let password = PASSWORD.replace('\'', "''");
        network.sql("postgres", &format!("create role {ROLE} login createrole password '{password}'"));
        network
    }

    /// Returns the name of the public network, for `--network`, as a job with services has it.
    pub(crate) fn public(&self) -> &str {
        self.public.name()
    }

    /// Returns the name of the private network.
    pub(crate) fn private(&self) -> &str {
        self.private.name()
    }

    /// Returns the bastion's container. In the public network it is named [`BASTION`].
    pub(crate) fn bastion(&self) -> &Container {
        &self.bastion
    }

    /// Returns the database server's container.
    pub(crate) fn postgres(&self) -> &Container {
        &self.postgres
    }

    /// Returns `ssh-host` for a step in the public network.
    pub(crate) fn bastion_host(&self) -> String {
        format!("{USER}@{BASTION}:22")
    }

    /// Returns `ssh-host` for a step in the engine's default network, which has no name resolution.
    pub(crate) fn bastion_address(&self) -> String {
        format!("{USER}@{}:22", self.bastion.address(DEFAULT))
    }

    /// Returns `ssh-known-hosts` with the bastion's name and its address in the default network.
    pub(crate) fn known_hosts(&self) -> String {
        self.known_hosts.clone()
    }

    /// Returns the test machine's own address in the public network.
    pub(crate) fn gateway(&self) -> String {
        docker(&["network", "inspect", self.public(), "--format", "{{(index .IPAM.Config 0).Gateway}}"])
    }

    /// Returns a private key that the bastion accepts.
    pub(crate) fn key(&self) -> String {
        self.key.clone()
    }

    /// Returns the CA of the database's certificate, in PEM form.
    pub(crate) fn ca(&self) -> &str {
        &self.certificate.ca
    }

    /// Starts another server, which the steps of a job reach by this name.
    pub(crate) fn another_server(&self, host: &str) -> Container {
        let server = start_postgres(image(MACHINE), (&self.public, host), &self.certificate, &[]);
        let answers = || server.try_exec(&["pg_isready", "--quiet", "--host=127.0.0.1"]).ok();
        poll(Duration::from_secs(30), answers).unwrap_or_else(|| panic!("PostgreSQL: {}", server.log()));
        server
    }

    /// Creates an empty database, which is dropped with the value.
    pub(crate) fn database(self: &Arc<Self>) -> Database {
        let name = format!("test_{}", self.databases.fetch_add(1, Ordering::Relaxed));
        self.sql("postgres", &format!("create database {name} owner {ROLE} template template0"));
        Database { network: Arc::clone(self), name }
    }

    /// Runs statements as a superuser in this database. Rows are returned as lines, columns separated by `|`.
    fn sql(&self, database: &str, statements: &str) -> String {
        let psql = ["env", "PGAPPNAME=lab", "psql", "-XqAt", "-v", "ON_ERROR_STOP=1", "-U", "postgres", "-d", database];
        self.postgres.feed(&psql, statements)
    }
}

fn start_postgres(
    machine: &str,
    (network, host): (&Subnet, &str),
    certificate: &Certificate,
    mounts: &[&str],
) -> Container {
    let certified = format!("CERTIFICATE={}", certificate.certificate);
    let key = format!("KEY={}", certificate.key);
    // A volume, which the engine fills from the image: an overlay would copy each file at its first write.
    let options = ["--network", network.name(), "--network-alias", host, "--volume", "/lab/cluster"];
    let options = [&options[..], mounts, &["--env", &certified, "--env", &key]].concat();
    Container::start(&options, machine, &["sh", "-euc", POSTGRES])
}

/// Starts a machine in both networks that a user logs in to.
fn start_sshd(machine: &str, host: &str, public: &Subnet, private: &Subnet) -> Container {
    let login = format!("LOGIN={LOGIN}");
    let options = ["--network", public.name(), "--network-alias", host, "--env", &login];
    let started = Container::start(&options, machine, &["sh", "-euc", SSHD]);
    docker(&["network", "connect", private.name(), started.id()]);
    started
}

fn wait_for_sshd(machine: &Container) {
    let listens = || machine.log().contains("Server listening on").then_some(());
    poll(Duration::from_secs(30), listens).unwrap_or_else(|| panic!("sshd: {}", machine.log()));
}

/// Returns the line of `known_hosts` for a machine with these names.
fn known_hosts_line(machine: &Container, names: &str) -> String {
    let key = machine.exec(&["cut", "-d ", "-f1,2", "/etc/ssh/ssh_host_ed25519_key.pub"]);
    format!("{names} {key}\n")
}

fn private_key(machine: &Container) -> String {
    machine.exec(&["cat", "/lab/key"]) + "\n"
}

/// A deployment server beside the database, which a step logs in to directly.
#[derive(Debug)]
pub(crate) struct DeploymentServer {
    machine: Container,
    known_hosts: String,
    key: String,
}

impl DeploymentServer {
    /// Starts it, and waits until it accepts connections.
    pub(crate) fn start(network: &Network) -> Self {
        let machine = start_sshd(image(SERVER_MACHINE), SERVER, &network.public, &network.private);
        wait_for_sshd(&machine);
        let (known_hosts, key) = (known_hosts_line(&machine, SERVER), private_key(&machine));
        Self { machine, known_hosts, key }
    }

    /// Returns its container.
    pub(crate) fn machine(&self) -> &Container {
        &self.machine
    }

    /// Returns `ssh-host`.
    pub(crate) fn host(&self) -> String {
        format!("{USER}@{SERVER}:22")
    }

    /// Returns `ssh-known-hosts`.
    pub(crate) fn known_hosts(&self) -> String {
        self.known_hosts.clone()
    }

    /// Returns a private key that it accepts.
    pub(crate) fn key(&self) -> String {
        self.key.clone()
    }
}

/// One test's database.
#[derive(Debug)]
pub(crate) struct Database {
    network: Arc<Network>,
    name: String,
}

impl Database {
    /// Returns the network that the database is in.
    pub(crate) fn network(&self) -> &Arc<Network> {
        &self.network
    }

    /// Returns the database's name.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Returns the URL for the secret `database-url`.
    pub(crate) fn url(&self) -> String {
        self.url_at(DATABASE)
    }

    /// Returns the URL with another host.
    pub(crate) fn url_at(&self, host: &str) -> String {
        let password = utf8_percent_encode(PASSWORD, NON_ALPHANUMERIC);
        format!("postgres://{ROLE}:{password}@{host}:5432/{}", self.name)
    }

    /// Runs statements as a superuser. Rows are returned as lines, columns separated by `|`.
    pub(crate) fn sql(&self, statements: &str) -> String {
        self.network.sql(&self.name, statements)
    }

    /// Opens a session of the lab over the server's Unix socket, as a superuser.
    pub(crate) fn session(&self) -> Session {
        let mut config = Config::new();
        config.host_path(self.network.socket.path()).user("postgres").dbname(&self.name);
        Session::open(&config).expect("the server is there")
    }

    /// Flushes every commit so far to the disk.
    pub(crate) fn flush(&self) {
        self.session().sql("select pg_logical_emit_message(true, 'lab', '')");
    }

    /// Lists sessions and advisory locks other than the lab's own, one per line. Allows a moment for a run's sessions
    /// to end.
    pub(crate) fn left_behind(&self) -> String {
        const LEFTOVERS: &str = "select 'session ' || pid || ' ' || application_name || ': ' || coalesce(query, '') \
             from pg_stat_activity where datname = current_database() and application_name not like 'lab%' \
             union all select 'advisory lock ' || pid || ' ' || classid || ' ' || objid from pg_locks \
             where locktype = 'advisory' and database = (select oid from pg_database where datname = current_database())";
        let session = self.session();
        let none_left = || session.sql(LEFTOVERS).is_empty().then_some(());
        poll(Duration::from_secs(3), none_left).map_or_else(|| session.sql(LEFTOVERS), |()| String::new())
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        let drop_it = format!("drop database if exists {} with (force)", self.name);
        drop(self.network.postgres.try_exec(&["psql", "-Xqc", &drop_it, "-U", "postgres"]));
    }
}
