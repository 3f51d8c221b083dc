//! What can go wrong with the database behind the bastion, as somebody meets it whose deploy is stuck: not there, not ready,
//! not letting in, not the one that was meant, or busy with another run.

use crate::{
    action::{Action, Running},
    judge::Finished,
    lab::{
        Lab,
        certificate::{Certificate, Expired},
        pgbouncer::{PgBouncer, Pool},
        postgres::{Database, Options, PASSWORD, Postgres, Tls},
        stranger::Stranger,
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

/// As long as anything in these tests may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// Through the bastion, with one file to apply; what is not there is not waited for.
fn migration(lab: &Lab) -> Action<'_> {
    Action::new(lab).file("migrations/0001_users.sql", USERS).input("wait-timeout", "1s")
}

/// It fails with these words, and nothing is changed.
fn refused(lab: &Lab, action: Action<'_>, code: &'static str, words: &[&str]) {
    said(lab, action, code, words).done();
}

fn said(lab: &Lab, action: Action<'_>, code: &'static str, words: &[&str]) -> Finished {
    let finished = action.run().fails(code, 3).says(&format!("{code} in database: "));
    assert_eq!(lab.database.sql("select count(*) from pg_namespace where nspname = 'bastion_migrate'"), "0");
    words.iter().fold(finished, |finished, word| finished.says(word))
}

fn closed_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
    listener.local_addr().expect("a bound socket has an address").port()
}

#[test]
fn a_database_that_is_not_there_is_waited_for_and_told_by_what_is_wrong() {
    let lab = Lab::new();
    let (closed, silent) = (closed_port(), Stranger::silent());
    let bastion = format!("`127.0.0.1:{}`", lab.bastion.port);
    let action = migration(&lab).secret("database-url", lab.database.url_at("localhost", closed));
    let cause = format!("{bastion} can't connect to `localhost:{closed}`: refused or no route");
    let words =
        [cause.as_str(), "waiting for the database", "waited 1 s for it (`wait-timeout`)", "the bastion itself"];
    refused(&lab, action, "database-refused", &words);
    let action = migration(&lab).secret("database-url", lab.database.url_at("db.invalid", 5432));
    let words =
        [&format!("{bastion} can't resolve the name `db.invalid`"), "resolved on the bastion, not on the runner"];
    refused(&lab, action, "database-unknown", &words);
    let action = migration(&lab).secret("database-url", lab.database.url_at("localhost", silent.port));
    let words = [&format!("`localhost:{}` does not answer", silent.port), "raise `wait-timeout`"];
    refused(&lab, action, "database-timeout", &words);
}

#[test]
fn a_database_that_starts_up_is_waited_for_and_told_so() {
    let lab = Lab::on(&Postgres::start(&Options::default()));
    let server = lab.database.server();
    server.stop();
    let running = migration(&lab).input("wait-timeout", "30s").start();
    running.wait_for_line("refused or no route", PATIENCE);
    server.begin_recovery();
    running.wait_for_line("the server is not ready: the database system is starting up", PATIENCE);
    server.end_recovery();
    running.finish().succeeds().applied(["0001_users"]).done();
}

#[test]
fn a_server_without_a_free_connection_is_waited_for() {
    let lab = Lab::new();
    let limit =
        |number: i32| lab.database.sql(&format!("alter database {} connection limit {number}", lab.database.name()));
    limit(0);
    let words =
        ["the server has no free connection: too many connections for database", "SQLSTATE 53300", "waited 1 s"];
    refused(&lab, migration(&lab), "database-unready", &words);
    let running = migration(&lab).input("wait-timeout", "30s").start();
    running.wait_for_line("the server has no free connection", PATIENCE);
    limit(-1);
    running.finish().succeeds().applied(["0001_users"]).done();
}

#[test]
fn a_log_in_that_is_refused_is_told_once_and_not_tried_again() {
    let lab = Lab::new();
    let (port, name) = (lab.database.server().port(), lab.database.name());
    for (url, password, code, words) in [
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
        said(&lab, action, code, &words).never_says("waiting for the database").done();
    }
}

#[test]
fn tls_that_is_asked_for_and_not_offered_is_not_done_without() {
    let lab = Lab::on(&Postgres::start(&Options { tls: Tls::Off, ..Options::default() }));
    for mode in ["require", "verify-ca", "verify-full"] {
        let words = ["offers no TLS, and `database-sslmode` asks for it", "`database-sslmode: disable`"];
        refused(&lab, migration(&lab).input("database-sslmode", mode), "tls-unavailable", &words);
    }
    migration(&lab)
        .input("database-sslmode", "disable")
        .run()
        .succeeds()
        .applied(["0001_users"])
        .says("TLS off")
        .done();
}

