//! Other people's clients at our listener: what they are told, what of theirs arrives, and what is left when they go. Through a
//! real bastion, to a real PostgreSQL.
#![expect(clippy::disallowed_methods, reason = "runs psql")]

use crate::lab::{
    Lab, poll,
    postgres::{Login, Options, PASSWORD, Postgres, ROLE, Tls},
    process::program,
    sshd::Sshd,
};
use bastion_migrate::{
    fault::Code,
    postgres::{DatabaseTarget, SslMode},
    proxy::{ClientSessionSettings, ClientTls, ProxyListener},
    run::event::Events,
    secret::Secret,
    ssh::Route,
    transport::Transport,
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

/// As long as anything in these tests may take.
const PATIENCE: Duration = Duration::from_secs(20);

const NAME: &str = "bastion-migrate#7 of the tests";

/// A listener that is served by a thread of its own, and ends with the value.
struct Standing {
    listener: Arc<ProxyListener>,
    life: Option<oneshot::Sender<Infallible>>,
    thread: Option<JoinHandle<()>>,
}

impl Standing {
    /// In front of the test's database, behind its bastion.
    fn at(lab: &Lab, passage: ClientTls, target: DatabaseTarget) -> Self {
        Self::by(Some(lab.bastion.route()), passage, target)
    }

    fn by(route: Option<Route>, passage: ClientTls, target: DatabaseTarget) -> Self {
        let settings = [("lock_timeout", "4321"), ("client_connection_check_interval", "100")];
        let settings = settings.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
        let injected =
            ClientSessionSettings { application_name: NAME.to_owned(), defaults: settings, enforced: Vec::new() };
        let (life, ended) = oneshot::channel::<Infallible>();
        let (ready, stands) = mpsc::channel();
        let live = async move {
            let (events, _told) = Events::channel();
            let reach = Transport::connect(route.as_ref(), &events).await.expect("the bastion lets us in");
            let place = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
            let listener =
                Arc::new(ProxyListener::bind(place, passage, injected).await.expect("loopback has a free port"));
            ready.send(Arc::clone(&listener)).expect("the test waits");
            tokio::select! { _ = listener.serve(&reach, &target) => {}, _ = ended => {} }
            drop(reach.close().await);
        };
        let run = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(live);
        let thread = thread::Builder::new().name("listener".to_owned()).spawn(run).expect("a thread can start");
        let listener = stands.recv().expect("the listener stands");
        Self { listener, life: Some(life), thread: Some(thread) }
    }

    fn port(&self) -> u16 {
        self.listener.local_address().unwrap().port()
    }

    fn psql(&self, lab: &Lab, more: &str) -> Command {
        psql_at(lab, self.port(), more)
    }

    fn connect(&self, lab: &Lab) -> Talk {
        Talk::open(lab, self.port())
    }

    fn raw(&self) -> TcpStream {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port())).expect("the listener listens");
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    }
}

impl Drop for Standing {
    fn drop(&mut self) {
        drop(self.life.take());
        drop(self.thread.take().map(JoinHandle::join));
    }
}

/// tokio-postgres as somebody else's client: it asks for no TLS.
struct Talk {
    client: Client,
    runtime: tokio::runtime::Runtime,
}

impl Talk {
    fn open(lab: &Lab, port: u16) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let mut config = Config::new();
        config.host("127.0.0.1").port(port).user(ROLE).password(PASSWORD).dbname(lab.database.name());
        let (client, connection) = runtime.block_on(config.connect(NoTls)).expect("the database lets us in");
        // Owned by the runtime, hence by this value.
        drop(runtime.spawn(connection));
        Self { client, runtime }
    }

    fn ask(&self, question: &str) -> Result<String, tokio_postgres::Error> {
        self.runtime.block_on(self.client.query_one(question, &[])).map(|row| row.get(0))
    }

    fn pid(&self) -> i32 {
        self.ask("select pg_backend_pid()::text").unwrap().parse().unwrap()
    }
}

