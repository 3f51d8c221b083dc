//! Planted faults on the deployment server.

use super::{Expected, fault, finds, is_healthy, text, warning};
use crate::{
    action::Action,
    lab::{
        Lab,
        server::Server,
        sshd::{Sshd, SshdOptions},
    },
    own_tool,
};
use std::{fs, os::unix::fs::PermissionsExt as _};

fn shop<'a>(lab: &'a Lab, server: &'a Server) -> Action<'a> {
    own_tool::shop(lab, server).input("command", "doctor")
}

#[test]
fn a_directory_or_an_environment_that_is_not_there_is_found() {
    let lab = Lab::new();
    let server = own_tool::server(&lab);
    finds(
        "directory",
        shop(&lab, &server).input("working-directory", "shops"),
        fault("server-directory-missing", 2, "working-directory", "`shops` does not exist", "as `pwd` shows it"),
    );
    finds(
        "venv",
        shop(&lab, &server).input("setup", ". ./env\nsource ../venv/bin/activate"),
        fault("server-setup-failed", 2, "venv", "no virtual environment at `../venv`", "python3 -m venv ../venv"),
    );
    finds(
        "setup",
        shop(&lab, &server).input("setup", ". ./env\nfalse"),
        fault("server-setup-failed", 2, "tool on the server", "a line of `setup` failed", "bash -eu"),
    );
    let private = own_tool::server(&lab).file("closed/x", "");
    fs::set_permissions(private.path("closed"), fs::Permissions::from_mode(0o000)).expect("it is there");
    finds(
        "forbidden",
        shop(&lab, &private).input("working-directory", "closed"),
        fault("server-directory-forbidden", 2, "working-directory", "may not enter `closed`", "let the login"),
    );
    fs::set_permissions(private.path("closed"), fs::Permissions::from_mode(0o700)).expect("it is there");
}

#[test]
fn a_tool_that_can_not_be_run_is_found() {
    let lab = Lab::new();
    let server = own_tool::server(&lab).without("shop/shopmig");
    let expected = fault("tool-missing", 6, "tool on the server", "", "");
    finds("tool", shop(&lab, &server), expected);
    // The tool's own configuration names another database than the run.
    let other = Lab::new();
    let elsewhere = own_tool::server(&other);
    own_tool::shop(&other, &elsewhere).run().succeeds().applied(["1", "2", "3"]).done();
    let expected = fault("tool-elsewhere", 5, "tool on the server", "", "DATABASE_URL");
    finds("elsewhere", shop(&lab, &elsewhere), expected);
}

/// A tool that starts slowly is stopped, and no fault.
#[test]
fn a_tool_that_is_slow_to_start_is_not_checked_and_everything_else_is() {
    let lab = Lab::new();
    let server = own_tool::server(&lab);
    let slow = shop(&lab, &server).input("setup", ". ./env\nsleep 60");
    let findings = is_healthy(slow, &["tool on the server"]);
    let tool = findings.iter().find(|finding| text(finding, "subject") == "tool on the server").expect("it is there");
    assert!(text(tool, "detail").contains("run `command: status`, which waits for it"), "{tool:#}");
}

/// Puts a program in front of the server's own one.
fn with_program(server: Server, name: &str, script: &str) -> Server {
    let path = server.programs().join(name);
    fs::write(&path, script).expect("there is room");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("it is there");
    server
}

#[test]
fn a_wrong_clock_and_a_full_disk_are_found() {
    let lab = Lab::new();
    let server = with_program(own_tool::server(&lab), "date", "#!/bin/sh\necho 1000000000\n");
    finds(
        "clock",
        shop(&lab, &server),
        warning("clock 127.0.0.1:", "s behind the runner's", "timedatectl set-ntp true"),
    );
    let full = "#!/bin/sh\necho Filesystem 1024-blocks Used Available Capacity Mounted on\necho x 9 8 100 99% /srv\n";
    let server = with_program(own_tool::server(&lab), "df", full);
    let expected = Expected { code: "server-home", ..warning("disk", "only 103 kB free on `/srv`", "df ~") };
    finds("disk", shop(&lab, &server), expected);
}

#[test]
fn a_home_that_can_not_be_written_to_is_found() {
    let lab = Lab::new();
    let server = own_tool::server(&lab);
    fs::set_permissions(server.path(""), fs::Permissions::from_mode(0o555)).expect("it is there");
    finds(
        "home",
        shop(&lab, &server),
        fault("server-home", 2, "home", "can't write", "a home directory that it may write to"),
    );
    fs::set_permissions(server.path(""), fs::Permissions::from_mode(0o755)).expect("it is there");
}

#[test]
fn a_login_without_a_shell_is_found() {
    let lab = Lab::new();
    let closed = Sshd::start(&SshdOptions { shell: Some("/usr/sbin/nologin".to_owned()), ..SshdOptions::default() });
    let server = Server::start();
    let step = Action::on_server(&lab, &server)
        .input("run", "true")
        .input("command", "doctor")
        .input("ssh-port", closed.port.to_string())
        .input("ssh-user", closed.user())
        .input("ssh-known-hosts", closed.known_hosts_line())
        .secret("ssh-private-key", closed.key().expose());
    finds("nologin", step, fault("server-no-shell", 2, "shell", "starts no shell", "chsh"));
}
