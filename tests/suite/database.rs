//! Failures of the database behind the bastion, as the whole program reports them: unreachable, not ready, login
//! rejected, the wrong server, or busy with another run.

use crate::{
    action::{Action, Running},
    judge::Finished,
    lab::{
        Lab,
        certificate::{Certificate, Expired},
        pgbouncer::{PgBouncer, Pool},
        postgres::{Database, Options, PASSWORD, Postgres, Tls},
        stranger::FakeServer,
    },
};
use bastion_migrate::postgres::bastion_migrate_key;
use rustls::{
    ClientConfig, RootCertStore, ServerConfig,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject as _},
};
use std::{net::TcpListener, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional},
    net::TcpStream,
};
use tokio_rustls::{TlsAcceptor, TlsConnector};

const USERS: &str = "create table users (id int);\n";

/// Time limit for every wait in these tests.
const LIMIT: Duration = Duration::from_secs(20);

/// A step through the bastion, with one file to apply; it waits only a second for a database.
fn migration(lab: &Lab) -> Action<'_> {
    Action::new(lab).file("migrations/0001_users.sql", USERS).input("wait-timeout", "1s")
}

/// Expects the step to fail with these texts in the log, without a change in the database.
fn assert_refused(lab: &Lab, action: Action<'_>, code: &'static str, texts: &[&str]) {
    fails_unchanged(lab, action, code, texts).done();
}

fn fails_unchanged(lab: &Lab, action: Action<'_>, code: &'static str, texts: &[&str]) -> Finished {
    let finished = action.run().fails(code, 3).logs(&format!("{code} in database: "));
    assert_eq!(lab.database.sql("select count(*) from pg_namespace where nspname = 'bastion_migrate'"), "0");
    texts.iter().fold(finished, |finished, text| finished.logs(text))
}

fn closed_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
    listener.local_addr().expect("a bound socket has an address").port()
}

#[test]
fn an_unreachable_database_is_waited_for_and_reported_with_its_cause() {
    let lab = Lab::new();
    let (closed, silent) = (closed_port(), FakeServer::silent());
    let bastion = format!("`127.0.0.1:{}`", lab.bastion.port);
    let action = migration(&lab).secret("database-url", lab.database.url_at("localhost", closed));
    let cause =
        format!("{bastion} can't connect to `localhost:{closed}`: the connection is refused, or there is no route");
    let texts =
        [cause.as_str(), "waiting for the database", "waited 1 s for it (`wait-timeout`)", "the bastion itself"];
    assert_refused(&lab, action, "database-refused", &texts);
    let action = migration(&lab).secret("database-url", lab.database.url_at("db.invalid", 5432));
    let texts =
        [&format!("{bastion} can't resolve the name `db.invalid`"), "resolved on the bastion, not on the runner"];
    assert_refused(&lab, action, "database-unknown", &texts);
    let action = migration(&lab).secret("database-url", lab.database.url_at("localhost", silent.port));
    let texts = [&format!("`localhost:{}` does not answer", silent.port), "raise `wait-timeout`"];
    assert_refused(&lab, action, "database-timeout", &texts);
}

#[test]
fn a_database_that_starts_up_is_waited_for_with_a_log_line() {
    let lab = Lab::on(&Postgres::start(&Options::default()));
    let server = lab.database.server();
    server.stop();
    let running = migration(&lab).input("wait-timeout", "30s").start();
    running.wait_for_line("refused, or there is no route", LIMIT);
    server.begin_recovery();
    running.wait_for_line("the server is not ready: the database system is starting up", LIMIT);
    server.end_recovery();
    running.finish().succeeds().applied(["0001_users"]).done();
}

#[test]
fn a_server_without_a_free_connection_is_waited_for() {
    let lab = Lab::new();
    let limit =
        |number: i32| lab.database.sql(&format!("alter database {} connection limit {number}", lab.database.name()));
    limit(0);
    let texts =
        ["the server has no free connection: too many connections for database", "SQLSTATE 53300", "waited 1 s"];
    assert_refused(&lab, migration(&lab), "database-unready", &texts);
    let running = migration(&lab).input("wait-timeout", "30s").start();
    running.wait_for_line("the server has no free connection", LIMIT);
    limit(-1);
    running.finish().succeeds().applied(["0001_users"]).done();
}

