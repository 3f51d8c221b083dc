//! Other programs' clients at our listener: the messages to them, the data they send, and the end of their sessions.
//! Through a real bastion, to a real PostgreSQL.
#![expect(clippy::disallowed_methods, reason = "runs psql")]

use crate::lab::{
    Lab,
    pgbouncer::{PgBouncer, Pool},
    poll,
    postgres::{Login, Options, PASSWORD, Postgres, ROLE, Tls},
    process::program,
    sshd::Sshd,
};
use bastion_migrate::{
    fault::Code,
    postgres::{DatabaseTarget, SessionSettings, SettingsDelivery, SslMode},
    proxy::{ClientTls, ProxyListener},
    run::event::Events,
    secret::Secret,
    ssh::Route,
    transport::Transport,
    way::WayIn,
};
use rustix::process::{Pid, Signal, kill_process};
use sha2::{Digest as _, Sha256};
use std::{
    convert::Infallible,
    fs::{self, File},
    io::{Read as _, Write as _},
    net::{Ipv4Addr, Shutdown, SocketAddr, TcpStream},
    process::{Child, Command, Output, Stdio},
    sync::{Arc, mpsc},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};
use tokio::sync::oneshot;
use tokio_postgres::{Client, Config, NoTls};

/// Time limit for every wait in these tests.
const TIME_LIMIT: Duration = Duration::from_secs(20);

const NAME: &str = "bastion-migrate#7 of the tests";

/// A listener, served by a thread of its own; it stops when the value is dropped.
pub(crate) struct RunningListener {
    pub(crate) listener: Arc<ProxyListener>,
    stop: Option<oneshot::Sender<Infallible>>,
    thread: Option<JoinHandle<()>>,
}

impl RunningListener {
    /// Starts a listener in front of the test's database, behind its bastion.
    pub(crate) fn start(lab: &Lab, client_tls: ClientTls, target: DatabaseTarget) -> Self {
        Self::start_with_route(Some(lab.bastion.route()), client_tls, target)
    }

    pub(crate) fn start_with_route(route: Option<Route>, client_tls: ClientTls, target: DatabaseTarget) -> Self {
        Self::start_with_settings(route, client_tls, target, settings_for_clients())
    }

    fn start_with_settings(
        route: Option<Route>,
        client_tls: ClientTls,
        target: DatabaseTarget,
        settings_for_clients: SessionSettings,
    ) -> Self {
        let (stop, stopped) = oneshot::channel::<Infallible>();
        let (ready, started) = mpsc::channel();
        let serve = async move {
            let (events, _receiver) = Events::channel();
            let transport = Transport::connect(route.as_ref(), &WayIn::Direct, &events)
                .await
                .expect("the bastion accepts the login");
            let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
            let listener = Arc::new(
                ProxyListener::bind(address, client_tls, settings_for_clients).await.expect("loopback has a free port"),
            );
            ready.send(Arc::clone(&listener)).expect("the test waits");
            tokio::select! { _ = listener.serve(&transport, &target) => {}, _ = stopped => {} }
            drop(transport.close().await);
        };
        let run = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(serve);
        let thread = thread::Builder::new().name("listener".to_owned()).spawn(run).expect("a thread can start");
        let listener = started.recv().expect("the listener has started");
        Self { listener, stop: Some(stop), thread: Some(thread) }
    }

    pub(crate) fn port(&self) -> u16 {
        self.listener.local_address().unwrap().port()
    }

    fn psql(&self, lab: &Lab, more: &str) -> Command {
        psql_at(lab, self.port(), more)
    }

    fn connect(&self, lab: &Lab) -> PlainClient {
        PlainClient::open(lab, self.port())
    }

    fn raw(&self) -> TcpStream {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port())).expect("the listener listens");
        stream.set_read_timeout(Some(TIME_LIMIT)).unwrap();
        stream
    }
}

fn settings_for_clients() -> SessionSettings {
    SessionSettings::named(NAME)
        .with_default("lock_timeout", "4321")
        .with_default("client_connection_check_interval", "100")
}

impl Drop for RunningListener {
    fn drop(&mut self) {
        drop(self.stop.take());
        drop(self.thread.take().map(JoinHandle::join));
    }
}

