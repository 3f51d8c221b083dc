//! The damage that disruptions do to containers, processes and servers.

use crate::{
    engine::{Container, docker, try_docker},
    lab::poll,
    network::Database,
};
use rustix::{
    io::Errno,
    process::{Pid, Signal, kill_process},
};
use std::{fs, time::Duration};

/// Time limit for a server to come back.
const RECOVERY: Duration = Duration::from_secs(60);

/// What PostgreSQL logs when it accepts connections, at its start and after a recovery.
const READY: &str = "database system is ready to accept connections";

/// Kills the processes of a container; returns whether it ran.
pub(super) fn kill_container(name: &str) -> bool {
    try_docker(&["kill", "--signal", "KILL", name]).status.success()
}

/// Kills the process of the engine that holds a container; returns whether it was there.
pub(super) fn kill_shim(name: &str) -> bool {
    let described = try_docker(&["inspect", "--format", "{{.Id}}", name]);
    let id = String::from_utf8_lossy(&described.stdout).trim().to_owned();
    if id.is_empty() {
        return false;
    }
    let Some(shim) = shim_of(&id) else { return false };
    match kill_process(shim, Signal::KILL) {
        Ok(()) => true,
        Err(Errno::SRCH) => false,
        Err(error) => panic!("{shim:?} can't be killed: {error}"),
    }
}

/// Finds the shim of the container with this id: `containerd-shim-runc-v2 -namespace moby -id … -address …`.
fn shim_of(id: &str) -> Option<Pid> {
    let processes = fs::read_dir("/proc").expect("Linux has it").flatten();
    let mut pids = processes.filter_map(|entry| entry.file_name().to_string_lossy().parse::<i32>().ok());
    let is_shim = |pid: &i32| {
        let line = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let mut words = line.split('\0');
        words.next().is_some_and(|program| program.contains("containerd-shim")) && words.any(|word| word == id)
    };
    pids.find(is_shim).and_then(Pid::from_raw)
}

/// Kills the processes of a machine whose command lines match; returns whether there were any.
pub(super) fn kill_processes(machine: &Container, pattern: &str) -> bool {
    machine.try_exec(&["pkill", "-KILL", "-f", pattern]).is_ok()
}

/// Kills a backend of the database that is none of the lab's, and waits for the recovery; returns whether there was one.
pub(super) fn kill_backend(database: &Database) -> bool {
    let backends = database.session().sql(
        "select pid from pg_stat_activity where datname = current_database() and application_name not like 'lab%'",
    );
    let server = database.network().postgres();
    let before = count_ready(server);
    let killed = backends.lines().any(|pid| server.try_exec(&["sh", "-c", &format!("kill -KILL {pid}")]).is_ok());
    if killed {
        wait_until_ready(server, before);
    }
    killed
}

/// Kills a database server and starts it again.
pub(super) fn restart(server: &Container) {
    let before = count_ready(server);
    docker(&["kill", "--signal", "KILL", server.id()]);
    docker(&["start", server.id()]);
    wait_until_ready(server, before);
}

fn count_ready(server: &Container) -> usize {
    server.log().matches(READY).count()
}

/// Waits until the server has accepted connections once more than `before`.
fn wait_until_ready(server: &Container, before: usize) {
    let is_ready = || (count_ready(server) > before).then_some(());
    poll(RECOVERY, is_ready).unwrap_or_else(|| panic!("PostgreSQL does not come back: {}", server.log()));
}
