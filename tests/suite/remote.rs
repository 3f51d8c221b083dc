//! Commands on the deployment server, which outlive their connection, against a real sshd and a real login.
#![expect(clippy::disallowed_methods, reason = "reads the process list, as any user on the server can")]

use crate::{
    flights::Flights,
    lab::{
        poll,
        sshd::{Sshd, SshdOptions},
    },
};
use bastion_migrate::{
    fault::{Code, Fault},
    run::{
        event::{Event, Events},
        process::{ExitStatus, FollowOutput, Output},
    },
    secret::Secret,
    server::{CommandInput, FollowedCommand, OrphanOutcome, OrphanedRun, Server, ShellScript, WaitingCommand},
    ssh::Tunnel,
    way::WayIn,
};
use std::{
    cell::RefCell,
    fs,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    time::{Duration, Instant},
};
use tokio::{
    sync::mpsc::UnboundedReceiver,
    time::{sleep, timeout},
};

const GRACE: Duration = Duration::from_secs(3);

fn block_on<T>(test: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(test)
}

fn start_sshd(shell: &str) -> Sshd {
    start_configured_sshd(shell, "")
}

fn start_configured_sshd(shell: &str, config: &str) -> Sshd {
    let options = SshdOptions { shell: Some(shell.to_owned()), config: config.to_owned(), ..SshdOptions::default() };
    Sshd::start(&options)
}

async fn connect(sshd: &Sshd) -> Tunnel {
    connect_to_port(sshd, sshd.port).await
}

async fn connect_to_port(sshd: &Sshd, port: u16) -> Tunnel {
    let (events, _receiver) = Events::channel();
    let mut route = sshd.route();
    route.hops[0].port = port;
    route.known_hosts = Some(format!("[127.0.0.1]:{port} {}", sshd.host_key("ed25519")));
    Tunnel::connect(&route, &WayIn::Direct, &events).await.unwrap_or_else(|fault| panic!("{fault:?}")).0
}

fn server(label: &str) -> (Server, UnboundedReceiver<Event>) {
    let (events, receiver) = Events::channel();
    (Server::new("~/project", label, events).unwrap(), receiver)
}

/// A script that consists of a command only.
fn command(command: &str) -> ShellScript {
    ShellScript { title: "the command".to_owned(), command: command.to_owned(), ..ShellScript::default() }
}

/// The output lines of a command.
#[derive(Debug, Default)]
struct OutputLines(RefCell<Vec<String>>);

impl OutputLines {
    fn push(&self, output: Output<'_>) {
        let line = match output {
            Output::Stdout(line) => format!("out {line}"),
            Output::Stderr(line) => format!("err {line}"),
            Output::PartialLine(_) => return,
        };
        self.0.borrow_mut().push(line);
    }

    fn of(&self, stream: &str) -> Vec<String> {
        self.0.borrow().iter().filter_map(|line| line.strip_prefix(stream)).map(|line| line.trim().to_owned()).collect()
    }
}

/// Takes the slot again and follows the running command over this connection.
async fn reattach(
    server: &Server,
    tunnel: &Tunnel,
    on_output: impl FnMut(Output<'_>),
) -> Result<Option<ExitStatus>, Fault> {
    server.retake_slot(tunnel).await?;
    server.resume_following(tunnel, on_output).await
}

/// Takes the slot, runs the script and releases the slot.
async fn run_in_slot(sshd: &Sshd, script: &ShellScript) -> (Result<ExitStatus, Fault>, OutputLines) {
    let tunnel = connect(sshd).await;
    let (server, _receiver) = server("this run");
    assert_eq!(server.take_slot(&tunnel, Duration::ZERO).await.unwrap(), None);
    let output_lines = OutputLines::default();
    let ended =
        timeout(Duration::from_secs(30), server.run_script(&tunnel, script, |output| output_lines.push(output)))
            .await
            .unwrap();
    server.release_slot(&tunnel).await.unwrap();
    tunnel.close().await.unwrap();
    assert_nothing_left(sshd);
    (ended, output_lines)
}

fn assert_nothing_left(sshd: &Sshd) {
    let gone = || (sshd.processes().is_empty() && !sshd.home().join(".bastion-migrate").exists()).then_some(());
    if poll(Duration::from_secs(5), gone).is_none() {
        panic!("left behind: {:?} {:?}", sshd.processes(), files(&sshd.home()));
    }
}

/// Lists all files below, as (path, content).
fn files(directory: &Path) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        if entry.path().is_dir() {
            found.extend(files(&entry.path()));
        }
        // Reading a pipe would wait for its end.
        let content = if entry.path().is_file() { fs::read(entry.path()).unwrap_or_default() } else { Vec::new() };
        found.push((entry.path().display().to_string(), String::from_utf8_lossy(&content).into_owned()));
    }
    found
}

fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    assert!(poll(Duration::from_secs(10), || holds().then_some(())).is_some(), "{what}");
}

#[test]
fn the_output_and_the_exit_status_of_a_command_are_returned() {
    block_on(async {
        let sshd = start_sshd("/bin/bash");
        for (line, status) in [
            ("echo one; echo two >&2; printf three", ExitStatus::Exited(0)),
            ("echo one; echo two >&2; printf three; exit 3", ExitStatus::Exited(3)),
            ("echo one; echo two >&2; printf three; kill -9 $$", ExitStatus::Signalled(9)),
            ("echo one; echo two >&2; printf three; sh -c 'kill -TERM $$'", ExitStatus::Signalled(15)),
        ] {
            let (ended, output_lines) = run_in_slot(&sshd, &command(line)).await;
            assert_eq!(ended.unwrap(), status, "{line}");
            assert_eq!(
                (output_lines.of("out"), output_lines.of("err").first().cloned()),
                (vec!["one".into(), "three".into()], Some("two".into()))
            );
        }
    });
}

