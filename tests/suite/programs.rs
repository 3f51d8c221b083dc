//! Programs on the bastion, each on a channel of its own, against a real sshd.

use crate::{
    bastion::echo,
    lab::sshd::{Sshd, SshdOptions},
};
use bastion_migrate::{
    fault::Code,
    run::event::Events,
    ssh::{OutputChunk, ProcessExit, RemoteProcess, Route, Tunnel},
};
use std::time::{Duration, Instant};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    time::{sleep, timeout},
};

fn run<T>(test: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(test)
}

/// A login of the test's own: what root's start-up files do is not known.
fn login(config: &str) -> Sshd {
    let shell = Some("/bin/sh".to_owned());
    Sshd::start(&SshdOptions { shell, config: config.to_owned(), ..SshdOptions::default() })
}

async fn connect(route: &Route) -> Tunnel {
    let (events, _told) = Events::channel();
    Tunnel::connect(route, &events).await.unwrap_or_else(|fault| panic!("{fault:?}")).0
}

/// What a program said, and its end.
async fn all(process: RemoteProcess, input: &[u8]) -> (Vec<u8>, Vec<u8>, ProcessExit) {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let said = process.run_with_input(input, |piece| match piece {
        OutputChunk::Stdout(bytes) => out.extend_from_slice(bytes),
        OutputChunk::Stderr(bytes) => err.extend_from_slice(bytes),
    });
    let end = timeout(Duration::from_secs(60), said).await.expect("no stall").unwrap();
    (out, err, end)
}

#[test]
fn a_program_ends_by_a_code_or_by_a_signal() {
    run(async {
        let sshd = login("");
        let tunnel = connect(&sshd.route()).await;
        for (line, expected) in [
            ("exit 0", ProcessExit::Exited(0)),
            ("exit 7", ProcessExit::Exited(7)),
            ("exit 255", ProcessExit::Exited(255)),
            ("kill -9 $$", ProcessExit::Signalled("KILL".to_owned())),
            ("kill -TERM $$", ProcessExit::Signalled("TERM".to_owned())),
            ("exec >&- 2>&-; sleep 0.3; exit 3", ProcessExit::Exited(3)),
            ("exit 4 </dev/null", ProcessExit::Exited(4)),
        ] {
            let process = tunnel.start_program(line).await.unwrap();
            assert_eq!(all(process, b"").await, (Vec::new(), Vec::new(), expected), "{line}");
        }
        tunnel.close().await.unwrap();
    });
}

#[test]
fn input_reaches_its_end_and_both_outputs_stay_apart() {
    run(async {
        let sshd = login("");
        let tunnel = connect(&sshd.route()).await;
        let process = tunnel.start_program("cat; echo one >&2; echo two; echo three >&2; exit 5").await.unwrap();
        let (out, err, end) = all(process, b"input ").await;
        assert_eq!(
            (out.as_slice(), err.as_slice(), end),
            (b"input two\n".as_slice(), b"one\nthree\n".as_slice(), ProcessExit::Exited(5))
        );
        tunnel.close().await.unwrap();
    });
}

#[test]
fn ten_megabytes_go_each_way_unharmed() {
    run(async {
        let sshd = login("RekeyLimit 4M");
        let tunnel = connect(&sshd.route()).await;
        let sent: Vec<u8> =
            (0..10 << 20_u32).map(|index: u32| u8::try_from((index ^ (index >> 9)) & 0xff).unwrap()).collect();
        // bash keeps the copy for standard error in a pipe of its own.
        let process = tunnel.start_program("bash -c 'tee >(cat >&2)'").await.unwrap();
        let (out, err, end) = all(process, &sent).await;
        assert!(out == sent && err == sent, "{} and {} of {} bytes", out.len(), err.len(), sent.len());
        assert_eq!(end, ProcessExit::Exited(0));
        tunnel.close().await.unwrap();
    });
}

#[test]
fn an_output_that_nobody_reads_holds_up_no_other_channel() {
    run(async {
        let sshd = login("");
        let tunnel = connect(&sshd.route()).await;
        let mut lazy = tunnel.start_program("head -c 20000000 /dev/zero >&2; echo done").await.unwrap();
        let process = tunnel.start_program("head -c 1000000 /dev/zero").await.unwrap();
        assert_eq!(all(process, b"").await.0.len(), 1_000_000);
        let mut said = Vec::new();
        assert!(timeout(Duration::from_millis(300), lazy.stdio.read_to_end(&mut said)).await.is_err(), "it waits");
        let (out, err, end) = all(lazy, b"").await;
        assert_eq!((out.as_slice(), err.len(), end), (b"done\n".as_slice(), 20_000_000, ProcessExit::Exited(0)));
        tunnel.close().await.unwrap();
    });
}