fn with_tls<'a>(lab: &'a Lab, mode: &str, ca: &str) -> Action<'a> {
    migration(lab).input("database-sslmode", mode).input("database-ca", ca)
}

#[test]
fn every_mode_of_tls_checks_what_it_says_through_the_tunnel() {
    let right = Lab::new();
    let ca = right.database.server().ca();
    let stranger = Certificate::named("localhost", Expired::Nothing).ca;
    for mode in ["require", "verify-ca", "verify-full"] {
        refused(&right, with_tls(&right, mode, &stranger), "tls-untrusted", &["can't be trusted", "`database-ca`"]);
    }
    // Without a CA the public ones count.
    refused(&right, with_tls(&right, "verify-full", ""), "tls-untrusted", &["can't be trusted", "`database-ca`"]);
    let encrypted = "select count(*) from pg_stat_ssl join pg_stat_activity using (pid) where ssl and application_name like 'bastion%'";
    right.database.sql(&format!(
        "create function is_encrypted() returns bigint language sql security definer as $$ {encrypted} $$"
    ));
    let probe = with_tls(&right, "verify-full", ca)
        .file("migrations/0002_tls.sql", "create table tls as select is_encrypted() as encrypted;\n");
    probe.run().succeeds().applied(["0001_users", "0002_tls"]).says("TLS verify-full").done();
    assert_eq!(right.database.sql("select encrypted from tls"), "1");

    let other = Lab::on(&Postgres::start(&Options { tls: Tls::Named("db.private.internal"), ..Options::default() }));
    let ca = other.database.server().ca();
    let words =
        ["the server's certificate is not for `localhost`", "db.private.internal", "`database-sslmode: verify-ca`"];
    refused(&other, with_tls(&other, "verify-full", ca), "tls-wrong-name", &words);
    with_tls(&other, "verify-ca", ca).run().succeeds().applied(["0001_users"]).says("TLS verify-ca").done();
    with_tls(&other, "require", ca).run().nothing_to_do().says("TLS verify-ca").done();
    with_tls(&other, "require", "").run().nothing_to_do().says("TLS require").done();
}

#[test]
fn a_certificate_or_a_ca_out_of_date_is_told_as_that() {
    let lab = Lab::on(&Postgres::start(&Options { tls: Tls::Expired(Expired::Certificate), ..Options::default() }));
    let ca = lab.database.server().ca();
    for mode in ["verify-ca", "verify-full"] {
        let words = ["the certificate of `localhost`, or its CA, has expired", "fix: renew the certificate"];
        refused(&lab, with_tls(&lab, mode, ca), "tls-expired", &words);
    }
    // It is known before anything is connected to.
    let old = Certificate::named("localhost", Expired::Authority).ca;
    let action = with_tls(&lab, "verify-full", &old).run().fails("tls-expired", 3);
    action.says("`database-ca` (from the workflow's `with:`) expired").says("the CA's current certificate").done();
}

#[test]
fn who_stands_in_the_middle_of_tls_can_not_pass_the_log_in_on() {
    let lab = Lab::new();
    let spy = spy_in_front_of(lab.database.server());
    let words = ["something stands between", "channel binding", "fix: find out what answers in the database's place"];
    let action = migration(&lab).secret("database-url", lab.database.url_at("localhost", spy.port));
    refused(&lab, action.input("database-sslmode", "require"), "tls-untrusted", &words);
}