#[test]
fn a_partial_line_is_reported_before_it_ends() {
    block_on(async {
        let sshd = start_sshd("/bin/sh");
        let tunnel = connect(&sshd).await;
        let (server, _receiver) = server("this run");
        server.take_slot(&tunnel, Duration::ZERO).await.unwrap();
        let observed = RefCell::new(Vec::new());
        let script = command("printf 'Applying... '; sleep 1; echo OK");
        server.run_script(&tunnel, &script, |output| observed.borrow_mut().push(format!("{output:?}"))).await.unwrap();
        assert_eq!(*observed.borrow(), ["PartialLine(\"Applying... \")", "Stdout(\"Applying... OK\")"]);
        server.release_slot(&tunnel).await.unwrap();
        tunnel.close().await.unwrap();
        assert_nothing_left(&sshd);
    });
}

#[test]
fn a_command_gets_its_directory_its_variables_and_its_setup() {
    block_on(async {
        let sshd = start_sshd("/bin/bash");
        let project = sshd.home().join("my project");
        fs::create_dir_all(project.join("../venv/bin")).unwrap_or_default();
        fs::create_dir_all(&project).unwrap();
        fs::create_dir_all(sshd.home().join("venv/bin")).unwrap();
        fs::write(sshd.home().join("venv/bin/activate"), "VENV=active\n").unwrap();
        for directory in ["my project", "~/my project", project.to_str().unwrap()] {
            let script = ShellScript {
                working_directory: Some(directory.to_owned()),
                env: vec![("SECRET".to_owned(), Secret::new("it's $HOME\n\"ünï\""))],
                setup: "source ../venv/bin/activate".to_owned(),
                command: "pwd; echo \"$VENV\"; echo \"$SECRET\"; umask; cat; ls -a /proc/self/fd".to_owned(),
                ..ShellScript::default()
            };
            let (ended, output_lines) = run_in_slot(&sshd, &script).await;
            assert_eq!(ended.unwrap(), ExitStatus::Exited(0), "{output_lines:?}");
            let out = output_lines.of("out");
            // The login's own umask, not ours; only the three standard file descriptors and that of `ls`.
            let expected =
                [project.to_str().unwrap(), "active", "it's $HOME", "\"ünï\"", "0022", ".", "..", "0", "1", "2", "3"];
            assert_eq!(out, expected, "{directory}");
        }
    });
}

