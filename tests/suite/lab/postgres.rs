//! A private PostgreSQL: its own cluster on loopback, a fresh database for every test.

use super::{
    certificate::{Certificate, Expired},
    process::{ServerProcess, chown_to_unprivileged, directory, free_port, poll, program, run_checked, unprivileged},
    session::Session,
};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use std::{
    fmt::Write as _,
    fs,
    os::unix::fs::PermissionsExt as _,
    path::PathBuf,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tempfile::TempDir;
use tokio_postgres::Config;

/// Options of a server; by default it offers TLS for `localhost` and requires a password.
#[derive(Debug, Clone)]
pub(crate) struct Options {
    pub(crate) tls: Tls,
    pub(crate) login: Login,
    /// Lines of `postgresql.conf`.
    pub(crate) settings: &'static [&'static str],
}

/// The server's certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tls {
    Off,
    /// A certificate for this name; the server is reached as `localhost`.
    Named(&'static str),
    /// A certificate for `localhost`, itself or its CA expired.
    Expired(Expired),
}

/// Authentication of clients over TCP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Login {
    Trust,
    Scram,
}

impl Default for Options {
    fn default() -> Self {
        Self { tls: Tls::Named("localhost"), login: Login::Scram, settings: &[] }
    }
}

/// Role that migrates; it owns every test's database.
pub(crate) const ROLE: &str = "app";
/// Its password, which has to be encoded in a URL, in JSON and for a shell.
pub(crate) const PASSWORD: &str = "pa55 w\"rd/of'the@lab:%";

/// A database server.
#[derive(Debug)]
pub(crate) struct Postgres {
    directory: TempDir,
    port: u16,
    certificate: Option<Certificate>,
    /// The directory of its programs; none is the machine's own version.
    programs: Option<PathBuf>,
    process: Mutex<Option<ServerProcess>>,
    databases: AtomicUsize,
}

impl Postgres {
    /// Creates a cluster and starts its server.
    pub(crate) fn start(options: &Options) -> Arc<Self> {
        Self::start_with_programs(None, options)
    }

    /// Does the same with the programs in this directory, of another version.
    pub(crate) fn start_with_programs(programs: Option<PathBuf>, options: &Options) -> Arc<Self> {
        let certificate = match options.tls {
            Tls::Off => None,
            Tls::Named(name) => Some(Certificate::named(name, Expired::Nothing)),
            Tls::Expired(what) => Some(Certificate::named("localhost", what)),
        };
        let server = Self::prepared(certificate, programs);
        run_checked(
            unprivileged(&server.program("initdb"))
                .args(["--username=postgres", "--auth=trust", "--no-sync", "--no-instructions"])
                .args(["--encoding=UTF8", "--locale=C.UTF-8", "--pgdata"])
                .arg(server.data()),
        );
        server.configure(options);
        server.resume();
        let password = PASSWORD.replace('\'', "''");
        server.sql(&format!("create role {ROLE} login createrole password '{password}'"));
        server
    }

    /// Starts a read-only standby that follows this server.
    pub(crate) fn standby(&self) -> Arc<Self> {
        let standby = Self::prepared(self.certificate.clone(), self.programs.clone());
        run_checked(
            unprivileged(&program("pg_basebackup", "postgresql-client"))
                .args(["--write-recovery-conf", "--checkpoint=fast", "--no-sync", "--username=postgres", "--host"])
                .arg(self.directory.path())
                .args(["--port", &self.port.to_string(), "--pgdata"])
                .arg(standby.data()),
        );
        standby.resume();
        standby
    }

    fn prepared(certificate: Option<Certificate>, programs: Option<PathBuf>) -> Arc<Self> {
        let directory = directory();
        chown_to_unprivileged(directory.path());
        let (process, databases) = (Mutex::new(None), AtomicUsize::new(0));
        Arc::new(Self { directory, port: free_port(), certificate, programs, process, databases })
    }

