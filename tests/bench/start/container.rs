//! The program in its container.
#![expect(clippy::disallowed_methods, reason = "uses the engine")]

use crate::stopwatch;
use std::{
    env,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// The name that `make image` gives to the image.
pub(super) const NAME: &str = "bastion-migrate:dev";

/// The path of this program in the container.
const BENCH: &str = "/bench";

/// The program that runs in the container.
#[derive(Debug, Clone, Copy)]
pub(super) enum Measured {
    /// The image as it is.
    Program,
    /// The program, started and timed by this one in the container.
    Stopwatch,
    /// This program, which prints a line.
    Nothing,
}

/// The image in the engine.
#[derive(Debug)]
pub(super) struct Image {
    bytes: u64,
    program: String,
    home: PathBuf,
}

impl Image {
    /// Finds the image. `home` is mounted into its containers.
    pub(super) fn find(home: &Path) -> Result<Self, String> {
        let bytes = inspect("{{.Size}}")?.parse().map_err(|error| format!("docker reports no size: {error}"))?;
        let program = inspect("{{index .Config.Entrypoint 0}}")?;
        Ok(Self { bytes, program, home: home.to_owned() })
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Measures the milliseconds to the first line, and to the first line for a reader.
    pub(super) fn measure(&self, step: &Command, ran: Measured) -> [f64; 2] {
        let mut docker = Command::new("docker");
        docker.args(["run", "--rm", "--workdir"]).arg(&self.home).stdin(Stdio::null()).stderr(Stdio::null());
        docker.arg("--volume").arg(format!("{0}:{0}", self.home.display()));
        // This program is linked dynamically and needs its libraries there.
        for path in ["/lib", "/lib64"].into_iter().filter(|path| Path::new(path).exists()) {
            docker.arg("--volume").arg(format!("{path}:{path}:ro"));
        }
        let bench = env::current_exe().expect("a program has a path");
        docker.arg("--volume").arg(format!("{}:{BENCH}:ro", bench.display()));
        // By name only: the values are in the CLI's environment, as under the runner.
        for (name, value) in step.get_envs() {
            docker.arg("--env").arg(name).envs(value.map(|value| (name, value)));
        }
        match ran {
            Measured::Program => stopwatch::measure(docker.arg(NAME)),
            Measured::Nothing => stopwatch::measure(docker.args(["--entrypoint", BENCH, NAME, "nothing"])),
            Measured::Stopwatch => {
                let output = docker.args(["--entrypoint", BENCH, NAME, "stopwatch", &self.program]).output();
                let printed = output.map(|output| output.stdout).unwrap_or_default();
                stopwatch::read(&String::from_utf8_lossy(&printed)).expect("the container prints its figures")
            }
        }
    }
}

/// Returns a property of the image.
fn inspect(what: &str) -> Result<String, String> {
    let output = Command::new("docker").args(["image", "inspect", "--format", what, NAME]).output();
    match output {
        Ok(output) if output.status.success() => Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned()),
        Ok(output) => Err(format!("`make image` builds it. {}", String::from_utf8_lossy(&output.stderr).trim())),
        Err(error) => Err(format!("There is no docker: {error}.")),
    }
}
