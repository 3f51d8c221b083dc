//! Agreement of the files of a release: both Dockerfiles, both actions, and the workflow that calls the scripts. Needs no
//! server.

use serde_yaml::{Mapping, Value};
use std::{fs, path::Path};

/// Inputs and outputs that need a container, which the action for the program does not have.
const OF_CONTAINERS: [&str; 10] = [
    "image",
    "pull",
    "registry-username",
    "registry-password",
    "image-entrypoint",
    "mount-workspace",
    "memory",
    "tunnel-host",
    "tunnel-port",
    "tunnel-alias",
];

/// Beginnings of the commands that a release may use besides the scripts.
const COMMANDS: [&str; 11] = [
    ".github/release/",
    "rustup toolchain install \"$RUST\"",
    "cargo install cargo-auditable --locked --version ",
    "make image DIST=1",
    "cargo test --locked --test container",
    "tar --",
    "cat linux-*.tar | tar --",
    "docker login ghcr.io ",
    "gh auth setup-git",
    "git config --global user.name ",
    "sudo apt-get update -qq && sudo apt-get install -y -qq qemu-user-static",
];

fn read(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn yaml(path: &str) -> Mapping {
    serde_yaml::from_str(&read(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn mapping<'a>(value: &'a Mapping, key: &str) -> &'a Mapping {
    value.get(key).and_then(Value::as_mapping).unwrap_or_else(|| panic!("no {key}"))
}

/// Returns the jobs of release.yml with their names.
fn jobs(workflow: &Mapping) -> Vec<(&str, &Mapping)> {
    let jobs = mapping(workflow, "jobs").iter();
    jobs.map(|(name, job)| (name.as_str().unwrap(), job.as_mapping().unwrap())).collect()
}

fn steps(job: &Mapping) -> impl Iterator<Item = &Mapping> {
    job.get("steps").and_then(Value::as_sequence).into_iter().flatten().filter_map(Value::as_mapping)
}

/// Returns whether the job may change something of the project.
fn can_write(job: &Mapping) -> bool {
    mapping(job, "permissions").values().any(|right| right.as_str() == Some("write"))
}

#[test]
fn an_image_from_source_and_one_of_a_release_differ_in_their_labels_alone() {
    let last_stage = |path: &str| {
        let text = read(path);
        let (_, stage) = text.rsplit_once("\nFROM scratch\n").unwrap_or_else(|| panic!("{path}: no last stage"));
        stage.lines().filter(|line| !line.starts_with("COPY ")).collect::<Vec<_>>().join("\n")
    };
    assert_eq!(last_stage("Dockerfile"), last_stage(".github/release/Dockerfile"));
    let base = read("Dockerfile").lines().find(|line| line.starts_with("FROM ")).unwrap().to_owned();
    assert!(base.contains("@sha256:"), "{base} has no digest");
}

#[test]
fn main_builds_from_source_and_has_no_stamp() {
    assert!(read("action.yml").contains("\n  image: Dockerfile\n"));
    let binary = read(".github/binary/action.yml");
    for name in ["VERSION", "SHA256_AMD64", "SHA256_ARM64"] {
        assert!(binary.contains(&format!("\n        {name}: \"\"\n")), "{name}");
    }
}

#[test]
fn the_action_for_the_program_has_the_inputs_and_outputs_of_the_other() {
    let (action, binary) = (yaml("action.yml"), yaml(".github/binary/action.yml"));
    let for_all = |key: &str| -> Mapping {
        let all = mapping(&action, key).clone().into_iter();
        all.filter(|(name, _)| !OF_CONTAINERS.contains(&name.as_str().unwrap())).collect()
    };
    assert_eq!(mapping(&binary, "inputs"), &for_all("inputs"));

    let migrate =
        mapping(&binary, "runs").get("steps").and_then(|steps| steps.get(1)).and_then(Value::as_mapping).unwrap();
    let mut variables = mapping(migrate, "env").clone();
    assert!(variables.remove("PROGRAM").is_some());
    let of_inputs = for_all("inputs").into_iter().map(|(name, _)| {
        let name = name.as_str().unwrap().to_owned();
        (format!("INPUT_{}", name.to_uppercase()).into(), format!("${{{{ inputs.{name} }}}}").into())
    });
    assert_eq!(variables, of_inputs.collect::<Mapping>());

    let of_outputs = for_all("outputs").into_iter().map(|(name, output)| {
        let mut output = output.as_mapping().unwrap().clone();
        let value = format!("${{{{ steps.migrate.outputs.{} }}}}", name.as_str().unwrap());
        output.insert("value".into(), value.into());
        (name, Value::Mapping(output))
    });
    assert_eq!(mapping(&binary, "outputs"), &of_outputs.collect::<Mapping>());
}

#[test]
fn the_release_workflow_only_calls_scripts() {
    let workflow = yaml(".github/workflows/release.yml");
    for (name, job) in jobs(&workflow) {
        for command in steps(job).filter_map(|step| step.get("run")?.as_str()) {
            let command = command.strip_prefix("echo \"digest=$(").unwrap_or(command);
            assert!(COMMANDS.iter().any(|allowed| command.starts_with(allowed)), "{name}: {command}");
            assert!(!command.contains("${{"), "{name}: an expression in {command}");
        }
    }
    let version = format!("RUST: \"{}\"", env!("CARGO_PKG_RUST_VERSION"));
    for path in [".github/workflows/release.yml", ".github/workflows/advisories.yml"] {
        assert!(read(path).contains(&version), "{path}: {version}");
    }
    let used = format!("uses: bastion-migrate/bastion-migrate@v{}\n", env!("CARGO_PKG_VERSION_MAJOR"));
    assert!(read(".github/workflows/release.yml").contains(&used), "{used}");
}

#[test]
fn every_job_of_a_release_that_publishes_waits_for_its_environment() {
    let workflow = yaml(".github/workflows/release.yml");
    let writing = |job: &&(&str, &Mapping)| can_write(job.1);
    let all = jobs(&workflow);
    for (name, job) in &all {
        assert_eq!(job.contains_key("environment"), can_write(job), "{name}");
        assert!(job.contains_key("timeout-minutes"), "{name}");
    }
    let names: Vec<&str> = all.iter().filter(writing).map(|(name, _)| *name).collect();
    assert_eq!(names, ["image", "publish"]);
    let of_contents =
        |job: &Mapping| mapping(job, "permissions").get("contents").and_then(Value::as_str) == Some("write");
    let names: Vec<&str> = all.iter().filter(|(_, job)| of_contents(job)).map(|(name, _)| *name).collect();
    assert_eq!(names, ["publish"], "one job may write to the repository");
}

/// A cache that another workflow has filled would be in the release.
#[test]
fn a_release_takes_nothing_from_a_cache() {
    let text = read(".github/workflows/release.yml");
    assert!(!text.contains("cache:") && !text.contains("actions/cache") && !text.contains("type=gha"), "a cache");
    let trigger = yaml(".github/workflows/release.yml");
    let names: Vec<&str> = mapping(&trigger, "on").keys().filter_map(Value::as_str).collect();
    assert_eq!(names, ["workflow_dispatch"], "a pushed tag starts no second release");
}
