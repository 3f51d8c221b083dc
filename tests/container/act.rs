//! act runs workflows on a laptop and differs from the runner (act 0.2.87, `pkg/runner/action.go`): nothing is below
//! `/github`; the workspace and the command files are volumes, the workspace under its path on the laptop.

use crate::{
    ACTION,
    engine::{command, docker, image, label, try_docker},
    network::{Database, shared},
    runner::{
        event::Event,
        file::{self, KeyValues},
    },
    step::Step,
};
use std::{collections::BTreeMap, fs, process::Output};
use tempfile::TempDir;

const WORKSPACE: &str = "/home/octocat/app";
const FILES: &str = "/var/run/act";

/// A container as act creates it, removed with the value.
struct ActContainer {
    id: String,
}

impl ActContainer {
    fn with(database: &Database, environment: &BTreeMap<String, String>) -> Self {
        let label = label();
        let mut create = command(&["create", "--label", &label, "--network", database.network().public()]);
        create.args(["--volume", WORKSPACE, "--volume", FILES, "--workdir", WORKSPACE]);
        for (name, value) in environment {
            create.args(["--env", name]).env(name, value);
        }
        let output = create.arg(image(&ACTION)).output().expect("docker was there a moment ago");
        assert!(output.status.success(), "{output:?}");
        Self { id: String::from_utf8_lossy(&output.stdout).trim().to_owned() }
    }

    /// Writes files to a volume.
    fn fill(&self, volume: &str, files: &[(&str, &str)]) {
        let directory = TempDir::new().expect("there is room");
        for (name, content) in files {
            let path = directory.path().join(name);
            fs::create_dir_all(path.parent().expect("a file is in a directory")).expect("there is room");
            fs::write(path, content).expect("there is room");
        }
        docker(&["cp", &format!("{}/.", directory.path().display()), &format!("{}:{volume}", self.id)]);
    }

    fn run(&self) -> Output {
        try_docker(&["start", "--attach", &self.id])
    }

    /// Returns the content of a file after the run.
    fn file(&self, path: &str) -> String {
        let directory = TempDir::new().expect("there is room");
        let copy = directory.path().join("copy");
        docker(&["cp", &format!("{}:{path}", self.id), &copy.display().to_string()]);
        fs::read_to_string(copy).expect("it was copied")
    }
}

impl Drop for ActContainer {
    fn drop(&mut self) {
        drop(try_docker(&["rm", "--force", "--volumes", &self.id]));
    }
}

fn environment(step: &Step<'_>) -> BTreeMap<String, String> {
    let variable = |input: &str| {
        let kept = |letter: char| if letter.is_ascii_alphanumeric() || letter == '-' { letter } else { '_' };
        format!("INPUT_{}", input.to_uppercase().chars().map(kept).collect::<String>())
    };
    let files = [("OUTPUT", "outputcmd.txt"), ("STATE", "statecmd.txt"), ("PATH", "pathcmd.txt"), ("ENV", "envs.txt")];
    let files = files.into_iter().chain([("STEP_SUMMARY", "SUMMARY.md"), ("EVENT_PATH", "event.json")]);
    let own = [("ACT", "true"), ("CI", "true"), ("GITHUB_ACTIONS", "true"), ("GITHUB_WORKSPACE", WORKSPACE)];
    let own = own.into_iter().chain([("RUNNER_TEMP", "/tmp"), ("GITHUB_REPOSITORY", "octo/app")]);
    let inputs = step.job.inputs.iter().map(|(name, value)| (variable(name), value.clone()));
    own.map(|(name, value)| (name.to_owned(), value.to_owned()))
        .chain(files.map(|(name, file)| (format!("GITHUB_{name}"), format!("{FILES}/workflow/{file}"))))
        .chain(inputs)
        .collect()
}

#[test]
fn a_step_migrates_under_act() {
    let database = shared().database();
    let container = ActContainer::with(&database, &environment(&Step::new(&database)));
    container.fill(WORKSPACE, &[("migrations/0001_users.sql", "create table users (id int);\n")]);
    let event = Event::Push.payload().to_string();
    let empty = ["outputcmd.txt", "statecmd.txt", "pathcmd.txt", "envs.txt", "SUMMARY.md"];
    let names = empty.map(|name| format!("workflow/{name}"));
    let files: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "")).collect();
    container.fill(FILES, &[&files[..], &[("workflow/event.json", event.as_str())]].concat());

    let output = container.run();
    assert!(output.status.success(), "{output:?}");
    assert_eq!(database.sql("select count(*) from users"), "0");
    assert!(container.file(&format!("{FILES}/workflow/SUMMARY.md")).contains("Applied 1 migration"));
    let outputs = container.file(&format!("{FILES}/workflow/outputcmd.txt"));
    assert_eq!(file::any_case(KeyValues::read(&outputs).entries)["outcome"], "success");
    assert_eq!(database.left_behind(), "");
}
