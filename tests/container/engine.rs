//! The Docker engine, by its command line. What is made here is labelled with the process that made it; whatever ends the
//! process, its containers and networks go.
#![expect(clippy::disallowed_methods, reason = "the engine is asked by its command line, as the runner asks it")]

use serde_json::Value;
use std::{
    io::Write as _,
    path::Path,
    process::{Child, Command, Output, Stdio},
    sync::LazyLock,
};

/// What tests make carries this label; its value is the pid of the test process.
const LABEL: &str = "dev.bastion-migrate.test";

/// The action's own label on what it makes.
const ACTIONS: &str = "dev.bastion-migrate.run";

/// What to do about an engine that is missing.
const ADVICE: &str = "the container tests need the Docker engine: install it (`make setup` does on Debian and Ubuntu), start \
    its daemon (`dockerd`, or `systemctl start docker`), and see that this user may ask it";

/// Removes all that has the label which is told as `$1`, what the action has made for its steps, and what it has pulled.
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

/// Sweeps when its standard input ends, which is when the test process does; Ctrl-C is not for it. Or why there is nothing to
/// sweep: each test says so.
static SWEEPER: LazyLock<Result<Child, String>> = LazyLock::new(|| {
    sweep_after_the_dead()?;
    let sweep = format!("trap '' INT TERM HUP; read -r line; {SWEEP}");
    let mut sweeper = Command::new("sh");
    sweeper.args(["-c", &sweep, "sweeper", &label()]).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    Ok(sweeper.spawn().expect("sh is installed"))
});

/// `--label` of all that this process makes.
pub(crate) fn label() -> String {
    format!("{LABEL}={}", std::process::id())
}

/// A line for the input `env`, by which is known what the action makes for this step: the labels are the action's own.
pub(crate) fn mark(step: &str) -> String {
    format!("TEST_STEP={}-{step}", std::process::id())
}

/// Containers that the action has made for the step with this mark and that are still there, running or not.
pub(crate) fn siblings(mark: &str) -> Vec<String> {
    let filter = format!("label={ACTIONS}");
    let there = docker(&["ps", "--all", "--quiet", "--no-trunc", "--filter", &filter]);
    let ids: Vec<&str> = there.lines().collect();
    if ids.is_empty() {
        return Vec::new();
    }
    // One that has gone since is no failure: the engine tells of the others all the same.
    let told = ask(&[&["inspect", "--format", "{{.Id}} {{json .Config.Env}}"], &ids[..]].concat());
    let marked = format!("\"{mark}\"");
    let told = String::from_utf8_lossy(&told.stdout).into_owned();
    told.lines()
        .filter(|line| line.contains(&marked))
        .filter_map(|line| Some(line.split_once(' ')?.0.to_owned()))
        .collect()
}