    fn configure(&self, options: &Options) {
        let mut conf = "fsync = off\nlisten_addresses = '127.0.0.1'\nmax_connections = 200\n".to_owned();
        if let Some(tls) = &self.certificate {
            conf.push_str("ssl = on\n");
            fs::write(self.data().join("server.crt"), &tls.certificate).expect("the cluster is writable");
            fs::write(self.data().join("server.key"), &tls.key).expect("the cluster is writable");
            fs::set_permissions(self.data().join("server.key"), fs::Permissions::from_mode(0o600))
                .expect("the cluster is writable");
        }
        for line in options.settings {
            writeln!(conf, "{line}").expect("a string takes everything");
        }
        fs::write(self.data().join("postgresql.auto.conf"), conf).expect("the cluster is writable");
        let method = match options.login {
            Login::Trust => "trust",
            Login::Scram => "scram-sha-256",
        };
        let hba =
            format!("local all postgres trust\nlocal replication postgres trust\nhost all all 127.0.0.1/32 {method}\n");
        fs::write(self.data().join("pg_hba.conf"), hba).expect("the cluster is writable");
        chown_to_unprivileged(self.directory.path());
    }

    /// Replaces the rules of `pg_hba.conf` for clients over TCP, adds files to the data directory and lines to the
    /// settings, and starts the server again.
    #[cfg(test)]
    pub(crate) fn reconfigure(&self, rules: &str, files: &[(&str, &str)], settings: &[&str]) {
        self.stop();
        let hba = format!("local all postgres trust\nlocal replication postgres trust\n{rules}\n");
        fs::write(self.data().join("pg_hba.conf"), hba).expect("the cluster is writable");
        for (name, content) in files {
            fs::write(self.data().join(name), content).expect("the cluster is writable");
        }
        let conf = self.data().join("postgresql.auto.conf");
        let lines = settings.iter().map(|line| format!("{line}\n")).collect::<String>();
        let conf_text = fs::read_to_string(&conf).expect("the cluster is readable") + &lines;
        fs::write(&conf, conf_text).expect("the cluster is writable");
        chown_to_unprivileged(self.directory.path());
        self.resume();
    }

    /// Returns its directory, which its user may read.
    #[cfg(test)]
    pub(crate) fn directory(&self) -> &std::path::Path {
        self.directory.path()
    }

    /// Starts the server (again), and waits until it accepts connections.
    pub(crate) fn resume(&self) {
        self.launch();
        self.wait_until_ready();
    }

    /// Starts the server again, in recovery until [`Self::end_recovery`]. Meanwhile it rejects logins as starting up.
    pub(crate) fn begin_recovery(&self) {
        let conf = self.data().join("postgresql.auto.conf");
        let settings = fs::read_to_string(&conf).expect("the cluster is readable");
        // An archive that takes its time to report that it has no segment.
        let restore = "restore_command = 'until test -e ../recovered; do sleep 0.02; done; false'\n";
        fs::write(&conf, settings + restore).expect("the cluster is writable");
        fs::write(self.data().join("recovery.signal"), "").expect("the cluster is writable");
        chown_to_unprivileged(self.directory.path());
        self.launch();
    }

    /// Lets the server `run_checked` its recovery.
    pub(crate) fn end_recovery(&self) {
        fs::write(self.directory.path().join("recovered"), "").expect("the cluster is writable");
        self.wait_until_ready();
    }

    fn program(&self, name: &str) -> PathBuf {
        self.programs.as_ref().map_or_else(|| program(name, "postgresql"), |directory| directory.join(name))
    }

    fn launch(&self) {
        let mut command = unprivileged(&self.program("postgres"));
        command.arg("-D").arg(self.data()).args(["-p", &self.port.to_string(), "-k"]).arg(self.directory.path());
        let process = ServerProcess::start(&command, self.directory.path(), &self.log_file(), "QUIT");
        *self.process.lock().unwrap_or_else(PoisonError::into_inner) = Some(process);
    }