#[test]
fn a_command_runs_under_every_login_shell() {
    block_on(async {
        let bin = tempfile::tempdir().unwrap();
        fs::set_permissions(bin.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let programs =
            ["sh", "cat", "sleep", "mkdir", "rmdir", "mv", "rm", "tail", "dd", "chmod", "setsid", "kill", "echo", "wc"];
        // With and without pipes that have a name.
        let place = |name: &str, busybox: bool, programs: &[&str]| {
            let directory = bin.path().join(name);
            fs::create_dir(&directory).unwrap();
            for program in programs {
                let target = match (busybox, *program) {
                    (true, _) => "/usr/bin/busybox".to_owned(),
                    (false, "sh") => "/usr/bin/dash".to_owned(),
                    (false, _) => format!("/usr/bin/{program}"),
                };
                std::os::unix::fs::symlink(target, directory.join(program)).unwrap();
            }
            directory.display().to_string()
        };
        let with_pipes = [programs.as_slice(), &["mkfifo"]].concat();
        let (box_only, old_box) = (place("box", true, &with_pipes), place("old-box", true, &programs));
        let (no_bash, old_dash) = (place("dash", false, &with_pipes), place("old-dash", false, &programs));
        let (box_shell, old_box_shell) = (format!("{box_only}/sh"), format!("{old_box}/sh"));
        for (shell, path) in [
            ("/bin/bash", "/usr/bin:/bin"),
            ("/usr/bin/dash", "/usr/bin:/bin"),
            ("/usr/bin/dash", &no_bash),
            ("/usr/bin/dash", &old_dash),
            (&box_shell, &box_only),
            (&old_box_shell, &old_box),
            ("/usr/bin/tcsh", "/usr/bin:/bin"),
            ("/usr/bin/fish", "/usr/bin:/bin"),
        ] {
            assert!(Path::new(shell).exists(), "`{shell}` is not installed: apt-get install busybox tcsh fish");
            let sshd = start_configured_sshd(shell, &format!("SetEnv PATH={path}"));
            let line = "echo \"${BASH_VERSION:+bash}\"; echo problem >&2; sleep 1; printf done; exit 4";
            let (ended, output_lines) = run_in_slot(&sshd, &command(line)).await;
            let bash = path == "/usr/bin:/bin";
            assert_eq!(ended.unwrap(), ExitStatus::Exited(4), "{shell} {path}: {output_lines:?}");
            let out = if bash { vec!["bash", "done"] } else { vec!["done"] };
            assert_eq!(
                (output_lines.of("out"), output_lines.of("err")),
                (out.iter().map(|&line| line.to_owned()).collect(), vec!["problem".into()])
            );
            assert_terminates(&sshd).await;
        }
    });
}

/// Checks that a command which ignores SIGTERM is ended with its children under this login shell.
async fn assert_terminates(sshd: &Sshd) {
    let tunnel = connect(sshd).await;
    let (server, _receiver) = server("this run");
    server.take_slot(&tunnel, Duration::ZERO).await.unwrap();
    let script = command("trap '' TERM; sleep 1000 & echo up; while :; do sleep 1; done");
    let up = RefCell::new(false);
    {
        let mut running = Box::pin(server.run_script(&tunnel, &script, |_| *up.borrow_mut() = true));
        while !*up.borrow() {
            drop(timeout(Duration::from_millis(50), &mut running).await);
        }
    }
    server.terminate_command(&tunnel, Duration::from_secs(1)).await.unwrap();
    // The follower and the slot holder are sh and cat; no sleep of the command is left.
    assert!(!sshd.processes().iter().any(|(_, line)| line.contains("sleep 1000")), "{:?}", sshd.processes());
    server.release_slot(&tunnel).await.unwrap();
    tunnel.close().await.unwrap();
    assert_nothing_left(sshd);
}

#[test]
fn output_of_the_login_itself_is_not_the_commands_output() {
    block_on(async {
        let sshd = start_sshd("/bin/bash");
        fs::write(sshd.home().join(".bashrc"), "echo welcome; echo beware >&2; printf '\\001ended 0\\n'\n").unwrap();
        let (ended, output_lines) = run_in_slot(&sshd, &command("printf '\\0011 ended 0\\n'; exit 9")).await;
        assert_eq!(ended.unwrap(), ExitStatus::Exited(9));
        assert_eq!((output_lines.of("out"), output_lines.of("err")), (vec!["\u{1}1 ended 0".to_owned()], Vec::new()));
    });
}

#[test]
fn no_secret_is_in_the_process_list_or_on_the_disk() {
    block_on(async {
        let sshd = start_sshd("/bin/bash");
        let tunnel = connect(&sshd).await;
        let (server, _receiver) = server("this run");
        server.take_slot(&tunnel, Duration::ZERO).await.unwrap();
        // Larger than any pipe, so that any intermediate storage would be noticed.
        let secret = format!("s3cret-of-the-server{}", "x".repeat(300_000));
        let script = ShellScript {
            env: (0..3)
                .map(|number| {
                    (format!("SECRET_{number}"), Secret::new(secret.chars().take(100_000).collect::<String>()))
                })
                .collect(),
            ..command("echo up; sleep 2; echo ${#SECRET_2}")
        };
        let output_lines = OutputLines::default();
        let observed = RefCell::new(String::new());
        let observe = async {
            for _ in 0..100 {
                let listed = std::process::Command::new("ps").args(["auxww"]).output().unwrap();
                observed.borrow_mut().push_str(&String::from_utf8_lossy(&listed.stdout));
                for (path, content) in files(&sshd.home()) {
                    observed.borrow_mut().extend([path.as_str(), ": ", content.as_str(), "\n"]);
                }
                sleep(Duration::from_millis(10)).await;
            }
        };
        let (ended, ()) =
            tokio::join!(server.run_script(&tunnel, &script, |output| output_lines.push(output)), observe);
        assert_eq!(
            (ended.unwrap(), output_lines.of("out")),
            (ExitStatus::Exited(0), vec!["up".to_owned(), "100000".to_owned()])
        );
        assert!(observed.borrow().contains("/out: up"), "the files were read");
        assert!(observed.borrow().contains("bastion-migrate"), "the process list was read");
        assert!(!observed.borrow().contains("s3cret-of-the-server"), "a secret was seen");
        server.release_slot(&tunnel).await.unwrap();
        tunnel.close().await.unwrap();
        assert_nothing_left(&sshd);
    });
}

/// A script that counts to `count` on both streams, one line per 10 ms, and exits with 6.
fn counting_script(count: usize) -> ShellScript {
    command(&format!("i=0; while [ $i -lt {count} ]; do i=$((i+1)); echo $i; echo e$i >&2; sleep 0.01; done; exit 6"))
}

fn expected_count(count: usize) -> (Vec<String>, Vec<String>) {
    ((1..=count).map(|number| number.to_string()).collect(), (1..=count).map(|number| format!("e{number}")).collect())
}

#[test]
fn a_command_outlives_its_connection_and_no_line_is_lost_or_repeated() {
    block_on(async {
        let sshd = start_sshd("/bin/bash");
        let (server, _receiver) = server("this run");
        let output_lines = OutputLines::default();
        let mut tunnel = connect(&sshd).await;
        server.take_slot(&tunnel, Duration::ZERO).await.unwrap();
        let script = counting_script(200);
        let kill_sessions = |sshd: &Sshd| sshd.kill_sessions();
        let mut ended = {
            let lost = async {
                sleep(Duration::from_millis(700)).await;
                kill_sessions(&sshd);
            };
            tokio::join!(server.run_script(&tunnel, &script, |output| output_lines.push(output)), lost).0.map(Some)
        };
        for loss in 1.. {
            let fault = match ended {
                Ok(status) => {
                    assert_eq!((status, loss > 3), (Some(ExitStatus::Exited(6)), true));
                    break;
                }
                Err(fault) => fault,
            };
            assert_eq!(fault.code, Code::BastionLost, "{fault:?}");
            tunnel.close().await.unwrap_or_default();
            sleep(Duration::from_millis(200)).await;
            tunnel = connect(&sshd).await;
            let mut reattached = Box::pin(reattach(&server, &tunnel, |output| output_lines.push(output)));
            ended = match timeout(Duration::from_millis(500), &mut reattached).await {
                Ok(ended) => ended,
                Err(_) => {
                    sshd.kill_sessions();
                    reattached.await
                }
            };
        }
        let status = reattach(&server, &tunnel, |output| output_lines.push(output)).await;
        assert_eq!(status.unwrap(), Some(ExitStatus::Exited(6)), "an ended command keeps its status");
        assert_eq!((output_lines.of("out"), output_lines.of("err")), expected_count(200));
        server.release_slot(&tunnel).await.unwrap();
        tunnel.close().await.unwrap();
        assert_nothing_left(&sshd);
    });
}

/// Runs a command that reads a line after it has printed `ready`, up to that.
async fn run_until_ready(server: &Server, tunnel: &Tunnel, text: &str, output_lines: &OutputLines) -> WaitingCommand {
    let script = ShellScript { input: CommandInput::Lines, ..command(text) };
    let followed = server.run_until_prompt(tunnel, &script, |output| until_ready(output, output_lines)).await.unwrap();
    let FollowedCommand::Waiting(waiting) = followed else { panic!("{followed:?}: {output_lines:?}") };
    waiting
}

fn until_ready(output: Output<'_>, output_lines: &OutputLines) -> FollowOutput {
    output_lines.push(output);
    if output == Output::Stdout("ready") { FollowOutput::Stop } else { FollowOutput::Continue }
}

#[test]
fn a_command_gets_each_line_after_its_prompt_and_its_set_up_gets_none() {
    block_on(async {
        for shell in ["/bin/bash", "/bin/dash"] {
            let sshd = start_sshd(shell);
            let (server, _receiver) = server("this run");
            let (output_lines, tunnel) = (OutputLines::default(), connect(&sshd).await);
            server.take_slot(&tunnel, Duration::ZERO).await.unwrap();
            let text = "for turn in 1 2; do echo ready; read -r line; echo \"got $line\"; done; cat; exit 6";
            let script =
                ShellScript { input: CommandInput::Lines, setup: "cat; echo \"set up\"".to_owned(), ..command(text) };
            let on_output = |output: Output<'_>| until_ready(output, &output_lines);
            let first = server.run_until_prompt(&tunnel, &script, on_output).await.unwrap();
            let FollowedCommand::Waiting(waiting) = first else { panic!("{first:?}") };
            let second = server.continue_with_line(&tunnel, waiting, "one\n", on_output).await.unwrap();
            let FollowedCommand::Waiting(waiting) = second else { panic!("{second:?}") };
            let last = server.continue_with_last_line(&tunnel, waiting, "two $x\n", on_output).await.unwrap();
            assert!(matches!(last, FollowedCommand::Exited(ExitStatus::Exited(6))), "{last:?}");
            assert_eq!(output_lines.of("out"), ["set up", "ready", "got one", "ready", "got two $x"]);
            server.release_slot(&tunnel).await.unwrap();
            tunnel.close().await.unwrap();
            assert_nothing_left(&sshd);
        }
    });
}

/// A command that waits for a line, reads it and is done a second later.
const READING: &str = "echo ready; read -r line; echo \"got $line\"; touch ~/got; sleep 1; exit 6";

#[test]
fn a_line_that_is_lost_with_the_connection_never_arrives() {
    block_on(async {
        let (sshd, (server, _receiver)) = (start_sshd("/bin/bash"), server("this run"));
        let (network, output_lines) = (Flights::to(sshd.port), OutputLines::default());
        let tunnel = connect_to_port(&sshd, network.port()).await;
        server.take_slot(&tunnel, Duration::ZERO).await.unwrap();
        let waiting = run_until_ready(&server, &tunnel, READING, &output_lines).await;
        network.freeze();
        let on_output = |output: Output<'_>| until_ready(output, &output_lines);
        let cut = async {
            sleep(Duration::from_millis(300)).await;
            network.cut();
            network.thaw();
        };
        let (lost, ()) = tokio::join!(server.continue_with_last_line(&tunnel, waiting, "go\n", on_output), cut);
        assert_eq!(lost.unwrap_err().code, Code::BastionLost);
        tunnel.close().await.unwrap_or_default();
        let tunnel = connect(&sshd).await;
        let ended = reattach(&server, &tunnel, |output| output_lines.push(output)).await;
        assert_eq!(ended.unwrap(), None, "it can be run again");
        let again = server.run_script(&tunnel, &command("echo again"), |output| output_lines.push(output)).await;
        assert_eq!(again.unwrap(), ExitStatus::Exited(0));
        assert_eq!(output_lines.of("out"), ["ready", "again"]);
        assert!(!sshd.home().join("got").exists());
        server.release_slot(&tunnel).await.unwrap();
        tunnel.close().await.unwrap();
        assert_nothing_left(&sshd);
    });
}

#[test]
fn a_command_that_got_its_line_outlives_the_connection() {
    block_on(async {
        let (sshd, (server, _receiver)) = (start_sshd("/bin/bash"), server("this run"));
        let (output_lines, tunnel) = (OutputLines::default(), connect(&sshd).await);
        server.take_slot(&tunnel, Duration::ZERO).await.unwrap();
        let waiting = run_until_ready(&server, &tunnel, READING, &output_lines).await;
        let on_output = |output: Output<'_>| until_ready(output, &output_lines);
        let cut = async {
            while !sshd.home().join("got").exists() {
                sleep(Duration::from_millis(20)).await;
            }
            sshd.kill_sessions();
        };
        let (lost, ()) = tokio::join!(server.continue_with_last_line(&tunnel, waiting, "go\n", on_output), cut);
        assert_eq!(lost.unwrap_err().code, Code::BastionLost);
        tunnel.close().await.unwrap_or_default();
        let tunnel = connect(&sshd).await;
        let ended = reattach(&server, &tunnel, |output| output_lines.push(output)).await;
        assert_eq!(ended.unwrap(), Some(ExitStatus::Exited(6)));
        assert_eq!(output_lines.of("out"), ["ready", "got go"]);
        server.release_slot(&tunnel).await.unwrap();
        tunnel.close().await.unwrap();
        assert_nothing_left(&sshd);
    });
}

#[test]
fn a_command_whose_input_ends_is_waited_for() {
    block_on(async {
        let (sshd, (server, _receiver)) = (start_sshd("/bin/bash"), server("this run"));
        let (output_lines, tunnel) = (OutputLines::default(), connect(&sshd).await);
        server.take_slot(&tunnel, Duration::ZERO).await.unwrap();
        let waiting = run_until_ready(&server, &tunnel, READING, &output_lines).await;
        server.end_input(&tunnel, waiting).await.unwrap();
        assert!(!server.may_be_running() && output_lines.of("out") == ["ready"], "{output_lines:?}");
        server.release_slot(&tunnel).await.unwrap();
        tunnel.close().await.unwrap();
        assert_nothing_left(&sshd);
    });
}

/// Starts a command and follows it until its first line.
async fn start_and_follow<'f>(
    server: &'f Server,
    tunnel: &'f Tunnel,
    script: &'f ShellScript,
    output_lines: &'f OutputLines,
) -> std::pin::Pin<Box<impl Future<Output = Result<ExitStatus, Fault>> + 'f>> {
    let mut running = Box::pin(server.run_script(tunnel, script, |output| output_lines.push(output)));
    while output_lines.of("out").is_empty() {
        assert!(timeout(Duration::from_millis(20), &mut running).await.is_err(), "{output_lines:?}");
    }
    running
}

