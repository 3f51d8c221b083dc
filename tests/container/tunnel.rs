//! `command: tunnel`: the following steps of the job, on the runner's machine, reach the database.

use crate::{
    engine::{docker, image, inspect, try_docker},
    judge::Finished,
    later_step,
    layout::Layout,
    leak,
    network::{Database, MACHINE, Network, PASSWORD, ROLE, shared},
    process::poll,
    running::EndedStage,
    step::{Step, TOKEN},
};
use std::{fs, sync::Arc, thread, time::Duration};

/// A tunnel that a step opened for the following steps.
pub(crate) struct OpenTunnel {
    pub(crate) port: String,
    pub(crate) alias: String,
    state: Vec<(String, String)>,
    layout: Layout,
}

impl OpenTunnel {
    /// Runs a step with `command: tunnel`.
    pub(crate) fn open(step: Step<'_>) -> Self {
        let EndedStage { finished, state, layout, .. } = step.input("command", "tunnel").start().finish_for_later();
        let port = finished.outputs["tunnel-port"].clone();
        let alias = finished.outputs["tunnel-alias"].clone();
        let reachable_by =
            if alias.is_empty() { "no other container can" } else { "containers in the network of this job" };
        let version = finished.outputs["database-version"].clone();
        assert!(version.starts_with(|digit: char| digit.is_ascii_digit()), "{version}");
        let finished = finished.succeeds().output("tunnel-host", "127.0.0.1").logs(reachable_by);
        let finished = finished.logs("database  ").logs("bastion   ").summary("### How to connect");
        let finished =
            finished.summary(&format!("host=127.0.0.1 port={port} user={ROLE}")).summary("db.private.internal");
        finished
            .summary("| Bastion |")
            .summary(&format!("| PostgreSQL | <code>{version}</code> |"))
            .logs("for the following steps")
            .done();
        Self { port, alias, state, layout }
    }

