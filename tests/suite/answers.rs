//! Unusual responses of a server, or of a proxy: bytes that are not UTF-8, more data than fits into memory, unexpected
//! rows, no response at all.

use crate::{
    action::{Action, Running},
    figures::peak_memory,
    lab::{
        Lab, poll,
        postgres::{PASSWORD, ROLE},
        stranger::FakeServer,
    },
};
use bastion_migrate::{
    postgres::{DatabaseTarget, OwnQuery, Rows, Session, SessionSettings, query_rows},
    run::event::Events,
    secret::Secret,
    transport::Transport,
};
use std::{thread, time::Duration};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

/// Memory limit in bytes, for a program built without optimisation; a run without a flood needs a third of it.
const MEMORY_LIMIT: u64 = 100 << 20;

/// Time limit for every wait in these tests.
const LIMIT: Duration = Duration::from_secs(60);

/// A file that sets LATIN1 and returns a value and a column name that are not UTF-8.
const LATIN1: &str =
    "set client_encoding = 'LATIN1';\ncreate table two ();\nselect x, x as U&\"caf\\00e9\" from one;\n";

/// A file that inserts a value with different bytes in LATIN1 and UTF-8.
const ONE: &str = "create table one (x text);\ninsert into one values (U&'caf\\00e9');\n";

fn three_files<'a>(lab: &'a Lab, second: &str) -> Action<'a> {
    Action::new(lab)
        .file("migrations/0001_one.sql", ONE)
        .file("migrations/0002_two.sql", second)
        .file("migrations/0003_three.sql", "create table three ();\n")
}

const ALL: [&str; 3] = ["0001_one", "0002_two", "0003_three"];

fn recorded(lab: &Lab) -> String {
    lab.database.sql("select string_agg(name, ',' order by version) from bastion_migrate.ledger")
}

/// Waits for the end of the step, and returns its peak memory.
pub(crate) fn peak_memory_until_end(running: &Running<'_>) -> u64 {
    peak_memory_within(running, LIMIT)
}

/// Waits until the step has ended, no longer than this, and returns its peak memory.
pub(crate) fn peak_memory_within(running: &Running<'_>, limit: Duration) -> u64 {
    let mut peak = 0;
    let ended = || match peak_memory(running.pid()) {
        Some(now) => {
            peak = now;
            None
        }
        None => Some(()),
    };
    poll(limit, ended).expect("the step ends");
    eprintln!("{} KiB at most", peak >> 10);
    peak
}

#[test]
fn a_file_may_return_rows_in_any_encoding() {
    let lab = Lab::new();
    three_files(&lab, LATIN1).run().succeeds().applied(ALL).logs("the ledger confirms it").done();
    assert_eq!(recorded(&lab), "one,two,three");
    let lab = Lab::new();
    let alone = format!("-- no-transaction\n{LATIN1}");
    three_files(&lab, &alone).run().succeeds().applied(ALL).logs("the ledger confirms it").done();
    assert_eq!(recorded(&lab), "one,two,three");
}

#[test]
fn a_database_without_an_encoding_returns_any_bytes() {
    let lab = Lab::encoded("SQL_ASCII");
    lab.database.sql(
        "create table people (name text, \"\u{e9}\" int); insert into people values (E'caf\\xe9'); \
        alter table people owner to app",
    );
    let second = "set client_encoding = 'SQL_ASCII';\ndelete from people returning *;\n";
    let step = Action::new(&lab).file("migrations/0001_one.sql", "create table one ();\n");
    step.file("migrations/0002_two.sql", second).run().succeeds().applied(["0001_one", "0002_two"]).done();
    assert_eq!(recorded(&lab), "one,two");
}