/// Polling would be a `sleep` for each look, and late by as much.
#[test]
fn nothing_sleeps_while_a_command_runs() {
    block_on(async {
        let bin = tempfile::tempdir().unwrap();
        fs::set_permissions(bin.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let recorder = "#!/bin/sh\necho slept >>~/slept\nexec /usr/bin/sleep \"$@\"\n";
        fs::write(bin.path().join("sleep"), recorder).unwrap();
        fs::set_permissions(bin.path().join("sleep"), fs::Permissions::from_mode(0o755)).unwrap();
        for shell in ["/bin/bash", "/usr/bin/dash"] {
            let path = format!("SetEnv PATH={}:/usr/bin:/bin", bin.path().display());
            let sshd = start_configured_sshd(shell, &path);
            let line = "for turn in 1 2 3; do echo $turn; /usr/bin/sleep 0.7; echo e$turn >&2; done";
            let (ended, output_lines) = run_in_slot(&sshd, &command(line)).await;
            assert_eq!(ended.unwrap(), ExitStatus::Exited(0));
            assert_eq!((output_lines.of("out").len(), output_lines.of("err").len()), (3, 3), "{output_lines:?}");
            assert_eq!(fs::read_to_string(sshd.home().join("slept")).unwrap_or_default(), "");
            let (ended, _) = run_in_slot(&sshd, &command("sleep 0.1")).await;
            assert_eq!(ended.unwrap(), ExitStatus::Exited(0));
            assert_eq!(fs::read_to_string(sshd.home().join("slept")).unwrap(), "slept\n", "the recorder works");
        }
    });
}

#[test]
fn the_end_is_that_of_the_command_and_not_of_its_output() {
    block_on(async {
        let sshd = start_sshd("/bin/bash");
        let late = sshd.home().join("late");
        // A process that keeps the output is not waited for.
        let (server, _receiver) = server("this run");
        let (tunnel, output_lines) = (connect(&sshd).await, OutputLines::default());
        server.take_slot(&tunnel, Duration::ZERO).await.unwrap();
        let script = command("echo up; (sleep 20; touch ~/late) & exit 4");
        let ended = server.run_script(&tunnel, &script, |output| output_lines.push(output)).await;
        assert_eq!((ended.unwrap(), late.exists()), (ExitStatus::Exited(4), false));
        // A command that has closed its output is.
        let script = command("exec >/dev/null 2>&1; sleep 1; touch ~/late; exit 5");
        let ended = server.run_script(&tunnel, &script, |output| output_lines.push(output)).await;
        assert_eq!((ended.unwrap(), late.exists()), (ExitStatus::Exited(5), true));
        assert_eq!(output_lines.of("out"), ["up"]);
        server.release_slot(&tunnel).await.unwrap();
        tunnel.close().await.unwrap();
    });
}

#[test]
fn a_flood_of_output_arrives_once_and_whole() {
    block_on(async {
        let (sshd, (server, _receiver)) = (start_sshd("/bin/bash"), server("this run"));
        let (mut tunnel, lines) = (connect(&sshd).await, RefCell::new(0_u32));
        server.take_slot(&tunnel, Duration::ZERO).await.unwrap();
        let script = command("awk 'BEGIN { for (n = 1; n <= 100000; n++) printf \"%-999d\\n\", n; exit 7 }'");
        let count = |output: Output<'_>| {
            if let Output::Stdout(line) = output {
                *lines.borrow_mut() += 1;
                assert_eq!((line.trim_end(), line.len()), (lines.borrow().to_string().as_str(), 999));
            }
        };
        let lost = async {
            while *lines.borrow() < 20_000 {
                sleep(Duration::from_millis(5)).await;
            }
            sshd.kill_sessions();
        };
        let (ended, ()) = tokio::join!(server.run_script(&tunnel, &script, count), lost);
        assert_eq!(ended.unwrap_err().code, Code::BastionLost);
        tunnel.close().await.unwrap_or_default();
        tunnel = connect(&sshd).await;
        assert_eq!(reattach(&server, &tunnel, count).await.unwrap(), Some(ExitStatus::Exited(7)));
        assert_eq!(*lines.borrow(), 100_000);
        server.release_slot(&tunnel).await.unwrap();
        tunnel.close().await.unwrap();
        assert_nothing_left(&sshd);
    });
}