fn target(lab: &Lab, sslmode: SslMode) -> DatabaseTarget {
    let server = lab.database.server();
    DatabaseTarget {
        host: "localhost".to_owned(),
        port: server.port(),
        user: ROLE.to_owned(),
        password: Some(Secret::new(PASSWORD)),
        name: lab.database.name().to_owned(),
        sslmode,
        ca: (sslmode == SslMode::VerifyFull).then(|| server.ca().to_owned()),
        options: None,
    }
}

fn plain_server() -> Lab {
    Lab::on(&Postgres::start(&Options { tls: Tls::Off, login: Login::Trust, ..Options::default() }))
}

/// A `psql` that is told where to go by this, and by nothing else.
fn psql_at(lab: &Lab, port: u16, more: &str) -> Command {
    let mut psql = Command::new(program("psql", "postgresql-client"));
    let place = format!("hostaddr=127.0.0.1 port={port} user={ROLE} dbname={} {more}", lab.database.name());
    psql.args(["--no-psqlrc", "-qAt", "-v", "ON_ERROR_STOP=1", "-d", &place]);
    psql.env("PGPASSWORD", PASSWORD).stdin(Stdio::null());
    psql
}

fn said(mut command: Command) -> String {
    let Output { status, stdout, stderr } = command.output().expect("psql is installed");
    assert!(status.success(), "{}", String::from_utf8_lossy(&stderr));
    String::from_utf8_lossy(&stdout).trim_end().to_owned()
}

fn complained(mut command: Command) -> String {
    let Output { status, stdout, stderr } = command.output().expect("psql is installed");
    assert!(!status.success(), "{}", String::from_utf8_lossy(&stdout));
    String::from_utf8_lossy(&stderr).into_owned()
}

fn asking(mut psql: Command, question: &str) -> Command {
    psql.args(["-c", question]);
    psql
}

fn start(command: &mut Command) -> Child {
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("psql is installed")
}

fn signal(child: &Child, signal: Signal) {
    kill_process(Pid::from_child(child), signal).expect("it runs");
}

fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    poll(PATIENCE, || holds().then_some(())).unwrap_or_else(|| panic!("{what}"));
}

const SETTINGS: &str = "select concat_ws('|', current_setting('lock_timeout'), current_setting('statement_timeout'), \
     current_setting('application_name'))";

/// How many sessions the listener's clients have with the database.
const SESSIONS: &str = "select count(*) from pg_stat_activity where datname = current_database() \
     and application_name = 'bastion-migrate#7 of the tests'";

#[test]
fn the_databases_last_answer_is_known_where_it_passes_in_plain_sight() {
    let lab = Lab::new();
    let standing = Standing::at(&lab, ClientTls::Terminated, target(&lab, SslMode::VerifyFull));
    assert_eq!(standing.listener.answered(), None);
    let before = Instant::now();
    said(asking(standing.psql(&lab, "sslmode=disable"), "select pg_sleep(0.3)"));
    let answered = standing.listener.answered().expect("it has answered");
    let after = Instant::now();
    assert!(answered >= before + Duration::from_millis(300) && answered <= after, "{before:?} {answered:?} {after:?}");
    eventually("the session has ended", || standing.listener.backend_pids().is_empty());
    assert_eq!(standing.listener.answered(), Some(answered), "a good-bye is no answer");
    let blind = Standing::at(&lab, ClientTls::PassThrough, target(&lab, SslMode::VerifyFull));
    said(asking(blind.psql(&lab, "sslmode=require"), "select 1"));
    assert_eq!(blind.listener.answered(), None, "its TLS is its own");
}

#[test]
fn settings_arrive_in_the_tools_name_and_its_own_win() {
    let lab = Lab::new();
    for passage in [ClientTls::Terminated, ClientTls::PassThrough] {
        let standing = Standing::at(&lab, passage, target(&lab, SslMode::VerifyFull));
        let psql = || standing.psql(&lab, "sslmode=disable application_name=psql");
        assert_eq!(said(asking(psql(), SETTINGS)), format!("4321ms|0|{NAME}"));
        let mut own = asking(psql(), SETTINGS);
        own.env("PGOPTIONS", "-c lock_timeout=1s -c statement_timeout=2s");
        assert_eq!(said(own), format!("1s|2s|{NAME}"));
        assert_eq!(standing.connect(&lab).ask(SETTINGS).unwrap(), format!("4321ms|0|{NAME}"));
        let traffic = standing.listener.traffic();
        assert_eq!((traffic.connections, traffic.settled, traffic.untouched), (3, 3, 0));
        assert!(traffic.sent > 0 && traffic.received > 0);
        assert_eq!((standing.listener.last_error(), standing.listener.last_fault()), (None, None));
    }
}

