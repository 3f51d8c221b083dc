//! The cost of `executor: image` compared with `docker run` of the same tool in the same image.
#![expect(clippy::print_stdout, reason = "prints its results")]
#![expect(clippy::disallowed_methods, reason = "runs docker as a workflow would")]

use crate::{
    network::{Database, Network},
    sample::{Sample, Target, in_turns, milliseconds},
    table::{Table, heading},
};
use std::{
    process::{Command, Stdio},
    sync::Arc,
    time::Instant,
};

/// Runs of each party.
const RUNS: usize = 7;

/// The target: milliseconds more than `docker run` of the migration alone.
const OVERHEAD: f64 = 400.0;

/// The names that `make image` gives to the images.
const ACTION: &str = "bastion-migrate:dev";
const APP: &str = "bastion-migrate-app:django-5.2";

/// A party whose time is measured.
#[derive(Debug, Clone, Copy)]
enum Party {
    /// A step with `executor: image`, through the bastion.
    Action,
    /// The same container of the action without work: the cost of any action in a container.
    Nothing,
    /// `docker run … manage.py migrate` in the private network.
    Migrate,
    /// A careful script: list, migrate and check, each by a `docker run`.
    Careful,
}

/// Prints the table.
pub(crate) fn run() {
    heading(
        "Image executor",
        "Milliseconds for the migrations of a small Django project into a fresh database. *docker run* runs in the \
         database's own network and needs no tunnel; *careful* is the same with a listing before and a check after. \
         The action does both, too: it connects through the bastion, takes the lock, lists, migrates and verifies. *an action that does nothing* is our \
         own container without work: the cost of any action in a container.",
    );
    let network = Arc::new(Network::start());
    let parties = [Party::Action, Party::Nothing, Party::Migrate, Party::Careful];
    let [[action], [nothing], [migrate], [careful]] = in_turns(RUNS, parties, |party| {
        let database = network.database();
        let began = Instant::now();
        match party {
            Party::Action => step(&database),
            Party::Nothing => finish(action(&database).args([ACTION, "--version"])),
            Party::Migrate => bare(&database, &["migrate", "--noinput"]),
            Party::Careful => {
                bare(&database, &["showmigrations", "--plan"]);
                bare(&database, &["migrate", "--noinput"]);
                bare(&database, &["migrate", "--check"]);
            }
        }
        let took = milliseconds(began.elapsed());
        if matches!(party, Party::Nothing) {
            return [took];
        }
        assert_eq!(database.sql("select count(*) from django_migrations"), "5");
        [took]
    });
    let over = |other: &Sample| action.median() - other.median();
    let mut table = Table::new(["party", "time, ms", "the action is longer by, ms", "against 400 ms"]);
    let verdict = Target::AtMost(1.0).judge(over(&migrate) / OVERHEAD);
    let alone = |who: &str, sample: &Sample| [who.to_owned(), sample.to_string(), "–".to_owned(), "–".to_owned()];
    table.row(alone("the action", &action));
    table.row(alone("an action that does nothing", &nothing));
    table.row(["docker run".to_owned(), migrate.to_string(), format!("{:.0}", over(&migrate)), verdict]);
    table.row([
        "docker run, careful".to_owned(),
        careful.to_string(),
        format!("{:.0}", over(&careful)),
        "–".to_owned(),
    ]);
    println!("{RUNS} runs of each:\n");
    table.print();
}

/// Runs the action as the runner starts it: the values are in the CLI's environment.
fn step(database: &Database) {
    let network = database.network();
    let inputs = [
        ("COMMAND", "migrate".to_owned()),
        ("EXECUTOR", "image".to_owned()),
        ("IMAGE", APP.to_owned()),
        ("TOOL", "django".to_owned()),
        ("ENV", "SECRET_KEY=not a secret of ours".to_owned()),
        ("SSH-HOST", network.bastion_host()),
        ("SSH-KNOWN-HOSTS", network.known_hosts()),
        ("SSH-PRIVATE-KEY", network.key()),
        ("DATABASE-URL", database.url()),
        ("DATABASE-CA", network.ca().to_owned()),
    ];
    let mut docker = action(database);
    for (name, value) in inputs {
        let name = format!("INPUT_{name}");
        docker.args(["--env", &name]).env(name, value);
    }
    finish(docker.args(["--env", "GITHUB_ACTIONS=true", ACTION]));
}

/// Returns a command that starts a container of the action.
fn action(database: &Database) -> Command {
    let mut docker = Command::new("docker");
    docker.args(["run", "--rm", "--volume", "/var/run/docker.sock:/var/run/docker.sock"]);
    docker.args(["--network", database.network().public()]);
    docker
}

fn bare(database: &Database, arguments: &[&str]) {
    let mut docker = Command::new("docker");
    docker.args(["run", "--rm", "--network", database.network().private(), "--env", "DATABASE_URL"]);
    docker
        .args(["--env", "SECRET_KEY=x", APP, "python", "manage.py"])
        .args(arguments)
        .env("DATABASE_URL", database.url());
    finish(&mut docker);
}

fn finish(docker: &mut Command) {
    let output = docker.stdin(Stdio::null()).output().expect("docker is installed");
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}");
}
