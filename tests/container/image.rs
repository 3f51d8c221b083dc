//! What is in the image, and what is not.

use crate::{
    ACTION,
    engine::{Created, docker, image, inspect, label},
};
use serde_json::{Value, json};

/// What the image may have, in bytes: each job of each user fetches or builds it anew.
const LARGEST: u64 = 25_000_000;

/// What the engine itself puts into each container, as a name or the directory that it is in.
const ENGINES: [&str; 7] = [".dockerenv", "dev/", "etc/hostname", "etc/hosts", "etc/mtab", "etc/resolv.conf", "proc/"];

fn configured(key: &str) -> Value {
    inspect(image(ACTION)).pointer(&format!("/Config/{key}")).cloned().unwrap_or_default()
}

#[test]
fn the_image_is_small() {
    let size = inspect(image(ACTION)).pointer("/Size").and_then(Value::as_u64).unwrap();
    assert!(size < LARGEST, "{size}");
}

/// That it runs without a library or a loader beside it is what makes it static.
#[test]
fn the_image_holds_the_program_and_nothing_else() {
    let files = Created::of(image(ACTION)).files();
    let ours = files.iter().filter(|file| !ENGINES.iter().any(|engines| file.starts_with(engines)));
    // The first few of a whole system are enough to see what is wrong.
    let names = ["bastion-migrate", "bastion-migrate-sweep", "bastion-migrate-tunnel"];
    assert_eq!(ours.take(5).collect::<Vec<_>>(), names);
    let label = label();
    let told = docker(&["run", "--rm", "--label", &label, ACTION, "--version"]);
    assert_eq!(told, format!("bastion-migrate {}", env!("CARGO_PKG_VERSION")));
}

/// A shell would be process 1 in our place, and would drop variables with a `-` in their names; the runner's files belong to
/// root.
#[test]
fn the_image_runs_the_program_itself_as_root() {
    assert_eq!(configured("Entrypoint"), json!(["/bastion-migrate"]));
    // Newer engines leave out what is empty.
    let set = ["Cmd", "User", "WorkingDir"].map(configured).into_iter().filter(|value| !value.is_null() && value != "");
    assert_eq!(set.collect::<Vec<_>>(), [""; 0]);
}

#[test]
fn nothing_of_the_build_is_in_the_image() {
    let variables = configured("Env");
    let names = variables.as_array().into_iter().flatten().filter_map(|pair| pair.as_str()?.split('=').next());
    assert_eq!(names.collect::<Vec<_>>(), ["PATH"]);
    let history = docker(&["history", "--no-trunc", "--format", "{{.CreatedBy}}", image(ACTION)]);
    let plain = |line: &&str| ["COPY", "ENTRYPOINT", "LABEL"].iter().any(|instruction| line.contains(instruction));
    assert_eq!(history.lines().filter(|line| !plain(line)).collect::<Vec<_>>(), [""; 0]);
}

#[test]
fn the_image_says_where_it_comes_from() {
    let labels = configured("Labels");
    let of = |key: &str| labels.get(format!("org.opencontainers.image.{key}")).cloned().unwrap_or_default();
    assert_eq!(of("source"), env!("CARGO_PKG_REPOSITORY"));
    assert_eq!(of("licenses"), env!("CARGO_PKG_LICENSE"));
    assert_eq!(labels.as_object().map(serde_json::Map::len), Some(2), "{labels}");
}