/// A table, and a session in whose way a build of its index is: longer than the limit of the listener's clients.
fn in_the_way(lab: &Lab, standing: &Standing, build: impl FnOnce(&Standing) + Send) {
    lab.database.sql("create table t (id int); insert into t values (1); alter table t owner to app");
    let holder = lab.database.session();
    holder.sql("begin; update t set id = id");
    thread::scope(|scope| {
        let holder = holder;
        let building = scope.spawn(|| build(standing));
        lab.database.wait_for(
            "select count(*) from pg_locks where not granted and clock_timestamp() - waitstart > '4.8 s'",
            "1",
        );
        holder.sql("rollback");
        building.join().expect("it is built");
    });
    assert_eq!(lab.database.sql("select indisvalid from pg_index where indexrelid = 't_id'::regclass"), "t");
}

const LIMIT: &str = "show lock_timeout";

#[test]
fn what_waits_for_others_has_no_limit_and_what_follows_has_it_again() {
    let lab = Lab::new();
    let standing = Standing::at(&lab, ClientTls::Terminated, target(&lab, SslMode::Require));
    in_the_way(&lab, &standing, |standing| {
        let psql = asking(standing.psql(&lab, ""), LIMIT);
        let psql = asking(asking(psql, "create index concurrently t_id on t (id)"), LIMIT);
        assert_eq!(said(psql), "4321ms\n4321ms");
    });
}

#[test]
fn the_same_for_who_prepares_its_statements() {
    let lab = Lab::new();
    let standing = Standing::at(&lab, ClientTls::Terminated, target(&lab, SslMode::Require));
    in_the_way(&lab, &standing, |standing| {
        let talk = standing.connect(&lab);
        let built = talk.runtime.block_on(talk.client.execute("create index concurrently t_id on t (id)", &[]));
        assert_eq!(built.expect("it is built"), 0);
        assert_eq!(talk.ask("select current_setting('lock_timeout')").unwrap(), "4321ms");
    });
}

#[test]
fn a_limit_of_the_clients_own_stays() {
    let lab = Lab::new();
    lab.database.sql("create table t (id int); alter table t owner to app");
    let standing = Standing::at(&lab, ClientTls::Terminated, target(&lab, SslMode::Require));
    for own in ["7s", "0"] {
        let psql = asking(standing.psql(&lab, ""), &format!("set lock_timeout = '{own}'"));
        let psql = asking(asking(psql, "create index concurrently if not exists t_id on t (id)"), LIMIT);
        assert_eq!(said(psql), own);
    }
}

#[test]
fn libpq_logs_in_by_scram_over_tls_that_is_ours() {
    let lab = Lab::new();
    for (mode, has_tls) in
        [(SslMode::VerifyFull, "t"), (SslMode::VerifyCa, "t"), (SslMode::Require, "t"), (SslMode::Disable, "f")]
    {
        let mut target = target(&lab, mode);
        target.ca = (mode != SslMode::Require).then(|| lab.database.server().ca().to_owned());
        let standing = Standing::at(&lab, ClientTls::Terminated, target);
        let question = "select ssl from pg_stat_ssl where pid = pg_backend_pid()";
        for wish in ["prefer", "allow", "disable"] {
            let psql = standing.psql(&lab, &format!("sslmode={wish} gssencmode=disable"));
            assert_eq!(said(asking(psql, question)), has_tls, "{mode:?} {wish}");
        }
        let refused = complained(asking(standing.psql(&lab, "sslmode=require"), question));
        assert!(refused.contains("server does not support SSL"), "{refused}");
        assert_eq!(standing.listener.traffic().settled, 3);
    }
}