#[test]
fn a_database_in_latin1_is_read_and_written_correctly() {
    let lab = Lab::encoded("LATIN1");
    let step = Action::new(&lab).file("migrations/0001_größe.sql", "create table größe (länge int);\n");
    step.run().succeeds().applied(["0001_größe"]).done();
    assert_eq!(lab.database.sql("select name from bastion_migrate.ledger"), "größe");
    let step = Action::new(&lab).file("migrations/0001_größe.sql", "create table größe (länge int);\n");
    step.run().nothing_to_do().done();
}

#[test]
fn messages_in_another_encoding_are_shown_as_far_as_they_are_readable() {
    let lab = Lab::new();
    let second = "set client_encoding = 'LATIN1';\n\
        do $$ begin raise notice '%', U&'caf\\00e9 noticed'; end $$;\n\
        select * from U&\"caf\\00e9\";\n";
    let finished = three_files(&lab, second).run().fails("statement-failed", 6);
    finished
        .applied(["0001_one"])
        .pending(["0002_two", "0003_three"])
        .logs("notice: caf\u{fffd} noticed")
        .annotation("migrations/0002_two.sql", 3, "relation \"caf\u{fffd}\" does not exist")
        .done();
    assert_eq!(recorded(&lab), "one");
}

#[test]
fn the_ledger_is_not_written_in_the_encoding_of_a_file() {
    for (first, second) in [("", ""), ("-- no-transaction\n", ""), ("", "copy one (x) from stdin;\na\n\\.\n")] {
        let lab = Lab::new();
        let text = format!("{first}create table one (x text);\nset client_encoding = 'LATIN1';\n{second}");
        let step = || Action::new(&lab).file("migrations/0001_größe.sql", &text);
        step().run().succeeds().applied(["0001_größe"]).done();
        assert_eq!(recorded(&lab), "größe");
        step().run().nothing_to_do().done();
    }
}

#[test]
fn the_ledger_is_not_written_in_the_encoding_of_a_file_of_single_statements() {
    let lab = Lab::new();
    lab.database.sql(&format!(
        "create schema größe authorization app; alter database {} set search_path = größe; \
         set search_path = größe; set role app; create table _sqlx_migrations (version bigint primary key, \
         description text not null, installed_on timestamptz not null default now(), success boolean not null, \
         checksum bytea not null, execution_time bigint not null)",
        lab.database.name()
    ));
    let text = "-- no-transaction\nset client_encoding = 'LATIN1';\ncreate table two (a int);\nanalyze two;\n\
        create index concurrently two_a on two (a);\nselect 1 as U&\"caf\\00e9\";\n";
    let step = || Action::new(&lab).file("migrations/0001_übersicht.sql", text).input("layout", "sqlx");
    step().run().succeeds().applied(["0001_übersicht"]).done();
    assert_eq!(lab.database.sql("select description from größe._sqlx_migrations"), "übersicht");
    step().run().nothing_to_do().done();
}

/// After a stop the ledger is read, whatever settings and role the file had.
#[test]
fn a_run_that_is_stopped_reads_the_ledger_in_its_own_encoding_and_role() {
    let lab = Lab::new();
    // A role of its own: what `app` is granted, it has in every test of this server.
    let role = format!("other_{}", lab.database.name());
    let text = format!("-- no-transaction\nset client_encoding = 'LATIN1';\nset role {role};\nselect pg_sleep(60);\n");
    lab.database.sql(&format!("create role {role}; grant {role} to app"));
    let step = Action::new(&lab).file("migrations/0001_größe.sql", "create table one ();\n");
    let running = step.file("migrations/0002_two.sql", &text).start();
    lab.database.wait_for(
        "select count(*) from pg_stat_activity where datname = current_database() and query like 'select pg_sleep%'",
        "1",
    );
    running.signal(rustix::process::Signal::INT);
    let finished = running.finish().fails("cancelled", 130);
    finished.applied(["0001_größe"]).pending(["0002_two"]).within(Duration::from_secs(7)).done();
}

