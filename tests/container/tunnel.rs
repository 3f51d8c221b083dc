//! `command: tunnel`: the following steps of the job, on the runner's machine, find the database.

use crate::{
    engine::{ask, docker, image, inspect},
    judge::Finished,
    layout::Layout,
    leak,
    network::{Database, MACHINE, PASSWORD, ROLE, shared},
    process::poll,
    running::Ended,
    step::{Step, TOKEN},
};
use std::{fs, process::Command, time::Duration};

/// What the step that opens it left to the following ones.
pub(crate) struct Opened {
    pub(crate) port: String,
    pub(crate) alias: String,
    state: Vec<(String, String)>,
    layout: Layout,
}

impl Opened {
    /// A step with `command: tunnel`.
    pub(crate) fn by(step: Step<'_>) -> Self {
        let Ended { finished, state, layout, .. } = step.input("command", "tunnel").start().finish_for_later();
        let port = finished.outputs["tunnel-port"].clone();
        let alias = finished.outputs["tunnel-alias"].clone();
        let says = if alias.is_empty() { "no other container can" } else { "containers in the network of this job" };
        let version = finished.outputs["database-version"].clone();
        assert!(version.starts_with(|digit: char| digit.is_ascii_digit()), "{version}");
        let finished = finished.succeeds().output("tunnel-host", "127.0.0.1").says(says);
        let finished = finished.says("database  ").says("bastion   ").summary("### How to reach it");
        let finished =
            finished.summary(&format!("host=127.0.0.1 port={port} user={ROLE}")).summary("db.private.internal");
        finished
            .summary("| Bastion |")
            .summary(&format!("| PostgreSQL | <code>{version}</code> |"))
            .says("for the following steps")
            .done();
        Self { port, alias, state, layout }
    }

