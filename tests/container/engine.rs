//! The Docker engine, by its command line. Containers and networks are labelled with the test process that created them
//! and are removed when it ends, for whatever reason.
#![expect(clippy::disallowed_methods, reason = "the engine is used by its command line, as the runner uses it")]

use serde_json::Value;
use std::{
    io::Write as _,
    path::Path,
    process::{Child, Command, Output, Stdio},
    sync::LazyLock,
};

/// The label of everything that tests create. Its value is the pid of the test process.
const LABEL: &str = "dev.bastion-migrate.test";

/// The action's own label on its containers.
const ACTION_LABEL: &str = "dev.bastion-migrate.run";

/// Advice for a missing engine.
const ADVICE: &str = "the container tests need the Docker engine: install it (`make setup` does on Debian and Ubuntu), start \
    its daemon (`dockerd`, or `systemctl start docker`), and see that this user may use it";

/// Removes everything with the label `$1`, the containers that the action created for its steps, and the images it
/// pulled.
const SWEEP: &str = r#"
docker ps --all --quiet --filter "label=$1" | xargs --no-run-if-empty docker rm --force --volumes
docker ps --all --quiet --filter label=dev.bastion-migrate.run |
    xargs --no-run-if-empty docker inspect --format '{{.Id}} {{json .Config.Env}}' |
    grep --fixed-strings "\"TEST_STEP=${1#*=}-" | cut -d ' ' -f 1 | xargs --no-run-if-empty docker rm --force --volumes
docker image ls --digests --filter "reference=*/bastion-migrate-test-${1#*=}/*" \
    --format '{{.Repository}}{{if eq .Tag "<none>"}}@{{.Digest}}{{else}}:{{.Tag}}{{end}}' |
    xargs --no-run-if-empty docker rmi
docker network ls --quiet --filter "label=$1" | xargs --no-run-if-empty docker network rm
"#;

/// Process that sweeps when its standard input ends, that is, when the test process ends. It ignores Ctrl-C. An error
/// if the engine is missing; every test reports it.
static SWEEPER: LazyLock<Result<Child, String>> = LazyLock::new(|| {
    sweep_leftovers_of_dead_processes()?;
    let sweep = format!("trap '' INT TERM HUP; read -r line; {SWEEP}");
    let mut sweeper = Command::new("sh");
    sweeper.args(["-c", &sweep, "sweeper", &label()]).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    Ok(sweeper.spawn().expect("sh is installed"))
});

/// Returns the `--label` of everything that this process creates.
pub(crate) fn label() -> String {
    format!("{LABEL}={}", std::process::id())
}

/// Returns a line for the input `env` that marks the containers which the action creates for this step. Their labels
/// are set by the action itself, so they can't serve.
pub(crate) fn marker(step: &str) -> String {
    format!("TEST_STEP={}-{step}", std::process::id())
}

/// Lists the containers that the action created for the step with this marker and that still exist, running or not.
pub(crate) fn siblings(marker: &str) -> Vec<String> {
    let filter = format!("label={ACTION_LABEL}");
    let listed = docker(&["ps", "--all", "--quiet", "--no-trunc", "--filter", &filter]);
    let ids: Vec<&str> = listed.lines().collect();
    if ids.is_empty() {
        return Vec::new();
    }
    // A container that has been removed since is no failure: the engine describes the others all the same.
    let described = try_docker(&[&["inspect", "--format", "{{.Id}} {{json .Config.Env}}"], &ids[..]].concat());
    let marked = format!("\"{marker}\"");
    let described = String::from_utf8_lossy(&described.stdout).into_owned();
    described
        .lines()
        .filter(|line| line.contains(&marked))
        .filter_map(|line| Some(line.split_once(' ')?.0.to_owned()))
        .collect()
}