/// Somebody who ends the client's TLS and begins one of his own with the server.
fn spy_in_front_of(postgres: &Postgres) -> Stranger {
    let Certificate { certificate, key, .. } = Certificate::named("localhost", Expired::Nothing);
    let certificate = CertificateDer::from_pem_slice(certificate.as_bytes()).expect("it is a certificate");
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).expect("it is a key");
    let provider = Arc::new(ring::default_provider());
    let server = ServerConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions();
    let server = server.expect("TLS can be had").with_no_client_auth().with_single_cert(vec![certificate], key);
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_slice(postgres.ca().as_bytes()).expect("it is a certificate"))
        .expect("it is a CA");
    let client = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let client = client.expect("TLS can be had").with_root_certificates(roots).with_no_client_auth();
    let acceptor = TlsAcceptor::from(Arc::new(server.expect("the key fits")));
    let (connector, target) = (TlsConnector::from(Arc::new(client)), postgres.port());
    Stranger::start(move |_, mut near| {
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
    let words = [&format!("`localhost:{}` is a read-only standby", standby.port()), "fix: use the primary's host name"];
    refused(&lab, action, "database-standby", &words);
}

#[test]
fn a_pooler_is_refused_however_it_is_configured() {
    let lab = Lab::new();
    let lenient = "ignore_startup_parameters = options,extra_float_digits";
    for (pool, line) in
        [(Pool::Transaction, ""), (Pool::Transaction, lenient), (Pool::Session, ""), (Pool::Session, lenient)]
    {
        let pooler = PgBouncer::configured(&lab.database, pool, line);
        let action = migration(&lab).secret("database-url", lab.database.url_at("localhost", pooler.port()));
        let running = action.start();
        running.wait_for_line("database-pooler in database: a connection pooler answers at", PATIENCE);
        // It keeps its own session with the server, which has our name.
        let port = pooler.port();
        drop(pooler);
        running
            .finish()
            .fails("database-pooler", 3)
            .says(&format!("`localhost:{port}`"))
            .says("fix: use the direct port: usually 5432 instead of 6432 (PgBouncer)")
            .done();
        assert_eq!(lab.database.sql("select count(*) from pg_namespace where nspname = 'bastion_migrate'"), "0");
    }
}

#[test]
fn what_is_no_postgresql_is_told_as_that() {
    let lab = Lab::new();
    let web = Stranger::web();
    for port in [web.port, lab.bastion.port] {
        let cause = format!("the service at `localhost:{port}` is not a PostgreSQL server");
        for mode in ["disable", "require", "verify-full"] {
            let action = migration(&lab).secret("database-url", lab.database.url_at("localhost", port));
            let action = action.input("database-sslmode", mode);
            refused(&lab, action, "database-not-postgres", &[&cause, "fix: check `database-port`"]);
        }
    }
}

/// Waits until the step has said this of the lock, lets it go, and waits for the end.
fn released<'a>(running: Running<'a>, said: &str, holder: impl Sized) -> Finished {
    running.wait_for_line(said, PATIENCE);
    drop(holder);
    running.finish()
}

fn holding(database: &Database, name: &str) -> impl Sized {
    let session = database.session();
    session.sql(&format!("set application_name = '{name}'; select pg_advisory_lock({})", bastion_migrate_key()));
    session
}

#[test]
fn another_run_that_holds_the_lock_is_named_and_waited_for() {
    let lab = Lab::new();
    let page = "https://github.com/octo/shop/actions/runs/123/attempts/2";
    let other = || holding(&lab.database, "bastion-migrate#123.2 octo/shop");
    let lock_wait = |wait| migration(&lab).input("lock-wait", wait).start();
    // The holder lives until the step has given up.
    released(lock_wait("2s"), "::lock-held in lock: ", other())
        .fails("lock-held", 4)
        .says(&format!("lock-held in lock: the run lock is held by the run {page} (pid "))
        .says("waited 2 s for it (`lock-wait`)")
        .says("fix: wait for the other run, or raise `lock-wait`")
        // The name of the other session is anybody's: in the summary it makes no link.
        .summary(&page.replace("://", "<!-- -->://"))
        .done();
    assert_eq!(lab.database.sql("select count(*) from pg_namespace where nspname = 'bastion_migrate'"), "0");
    released(lock_wait("30s"), "waiting for the run lock", other())
        .succeeds()
        .applied(["0001_users"])
        .says(&format!("held by the run {page}"))
        .done();
}

/// Where a tool's connection is its own, it outlives an action that is killed.
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
    released(lock_wait("2s"), "::lock-held in lock: ", worker())
        .fails("lock-held", 4)
        .says("a tool is still at work in the database although its run has ended")
        .says(&format!("the run {page} (pid "))
        .says("waited 2 s for it (`lock-wait`)")
        .done();
    assert_eq!(lab.database.sql("select count(*) from pg_namespace where nspname = 'bastion_migrate'"), "0");
    let told = released(lock_wait("30s"), "waiting for the tool of another run", worker());
    told.succeeds().applied(["0001_users"]).says(&format!("it still works: the run {page}")).done();
    // Who only looks, and who came through the tunnel of a job, is in nobody's way.
    let others = ["bastion-migrate-look#123.2 octo/shop", "bastion-migrate-tunnel#123.2 octo/shop"].map(tool);
    released(lock_wait("30s"), "lock taken", others).nothing_to_do().never_says("waiting for").done();
}

#[test]
fn somebody_who_holds_the_lock_by_hand_is_named() {
    let lab = Lab::new();
    let holder = holding(&lab.database, "psql");
    released(migration(&lab).input("lock-wait", "1s").start(), "::lock-held in lock: ", holder)
        .fails("lock-held", 4)
        .says("the run lock is held by `psql` (pid ")
        .says("role `postgres`")
        .done();
}

#[test]
fn of_two_runs_at_once_one_waits_and_both_end_well() {
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
    second.wait_for_line("held by the run https://github.com/octo/app/actions/runs/1001/attempts/1", PATIENCE);
    drop(holder);
    first.finish().succeeds().applied(["0001_busy"]).done();
    second.finish().nothing_to_do().done();
    assert_eq!(lab.database.sql("select version from bastion_migrate.ledger"), "1");
}