#[test]
fn millions_of_rows_are_discarded() {
    let lab = Lab::new();
    let flood = "select n, 'row ' || n from generate_series(1, 1000000) n;\nselect repeat('x', 100000000);\n";
    for first in ["", "-- no-transaction\n"] {
        let lab = if first.is_empty() { &lab } else { &Lab::new() };
        let running = three_files(lab, &format!("{first}{flood}")).start();
        let peak = peak_memory_until_end(&running);
        running.finish().succeeds().applied(ALL).done();
        assert!(peak > 0 && peak < MEMORY_LIMIT, "{peak} bytes");
    }
}

#[test]
fn a_notice_or_an_error_of_fifty_megabytes_is_cut_and_counted() {
    let lab = Lab::new();
    let body = "begin raise LEVEL 'it begins so: %', repeat('word ', 10000000); end";
    let notice = format!("do $$ {} $$;\n", body.replace("LEVEL", "notice"));
    let running = three_files(&lab, &notice).start();
    let peak = peak_memory_until_end(&running);
    let finished = running.finish().succeeds().applied(ALL).logs("notice: it begins so: word word");
    finished.logs(" … and 499").logs(" more bytes").done();
    assert!(peak > 0 && peak < MEMORY_LIMIT, "{peak} bytes");
    let lab = Lab::new();
    let running = three_files(&lab, &format!("do $$ {} $$;\n", body.replace("LEVEL", "exception"))).start();
    let peak = peak_memory_until_end(&running);
    let finished =
        running.finish().fails("statement-failed", 6).applied(["0001_one"]).pending(["0002_two", "0003_three"]);
    finished.annotation("migrations/0002_two.sql", 1, "it begins so: word").logs(" more bytes").done();
    assert!(peak > 0 && peak < MEMORY_LIMIT, "{peak} bytes");
}

/// A step's SQL file is sent unchanged, without a search for COPY.
#[test]
fn rows_that_a_step_copies_out_are_discarded() {
    let lab = Lab::new();
    let step =
        three_files(&lab, "create table two ();\n").file(".github/bastion-migrate.yml", "before: [{ sql: db/a.sql }]");
    let step = step.file("db/a.sql", "copy (select generate_series(1, 100000)) to stdout;\ncreate table zero ();\n");
    step.run().succeeds().applied(ALL).done();
    assert_eq!(lab.database.sql("select count(*) from zero"), "0");
}

#[test]
fn a_copy_without_rows_is_a_failed_statement() {
    let lab = Lab::new();
    let step =
        three_files(&lab, "create table two ();\n").file(".github/bastion-migrate.yml", "before: [{ sql: db/a.sql }]");
    let step = step.file("db/a.sql", "create table zero (a int);\ncopy zero from stdin;\n");
    let finished = step.run().fails("statement-failed", 6);
    finished
        .annotation("db/a.sql", 2, "there are no rows for a `COPY … FROM STDIN`")
        .logs("`COPY table (columns) FROM stdin;`")
        .done();
    assert_eq!(lab.database.contents(), "");
}

/// Opens a session with the program's library, without the program.
fn with_session(lab: &Lab, test: impl AsyncFnOnce(&Session)) {
    let target = DatabaseTarget {
        password: Some(Secret::new(PASSWORD)),
        ..DatabaseTarget::new("localhost", lab.database.server().port(), ROLE, lab.database.name())
    };
    let settings = SessionSettings::named("bastion-migrate");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let (events, _receiver) = Events::channel();
        let session = Session::connect(&Transport::Direct, &target, &settings, &events).await.unwrap();
        test(&session).await;
        session.close().await;
    });
}

fn one_value(text: &str) -> Rows {
    Rows::from_iter([vec![Some(text.to_owned())]])
}

