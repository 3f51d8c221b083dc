//! Ways in that need a container of their own: a tunnel on the runner's loopback, and a command in an image.

use crate::{
    app::{DJANGO_5_2, MIGRATIONS, production_url},
    engine::{docker, inspect},
    lab::ways::WayServer,
    leak,
    network::{Database, MACHINE, PASSWORD, shared},
    process::poll,
    step::{Socket, Step, TOKEN},
    tunnel::OpenTunnel,
};
use std::time::Duration;

const USERS: &str = "create table users (id int);\n";

/// A tunnel on the runner's loopback to the database's server, as an earlier step leaves it.
fn earlier_step(database: &Database) -> WayServer {
    let network = database.network();
    WayServer::tunnel_to_address(&format!("{}:5432", network.postgres().address(network.private())))
}

/// A step without a bastion, in a network from which the database can't be reached.
fn without_bastion(database: &Database) -> Step<'_> {
    Step::bare(database)
        .secret("database-url", database.url())
        .hides(PASSWORD)
        .input("database-ca", database.network().ca())
        .input("database-sslmode", "verify-full")
}

/// Returns the ids of the containers that carry streams.
fn companions() -> Vec<String> {
    let filter = "label=dev.bastion-migrate.kind=companion";
    docker(&["ps", "--all", "--quiet", "--no-trunc", "--filter", filter]).lines().map(str::to_owned).collect()
}

/// Waits until none of these containers is left; other tests have their own.
fn assert_gone(companions: &[String]) {
    let left = || self::companions().iter().all(|id| !companions.contains(id)).then_some(());
    poll(Duration::from_secs(15), left).unwrap_or_else(|| panic!("{companions:?} are left"));
}

#[test]
fn sql_files_go_through_the_tunnel_of_an_earlier_step_to_a_database_with_its_own_name() {
    let database = shared().database();
    let tunnel = earlier_step(&database);
    let step = || without_bastion(&database).file("migrations/0001_users.sql", USERS).input("via", tunnel.via());
    step().run().succeeds().applied(["0001_users"]).logs("TLS verify-full").done();
    step().on_the_default_network().run().nothing_to_do().done();
}

#[test]
fn a_tool_in_its_image_goes_through_the_tunnel_of_an_earlier_step() {
    let database = shared().database();
    let tunnel = earlier_step(&database);
    let mut step = Step::of_app(&database, DJANGO_5_2).secret("database-url", production_url(&database));
    for name in ["ssh-host", "ssh-known-hosts", "ssh-private-key"] {
        step.job.inputs.insert(name.to_owned(), String::new());
    }
    step.input("via", tunnel.via()).run().succeeds().applied(MIGRATIONS).logs("the way in is `runner:").done();
}

#[test]
fn a_tunnel_for_later_steps_begins_at_the_tunnel_of_an_earlier_one() {
    let database = shared().database();
    let tunnel = WayServer::tunnel_to_address(&format!("{}:22", shared().bastion().address(shared().public())));
    let opened = OpenTunnel::open(Step::new(&database).input("via", tunnel.via()));
    let companions = companions();
    opened.close(&database).logs("through the tunnel passed 0 connection(s)").done();
    assert_gone(&companions);
}

/// A command that logs in to the bastion with OpenSSH's own client.
fn ssh_in_an_image() -> String {
    let script = "umask 077; echo \"$KEY\" >/tmp/key; echo \"$PINS\" >/tmp/pins; exec ssh -F none -i /tmp/key -o BatchMode=yes \
                  -o UserKnownHostsFile=/tmp/pins -W %h:%p \"$LOGIN\"";
    format!("command: [sh, -c, '{script}']\nimage: {MACHINE}\npass-env: [KEY, PINS, LOGIN]\n")
}

#[test]
fn a_command_in_an_image_carries_the_database_and_shows_no_secret() {
    let database = shared().database();
    let network = database.network();
    let (host, _) =
        network.bastion_host().rsplit_once(':').map(|(host, port)| (host.to_owned(), port.to_owned())).unwrap();
    let running = without_bastion(&database)
        .file("migrations/0001_slow.sql", "create table slow (); select pg_sleep(3);\n")
        .input("via", ssh_in_an_image())
        .env("KEY", network.key())
        .env("PINS", network.known_hosts())
        .env("LOGIN", host)
        .hides(&network.key())
        .start();
    running.wait_for_line("applying 0001_slow");
    let companions = companions();
    for companion in &companions {
        let record = inspect(companion).to_string();
        for secret in [PASSWORD, TOKEN, &network.key()] {
            assert_eq!(leak::find_secret(&record, secret), None);
        }
    }
    running.finish().finished.succeeds().applied(["0001_slow"]).logs("TLS verify-full").done();
    assert_gone(&companions);
}

#[test]
fn a_killed_run_leaves_no_companion() {
    let database = shared().database();
    let tunnel = earlier_step(&database);
    let running = without_bastion(&database)
        .file("migrations/0001_slow.sql", "select pg_sleep(60);\n")
        .input("via", tunnel.via())
        .start();
    running.wait_for_line("applying 0001_slow");
    let companions = companions();
    assert!(!companions.is_empty());
    docker(&["kill", "--signal=KILL", running.container()]);
    assert_gone(&companions);
    drop(running);
}

#[test]
fn without_the_engine_one_fault_names_what_works() {
    let database = shared().database();
    let step = |via: &str| {
        let step = without_bastion(&database).file("migrations/0001_users.sql", USERS);
        step.input("via", via).socket(Socket::Absent).run()
    };
    for via in ["runner:15432", "{ command: [ssh], image: alpine }"] {
        step(via).fails("engine-absent", 2).logs("what works is the program in place of the action").done();
    }
    step("{ command: [ssh] }").fails("via-not-started", 3).logs("the action's container has no programs").done();
}