/// A tokio-postgres client, which requests no TLS.
struct PlainClient {
    client: Client,
    runtime: tokio::runtime::Runtime,
}

impl PlainClient {
    fn open(lab: &Lab, port: u16) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let mut config = Config::new();
        config.host("127.0.0.1").port(port).user(ROLE).password(PASSWORD).dbname(lab.database.name());
        let (client, connection) = runtime.block_on(config.connect(NoTls)).expect("the database accepts the login");
        // The task belongs to the runtime, hence to this value.
        drop(runtime.spawn(connection));
        Self { client, runtime }
    }

    fn query_text(&self, query: &str) -> Result<String, tokio_postgres::Error> {
        self.runtime.block_on(self.client.query_one(query, &[])).map(|row| row.get(0))
    }

    fn pid(&self) -> i32 {
        self.query_text("select pg_backend_pid()::text").unwrap().parse().unwrap()
    }
}

pub(crate) fn target(lab: &Lab, sslmode: SslMode) -> DatabaseTarget {
    let server = lab.database.server();
    DatabaseTarget {
        password: Some(Secret::new(PASSWORD)),
        sslmode,
        ca: (sslmode == SslMode::VerifyFull).then(|| server.ca().to_owned()),
        ..DatabaseTarget::new("localhost", server.port(), ROLE, lab.database.name())
    }
}

fn plain_server() -> Lab {
    Lab::on(&Postgres::start(&Options { tls: Tls::Off, login: Login::Trust, ..Options::default() }))
}

/// Returns a `psql` command whose connection parameters are these alone.
pub(crate) fn psql_at(lab: &Lab, port: u16, more: &str) -> Command {
    let mut psql = Command::new(program("psql", "postgresql-client"));
    let parameters = format!("hostaddr=127.0.0.1 port={port} user={ROLE} dbname={} {more}", lab.database.name());
    psql.args(["--no-psqlrc", "-qAt", "-v", "ON_ERROR_STOP=1", "-d", &parameters]);
    psql.env("PGPASSWORD", PASSWORD).stdin(Stdio::null());
    psql
}

pub(crate) fn stdout_of(mut command: Command) -> String {
    let Output { status, stdout, stderr } = command.output().expect("psql is installed");
    assert!(status.success(), "{}", String::from_utf8_lossy(&stderr));
    String::from_utf8_lossy(&stdout).trim_end().to_owned()
}

pub(crate) fn stderr_of(mut command: Command) -> String {
    let Output { status, stdout, stderr } = command.output().expect("psql is installed");
    assert!(!status.success(), "{}", String::from_utf8_lossy(&stdout));
    String::from_utf8_lossy(&stderr).into_owned()
}

pub(crate) fn with_query(mut psql: Command, query: &str) -> Command {
    psql.args(["-c", query]);
    psql
}

fn start(command: &mut Command) -> Child {
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("psql is installed")
}

fn signal(child: &Child, signal: Signal) {
    kill_process(Pid::from_child(child), signal).expect("it runs");
}

fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    poll(TIME_LIMIT, || holds().then_some(())).unwrap_or_else(|| panic!("{what}"));
}

const SETTINGS: &str = "select concat_ws('|', current_setting('lock_timeout'), current_setting('statement_timeout'), \
     current_setting('application_name'))";

/// Counts the sessions of the listener's clients.
const SESSIONS: &str = "select count(*) from pg_stat_activity where datname = current_database() \
     and application_name = 'bastion-migrate#7 of the tests'";

#[test]
fn the_time_of_the_last_response_is_known_unless_it_is_encrypted() {
    let lab = Lab::new();
    let proxy = RunningListener::start(&lab, ClientTls::Terminated, target(&lab, SslMode::VerifyFull));
    assert_eq!(proxy.listener.answered(), None);
    let before = Instant::now();
    stdout_of(with_query(proxy.psql(&lab, "sslmode=disable"), "select pg_sleep(0.3)"));
    let answered = proxy.listener.answered().expect("the database has answered");
    let after = Instant::now();
    assert!(answered >= before + Duration::from_millis(300) && answered <= after, "{before:?} {answered:?} {after:?}");
    eventually("the session has ended", || proxy.listener.backend_pids().is_empty());
    assert_eq!(proxy.listener.answered(), Some(answered), "the end of a session is no response");
    let opaque = RunningListener::start(&lab, ClientTls::PassThrough, target(&lab, SslMode::VerifyFull));
    stdout_of(with_query(opaque.psql(&lab, "sslmode=require"), "select 1"));
    assert_eq!(opaque.listener.answered(), None, "the client's TLS passes through");
}

