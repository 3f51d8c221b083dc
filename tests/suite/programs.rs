//! Programs on the bastion, each on its own channel, against a real sshd.

use crate::{
    bastion::echo,
    lab::sshd::{Sshd, SshdOptions},
};
use bastion_migrate::{
    fault::Code,
    run::{event::Events, process::OutputChunk},
    ssh::{ProcessExit, RemoteProcess, Route, Tunnel},
    way::WayIn,
};
use std::time::{Duration, Instant};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    time::{sleep, timeout},
};

fn block_on<T>(test: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(test)
}

/// Starts an sshd with a login for the test, because root's start-up files are unknown.
fn start_sshd(config: &str) -> Sshd {
    let shell = Some("/bin/sh".to_owned());
    Sshd::start(&SshdOptions { shell, config: config.to_owned(), ..SshdOptions::default() })
}

async fn connect(route: &Route) -> Tunnel {
    let (events, _receiver) = Events::channel();
    Tunnel::connect(route, &WayIn::Direct, &events).await.unwrap_or_else(|fault| panic!("{fault:?}")).0
}

/// Runs a program with this input to its end and returns its standard output, standard error and exit.
async fn run_to_end(process: RemoteProcess, input: &[u8]) -> (Vec<u8>, Vec<u8>, ProcessExit) {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let running = process.run_with_input(input, |chunk| match chunk {
        OutputChunk::Stdout(bytes) => out.extend_from_slice(bytes),
        OutputChunk::Stderr(bytes) => err.extend_from_slice(bytes),
    });
    let end = timeout(Duration::from_secs(60), running).await.expect("no stall").unwrap();
    (out, err, end)
}

#[test]
fn a_program_ends_with_an_exit_code_or_a_signal() {
    block_on(async {
        let sshd = start_sshd("");
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
            assert_eq!(run_to_end(process, b"").await, (Vec::new(), Vec::new(), expected), "{line}");
        }
        tunnel.close().await.unwrap();
    });
}

#[test]
fn input_is_closed_and_both_outputs_stay_separate() {
    block_on(async {
        let sshd = start_sshd("");
        let tunnel = connect(&sshd.route()).await;
        let process = tunnel.start_program("cat; echo one >&2; echo two; echo three >&2; exit 5").await.unwrap();
        let (out, err, end) = run_to_end(process, b"input ").await;
        assert_eq!(
            (out.as_slice(), err.as_slice(), end),
            (b"input two\n".as_slice(), b"one\nthree\n".as_slice(), ProcessExit::Exited(5))
        );
        tunnel.close().await.unwrap();
    });
}

#[test]
fn ten_megabytes_pass_unchanged_in_each_direction() {
    block_on(async {
        let sshd = start_sshd("RekeyLimit 4M");
        let tunnel = connect(&sshd.route()).await;
        let sent: Vec<u8> =
            (0..10 << 20_u32).map(|index: u32| u8::try_from((index ^ (index >> 9)) & 0xff).unwrap()).collect();
        // bash uses a separate pipe for the copy to standard error.
        let process = tunnel.start_program("bash -c 'tee >(cat >&2)'").await.unwrap();
        let (out, err, end) = run_to_end(process, &sent).await;
        assert!(out == sent && err == sent, "{} and {} of {} bytes", out.len(), err.len(), sent.len());
        assert_eq!(end, ProcessExit::Exited(0));
        tunnel.close().await.unwrap();
    });
}

#[test]
fn an_unread_output_does_not_block_other_channels() {
    block_on(async {
        let sshd = start_sshd("");
        let tunnel = connect(&sshd.route()).await;
        let mut unread = tunnel.start_program("head -c 20000000 /dev/zero >&2; echo done").await.unwrap();
        let process = tunnel.start_program("head -c 1000000 /dev/zero").await.unwrap();
        assert_eq!(run_to_end(process, b"").await.0.len(), 1_000_000);
        let mut output = Vec::new();
        assert!(timeout(Duration::from_millis(300), unread.stdio.read_to_end(&mut output)).await.is_err(), "it waits");
        let (out, err, end) = run_to_end(unread, b"").await;
        assert_eq!((out.as_slice(), err.len(), end), (b"done\n".as_slice(), 20_000_000, ProcessExit::Exited(0)));
        tunnel.close().await.unwrap();
    });
}

