//! Floods, stalls and endless waits: the run still ends in time, within its memory limit, and with its report.

use crate::{
    action::{Action, Running},
    judge::Finished,
    lab::{Lab, poll, stranger::FakeServer},
};
use rustix::{
    fs::{CWD, FileType, Mode, mknodat},
    process::Signal,
};
use std::{
    fs,
    io::{self, BufRead as _, BufReader, PipeReader, Read as _},
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

/// Time limit from the first signal to the end.
const BUDGET: Duration = Duration::from_secs(7);
const SOON: Duration = Duration::from_secs(20);

/// Memory limit in bytes; a run without a flood needs half of it.
const MEMORY_LIMIT: u64 = 32 << 20;

/// A file that raises more messages than can be shown in the time of a test.
const FLOOD: &str = "create table gone ();\ndo $$ begin for i in 1..100000000 loop raise notice 'row % %', i, repeat('x', 300); end loop; end $$;\n";

fn one_file<'a>(lab: &'a Lab, sql: &str) -> Action<'a> {
    Action::new(lab).file("migrations/0001_one.sql", sql)
}

/// Replaces a file by a named pipe without a writer, so that opening it blocks.
fn with_blocking_file<'a>(action: Action<'a>, path: &str) -> Action<'a> {
    let action = action.file(path, "");
    let pipe = action.workspace().join(path);
    fs::remove_file(&pipe).expect("it was just made");
    mknodat(CWD, &pipe, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).expect("a pipe can have a name");
    action
}

/// Waits until the step has installed its signal handlers.
fn wait_for_handlers(running: &mut Running<'_>) {
    let both = 1_u64 << (Signal::INT.as_raw() - 1) | 1 << (Signal::TERM.as_raw() - 1);
    let caught = |running: &Running<'_>| {
        let status = fs::read_to_string(format!("/proc/{}/status", running.pid())).ok()?;
        let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:"))?;
        u64::from_str_radix(caught.trim(), 16).ok()
    };
    poll(SOON, || (caught(running)? & both == both || running.ended().is_some()).then_some(()))
        .expect("the step has handlers");
}

/// Checks the outputs, the exit code and the time of a cancelled step whose log is not captured.
fn assert_cancelled(mut finished: Finished) {
    let mut wrong = finished.take_problems();
    for (name, expected) in [("outcome", "cancelled"), ("fault-code", "cancelled")] {
        let got = finished.outputs.get(name).cloned().unwrap_or_default();
        wrong.extend((got != expected).then(|| format!("{name} is {got}")));
    }
    wrong.extend((finished.status.code() != Some(130)).then(|| format!("the step ended with {}", finished.status)));
    wrong.extend((finished.elapsed > BUDGET).then(|| format!("the step took {:?}", finished.elapsed)));
    assert!(wrong.is_empty(), "{wrong:?}");
}

/// Sends the signal this many milliseconds after the handlers are installed.
#[test]
fn a_signal_in_the_first_moments_ends_the_step_with_its_report() {
    let moments = [0, 1, 3, 10, 30, 60, 100, 150, 200, 300].map(|millis| (millis, Signal::INT));
    let alone = [0, 10, 100, 300].map(|millis| (millis, Signal::TERM));
    for (millis, signal) in moments.into_iter().chain(alone) {
        let lab = Lab::new();
        let mut running = one_file(&lab, "create table one ();\nselect pg_sleep(60);\n").start();
        wait_for_handlers(&mut running);
        assert!(poll(Duration::from_millis(millis), || running.ended()).is_none(), "{millis}");
        running.signal(signal);
        let mut finished = running.finish();
        // After SIGTERM there are two and a half seconds until SIGKILL.
        let budget = if signal == Signal::TERM { Duration::from_secs(2) } else { BUDGET };
        if finished.outputs.get("plan-digest").is_some_and(|digest| !digest.is_empty()) {
            finished = finished.pending(["0001_one"]);
        }
        finished.fails("cancelled", 130).summary("Stopped").within(budget).done();
        assert_eq!(lab.database.sql("select to_regclass('one')"), "");
    }
}

#[test]
fn a_signal_ends_a_step_that_waits_for_a_file() {
    for (path, input) in [
        ("config.yml", ("config", "config.yml")),
        ("ours.yaml", ("tool", "./ours.yaml")),
        ("migrations/0002_pipe.sql", ("migrations", "migrations")),
    ] {
        let lab = Lab::new();
        let mut action = one_file(&lab, "select 1;\n").input(input.0, input.1);
        if input.0 == "tool" {
            action = action.input("executor", "server");
        }
        let mut running = with_blocking_file(action, path).start();
        wait_for_handlers(&mut running);
        assert!(poll(Duration::from_millis(500), || running.ended()).is_none(), "{path} was not read");
        running.signal(Signal::TERM);
        running.finish().fails("cancelled", 130).logs("stopped by SIGTERM").within(BUDGET).done();
    }
}

#[test]
fn a_blocking_file_is_waited_for_no_longer_than_the_time_limit() {
    let lab = Lab::new();
    let action = one_file(&lab, "select 1;\n").input("timeout", "1s");
    let finished = with_blocking_file(action, "migrations/0002_pipe.sql").run();
    finished.fails("timed-out", 130).within(Duration::from_secs(1) + BUDGET).done();
}

