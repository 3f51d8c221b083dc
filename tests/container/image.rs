//! The content of the image.

use crate::{
    ACTION,
    engine::{CreatedContainer, docker, image, inspect, label},
};
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// The largest allowed size of the image, in bytes: each job of each user pulls or builds it. This one is compiled with the
/// profile `quick`; optimized as a release, it has three quarters of that.
const LARGEST: u64 = 32_000_000;

/// Files that the engine itself adds to each container, or their directories.
const ENGINES: [&str; 7] = [".dockerenv", "dev/", "etc/hostname", "etc/hosts", "etc/mtab", "etc/resolv.conf", "proc/"];

fn configured(key: &str) -> Value {
    inspect(image(&ACTION)).pointer(&format!("/Config/{key}")).cloned().unwrap_or_default()
}

#[test]
fn the_image_is_small() {
    let size = inspect(image(&ACTION)).pointer("/Size").and_then(Value::as_u64).unwrap();
    assert!(size < LARGEST, "{size}");
}

/// Runs the program to show that it is static: there is no library or loader in the image.
#[test]
fn the_image_holds_the_program_and_nothing_else() {
    let files = CreatedContainer::of(image(&ACTION)).files();
    let ours = files.iter().filter(|file| !ENGINES.iter().any(|engines| file.starts_with(engines)));
    // If there is a whole system in the image, its first few files show it.
    let names = ["bastion-migrate", "bastion-migrate-relay", "bastion-migrate-sweep", "bastion-migrate-tunnel"];
    assert_eq!(ours.take(5).collect::<Vec<_>>(), names);
    let label = label();
    let version = docker(&["run", "--rm", "--label", &label, &ACTION, "--version"]);
    assert_eq!(version, format!("bastion-migrate {}", env!("CARGO_PKG_VERSION")));
}

/// A shell would be process 1 in our place and drop variables with a `-` in their names. Root, because the runner's
/// files may belong to root.
#[test]
fn the_image_runs_the_program_itself_as_root() {
    assert_eq!(configured("Entrypoint"), json!(["/bastion-migrate"]));
    // Newer engines omit empty values.
    let set = ["Cmd", "User", "WorkingDir"].map(configured).into_iter().filter(|value| !value.is_null() && value != "");
    assert_eq!(set.collect::<Vec<_>>(), [""; 0]);
}

#[test]
fn the_image_contains_no_traces_of_the_build() {
    let variables = configured("Env");
    let names = variables.as_array().into_iter().flatten().filter_map(|pair| pair.as_str()?.split('=').next());
    assert_eq!(names.collect::<BTreeSet<_>>(), BTreeSet::from(["MALLOC_ARENA_MAX", "PATH"]));
    let history = docker(&["history", "--no-trunc", "--format", "{{.CreatedBy}}", image(&ACTION)]);
    let plain =
        |line: &&str| ["COPY", "ENTRYPOINT", "ENV", "LABEL"].iter().any(|instruction| line.contains(instruction));
    assert_eq!(history.lines().filter(|line| !plain(line)).collect::<Vec<_>>(), [""; 0]);
}

#[test]
fn the_image_labels_name_its_source_and_license() {
    let labels = configured("Labels");
    let label_value = |key: &str| labels.get(format!("org.opencontainers.image.{key}")).cloned().unwrap_or_default();
    assert_eq!(label_value("source"), env!("CARGO_PKG_REPOSITORY"));
    assert_eq!(label_value("licenses"), env!("CARGO_PKG_LICENSE"));
    // The image of a release has its version, too.
    let of_release = [json!(env!("CARGO_PKG_VERSION")), Value::Null];
    assert!(of_release.contains(&label_value("version")), "{labels}");
    let expected = if label_value("version").is_null() { 2 } else { 5 };
    assert_eq!(labels.as_object().map(serde_json::Map::len), Some(expected), "{labels}");
}