#[test]
fn a_client_that_demands_tls_is_known_and_let_through_when_it_comes_again() {
    let lab = Lab::new();
    let standing = Standing::at(&lab, ClientTls::Terminated, target(&lab, SslMode::Require));
    let question = "select ssl from pg_stat_ssl where pid = pg_backend_pid()";
    assert_eq!(said(asking(standing.psql(&lab, "sslmode=prefer"), question)), "t");
    drop(standing.raw());
    assert_eq!(standing.listener.traffic().declined, 0);
    let refused = complained(asking(standing.psql(&lab, "sslmode=require"), question));
    assert!(refused.contains("server does not support SSL"), "{refused}");
    let traffic = standing.listener.traffic();
    assert_eq!((traffic.declined, traffic.settled, traffic.untouched), (1, 1, 0));
    standing.listener.let_through();
    assert_eq!(said(asking(standing.psql(&lab, "sslmode=require"), question)), "t");
    // Who does not ask for it has our settings, as before.
    assert_eq!(said(asking(standing.psql(&lab, "sslmode=disable"), SETTINGS)), format!("4321ms|0|{NAME}"));
    let traffic = standing.listener.traffic();
    assert_eq!((traffic.declined, traffic.settled, traffic.untouched), (1, 2, 1));
}

#[test]
fn a_client_that_checks_the_databases_own_name_is_let_through_untouched() {
    let server = Postgres::start(&Options { tls: Tls::Named("db.private.internal"), ..Options::default() });
    let lab = Lab::on(&server);
    let directory = tempfile::tempdir().unwrap();
    let ca = directory.path().join("ca.pem");
    fs::write(&ca, server.ca()).unwrap();
    let standing = Standing::at(&lab, ClientTls::PassThrough, target(&lab, SslMode::Require));
    let own =
        format!("host=db.private.internal sslmode=verify-full channel_binding=require sslrootcert={}", ca.display());
    let mut psql = asking(standing.psql(&lab, &own), SETTINGS);
    psql.env("PGOPTIONS", "-c lock_timeout=9s").env("PGAPPNAME", "their own");
    assert_eq!(said(psql), "9s|0|their own");
    let traffic = standing.listener.traffic();
    assert_eq!((traffic.connections, traffic.settled, traffic.untouched), (1, 0, 1));
    assert!(traffic.sent > 0 && traffic.received > 0);
    let wrong = complained(asking(standing.psql(&lab, &own.replace("private", "other")), "select 1"));
    assert!(wrong.contains("does not match host name"), "{wrong}");
}

#[test]
fn a_client_that_would_have_tls_goes_on_without_where_the_server_has_none() {
    let lab = plain_server();
    let standing = Standing::at(&lab, ClientTls::PassThrough, target(&lab, SslMode::Disable));
    let psql = standing.psql(&lab, "sslmode=prefer");
    assert_eq!(said(asking(psql, SETTINGS)), format!("4321ms|0|{NAME}"));
    let traffic = standing.listener.traffic();
    assert_eq!((traffic.settled, traffic.untouched), (1, 0));
    let refused = complained(asking(standing.psql(&lab, "sslmode=require"), "select 1"));
    assert!(refused.contains("server does not support SSL"), "{refused}");
}

#[test]
fn the_backends_are_those_that_the_server_knows() {
    let lab = Lab::new();
    let standing = Standing::at(&lab, ClientTls::Terminated, target(&lab, SslMode::Require));
    let talks = [standing.connect(&lab), standing.connect(&lab)];
    let mut known = standing.listener.backend_pids();
    let mut real: Vec<i32> = talks.iter().map(Talk::pid).collect();
    known.sort_unstable();
    real.sort_unstable();
    assert_eq!(known, real);
    let [gone, stays] = talks;
    let pid = stays.pid();
    drop(gone);
    eventually("the one that left is forgotten", || standing.listener.backend_pids() == [pid]);
    lab.database.sql(&format!("select pg_terminate_backend({pid})"));
    eventually("the one that was ended is forgotten", || standing.listener.backend_pids().is_empty());
    assert_eq!(standing.listener.last_error().unwrap().sqlstate, "57P01");
}