#[test]
fn our_session_settings_apply_and_the_clients_own_take_precedence() {
    let lab = Lab::new();
    for client_tls in [ClientTls::Terminated, ClientTls::PassThrough] {
        let proxy = RunningListener::start(&lab, client_tls, target(&lab, SslMode::VerifyFull));
        let psql = || proxy.psql(&lab, "sslmode=disable application_name=psql");
        assert_eq!(stdout_of(with_query(psql(), SETTINGS)), format!("4321ms|0|{NAME}"));
        let mut own = with_query(psql(), SETTINGS);
        own.env("PGOPTIONS", "-c lock_timeout=1s -c statement_timeout=2s");
        assert_eq!(stdout_of(own), format!("1s|2s|{NAME}"));
        assert_eq!(proxy.connect(&lab).query_text(SETTINGS).unwrap(), format!("4321ms|0|{NAME}"));
        let traffic = proxy.listener.traffic();
        assert_eq!((traffic.connections, traffic.settled, traffic.untouched), (3, 3, 0));
        assert!(traffic.sent > 0 && traffic.received > 0);
        assert_eq!((proxy.listener.last_error(), proxy.listener.last_fault()), (None, None));
    }
}

#[test]
fn behind_a_pooler_statements_set_the_settings_before_the_clients_first_one() {
    let lab = Lab::new();
    for lines in ["", "ignore_startup_parameters = options,extra_float_digits"] {
        let pooler = PgBouncer::configured(&lab.database, Pool::Session, lines);
        let target = DatabaseTarget { port: pooler.port(), ..target(&lab, SslMode::Disable) };
        let settings = settings_for_clients().read_only().delivered(SettingsDelivery::Statements);
        let proxy =
            RunningListener::start_with_settings(Some(lab.bastion.route()), ClientTls::Terminated, target, settings);
        let psql = || proxy.psql(&lab, "sslmode=disable application_name=psql");
        assert_eq!(stdout_of(with_query(psql(), SETTINGS)), format!("4321ms|0|{NAME}"));
        let mut own = with_query(psql(), SETTINGS);
        own.env("PGOPTIONS", "-c lock_timeout=1s -c statement_timeout=2s -c default_transaction_read_only=off");
        assert_eq!(stdout_of(own), format!("1s|2s|{NAME}"));
        let client = proxy.connect(&lab);
        assert_eq!(client.query_text(SETTINGS).unwrap(), format!("4321ms|0|{NAME}"));
        assert_eq!(client.query_text("show default_transaction_read_only").unwrap(), "on");
        let failed = client.query_text("create table t () returning 1");
        assert!(failed.is_err());
        assert_eq!(client.query_text("show lock_timeout").unwrap(), "4321ms");
    }
}

/// Creates a table, and has a session block the build of its index for longer than the clients' lock timeout.
fn with_blocked_build(lab: &Lab, proxy: &RunningListener, build: impl FnOnce(&RunningListener) + Send) {
    lab.database.sql("create table t (id int); insert into t values (1); alter table t owner to app");
    let holder = lab.database.session();
    holder.sql("begin; update t set id = id");
    thread::scope(|scope| {
        let holder = holder;
        let building = scope.spawn(|| build(proxy));
        lab.database.wait_for(
            "select count(*) from pg_locks where not granted and clock_timestamp() - waitstart > '4.8 s'",
            "1",
        );
        holder.sql("rollback");
        building.join().expect("the index is built");
    });
    assert_eq!(lab.database.sql("select indisvalid from pg_index where indexrelid = 't_id'::regclass"), "t");
}

const LIMIT: &str = "show lock_timeout";