#[test]
fn a_signal_ends_a_flood_of_messages() {
    let lab = Lab::new();
    let mut running = one_file(&lab, FLOOD).start();
    running.wait_for_line("notice: row 5000 ", SOON);
    let peak = running.peak_memory();
    assert!(peak < MEMORY_LIMIT, "{peak} bytes");
    running.signal(Signal::INT);
    running.wait();
    let finished = running.finish().fails("cancelled", 130).pending(["0001_one"]).within(BUDGET);
    finished.logs("more messages, omitted for lack of time").summary("more were omitted for lack of time").done();
    assert_eq!(lab.database.sql("select to_regclass('gone')"), "");
}

#[test]
fn the_time_limit_ends_a_flood_of_messages() {
    let lab = Lab::new();
    let finished = one_file(&lab, FLOOD).input("timeout", "3s").run().fails("timed-out", 130).pending(["0001_one"]);
    finished.within(Duration::from_secs(3) + BUDGET).done();
}

/// Returns a message of the server: type, length including itself, body.
fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() + 4).expect("it is short");
    [&[kind], length.to_be_bytes().as_slice(), body].concat()
}

/// Accepts every client, and answers the first query with endless notices.
async fn send_endless_notices(_: usize, mut stream: TcpStream) {
    let mut received = [0; 4096];
    if stream.read(&mut received).await.is_err() {
        return;
    }
    let welcome = [message(b'R', &[0; 4]), message(b'K', &[0, 0, 4, 210, 0, 0, 0, 1]), message(b'Z', b"I")].concat();
    if stream.write_all(&welcome).await.is_err() || !stream.read(&mut received).await.is_ok_and(|length| length > 0) {
        return;
    }
    let notices = message(b'N', b"SNOTICE\0VNOTICE\0C00000\0Mstill thinking\0\0").repeat(1000);
    while stream.write_all(&notices).await.is_ok() {}
}

#[test]
fn endless_messages_are_waited_for_no_longer_than_the_time_limit() {
    let server = FakeServer::start(send_endless_notices);
    let lab = Lab::new();
    let url = format!("{}?sslmode=disable", lab.database.url_at("127.0.0.1", server.port));
    let action = Action::direct(&lab).file("migrations/0001_one.sql", "select 1;\n").secret("database-url", url);
    let mut running = action.input("timeout", "3s").start();
    running.wait_for_line("notice: still thinking", SOON);
    let peak =
        poll(Duration::from_secs(2), || running.ended().map(|_| ())).map_or_else(|| running.peak_memory(), |()| 0);
    assert!(peak < MEMORY_LIMIT, "{peak} bytes");
    running.wait();
    running.finish().fails("timed-out", 130).within(Duration::from_secs(3) + BUDGET).done();
}

/// Starts a step whose log goes to an unread pipe, and waits until a flood of messages has filled the pipe.
fn with_unread_log<'a>(lab: &'a Lab, sql: &str) -> (PipeReader, Running<'a>) {
    let (reader, writer) = io::pipe().expect("a pipe can be made");
    let running = one_file(lab, sql).start_on(writer.into());
    let blocked = "select count(*) from pg_stat_activity where datname = current_database() and state = 'active' \
        and application_name like 'bastion-migrate%' and query ilike '%raise notice%' and wait_event = 'ClientWrite'";
    lab.database.wait_for(blocked, "1");
    (reader, running)
}

#[test]
fn an_unread_log_does_not_delay_a_cancel() {
    for signal in [Signal::INT, Signal::TERM] {
        let lab = Lab::new();
        let (reader, running) = with_unread_log(&lab, FLOOD);
        let peak = running.peak_memory();
        assert!(peak < MEMORY_LIMIT, "{peak} bytes");
        running.signal(signal);
        assert_cancelled(running.finish());
        drop(reader);
        assert_eq!(lab.database.sql("select to_regclass('gone')"), "");
    }
}

#[test]
fn a_log_that_is_read_late_is_complete() {
    let lab = Lab::new();
    let flood = "do $$ begin for i in 1..40000 loop raise notice 'row % %', i, repeat('x', 300); end loop; end $$;\n";
    let (reader, running) = with_unread_log(&lab, flood);
    let rows = BufReader::new(reader).lines().map(|line| line.expect("it is text"));
    let number =
        |line: String| line.trim().strip_prefix("0001_one: notice: row ")?.split(' ').next()?.parse::<usize>().ok();
    let rows: Vec<usize> = rows.filter_map(number).collect();
    let wrong = rows.iter().zip(1..).find(|(row, at)| *row != at);
    assert_eq!((wrong, rows.len()), (None, 40_000));
    let finished = running.finish().succeeds().applied(["0001_one"]);
    finished.summary("NOTICE: row 40000 xxx").summary("The newest 50; the log has all.").done();
}

#[test]
fn a_step_waits_until_its_log_is_read_to_the_last_line() {
    let lab = Lab::new();
    let (mut reader, writer) = io::pipe().expect("a pipe can be made");
    let files = (1..=1_300_usize).fold(Action::new(&lab), |action, number| {
        action.file(&format!("migrations/{number:04}_with_a_name_that_takes_its_room_in_the_log.sql"), "select 1;\n")
    });
    let mut running = files.input("command", "plan").start_on(writer.into());
    assert!(poll(Duration::from_secs(2), || running.ended()).is_none(), "the step does not wait for its reader");
    let mut log = String::new();
    reader.read_to_string(&mut log).expect("it is text");
    assert!(
        log.contains("pending migrations/1300_with")
            && log.trim_end().lines().last().unwrap().contains("1300 migrations pending")
    );
    let names = (1..=1_300).map(|number| format!("{number:04}_with_a_name_that_takes_its_room_in_the_log"));
    let names: Vec<String> = names.collect();
    running.finish().has_pending().pending(names.iter().map(String::as_str)).done();
}