#[test]
fn an_error_is_heard_as_the_client_hears_it() {
    let lab = Lab::new();
    let standing = Standing::at(&lab, ClientTls::Terminated, target(&lab, SslMode::Require));
    let talk = standing.connect(&lab);
    assert_eq!(talk.ask("select repeat('x', 300000)").unwrap().len(), 300_000);
    assert_eq!(standing.listener.last_error(), None);
    assert!(talk.ask("select * from no_such_table").is_err());
    let heard = standing.listener.last_error().unwrap();
    assert_eq!(
        (heard.sqlstate.as_str(), heard.message.as_str()),
        ("42P01", "relation \"no_such_table\" does not exist")
    );
    let mut stranger = asking(standing.psql(&lab, ""), "select 1");
    stranger.env("PGPASSWORD", "wrong");
    assert!(complained(stranger).contains("password authentication failed"));
    assert_eq!(standing.listener.last_error().unwrap().sqlstate, "28P01");
}

#[test]
fn a_cancel_ends_the_statement() {
    let lab = Lab::new();
    for mode in [SslMode::VerifyFull, SslMode::Disable] {
        let standing = Standing::at(&lab, ClientTls::Terminated, target(&lab, mode));
        let asleep = format!("{SESSIONS} and wait_event = 'PgSleep'");
        let psql = start(&mut asking(standing.psql(&lab, ""), "select pg_sleep(600)"));
        lab.database.wait_for(&asleep, "1");
        signal(&psql, Signal::INT);
        let output = psql.wait_with_output().unwrap();
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert!(complaint.contains("canceling statement due to user request"), "{complaint}");

        let talk = standing.connect(&lab);
        let token = talk.client.cancel_token();
        thread::scope(|scope| {
            let sleeping = scope.spawn(|| talk.ask("select pg_sleep(600)::text"));
            lab.database.wait_for(&asleep, "1");
            talk.runtime.block_on(token.cancel_query(NoTls)).unwrap();
            let error = sleeping.join().unwrap().unwrap_err();
            assert_eq!(error.code().unwrap().code(), "57014");
        });
        assert_eq!(talk.ask("select 'well'").unwrap(), "well");
        assert_eq!(standing.listener.last_fault(), None);
    }
}

#[test]
fn a_client_in_its_own_tls_can_cancel() {
    let lab = Lab::new();
    let standing = Standing::at(&lab, ClientTls::PassThrough, target(&lab, SslMode::Require));
    let mut psql = asking(standing.psql(&lab, "sslmode=require"), "select pg_sleep(600)");
    let psql = start(psql.env("PGAPPNAME", NAME));
    lab.database.wait_for(&format!("{SESSIONS} and wait_event = 'PgSleep'"), "1");
    signal(&psql, Signal::INT);
    let output = psql.wait_with_output().unwrap();
    assert!(String::from_utf8_lossy(&output.stderr).contains("canceling statement"));
    assert_eq!(standing.listener.traffic().untouched, 1);
}

#[test]
fn a_hundred_megabytes_arrive_byte_by_byte_each_way() {
    let lab = Lab::new();
    lab.database.sql(&format!("create table bulk (id int, text text); alter table bulk owner to {ROLE}"));
    let rows = "copy (select g, repeat(md5(g::text), 32) from generate_series(1, 100000) g) to stdout";
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str| directory.path().join(name);
    let copy_out = |psql: Command, question: &str, name: &str| {
        let mut psql = asking(psql, question);
        assert!(psql.stdout(File::create(file(name)).unwrap()).status().unwrap().success());
        Sha256::digest(fs::read(file(name)).unwrap())
    };
    let direct = || psql_at(&lab, lab.database.server().port(), "");
    let expected = copy_out(direct(), rows, "direct");
    assert!(fs::metadata(file("direct")).unwrap().len() > 100_000_000);
    for (passage, wish) in [(ClientTls::Terminated, "prefer"), (ClientTls::PassThrough, "require")] {
        let standing = Standing::at(&lab, passage, target(&lab, SslMode::VerifyFull));
        let psql = || standing.psql(&lab, &format!("sslmode={wish}"));
        assert!(copy_out(psql(), rows, "out") == expected, "{passage:?}");
        lab.database.sql("truncate bulk");
        let mut copy_in = asking(psql(), "copy bulk from stdin");
        assert!(copy_in.stdin(File::open(file("out")).unwrap()).status().unwrap().success());
        assert!(copy_out(direct(), "copy bulk to stdout", "back") == expected, "{passage:?}");
        let traffic = standing.listener.traffic();
        assert!(traffic.sent > 100_000_000 && traffic.received > 100_000_000, "{traffic:?}");
    }
}

