//! The program of a release without a container: the action that downloads it (`.github/binary`), and the example for GitLab.
#![expect(clippy::disallowed_methods, reason = "runs scripts as a runner does")]

use serde_yaml::{Mapping, Value};
use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::{Command, Output},
};
use tempfile::TempDir;

/// A program that shows how it was started. Dash would not pass on a name with `-`.
const PROGRAM: &str = "#!/bin/bash\necho \"ran: $*\"\nprintenv INPUT_SSH-HOST SSH_HOST || true\n";

/// A place with one release, and a job's own directory.
struct Releases {
    directory: TempDir,
    sum: String,
}

impl Releases {
    fn new() -> Self {
        let directory = TempDir::new().unwrap();
        let name = "bastion-migrate-v0.1.0-linux-amd64";
        let (release, packed) = (directory.path().join("v0.1.0"), directory.path().join(name));
        for folder in [&release, &packed, &directory.path().join("job")] {
            fs::create_dir(folder).unwrap();
        }
        write_program(&packed.join("bastion-migrate"), PROGRAM);
        let script =
            format!("tar --create --gzip --file v0.1.0/{name}.tar.gz {name} && sha256sum v0.1.0/{name}.tar.gz");
        let output = Command::new("sh").args(["-c", &script]).current_dir(directory.path()).output().unwrap();
        let sum = String::from_utf8(output.stdout).unwrap().split(' ').next().unwrap().to_owned();
        Self { directory, sum }
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        let path = format!("{}:{}", self.directory.path().join("bin").display(), std::env::var("PATH").unwrap());
        command.current_dir(self.directory.path().join("job")).env("PATH", path);
        command.env("LOGS", self.directory.path());
        command
    }

    /// Runs the first step of the action as on an X64 runner, with other values of some variables.
    fn download(&self, other: &[(&str, &str)]) -> Output {
        let job = self.directory.path().join("job");
        fs::write(job.join("output"), "").unwrap();
        let mut command = self.command(concat!(env!("CARGO_MANIFEST_DIR"), "/.github/binary/download.sh"));
        command.env("VERSION", "0.1.0").env("SHA256_AMD64", &self.sum).env("SHA256_ARM64", "0".repeat(64));
        command.env("RELEASES", format!("file://{}", self.directory.path().display()));
        command.env("COMMAND", "migrate").env("EXECUTOR", "sql").env("RUNNER_OS", "Linux").env("RUNNER_ARCH", "X64");
        command.env("RUNNER_TEMP", &job).env("GITHUB_OUTPUT", job.join("output"));
        command.envs(other.iter().copied()).output().unwrap()
    }

    /// Asserts that the step fails with one annotation, and with nothing else.
    fn refuses(&self, other: &[(&str, &str)], expected: &str) {
        let output = self.download(other);
        let shown = String::from_utf8(output.stdout).unwrap();
        assert!(!output.status.success(), "{other:?}: {shown}");
        assert!(shown.starts_with("::error title=bastion-migrate::") && shown.contains(expected), "{other:?}: {shown}");
        assert_eq!(shown.lines().count(), 1, "{shown}");
        assert_eq!(fs::read_to_string(self.directory.path().join("job/output")).unwrap(), "");
    }
}

fn write_program(path: &Path, script: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, script).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

fn yaml(path: &str) -> Mapping {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap();
    serde_yaml::from_str(&text).unwrap()
}

#[test]
fn without_a_container_the_program_runs_with_all_inputs() {
    let releases = Releases::new();
    for _ in ["the first step of a job", "the second"] {
        let output = releases.download(&[]);
        assert!(output.status.success(), "{output:?}");
        let written = fs::read_to_string(releases.directory.path().join("job/output")).unwrap();
        let program = written.trim().strip_prefix("program=").unwrap_or_else(|| panic!("{written}"));
        let action = yaml(".github/binary/action.yml");
        let step = action["runs"]["steps"][1].as_mapping().unwrap();
        assert_eq!(step["shell"], Value::from("bash"));
        // As the runner starts `shell: bash`.
        let mut bash = releases.command("bash");
        bash.args(["--noprofile", "--norc", "-e", "-o", "pipefail", "-c", step["run"].as_str().unwrap()]);
        let output = bash.env("PROGRAM", program).env("INPUT_SSH-HOST", "deploy@bastion").output().unwrap();
        assert_eq!(String::from_utf8(output.stdout).unwrap(), "ran: \ndeploy@bastion\n");
    }
}

#[test]
fn without_a_container_an_image_and_a_tunnel_are_refused() {
    let releases = Releases::new();
    releases.refuses(&[("EXECUTOR", "image")], "`executor: image` needs the container action");
    releases.refuses(&[("COMMAND", "tunnel")], "`command: tunnel` opens its port in a container");
}

#[test]
fn a_program_is_taken_only_from_a_release_and_with_its_checksum() {
    let releases = Releases::new();
    releases.refuses(&[("VERSION", "")], "use a version in `uses:`");
    releases.refuses(&[("RUNNER_OS", "macOS")], "not for macOS on X64");
    let other = "1".repeat(64);
    releases.refuses(&[("SHA256_AMD64", &other)], "the checksum of bastion-migrate-v0.1.0-linux-amd64.tar.gz is not");
    assert!(releases.download(&[]).status.success(), "a refused download leaves nothing behind");
}

/// Curl is replaced by a copy of the file with that name, and the installation of packages by nothing.
#[test]
fn the_example_for_gitlab_runs_the_program_of_the_checksum() {
    let releases = Releases::new();
    let bin = releases.directory.path().join("bin");
    write_program(&bin.join("apt-get"), "#!/bin/sh\n");
    write_program(&bin.join("curl"), "#!/bin/sh\nfor url; do :; done\ncp \"$LOGS/v0.1.0/${url##*/}\" .\n");
    let job = yaml("examples/gitlab-ci.yml")["migrate"].as_mapping().unwrap().clone();
    let lines = ["before_script", "script"].iter().flat_map(|key| job[*key].as_sequence().unwrap());
    let script: Vec<&str> = lines.map(|line| line.as_str().unwrap()).collect();
    let run = |sum: &str| {
        let mut bash = releases.command("bash");
        bash.args(["-e", "-o", "pipefail", "-c", &script.join("\n")]);
        for (name, value) in job["variables"].as_mapping().unwrap() {
            bash.env(name.as_str().unwrap(), value.as_str().unwrap());
        }
        bash.env("SHA256", sum).output().unwrap()
    };
    let output = run(&releases.sum);
    let shown = String::from_utf8(output.stdout).unwrap();
    assert!(shown.contains("ran: migrate\ndeploy@bastion.example.com\n"), "{shown}");
    let output = run(&"1".repeat(64));
    let shown = String::from_utf8(output.stdout).unwrap();
    assert!(!output.status.success() && !shown.contains("ran:"), "{shown}");
}