#[test]
fn a_concurrent_build_has_no_lock_timeout_and_the_next_statement_has_it_again() {
    let lab = Lab::new();
    let proxy = RunningListener::start(&lab, ClientTls::Terminated, target(&lab, SslMode::Require));
    with_blocked_build(&lab, &proxy, |proxy| {
        let psql = with_query(proxy.psql(&lab, ""), LIMIT);
        let psql = with_query(with_query(psql, "create index concurrently t_id on t (id)"), LIMIT);
        assert_eq!(stdout_of(psql), "4321ms\n4321ms");
    });
}

#[test]
fn a_prepared_concurrent_build_has_no_lock_timeout() {
    let lab = Lab::new();
    let proxy = RunningListener::start(&lab, ClientTls::Terminated, target(&lab, SslMode::Require));
    with_blocked_build(&lab, &proxy, |proxy| {
        let client = proxy.connect(&lab);
        let built = client.runtime.block_on(client.client.execute("create index concurrently t_id on t (id)", &[]));
        assert_eq!(built.expect("it is built"), 0);
        assert_eq!(client.query_text("select current_setting('lock_timeout')").unwrap(), "4321ms");
    });
}

#[test]
fn a_lock_timeout_of_the_clients_own_is_kept() {
    let lab = Lab::new();
    lab.database.sql("create table t (id int); alter table t owner to app");
    let proxy = RunningListener::start(&lab, ClientTls::Terminated, target(&lab, SslMode::Require));
    for own in ["7s", "0"] {
        let psql = with_query(proxy.psql(&lab, ""), &format!("set lock_timeout = '{own}'"));
        let psql = with_query(with_query(psql, "create index concurrently if not exists t_id on t (id)"), LIMIT);
        assert_eq!(stdout_of(psql), own);
    }
}

#[test]
fn libpq_logs_in_with_scram_over_our_tls() {
    let lab = Lab::new();
    for (mode, has_tls) in
        [(SslMode::VerifyFull, "t"), (SslMode::VerifyCa, "t"), (SslMode::Require, "t"), (SslMode::Disable, "f")]
    {
        let mut target = target(&lab, mode);
        target.ca = (mode != SslMode::Require).then(|| lab.database.server().ca().to_owned());
        let proxy = RunningListener::start(&lab, ClientTls::Terminated, target);
        let query = "select ssl from pg_stat_ssl where pid = pg_backend_pid()";
        for wish in ["prefer", "allow", "disable"] {
            let psql = proxy.psql(&lab, &format!("sslmode={wish} gssencmode=disable"));
            assert_eq!(stdout_of(with_query(psql, query)), has_tls, "{mode:?} {wish}");
        }
        let refused = stderr_of(with_query(proxy.psql(&lab, "sslmode=require"), query));
        assert!(refused.contains("server does not support SSL"), "{refused}");
        assert_eq!(proxy.listener.traffic().settled, 3);
    }
}

#[test]
fn a_client_that_requires_tls_is_counted_and_can_be_passed_through() {
    let lab = Lab::new();
    let proxy = RunningListener::start(&lab, ClientTls::Terminated, target(&lab, SslMode::Require));
    let query = "select ssl from pg_stat_ssl where pid = pg_backend_pid()";
    assert_eq!(stdout_of(with_query(proxy.psql(&lab, "sslmode=prefer"), query)), "t");
    drop(proxy.raw());
    assert_eq!(proxy.listener.traffic().declined, 0);
    let refused = stderr_of(with_query(proxy.psql(&lab, "sslmode=require"), query));
    assert!(refused.contains("server does not support SSL"), "{refused}");
    let traffic = proxy.listener.traffic();
    assert_eq!((traffic.declined, traffic.settled, traffic.untouched), (1, 1, 0));
    proxy.listener.let_through();
    assert_eq!(stdout_of(with_query(proxy.psql(&lab, "sslmode=require"), query)), "t");
    // A client that requests no TLS still gets our settings.
    assert_eq!(stdout_of(with_query(proxy.psql(&lab, "sslmode=disable"), SETTINGS)), format!("4321ms|0|{NAME}"));
    let traffic = proxy.listener.traffic();
    assert_eq!((traffic.declined, traffic.settled, traffic.untouched), (1, 2, 1));
}