#[test]
fn thirty_clients_at_once_are_served() {
    let lab = Lab::new();
    let standing = Standing::at(&lab, ClientTls::Terminated, target(&lab, SslMode::Require));
    let ask = |number: usize| asking(standing.psql(&lab, ""), &format!("select {number}, pg_sleep(0.2)"));
    let all: Vec<Child> = (0..30).map(|number| start(&mut ask(number))).collect();
    for (number, client) in all.into_iter().enumerate() {
        let output = client.wait_with_output().unwrap();
        let (answer, complaint) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert_eq!(answer.trim_end(), format!("{number}|"), "{complaint}");
    }
    let traffic = standing.listener.traffic();
    assert_eq!((traffic.connections, traffic.settled), (30, 30));
    eventually("all have left", || standing.listener.backend_pids().is_empty());
    lab.database.wait_for(SESSIONS, "0");
}

#[test]
fn a_client_that_is_killed_leaves_no_backend() {
    let lab = Lab::new();
    let busy = ["select pg_sleep(600)", "copy (select repeat('x', 1000) from generate_series(1, 100000000)) to stdout"];
    for (passage, wish) in [(ClientTls::Terminated, "prefer"), (ClientTls::PassThrough, "require")] {
        let standing = Standing::at(&lab, passage, target(&lab, SslMode::Require));
        for statement in busy {
            let mut psql = asking(standing.psql(&lab, &format!("sslmode={wish}")), statement);
            psql.env("PGAPPNAME", NAME).env("PGOPTIONS", "-c client_connection_check_interval=100");
            // Nobody reads what it prints: it stands still in the middle of the rows.
            let psql = start(&mut psql);
            lab.database.wait_for(&format!("{SESSIONS} and state = 'active' and wait_event is not null"), "1");
            signal(&psql, Signal::KILL);
            drop(psql.wait_with_output());
            lab.database.wait_for(SESSIONS, "0");
            eventually("it is forgotten", || standing.listener.backend_pids().is_empty());
        }
    }
}

#[test]
fn the_end_of_the_listener_ends_every_session() {
    let lab = Lab::new();
    let standing = Standing::at(&lab, ClientTls::Terminated, target(&lab, SslMode::Require));
    let talk = standing.connect(&lab);
    lab.database.wait_for(SESSIONS, "1");
    drop(standing);
    assert!(talk.ask("select 'still there'").is_err());
    lab.database.wait_for(SESSIONS, "0");
}

#[test]
fn who_can_not_be_connected_is_told_why() {
    let lab = Lab::on(&Postgres::start(&Options::default()));
    let cause = format!("can't connect to `localhost:{}`: refused or no route", lab.database.server().port());
    let wrong_name = DatabaseTarget { host: "127.0.0.1".to_owned(), ..target(&lab, SslMode::VerifyFull) };
    let standing = Standing::at(&lab, ClientTls::Terminated, wrong_name);
    let told = complained(asking(standing.psql(&lab, ""), "select 1"));
    assert!(told.contains("FATAL:  the server's certificate is not for `127.0.0.1`"), "{told}");
    assert_eq!(standing.listener.last_fault().unwrap().code, Code::TlsWrongName);

    let standing = Standing::at(&lab, ClientTls::Terminated, target(&lab, SslMode::VerifyFull));
    lab.database.server().stop();
    let told = complained(asking(standing.psql(&lab, ""), "select 1"));
    assert!(told.contains("FATAL:  ") && told.contains(&cause) && told.contains("HINT:  "), "{told}");
    let fault = standing.listener.last_fault().unwrap();
    assert_eq!(fault.code, Code::DatabaseRefused);
    assert!(fault.cause.contains(&cause), "{}", fault.cause);
    let traffic = standing.listener.traffic();
    assert_eq!((traffic.connections, traffic.settled), (1, 0));

    let standing = Standing::at(&lab, ClientTls::PassThrough, target(&lab, SslMode::Require));
    complained(asking(standing.psql(&lab, "sslmode=require"), "select 1"));
    assert_eq!(standing.listener.last_fault().unwrap().code, Code::DatabaseRefused);
    assert_eq!(standing.listener.traffic().untouched, 0);
}