#[test]
fn a_rejected_login_is_not_retried() {
    let lab = Lab::new();
    let (port, name) = (lab.database.server().port(), lab.database.name());
    for (url, password, code, texts) in [
        (
            format!("postgres://nobody@localhost:{port}/{name}"),
            PASSWORD,
            "database-login",
            ["refused the login of the role `nobody`", "fix: check user and password"],
        ),
        (
            format!("postgres://app@localhost:{port}/{name}"),
            "not the password",
            "database-login",
            ["refused the login of the role `app`", "server: password authentication failed"],
        ),
        (
            format!("postgres://app@localhost:{port}/{name}"),
            "",
            "database-login",
            ["asks for a password and none is given", "fix: set `database-password`"],
        ),
        (
            format!("postgres://app@localhost:{port}/no_such_shop"),
            PASSWORD,
            "database-missing",
            ["there is no database `no_such_shop`", "fix: check the database name"],
        ),
    ] {
        let action = migration(&lab).secret("database-url", url).secret("database-password", password);
        fails_unchanged(&lab, action, code, &texts).never_logs("waiting for the database").done();
    }
}

#[test]
fn tls_that_is_required_and_not_offered_fails_the_run() {
    let lab = Lab::on(&Postgres::start(&Options { tls: Tls::Off, ..Options::default() }));
    for mode in ["require", "verify-ca", "verify-full"] {
        let texts = ["offers no TLS, and `database-sslmode` asks for it", "`database-sslmode: disable`"];
        assert_refused(&lab, migration(&lab).input("database-sslmode", mode), "tls-unavailable", &texts);
    }
    migration(&lab)
        .input("database-sslmode", "disable")
        .run()
        .succeeds()
        .applied(["0001_users"])
        .logs("TLS off")
        .done();
}

fn with_tls<'a>(lab: &'a Lab, mode: &str, ca: &str) -> Action<'a> {
    migration(lab).input("database-sslmode", mode).input("database-ca", ca)
}

#[test]
fn every_mode_of_tls_makes_its_checks_through_the_tunnel() {
    let right = Lab::new();
    let ca = right.database.server().ca();
    let other_ca = Certificate::named("localhost", Expired::Nothing).ca;
    for mode in ["require", "verify-ca", "verify-full"] {
        assert_refused(
            &right,
            with_tls(&right, mode, &other_ca),
            "tls-untrusted",
            &["can't be trusted", "`database-ca`"],
        );
    }
    // Without a CA the public CAs apply.
    assert_refused(
        &right,
        with_tls(&right, "verify-full", ""),
        "tls-untrusted",
        &["can't be trusted", "`database-ca`"],
    );
    let encrypted = "select count(*) from pg_stat_ssl join pg_stat_activity using (pid) where ssl and application_name like 'bastion%'";
    right.database.sql(&format!(
        "create function is_encrypted() returns bigint language sql security definer as $$ {encrypted} $$"
    ));
    let probe = with_tls(&right, "verify-full", ca)
        .file("migrations/0002_tls.sql", "create table tls as select is_encrypted() as encrypted;\n");
    probe.run().succeeds().applied(["0001_users", "0002_tls"]).logs("TLS verify-full").done();
    assert_eq!(right.database.sql("select encrypted from tls"), "1");

    let other = Lab::on(&Postgres::start(&Options { tls: Tls::Named("db.private.internal"), ..Options::default() }));
    let ca = other.database.server().ca();
    let texts =
        ["the server's certificate is not for `localhost`", "db.private.internal", "`database-sslmode: verify-ca`"];
    assert_refused(&other, with_tls(&other, "verify-full", ca), "tls-wrong-name", &texts);
    with_tls(&other, "verify-ca", ca).run().succeeds().applied(["0001_users"]).logs("TLS verify-ca").done();
    with_tls(&other, "require", ca).run().nothing_to_do().logs("TLS verify-ca").done();
    with_tls(&other, "require", "").run().nothing_to_do().logs("TLS require").done();
}

#[test]
fn an_expired_certificate_or_ca_is_reported_as_expired() {
    let lab = Lab::on(&Postgres::start(&Options { tls: Tls::Expired(Expired::Certificate), ..Options::default() }));
    let ca = lab.database.server().ca();
    for mode in ["verify-ca", "verify-full"] {
        let texts = ["the certificate of `localhost`, or its CA, has expired", "fix: renew the certificate"];
        assert_refused(&lab, with_tls(&lab, mode, ca), "tls-expired", &texts);
    }
    // An expired CA is detected before any connection.
    let old = Certificate::named("localhost", Expired::Authority).ca;
    let action = with_tls(&lab, "verify-full", &old).run().fails("tls-expired", 3);
    action.logs("`database-ca` (from the workflow's `with:`) expired").logs("the CA's current certificate").done();
}