#[test]
fn an_unexpected_copy_harms_neither_the_session_nor_pipelined_statements() {
    let lab = Lab::new();
    with_session(&lab, async |session| {
        let client = &session.client;
        client.batch_execute("create table t (a int)").await.unwrap();
        client.batch_execute("copy (select generate_series(1, 1000)) to stdout; copy t to stdout").await.unwrap();
        // With the next query already sent, and without.
        let copy = "insert into t values (1); copy t from stdin; insert into t values (2)";
        let count = OwnQuery::read_only("select count(*) from public.t");
        let pipelined = async { tokio::join!(client.batch_execute(copy), query_rows(client, &count)) };
        let (failed, rows) = pipelined.await;
        let failed = failed.unwrap_err();
        let message = failed.as_db_error().expect("the server reports it").message();
        assert_eq!(message, "COPY from stdin failed: bastion-migrate has no rows for this COPY");
        assert_eq!(rows.unwrap(), one_value("0"));
        assert!(client.batch_execute(copy).await.is_err());
        // An expected COPY still gets its rows.
        let sink = client.copy_in::<_, bytes::Bytes>("copy t from stdin").await.unwrap();
        let mut sink = std::pin::pin!(sink);
        futures_util::SinkExt::send(&mut sink, bytes::Bytes::from_static(b"1\n2\n")).await.unwrap();
        assert_eq!(sink.finish().await.unwrap(), 2);
        assert_eq!(query_rows(client, &count).await.unwrap(), one_value("2"));
    });
}

#[test]
fn a_result_that_is_too_long_is_a_fault_and_not_an_empty_result() {
    let lab = Lab::new();
    with_session(&lab, async |session| {
        let long = query_rows(&session.client, &OwnQuery::read_only("select repeat('x', 5000000)")).await;
        assert!(long.unwrap_err().cause.contains("a row of the database's answer is longer than"));
        let fits = query_rows(&session.client, &OwnQuery::read_only("select repeat('x', 4000000)")).await.unwrap();
        assert_eq!(fits.first_text().map(str::len), Some(4_000_000));
    });
}

/// Without the timeout the server waits without a limit in an idle transaction.
#[test]
fn a_session_that_is_idle_in_a_transaction_is_ended_by_the_server() {
    let lab = Lab::new();
    with_session(&lab, async |session| {
        let begin = "set idle_in_transaction_session_timeout = '200ms'; begin";
        session.client.batch_execute(begin).await.unwrap();
        let ended = "select count(*) from pg_stat_activity where application_name = 'bastion-migrate' \
            and datname = current_database()";
        thread::scope(|scope| scope.spawn(|| lab.database.wait_for(ended, "0")).join()).expect("the server ends it");
    });
}

fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() + 4).unwrap().to_be_bytes();
    [&[kind], length.as_slice(), body].concat()
}

/// Reads the start-up packet and accepts every client.
async fn accept_login(stream: &mut TcpStream) -> Option<()> {
    let length = stream.read_u32().await.ok()?;
    let mut packet = vec![0; usize::try_from(length).ok()?.checked_sub(4)?];
    stream.read_exact(&mut packet).await.ok()?;
    let welcome = [message(b'R', &[0; 4]), message(b'K', &[0, 0, 4, 0xd2, 0, 0, 0, 1]), message(b'Z', b"I")];
    stream.write_all(&welcome.concat()).await.ok()
}

async fn until_closed(stream: &mut TcpStream) {
    let mut bytes = [0; 512];
    while stream.read(&mut bytes).await.is_ok_and(|length| length > 0) {}
}

/// Starts a server that accepts every client and answers its first query with these bytes, then with nothing.
fn server_with_response(response: Vec<u8>) -> FakeServer {
    FakeServer::start(move |_, mut stream| {
        let response = response.clone();
        async move {
            if accept_login(&mut stream).await.is_some() && stream.read_u8().await.is_ok() {
                drop(stream.write_all(&response).await);
                until_closed(&mut stream).await;
            }
        }
    })
}

fn step_against<'a>(lab: &'a Lab, server: &FakeServer) -> Action<'a> {
    Action::new(lab)
        .file("migrations/0001_one.sql", ONE)
        .secret("database-url", lab.database.url_at("127.0.0.1", server.port))
        .input("database-sslmode", "disable")
        .input("wait-timeout", "2s")
}