    /// Waits until a start or a recovery has ended and the server accepts connections.
    pub(crate) fn wait_until_ready(&self) {
        poll(Duration::from_secs(30), || self.session("postgres").ok())
            .unwrap_or_else(|| panic!("PostgreSQL is not ready: {}", self.log()));
    }

    /// Ends every session and the server, at once.
    pub(crate) fn stop(&self) {
        drop(self.process.lock().unwrap_or_else(PoisonError::into_inner).take());
    }

    /// Ends every session with an error message, then the server (`pg_ctl stop -m fast`).
    pub(crate) fn shut_down(&self) {
        if let Some(process) = self.process.lock().unwrap_or_else(PoisonError::into_inner).take() {
            process.stop_with("INT");
        }
    }

    /// Ends the server as a power failure would.
    pub(crate) fn crash(&self) {
        if let Some(process) = self.process.lock().unwrap_or_else(PoisonError::into_inner).take() {
            process.crash();
        }
    }

    /// Returns whether the server was started and not stopped.
    pub(crate) fn is_running(&self) -> bool {
        self.process.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    /// Creates an empty database, which is dropped with the value.
    pub(crate) fn database(self: &Arc<Self>) -> Database {
        self.database_with("")
    }

    /// Creates a database with these options of CREATE DATABASE.
    pub(crate) fn database_with(self: &Arc<Self>, options: &str) -> Database {
        let name = format!("test_{}", self.databases.fetch_add(1, Ordering::Relaxed));
        self.sql(&format!("create database {name} owner {ROLE} template template0 {options}"));
        Database { server: Arc::clone(self), name }
    }

    /// Returns its port on 127.0.0.1.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Returns the CA of the server's certificate, in PEM form.
    pub(crate) fn ca(&self) -> &str {
        &self.certificate.as_ref().expect("the server was started with TLS").ca
    }

    /// Returns the server's log.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.log_file()).unwrap_or_default()
    }

    fn sql(&self, statements: &str) -> String {
        let session = self.session("postgres").unwrap_or_else(|error| panic!("{error:?}: {}", self.log()));
        session.sql(statements)
    }

    fn session(&self, database: &str) -> Result<Session, tokio_postgres::Error> {
        let mut config = Config::new();
        config.host_path(self.directory.path()).port(self.port).user("postgres").dbname(database);
        Session::open(&config)
    }

    fn data(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    fn log_file(&self) -> PathBuf {
        self.directory.path().join("log")
    }
}

/// One test's database.
#[derive(Debug)]
pub(crate) struct Database {
    server: Arc<Postgres>,
    name: String,
}

/// Condition that excludes the session that monitors a run.
const NO_MONITOR: &str = "application_name not like 'bastion-migrate-watch%'";

impl Database {
    /// Returns its server.
    pub(crate) fn server(&self) -> &Arc<Postgres> {
        &self.server
    }

    /// Returns its name.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Returns the value of the secret `database-url`.
    pub(crate) fn url(&self) -> String {
        self.url_at("localhost", self.server.port)
    }

    /// Returns the URL of the database at another address.
    pub(crate) fn url_at(&self, host: &str, port: u16) -> String {
        let password = utf8_percent_encode(PASSWORD, NON_ALPHANUMERIC);
        format!("postgres://{ROLE}:{password}@{host}:{port}/{}", self.name)
    }

    /// Opens a superuser's session, which can hold locks.
    pub(crate) fn session(&self) -> Session {
        self.server.session(&self.name).unwrap_or_else(|error| panic!("{error:?}: {}", self.server.log()))
    }

    /// Returns the rows as lines, columns separated by `|`.
    pub(crate) fn sql(&self, statements: &str) -> String {
        self.session().sql(statements)
    }

    /// Flushes every commit so far to the disk.
    pub(crate) fn flush(&self) {
        self.sql("select pg_logical_emit_message(true, 'lab', '')");
    }

