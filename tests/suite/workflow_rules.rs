//! Rules that the example workflows, the building blocks and our own workflows keep; `make lint-workflows` checks others.
//! What happens when several runs meet is in `scheduler.rs`.

use serde_yaml::{Mapping, Value};
use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

const DIRECTORIES: [&str; 2] = [".github/workflows", "examples/workflows"];

/// The building blocks: with the examples, the workflows that run in a reader's repository.
const BLOCKS: [&str; 2] = [".github/workflows/plan.yml", ".github/workflows/migrate.yml"];

/// The README's first workflow has no room for a group: there the lock in the database puts the runs in order.
const WITHOUT_GROUP: &str = "examples/workflows/migrate.yml";

/// Public values, which are variables: a secret would be masked in the very line that has to be copied.
const PUBLIC: [&str; 2] = ["SSH_KNOWN_HOSTS", "DATABASE_CA"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn files(directory: &str, extension: &str) -> Vec<String> {
    let entries = fs::read_dir(root().join(directory)).unwrap_or_else(|error| panic!("{directory}: {error}"));
    let paths = entries.map(|entry| entry.unwrap().path());
    let wanted = paths.filter(|path| path.extension().is_some_and(|found| found == extension));
    let relative = |path: PathBuf| path.strip_prefix(root()).unwrap().to_string_lossy().into_owned();
    let mut found: Vec<String> = wanted.map(relative).collect();
    found.sort();
    found
}

fn workflow(path: &str) -> Value {
    serde_yaml::from_str(&read(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Returns the building block that a job calls.
fn block(uses: &str) -> Value {
    let file = uses.split('@').next().and_then(|path| path.rsplit('/').next()).unwrap();
    workflow(&format!(".github/workflows/{file}"))
}

fn mapping(value: &Value) -> Mapping {
    value.as_mapping().cloned().unwrap_or_default()
}

fn keys(value: &Value) -> BTreeSet<String> {
    mapping(value).keys().filter_map(Value::as_str).map(str::to_owned).collect()
}

/// Returns every job of these workflows, with its file and its name.
fn jobs_of(paths: impl IntoIterator<Item = String>) -> Vec<(String, Value)> {
    let jobs = |path: String| {
        let jobs = mapping(&workflow(&path)["jobs"]).into_iter();
        jobs.map(move |(name, job)| (format!("{path}: {}", name.as_str().unwrap()), job)).collect::<Vec<_>>()
    };
    paths.into_iter().flat_map(jobs).collect()
}

/// Returns every job, also of our own workflows.
fn all_jobs() -> Vec<(String, Value)> {
    jobs_of(DIRECTORIES.iter().flat_map(|directory| files(directory, "yml")))
}

/// Returns the jobs that run in a reader's repository.
fn readers_jobs() -> Vec<(String, Value)> {
    jobs_of(files("examples/workflows", "yml").into_iter().chain(BLOCKS.map(str::to_owned)))
}

fn steps(job: &Value) -> impl Iterator<Item = &Value> {
    job["steps"].as_sequence().into_iter().flatten()
}

fn text(value: &Value) -> String {
    serde_yaml::to_string(value).unwrap()
}

#[test]
fn every_job_has_a_time_limit() {
    let jobs = all_jobs();
    let unlimited = jobs.iter().filter(|(_, job)| job.get("timeout-minutes").is_none() && job.get("uses").is_none());
    assert_eq!(unlimited.map(|(name, _)| name).collect::<Vec<_>>(), Vec::<&String>::new());
    assert!(jobs.len() > 30, "{}", jobs.len());
}

/// The name is what a reviewer reads.
#[test]
fn every_job_of_a_reader_is_named() {
    let nameless =
        readers_jobs().into_iter().filter(|(name, job)| !name.starts_with(WITHOUT_GROUP) && job.get("name").is_none());
    assert_eq!(nameless.map(|(name, _)| name).collect::<Vec<_>>(), [""; 0]);
}

#[test]
fn no_checkout_leaves_its_credentials_behind() {
    for (name, job) in all_jobs() {
        for step in steps(&job).filter(|step| step["uses"].as_str().is_some_and(|uses| uses.contains("/checkout@"))) {
            assert_eq!(step["with"]["persist-credentials"].as_bool(), Some(false), "{name}");
        }
    }
}

/// An expression is replaced before the shell reads the script, so its value is code. A variable is not.
#[test]
fn no_script_contains_an_expression() {
    let with_script = all_jobs()
        .into_iter()
        .filter(|(_, job)| steps(job).any(|step| step["run"].as_str().is_some_and(|script| script.contains("${{"))));
    assert_eq!(with_script.map(|(name, _)| name).collect::<Vec<_>>(), [""; 0]);
}

#[test]
fn secrets_are_mapped_by_name_and_come_from_an_environment() {
    for (name, job) in &readers_jobs() {
        assert_ne!(job["secrets"].as_str(), Some("inherit"), "{name}");
        let reads_secrets = steps(job).any(|step| text(step).contains("secrets."));
        assert!(
            !reads_secrets || job.get("environment").is_some(),
            "{name}: anybody who pushes could read its secrets"
        );
        for (secret, value) in mapping(&job["secrets"]) {
            let secret = secret.as_str().unwrap();
            // The environment replaces the value by the secret's name.
            assert_eq!(value.as_str(), Some(format!("${{{{ secrets.{secret} }}}}").as_str()), "{name}");
        }
    }
}

#[test]
fn a_call_gives_what_the_building_block_takes() {
    let mut calls = 0;
    for (name, job) in readers_jobs() {
        let Some(uses) = job["uses"].as_str() else { continue };
        calls += 1;
        let called = &block(uses)["on"]["workflow_call"];
        assert!(keys(&job["with"]).is_subset(&keys(&called["inputs"])), "{name}: {:?}", keys(&job["with"]));
        assert!(keys(&job["secrets"]).is_subset(&keys(&called["secrets"])), "{name}: {:?}", keys(&job["secrets"]));
        let required = mapping(&called["inputs"]).into_iter().filter(|(_, input)| input["required"] == true);
        assert!(required.into_iter().all(|(input, _)| job["with"].get(input).is_some()), "{name}");
        // The jobs of a building block have the permissions of the call, so it gives what they need, and nothing else.
        let comments = uses.contains("/plan.yml@") && !matches!(job["with"]["comment"].as_str(), Some("never"));
        let auth = job["with"]["database-auth"].as_str().unwrap_or_default();
        let needed = [
            ("contents", "read", true),
            ("pull-requests", "write", comments),
            ("id-token", "write", auth.contains("role:")),
        ];
        let needed =
            needed.into_iter().filter(|(.., is_needed)| *is_needed).map(|(permission, level, _)| (permission, level));
        let given = mapping(&job["permissions"]);
        let given = given.iter().map(|(permission, level)| (permission.as_str().unwrap(), level.as_str().unwrap()));
        assert_eq!(given.collect::<BTreeSet<_>>(), needed.collect::<BTreeSet<_>>(), "{name}");
    }
    assert!(calls > 9, "{calls}");
}

/// Returns whether a job migrates; the database of `services:` ends with the job.
fn migrates(job: &Value) -> bool {
    let uses_ours =
        |step: &&Value| step["uses"].as_str().is_some_and(|uses| uses == "$/" || uses.starts_with("bastion-migrate/"));
    let mut commands = steps(job).filter(uses_ours).map(|step| step["with"]["command"].as_str().unwrap_or("migrate"));
    commands.any(|command| command == "migrate") && job.get("services").is_none()
}

#[test]
fn only_jobs_that_write_are_in_a_group_and_no_migration_in_it_is_dropped() {
    for path in files("examples/workflows", "yml") {
        assert!(workflow(&path).get("concurrency").is_none(), "{path}: an approval would hold the group");
    }
    for (name, job) in &readers_jobs() {
        let group = &job["concurrency"];
        if migrates(job) && !name.starts_with(WITHOUT_GROUP) {
            assert!(group["group"].as_str().is_some_and(|group| group.starts_with("bastion-migrate/")), "{name}");
        }
        if name.ends_with(": plan") || name.ends_with(": approve") {
            assert!(group.is_null(), "{name} writes nothing");
        }
        if group.is_mapping() {
            assert!(job.get("environment").is_some() && group["queue"] == "max", "{name}");
            assert_ne!(group["cancel-in-progress"], Value::Bool(true), "{name}");
        }
    }
}

/// If somebody adds reviewers to it, they are asked once.
#[test]
fn no_other_job_names_the_environment_of_a_migration() {
    for path in files("examples/workflows", "yml") {
        let jobs = jobs_of([path.clone()]);
        for (name, job) in jobs.iter().filter(|(_, job)| migrates(job)) {
            let others = jobs.iter().filter(|(other, _)| other != name);
            let same = others.filter(|(_, other)| other["environment"] == job["environment"]);
            assert_eq!(same.map(|(other, _)| other).collect::<Vec<_>>(), Vec::<&String>::new(), "{name}");
        }
    }
}

#[test]
fn public_values_are_variables_everywhere() {
    let documents = files("docs", "md").into_iter().chain(["README.md".to_owned(), "examples/demo/main.rs".to_owned()]);
    for path in documents.chain(files("examples/workflows", "yml")) {
        let text = read(&path);
        let wrong = PUBLIC.iter().filter(|name| {
            let mut read = text.split("secrets.").skip(1).map(|rest| rest.split([' ', '}']).next().unwrap_or_default());
            read.any(|secret| secret.ends_with(*name))
        });
        assert_eq!(wrong.collect::<Vec<_>>(), Vec::<&&str>::new(), "{path}");
    }
    let blocks = BLOCKS.map(read);
    for name in PUBLIC {
        assert!(blocks.iter().all(|block| block.contains(&format!("vars.{name} || secrets.{name}"))), "{name}");
    }
}

#[test]
fn the_building_blocks_agree() {
    let [plan, migrate] = BLOCKS.map(workflow);
    let [planned, migrated] = [&plan, &migrate].map(|block| &block["on"]["workflow_call"]);
    assert_eq!(planned["secrets"], migrated["secrets"]);
    assert_eq!(keys(&planned["outputs"]), keys(&migrated["outputs"]));
    let described = mapping(&migrated["inputs"]).into_iter().chain(mapping(&planned["inputs"]));
    for (name, input) in described.chain(mapping(&planned["secrets"])) {
        assert!(input["description"].as_str().is_some_and(|text| !text.is_empty()), "{name:?}");
        let has_type = input.get("type").is_some() && (input.get("default").is_some() || input["required"] == true);
        assert!(has_type || input["required"] == false, "{name:?}");
    }
    let [plan, of_migrate, migrate] = [&plan["jobs"]["plan"], &migrate["jobs"]["plan"], &migrate["jobs"]["migrate"]];
    let script = |job: &Value| steps(job).find(|step| step["id"] == "tool-env").cloned().unwrap();
    assert!(script(plan) == script(of_migrate) && script(plan) == script(migrate));
    let inputs = |job: &Value| {
        let own = ["command", "comment", "expect-plan", "rehearse", "expect-rehearsal"];
        let mut with = mapping(&steps(job).find(|step| step["uses"] == "$/").unwrap()["with"]);
        own.iter().for_each(|name| drop(with.remove(*name)));
        with
    };
    assert!(inputs(plan) == inputs(of_migrate) && inputs(plan) == inputs(migrate));
}
