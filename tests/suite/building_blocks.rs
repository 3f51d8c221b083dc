//! The building blocks for workflows: their scripts, run as the runner runs them, and the page that describes them. Their
//! steps are run in `documents.rs`, their groups in `scheduler.rs`.
#![expect(clippy::disallowed_methods, reason = "runs the scripts of the workflows in a shell")]

use serde_yaml::Value;
use std::{fs, path::Path, process::Command};

fn read(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Runs a script of a step as the runner does; returns its exit status and output, and its command files.
fn run_script(block: &str, name: &str, env: &[(&str, &str)]) -> (bool, String, [String; 2]) {
    let workflow: Value = serde_yaml::from_str(&read(&format!(".github/workflows/{block}"))).unwrap();
    let steps = workflow["jobs"]["plan"]["steps"].as_sequence().unwrap();
    let step = steps.iter().find(|step| step["name"].as_str() == Some(name)).unwrap_or_else(|| panic!("no `{name}`"));
    let files = tempfile::tempdir().unwrap();
    let paths = ["GITHUB_ENV", "GITHUB_OUTPUT"].map(|name| (name, files.path().join(name)));
    let mut bash = Command::new("bash");
    bash.args(["-ec", step["run"].as_str().unwrap()]).envs(env.iter().copied()).envs(paths.clone());
    let output = bash.output().unwrap();
    let written = paths.map(|(_, path)| fs::read_to_string(path).unwrap_or_default());
    (output.status.success(), String::from_utf8_lossy(&output.stdout).into_owned(), written)
}

#[test]
fn the_page_of_workflows_lists_every_example_and_everything_that_the_building_blocks_take() {
    let page = read("docs/workflows.md");
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/workflows");
    for file in fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()) {
        assert!(page.contains(&format!("(../examples/workflows/{file})")), "{file}");
    }
    for block in ["plan.yml", "migrate.yml"] {
        let workflow: Value = serde_yaml::from_str(&read(&format!(".github/workflows/{block}"))).unwrap();
        let called = &workflow["on"]["workflow_call"];
        for key in ["inputs", "secrets"] {
            for (name, row) in called[key].as_mapping().unwrap() {
                let (name, description) = (name.as_str().unwrap(), row["description"].as_str().unwrap());
                let mut rows = page.lines().filter(|line| line.starts_with(&format!("| `{name}` | ")));
                assert!(
                    rows.any(|line| line.contains(description) || key == "inputs"),
                    "{block}: {name}: {description}"
                );
            }
        }
        let outputs = called["outputs"].as_mapping().unwrap().keys().filter_map(Value::as_str);
        let missing: Vec<&str> = outputs.filter(|name| !page.contains(&format!("`{name}`"))).collect();
        assert_eq!(missing, [""; 0]);
    }
}

#[test]
fn variables_for_the_tool_reach_it_masked() {
    for block in ["plan.yml", "migrate.yml"] {
        let lines = "# the app\r\nSECRET_KEY=it's 100% = \"quoted\" $HOME\r\n\nDEBUG=1\nEMPTY=";
        let (succeeded, log, written) = run_script(block, "Read TOOL_ENV", &[("TOOL_ENV", lines)]);
        assert!(succeeded, "{log}");
        assert_eq!(
            log, "::add-mask::it's 100%25 = \"quoted\" $HOME\n",
            "a mask of one letter would hide half of the log"
        );
        assert_eq!(written[0], "SECRET_KEY=it's 100% = \"quoted\" $HOME\nDEBUG=1\nEMPTY=\n");
        assert_eq!(written[1], "names=SECRET_KEY DEBUG EMPTY\n");
        let (succeeded, log, written) = run_script(block, "Read TOOL_ENV", &[("TOOL_ENV", "")]);
        assert!(succeeded && log.is_empty() && written == [String::new(), "names=\n".to_owned()], "{log}");
        for wrong in ["no value", "1A=x", "A B=x", "=x"] {
            let (succeeded, log, _) = run_script(block, "Read TOOL_ENV", &[("TOOL_ENV", wrong)]);
            assert!(!succeeded && log.contains("::error::") && !log.contains(wrong), "{wrong}: {log}");
        }
    }
}

#[test]
fn a_building_block_refuses_commands_that_are_not_its_own_and_plans_that_nobody_approved() {
    let refuses = |block, name, command| !run_script(block, name, &[("COMMAND", command)]).0;
    for command in ["plan", "status", "verify"] {
        assert!(!refuses("plan.yml", "Refuse a command that writes", command), "{command}");
        assert!(!refuses("migrate.yml", "Refuse an unknown command", command), "{command}");
    }
    assert!(refuses("plan.yml", "Refuse a command that writes", "migrate"));
    assert!(!refuses("migrate.yml", "Refuse an unknown command", "migrate"));
    for command in ["rollback", "baseline", "tunnel", "", "plan; id"] {
        assert!(refuses("plan.yml", "Refuse a command that writes", command), "{command}");
        assert!(refuses("migrate.yml", "Refuse an unknown command", command), "{command}");
    }
    let compared = |planned, outcome| {
        let env = [("EXPECTED", "sha256:1"), ("PLANNED", planned), ("OUTCOME", outcome)];
        run_script("migrate.yml", "Compare with the plan that was approved elsewhere", &env).0
    };
    assert!(
        compared("sha256:1", "pending") && compared("sha256:2", "nothing-to-do") && !compared("sha256:2", "pending")
    );
}
