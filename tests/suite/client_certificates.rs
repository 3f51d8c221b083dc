//! Log-ins by a client certificate: our own sessions, the clients of our proxy, and commands on a server.

use crate::{
    action::Action,
    lab::{
        Lab,
        certificate::Expired,
        client_authority::{ClientAuthority, ClientPair},
        postgres::{Options, PASSWORD, Postgres, ROLE},
        server::Server,
    },
    listener::{RunningListener, psql_at, stderr_of, stdout_of, target, with_query},
};
use bastion_migrate::{
    fault::Code,
    postgres::{CertificateTexts, ClientCertificate, ClientIdentity, DatabaseTarget, SslMode},
    proxy::ClientTls,
    secret::Secret,
};
use std::sync::{Arc, LazyLock};

const USERS: &str = "create table users (id int);\n";

/// The rule of a server that logs in by certificates alone.
const BY_CERTIFICATE: &str = "hostssl all all 127.0.0.1/32 cert";

/// The rule of a server that demands a password as well.
const BY_BOTH: &str = "hostssl all all 127.0.0.1/32 scram-sha-256 clientcert=verify-full";

/// The serial number on the revocation list.
const REVOKED: u64 = 666;

struct Trusting {
    postgres: Arc<Postgres>,
    authority: ClientAuthority,
}

static BY_CERTIFICATE_ALONE: LazyLock<Trusting> = LazyLock::new(|| trusting(BY_CERTIFICATE));

/// Starts a server that trusts the clients of a CA, but for the revoked one.
fn trusting(rule: &str) -> Trusting {
    let (postgres, authority) = (Postgres::start(&Options::default()), ClientAuthority::named("the clients' CA"));
    let files = [("clients.crt", authority.ca.as_str()), ("clients.crl", &authority.revocation_list(REVOKED))];
    postgres.reconfigure(rule, &files, &["ssl_ca_file = 'clients.crt'", "ssl_crl_file = 'clients.crl'"]);
    Trusting { postgres, authority }
}

fn url(lab: &Lab) -> String {
    format!("postgres://{ROLE}@localhost:{}/{}", lab.database.server().port(), lab.database.name())
}

fn with_pair<'a>(action: Action<'a>, lab: &Lab, pair: &ClientPair) -> Action<'a> {
    action
        .file("migrations/0001_users.sql", USERS)
        .input("database-url", url(lab))
        .input("database-cert", &pair.certificate)
        .secret("database-key", &pair.key)
}

#[test]
fn all_sessions_of_a_run_log_in_by_a_certificate() {
    let Trusting { postgres, authority } = &*BY_CERTIFICATE_ALONE;
    for through_bastion in [true, false] {
        let lab = Lab::on(postgres);
        let action = if through_bastion { Action::new(&lab) } else { Action::direct(&lab) };
        let pair = authority.issue(ROLE, 1, Expired::Nothing);
        with_pair(action, &lab, &pair).run().succeeds().applied(["0001_users"]).done();
        assert_eq!(lab.database.sql("select count(*) from users"), "0");
    }
}

#[test]
fn the_files_of_a_url_are_read_and_a_password_is_sent_as_well() {
    let Trusting { postgres, authority } = trusting(BY_BOTH);
    let lab = Lab::on(&postgres);
    let pair = authority.issue(ROLE, 1, Expired::Nothing);
    let parameters = "sslmode=require&sslcert=client.crt&sslkey=client.key";
    Action::new(&lab)
        .file("migrations/0001_users.sql", USERS)
        .file("client.crt", &pair.certificate)
        .file("client.key", &pair.key)
        .hides(&pair.key)
        .secret("database-url", format!("{}?{parameters}", lab.database.url()))
        .run()
        .succeeds()
        .applied(["0001_users"])
        .done();
    let lab = Lab::on(&postgres);
    let other = authority.issue("somebody", 2, Expired::Nothing);
    with_pair(Action::new(&lab), &lab, &other)
        .secret("database-password", PASSWORD)
        .run()
        .fails("client-cert-name", 3)
        .logs("`database-cert` has the common name `somebody`, and the role is `app`")
        .done();
}

#[test]
fn each_refusal_has_its_own_fault() {
    let Trusting { postgres, authority } = &*BY_CERTIFICATE_ALONE;
    let lab = Lab::on(postgres);
    let stranger = ClientAuthority::named("another CA");
    for (pair, code, cause) in [
        (authority.issue(ROLE, REVOKED, Expired::Nothing), "client-cert-revoked", "it has been revoked"),
        (stranger.issue(ROLE, 1, Expired::Nothing), "client-cert-untrusted", "the server does not know its CA"),
        (
            authority.issue("somebody", 3, Expired::Nothing),
            "client-cert-name",
            "`database-cert` has the common name `somebody`, and the role is `app`",
        ),
    ] {
        with_pair(Action::new(&lab), &lab, &pair)
            .run()
            .fails(code, 3)
            .logs(cause)
            .logs(&format!("{code} in database"))
            .done();
    }
    Action::new(&lab)
        .file("migrations/0001_users.sql", USERS)
        .input("database-url", url(&lab))
        .input("database-sslmode", "require")
        .run()
        .fails("client-cert-missing", 3)
        .logs("the server demands a client certificate of `app`, and none is given")
        .done();
    assert_eq!(lab.database.contents(), "");
}