#[test]
fn what_follows_a_command_ends_with_the_connection() {
    block_on(async {
        for shell in ["/bin/bash", "/usr/bin/dash"] {
            let (sshd, (server, _receiver)) = (start_sshd(shell), server("this run"));
            let (tunnel, output_lines) = (connect(&sshd).await, OutputLines::default());
            server.take_slot(&tunnel, Duration::ZERO).await.unwrap();
            let script = command("echo up; while ! [ -e ~/go ]; do /usr/bin/sleep 0.1; done; exit 5");
            let running = start_and_follow(&server, &tunnel, &script, &output_lines).await;
            let followers = || {
                let is_follower = |line: &&(u32, String)| line.1.contains(" tail --pid=") || line.1.ends_with(" sh -s");
                sshd.processes().iter().filter(is_follower).count()
            };
            assert!(followers() > 0);
            sshd.kill_sessions();
            assert_eq!(running.await.unwrap_err().code, Code::BastionLost);
            eventually("nothing follows it any more", || followers() == 0);
            tunnel.close().await.unwrap_or_default();
            fs::write(sshd.home().join("go"), "").unwrap();
            let tunnel = connect(&sshd).await;
            let ended = reattach(&server, &tunnel, |output| output_lines.push(output)).await;
            assert_eq!(ended.unwrap(), Some(ExitStatus::Exited(5)));
            server.release_slot(&tunnel).await.unwrap();
            tunnel.close().await.unwrap();
            assert_nothing_left(&sshd);
        }
    });
}