/// What `docker` says to these arguments; a failure is the test's.
pub(crate) fn docker(arguments: &[&str]) -> String {
    let output = ask(arguments);
    assert!(output.status.success(), "docker {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("docker speaks UTF-8").trim().to_owned()
}

/// The same, whatever comes of it.
pub(crate) fn ask(arguments: &[&str]) -> Output {
    command(arguments).output().expect("docker was there a moment ago")
}

/// The command, not started yet. The engine is there, or the test fails here.
pub(crate) fn command(arguments: &[&str]) -> Command {
    if let Err(missing) = &*SWEEPER {
        panic!("{missing}; {ADVICE}");
    }
    let mut command = Command::new("docker");
    command.args(arguments).stdin(Stdio::null());
    command
}

/// What the engine knows of a container, an image or a network.
pub(crate) fn inspect(name: &str) -> Value {
    let answer: Value = serde_json::from_str(&docker(&["inspect", name])).expect("docker inspect speaks JSON");
    answer.get(0).unwrap_or_else(|| panic!("docker inspect {name}: nothing")).clone()
}

/// The image's name, if it is there.
pub(crate) fn image(name: &str) -> &str {
    let there = ask(&["image", "inspect", name]).status.success();
    assert!(there, "the image {name} is missing: run `make image`");
    name
}

/// What test processes left that are gone, the sweeper with them.
fn sweep_after_the_dead() -> Result<(), String> {
    let version = Command::new("docker").args(["version", "--format", "{{.Server.Version}}"]).output();
    let answer = version.map_err(|error| format!("`docker`: {error}"))?;
    if !answer.status.success() {
        return Err(String::from_utf8_lossy(&answer.stderr).trim().to_owned());
    }
    for list in [&["ps", "--all"], &["network", "ls"]] {
        let format = format!("{{{{.Label \"{LABEL}\"}}}}");
        let filter = format!("label={LABEL}");
        let owners = said(Command::new("docker").args(list).args(["--filter", &filter, "--format", &format]));
        for pid in owners.lines().filter(|pid| !Path::new("/proc").join(pid).exists()) {
            said(Command::new("sh").args(["-c", SWEEP, "sweep", &format!("{LABEL}={pid}")]));
        }
    }
    Ok(())
}

fn said(command: &mut Command) -> String {
    let output = command.output().expect("it was there a moment ago");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// A running container; it goes with the value, and its anonymous volumes with it.
#[derive(Debug)]
pub(crate) struct Container {
    id: String,
}

impl Container {
    /// Starts it with these options of `docker run`, the image and the arguments.
    pub(crate) fn start(options: &[&str], image: &str, arguments: &[&str]) -> Self {
        let label = label();
        let all = [&["run", "--detach", "--label", &label], options, &[image], arguments].concat();
        Self { id: docker(&all) }
    }

    /// The whole of it.
    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    /// What a program in it says; a failure is the test's.
    pub(crate) fn exec(&self, program: &[&str]) -> String {
        docker(&[&["exec", &self.id], program].concat())
    }

    /// The same, where a failure is an answer.
    pub(crate) fn try_exec(&self, program: &[&str]) -> Result<String, String> {
        let output = ask(&[&["exec", &self.id], program].concat());
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
        if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
    }

    /// Gives the program this standard input.
    pub(crate) fn feed(&self, program: &[&str], input: &str) -> String {
        let mut command = command(&[&["exec", "--interactive", &self.id], program].concat());
        let piped = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = piped.spawn().expect("docker was there a moment ago");
        let mut stdin = child.stdin.take().expect("stdin is a pipe");
        // A program that ends early tells why on standard error.
        drop(stdin.write_all(input.as_bytes()));
        drop(stdin);
        let output = child.wait_with_output().expect("docker ends");
        assert!(output.status.success(), "{program:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// Its address in this network.
    pub(crate) fn address(&self, network: &str) -> String {
        let path = format!("/NetworkSettings/Networks/{network}/IPAddress");
        let inspected = inspect(&self.id);
        inspected.pointer(&path).and_then(Value::as_str).unwrap_or_else(|| panic!("not in {network}")).to_owned()
    }

    /// What it has said so far.
    pub(crate) fn log(&self) -> String {
        let output = ask(&["logs", &self.id]);
        [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat()
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        drop(ask(&["rm", "--force", "--volumes", &self.id]));
    }
}

/// A container that never runs; it goes with the value.
#[derive(Debug)]
pub(crate) struct Created {
    id: String,
}

impl Created {
    /// Of this image.
    pub(crate) fn of(image: &str) -> Self {
        Self { id: docker(&["create", "--label", &label(), image]) }
    }

    /// The paths of all files in it, without directories.
    pub(crate) fn files(&self) -> Vec<String> {
        let list = r#"docker export "$1" | tar --list"#;
        let names = said(Command::new("sh").args(["-c", list, "list", &self.id]));
        names.lines().filter(|name| !name.ends_with('/')).map(str::to_owned).collect()
    }
}

impl Drop for Created {
    fn drop(&mut self) {
        drop(ask(&["rm", "--force", &self.id]));
    }
}

/// What a network lets its containers reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reach {
    /// Each other and the world, as a job's network does.
    World,
    /// Each other alone.
    EachOther,
}

/// A network; it goes with the value, which has to outlive the containers in it.
#[derive(Debug)]
pub(crate) struct Subnet {
    id: String,
    name: String,
}

impl Subnet {
    /// A name of its own, which begins with `purpose`.
    pub(crate) fn create(purpose: &str, reach: Reach) -> Self {
        let mut bytes = [0; 4];
        getrandom::fill(&mut bytes).expect("the system has randomness");
        let name = format!("bastion-migrate-{purpose}-{:08x}", u32::from_le_bytes(bytes));
        let label = label();
        let internal: &[&str] = if reach == Reach::EachOther { &["--internal"] } else { &[] };
        let id = docker(&[&["network", "create", "--label", &label], internal, &[&name]].concat());
        Self { id, name }
    }

    /// For `--network`.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }
}

impl Drop for Subnet {
    fn drop(&mut self) {
        drop(ask(&["network", "rm", &self.id]));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// With a network, since that is how it is known that there was a process.
    #[test]
    fn what_a_dead_process_and_its_steps_left_is_removed() {
        let (nobody, image) = ("4194305", image("bastion-migrate-bare:bookworm"));
        let owner = format!("{LABEL}={nobody}");
        let network =
            docker(&["network", "create", "--label", &owner, &format!("bastion-migrate-left-{}", std::process::id())]);
        let mark = format!("TEST_STEP={nobody}-0a1b2c");
        let sibling = docker(&["create", "--label", &format!("{ACTIONS}=x"), "--env", &mark, image, "/echo"]);
        let pulled = format!("localhost:5000/bastion-migrate-test-{nobody}/app:1");
        docker(&["tag", image, &pulled]);
        sweep_after_the_dead().unwrap();
        for left in [&network, &sibling, &pulled] {
            assert!(!ask(&["inspect", left]).status.success(), "{left}");
        }
    }
}