#[test]
fn a_pair_that_can_not_be_used_is_refused_before_any_connection() {
    let Trusting { postgres, authority } = &*BY_CERTIFICATE_ALONE;
    let lab = Lab::on(postgres);
    let good = authority.issue(ROLE, 1, Expired::Nothing);
    let expired = authority.issue(ROLE, 1, Expired::Certificate);
    let encrypted = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMIIFHDBOBgkqhkiG9w0BBQ0wQTApBgkqhkiG9w0BBQwwHAQI\n-----END ENCRYPTED PRIVATE KEY-----\n";
    let pair = |certificate: &str, key: &str| ClientPair { certificate: certificate.to_owned(), key: key.to_owned() };
    for (pair, code, cause) in [
        (expired.clone(), "client-cert-expired", "expired "),
        (pair(&good.certificate, &expired.key), "client-cert-invalid", "is not the key of `database-cert`"),
        (pair(&good.certificate, encrypted), "client-cert-invalid", "is encrypted with a passphrase"),
        (pair("x", &good.key), "client-cert-invalid", "contains no `-----BEGIN CERTIFICATE-----`"),
        (pair(&good.certificate, ""), "input-missing", "is given, and `database-key` has no value"),
    ] {
        with_pair(Action::new(&lab), &lab, &pair).run().fails(code, 2).logs(cause).done();
    }
    with_pair(Action::new(&lab), &lab, &good)
        .input("database-sslmode", "disable")
        .run()
        .fails("input-invalid", 2)
        .logs("`database-cert` and `database-auth` need TLS")
        .done();
}

fn certified(lab: &Lab, pair: &ClientPair) -> DatabaseTarget {
    let key = Secret::new(&*pair.key);
    let texts = CertificateTexts { chain: (&pair.certificate, "the certificate"), key: (&key, "the key") };
    let certificate = Some(ClientCertificate::parse(texts).expect("the pair is valid"));
    DatabaseTarget {
        password: None,
        identity: ClientIdentity { certificate, token: None },
        ..target(lab, SslMode::Require)
    }
}

#[test]
fn a_client_of_the_proxy_needs_no_certificate() {
    let Trusting { postgres, authority } = &*BY_CERTIFICATE_ALONE;
    let lab = Lab::on(postgres);
    let pair = authority.issue(ROLE, 1, Expired::Nothing);
    let proxy = RunningListener::start(&lab, ClientTls::Terminated, certified(&lab, &pair));
    let psql = with_query(
        psql_at(&lab, proxy.port(), "sslmode=prefer"),
        "select ssl, client_dn from pg_stat_ssl where pid = pg_backend_pid()",
    );
    assert_eq!(stdout_of(psql), "t|/CN=app");
}

#[test]
fn a_client_of_the_proxy_gets_the_reason_of_a_refused_certificate() {
    let Trusting { postgres, authority } = &*BY_CERTIFICATE_ALONE;
    let lab = Lab::on(postgres);
    for (role, serial, code, message) in [
        (ROLE, REVOKED, Code::ClientCertRevoked, "it has been revoked"),
        ("somebody", 4, Code::ClientCertName, "certificate authentication failed for user \"app\""),
    ] {
        let pair = authority.issue(role, serial, Expired::Nothing);
        let proxy = RunningListener::start(&lab, ClientTls::Terminated, certified(&lab, &pair));
        let shown = stderr_of(with_query(psql_at(&lab, proxy.port(), "sslmode=disable"), "select 1"));
        assert!(shown.contains(message), "{shown}");
        assert_eq!(proxy.listener.last_fault().map(|fault| fault.code), Some(code));
    }
}

#[test]
fn a_client_of_the_proxy_sends_its_password_where_both_are_demanded() {
    let Trusting { postgres, authority } = trusting(BY_BOTH);
    let lab = Lab::on(&postgres);
    let pair = authority.issue(ROLE, 1, Expired::Nothing);
    let proxy = RunningListener::start(&lab, ClientTls::Terminated, certified(&lab, &pair));
    assert_eq!(stdout_of(with_query(psql_at(&lab, proxy.port(), "sslmode=prefer"), "select current_user")), ROLE);
}

/// The command sees the files by libpq's variables, and nobody else may read them.
#[test]
fn a_command_on_the_server_gets_the_certificate_in_private_files() {
    let Trusting { postgres, authority } = &*BY_CERTIFICATE_ALONE;
    let (lab, server) = (Lab::on(postgres), Server::start());
    let pair = authority.issue(ROLE, 1, Expired::Nothing);
    let command = format!(
        "stat -c '%a %n' \"$PGSSLKEY\" | sed 's|/.*/|… |'; psql -XqAt 'host=localhost port={} user={ROLE} dbname={}' \
         -c 'create table by_the_tool (id int)'",
        lab.database.server().port(),
        lab.database.name()
    );
    Action::on_server(&lab, &server)
        .input("database-url", url(&lab))
        .input("database-cert", &pair.certificate)
        .secret("database-key", &pair.key)
        .input("run", command)
        .run()
        .succeeds()
        .logs("600 … file.key")
        .warning("no ledger was found in the database")
        .done();
    assert_eq!(lab.database.sql("select count(*) from by_the_tool"), "0");
}