    /// Returns every schema and relation that a fresh database does not have, one per line, without the record of runs.
    pub(crate) fn contents(&self) -> String {
        self.sql(
            "with found as (select nspname, c.oid::regclass::text as relation from pg_class c \
               join pg_namespace n on n.oid = relnamespace where nspname !~ '^pg_' and nspname <> 'information_schema' \
               and relkind in ('r', 'v', 'S', 'p') and (nspname, relname) <> ('bastion_migrate', 'runs')) \
             select nspname from pg_namespace where nspname !~ '^pg_' and nspname not in ('information_schema', 'public') \
               and (nspname <> 'bastion_migrate' or 'bastion_migrate' in (select nspname from found) \
                 or to_regclass('bastion_migrate.runs') is null) \
             union all select relation from found order by 1",
        )
    }

    /// Returns the output of `pg_dump`.
    pub(crate) fn dump(&self) -> String {
        self.dump_with(&[])
    }

    /// Returns the definitions of all objects, without rows.
    pub(crate) fn dump_schema(&self) -> String {
        self.dump_with(&["--schema-only"])
    }

    fn dump_with(&self, options: &[&str]) -> String {
        let file = self.server.directory.path().join(format!("{}.sql", self.name));
        run_checked(
            unprivileged(&program("pg_dump", "postgresql-client"))
                .args(options)
                .args(["--username=postgres", "--host"])
                .arg(self.server.directory.path())
                .args(["--port", &self.server.port.to_string(), "--file"])
                .arg(&file)
                .arg(&self.name),
        );
        fs::read_to_string(file).expect("the dump is written")
    }

    /// Runs a dump.
    pub(crate) fn restore(&self, dump: &str) {
        let file = self.server.directory.path().join(format!("{}.restored.sql", self.name));
        fs::write(&file, dump).expect("there is room");
        run_checked(
            unprivileged(&program("psql", "postgresql-client"))
                .args(["-Xq", "--set=ON_ERROR_STOP=1", "--username=postgres", "--host"])
                .arg(self.server.directory.path())
                .args(["--port", &self.server.port.to_string(), "--dbname", &self.name, "--file"])
                .arg(&file),
        );
    }

    /// Repeats the query until its result is this one.
    pub(crate) fn wait_for(&self, query: &str, expected: &str) {
        let session = self.session();
        let same = || (session.sql(query) == expected).then_some(());
        poll(Duration::from_secs(60), same)
            .unwrap_or_else(|| panic!("{query}: never {expected}, but {}", session.sql(query)));
    }

    /// Terminates the sessions whose `application_name` matches the pattern, and returns their number.
    pub(crate) fn terminate(&self, application_name: &str) -> usize {
        let ended = self.sql(&format!(
            "select pg_terminate_backend(pid) from pg_stat_activity \
             where datname = current_database() and application_name like '{application_name}' and {NO_MONITOR}"
        ));
        ended.lines().count()
    }

    /// Returns the backend pid of the step's only session.
    pub(crate) fn backend(&self) -> i32 {
        let pid = self.sql(&format!(
            "select pid from pg_stat_activity \
             where datname = current_database() and application_name like 'bastion-migrate%' and {NO_MONITOR}"
        ));
        pid.parse().unwrap_or_else(|_| panic!("not exactly one session: {pid}"))
    }