    /// Returns the output of psql on the runner's machine.
    pub(crate) fn psql(&self, database: &Database, options: &str, statement: &str) -> String {
        let output = later_step::psql(database, &self.port, options, statement);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// Returns the id of the tunnel's container, or an empty text.
    fn container(&self) -> String {
        let (_, run) = self.state.iter().find(|(name, _)| name == "run").expect("the step has saved its run");
        docker(&["ps", "--all", "--quiet", "--no-trunc", "--filter", &format!("label=dev.bastion-migrate.run={run}")])
    }

    /// Runs the post stage of the step.
    pub(crate) fn close(self, database: &Database) -> Finished {
        let Self { state, layout, .. } = self;
        Step::new(database).input("command", "tunnel").post().with_state(state).after(layout).run().cleans_up()
    }
}

#[test]
fn psql_in_the_next_step_reaches_the_database_with_our_settings() {
    let database = shared().database();
    let opened = OpenTunnel::open(Step::new(&database).input("lock-timeout", "4321ms"));
    let container = opened.container();
    assert_eq!(opened.psql(&database, "", "show lock_timeout"), "4321ms");
    assert_eq!(opened.psql(&database, "", "create table made (); select current_database()"), database.name());
    assert_eq!(opened.psql(&database, "", "select ssl from pg_stat_ssl where pid = pg_backend_pid()"), "t");
    opened.close(&database).logs("through the tunnel passed 3 connection(s)").done();
    assert!(!try_docker(&["inspect", &container]).status.success());
    assert_eq!(database.sql("select count(*) from pg_class where relname = 'made'"), "1");
}

#[test]
fn a_client_that_verifies_the_database_host_name_connects_through_the_tunnel() {
    let database = shared().database();
    let opened = OpenTunnel::open(Step::new(&database).input("database-sslmode", "verify-full"));
    let ca = tempfile::NamedTempFile::new().expect("a directory for temporary files");
    fs::write(ca.path(), database.network().ca()).expect("it can be written");
    let own = "host=db.private.internal hostaddr=127.0.0.1 sslmode=verify-full";
    let options = format!("{own} sslrootcert={}", ca.path().display());
    assert_eq!(opened.psql(&database, &options, "select 1"), "1");
    opened.close(&database).logs("through the tunnel passed 1 connection(s)").done();
}

#[test]
fn the_tunnel_container_records_no_secret_and_listens_on_loopback_only() {
    let database = shared().database();
    let opened = OpenTunnel::open(Step::new(&database));
    let container = opened.container();
    let record = inspect(&container);
    let log = docker(&["logs", &container]);
    for secret in [PASSWORD, &database.network().key(), TOKEN] {
        assert_eq!(leak::find_secret(&record.to_string(), secret), None);
        assert_eq!(leak::find_secret(&log, secret), None);
    }
    let ports = &record["NetworkSettings"]["Ports"]["5432/tcp"];
    assert_eq!((ports[0]["HostIp"].as_str(), ports.as_array().map(Vec::len)), (Some("127.0.0.1"), Some(1)));
    opened.close(&database).logs("through the tunnel passed 0 connection(s)").done();
}

#[test]
fn the_tunnel_ends_when_the_job_is_gone_and_the_next_run_removes_it() {
    let database = shared().database();
    let opened = OpenTunnel::open(Step::new(&database));
    let container = opened.container();
    let id = container.clone();
    // The log ends with the container; read later, it could be gone with it.
    let follow = thread::Builder::new().name("log of the tunnel".to_owned());
    let log = follow.spawn(move || docker(&["logs", "--follow", &id])).expect("a thread starts");
    // The runner deletes its directories.
    drop(opened.layout);
    poll(Duration::from_secs(20), || log.is_finished().then_some(())).expect("the tunnel ends with the job");
    assert!(log.join().expect("the log is read").contains("the job is gone"));
    // No step of that job is left to remove it.
    OpenTunnel::open(Step::new(&database)).close(&database).done();
    assert!(!docker(&["ps", "--all", "--quiet", "--no-trunc"]).contains(&container));
}

#[test]
fn a_tunnel_that_cannot_be_opened_reports_the_cause_and_leaves_nothing() {
    let database = shared().database();
    let url = "postgres://app:wrong-password@db.private.internal:5432/nowhere";
    let step = Step::new(&database).input("command", "tunnel").secret("database-url", url);
    let finished = step.run().fails("database-login", 3);
    // The tunnel's own process reports the fault to the step only, so the log has it once.
    assert_eq!(finished.log.matches("database-login in database: ").count(), 1, "{}", finished.log);
    finished.summary("| Bastion |").done();
}

/// As by a machine that is short of memory. The network is the test's own, so that its only tunnel is this one.
#[test]
fn the_killed_container_of_a_tunnel_that_opens_is_reported() {
    let database = Arc::new(Network::start()).database();
    let url = database.url().replace(":5432/", ":9/");
    let step = Step::new(&database).input("command", "tunnel").secret("database-url", url);
    let running = step.input("wait-timeout", "60s").start();
    let network = format!("network={}", database.network().public());
    let list = ["ps", "--quiet", "--filter", "label=dev.bastion-migrate.kind=tunnel", "--filter", &network];
    let container = running.wait_until("the tunnel's container", || Some(docker(&list)).filter(|id| !id.is_empty()));
    docker(&["kill", "--signal", "KILL", &container]);
    let finished = running.finish().finished.fails("engine-failed", 2);
    finished.error("the tunnel's container was killed").logs("run out of memory").done();
}

/// Returns the aliases of a tunnel's container in its networks.
fn tunnel_aliases(container: &str) -> Vec<String> {
    let networks = inspect(container).pointer("/NetworkSettings/Networks").cloned().unwrap_or_default();
    let networks: Vec<serde_json::Value> =
        networks.as_object().into_iter().flat_map(|all| all.values().cloned()).collect();
    let aliases = networks.iter().filter_map(|network| network["Aliases"].as_array()).flatten();
    let ours = aliases.filter_map(|alias| alias.as_str()).filter(|alias| alias.starts_with("bastion-migrate-tunnel"));
    ours.map(str::to_owned).collect()
}

/// Runs psql in a container of this network; returns its standard output, or its standard error if it failed.
fn psql_in_container(network: &str, host: &str, name: &str) -> Result<String, String> {
    let place = format!("host={host} port=5432 user={ROLE} dbname={name} connect_timeout=5");
    let password = format!("PGPASSWORD={PASSWORD}");
    let output = try_docker(
        &[
            &[
                "run",
                "--rm",
                "--label",
                &crate::engine::label(),
                "--network",
                network,
                "--env",
                &password,
                image(MACHINE),
            ][..],
            &["psql", &place, "-XqAt", "-c", "select current_database()"],
        ]
        .concat(),
    );
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
}

#[test]
fn two_tunnels_in_one_job_have_different_names() {
    let (one, other) = (shared().database(), shared().database());
    let opened = [&one, &other].map(|database| (OpenTunnel::open(Step::new(database)), database));
    for (tunnel, database) in &opened {
        let tunnel_aliases = tunnel_aliases(&tunnel.container());
        assert_eq!(tunnel_aliases.join(" "), tunnel.alias);
        for _ in 0..3 {
            let result = psql_in_container(database.network().public(), &tunnel.alias, database.name());
            assert_eq!(result.as_deref(), Ok(database.name()));
        }
    }
    for (tunnel, database) in opened {
        tunnel.close(database).logs("through the tunnel passed 3 connection(s)").done();
    }
}

#[test]
fn other_containers_on_the_default_network_cannot_reach_the_tunnel() {
    let database = shared().database();
    let step = Step::new(&database).input("ssh-host", database.network().bastion_address());
    let opened = OpenTunnel::open(step.on_the_default_network());
    let container = opened.container();
    assert_eq!((tunnel_aliases(&container), opened.alias.as_str()), (Vec::new(), ""));
    assert_eq!(opened.psql(&database, "", "select 1"), "1");
    let address = inspect(&container)["NetworkSettings"]["Networks"]["bridge"]["IPAddress"].as_str().map(str::to_owned);
    let refused = psql_in_container("bridge", &address.expect("it has an address"), database.name()).unwrap_err();
    assert!(refused.contains("closed the connection") || refused.contains("reset by peer"), "{refused}");
    opened.close(&database).logs("through the tunnel passed 1 connection(s)").done();
}