/// What the server says at the end of a program, and at the beginning and the end of a connection, comes in one piece with the
/// answers on another connection, as it happens. No keepalive wakes anybody here; `ssh::scripted` has each order by itself.
#[test]
fn a_program_that_ends_keeps_no_answer_on_another_channel() {
    run(async {
        let sshd = login("");
        let (port, _echo) = echo().await;
        let tunnel = connect(&Route { keepalive: Duration::from_secs(86_400), ..sshd.route() }).await;
        let mut asked = tunnel.open_stream("127.0.0.1", port).await.unwrap();
        for round in 0..100_u8 {
            let program = async {
                let process = tunnel.start_program("echo hi; exit 3").await.unwrap();
                assert_eq!(all(process, b"").await, (b"hi\n".to_vec(), Vec::new(), ProcessExit::Exited(3)));
            };
            let answers = async {
                for word in 0..20 {
                    asked.write_all(&[round, word]).await.unwrap();
                    let mut back = [0; 2];
                    asked.read_exact(&mut back).await.unwrap();
                    assert_eq!(back, [round, word]);
                }
            };
            let come_and_go = async {
                for _ in 0..3 {
                    let mut stream = tunnel.open_stream("127.0.0.1", port).await.unwrap();
                    stream.write_all(b"hello").await.unwrap();
                    stream.shutdown().await.unwrap();
                    let mut back = Vec::new();
                    stream.read_to_end(&mut back).await.unwrap();
                    assert_eq!(back, b"hello");
                }
            };
            let all = async { tokio::join!(program, answers, come_and_go) };
            timeout(Duration::from_secs(60), all).await.unwrap_or_else(|_| panic!("round {round} stands still"));
        }
        tunnel.close().await.unwrap();
    });
}

#[test]
fn a_program_that_does_not_read_its_input_still_ends() {
    run(async {
        let sshd = login("");
        let tunnel = connect(&sshd.route()).await;
        let process = tunnel.start_program("exit 2").await.unwrap();
        assert_eq!(all(process, &vec![0; 8 << 20]).await.2, ProcessExit::Exited(2));
        tunnel.close().await.unwrap();
    });
}

#[test]
fn many_programs_run_at_once() {
    run(async {
        let sshd = login("MaxSessions 50");
        let tunnel = connect(&sshd.route()).await;
        let many = (0..40).map(|number| {
            let tunnel = &tunnel;
            async move {
                let line = format!("cat; echo {number}; echo {number} >&2; exit {number}");
                let (out, err, end) = all(tunnel.start_program(&line).await.unwrap(), b"in ").await;
                assert_eq!(String::from_utf8(out).unwrap(), format!("in {number}\n"));
                assert_eq!(String::from_utf8(err).unwrap(), format!("{number}\n"));
                assert_eq!(end, ProcessExit::Exited(number));
            }
        });
        futures_util::future::join_all(many).await;
        tunnel.close().await.unwrap();
    });
}

#[test]
fn a_program_that_is_dropped_takes_its_channel_along_and_no_other() {
    run(async {
        let sshd = login("");
        let tunnel = connect(&sshd.route()).await;
        let mut kept = tunnel.start_program("cat").await.unwrap();
        for line in ["cat", "yes", "exec cat >&- 2>&-"] {
            // More than the server has sessions: those that stayed would be missed.
            for _ in 0..20 {
                let mut dropped = eventually_open(&tunnel, line).await;
                drop(timeout(Duration::from_millis(5), dropped.stdio.write_all(&[0; 300_000])).await);
            }
        }
        kept.stdio.write_all(b"still here").await.unwrap();
        let mut back = [0; 10];
        kept.stdio.read_exact(&mut back).await.unwrap();
        assert_eq!(&back, b"still here");
        assert_eq!(tunnel.loss_fault(), None);
        drop(kept);
        tunnel.close().await.unwrap();
    });
}

#[test]
fn the_connections_own_fault_is_why_a_program_is_not_heard_any_more() {
    run(async {
        let sshd = login("");
        let tunnel = connect(&sshd.route()).await;
        let process = tunnel.start_program("exec sleep 1000").await.unwrap();
        let killed = async {
            sleep(Duration::from_millis(100)).await;
            sshd.kill_sessions();
        };
        let (ended, ()) = tokio::join!(process.run_with_input(b"", |_| {}), killed);
        let fault = ended.unwrap_err();
        assert_eq!(fault.code, Code::BastionLost);
        assert_eq!(Some(&fault), tunnel.loss_fault().as_ref());
        assert_eq!(tunnel.start_program("true").await.unwrap_err(), fault);
        tunnel.close().await.unwrap();
    });
}

#[test]
fn a_server_without_sessions_says_so() {
    run(async {
        let sshd = login("MaxSessions 0");
        let tunnel = connect(&sshd.route()).await;
        let fault = tunnel.start_program("true").await.unwrap_err();
        assert_eq!(fault.code, Code::ExecNoChannel, "{fault:?}");
        assert_eq!(tunnel.loss_fault(), None);
        tunnel.close().await.unwrap();
    });
}

#[test]
fn a_program_that_says_nothing_costs_nothing() {
    run(async {
        let sshd = login("");
        let tunnel = connect(&sshd.route()).await;
        let process = tunnel.start_program("sleep 2").await.unwrap();
        let begun = (ticks(), Instant::now());
        assert_eq!(all(process, b"").await.2, ProcessExit::Exited(0));
        let spent = ticks() - begun.0;
        assert!(spent <= 2, "{spent} ticks in {:?}", begun.1.elapsed());
        tunnel.close().await.unwrap();
    });
}

/// sshd has a channel for it as soon as it has seen the end of an earlier program.
async fn eventually_open(tunnel: &Tunnel, line: &str) -> RemoteProcess {
    let deadline = Instant::now() + Duration::from_secs(5);
    loop {
        match tunnel.start_program(line).await {
            Ok(process) => return process,
            Err(fault) => assert!(Instant::now() < deadline, "{line}: {fault:?}"),
        }
        sleep(Duration::from_millis(50)).await;
    }
}

/// CPU time of this thread, in ticks of 10 ms.
fn ticks() -> u64 {
    let stat = std::fs::read_to_string("/proc/thread-self/stat").unwrap();
    let (_, rest) = stat.rsplit_once(") ").unwrap();
    rest.split(' ').skip(11).take(2).map(|field| field.parse::<u64>().unwrap()).sum()
}