#[test]
fn a_killed_reader_of_the_output_costs_no_line() {
    block_on(async {
        let (sshd, (server, _receiver)) = (start_sshd("/bin/bash"), server("this run"));
        let (tunnel, output_lines) = (connect(&sshd).await, OutputLines::default());
        server.take_slot(&tunnel, Duration::ZERO).await.unwrap();
        let script = command("echo 1; while ! [ -e ~/go ]; do /usr/bin/sleep 0.1; done; echo 2; echo e2 >&2; exit 5");
        let running = start_and_follow(&server, &tunnel, &script, &output_lines).await;
        let readers = sshd.processes().into_iter().filter(|(_, line)| line.contains(" tail --pid="));
        let readers: Vec<String> = readers.map(|(pid, _)| pid.to_string()).collect();
        assert_eq!(readers.len(), 2);
        assert!(std::process::Command::new("kill").arg("-KILL").args(readers).status().unwrap().success());
        eventually("they are gone", || !sshd.processes().iter().any(|(_, line)| line.contains(" tail --pid=")));
        fs::write(sshd.home().join("go"), "").unwrap();
        assert_eq!(running.await.unwrap_err().code, Code::BastionLost);
        let ended = reattach(&server, &tunnel, |output| output_lines.push(output)).await;
        assert_eq!(ended.unwrap(), Some(ExitStatus::Exited(5)));
        assert_eq!((output_lines.of("out"), output_lines.of("err")), (vec!["1".into(), "2".into()], vec!["e2".into()]));
        server.release_slot(&tunnel).await.unwrap();
        tunnel.close().await.unwrap();
        assert_nothing_left(&sshd);
    });
}

#[test]
fn a_command_whose_wrapper_is_killed_is_followed_to_its_end() {
    block_on(async {
        let (sshd, (server, _receiver)) = (start_sshd("/bin/bash"), server("this run"));
        let (tunnel, output_lines) = (connect(&sshd).await, OutputLines::default());
        server.take_slot(&tunnel, Duration::ZERO).await.unwrap();
        let script = command("echo up; sleep 2; echo late");
        let running = start_and_follow(&server, &tunnel, &script, &output_lines).await;
        let pids = files(&sshd.home()).into_iter().filter(|(path, _)| path.ends_with("/pid"));
        let pid = pids.map(|(_, text)| text.split(' ').next().unwrap().to_owned()).collect::<Vec<_>>();
        assert!(std::process::Command::new("kill").arg("-KILL").args(pid).status().unwrap().success());
        assert_eq!(running.await.unwrap(), ExitStatus::Signalled(9));
        assert_eq!(output_lines.of("out"), ["up", "late"]);
        server.release_slot(&tunnel).await.unwrap();
        tunnel.close().await.unwrap();
        assert_nothing_left(&sshd);
    });
}

#[test]
fn a_command_keeps_running_while_the_network_is_frozen() {
    block_on(async {
        let sshd = start_sshd("/bin/bash");
        let network = Flights::to(sshd.port);
        let (server, _receiver) = server("this run");
        let output_lines = OutputLines::default();
        let tunnel = connect_to_port(&sshd, network.port()).await;
        server.take_slot(&tunnel, Duration::ZERO).await.unwrap();
        let done = sshd.home().join("done");
        let script = command(
            "echo up; sleep 1; i=0; while [ $i -lt 200 ]; do i=$((i+1)); printf '%5000s\\n' $i; done; touch ~/done; sleep 1; exit 6",
        );
        let frozen = async {
            sleep(Duration::from_millis(500)).await;
            network.freeze();
            eventually("the command is not held up", || done.exists());
            network.cut();
            network.thaw();
        };
        let (ended, ()) = tokio::join!(server.run_script(&tunnel, &script, |output| output_lines.push(output)), frozen);
        assert_eq!(ended.unwrap_err().code, Code::BastionLost);
        tunnel.close().await.unwrap_or_default();
        let tunnel = connect(&sshd).await;
        let ended = reattach(&server, &tunnel, |output| output_lines.push(output)).await.unwrap();
        assert_eq!(ended, Some(ExitStatus::Exited(6)));
        let expected: Vec<String> =
            ["up".to_owned()].into_iter().chain((1..=200).map(|number| number.to_string())).collect();
        assert_eq!(output_lines.of("out"), expected);
        server.release_slot(&tunnel).await.unwrap();
        tunnel.close().await.unwrap();
        assert_nothing_left(&sshd);
    });
}

#[test]
fn a_command_whose_start_was_lost_can_be_started_again() {
    block_on(async {
        let sshd = start_sshd("/bin/bash");
        let (server, _receiver) = server("this run");
        let tunnel = connect(&sshd).await;
        server.take_slot(&tunnel, Duration::ZERO).await.unwrap();
        sshd.kill_sessions();
        let script = command("touch ~/ran");
        let fault = server.run_script(&tunnel, &script, |_| {}).await.unwrap_err();
        assert_eq!(fault.code, Code::BastionLost);
        tunnel.close().await.unwrap_or_default();
        let tunnel = connect(&sshd).await;
        assert_eq!(reattach(&server, &tunnel, |_| {}).await.unwrap(), None);
        assert_eq!(server.run_script(&tunnel, &script, |_| {}).await.unwrap(), ExitStatus::Exited(0));
        assert!(sshd.home().join("ran").exists());
        server.release_slot(&tunnel).await.unwrap();
        tunnel.close().await.unwrap();
        assert_nothing_left(&sshd);
    });
}

#[test]
fn a_delayed_start_request_does_not_start_the_command() {
    block_on(async {
        let sshd = start_sshd("/bin/bash");
        let network = Flights::to(sshd.port);
        let (server, _receiver) = server("this run");
        let tunnel = connect_to_port(&sshd, network.port()).await;
        server.take_slot(&tunnel, Duration::ZERO).await.unwrap();
        // The start request is in sshd's socket, not read yet.
        sshd.freeze_sessions();
        let script = command("touch ~/ran");
        let running = server.run_script(&tunnel, &script, |_| {});
        assert!(timeout(Duration::from_millis(300), running).await.is_err());
        let other = connect(&sshd).await;
        assert_eq!(reattach(&server, &other, |_| {}).await.unwrap(), None);
        sshd.thaw_sessions();
        sleep(Duration::from_secs(1)).await;
        assert!(!sshd.home().join("ran").exists());
        server.release_slot(&other).await.unwrap();
        tunnel.close().await.unwrap();
        other.close().await.unwrap();
        assert_nothing_left(&sshd);
    });
}

