//! The program that was built beside this one, started as a step of a job would start it.
#![expect(clippy::disallowed_methods, reason = "starts the program that is measured")]

use crate::{lab::postgres::Database, world::World};
use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// What makes a machine a runner, as far as the program asks.
const RUNNER: [(&str, &str); 2] = [("GITHUB_ACTIONS", "true"), ("CI", "true")];

/// What is written there is a part of the work.
const COMMAND_FILES: [&str; 2] = ["GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY"];

/// Where Cargo has put the program: an example lies in a directory beside it.
pub(crate) fn path() -> PathBuf {
    let beside = || env::current_exe().ok()?.parent()?.parent().map(|target| target.join("bastion-migrate"));
    beside().filter(|path| path.exists()).expect("the program is built: run `make bench`")
}

/// A command of it with the files of this directory, for this database, through the bastion at this port.
pub(crate) fn step(world: &World, database: &Database, command: &str, files: &Path, bastion: u16) -> Command {
    let mut step = Command::new(path());
    step.env_clear().envs(RUNNER).current_dir(world.home()).stdin(Stdio::null()).stdout(Stdio::piped());
    for name in COMMAND_FILES {
        let path = world.home().join(name);
        fs::write(&path, "").expect("there is room");
        step.env(name, path);
    }
    for (input, value) in [
        ("COMMAND", command),
        ("MIGRATIONS", &files.display().to_string()),
        ("SSH-HOST", "127.0.0.1"),
        ("SSH-PORT", &bastion.to_string()),
        ("SSH-USER", &world.lab.bastion.user()),
        ("SSH-KNOWN-HOSTS", &world.known_hosts(bastion)),
        ("SSH-PRIVATE-KEY", world.lab.bastion.key().expose()),
        ("DATABASE-URL", &world.url(database, world.database_port())),
        ("DATABASE-SSLMODE", "disable"),
    ] {
        step.env(format!("INPUT_{input}"), value);
    }
    step
}
