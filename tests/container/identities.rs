//! Log-ins by a certificate for SSH, by a client certificate and by a token, where the app's own tool runs in its image and
//! where a later step uses the tunnel: key and token stay in the action.

use crate::{
    app::{DJANGO_5_2, MIGRATIONS},
    engine::{docker, try_docker},
    lab::{certificate::Expired, client_authority::ClientAuthority, ssh_ca::SshCa},
    leak,
    network::{DATABASE, Database, MACHINE, Network, PASSWORD, ROLE, USER},
    process::poll,
    step::Step,
    tunnel::OpenTunnel,
};
use serde_json::Value;
use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// The password of the role, which is the token of these tests: no other test has it anywhere.
const ROLE_TOKEN: &str = "t0ken-of-the-minute/+=&identities";

/// A command of an image that the engine has, which prints the token.
fn printing_command() -> String {
    format!("{{ command: [printenv, ROLE_TOKEN], image: '{MACHINE}', pass-env: ROLE_TOKEN }}")
}

/// The records of the engine from here on.
struct EngineRecords {
    begin: u64,
}

impl EngineRecords {
    fn begin() -> Self {
        Self { begin: SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock is right").as_secs() }
    }

    /// Looks for these secrets in everything that the engine knows of every container: its description with labels and
    /// arguments, but the environment of the step's own container, which is the runner's; its log; and the events, which
    /// have the arguments of each program that was started in it.
    #[track_caller]
    fn have_none_of(&self, secrets: &[&str]) {
        let all = docker(&["ps", "--all", "--quiet", "--no-trunc"]);
        let mut texts = Vec::new();
        for id in all.lines() {
            // A container of another test may have been removed since.
            let described: Value = serde_json::from_slice(&try_docker(&["inspect", id]).stdout).unwrap_or_default();
            let mut described = described[0].clone();
            let is_of_a_step = described["Config"]["Env"].to_string().contains("GITHUB_ACTIONS=");
            if let Some(env) = described.pointer_mut("/Config/Env").filter(|_| is_of_a_step) {
                env.take();
            }
            let log = try_docker(&["logs", id]);
            texts.push((format!("the description of {id}"), described.to_string()));
            texts.push((
                format!("the log of {id}"),
                [log.stdout, log.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat(),
            ));
        }
        let until = Self::begin().begin + 1;
        let (since, until) = (self.begin.to_string(), until.to_string());
        texts.push(("the engine's events".to_owned(), docker(&["events", "--since", &since, "--until", &until])));
        for (place, text) in &texts {
            for secret in secrets {
                // The masks are for the runner, which the log of the step's own container is for.
                let unmasked: Vec<&str> = text.lines().filter(|line| !line.starts_with("::add-mask::")).collect();
                assert_eq!(leak::find_secret(&unmasked.join("\n"), secret), None, "in {place}");
            }
        }
    }
}

/// A command of a tool that works for some seconds, with a table that shows who it was.
const WORK: &str = "psql -XqAtc 'create table by_the_tool ()' && echo at work && sleep 4";

/// Runs a step whose tool works for some seconds, and looks into the engine's records meanwhile.
fn run_and_inspect(step: Step<'_>, secrets: &[&str]) {
    let (records, running) = (EngineRecords::begin(), step.start());
    running.wait_for_line("at work");
    records.have_none_of(secrets);
    running.finish().finished.succeeds_without_ledger().done();
    records.have_none_of(secrets);
}

/// Gives the role the token as its password, which the server checks by SCRAM.
fn set_token(database: &Database) {
    database.sql(&format!("alter role {ROLE} password '{ROLE_TOKEN}'"));
}

/// Lets the bastion trust this CA, and no key by itself. Returns a certificate for the key of the network's user.
fn trust(network: &Network, ca: &SshCa, arguments: &[&str]) -> String {
    let config = "cat >/etc/ssh/user-ca.pub; \
        printf 'TrustedUserCAKeys /etc/ssh/user-ca.pub\\nAuthorizedKeysFile none\\n' >/etc/ssh/sshd_config.d/ca.conf; kill -HUP 1";
    network.bastion().feed(&["sh", "-euc", config], &ca.public_key());
    let listens = || (network.bastion().log().matches("Server listening on 0.0.0.0").count() > 1).then_some(());
    poll(Duration::from_secs(30), listens).unwrap_or_else(|| panic!("sshd: {}", network.bastion().log()));
    let key = network.bastion().exec(&["cat", "/lab/key.pub"]);
    ca.sign(&key, &[&["-I", "deploy 7", "-n", USER], arguments].concat())
}

#[test]
fn a_certificate_for_ssh_carries_a_tool_in_its_image_and_a_tunnel() {
    let network = Arc::new(Network::start());
    let (database, ca) = (network.database(), SshCa::ed25519());
    let certificate = trust(&network, &ca, &["-V", "-1h:+1h"]);
    let key = network.key();
    let step = || Step::in_image(&database, MACHINE, WORK).input("ssh-certificate", &certificate);
    run_and_inspect(step(), &[&key]);
    let records = EngineRecords::begin();
    let opened = OpenTunnel::open(Step::new(&database).input("ssh-certificate", &certificate));
    records.have_none_of(&[&key]);
    assert_eq!(opened.psql(&database, "", "select count(*) from pg_class where relname = 'by_the_tool'"), "1");
    opened.close(&database).logs("through the tunnel passed 1 connection(s)").done();
    records.have_none_of(&[&key]);
    // The key alone is worth nothing here.
    let without = Step::in_image(&database, MACHINE, WORK).run();
    without.fails("bastion-login", 3).done();
    let expired =
        ca.sign(&network.bastion().exec(&["cat", "/lab/key.pub"]), &["-I", "old", "-n", USER, "-V", "-2h:-1h"]);
    step().input("ssh-certificate", expired).run().fails("certificate-expired", 2).done();
}

#[test]
fn a_client_certificate_is_presented_by_the_tunnel_for_a_later_step() {
    let network = Arc::new(Network::start());
    let (database, authority) = (network.database(), ClientAuthority::named("clients of the lab"));
    let pair = authority.issue(ROLE, 1, Expired::Nothing);
    accept_certificates_of(ROLE, &database, &authority);
    let step = || {
        Step::new(&database)
            .secret("database-url", format!("postgres://{ROLE}@{DATABASE}:5432/{}", database.name()))
            .input("database-sslmode", "verify-full")
            .input("database-cert", &pair.certificate)
            .secret("database-key", &pair.key)
    };
    let records = EngineRecords::begin();
    let opened = OpenTunnel::open(step());
    let name = "select concat_ws('|', current_user, client_dn) from pg_stat_ssl where pid = pg_backend_pid()";
    let client = opened.psql(&database, "", name);
    assert!(client.starts_with("app|") && client.contains("CN=app"), "{client}");
    records.have_none_of(&[&pair.key]);
    opened.close(&database).logs("through the tunnel passed 1 connection(s)").done();
    let with_tool =
        step().input("executor", "image").input("image", MACHINE).input("tool", "custom").input("run", WORK);
    run_and_inspect(with_tool, &[&pair.key]);
}

#[test]
fn a_token_of_a_command_logs_the_clients_of_a_tunnel_and_a_tool_in_its_image_in() {
    let network = Arc::new(Network::start());
    let database = network.database();
    set_token(&database);
    let step = |auth: &str| {
        Step::new(&database)
            .secret("database-url", format!("postgres://{ROLE}@{DATABASE}:5432/{}", database.name()))
            .input("database-sslmode", "verify-full")
            .input("database-auth", auth)
            .env("ROLE_TOKEN", ROLE_TOKEN)
            .hides(ROLE_TOKEN)
    };
    let records = EngineRecords::begin();
    let opened = OpenTunnel::open(step(&printing_command()));
    assert_eq!(opened.psql(&database, "", "select current_user"), ROLE);
    records.have_none_of(&[ROLE_TOKEN]);
    opened.close(&database).logs("through the tunnel passed 1 connection(s)").done();
    // Without an image of its own, the command runs in that of the app.
    for auth in [printing_command(), "{ command: [printenv, ROLE_TOKEN], pass-env: ROLE_TOKEN }".to_owned()] {
        let work =
            WORK.replace("by_the_tool", "by_the_tool_again").replace("create table", "create table if not exists");
        let with_tool = step(&auth).input("executor", "image").input("image", MACHINE).input("tool", "custom");
        run_and_inspect(with_tool.input("run", work), &[ROLE_TOKEN]);
    }
}

#[test]
fn sql_files_log_in_by_the_token_of_a_command_in_an_image_alone() {
    let network = Arc::new(Network::start());
    let database = network.database();
    set_token(&database);
    let step = |auth: &str| {
        Step::new(&database)
            .secret("database-url", format!("postgres://{ROLE}@{DATABASE}:5432/{}", database.name()))
            .input("database-auth", auth)
            .env("ROLE_TOKEN", ROLE_TOKEN)
            .hides(ROLE_TOKEN)
            .file("migrations/0001_users.sql", "create table users (id int);\n")
    };
    step(&printing_command()).run().succeeds().applied(["0001_users"]).done();
    step("{ command: [printenv, ROLE_TOKEN], pass-env: ROLE_TOKEN }")
        .run()
        .fails("token-unavailable", 3)
        .logs("the action's container has no programs")
        .done();
    step(&format!("{{ command: [no-such-program], image: '{MACHINE}' }}"))
        .run()
        .fails("token-unavailable", 3)
        .logs("can't be started in its image")
        .done();
    step(&format!("{{ command: [sh, -c, 'echo no credentials >&2; exit 3'], image: '{MACHINE}' }}"))
        .run()
        .fails("token-unavailable", 3)
        .logs("ended with exit status 3")
        .logs("stderr: no credentials")
        .done();
    step(&printing_command()).socket(crate::step::Socket::Absent).run().fails("engine-absent", 2).done();
}

/// Lets this role log in by certificates of this CA alone.
fn accept_certificates_of(role: &str, database: &Database, authority: &ClientAuthority) {
    let store =
        format!("cat > /lab/cluster/clients.crt; sed -i '1i hostssl all {role} all cert' /lab/cluster/pg_hba.conf");
    database.network().postgres().feed(&["sh", "-euc", &store], &authority.ca);
    database.sql("alter system set ssl_ca_file = 'clients.crt';\nselect pg_reload_conf();");
    let reloaded = || (database.sql("show ssl_ca_file") == "clients.crt").then_some(());
    poll(Duration::from_secs(30), reloaded).expect("the server reads its settings again");
}

/// Creates the role `certified`, which logs in by certificates of this CA alone, and gives it the database.
fn certify(database: &Database, authority: &ClientAuthority) {
    database.sql(&format!("create role certified login;\nalter database {} owner to certified;", database.name()));
    accept_certificates_of("certified", database, authority);
}

#[test]
fn a_tool_in_its_image_logs_in_by_the_certificate_and_never_gets_the_key() {
    let network = Arc::new(Network::start());
    let (database, authority) = (network.database(), ClientAuthority::named("clients of the lab"));
    certify(&database, &authority);
    let pair = authority.issue("certified", 1, Expired::Nothing);
    let step = || {
        Step::of_app(&database, DJANGO_5_2)
            .secret("database-url", format!("postgres://certified@{DATABASE}:5432/{}", database.name()))
            .input("database-ca", network.ca())
            .input("database-sslmode", "verify-full")
            .input("database-cert", &pair.certificate)
            .secret("database-key", &pair.key)
    };
    step().run().succeeds().applied(MIGRATIONS).done();
    let owners = "select distinct tableowner from pg_tables where schemaname = 'public'";
    assert_eq!(database.sql(owners), "certified");
    let other = ClientAuthority::named("clients of another lab").issue("certified", 1, Expired::Nothing);
    let refused = step().input("database-cert", &other.certificate).secret("database-key", &other.key);
    refused.run().fails("client-cert-untrusted", 3).done();
}

/// The server asks for the token in plain text, within TLS, as those of the clouds do.
#[test]
fn a_tool_in_its_image_logs_in_by_the_token_and_never_gets_it() {
    let network = Arc::new(Network::start());
    let database = network.database();
    let rule = "sed -i '1i hostssl all app all password' /lab/cluster/pg_hba.conf";
    network.postgres().exec(&["sh", "-euc", rule]);
    database.sql("select pg_reload_conf();");
    let rules = "select count(*) from pg_hba_file_rules where auth_method = 'password'";
    assert_eq!(database.sql(rules), "1");
    let step = Step::of_app(&database, DJANGO_5_2)
        .secret("database-url", format!("postgres://{ROLE}@{DATABASE}:5432/{}", database.name()))
        .hides(PASSWORD)
        .file("token", PASSWORD)
        .input("database-auth", "{ method: file, file: token }")
        .input("database-ca", network.ca())
        .input("database-sslmode", "verify-full");
    step.run().succeeds().applied(MIGRATIONS).done();
}