#[test]
fn an_impossible_message_length_is_reported_and_not_waited_for() {
    let lab = Lab::new();
    for kind in *b"NDE" {
        let claim = [&[kind], 0x7fff_fff0_u32.to_be_bytes().as_slice(), &[b'x'; 100]].concat();
        let server = server_with_response(claim);
        let running = step_against(&lab, &server).input("wait-timeout", "60s").start();
        let peak = peak_memory_until_end(&running);
        let finished = running.finish().fails("database-protocol", 3).within(LIMIT);
        finished.logs("the server begins a message of 2147483628 bytes").done();
        assert!(peak > 0 && peak < MEMORY_LIMIT, "{peak} bytes");
    }
}

#[test]
fn a_silent_database_is_waited_for_no_longer_than_wait_timeout() {
    let lab = Lab::new();
    let silent = server_with_response(Vec::new());
    let finished = step_against(&lab, &silent).run().fails("database-timeout", 3).within(LIMIT);
    finished.logs("the database has not answered for 2 s (`wait-timeout`)").done();
    let finished =
        step_against(&lab, &silent).input("command", "status").run().fails("database-timeout", 3).within(LIMIT);
    finished.logs("the database has not answered for 2 s (`wait-timeout`)").done();
}

#[test]
fn a_plain_text_error_before_the_protocol_starts_is_reported() {
    let lab = Lab::new();
    let error = b"Ecould not fork new process for connection: Resource temporarily unavailable\n\0";
    let server = FakeServer::start(move |_, mut stream| async move {
        drop(stream.write_all(error).await);
        until_closed(&mut stream).await;
    });
    let finished = step_against(&lab, &server).run().fails("database-unready", 3);
    finished.logs("can't take a connection now: could not fork new process for connection").done();
}

/// Starts a proxy that forwards both directions until the server sends this sign; from then on it sends an invalid
/// message to the client, and keeps the server's connection open.
fn garbling_proxy(target: u16, sign: &'static [u8]) -> FakeServer {
    FakeServer::start(move |_, mut near| async move {
        let Ok(mut far) = TcpStream::connect(("127.0.0.1", target)).await else { return };
        let (mut request, mut response, mut received) = ([0; 4096], [0; 4096], Vec::new());
        loop {
            tokio::select! {
                Ok(count) = near.read(&mut request) => match count {
                    0 => return,
                    count => drop(far.write_all(&request[..count]).await),
                },
                Ok(count) = far.read(&mut response) => {
                    received.extend_from_slice(&response[..count]);
                    if count == 0 {
                        return;
                    }
                    if received.windows(sign.len()).any(|window| window == sign) {
                        drop(near.write_all(&[b'D', 0x7f, 0xff, 0xff, 0xff]).await);
                        until_closed(&mut near).await;
                        // The server's connection stays open without a client.
                        until_closed(&mut far).await;
                        return;
                    }
                    drop(near.write_all(&response[..count]).await);
                }
                else => return,
            }
        }
    })
}

#[test]
fn an_abandoned_session_is_terminated_before_its_lock_is_waited_for() {
    let lab = Lab::new();
    let proxy = garbling_proxy(lab.database.server().port(), b"now comes nonsense");
    let second = "create table two ();\ndo $$ begin raise notice 'now comes nonsense'; end $$;\nselect pg_sleep(55);\n";
    let step = three_files(&lab, second).secret("database-url", lab.database.url_at("127.0.0.1", proxy.port));
    let finished = step.input("database-sslmode", "disable").input("wait-timeout", "40s").run();
    let finished = finished.fails("database-protocol", 3).applied(["0001_one"]).pending(["0002_two", "0003_three"]);
    let finished = finished.logs("held by this run's own previous session (pid ").within(Duration::from_secs(45));
    finished.logs("1 applied, 2 not, according to the ledger").never_logs("nothing was changed").done();
    assert_eq!(recorded(&lab), "one");
}