#[test]
fn a_session_that_the_tunnel_takes_along_is_told_so() {
    let lab = Lab::new().behind(Sshd::plain());
    let standing = Standing::at(&lab, ClientTls::Terminated, target(&lab, SslMode::Require));
    let talk = standing.connect(&lab);
    assert_eq!(talk.ask("select 'well'").unwrap(), "well");
    thread::scope(|scope| {
        let sleeping = scope.spawn(|| talk.ask("select pg_sleep(600)::text"));
        lab.database.wait_for(&format!("{SESSIONS} and wait_event = 'PgSleep'"), "1");
        lab.bastion.kill_sessions();
        let error = sleeping.join().unwrap().unwrap_err();
        let told = error.as_db_error().unwrap_or_else(|| panic!("{error:?}"));
        assert_eq!(told.code().code(), "08006");
        assert_eq!(told.message(), standing.listener.last_fault().unwrap().cause);
    });
    assert_eq!(standing.listener.last_fault().unwrap().code, Code::BastionLost);
    let told = complained(asking(standing.psql(&lab, ""), "select 1"));
    assert!(told.contains(&standing.listener.last_fault().unwrap().cause), "{told}");
}

#[test]
fn what_is_no_postgres_client_is_refused() {
    let lab = plain_server();
    let standing = Standing::by(None, ClientTls::Terminated, target(&lab, SslMode::Disable));
    let long = [&[0, 0, 0x27, 0x15, 0, 3, 0, 0], [b'x'; 20_000].as_slice()].concat();
    let version_2 = [0, 0, 0, 9, 0, 2, 0, 0, 0];
    let tls_at_once = [0x16, 3, 1, 0, 200, 1, 0, 0];
    for garbage in [b"GET / HTTP/1.1\r\n\r\n".as_slice(), &long, &version_2, &tls_at_once] {
        let mut stream = standing.raw();
        stream.write_all(garbage).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        let text = String::from_utf8_lossy(&answer);
        assert!(answer.starts_with(b"E") && text.contains("C08P01\0"), "{text}");
    }
    drop(standing.raw());
    assert_eq!(standing.listener.last_fault(), None);
    assert_eq!(standing.connect(&lab).ask("select 'well'").unwrap(), "well");
}

fn packet(version: [u8; 4], text: &str) -> Vec<u8> {
    let length = u32::try_from(text.len() + 8).unwrap().to_be_bytes();
    [&length, &version, text.as_bytes()].concat()
}

#[test]
fn who_has_said_all_still_hears_the_answer() {
    let lab = plain_server();
    let standing = Standing::at(&lab, ClientTls::Terminated, target(&lab, SslMode::Disable));
    let mut stream = standing.raw();
    // A server that looks after its clients takes one that has said all for one that is gone.
    let patience = "options\0-c client_connection_check_interval=0";
    let startup = packet([0, 3, 0, 0], &format!("user\0{ROLE}\0database\0{}\0{patience}\0\0", lab.database.name()));
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
    let standing = Standing::at(&lab, ClientTls::Terminated, target(&lab, SslMode::Disable));
    let mut stream = standing.raw();
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
    let standing = Standing::at(&lab, ClientTls::Terminated, target(&lab, SslMode::Disable));
    let psql = standing.psql(&lab, "replication=database application_name=standby");
    assert_eq!(said(asking(psql, "show application_name")), "standby");
    let traffic = standing.listener.traffic();
    assert_eq!((traffic.connections, traffic.settled), (1, 0));
}