    /// What psql on the runner's machine says.
    #[expect(clippy::disallowed_methods, reason = "a later step runs psql")]
    fn psql(&self, database: &Database, more: &str, statement: &str) -> String {
        let place = format!("host=127.0.0.1 port={} user={ROLE} dbname={} {more}", self.port, database.name());
        let mut psql = Command::new("psql");
        psql.args([&place, "-XqAt", "-c", statement]).env("PGPASSWORD", PASSWORD);
        let output = psql.output().expect("psql is installed");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// The container that keeps it, if it is there.
    fn container(&self) -> String {
        let (_, run) = self.state.iter().find(|(name, _)| name == "run").expect("the step has saved its run");
        docker(&["ps", "--all", "--quiet", "--no-trunc", "--filter", &format!("label=dev.bastion-migrate.run={run}")])
    }

    /// The post stage of the step.
    pub(crate) fn close(self, database: &Database) -> Finished {
        let Self { state, layout, .. } = self;
        Step::new(database).input("command", "tunnel").post().with_state(state).after(layout).run().tidies_up()
    }
}

#[test]
fn psql_in_the_next_step_reaches_the_database_with_our_settings() {
    let database = shared().database();
    let opened = Opened::by(Step::new(&database).input("lock-timeout", "4321ms"));
    let container = opened.container();
    assert_eq!(opened.psql(&database, "", "show lock_timeout"), "4321ms");
    assert_eq!(opened.psql(&database, "", "create table made (); select current_database()"), database.name());
    assert_eq!(opened.psql(&database, "", "select ssl from pg_stat_ssl where pid = pg_backend_pid()"), "t");
    opened.close(&database).says("through the tunnel passed 3 connection(s)").done();
    assert!(!ask(&["inspect", &container]).status.success());
    assert_eq!(database.sql("select count(*) from pg_class where relname = 'made'"), "1");
}

#[test]
fn a_step_that_checks_the_databases_own_name_is_let_through() {
    let database = shared().database();
    let opened = Opened::by(Step::new(&database).input("database-sslmode", "verify-full"));
    let ca = tempfile::NamedTempFile::new().expect("a directory for temporary files");
    fs::write(ca.path(), database.network().ca()).expect("it can be written");
    let own = "host=db.private.internal hostaddr=127.0.0.1 sslmode=verify-full";
    let more = format!("{own} sslrootcert={}", ca.path().display());
    assert_eq!(opened.psql(&database, &more, "select 1"), "1");
    opened.close(&database).says("through the tunnel passed 1 connection(s)").done();
}

#[test]
fn nothing_secret_is_in_the_record_of_the_tunnel_and_it_listens_on_loopback_alone() {
    let database = shared().database();
    let opened = Opened::by(Step::new(&database));
    let container = opened.container();
    let record = inspect(&container);
    let log = docker(&["logs", &container]);
    for secret in [PASSWORD, &database.network().key(), TOKEN] {
        assert_eq!(leak::found(&record.to_string(), secret), None);
        assert_eq!(leak::found(&log, secret), None);
    }
    let ports = &record["NetworkSettings"]["Ports"]["5432/tcp"];
    assert_eq!((ports[0]["HostIp"].as_str(), ports.as_array().map(Vec::len)), (Some("127.0.0.1"), Some(1)));
    opened.close(&database).says("through the tunnel passed 0 connection(s)").done();
}

#[test]
fn it_ends_by_itself_when_the_job_is_gone() {
    let database = shared().database();
    let opened = Opened::by(Step::new(&database));
    let container = opened.container();
    // The runner empties its layout.
    drop(opened.layout);
    let ended = || inspect(&container)["State"]["Running"] == false;
    poll(Duration::from_secs(20), || ended().then_some(())).expect("the tunnel ends with the job");
    assert!(docker(&["logs", &container]).contains("the job is gone"));
    docker(&["rm", "--force", &container]);
}

#[test]
fn a_tunnel_that_can_not_be_opened_says_why_and_leaves_nothing() {
    let database = shared().database();
    let url = "postgres://app:wrong-password@db.private.internal:5432/nowhere";
    let step = Step::new(&database).input("command", "tunnel").secret("database-url", url);
    let told = step.run().fails("database-login", 3);
    // The process that has met it tells it to the step, and not to the reader, too.
    assert_eq!(told.log.matches("database-login in database: ").count(), 1, "{}", told.log);
    told.summary("| Bastion |").done();
}

/// The names by which others in its network find it.
fn names(container: &str) -> Vec<String> {
    let networks = inspect(container).pointer("/NetworkSettings/Networks").cloned().unwrap_or_default();
    let networks: Vec<serde_json::Value> =
        networks.as_object().into_iter().flat_map(|all| all.values().cloned()).collect();
    let aliases = networks.iter().filter_map(|network| network["Aliases"].as_array()).flatten();
    let ours = aliases.filter_map(|alias| alias.as_str()).filter(|alias| alias.starts_with("bastion-migrate-tunnel"));
    ours.map(str::to_owned).collect()
}

/// What psql says in a container of this network, or why it got nowhere.
fn from_container(network: &str, host: &str, name: &str) -> Result<String, String> {
    let place = format!("host={host} port=5432 user={ROLE} dbname={name} connect_timeout=5");
    let password = format!("PGPASSWORD={PASSWORD}");
    let told = ask(&[
        &["run", "--rm", "--label", &crate::engine::label(), "--network", network, "--env", &password, image(MACHINE)]
            [..],
        &["psql", &place, "-XqAt", "-c", "select current_database()"],
    ]
    .concat());
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    if told.status.success() { Ok(text(&told.stdout)) } else { Err(text(&told.stderr)) }
}

#[test]
fn of_two_tunnels_in_one_job_each_has_a_name_of_its_own() {
    let (one, other) = (shared().database(), shared().database());
    let opened = [&one, &other].map(|database| (Opened::by(Step::new(database)), database));
    for (tunnel, database) in &opened {
        let names = names(&tunnel.container());
        assert_eq!(names.join(" "), tunnel.alias);
        for _ in 0..3 {
            let told = from_container(database.network().public(), &tunnel.alias, database.name());
            assert_eq!(told.as_deref(), Ok(database.name()));
        }
    }
    for (tunnel, database) in opened {
        tunnel.close(database).says("through the tunnel passed 3 connection(s)").done();
    }
}

#[test]
fn in_everybodys_network_no_other_container_reaches_it() {
    let database = shared().database();
    let step = Step::new(&database).input("ssh-host", database.network().bastion_address());
    let opened = Opened::by(step.on_the_default_network());
    let container = opened.container();
    assert_eq!((names(&container), opened.alias.as_str()), (Vec::new(), ""));
    assert_eq!(opened.psql(&database, "", "select 1"), "1");
    let address = inspect(&container)["NetworkSettings"]["Networks"]["bridge"]["IPAddress"].as_str().map(str::to_owned);
    let told = from_container("bridge", &address.expect("it has an address"), database.name()).unwrap_err();
    assert!(told.contains("closed the connection") || told.contains("reset by peer"), "{told}");
    opened.close(&database).says("through the tunnel passed 1 connection(s)").done();
}
