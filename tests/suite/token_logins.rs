//! Log-ins by tokens that last minutes: a PostgreSQL that checks RDS tokens by PAM, moto as STS, and stand-ins for the
//! servers of GitHub, Google and Microsoft.
#![expect(clippy::disallowed_methods, reason = "starts moto")]

use crate::{
    action::Action,
    lab::{
        Lab,
        cloud::{CloudCall, CloudServer},
        poll,
        postgres::{Options, Postgres, ROLE},
        process::{ServerProcess, directory, free_port},
        rds_login::{ACCESS_KEY_ID, RdsServer, SECRET_ACCESS_KEY},
        server::Server,
        venv::venv,
    },
    listener::{RunningListener, psql_at, stderr_of, stdout_of, target, with_query},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use bastion_migrate::{
    fault::Code,
    https::NetworkSettings,
    postgres::{ClientIdentity, DatabaseTarget, SslMode},
    proxy::ClientTls,
    run::event::Events,
    secret::Secret,
    token_login::{AwsCredentials, AwsKeys, AwsRole, OidcEndpoint, RdsLogin, TokenLogin, TokenMethod},
};
use std::{net::TcpStream, process::Command, time::Duration};

const USERS: &str = "create table users (id int);\n";

/// GitHub's token for the stand-ins.
const ID_TOKEN: &str = "eyJhbGciOiJub25lIn0.eyJzdWIiOiJyZXBvOm8vciJ9.c2lnbmF0dXJl";

const ROLE_ARN: &str = "arn:aws:iam::123456789012:role/migrate";

const PROVIDER: &str = "projects/1/locations/global/workloadIdentityPools/ci/providers/github";

fn url(lab: &Lab) -> String {
    format!("postgres://{ROLE}@localhost:{}/{}", lab.database.server().port(), lab.database.name())
}

/// A step with one file, without a password.
fn step<'a>(action: Action<'a>, lab: &Lab) -> Action<'a> {
    action.file("migrations/0001_users.sql", USERS).input("database-url", url(lab))
}

fn with_keys<'a>(action: Action<'a>, secret_access_key: &str) -> Action<'a> {
    action
        .input("database-auth", "{ method: aws-rds-iam, region: eu-west-1 }")
        .env("AWS_ACCESS_KEY_ID", ACCESS_KEY_ID)
        .secret_env("AWS_SECRET_ACCESS_KEY", secret_access_key)
}

fn with_github<'a>(action: Action<'a>, github: &CloudServer) -> Action<'a> {
    action
        .env("ACTIONS_ID_TOKEN_REQUEST_URL", format!("{}/idtoken?api-version=2.0", github.url()))
        .secret_env("ACTIONS_ID_TOKEN_REQUEST_TOKEN", "request-token-c4n4ry")
        .hides(ID_TOKEN)
}

