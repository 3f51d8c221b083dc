//! The network is as it is told to be: the database's name and address are worth something at the bastion alone, and
//! through the bastion the image gets there.

use crate::{
    ACTION,
    engine::{Container, command, image, label},
    network::{self, BASTION, DATABASE, Database, MACHINE},
};
use std::{fs, process::Output};
use tempfile::TempDir;

/// Somebody in the public network who looks about.
fn passer_by(database: &Database) -> Container {
    Container::start(&["--init", "--network", database.network().public()], image(MACHINE), &["sleep", "600"])
}

/// Opens a connection to this address and says nothing.
fn knock(address: &str) -> [String; 5] {
    ["timeout", "3", "bash", "-c", &format!("exec 3<>/dev/tcp/{address}/5432")].map(str::to_owned)
}

/// A migration in this network by the real image, with these inputs besides the database's.
fn migrate(database: &Database, network: &str, inputs: &[(&str, &str)]) -> Output {
    let workspace = TempDir::new().expect("there is room");
    fs::create_dir(workspace.path().join("migrations")).expect("there is room");
    fs::write(workspace.path().join("migrations/0001_users.sql"), "create table users (id int);\n")
        .expect("there is room");
    let volume = format!("{}:/github/workspace", workspace.path().display());
    let (label, url) = (label(), database.url());
    let own = [
        ("database-url", url.as_str()),
        ("database-sslmode", "verify-full"),
        ("database-ca", database.network().ca()),
        ("wait-timeout", "3s"),
    ];
    let mut run = command(&["run", "--rm", "--label", &label, "--network", network]);
    run.args(["--volume", &volume, "--workdir", "/github/workspace", "--env", "GITHUB_ACTIONS=true"]);
    for (name, value) in [&own, inputs].concat() {
        // Values as the runner hands them over: not by arguments.
        let variable = format!("INPUT_{}", name.to_uppercase());
        run.args(["--env", &variable]).env(variable, value);
    }
    run.arg(image(ACTION)).output().expect("docker was there a moment ago")
}

fn log(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

#[test]
fn only_the_bastion_knows_the_database_by_its_name() {
    let database = network::shared().database();
    let network = database.network();
    let (outside, ask) = (passer_by(&database), ["getent", "hosts", DATABASE]);
    let address = network.postgres().address(network.private());
    assert!(network.bastion().exec(&ask).starts_with(&address));
    assert_eq!(outside.try_exec(&ask), Err(String::new()), "the name is known in the public network");
    assert!(outside.exec(&["getent", "hosts", BASTION]).contains(BASTION), "names of the public network are");
}

#[test]
fn only_the_bastion_reaches_the_database_by_its_address() {
    let database = network::shared().database();
    let network = database.network();
    let outside = passer_by(&database);
    let knock = knock(&network.postgres().address(network.private()));
    let knock = knock.each_ref().map(String::as_str);
    network.bastion().exec(&knock);
    outside.try_exec(&knock).expect_err("the private network is open to the public one");
}

#[test]
fn the_image_gets_to_the_database_through_the_bastion_and_not_without_it() {
    let database = network::shared().database();
    let network = database.network();
    let nobody = migrate(&database, network.public(), &[]);
    assert!(log(&nobody).contains("database-unknown in "), "{}", log(&nobody));
    let by_address = database.url_at(&network.postgres().address(network.private()));
    let silence = migrate(&database, network.public(), &[("database-url", &by_address)]);
    assert!(log(&silence).contains("database-timeout in "), "{}", log(&silence));
    assert_eq!(database.sql("select count(*) from pg_class where relname = 'users'"), "0");
    through(&database, network.public(), &network.bastion_host());
}

#[test]
fn the_image_gets_there_from_the_network_of_a_job_without_services() {
    let database = network::shared().database();
    through(&database, "bridge", &database.network().bastion_address());
}

/// By way of the bastion at this address.
fn through(database: &Database, network: &str, bastion: &str) {
    let (known_hosts, key) = (database.network().known_hosts(), database.network().key());
    let way = [("ssh-host", bastion), ("ssh-known-hosts", &known_hosts), ("ssh-private-key", &key)];
    let done = migrate(database, network, &way);
    assert_eq!(done.status.code(), Some(0), "{}", log(&done));
    assert_eq!(database.sql("select count(*) from users"), "0");
    assert_eq!(database.left_behind(), "");
}