/// Runs `docker` with these arguments and returns its standard output. A failure fails the test.
pub(crate) fn docker(arguments: &[&str]) -> String {
    let output = try_docker(arguments);
    assert!(output.status.success(), "docker {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("docker prints UTF-8").trim().to_owned()
}

/// Runs `docker` with these arguments; a failure is for the caller to judge.
pub(crate) fn try_docker(arguments: &[&str]) -> Output {
    command(arguments).output().expect("docker was there a moment ago")
}

/// Returns the command, not started yet. Fails the test if the engine is missing.
pub(crate) fn command(arguments: &[&str]) -> Command {
    if let Err(missing) = &*SWEEPER {
        panic!("{missing}; {ADVICE}");
    }
    let mut command = Command::new("docker");
    command.args(arguments).stdin(Stdio::null());
    command
}

/// Returns the engine's description of a container, an image or a network.
pub(crate) fn inspect(name: &str) -> Value {
    let answer: Value = serde_json::from_str(&docker(&["inspect", name])).expect("docker inspect prints JSON");
    answer.get(0).unwrap_or_else(|| panic!("docker inspect {name}: nothing")).clone()
}

/// Returns the image's name; fails the test if the image is missing.
pub(crate) fn image(name: &str) -> &str {
    let exists = try_docker(&["image", "inspect", name]).status.success();
    assert!(exists, "the image {name} is missing: run `make image`");
    name
}

/// Removes the leftovers of test processes that are gone, together with their sweepers.
fn sweep_leftovers_of_dead_processes() -> Result<(), String> {
    let version = Command::new("docker").args(["version", "--format", "{{.Server.Version}}"]).output();
    let answer = version.map_err(|error| format!("`docker`: {error}"))?;
    if !answer.status.success() {
        return Err(String::from_utf8_lossy(&answer.stderr).trim().to_owned());
    }
    for list in [&["ps", "--all"], &["network", "ls"]] {
        let format = format!("{{{{.Label \"{LABEL}\"}}}}");
        let filter = format!("label={LABEL}");
        let owners = stdout_of(Command::new("docker").args(list).args(["--filter", &filter, "--format", &format]));
        for pid in owners.lines().filter(|pid| !Path::new("/proc").join(pid).exists()) {
            stdout_of(Command::new("sh").args(["-c", SWEEP, "sweep", &format!("{LABEL}={pid}")]));
        }
    }
    Ok(())
}

fn stdout_of(command: &mut Command) -> String {
    let output = command.output().expect("it was there a moment ago");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// A running container, removed with the value together with its anonymous volumes.
#[derive(Debug)]
pub(crate) struct Container {
    id: String,
}

impl Container {
    /// Starts a container with these options of `docker run`, this image and these arguments.
    pub(crate) fn start(options: &[&str], image: &str, arguments: &[&str]) -> Self {
        let label = label();
        let all = [&["run", "--detach", "--label", &label], options, &[image], arguments].concat();
        Self { id: docker(&all) }
    }

    /// Returns the full id.
    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    /// Runs a program in the container and returns its standard output. A failure fails the test.
    pub(crate) fn exec(&self, program: &[&str]) -> String {
        docker(&[&["exec", &self.id], program].concat())
    }

    /// Runs a program in the container; returns its standard error if it failed.
    pub(crate) fn try_exec(&self, program: &[&str]) -> Result<String, String> {
        let output = try_docker(&[&["exec", &self.id], program].concat());
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
        if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
    }

    /// Runs a program in the container with this standard input.
    pub(crate) fn feed(&self, program: &[&str], input: &str) -> String {
        let mut command = command(&[&["exec", "--interactive", &self.id], program].concat());
        let piped = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = piped.spawn().expect("docker was there a moment ago");
        let mut stdin = child.stdin.take().expect("stdin is a pipe");
        // A program that ends early prints the reason on standard error.
        drop(stdin.write_all(input.as_bytes()));
        drop(stdin);
        let output = child.wait_with_output().expect("docker ends");
        assert!(output.status.success(), "{program:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// Returns the container's address in this network.
    pub(crate) fn address(&self, network: &str) -> String {
        let path = format!("/NetworkSettings/Networks/{network}/IPAddress");
        let inspected = inspect(&self.id);
        inspected.pointer(&path).and_then(Value::as_str).unwrap_or_else(|| panic!("not in {network}")).to_owned()
    }

    /// Returns the output so far.
    pub(crate) fn log(&self) -> String {
        let output = try_docker(&["logs", &self.id]);
        [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat()
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        drop(try_docker(&["rm", "--force", "--volumes", &self.id]));
    }
}

/// A container that never runs, removed with the value.
#[derive(Debug)]
pub(crate) struct CreatedContainer {
    id: String,
}

impl CreatedContainer {
    /// Creates a container of this image.
    pub(crate) fn of(image: &str) -> Self {
        Self { id: docker(&["create", "--label", &label(), image]) }
    }

    /// Lists the paths of all files in the container, without directories.
    pub(crate) fn files(&self) -> Vec<String> {
        let list = r#"docker export "$1" | tar --list"#;
        let names = stdout_of(Command::new("sh").args(["-c", list, "list", &self.id]));
        names.lines().filter(|name| !name.ends_with('/')).map(str::to_owned).collect()
    }
}

impl Drop for CreatedContainer {
    fn drop(&mut self) {
        drop(try_docker(&["rm", "--force", &self.id]));
    }
}

/// The destinations that a network's containers can reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NetworkAccess {
    /// Each other and the outside, as in a job's network.
    External,
    /// Each other only.
    Internal,
}

/// A network, removed with the value, which has to outlive the containers in it.
#[derive(Debug)]
pub(crate) struct Subnet {
    id: String,
    name: String,
}

impl Subnet {
    /// Creates a network with a unique name that contains `purpose`.
    pub(crate) fn create(purpose: &str, access: NetworkAccess) -> Self {
        let mut bytes = [0; 4];
        getrandom::fill(&mut bytes).expect("the system has randomness");
        let name = format!("bastion-migrate-{purpose}-{:08x}", u32::from_le_bytes(bytes));
        let label = label();
        let internal: &[&str] = if access == NetworkAccess::Internal { &["--internal"] } else { &[] };
        let id = docker(&[&["network", "create", "--label", &label], internal, &[&name]].concat());
        Self { id, name }
    }

    /// Returns the name, for `--network`.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }
}

impl Drop for Subnet {
    fn drop(&mut self) {
        drop(try_docker(&["network", "rm", &self.id]));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Creates a network as well, because a dead process is found by its labelled containers and networks.
    #[test]
    fn leftovers_of_a_dead_process_and_its_steps_are_removed() {
        let (dead_pid, image) = ("4194305", image("bastion-migrate-bare:bookworm"));
        let owner = format!("{LABEL}={dead_pid}");
        let network =
            docker(&["network", "create", "--label", &owner, &format!("bastion-migrate-left-{}", std::process::id())]);
        let marker = format!("TEST_STEP={dead_pid}-0a1b2c");
        let sibling = docker(&["create", "--label", &format!("{ACTION_LABEL}=x"), "--env", &marker, image, "/echo"]);
        let pulled = format!("localhost:5000/bastion-migrate-test-{dead_pid}/app:1");
        docker(&["tag", image, &pulled]);
        sweep_leftovers_of_dead_processes().unwrap();
        for left in [&network, &sibling, &pulled] {
            assert!(!try_docker(&["inspect", left]).status.success(), "{left}");
        }
    }
}