    /// Returns all sessions and advisory locks but the lab's, one per line; nothing if the server is stopped.
    pub(crate) fn left_behind(&self) -> String {
        const QUERY: &str = "select 'session ' || pid || ' ' || application_name || ': ' || coalesce(query, '') \
             from pg_stat_activity where datname = current_database() and application_name like 'bastion-migrate%' \
             union all select 'advisory lock ' || pid || ' ' || classid || ' ' || objid from pg_locks \
             left join pg_stat_activity using (pid) where locktype = 'advisory' and application_name <> 'lab' \
             and database = (select oid from pg_database where datname = current_database())";
        if !self.server.is_running() {
            return String::new();
        }
        // A server that recovers from a crash does not accept connections yet.
        self.server.wait_until_ready();
        let session = self.session();
        let nothing = || session.sql(QUERY).is_empty().then_some(());
        poll(Duration::from_secs(3), nothing).map_or_else(|| session.sql(QUERY), |()| String::new())
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        if let Ok(session) = self.server.session("postgres") {
            drop(session.try_sql(&format!("drop database if exists {} with (force)", self.name)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{os::unix::fs::MetadataExt as _, path::Path, process::Command};

    fn over_tcp(url: &str) -> Result<Session, tokio_postgres::Error> {
        Session::open(&url.parse().unwrap())
    }

    #[test]
    fn a_test_has_a_database_of_its_own() {
        let server = super::super::shared();
        let (one, other) = (server.database(), server.database());
        one.sql("create table only_here (id int)");
        assert_eq!(other.sql("select count(*), null, 'x' from pg_class where relname = 'only_here'"), "0||x");
        assert_eq!(over_tcp(&one.url()).unwrap().sql("select current_user"), ROLE);
        let name = one.name.clone();
        drop(one);
        assert_eq!(other.sql(&format!("select 1 from pg_database where datname = '{name}'")), "");
    }

    #[test]
    fn a_wrong_password_is_refused_unless_login_is_trust() {
        let strict = super::super::shared().database();
        let trusting = Postgres::start(&Options { login: Login::Trust, tls: Tls::Off, settings: &[] });
        let wrong = |database: &Database| database.url().replace(ROLE, "postgres");
        assert!(over_tcp(&wrong(&strict)).is_err());
        assert_eq!(over_tcp(&wrong(&trusting.database())).unwrap().sql("show ssl"), "off");
    }

    #[test]
    fn a_terminated_session_is_gone() {
        let database = super::super::shared().database();
        let victim = over_tcp(&format!("{}?application_name=x", database.url())).unwrap();
        let mut named = database.session();
        named.sql("set application_name = 'victim'; select pg_advisory_lock(7)");
        assert!(
            database.left_behind().contains("advisory lock"),
            "a lock of a session that is not the lab's is listed"
        );
        assert_eq!(database.terminate("victim"), 1);
        named = database.session();
        named.sql("select pg_advisory_lock(7)");
        assert_eq!(database.left_behind(), "");
        drop(victim);
    }

    #[test]
    fn a_server_starts_again_after_a_stop_and_after_a_crash() {
        let server = Postgres::start(&Options::default());
        let database = server.database();
        database.sql("create table kept (id int); insert into kept values (1)");
        server.stop();
        assert!(over_tcp(&database.url()).is_err());
        assert_eq!(database.left_behind(), "");
        server.resume();
        server.crash();
        assert!(over_tcp(&database.url()).is_err());
        server.resume();
        assert_eq!(database.sql("select * from kept"), "1");
    }

    #[test]
    fn a_standby_is_read_only_and_follows() {
        let primary = Postgres::start(&Options::default());
        let database = primary.database();
        let standby = primary.standby();
        let there = || standby.session(database.name()).ok();
        let session = poll(Duration::from_secs(10), there).unwrap();
        assert_eq!(session.sql("select pg_is_in_recovery()"), "t");
        assert!(session.try_sql("create table refused (id int)").is_err());
    }

    #[test]
    fn only_the_server_can_read_the_key_of_its_certificate() {
        let server = super::super::shared();
        assert!(server.ca().starts_with("-----BEGIN CERTIFICATE-----"));
        let mode = fs::metadata(server.data().join("server.key")).unwrap().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    /// Closes the supervisor's standard input, as the death of the test process does.
    #[test]
    fn a_server_ends_with_the_process_that_started_it() {
        let home = directory();
        #[expect(clippy::disallowed_methods, reason = "a substitute for a server")]
        let mut command = Command::new("sleep");
        command.arg("60");
        let log = home.path().join("log");
        let server = ServerProcess::start(&command, home.path(), &log, "TERM");
        let process = PathBuf::from(format!("/proc/{}", server.pid()));
        assert!(process.exists());
        server.abandon();
        let gone = || (!process.exists() && !Path::new(home.path()).exists()).then_some(());
        assert!(poll(Duration::from_secs(5), gone).is_some(), "the server or its directory is still there");
    }
}