#[test]
fn a_man_in_the_middle_of_tls_can_not_relay_the_login() {
    let lab = Lab::new();
    let proxy = tls_proxy(lab.database.server());
    let texts = ["something stands between", "channel binding", "fix: find out what answers in the database's place"];
    let action = migration(&lab).secret("database-url", lab.database.url_at("localhost", proxy.port));
    assert_refused(&lab, action.input("database-sslmode", "require"), "tls-untrusted", &texts);
}

/// Starts a proxy that terminates the client's TLS and opens its own TLS connection to the server.
fn tls_proxy(postgres: &Postgres) -> FakeServer {
    let Certificate { certificate, key, .. } = Certificate::named("localhost", Expired::Nothing);
    let certificate = CertificateDer::from_pem_slice(certificate.as_bytes()).expect("it is a certificate");
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).expect("it is a key");
    let provider = Arc::new(ring::default_provider());
    let server = ServerConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions();
    let server =
        server.expect("the TLS versions are supported").with_no_client_auth().with_single_cert(vec![certificate], key);
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_slice(postgres.ca().as_bytes()).expect("it is a certificate"))
        .expect("it is a CA");
    let client = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let client = client.expect("the TLS versions are supported").with_root_certificates(roots).with_no_client_auth();
    let acceptor = TlsAcceptor::from(Arc::new(server.expect("the key fits")));
    let (connector, target) = (TlsConnector::from(Arc::new(client)), postgres.port());
    FakeServer::start(move |_, mut near| {
        let (acceptor, connector) = (acceptor.clone(), connector.clone());
        async move {
            let mut request = [0; 8];
            near.read_exact(&mut request).await.expect("the client asks for TLS");
            near.write_all(b"S").await.expect("the client waits");
            let mut near = acceptor.accept(near).await.expect("the client does not check the certificate");
            let mut far = TcpStream::connect(("127.0.0.1", target)).await.expect("the server is there");
            far.write_all(&request).await.expect("the server listens");
            far.read_exact(&mut [0]).await.expect("the server has TLS");
            let name = ServerName::try_from("localhost").expect("it is a name");
            let mut far = connector.connect(name, far).await.expect("the server has TLS");
            drop(copy_bidirectional(&mut near, &mut far).await);
        }
    })
}

#[test]
fn a_standby_is_refused() {
    let lab = Lab::on(&Postgres::start(&Options::default()));
    let standby = lab.database.server().standby();
    let action = migration(&lab).input("wait-timeout", "20s");
    let action = action.secret("database-url", lab.database.url_at("localhost", standby.port()));
    let texts = [&format!("`localhost:{}` is a read-only standby", standby.port()), "fix: use the primary's host name"];
    assert_refused(&lab, action, "database-standby", &texts);
}

#[test]
fn a_pooler_in_another_mode_than_session_is_refused_however_it_is_configured() {
    let lab = Lab::new();
    let lenient = "ignore_startup_parameters = options,extra_float_digits";
    let round_robin = "ignore_startup_parameters = options\nserver_round_robin = 1\nmin_pool_size = 4";
    for (pool, line) in [
        (Pool::Transaction, ""),
        (Pool::Transaction, lenient),
        (Pool::Transaction, round_robin),
        (Pool::Transaction, "default_pool_size = 1"),
        (Pool::Statement, ""),
        (Pool::Statement, lenient),
    ] {
        let pooler = PgBouncer::configured(&lab.database, pool, line);
        let action = migration(&lab).secret("database-url", lab.database.url_at("localhost", pooler.port()));
        let running = action.start();
        running.wait_for_line("database-pooler in database: a connection pooler answers at", LIMIT);
        // The pooler keeps a server session with our application name until it ends.
        let port = pooler.port();
        drop(pooler);
        running
            .finish()
            .fails("database-pooler", 3)
            .logs(&format!("`localhost:{port}`, in transaction or statement mode"))
            .logs("fix: use the direct port: usually 5432 instead of 6432 (PgBouncer)")
            .done();
        assert_eq!(lab.database.sql("select count(*) from pg_namespace where nspname = 'bastion_migrate'"), "0");
    }
}

#[test]
fn a_server_that_is_not_postgresql_is_reported_as_that() {
    let lab = Lab::new();
    let web = FakeServer::web();
    for port in [web.port, lab.bastion.port] {
        let cause = format!("the service at `localhost:{port}` is not a PostgreSQL server");
        for mode in ["disable", "require", "verify-full"] {
            let action = migration(&lab).secret("database-url", lab.database.url_at("localhost", port));
            let action = action.input("database-sslmode", mode);
            assert_refused(&lab, action, "database-not-postgres", &[&cause, "fix: check `database-port`"]);
        }
    }
}

