//! Tests of the helpers that these tests are built from, without the action.

use crate::{
    bystander::{BYSTANDER, Bystander},
    engine::{Container, docker, image, label, marker, siblings, try_docker},
    network::{MACHINE, shared},
    registry,
};

#[test]
fn the_registry_serves_pushed_images_only_with_credentials() {
    let registry = registry::shared();
    let reference = registry.push(image("bastion-migrate-bare:bookworm"), "parts:1");
    assert!(
        !try_docker(&["image", "inspect", &reference]).status.success(),
        "the image is still there, so nothing would have to be pulled"
    );
    let refused = try_docker(&["pull", &reference]);
    assert!(String::from_utf8_lossy(&refused.stderr).contains("no basic auth credentials"), "{refused:?}");
}

#[test]
fn containers_of_the_action_are_found_by_the_step_marker() {
    let of_step = marker("0a1b2c");
    let (label, owner) = (label(), "dev.bastion-migrate.run=somebody");
    let marked = Container::start(&["--label", owner, "--env", &of_step], image(MACHINE), &["sleep", "60"]);
    let other = docker(&["create", "--label", &label, "--label", owner, MACHINE, "true"]);
    assert_eq!(siblings(&of_step), [marked.id()]);
    docker(&["rm", &other]);
}

#[test]
fn a_bystander_holds_its_lock_until_it_is_dropped() {
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