#[test]
fn termination_ends_all_processes_of_the_command() {
    block_on(async {
        let sshd = start_sshd("/bin/bash");
        let tidied_file = sshd.home().join("tidy");
        for (line, grace, tidied) in [
            // The children get SIGTERM as well, once, and time to exit.
            ("sh -c 'trap \"sleep 1; echo x >>~/tidy; exit 0\" TERM; echo up; while :; do sleep 0.1; done'", 5, true),
            ("trap '' TERM; sleep 1000 & echo up; sleep 1001", 1, false),
            // In a separate process group, which `timeout` creates.
            ("timeout 1000 sh -c 'trap \"\" TERM; echo up; sleep 1002'", 1, false),
        ] {
            drop(fs::remove_file(&tidied_file));
            let tunnel = connect(&sshd).await;
            let (server, _receiver) = server("this run");
            assert_eq!(server.terminate_command(&tunnel, GRACE).await, Ok(()), "nothing runs");
            server.take_slot(&tunnel, Duration::ZERO).await.unwrap();
            let (output_lines, script) = (OutputLines::default(), command(line));
            {
                let mut running = Box::pin(server.run_script(&tunnel, &script, |output| output_lines.push(output)));
                while output_lines.of("out").is_empty() {
                    assert!(timeout(Duration::from_millis(20), &mut running).await.is_err(), "{output_lines:?}");
                }
            }
            server.terminate_command(&tunnel, Duration::from_secs(grace)).await.unwrap();
            let left = sshd.processes().into_iter().filter(|(_, line)| line.contains("sleep")).collect::<Vec<_>>();
            assert!(!left.iter().any(|(_, line)| line.contains("sleep 100")), "{line}: {left:?}");
            assert_eq!(fs::read_to_string(&tidied_file).unwrap_or_default(), if tidied { "x\n" } else { "" }, "{line}");
            server.release_slot(&tunnel).await.unwrap();
            tunnel.close().await.unwrap();
            assert_nothing_left(&sshd);
        }
    });
}

#[test]
fn the_second_of_two_runs_waits_and_names_the_slot_holder() {
    block_on(async {
        let sshd = start_sshd("/bin/bash");
        let (one, _receiver) = server("https://example.test/run/1");
        let (two, mut receiver) = server("https://example.test/run/2");
        let (first, second) = (connect(&sshd).await, connect(&sshd).await);
        one.take_slot(&first, Duration::ZERO).await.unwrap();
        let fault = two.take_slot(&second, Duration::from_secs(1)).await.unwrap_err();
        assert_eq!(fault.code, Code::LockHeld);
        assert!(fault.cause.contains("https://example.test/run/1 (process "), "{}", fault.cause);
        let Ok(Event::Waiting { why, .. }) = receiver.try_recv() else { panic!("no event was sent") };
        assert!(why.contains("https://example.test/run/1"), "{why}");
        let leaving = async {
            sleep(Duration::from_millis(500)).await;
            one.release_slot(&first).await.unwrap();
        };
        let (entered, ()) = tokio::join!(two.take_slot(&second, Duration::from_secs(20)), leaving);
        assert_eq!(entered.unwrap(), None);
        two.release_slot(&second).await.unwrap();
        for tunnel in [first, second] {
            tunnel.close().await.unwrap();
        }
        assert_nothing_left(&sshd);
    });
}

#[test]
fn concurrent_runs_hold_the_slot_one_at_a_time() {
    block_on(async {
        let sshd = start_configured_sshd("/bin/sh", "MaxSessions 100");
        let marker = sshd.home().join("mark");
        let many = (0..6).map(|number| {
            let (sshd, marker) = (&sshd, &marker);
            async move {
                let tunnel = connect(sshd).await;
                let (server, _receiver) = server(&format!("run {number}"));
                server.take_slot(&tunnel, Duration::from_secs(60)).await.unwrap();
                assert!(!marker.exists(), "two at once");
                fs::write(marker, "").unwrap();
                sleep(Duration::from_millis(100)).await;
                fs::remove_file(marker).unwrap();
                server.release_slot(&tunnel).await.unwrap();
                tunnel.close().await.unwrap();
            }
        });
        futures_util::future::join_all(many).await;
        assert_nothing_left(&sshd);
    });
}

/// Starts the command and drops the connection after its first line.
async fn start_and_disconnect(sshd: &Sshd, script: &ShellScript) {
    let tunnel = connect(sshd).await;
    let (server, _receiver) = server("the run before");
    server.take_slot(&tunnel, Duration::ZERO).await.unwrap();
    let output_lines = OutputLines::default();
    {
        let mut running = Box::pin(server.run_script(&tunnel, script, |output| output_lines.push(output)));
        while output_lines.of("out").is_empty() {
            drop(timeout(Duration::from_millis(20), &mut running).await);
        }
    }
    drop(server);
    drop(tunnel);
}

#[test]
fn the_next_run_settles_an_orphaned_command() {
    block_on(async {
        let sshd = start_sshd("/bin/bash");
        let orphaned = |outcome, out: &[&str], err: &[&str]| OrphanedRun {
            label: "the run before".to_owned(),
            title: "the command".to_owned(),
            outcome,
            out: out.iter().map(|&line| line.to_owned()).collect(),
            err: err.iter().map(|&line| line.to_owned()).collect(),
        };
        // The command still runs, so the next run waits for it.
        start_and_disconnect(&sshd, &command("echo up; sleep 3; echo done; echo bad >&2; exit 6")).await;
        let tunnel = connect(&sshd).await;
        let (one, mut receiver) = server("this run");
        let fault = one.take_slot(&tunnel, Duration::ZERO).await.unwrap_err();
        assert_eq!(fault.code, Code::LockHeld, "{fault:?}");
        let found = one.take_slot(&tunnel, Duration::from_secs(20)).await.unwrap();
        assert_eq!(found, Some(orphaned(OrphanOutcome::Exited(6), &["up", "done"], &["bad"])));
        let waiting =
            std::iter::from_fn(|| receiver.try_recv().ok()).map(|event| format!("{event:?}")).collect::<String>();
        assert!(waiting.contains("the run before (its connection is gone, its command is still running)"), "{waiting}");
        // It is settled only once.
        one.release_slot(&tunnel).await.unwrap();
        assert_eq!(one.take_slot(&tunnel, Duration::ZERO).await.unwrap(), None);
        one.release_slot(&tunnel).await.unwrap();
        assert_nothing_left(&sshd);

        start_and_disconnect(&sshd, &command("echo up; kill -9 0; sleep 100")).await;
        let (two, _receiver) = server("this run");
        assert_eq!(
            two.take_slot(&tunnel, Duration::from_secs(9)).await.unwrap(),
            Some(orphaned(OrphanOutcome::Killed, &["up"], &[]))
        );
        two.release_slot(&tunnel).await.unwrap();
        tunnel.close().await.unwrap();
        assert_nothing_left(&sshd);
    });
}