#[test]
fn a_client_that_checks_the_databases_own_name_is_passed_through_unchanged() {
    let server = Postgres::start(&Options { tls: Tls::Named("db.private.internal"), ..Options::default() });
    let lab = Lab::on(&server);
    let directory = tempfile::tempdir().unwrap();
    let ca = directory.path().join("ca.pem");
    fs::write(&ca, server.ca()).unwrap();
    let proxy = RunningListener::start(&lab, ClientTls::PassThrough, target(&lab, SslMode::Require));
    let own =
        format!("host=db.private.internal sslmode=verify-full channel_binding=require sslrootcert={}", ca.display());
    let mut psql = with_query(proxy.psql(&lab, &own), SETTINGS);
    psql.env("PGOPTIONS", "-c lock_timeout=9s").env("PGAPPNAME", "their own");
    assert_eq!(stdout_of(psql), "9s|0|their own");
    let traffic = proxy.listener.traffic();
    assert_eq!((traffic.connections, traffic.settled, traffic.untouched), (1, 0, 1));
    assert!(traffic.sent > 0 && traffic.received > 0);
    let wrong = stderr_of(with_query(proxy.psql(&lab, &own.replace("private", "other")), "select 1"));
    assert!(wrong.contains("does not match host name"), "{wrong}");
}

#[test]
fn a_client_that_prefers_tls_continues_without_if_the_server_has_none() {
    let lab = plain_server();
    let proxy = RunningListener::start(&lab, ClientTls::PassThrough, target(&lab, SslMode::Disable));
    let psql = proxy.psql(&lab, "sslmode=prefer");
    assert_eq!(stdout_of(with_query(psql, SETTINGS)), format!("4321ms|0|{NAME}"));
    let traffic = proxy.listener.traffic();
    assert_eq!((traffic.settled, traffic.untouched), (1, 0));
    let refused = stderr_of(with_query(proxy.psql(&lab, "sslmode=require"), "select 1"));
    assert!(refused.contains("server does not support SSL"), "{refused}");
}

#[test]
fn the_backend_pids_are_those_of_the_server() {
    let lab = Lab::new();
    let proxy = RunningListener::start(&lab, ClientTls::Terminated, target(&lab, SslMode::Require));
    let clients = [proxy.connect(&lab), proxy.connect(&lab)];
    let mut known = proxy.listener.backend_pids();
    let mut real: Vec<i32> = clients.iter().map(PlainClient::pid).collect();
    known.sort_unstable();
    real.sort_unstable();
    assert_eq!(known, real);
    let [gone, stays] = clients;
    let pid = stays.pid();
    drop(gone);
    eventually("the closed session is removed", || proxy.listener.backend_pids() == [pid]);
    lab.database.sql(&format!("select pg_terminate_backend({pid})"));
    eventually("the terminated session is removed", || proxy.listener.backend_pids().is_empty());
    assert_eq!(proxy.listener.last_error().unwrap().sqlstate, "57P01");
}

#[test]
fn an_error_for_a_client_is_recorded() {
    let lab = Lab::new();
    let proxy = RunningListener::start(&lab, ClientTls::Terminated, target(&lab, SslMode::Require));
    let client = proxy.connect(&lab);
    assert_eq!(client.query_text("select repeat('x', 300000)").unwrap().len(), 300_000);
    assert_eq!(proxy.listener.last_error(), None);
    assert!(client.query_text("select * from no_such_table").is_err());
    let recorded = proxy.listener.last_error().unwrap();
    assert_eq!(
        (recorded.sqlstate.as_str(), recorded.message.as_str()),
        ("42P01", "relation \"no_such_table\" does not exist")
    );
    let mut wrong_password = with_query(proxy.psql(&lab, ""), "select 1");
    wrong_password.env("PGPASSWORD", "wrong");
    assert!(stderr_of(wrong_password).contains("password authentication failed"));
    assert_eq!(proxy.listener.last_error().unwrap().sqlstate, "28P01");
}

