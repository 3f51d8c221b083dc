//! The server of a rehearsal's copy in a container beside the action: it shares the action's network, shows no secret, and
//! is gone with the action, however that ends.

use crate::{
    engine::{docker, image, inspect},
    leak,
    network::{Database, MACHINE, PASSWORD, shared},
    process::poll,
    step::{Socket, Step, TOKEN},
};
use std::time::Duration;

/// A row that is in the database alone.
const CANARY: &str = "canary-row-of-production-4711";

/// A step that rehearses in a container of an image that has the server's version.
fn rehearse<'a>(database: &'a Database, keys: &str) -> Step<'a> {
    let settings = format!("{{ image: '{}'{keys} }}", image(MACHINE));
    Step::new(database).input("command", "rehearse").input("rehearse", settings).hides(CANARY)
}

/// Returns the ids of the servers for copies.
fn servers() -> Vec<String> {
    let filter = "label=dev.bastion-migrate.kind=copy";
    docker(&["ps", "--all", "--quiet", "--no-trunc", "--filter", filter]).lines().map(str::to_owned).collect()
}

/// Waits until none of these containers is left; other tests have their own.
fn assert_gone(servers: &[String]) {
    let left = || self::servers().iter().all(|id| !servers.contains(id)).then_some(());
    poll(Duration::from_secs(15), left).unwrap_or_else(|| panic!("{servers:?} are left"));
}

const SLOW: &str = "create table slow (); select pg_sleep(60);\n";

/// Waits until the copies are made, and returns the servers.
fn copying(running: &crate::running::Running<'_>) -> Vec<String> {
    running.wait_for_line("the copy is ready");
    let servers = servers();
    assert!(!servers.is_empty());
    servers
}

#[test]
fn a_copy_is_made_in_a_container_that_only_the_action_reaches() {
    let database = shared().database();
    database.sql(&format!(
        "create table kept (line text); insert into kept values ('{CANARY}'); grant select on kept to public"
    ));
    let before = servers();
    let step =
        rehearse(&database, ", data: sample").file("migrations/0001_users.sql", "create table users (id int);\n");
    let finished = step.run();
    finished
        .has_pending()
        .pending(["0001_users"])
        .logs("a second run had nothing to do")
        .logs("the copy has 1 rows of 1 tables")
        .done();
    let new: Vec<String> = servers().into_iter().filter(|id| !before.contains(id)).collect();
    assert_gone(&new);
}

#[test]
fn a_server_for_a_copy_shows_no_secret_and_keeps_no_volume() {
    let database = shared().database();
    let running = rehearse(&database, "").file("migrations/0001_slow.sql", SLOW).start();
    let servers = copying(&running);
    for server in &servers {
        let record = inspect(server);
        for secret in [PASSWORD, TOKEN] {
            assert_eq!(leak::find_secret(&record.to_string(), secret), None);
        }
        let text = record.to_string();
        assert!(text.contains("\"User\":\"nobody\"") && !text.contains("PASSWORD"), "{text}");
    }
    let own = format!("container:{}", inspect(running.container())["Id"].as_str().unwrap_or_default());
    assert!(servers.iter().any(|server| inspect(server)["HostConfig"]["NetworkMode"] == own.as_str()), "{own}");
    docker(&["kill", "--signal=TERM", running.container()]);
    running.finish().finished.fails("cancelled", 130).pending(["0001_slow"]).done();
    assert_gone(&servers);
}

#[test]
fn a_killed_rehearsal_leaves_no_server() {
    let database = shared().database();
    let running = rehearse(&database, "").file("migrations/0001_slow.sql", SLOW).start();
    let servers = copying(&running);
    docker(&["kill", "--signal=KILL", running.container()]);
    assert_gone(&servers);
    drop(running);
}

#[test]
fn the_usual_image_of_a_copy_is_that_of_the_servers_version() {
    let database = shared().database();
    let step = Step::new(&database).input("command", "rehearse").file("migrations/0001_a.sql", "create table a ();\n");
    let refused = step.input("pull", "never").run().fails("image-missing", 2).pending(["0001_a"]);
    refused.error("postgres:15").done();
}

#[test]
fn an_image_without_a_server_is_refused_with_what_works() {
    let database = shared().database();
    let step = Step::new(&database).input("command", "rehearse").file("migrations/0001_a.sql", "create table a ();\n");
    let settings = format!("{{ image: '{}' }}", image(crate::app::DJANGO_5_2));
    let refused = step.input("rehearse", settings).run().fails("rehearsal-copy", 2).pending(["0001_a"]);
    refused.error("the image has no initdb and no postgres").logs("set `image` of `rehearse`").done();
}

#[test]
fn without_the_engine_a_rehearsal_names_the_server_of_the_job() {
    let database = shared().database();
    let step = Step::new(&database).input("command", "rehearse").file("migrations/0001_a.sql", "create table a ();\n");
    let refused = step.socket(Socket::Absent).run().fails("engine-absent", 2).pending(["0001_a"]);
    refused.logs("what works is `rehearse` with the URL of a PostgreSQL server").done();
}