fn github() -> CloudServer {
    CloudServer::start(|_| (200, format!(r#"{{"count":1,"value":"{ID_TOKEN}"}}"#)))
}

/// Returns the log as people see it, without the commands that mask.
fn without_masks(log: &str) -> String {
    log.lines().filter(|line| !line.starts_with("::add-mask::")).collect::<Vec<_>>().join("\n")
}

#[test]
fn every_session_of_a_run_logs_in_by_a_token_of_its_own() {
    let rds = RdsServer::start();
    for through_bastion in [true, false] {
        let lab = Lab::on(&rds.postgres);
        let action = if through_bastion { Action::new(&lab) } else { Action::direct(&lab) };
        let finished = with_keys(step(action, &lab), SECRET_ACCESS_KEY).env("RUNNER_DEBUG", "1").run();
        // The runner gets each token to mask, and nothing else has one.
        let unmasked = without_masks(&finished.rendered_log());
        assert!(!unmasked.contains("Amz-Signature"), "{unmasked}");
        finished.succeeds().applied(["0001_users"]).logs("::add-mask::localhost:").done();
    }
}

#[test]
fn a_token_that_the_server_refuses_is_told_with_the_rights_that_it_needs() {
    let rds = RdsServer::start();
    let lab = Lab::on(&rds.postgres);
    with_keys(step(Action::new(&lab), &lab), "another-secret-access-key")
        .run()
        .fails("token-refused", 3)
        .logs("the server does not let the role `app` log in by an RDS token")
        .logs("GRANT rds_iam TO \"app\"")
        .logs("rds-db:connect")
        .done();
    let scram = Lab::new();
    with_keys(step(Action::new(&scram), &scram), SECRET_ACCESS_KEY).run().fails("token-refused", 3).done();
}

/// The answer of STS is the shape of the real one; moto has a test of its own. PAM takes no password of more than 511
/// bytes, and moto's session token alone has nearly as many.
#[test]
fn a_role_is_assumed_by_the_jobs_own_token() {
    let rds = RdsServer::start();
    let lab = Lab::on(&rds.postgres);
    let github = github();
    let sts = CloudServer::start(|_| {
        let credentials = format!(
            "<AccessKeyId>ASIAEXAMPLE</AccessKeyId><SecretAccessKey>{SECRET_ACCESS_KEY}</SecretAccessKey>\
             <SessionToken>session-token-c4n4ry</SessionToken><Expiration>2090-01-01T00:00:00Z</Expiration>"
        );
        (
            200,
            format!(
                "<R><AssumeRoleWithWebIdentityResult><Credentials>{credentials}</Credentials></AssumeRoleWithWebIdentityResult></R>"
            ),
        )
    });
    with_github(step(Action::new(&lab), &lab), &github)
        .input("database-auth", format!("{{ method: aws-rds-iam, region: eu-west-1, role: '{ROLE_ARN}' }}"))
        .env("AWS_ENDPOINT_URL_STS", sts.url())
        .hides("session-token-c4n4ry")
        .hides(SECRET_ACCESS_KEY)
        .run()
        .succeeds()
        .applied(["0001_users"])
        .done();
    let asked = github.calls();
    assert_eq!(asked.len(), 1, "{asked:?}");
    assert!(asked[0].line.ends_with("&audience=sts%2Eamazonaws%2Ecom"), "{asked:?}");
    assert_eq!(asked[0].headers["authorization"], "Bearer request-token-c4n4ry");
    let assumed = sts.calls();
    assert_eq!(assumed.len(), 1, "one session serves the whole run: {assumed:?}");
    assert!(assumed[0].body.contains("Action=AssumeRoleWithWebIdentity&Version=2011%2D06%2D15"), "{assumed:?}");
    assert!(assumed[0].body.contains("RoleArn=arn%3Aaws%3Aiam%3A%3A123456789012%3Arole%2Fmigrate"), "{assumed:?}");
}

#[test]
fn a_job_that_may_not_have_a_token_is_told_the_permission() {
    let lab = Lab::new();
    let role = format!("{{ method: aws-rds-iam, region: eu-west-1, role: '{ROLE_ARN}' }}");
    step(Action::new(&lab), &lab)
        .input("database-auth", &role)
        .env("ACTIONS_ID_TOKEN_REQUEST_URL", "")
        .env("ACTIONS_ID_TOKEN_REQUEST_TOKEN", "")
        .run()
        .fails("oidc-unavailable", 2)
        .logs("`id-token: write`")
        .done();
    let (github, sts) =
        (github(), CloudServer::start(|_| (403, "<Code>AccessDenied</Code> not authorized".to_owned())));
    with_github(step(Action::new(&lab), &lab), &github)
        .input("database-auth", &role)
        .env("AWS_ENDPOINT_URL_STS", sts.url())
        .run()
        .fails("token-unavailable", 3)
        .logs(&format!("asked to assume the role `{ROLE_ARN}`, answered 403"))
        .logs("AccessDenied")
        .logs("`sts:AssumeRoleWithWebIdentity`")
        .done();
}

#[test]
fn what_is_missing_or_contradicts_is_refused_before_any_connection() {
    let lab = Lab::new();
    let auth = |value: &str| step(Action::new(&lab), &lab).input("database-auth", value);
    // All that is missing is reported at once.
    auth("aws-rds-iam")
        .run()
        .fails("input-missing", 2)
        .error("the host `localhost` names none")
        .error("the environment lacks `AWS_ACCESS_KEY_ID` and `AWS_SECRET_ACCESS_KEY`")
        .done();
    auth("{ method: aws-rds-iam, region: eu-west-1 }")
        .run()
        .fails("input-missing", 2)
        .logs("the environment lacks `AWS_ACCESS_KEY_ID` and `AWS_SECRET_ACCESS_KEY`")
        .done();
    auth("kerberos").run().fails("input-invalid", 2).logs("it is neither `password`, `aws-rds-iam`").done();
    auth("gcp-iam")
        .secret("database-url", lab.database.url())
        .run()
        .fails("input-invalid", 2)
        .logs("a password is given, and `database-auth`")
        .done();
    auth("gcp-iam")
        .input("database-sslmode", "disable")
        .run()
        .fails("input-invalid", 2)
        .logs("`database-cert` and `database-auth` need TLS")
        .done();
    auth("{ method: azure-ad, tenant: t-1 }")
        .run()
        .fails("input-missing", 2)
        .logs("has a tenant, and no client id")
        .done();
    auth("{ method: file, file: token }")
        .run()
        .fails("token-unavailable", 3)
        .logs("the file `token` with the token can't be read")
        .done();
}

#[test]
fn an_expired_token_in_a_file_is_told_as_that() {
    let lab = Lab::new();
    let payload = URL_SAFE_NO_PAD.encode(r#"{"exp":1700000000}"#);
    step(Action::new(&lab), &lab)
        .input("database-auth", "{ method: file, file: token }")
        .file("token", format!("e30.{payload}.sig\n"))
        .run()
        .fails("token-expired", 3)
        .logs("the token in `token` expired ")
        .done();
}

/// Starts a server whose role has this token as its password, which it asks for in plain text, as clouds do.
fn server_with_token(token: &str) -> std::sync::Arc<Postgres> {
    let postgres =
        Postgres::start(&Options { settings: &["password_encryption = 'scram-sha-256'"], ..Options::default() });
    postgres.reconfigure("hostssl all all 127.0.0.1/32 password", &[], &[]);
    let database = postgres.database();
    database.sql(&format!("alter role {ROLE} password '{token}'"));
    drop(database);
    postgres
}

/// Answers as Google's servers do: the metadata server, the Security Token Service, and the service accounts' API.
fn google(call: &CloudCall) -> (u16, String) {
    let token = "ya29.google-c4n4ry";
    if call.line.starts_with("GET /computeMetadata/v1/") && call.headers.contains_key("metadata-flavor") {
        return (200, format!(r#"{{"access_token":"{token}","expires_in":3599,"token_type":"Bearer"}}"#));
    }
    if call.line == "POST /v1/token" && call.body.contains(ID_TOKEN) {
        return (200, r#"{"access_token":"federated-c4n4ry","expires_in":3599,"token_type":"Bearer"}"#.to_owned());
    }
    let is_authorized = call.headers.get("authorization").is_some_and(|bearer| bearer == "Bearer federated-c4n4ry");
    if call.line.ends_with("/serviceAccounts/ci@p.iam.gserviceaccount.com:generateAccessToken") && is_authorized {
        return (200, format!(r#"{{"accessToken":"{token}","expireTime":"2090-01-01T00:00:00Z"}}"#));
    }
    (400, r#"{"error":"invalid_request"}"#.to_owned())
}

#[test]
fn google_gives_a_token_to_its_own_machine_and_to_a_federated_job() {
    let postgres = server_with_token("ya29.google-c4n4ry");
    let (cloud, github) = (CloudServer::start(google), github());
    let lab = Lab::on(&postgres);
    step(Action::new(&lab), &lab)
        .input("database-auth", "gcp-iam")
        .env("GCE_METADATA_HOST", cloud.host())
        .hides("ya29.google-c4n4ry")
        .run()
        .succeeds()
        .applied(["0001_users"])
        .done();
    assert_eq!(cloud.calls().len(), 1, "a token serves all sessions: {:?}", cloud.calls());
    let lab = Lab::on(&postgres);
    let auth = format!("{{ method: gcp-iam, provider: {PROVIDER}, role: ci@p.iam.gserviceaccount.com }}");
    let federated = || {
        with_github(step(Action::new(&lab), &lab), &github)
            .env("CLOUDSDK_API_ENDPOINT_OVERRIDES_STS", cloud.url())
            .env("CLOUDSDK_API_ENDPOINT_OVERRIDES_IAMCREDENTIALS", cloud.url())
            .hides("ya29.google-c4n4ry")
            .hides("federated-c4n4ry")
    };
    federated().input("database-auth", auth).run().succeeds().applied(["0001_users"]).done();
    assert!(github.calls()[0].line.contains("audience=https%3A%2F%2Fiam%2Egoogleapis%2Ecom%2Fprojects"));
    // Another account: Google refuses it.
    let auth = format!("{{ method: gcp-iam, provider: {PROVIDER}, role: other@p.iam.gserviceaccount.com }}");
    federated()
        .input("database-auth", auth)
        .run()
        .fails("token-unavailable", 3)
        .logs("answered 400")
        .logs("`roles/iam.workloadIdentityUser`")
        .done();
}

/// Answers as Microsoft's servers do: Entra ID, and the metadata server.
fn microsoft(call: &CloudCall) -> (u16, String) {
    let token = "entra-c4n4ry-token";
    if call.line == "POST /tenant-1/oauth2/v2.0/token"
        && call.body.contains("ossrdbms%2Daad%2Edatabase%2Ewindows%2Enet%2F%2Edefault")
        && call.body.contains("client_id=client%2D1")
    {
        return (200, format!(r#"{{"token_type":"Bearer","expires_in":3599,"access_token":"{token}"}}"#));
    }
    if call.line.starts_with("GET /metadata/identity/oauth2/token?") && call.headers.contains_key("metadata") {
        return (200, format!(r#"{{"access_token":"{token}","expires_in":"86399","resource":"x"}}"#));
    }
    (
        401,
        r#"{"error":"unauthorized_client","error_description":"AADSTS70021: No matching federated identity record"}"#
            .to_owned(),
    )
}

#[test]
fn microsoft_gives_a_token_to_an_application_and_to_a_machine() {
    let postgres = server_with_token("entra-c4n4ry-token");
    let (cloud, github) = (CloudServer::start(microsoft), github());
    let federated = |lab: &Lab, client: &str| {
        format!("{{ method: azure-ad, tenant: tenant-1, client-id: {client} }}").replace("LAB", lab.database.name())
    };
    let lab = Lab::on(&postgres);
    let action = |lab| {
        with_github(step(Action::new(lab), lab), &github)
            .env("AZURE_AUTHORITY_HOST", cloud.url())
            .hides("entra-c4n4ry-token")
    };
    action(&lab).input("database-auth", federated(&lab, "client-1")).run().succeeds().applied(["0001_users"]).done();
    assert!(github.calls()[0].line.contains("audience=api%3A%2F%2FAzureADTokenExchange"));
    let lab = Lab::on(&postgres);
    action(&lab)
        .input("database-auth", "azure-ad")
        .env("AZURE_POD_IDENTITY_AUTHORITY_HOST", cloud.url())
        .run()
        .succeeds()
        .applied(["0001_users"])
        .done();
    action(&lab)
        .input("database-auth", federated(&lab, "client-2"))
        .run()
        .fails("token-unavailable", 3)
        .logs("answered 401")
        .logs("AADSTS70021")
        .logs("federated credential")
        .done();
}

fn rds_target(lab: &Lab, secret_access_key: &str) -> DatabaseTarget {
    let target = target(lab, SslMode::Require);
    let keys = AwsKeys {
        access_key_id: ACCESS_KEY_ID.to_owned(),
        secret_access_key: Secret::new(secret_access_key),
        session_token: None,
    };
    let login = RdsLogin {
        host: target.host.clone(),
        port: target.port,
        user: ROLE.to_owned(),
        region: "eu-west-1".to_owned(),
        credentials: AwsCredentials::Keys(keys),
    };
    let token = Some(TokenLogin::new(TokenMethod::AwsRdsIam(login), NetworkSettings::default()));
    DatabaseTarget { password: None, identity: ClientIdentity { certificate: None, token }, ..target }
}

#[test]
fn a_client_of_the_proxy_is_logged_in_without_a_password() {
    let rds = RdsServer::start();
    let lab = Lab::on(&rds.postgres);
    let proxy = RunningListener::start(&lab, ClientTls::Terminated, rds_target(&lab, SECRET_ACCESS_KEY));
    for mode in ["disable", "prefer"] {
        let mut psql = psql_at(&lab, proxy.port(), &format!("sslmode={mode}"));
        psql.env_remove("PGPASSWORD").arg("--no-password");
        let query = "select concat_ws('|', current_user, ssl) from pg_stat_ssl where pid = pg_backend_pid()";
        assert_eq!(stdout_of(with_query(psql, query)), "app|t");
    }
    let psql = psql_at(&lab, proxy.port(), "sslmode=disable user=somebody");
    let shown = stderr_of(with_query(psql, "select 1"));
    assert!(shown.contains("authentication failed for user \"somebody\""), "{shown}");
}

#[test]
fn a_client_of_the_proxy_gets_the_servers_reason() {
    let rds = RdsServer::start();
    let lab = Lab::on(&rds.postgres);
    let proxy = RunningListener::start(&lab, ClientTls::Terminated, rds_target(&lab, "another-key"));
    let shown = stderr_of(with_query(psql_at(&lab, proxy.port(), "sslmode=disable"), "select 1"));
    assert!(shown.contains("PAM authentication failed for user \"app\""), "{shown}");
    assert_eq!(proxy.listener.last_fault().map(|fault| fault.code), Some(Code::TokenRefused));
}

#[test]
fn a_command_on_the_server_gets_a_token_as_pgpassword() {
    let rds = RdsServer::start();
    let (lab, server) = (Lab::on(&rds.postgres), Server::start());
    let command = format!(
        "psql -XqAt 'host=localhost port={} user={ROLE} dbname={} sslmode=require' -c 'create table by_the_tool (id int)'; \
         echo \"it is $PGPASSWORD\"",
        lab.database.server().port(),
        lab.database.name()
    );
    let action = Action::on_server(&lab, &server).input("database-url", url(&lab)).input("run", command);
    let finished = with_keys(action, SECRET_ACCESS_KEY).run();
    let unmasked = without_masks(&finished.rendered_log());
    assert!(!unmasked.contains("Amz-Signature") && unmasked.contains("it is ***"), "{unmasked}");
    finished.succeeds().warning("no ledger was found in the database").done();
    assert_eq!(lab.database.sql("select count(*) from by_the_tool"), "0");
}

/// moto is the stand-in for AWS that is maintained against it.
#[test]
fn moto_gives_the_keys_of_a_role() {
    let (home, port, github) = (directory(), free_port(), github());
    let mut command = Command::new(venv("moto").join("bin/python"));
    command.args(["-m", "moto.server", "-H", "127.0.0.1", "-p", &port.to_string()]);
    let log = home.path().join("log");
    let process = ServerProcess::start(&command, home.path(), &log, "TERM");
    let answers = || TcpStream::connect(("127.0.0.1", port)).ok();
    assert!(poll(Duration::from_secs(60), answers).is_some(), "{}", std::fs::read_to_string(&log).unwrap_or_default());
    let oidc = Some(OidcEndpoint { url: github.url(), token: Secret::new("request-token") });
    let endpoint = Some(format!("http://127.0.0.1:{port}"));
    let role = AwsRole { arn: ROLE_ARN.to_owned(), session_name: "bastion-migrate-1".to_owned(), oidc, endpoint };
    let login = RdsLogin {
        host: "shop.abc.eu-west-1.rds.amazonaws.com".to_owned(),
        port: 5432,
        user: ROLE.to_owned(),
        region: "eu-west-1".to_owned(),
        credentials: AwsCredentials::Role(role),
    };
    let login = TokenLogin::new(TokenMethod::AwsRdsIam(login), NetworkSettings::default());
    let (events, _receiver) = Events::channel();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let token = runtime.block_on(login.fresh_token(&events)).unwrap_or_else(|fault| panic!("{fault:?}"));
    let second = runtime.block_on(login.fresh_token(&events)).unwrap();
    let key_of =
        |token: &Secret| token.expose().split("Credential=").nth(1).unwrap().split("%2F").next().unwrap().to_owned();
    assert!(key_of(&token).starts_with("ASIA") && token.expose().contains("X-Amz-Security-Token="));
    assert_eq!(key_of(&token), key_of(&second), "the keys serve until they end soon");
    assert_eq!(github.calls().len(), 1);
    let shown = format!("{} {}", token.expose(), second.expose());
    let redacted = events.redactor().redact(&shown);
    assert!(!redacted.contains("Amz"), "{redacted}");
    drop(process);
}