/// The server's messages at the end of a program, and at the start and the end of a connection, may arrive together
/// with data of another channel. No keepalive wakes the client here; `ssh::scripted` tests each order
/// deterministically.
#[test]
fn the_end_of_a_program_does_not_delay_data_on_another_channel() {
    block_on(async {
        let sshd = start_sshd("");
        let (port, _echo) = echo().await;
        let tunnel = connect(&Route { keepalive: Duration::from_secs(86_400), ..sshd.route() }).await;
        let mut echo_stream = tunnel.open_stream("127.0.0.1", port).await.unwrap();
        for round in 0..100_u8 {
            let program = async {
                let process = tunnel.start_program("echo hi; exit 3").await.unwrap();
                assert_eq!(run_to_end(process, b"").await, (b"hi\n".to_vec(), Vec::new(), ProcessExit::Exited(3)));
            };
            let echoes = async {
                for number in 0..20 {
                    echo_stream.write_all(&[round, number]).await.unwrap();
                    let mut back = [0; 2];
                    echo_stream.read_exact(&mut back).await.unwrap();
                    assert_eq!(back, [round, number]);
                }
            };
            let short_streams = async {
                for _ in 0..3 {
                    let mut stream = tunnel.open_stream("127.0.0.1", port).await.unwrap();
                    stream.write_all(b"hello").await.unwrap();
                    stream.shutdown().await.unwrap();
                    let mut back = Vec::new();
                    stream.read_to_end(&mut back).await.unwrap();
                    assert_eq!(back, b"hello");
                }
            };
            let together = async { tokio::join!(program, echoes, short_streams) };
            timeout(Duration::from_secs(60), together).await.unwrap_or_else(|_| panic!("round {round} hangs"));
        }
        tunnel.close().await.unwrap();
    });
}

#[test]
fn a_program_that_does_not_read_its_input_still_ends() {
    block_on(async {
        let sshd = start_sshd("");
        let tunnel = connect(&sshd.route()).await;
        let process = tunnel.start_program("exit 2").await.unwrap();
        assert_eq!(run_to_end(process, &vec![0; 8 << 20]).await.2, ProcessExit::Exited(2));
        tunnel.close().await.unwrap();
    });
}

#[test]
fn many_programs_run_at_once() {
    block_on(async {
        let sshd = start_sshd("MaxSessions 50");
        let tunnel = connect(&sshd.route()).await;
        let many = (0..40).map(|number| {
            let tunnel = &tunnel;
            async move {
                let line = format!("cat; echo {number}; echo {number} >&2; exit {number}");
                let (out, err, end) = run_to_end(tunnel.start_program(&line).await.unwrap(), b"in ").await;
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
fn dropping_a_program_closes_its_channel_and_no_other() {
    block_on(async {
        let sshd = start_sshd("");
        let tunnel = connect(&sshd.route()).await;
        let mut kept = tunnel.start_program("cat").await.unwrap();
        for line in ["cat", "yes", "exec cat >&- 2>&-"] {
            // More than the server's session limit, so that sessions which stay open would be noticed.
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
fn a_lost_connection_is_the_fault_of_its_running_programs() {
    block_on(async {
        let sshd = start_sshd("");
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
fn a_server_that_allows_no_sessions_is_reported() {
    block_on(async {
        let sshd = start_sshd("MaxSessions 0");
        let tunnel = connect(&sshd.route()).await;
        let fault = tunnel.start_program("true").await.unwrap_err();
        assert_eq!(fault.code, Code::ExecNoChannel, "{fault:?}");
        assert_eq!(tunnel.loss_fault(), None);
        tunnel.close().await.unwrap();
    });
}

#[test]
fn a_silent_program_uses_no_cpu_time() {
    block_on(async {
        let sshd = start_sshd("");
        let tunnel = connect(&sshd.route()).await;
        let process = tunnel.start_program("sleep 2").await.unwrap();
        let before = (ticks(), Instant::now());
        assert_eq!(run_to_end(process, b"").await.2, ProcessExit::Exited(0));
        let spent = ticks() - before.0;
        assert!(spent <= 2, "{spent} ticks in {:?}", before.1.elapsed());
        tunnel.close().await.unwrap();
    });
}

/// Starts a program once sshd has noticed the end of an earlier one.
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

/// Returns the CPU time of this thread, in ticks of 10 ms.
fn ticks() -> u64 {
    let stat = std::fs::read_to_string("/proc/thread-self/stat").unwrap();
    let (_, rest) = stat.rsplit_once(") ").unwrap();
    rest.split(' ').skip(11).take(2).map(|field| field.parse::<u64>().unwrap()).sum()
}
