//! The program under measurement, started as a step of a job starts it.
#![expect(clippy::disallowed_methods, reason = "starts the program that is measured")]

use crate::{
    lab::{
        postgres::Database,
        server::{BACKEND, Server},
    },
    world::World,
};
use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// The variables by which the program recognises a runner.
const RUNNER: [(&str, &str); 2] = [("GITHUB_ACTIONS", "true"), ("CI", "true")];

/// The environment of the action's image (Dockerfile).
const IMAGE: [(&str, &str); 1] = [("MALLOC_ARENA_MAX", "1")];

/// Command files; writing them is a part of the measured work.
const COMMAND_FILES: [&str; 2] = ["GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY"];

/// Returns the path of the program, which Cargo builds into the parent of the examples' directory.
pub(crate) fn path() -> PathBuf {
    let beside = || env::current_exe().ok()?.parent()?.parent().map(|target| target.join("bastion-migrate"));
    beside().filter(|path| path.exists()).expect("the program is built: run `make bench`")
}

/// Returns a command of the program for this directory of files and this database, through the bastion at this port.
pub(crate) fn step(world: &World, database: &Database, command: &str, files: &Path, bastion: u16) -> Command {
    step_of(&path(), world, database, command, files, bastion)
}

/// Returns a command with Django in this project on the server, which has the database from the action.
pub(crate) fn django_step(world: &World, database: &Database, command: &str, server: &Server) -> Command {
    let mut step = step(world, database, command, world.home(), server.sshd().port);
    for (input, value) in [("TOOL", "django"), ("WORKING-DIRECTORY", BACKEND), ("SETUP", "source ../venv/bin/activate")]
    {
        step.env(format!("INPUT_{input}"), value);
    }
    on_server(&mut step, server);
    step
}

/// Has the step run its tool on the server.
pub(crate) fn on_server(step: &mut Command, server: &Server) {
    step.env_remove("INPUT_MIGRATIONS");
    for (input, value) in [
        ("EXECUTOR", "server"),
        ("ENV", "DATABASE_URL=${DATABASE_URL}"),
        ("SSH-PORT", &server.sshd().port.to_string()),
        ("SSH-USER", server.login().name()),
        ("SSH-KNOWN-HOSTS", &server.sshd().known_hosts_line()),
        ("SSH-PRIVATE-KEY", server.sshd().key().expose()),
    ] {
        step.env(format!("INPUT_{input}"), value);
    }
}

/// Returns the same command of another build of the program.
pub(crate) fn step_of(
    program: &Path,
    world: &World,
    database: &Database,
    command: &str,
    files: &Path,
    bastion: u16,
) -> Command {
    let mut step = Command::new(program);
    step.env_clear().envs(RUNNER).envs(IMAGE).current_dir(world.home()).stdin(Stdio::null()).stdout(Stdio::piped());
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
