//! The test network is isolated: the database's name and address are usable on the bastion only, and the image reaches
//! the database through the bastion.

use crate::{
    ACTION,
    engine::{Container, command, image, label},
    network::{self, BASTION, DATABASE, Database, MACHINE},
};
use std::{fs, process::Output};
use tempfile::TempDir;

/// Starts a container in the public network, outside the private one.
fn outside_container(database: &Database) -> Container {
    Container::start(&["--init", "--network", database.network().public()], image(MACHINE), &["sleep", "600"])
}

/// Returns a command that opens a connection to this address and sends nothing.
fn connect_command(address: &str) -> [String; 5] {
    ["timeout", "3", "bash", "-c", &format!("exec 3<>/dev/tcp/{address}/5432")].map(str::to_owned)
}

/// Runs a migration with the real image in this network, with these inputs besides the database's.
fn migrate(database: &Database, network: &str, inputs: &[(&str, &str)]) -> Output {
    let workspace = TempDir::new().expect("there is room");
    fs::create_dir(workspace.path().join("migrations")).expect("there is room");
    fs::write(workspace.path().join("migrations/0001_users.sql"), "create table users (id int);\n")
        .expect("there is room");
    let volume = format!("{}:/github/workspace", workspace.path().display());
    let (label, url) = (label(), database.url());
    let database_inputs = [
        ("database-url", url.as_str()),
        ("database-sslmode", "verify-full"),
        ("database-ca", database.network().ca()),
        ("wait-timeout", "3s"),
    ];
    let mut run = command(&["run", "--rm", "--label", &label, "--network", network]);
    run.args(["--volume", &volume, "--workdir", "/github/workspace", "--env", "GITHUB_ACTIONS=true"]);
    for (name, value) in [&database_inputs, inputs].concat() {
        // The runner passes values by the environment, not by arguments.
        let variable = format!("INPUT_{}", name.to_uppercase());
        run.args(["--env", &variable]).env(variable, value);
    }
    run.arg(image(&ACTION)).output().expect("docker was there a moment ago")
}

fn log(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

#[test]
fn only_the_bastion_resolves_the_database_host_name() {
    let database = network::shared().database();
    let network = database.network();
    let (outside, lookup) = (outside_container(&database), ["getent", "hosts", DATABASE]);
    let address = network.postgres().address(network.private());
    assert!(network.bastion().exec(&lookup).starts_with(&address));
    assert_eq!(outside.try_exec(&lookup), Err(String::new()), "the name resolves in the public network");
    assert!(outside.exec(&["getent", "hosts", BASTION]).contains(BASTION), "names of the public network resolve");
}

#[test]
fn only_the_bastion_reaches_the_database_by_its_address() {
    let database = network::shared().database();
    let network = database.network();
    let outside = outside_container(&database);
    let connect_command = connect_command(&network.postgres().address(network.private()));
    let connect_command = connect_command.each_ref().map(String::as_str);
    network.bastion().exec(&connect_command);
    outside.try_exec(&connect_command).expect_err("the private network is reachable from the public one");
}

#[test]
fn the_image_reaches_the_database_only_through_the_bastion() {
    let database = network::shared().database();
    let network = database.network();
    let unresolved = migrate(&database, network.public(), &[]);
    assert!(log(&unresolved).contains("database-unknown in "), "{}", log(&unresolved));
    let by_address = database.url_at(&network.postgres().address(network.private()));
    let unreachable = migrate(&database, network.public(), &[("database-url", &by_address)]);
    assert!(log(&unreachable).contains("database-timeout in "), "{}", log(&unreachable));
    assert_eq!(database.sql("select count(*) from pg_class where relname = 'users'"), "0");
    migrate_through(&database, network.public(), &network.bastion_host());
}

#[test]
fn the_image_reaches_the_database_from_a_job_without_services() {
    let database = network::shared().database();
    migrate_through(&database, "bridge", &database.network().bastion_address());
}

/// Migrates through the bastion at this address.
fn migrate_through(database: &Database, network: &str, bastion: &str) {
    let (known_hosts, key) = (database.network().known_hosts(), database.network().key());
    let bastion_inputs = [("ssh-host", bastion), ("ssh-known-hosts", &known_hosts), ("ssh-private-key", &key)];
    let done = migrate(database, network, &bastion_inputs);
    assert_eq!(done.status.code(), Some(0), "{}", log(&done));
    assert_eq!(database.sql("select count(*) from users"), "0");
    assert_eq!(database.left_behind(), "");
}