#[test]
fn a_cancel_request_ends_the_statement() {
    let lab = Lab::new();
    for mode in [SslMode::VerifyFull, SslMode::Disable] {
        let proxy = RunningListener::start(&lab, ClientTls::Terminated, target(&lab, mode));
        let asleep = format!("{SESSIONS} and wait_event = 'PgSleep'");
        let psql = start(&mut with_query(proxy.psql(&lab, ""), "select pg_sleep(600)"));
        lab.database.wait_for(&asleep, "1");
        signal(&psql, Signal::INT);
        let output = psql.wait_with_output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(stderr.contains("canceling statement due to user request"), "{stderr}");

        let client = proxy.connect(&lab);
        let token = client.client.cancel_token();
        thread::scope(|scope| {
            let sleeping = scope.spawn(|| client.query_text("select pg_sleep(600)::text"));
            lab.database.wait_for(&asleep, "1");
            client.runtime.block_on(token.cancel_query(NoTls)).unwrap();
            let error = sleeping.join().unwrap().unwrap_err();
            assert_eq!(error.code().unwrap().code(), "57014");
        });
        assert_eq!(client.query_text("select 'well'").unwrap(), "well");
        assert_eq!(proxy.listener.last_fault(), None);
    }
}

#[test]
fn a_client_with_its_own_tls_can_cancel() {
    let lab = Lab::new();
    let proxy = RunningListener::start(&lab, ClientTls::PassThrough, target(&lab, SslMode::Require));
    let mut psql = with_query(proxy.psql(&lab, "sslmode=require"), "select pg_sleep(600)");
    let psql = start(psql.env("PGAPPNAME", NAME));
    lab.database.wait_for(&format!("{SESSIONS} and wait_event = 'PgSleep'"), "1");
    signal(&psql, Signal::INT);
    let output = psql.wait_with_output().unwrap();
    assert!(String::from_utf8_lossy(&output.stderr).contains("canceling statement"));
    assert_eq!(proxy.listener.traffic().untouched, 1);
}

#[test]
fn a_hundred_megabytes_arrive_unchanged_in_each_direction() {
    let lab = Lab::new();
    lab.database.sql(&format!("create table bulk (id int, text text); alter table bulk owner to {ROLE}"));
    let rows = "copy (select g, repeat(md5(g::text), 32) from generate_series(1, 100000) g) to stdout";
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str| directory.path().join(name);
    let copy_out = |psql: Command, query: &str, name: &str| {
        let mut psql = with_query(psql, query);
        assert!(psql.stdout(File::create(file(name)).unwrap()).status().unwrap().success());
        Sha256::digest(fs::read(file(name)).unwrap())
    };
    let direct = || psql_at(&lab, lab.database.server().port(), "");
    let expected = copy_out(direct(), rows, "direct");
    assert!(fs::metadata(file("direct")).unwrap().len() > 100_000_000);
    for (client_tls, wish) in [(ClientTls::Terminated, "prefer"), (ClientTls::PassThrough, "require")] {
        let proxy = RunningListener::start(&lab, client_tls, target(&lab, SslMode::VerifyFull));
        let psql = || proxy.psql(&lab, &format!("sslmode={wish}"));
        assert!(copy_out(psql(), rows, "out") == expected, "{client_tls:?}");
        lab.database.sql("truncate bulk");
        let mut copy_in = with_query(psql(), "copy bulk from stdin");
        assert!(copy_in.stdin(File::open(file("out")).unwrap()).status().unwrap().success());
        assert!(copy_out(direct(), "copy bulk to stdout", "back") == expected, "{client_tls:?}");
        let traffic = proxy.listener.traffic();
        assert!(traffic.sent > 100_000_000 && traffic.received > 100_000_000, "{traffic:?}");
    }
}

