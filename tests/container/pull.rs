//! Images that the engine does not have: a private registry, with and without the right to pull.

use crate::{
    engine::{docker, image, label},
    network::{Database, shared},
    registry::{self, PASSWORD, ROBOT, Registry},
    step::Step,
};
use std::time::Duration;

const BARE: &str = "bastion-migrate-bare:bookworm";

/// A step that shows its environment in an image of the registry.
fn step<'a>(database: &'a Database, reference: &str) -> Step<'a> {
    Step::in_image(database, reference, r#"["/env"]"#)
}

fn with_credentials(step: Step<'_>) -> Step<'_> {
    step.input("registry-username", ROBOT).secret("registry-password", PASSWORD)
}

/// The image, with one variable more.
fn push_version(registry: &Registry, version: &str, name: &str) -> String {
    let local = format!("bastion-migrate-test-{}/version:{version}", std::process::id());
    let container = docker(&["create", "--label", &label(), image(BARE), "/echo"]);
    docker(&["commit", "--change", &format!("ENV VERSION={version}"), &container, &local]);
    docker(&["rm", &container]);
    let reference = registry.push(&local, name);
    docker(&["rmi", &local]);
    reference
}

#[test]
fn a_private_image_is_pulled_with_credentials_and_named_by_its_digest() {
    let (database, registry) = (shared().database(), registry::shared());
    let reference = registry.push(image(BARE), "private:1");
    let told = with_credentials(step(&database, &reference)).run().unrecorded();
    let digest = docker(&["image", "inspect", "--format", "{{index .RepoDigests 0}}", &reference]);
    let digest = digest.rsplit('@').next().expect("a digest is named by its image").to_owned();
    told.says(&digest).summary(&digest).done();
}

#[test]
fn a_private_image_is_not_for_everybody() {
    let (database, registry) = (shared().database(), registry::shared());
    let reference = registry.push(image(BARE), "refused:1");
    step(&database, &reference).run().fails("image-denied", 2).error(&reference).done();
    let wrong = step(&database, &reference).input("registry-username", ROBOT).secret("registry-password", "wr0ng pa55");
    wrong.run().fails("image-denied", 2).error("`registry-password`").done();
}

#[test]
fn a_tag_that_nobody_has_pushed_is_told_as_that() {
    let (database, registry) = (shared().database(), registry::shared());
    registry.push(image(BARE), "tagged:1");
    for name in ["tagged:2", "never:1"] {
        let reference = registry.reference(name);
        with_credentials(step(&database, &reference)).run().fails("image-missing", 2).error(&reference).done();
    }
}

#[test]
fn an_image_for_another_processor_is_told_as_that() {
    let (database, registry) = (shared().database(), registry::shared());
    let reference = registry.push_for_another_processor(image(BARE), "mainframe:1");
    with_credentials(step(&database, &reference)).run().fails("image-platform", 2).error(&reference).done();
}

#[test]
fn a_registry_that_is_not_there_is_told_as_that() {
    let database = shared().database();
    step(&database, "127.0.0.1:9/app:1").run().fails("registry-unreachable", 3).error("127.0.0.1:9/app:1").done();
}

#[test]
fn a_job_is_cancelled_while_the_registry_says_nothing() {
    let (database, registry) = (shared().database(), Registry::start());
    let reference = registry.push(image(BARE), "frozen:1");
    registry.freeze();
    let running = with_credentials(step(&database, &reference)).start();
    running.wait_for_line("it is being pulled");
    running.cancel().finished.fails("cancelled", 130).within(Duration::from_secs(7)).done();
}

#[test]
fn the_registry_is_asked_as_often_as_is_said() {
    let (database, registry) = (shared().database(), registry::shared());
    let reference = push_version(registry, "one", "moving:latest");
    let pull = |how: &str| with_credentials(step(&database, &reference)).input("pull", how).run();
    pull("never").fails("image-missing", 2).error("`pull`").done();
    pull("missing").unrecorded().says("VERSION=one\n").done();
    let kept = docker(&["image", "inspect", "--format", "{{.Id}}", &reference]);
    push_version(registry, "two", "moving:latest");
    docker(&["tag", &kept, &reference]);
    pull("missing").unrecorded().says("VERSION=one\n").done();
    pull("never").unrecorded().says("VERSION=one\n").done();
    pull("always").unrecorded().says("VERSION=two\n").done();
}