#[test]
fn a_run_that_reconnects_too_late_finds_its_slot_taken() {
    block_on(async {
        let sshd = start_sshd("/bin/bash");
        let (one, _receiver) = server("the run before");
        let tunnel = connect(&sshd).await;
        one.take_slot(&tunnel, Duration::ZERO).await.unwrap();
        let script = command("echo up; exit 1");
        one.run_script(&tunnel, &script, |_| {}).await.unwrap();
        sshd.kill_sessions();
        let second = connect(&sshd).await;
        let (two, _receiver) = server("this run");
        let found = two.take_slot(&second, Duration::from_secs(9)).await.unwrap().unwrap();
        assert_eq!(found.outcome, OrphanOutcome::Exited(1));
        let fault = reattach(&one, &second, |_| {}).await.unwrap_err();
        assert_eq!(fault.code, Code::LockLost);
        assert_eq!(one.run_script(&second, &script, |_| {}).await.unwrap_err().code, Code::LockLost);
        one.release_slot(&second).await.unwrap();
        assert_eq!(
            two.run_script(&second, &script, |_| {}).await.unwrap(),
            ExitStatus::Exited(1),
            "the slot still belongs to the other run"
        );
        two.release_slot(&second).await.unwrap();
        drop(tunnel);
        second.close().await.unwrap();
        assert_nothing_left(&sshd);
    });
}

#[test]
fn the_cause_that_prevents_a_command_from_starting_is_named() {
    block_on(async {
        let sshd = start_sshd("/bin/bash");
        let closed = sshd.home().join("closed");
        fs::create_dir_all(closed.join("inner")).unwrap();
        fs::write(sshd.home().join("file"), "").unwrap();
        // Owned by root.
        fs::set_permissions(&closed, fs::Permissions::from_mode(0o700)).unwrap();
        let cases = [
            ("nowhere/app", "", Code::ServerDirectoryMissing, "project directory not found: `nowhere/app`"),
            ("/nowhere", "", Code::ServerDirectoryMissing, "`/nowhere` does not exist"),
            ("~/file", "", Code::ServerDirectoryMissing, "is not a directory"),
            ("~/file/x", "", Code::ServerDirectoryMissing, "project directory not found"),
            ("closed", "", Code::ServerDirectoryForbidden, "permission denied: the login may not enter `closed`"),
            ("~/closed/inner", "", Code::ServerDirectoryForbidden, "may not enter `~/closed/inner`"),
            ("~", "false", Code::ServerSetupFailed, "a line of `setup` failed on the server with code 1"),
            ("~", "nonsense-here", Code::ServerSetupFailed, "code 127"),
            ("~", "exit 0", Code::ServerSetupFailed, "code 0"),
            ("~", "cd .\nsource venv/bin/activate", Code::ServerSetupFailed, "no virtual environment at `venv`"),
        ];
        for (directory, setup, code, cause) in cases {
            let script = ShellScript {
                working_directory: Some(directory.to_owned()),
                setup: setup.to_owned(),
                ..command("touch ~/ran")
            };
            let fault = run_in_slot(&sshd, &script).await.0.unwrap_err();
            assert_eq!(fault.code, code, "{directory} {setup}: {fault:?}");
            assert!(fault.cause.contains(cause), "{}", fault.cause);
            assert!(!sshd.home().join("ran").exists());
        }
    });
}

#[test]
fn a_login_without_a_shell_or_a_home_is_reported() {
    block_on(async {
        let refused = async |sshd: &Sshd| {
            let tunnel = connect(sshd).await;
            let (server, _receiver) = server("this run");
            let fault = server.take_slot(&tunnel, Duration::ZERO).await.unwrap_err();
            tunnel.close().await.unwrap();
            fault
        };
        let nologin = start_sshd("/usr/sbin/nologin");
        let fault = refused(&nologin).await;
        assert_eq!(fault.code, Code::ServerNoShell);
        assert!(fault.detail[0].contains("This account is currently not available."), "{fault:?}");
        for forced in ["ForceCommand /bin/false", "ForceCommand echo only backups"] {
            let fault = refused(&start_configured_sshd("/bin/bash", forced)).await;
            assert_eq!(fault.code, Code::ServerNoShell, "{forced}: {fault:?}");
        }
        let sshd = start_sshd("/bin/bash");
        fs::set_permissions(sshd.home(), fs::Permissions::from_mode(0o500)).unwrap();
        assert_eq!(refused(&sshd).await.code, Code::ServerHome);
        fs::set_permissions(sshd.home(), fs::Permissions::from_mode(0o700)).unwrap();
        fs::create_dir(sshd.home().join(".bastion-migrate")).unwrap();
        assert_eq!(refused(&sshd).await.code, Code::ServerHome, "owned by root");
    });
}

#[test]
fn a_command_costs_one_channel() {
    block_on(async {
        let sshd = start_sshd("/bin/bash");
        let tunnel = connect(&sshd).await;
        let (server, _receiver) = server("this run");
        let started = Instant::now();
        server.take_slot(&tunnel, Duration::ZERO).await.unwrap();
        let entered = started.elapsed();
        for _ in 0..3 {
            server.run_script(&tunnel, &command("true"), |_| {}).await.unwrap();
        }
        let ran = started.elapsed();
        server.release_slot(&tunnel).await.unwrap();
        eprintln!("entered {entered:?}, three commands {:?}, left {:?}", ran - entered, started.elapsed() - ran);
        let sessions = sshd.log().matches("Starting session: command").count();
        assert_eq!(sessions, 5);
        tunnel.close().await.unwrap();
        assert_nothing_left(&sshd);
    });
}
