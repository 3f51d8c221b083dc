//! The parts of these tests are what they are taken for, without the action.

use crate::{
    bystander::{BYSTANDER, Bystander},
    engine::{Container, ask, docker, image, label, mark, siblings},
    network::{MACHINE, shared},
    registry,
};

#[test]
fn the_registry_has_what_was_pushed_and_gives_it_to_nobody() {
    let registry = registry::shared();
    let reference = registry.push(image("bastion-migrate-bare:bookworm"), "parts:1");
    assert!(!ask(&["image", "inspect", &reference]).status.success(), "whoever wants it has to pull it");
    let refused = ask(&["pull", &reference]);
    assert!(String::from_utf8_lossy(&refused.stderr).contains("no basic auth credentials"), "{refused:?}");
}

#[test]
fn a_container_of_the_action_is_known_by_its_mark() {
    let of_step = mark("0a1b2c");
    let (label, owner) = (label(), "dev.bastion-migrate.run=somebody");
    let marked = Container::start(&["--label", owner, "--env", &of_step], image(MACHINE), &["sleep", "60"]);
    let other = docker(&["create", "--label", &label, "--label", owner, MACHINE, "true"]);
    assert_eq!(siblings(&of_step), [marked.id()]);
    docker(&["rm", &other]);
}

#[test]
fn a_bystander_holds_its_lock_until_it_goes() {
    let database = shared().database();
    database.sql("create table busy ()");
    let bystander = Bystander::with(&database, "lock table busy in access share mode");
    let holders = "select application_name from pg_locks join pg_stat_activity using (pid) \
        where relation = 'busy'::regclass and granted";
    assert_eq!(database.sql(holders), BYSTANDER);
    assert_eq!(database.left_behind(), "");
    drop(bystander);
    assert_eq!(database.sql(holders), "");
}