#[test]
fn thirty_clients_at_once_are_served() {
    let lab = Lab::new();
    let proxy = RunningListener::start(&lab, ClientTls::Terminated, target(&lab, SslMode::Require));
    let query_text = |number: usize| with_query(proxy.psql(&lab, ""), &format!("select {number}, pg_sleep(0.2)"));
    let all: Vec<Child> = (0..30).map(|number| start(&mut query_text(number))).collect();
    for (number, client) in all.into_iter().enumerate() {
        let output = client.wait_with_output().unwrap();
        let (answer, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert_eq!(answer.trim_end(), format!("{number}|"), "{stderr}");
    }
    let traffic = proxy.listener.traffic();
    assert_eq!((traffic.connections, traffic.settled), (30, 30));
    eventually("all clients have disconnected", || proxy.listener.backend_pids().is_empty());
    lab.database.wait_for(SESSIONS, "0");
}

#[test]
fn a_client_that_is_killed_leaves_no_backend() {
    let lab = Lab::new();
    let busy = ["select pg_sleep(600)", "copy (select repeat('x', 1000) from generate_series(1, 100000000)) to stdout"];
    for (client_tls, wish) in [(ClientTls::Terminated, "prefer"), (ClientTls::PassThrough, "require")] {
        let proxy = RunningListener::start(&lab, client_tls, target(&lab, SslMode::Require));
        for statement in busy {
            let mut psql = with_query(proxy.psql(&lab, &format!("sslmode={wish}")), statement);
            psql.env("PGAPPNAME", NAME).env("PGOPTIONS", "-c client_connection_check_interval=100");
            // Its output is not read: it blocks in the middle of the rows.
            let psql = start(&mut psql);
            lab.database.wait_for(&format!("{SESSIONS} and state = 'active' and wait_event is not null"), "1");
            signal(&psql, Signal::KILL);
            drop(psql.wait_with_output());
            lab.database.wait_for(SESSIONS, "0");
            eventually("the session is removed", || proxy.listener.backend_pids().is_empty());
        }
    }
}

#[test]
fn the_end_of_the_listener_ends_every_session() {
    let lab = Lab::new();
    let proxy = RunningListener::start(&lab, ClientTls::Terminated, target(&lab, SslMode::Require));
    let client = proxy.connect(&lab);
    lab.database.wait_for(SESSIONS, "1");
    drop(proxy);
    assert!(client.query_text("select 'still there'").is_err());
    lab.database.wait_for(SESSIONS, "0");
}

#[test]
fn a_client_that_can_not_be_connected_gets_the_reason() {
    let lab = Lab::on(&Postgres::start(&Options::default()));
    let cause = format!(
        "can't connect to `localhost:{}`: the connection is refused, or there is no route",
        lab.database.server().port()
    );
    let wrong_name = DatabaseTarget { host: "127.0.0.1".to_owned(), ..target(&lab, SslMode::VerifyFull) };
    let proxy = RunningListener::start(&lab, ClientTls::Terminated, wrong_name);
    let stderr = stderr_of(with_query(proxy.psql(&lab, ""), "select 1"));
    assert!(stderr.contains("FATAL:  the server's certificate is not for `127.0.0.1`"), "{stderr}");
    assert_eq!(proxy.listener.last_fault().unwrap().code, Code::TlsWrongName);

    let proxy = RunningListener::start(&lab, ClientTls::Terminated, target(&lab, SslMode::VerifyFull));
    lab.database.server().stop();
    let stderr = stderr_of(with_query(proxy.psql(&lab, ""), "select 1"));
    assert!(stderr.contains("FATAL:  ") && stderr.contains(&cause) && stderr.contains("HINT:  "), "{stderr}");
    let fault = proxy.listener.last_fault().unwrap();
    assert_eq!(fault.code, Code::DatabaseRefused);
    assert!(fault.cause.contains(&cause), "{}", fault.cause);
    let traffic = proxy.listener.traffic();
    assert_eq!((traffic.connections, traffic.settled), (1, 0));

    let proxy = RunningListener::start(&lab, ClientTls::PassThrough, target(&lab, SslMode::Require));
    stderr_of(with_query(proxy.psql(&lab, "sslmode=require"), "select 1"));
    assert_eq!(proxy.listener.last_fault().unwrap().code, Code::DatabaseRefused);
    assert_eq!(proxy.listener.traffic().untouched, 0);
}

#[test]
fn a_session_that_ends_with_the_tunnel_gets_the_reason() {
    let lab = Lab::new().behind(Sshd::plain());
    let proxy = RunningListener::start(&lab, ClientTls::Terminated, target(&lab, SslMode::Require));
    let client = proxy.connect(&lab);
    assert_eq!(client.query_text("select 'well'").unwrap(), "well");
    thread::scope(|scope| {
        let sleeping = scope.spawn(|| client.query_text("select pg_sleep(600)::text"));
        lab.database.wait_for(&format!("{SESSIONS} and wait_event = 'PgSleep'"), "1");
        lab.bastion.kill_sessions();
        let error = sleeping.join().unwrap().unwrap_err();
        let error = error.as_db_error().unwrap_or_else(|| panic!("{error:?}"));
        assert_eq!(error.code().code(), "08006");
        assert_eq!(error.message(), proxy.listener.last_fault().unwrap().cause);
    });
    assert_eq!(proxy.listener.last_fault().unwrap().code, Code::BastionLost);
    let stderr = stderr_of(with_query(proxy.psql(&lab, ""), "select 1"));
    assert!(stderr.contains(&proxy.listener.last_fault().unwrap().cause), "{stderr}");
}

#[test]
fn a_client_that_does_not_speak_postgresql_is_rejected() {
    let lab = plain_server();
    let proxy = RunningListener::start_with_route(None, ClientTls::Terminated, target(&lab, SslMode::Disable));
    let long = [&[0, 0, 0x27, 0x15, 0, 3, 0, 0], [b'x'; 20_000].as_slice()].concat();
    let version_2 = [0, 0, 0, 9, 0, 2, 0, 0, 0];
    let tls_at_once = [0x16, 3, 1, 0, 200, 1, 0, 0];
    for garbage in [b"GET / HTTP/1.1\r\n\r\n".as_slice(), &long, &version_2, &tls_at_once] {
        let mut stream = proxy.raw();
        stream.write_all(garbage).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        let text = String::from_utf8_lossy(&answer);
        assert!(answer.starts_with(b"E") && text.contains("C08P01\0"), "{text}");
    }
    drop(proxy.raw());
    assert_eq!(proxy.listener.last_fault(), None);
    assert_eq!(proxy.connect(&lab).query_text("select 'well'").unwrap(), "well");
}

fn packet(version: [u8; 4], text: &str) -> Vec<u8> {
    let length = u32::try_from(text.len() + 8).unwrap().to_be_bytes();
    [&length, &version, text.as_bytes()].concat()
}

#[test]
fn a_client_that_has_shut_down_its_sending_side_still_gets_its_result() {
    let lab = plain_server();
    let proxy = RunningListener::start(&lab, ClientTls::Terminated, target(&lab, SslMode::Disable));
    let mut stream = proxy.raw();
    // With the check, the server would treat a client that has shut down its sending side as disconnected.
    let options = "options\0-c client_connection_check_interval=0";
    let startup = packet([0, 3, 0, 0], &format!("user\0{ROLE}\0database\0{}\0{options}\0\0", lab.database.name()));
    stream.write_all(&startup).unwrap();
    let query = "select 'late', pg_sleep(0.3), repeat('x', 1000000)\0";
    stream
        .write_all(
            &[b"Q".as_slice(), &u32::try_from(query.len() + 4).unwrap().to_be_bytes(), query.as_bytes()].concat(),
        )
        .unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let text = String::from_utf8_lossy(&answer);
    assert!(text.contains("late") && answer.len() > 1_000_000 && answer.ends_with(b"Z\0\0\0\x05I"), "{}", answer.len());
}

#[test]
fn a_newer_protocol_is_negotiated_with_the_server() {
    let lab = plain_server();
    let proxy = RunningListener::start(&lab, ClientTls::Terminated, target(&lab, SslMode::Disable));
    let mut stream = proxy.raw();
    let text = format!("user\0{ROLE}\0database\0{}\0_pq_.unheard_of\0on\0\0", lab.database.name());
    stream.write_all(&packet([0, 3, 0x27, 0x0f], &text)).unwrap();
    stream.write_all(b"X\0\0\0\x04").unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let answer = String::from_utf8_lossy(&answer);
    assert!(answer.starts_with('v') && answer.contains("_pq_.unheard_of"), "{answer}");
    assert!(answer.contains(&format!("application_name\0{NAME}\0")), "{answer}");
}

#[test]
fn replication_keeps_its_own_name() {
    let lab = plain_server();
    lab.database.sql(&format!("alter role {ROLE} replication"));
    let proxy = RunningListener::start(&lab, ClientTls::Terminated, target(&lab, SslMode::Disable));
    let psql = proxy.psql(&lab, "replication=database application_name=standby");
    assert_eq!(stdout_of(with_query(psql, "show application_name")), "standby");
    let traffic = proxy.listener.traffic();
    assert_eq!((traffic.connections, traffic.settled), (1, 0));
}
