//! Images that the engine has to pull from a private registry, with and without credentials.

use crate::{
    engine::{docker, image, label},
    network::{Database, shared},
    registry::{self, PASSWORD, ROBOT, Registry},
    step::Step,
};
use std::time::Duration;

const BARE: &str = "bastion-migrate-bare:bookworm";

/// A step that prints its environment, in an image of the registry.
fn step<'a>(database: &'a Database, reference: &str) -> Step<'a> {
    Step::in_image(database, reference, r#"["/env"]"#)
}

fn with_credentials(step: Step<'_>) -> Step<'_> {
    step.input("registry-username", ROBOT).secret("registry-password", PASSWORD)
}

/// Pushes the image with an additional variable.
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
    let finished = with_credentials(step(&database, &reference)).run().succeeds_without_ledger();
    let digest = docker(&["image", "inspect", "--format", "{{index .RepoDigests 0}}", &reference]);
    let digest = digest.rsplit('@').next().expect("a digest is named by its image").to_owned();
    finished.logs(&digest).summary(&digest).done();
}

#[test]
fn a_private_image_requires_the_right_credentials() {
    let (database, registry) = (shared().database(), registry::shared());
    let reference = registry.push(image(BARE), "refused:1");
    step(&database, &reference).run().fails("image-denied", 2).error(&reference).done();
    let wrong = step(&database, &reference).input("registry-username", ROBOT).secret("registry-password", "wr0ng pa55");
    wrong.run().fails("image-denied", 2).error("`registry-password`").done();
}

#[test]
fn a_tag_that_was_never_pushed_is_reported_as_missing() {
    let (database, registry) = (shared().database(), registry::shared());
    registry.push(image(BARE), "tagged:1");
    for name in ["tagged:2", "never:1"] {
        let reference = registry.reference(name);
        with_credentials(step(&database, &reference)).run().fails("image-missing", 2).error(&reference).done();
    }
}

#[test]
fn an_image_for_another_platform_is_reported_as_such() {
    let (database, registry) = (shared().database(), registry::shared());
    let reference = registry.push_for_another_processor(image(BARE), "mainframe:1");
    with_credentials(step(&database, &reference)).run().fails("image-platform", 2).error(&reference).done();
}

#[test]
fn an_unreachable_registry_is_reported_as_such() {
    let database = shared().database();
    step(&database, "127.0.0.1:9/app:1").run().fails("registry-unreachable", 3).error("127.0.0.1:9/app:1").done();
}

#[test]
fn a_job_is_cancelled_while_the_registry_does_not_respond() {
    let (database, registry) = (shared().database(), Registry::start());
    let reference = registry.push(image(BARE), "frozen:1");
    registry.freeze();
    let running = with_credentials(step(&database, &reference)).start();
    running.wait_for_line("it is being pulled");
    running.cancel().finished.fails("cancelled", 130).within(Duration::from_secs(7)).done();
}

#[test]
fn the_pull_policy_is_followed() {
    let (database, registry) = (shared().database(), registry::shared());
    let reference = push_version(registry, "one", "moving:latest");
    let pull = |how: &str| with_credentials(step(&database, &reference)).input("pull", how).run();
    pull("never").fails("image-missing", 2).error("`pull`").done();
    pull("missing").succeeds_without_ledger().logs("VERSION=one\n").done();
    let kept = docker(&["image", "inspect", "--format", "{{.Id}}", &reference]);
    push_version(registry, "two", "moving:latest");
    docker(&["tag", &kept, &reference]);
    pull("missing").succeeds_without_ledger().logs("VERSION=one\n").done();
    pull("never").succeeds_without_ledger().logs("VERSION=one\n").done();
    pull("always").succeeds_without_ledger().logs("VERSION=two\n").done();
}
