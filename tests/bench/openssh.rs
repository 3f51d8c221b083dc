//! The peer of the tunnel: `ssh -L`, as scripts use it.
#![expect(clippy::disallowed_methods, reason = "starts the peer")]

use crate::{lab::poll, usage, world::World};
use std::{
    fs,
    net::{TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    time::Duration,
};

/// The ports of a forwarding: from a local port to one that the bastion reaches.
#[derive(Debug, Clone, Copy)]
struct Ports {
    /// The bastion's port, or that of the delay line to it.
    bastion: u16,
    local: u16,
    target: u16,
}

/// Returns an `ssh` command for the forwarding, without this machine's configuration and without an agent.
fn ssh(world: &World, ports: Ports) -> Command {
    let Ports { bastion, local, target } = ports;
    let known_hosts = world.home().join(format!("known_hosts_{bastion}"));
    fs::write(&known_hosts, world.known_hosts(bastion) + "\n").expect("there is room");
    let mut ssh = Command::new("ssh");
    ssh.args(["-F", "none", "-N", "-o", "ExitOnForwardFailure=yes", "-o", "StrictHostKeyChecking=yes"]);
    ssh.args(["-o", "IdentitiesOnly=yes", "-o", "IdentityAgent=none", "-o"]);
    ssh.arg(format!("UserKnownHostsFile={}", known_hosts.display())).arg("-i").arg(world.key());
    ssh.args(["-p", &bastion.to_string(), "-L", &format!("127.0.0.1:{local}:127.0.0.1:{target}")]);
    ssh.arg(format!("{}@127.0.0.1", world.lab.bastion.user()));
    ssh.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    ssh
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
    listener.local_addr().expect("a bound socket has an address").port()
}

/// Runs `ssh -f` to the database, which returns once the forwarding is open. The `ssh` in the background ends when its
/// connection is cut. Returns the local port.
pub(crate) fn in_background(world: &World, bastion: u16) -> u16 {
    let ports = Ports { bastion, local: free_port(), target: world.database_port() };
    let status = ssh(world, ports).arg("-f").status().expect("ssh is installed");
    assert!(status.success(), "ssh -L to the bastion: {status}");
    ports.local
}

/// `ssh -L` in the foreground, for as long as the value lives.
#[derive(Debug)]
pub(crate) struct Forward {
    child: Child,
    /// The local port.
    pub(crate) port: u16,
}

impl Forward {
    /// Starts `ssh -L` and waits until it listens.
    pub(crate) fn start(world: &World, bastion: u16, target: u16) -> Self {
        let ports = Ports { bastion, local: free_port(), target };
        let child = ssh(world, ports).spawn().expect("ssh is installed");
        let forward = Self { child, port: ports.local };
        let listens = || TcpStream::connect(("127.0.0.1", ports.local)).ok();
        poll(Duration::from_secs(10), listens).expect("ssh -L listens");
        forward
    }

    /// Returns its CPU time so far.
    pub(crate) fn usage(&self) -> Duration {
        usage::of_process(self.child.id())
    }
}

impl Drop for Forward {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