/// Waits for this text about the lock in the log, releases the lock, and waits for the end.
fn finish_after_release<'a>(running: Running<'a>, text: &str, holder: impl Sized) -> Finished {
    running.wait_for_line(text, LIMIT);
    drop(holder);
    running.finish()
}

fn hold_run_lock(database: &Database, name: &str) -> impl Sized {
    let session = database.session();
    session.sql(&format!("set application_name = '{name}'; select pg_advisory_lock({})", bastion_migrate_key()));
    session
}

#[test]
fn another_run_that_holds_the_lock_is_named_and_waited_for() {
    let lab = Lab::new();
    let page = "https://github.com/octo/shop/actions/runs/123/attempts/2";
    let other = || hold_run_lock(&lab.database, "bastion-migrate#123.2 octo/shop");
    let lock_wait = |wait| migration(&lab).input("lock-wait", wait).start();
    // The holder keeps the lock until the step has given up.
    finish_after_release(lock_wait("2s"), "::lock-held in lock: ", other())
        .fails("lock-held", 4)
        .logs(&format!("lock-held in lock: the run lock is held by the run {page} (pid "))
        .logs("waited 2 s for it (`lock-wait`)")
        .logs("fix: wait for the other run, or raise `lock-wait`")
        // Any client can set this name, so the summary does not turn it into a link.
        .summary(&page.replace("://", "<!-- -->://"))
        .done();
    assert_eq!(lab.database.sql("select count(*) from pg_namespace where nspname = 'bastion_migrate'"), "0");
    finish_after_release(lock_wait("30s"), "waiting for the run lock", other())
        .succeeds()
        .applied(["0001_users"])
        .logs(&format!("held by the run {page}"))
        .done();
}

/// A tool with a connection of its own outlives a killed action.
#[test]
fn a_tool_that_outlives_its_run_is_waited_for_and_named() {
    let lab = Lab::new();
    let page = "https://github.com/octo/shop/actions/runs/123/attempts/2";
    let tool = |name: &str| {
        let session = lab.database.session();
        session.sql(&format!("set application_name = '{name}'"));
        session
    };
    let lock_wait = |wait| migration(&lab).input("lock-wait", wait).start();
    let worker = || tool("bastion-migrate-tool#123.2 octo/shop");
    finish_after_release(lock_wait("2s"), "::lock-held in lock: ", worker())
        .fails("lock-held", 4)
        .logs("a tool is still at work in the database although its run has ended")
        .logs(&format!("the run {page} (pid "))
        .logs("waited 2 s for it (`lock-wait`)")
        .done();
    assert_eq!(lab.database.sql("select count(*) from pg_namespace where nspname = 'bastion_migrate'"), "0");
    let waited = finish_after_release(lock_wait("30s"), "waiting for the tool of another run", worker());
    waited.succeeds().applied(["0001_users"]).logs(&format!("it is still active: the run {page}")).done();
    // Read-only tools and clients of a job's tunnel do not block the run.
    let others = ["bastion-migrate-look#123.2 octo/shop", "bastion-migrate-tunnel#123.2 octo/shop"].map(tool);
    finish_after_release(lock_wait("30s"), "lock taken", others).nothing_to_do().never_logs("waiting for").done();
}

#[test]
fn a_person_who_holds_the_lock_in_psql_is_named() {
    let lab = Lab::new();
    let holder = hold_run_lock(&lab.database, "psql");
    finish_after_release(migration(&lab).input("lock-wait", "1s").start(), "::lock-held in lock: ", holder)
        .fails("lock-held", 4)
        .logs("the run lock is held by `psql` (pid ")
        .logs("role `postgres`")
        .done();
}

#[test]
fn two_concurrent_runs_both_succeed_one_after_the_other() {
    let lab = Lab::new();
    lab.database.sql("create table busy (id int); alter table busy owner to app");
    let holder = lab.database.session();
    holder.sql("begin; lock table busy");
    let run = |number: &str| {
        let action = Action::new(&lab).file("migrations/0001_busy.sql", "alter table busy add name text;\n");
        action.input("lock-timeout", "0").env("GITHUB_RUN_ID", number)
    };
    let first = run("1001").start();
    lab.database.wait_for("select count(*) from pg_locks where relation = 'busy'::regclass and not granted", "1");
    let second = run("1002").start();
    second.wait_for_line("held by the run https://github.com/octo/app/actions/runs/1001/attempts/1", LIMIT);
    drop(holder);
    first.finish().succeeds().applied(["0001_busy"]).done();
    second.finish().nothing_to_do().done();
    assert_eq!(lab.database.sql("select version from bastion_migrate.ledger"), "1");
}
