//! The program that was built beside this one, started as a step of a job would start it.
#![expect(clippy::disallowed_methods, reason = "starts the program that is measured")]

use crate::world::World;
use std::{
    env,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// What makes a machine a runner, as far as the program asks.
const RUNNER: [(&str, &str); 2] = [("GITHUB_ACTIONS", "true"), ("CI", "true")];

/// Where Cargo has put the program: an example lies in a directory beside it.
pub(crate) fn path() -> PathBuf {
    let beside = || env::current_exe().ok()?.parent()?.parent().map(|target| target.join("bastion-migrate"));
    beside().filter(|path| path.exists()).expect("the program is built: run `make bench`")
}

/// A command of it on the files of this directory, through the bastion at this port.
pub(crate) fn step(world: &World, command: &str, migrations: &Path, bastion: u16) -> Command {
    let mut step = Command::new(path());
    step.env_clear().envs(RUNNER).current_dir(world.home()).stdin(Stdio::null()).stdout(Stdio::piped());
    for (input, value) in [
        ("COMMAND", command),
        ("MIGRATIONS", &migrations.display().to_string()),
        ("SSH-HOST", "127.0.0.1"),
        ("SSH-PORT", &bastion.to_string()),
        ("SSH-USER", &world.lab.bastion.user()),
        ("SSH-KNOWN-HOSTS", &world.known_hosts(bastion)),
        ("SSH-PRIVATE-KEY", world.lab.bastion.key().expose()),
        ("DATABASE-URL", &world.url_at(world.database_port())),
        ("DATABASE-SSLMODE", "disable"),
    ] {
        step.env(format!("INPUT_{input}"), value);
    }
    step
}
