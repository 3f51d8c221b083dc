//! A network as it is: a bastion that stands in a public and in a private network, and a PostgreSQL that stands in the
//! private one alone. Only the bastion knows the database's name and reaches it.

use crate::{
    certificate::{Certificate, Expired},
    engine::{Container, Reach, Subnet, docker, image},
    process::poll,
};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use std::{
    sync::{
        Arc, LazyLock,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

/// The image of every machine in it, from `tests/container/lab/Dockerfile`.
pub(crate) const MACHINE: &str = "bastion-migrate-lab:bookworm";

/// The engine's default network, in which a step of a job without services is: the bastion is public there, too.
const DEFAULT: &str = "bridge";

/// The bastion's name in the public network.
pub(crate) const BASTION: &str = "bastion.public.example";
/// Who logs in there.
pub(crate) const USER: &str = "deploy";
/// Their password on the bastion, for who has no key.
pub(crate) const LOGIN: &str = "c0rrect h'rse:\"deploy\"";
/// The database's name, which only the private network knows.
pub(crate) const DATABASE: &str = "db.private.internal";
/// The role that migrates; it owns every test's database.
pub(crate) const ROLE: &str = "app";
/// Its password, which has to be encoded in a URL, in JSON and for a shell.
pub(crate) const PASSWORD: &str = "pa55 w\"rd/of'the@net:%";

/// `exec`, so that sshd is process 1 and ends with the container.
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

/// The network that tests share unless they want to harm it.
pub(crate) fn shared() -> Arc<Network> {
    // Asked here, so that each test says what is missing and not the first alone.
    image(MACHINE);
    Arc::clone(&SHARED)
}

/// A network of our own.
#[derive(Debug)]
pub(crate) struct Network {
    // The containers before the networks that they are in.
    bastion: Container,
    postgres: Container,
    public: Subnet,
    private: Subnet,
    certificate: Certificate,
    databases: AtomicUsize,
}

impl Network {
    /// Starts both servers and waits until they answer.
    pub(crate) fn start() -> Self {
        let machine = image(MACHINE);
        let (public, private) = (Subnet::create("public", Reach::World), Subnet::create("private", Reach::EachOther));
        let certificate = Certificate::named(DATABASE, Expired::Nothing);
        let postgres = start_postgres(machine, &private, &certificate);
        let bastion = start_bastion(machine, &public, &private);
        let network = Self { bastion, postgres, public, private, certificate, databases: AtomicUsize::new(0) };
        let listens = || network.bastion.log().contains("Server listening on").then_some(());
        poll(Duration::from_secs(30), listens).unwrap_or_else(|| panic!("sshd: {}", network.bastion.log()));
        // Over TCP: the socket is there a moment before.
        let answers = || network.postgres.try_exec(&["pg_isready", "--quiet", "--host=127.0.0.1"]).ok();
        poll(Duration::from_secs(30), answers).unwrap_or_else(|| panic!("PostgreSQL: {}", network.postgres.log()));
        let password = PASSWORD.replace('\'', "''");
        network.sql("postgres", &format!("create role {ROLE} login createrole password '{password}'"));
        network
    }

    /// The public network, for `--network`: what a job with services has.
    pub(crate) fn public(&self) -> &str {
        self.public.name()
    }

    /// The private one.
    pub(crate) fn private(&self) -> &str {
        self.private.name()
    }

    /// The bastion, where steps of the public network find it by the name [`BASTION`].
    pub(crate) fn bastion(&self) -> &Container {
        &self.bastion
    }

    /// The machine of the database.
    pub(crate) fn postgres(&self) -> &Container {
        &self.postgres
    }

    /// `ssh-host` for a step in the public network.
    pub(crate) fn bastion_host(&self) -> String {
        format!("{USER}@{BASTION}:22")
    }

    /// `ssh-host` for a step in the engine's default network, which knows no names.
    pub(crate) fn bastion_address(&self) -> String {
        format!("{USER}@{}:22", self.bastion.address(DEFAULT))
    }

    /// What pins the bastion, by whichever way it is reached.
    pub(crate) fn known_hosts(&self) -> String {
        let key = self.bastion.exec(&["cut", "-d ", "-f1,2", "/etc/ssh/ssh_host_ed25519_key.pub"]);
        format!("{BASTION},{} {key}\n", self.bastion.address(DEFAULT))
    }

    /// The machine itself, for a step in the public network.
    pub(crate) fn gateway(&self) -> String {
        docker(&["network", "inspect", self.public(), "--format", "{{(index .IPAM.Config 0).Gateway}}"])
    }

    /// The private key that the bastion lets in.
    pub(crate) fn key(&self) -> String {
        self.bastion.exec(&["cat", "/lab/key"]) + "\n"
    }

    /// The CA of the database's certificate, in PEM form.
    pub(crate) fn ca(&self) -> &str {
        &self.certificate.ca
    }

    /// A database of the caller's own, empty, dropped with the value.
    pub(crate) fn database(self: &Arc<Self>) -> Database {
        let name = format!("test_{}", self.databases.fetch_add(1, Ordering::Relaxed));
        self.sql("postgres", &format!("create database {name} owner {ROLE} template template0"));
        Database { network: Arc::clone(self), name }
    }

    /// What a superuser is told in this database: rows as lines, columns parted by `|`.
    fn sql(&self, database: &str, statements: &str) -> String {
        let psql = ["env", "PGAPPNAME=lab", "psql", "-XqAt", "-v", "ON_ERROR_STOP=1", "-U", "postgres", "-d", database];
        self.postgres.feed(&psql, statements)
    }
}

fn start_postgres(machine: &str, private: &Subnet, certificate: &Certificate) -> Container {
    let certified = format!("CERTIFICATE={}", certificate.certificate);
    let key = format!("KEY={}", certificate.key);
    // A volume of its own, which the engine fills from the image: an overlay would copy each file at its first write.
    let options = ["--network", private.name(), "--network-alias", DATABASE, "--volume", "/lab/cluster"];
    let options = [&options[..], &["--env", &certified, "--env", &key]].concat();
    Container::start(&options, machine, &["sh", "-euc", POSTGRES])
}

fn start_bastion(machine: &str, public: &Subnet, private: &Subnet) -> Container {
    let login = format!("LOGIN={LOGIN}");
    let options = ["--network", public.name(), "--network-alias", BASTION, "--env", &login];
    let bastion = Container::start(&options, machine, &["sh", "-euc", SSHD]);
    for network in [private.name(), DEFAULT] {
        docker(&["network", "connect", network, bastion.id()]);
    }
    bastion
}

/// One test's database.
#[derive(Debug)]
pub(crate) struct Database {
    network: Arc<Network>,
    name: String,
}

impl Database {
    /// The network that it is in.
    pub(crate) fn network(&self) -> &Arc<Network> {
        &self.network
    }

    /// Its name on the server.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// As the secret `database-url` has it.
    pub(crate) fn url(&self) -> String {
        self.url_at(DATABASE)
    }

    /// The same by another name of the server.
    pub(crate) fn url_at(&self, host: &str) -> String {
        let password = utf8_percent_encode(PASSWORD, NON_ALPHANUMERIC);
        format!("postgres://{ROLE}:{password}@{host}:5432/{}", self.name)
    }

    /// What a superuser is told: rows as lines, columns parted by `|`.
    pub(crate) fn sql(&self, statements: &str) -> String {
        self.network.sql(&self.name, statements)
    }

    /// Sessions and advisory locks of anybody but the lab, one to a line, after a moment to notice the end of a run.
    pub(crate) fn left_behind(&self) -> String {
        const QUESTION: &str = "select 'session ' || pid || ' ' || application_name || ': ' || coalesce(query, '') \
             from pg_stat_activity where datname = current_database() and application_name not like 'lab%' \
             union all select 'advisory lock ' || pid || ' ' || classid || ' ' || objid from pg_locks \
             where locktype = 'advisory' and database = (select oid from pg_database where datname = current_database())";
        let nothing = || self.sql(QUESTION).is_empty().then_some(());
        poll(Duration::from_secs(3), nothing).map_or_else(|| self.sql(QUESTION), |()| String::new())
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        let drop_it = format!("drop database if exists {} with (force)", self.name);
        drop(self.network.postgres.try_exec(&["psql", "-Xqc", &drop_it, "-U", "postgres"]));
    }
}
