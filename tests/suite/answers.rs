//! What a server answers, whatever a file, an old database or something in between has made of it: bytes that are no UTF-8,
//! more than can be held, rows that nobody has asked for, nothing at all.

use crate::{
    action::{Action, Running},
    figures::peak_memory,
    lab::{
        Lab, poll,
        postgres::{PASSWORD, ROLE},
        stranger::Stranger,
    },
};
use bastion_migrate::{
    postgres::{DatabaseTarget, OwnQuery, Session, SslMode, StartupSettings, query_rows},
    run::event::Events,
    secret::Secret,
    transport::Transport,
};
use std::{thread, time::Duration};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

/// Bytes; what a run needs for itself is a third of that, and what is tested is built without optimisation.
const MEMORY: u64 = 100 << 20;

/// As long as anything in these tests may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// Rows and names that are not UTF-8 in the encoding that the file sets.
const LATIN1: &str =
    "set client_encoding = 'LATIN1';\ncreate table two ();\nselect x, x as U&\"caf\\00e9\" from one;\n";

/// A value that LATIN1 and UTF-8 write differently.
const ONE: &str = "create table one (x text);\ninsert into one values (U&'caf\\00e9');\n";

fn three<'a>(lab: &'a Lab, second: &str) -> Action<'a> {
    Action::new(lab)
        .file("migrations/0001_one.sql", ONE)
        .file("migrations/0002_two.sql", second)
        .file("migrations/0003_three.sql", "create table three ();\n")
}

const ALL: [&str; 3] = ["0001_one", "0002_two", "0003_three"];

fn recorded(lab: &Lab) -> String {
    lab.database.sql("select string_agg(name, ',' order by version) from bastion_migrate.ledger")
}

/// Runs it to its end, and gives back the most memory that it had.
fn watched(running: &Running<'_>) -> u64 {
    let mut peak = 0;
    let look = || match peak_memory(running.pid()) {
        Some(now) => {
            peak = now;
            None
        }
        None => Some(()),
    };
    poll(PATIENCE, look).expect("it ends");
    eprintln!("{} KiB at most", peak >> 10);
    peak
}

#[test]
fn what_a_file_returns_may_be_in_any_encoding() {
    let lab = Lab::new();
    three(&lab, LATIN1).run().succeeds().applied(ALL).says("the ledger confirms it").done();
    assert_eq!(recorded(&lab), "one,two,three");
    let lab = Lab::new();
    let alone = format!("-- no-transaction\n{LATIN1}");
    three(&lab, &alone).run().succeeds().applied(ALL).says("the ledger confirms it").done();
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
fn a_database_in_latin1_is_read_and_written_as_it_should_be() {
    let lab = Lab::encoded("LATIN1");
    let step = Action::new(&lab).file("migrations/0001_größe.sql", "create table größe (länge int);\n");
    step.run().succeeds().applied(["0001_größe"]).done();
    assert_eq!(lab.database.sql("select name from bastion_migrate.ledger"), "größe");
    let step = Action::new(&lab).file("migrations/0001_größe.sql", "create table größe (länge int);\n");
    step.run().nothing_to_do().done();
}

#[test]
fn what_a_server_says_in_another_encoding_is_told_as_far_as_it_can_be_read() {
    let lab = Lab::new();
    let second = "set client_encoding = 'LATIN1';\n\
        do $$ begin raise notice '%', U&'caf\\00e9 noticed'; end $$;\n\
        select * from U&\"caf\\00e9\";\n";
    let told = three(&lab, second).run().fails("statement-failed", 6);
    told.applied(["0001_one"])
        .pending(["0002_two", "0003_three"])
        .says("notice: caf\u{fffd} noticed")
        .annotation("migrations/0002_two.sql", 3, "relation \"caf\u{fffd}\" does not exist")
        .done();
    assert_eq!(recorded(&lab), "one");
}

#[test]
fn our_own_names_are_not_read_in_a_files_encoding() {
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
fn nor_are_they_where_statements_run_one_by_one() {
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

/// Whatever the file has set and taken, the ledger is read when it is over.
#[test]
fn a_run_that_is_stopped_reads_the_ledger_in_its_own_encoding_and_role() {
    let lab = Lab::new();
    let text = "-- no-transaction\nset client_encoding = 'LATIN1';\nset role pg_monitor;\nselect pg_sleep(60);\n";
    lab.database.sql("grant pg_monitor to app");
    let step = Action::new(&lab).file("migrations/0001_größe.sql", "create table one ();\n");
    let running = step.file("migrations/0002_two.sql", text).start();
    lab.database.wait_for("select count(*) from pg_stat_activity where query like 'select pg_sleep%'", "1");
    running.signal(rustix::process::Signal::INT);
    let told = running.finish().fails("cancelled", 130);
    told.applied(["0001_größe"]).pending(["0002_two"]).within(Duration::from_secs(7)).done();
}

#[test]
fn rows_without_end_are_for_nobody() {
    let lab = Lab::new();
    let flood = "select n, 'row ' || n from generate_series(1, 1000000) n;\nselect repeat('x', 100000000);\n";
    for first in ["", "-- no-transaction\n"] {
        let lab = if first.is_empty() { &lab } else { &Lab::new() };
        let running = three(lab, &format!("{first}{flood}")).start();
        let peak = watched(&running);
        running.finish().succeeds().applied(ALL).done();
        assert!(peak > 0 && peak < MEMORY, "{peak} bytes");
    }
}

#[test]
fn a_notice_or_an_error_of_fifty_megabytes_is_cut_and_counted() {
    let lab = Lab::new();
    let said = "begin raise LEVEL 'it begins so: %', repeat('word ', 10000000); end";
    let notice = format!("do $$ {} $$;\n", said.replace("LEVEL", "notice"));
    let running = three(&lab, &notice).start();
    let peak = watched(&running);
    let told = running.finish().succeeds().applied(ALL).says("notice: it begins so: word word");
    told.says(" … and 499").says(" more bytes").done();
    assert!(peak > 0 && peak < MEMORY, "{peak} bytes");
    let lab = Lab::new();
    let running = three(&lab, &format!("do $$ {} $$;\n", said.replace("LEVEL", "exception"))).start();
    let peak = watched(&running);
    let told = running.finish().fails("statement-failed", 6).applied(["0001_one"]).pending(["0002_two", "0003_three"]);
    told.annotation("migrations/0002_two.sql", 1, "it begins so: word").says(" more bytes").done();
    assert!(peak > 0 && peak < MEMORY, "{peak} bytes");
}

/// Steps are handed to the server as they are; nobody looks into them for a COPY.
#[test]
fn rows_that_a_file_copies_out_are_for_nobody() {
    let lab = Lab::new();
    let step = three(&lab, "create table two ();\n").file(".github/bastion-migrate.yml", "before: [{ sql: db/a.sql }]");
    let step = step.file("db/a.sql", "copy (select generate_series(1, 100000)) to stdout;\ncreate table zero ();\n");
    step.run().succeeds().applied(ALL).done();
    assert_eq!(lab.database.sql("select count(*) from zero"), "0");
}

#[test]
fn a_copy_without_its_rows_is_a_statement_that_failed() {
    let lab = Lab::new();
    let step = three(&lab, "create table two ();\n").file(".github/bastion-migrate.yml", "before: [{ sql: db/a.sql }]");
    let step = step.file("db/a.sql", "create table zero (a int);\ncopy zero from stdin;\n");
    let told = step.run().fails("statement-failed", 6);
    told.annotation("db/a.sql", 2, "there are no rows for a `COPY … FROM STDIN`")
        .says("`COPY table (columns) FROM stdin;`")
        .done();
    assert_eq!(lab.database.contents(), "");
}

/// A session of the program's own, without the program around it.
fn with_session(lab: &Lab, story: impl AsyncFnOnce(&Session)) {
    let target = DatabaseTarget {
        host: "localhost".to_owned(),
        port: lab.database.server().port(),
        user: ROLE.to_owned(),
        password: Some(Secret::new(PASSWORD)),
        name: lab.database.name().to_owned(),
        sslmode: SslMode::Require,
        ca: None,
        options: None,
    };
    let startup = StartupSettings { application_name: "bastion-migrate".to_owned(), options: String::new() };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let (events, _told) = Events::channel();
        let session = Session::connect(&Transport::Direct, &target, &startup, &events).await.unwrap();
        story(&session).await;
        session.close().await;
    });
}

#[test]
fn a_copy_that_nobody_has_seen_harms_neither_the_session_nor_what_was_sent_behind_it() {
    let lab = Lab::new();
    with_session(&lab, async |session| {
        let client = &session.client;
        client.batch_execute("create table t (a int)").await.unwrap();
        client.batch_execute("copy (select generate_series(1, 1000)) to stdout; copy t to stdout").await.unwrap();
        // With the next question already sent, and without.
        let copy = "insert into t values (1); copy t from stdin; insert into t values (2)";
        let count = OwnQuery::read_only("select count(*) from public.t");
        let pipelined = async { tokio::join!(client.batch_execute(copy), query_rows(client, &count)) };
        let (failed, answer) = pipelined.await;
        let failed = failed.unwrap_err();
        let said = failed.as_db_error().expect("the server says so").message();
        assert_eq!(said, "COPY from stdin failed: bastion-migrate has no rows for this COPY");
        assert_eq!(answer.unwrap(), [[Some("0".to_owned())]]);
        assert!(client.batch_execute(copy).await.is_err());
        // One that was seen is given its rows as ever.
        let sink = client.copy_in::<_, bytes::Bytes>("copy t from stdin").await.unwrap();
        let mut sink = std::pin::pin!(sink);
        futures_util::SinkExt::send(&mut sink, bytes::Bytes::from_static(b"1\n2\n")).await.unwrap();
        assert_eq!(sink.finish().await.unwrap(), 2);
        assert_eq!(query_rows(client, &count).await.unwrap(), [[Some("2".to_owned())]]);
    });
}

#[test]
fn an_answer_to_us_that_is_too_long_is_a_failure_and_never_an_empty_one() {
    let lab = Lab::new();
    with_session(&lab, async |session| {
        let long = query_rows(&session.client, &OwnQuery::read_only("select repeat('x', 5000000)")).await;
        assert!(long.unwrap_err().cause.contains("a row of the database's answer is longer than"));
        let fits = query_rows(&session.client, &OwnQuery::read_only("select repeat('x', 4000000)")).await.unwrap();
        assert_eq!(fits[0][0].as_ref().map(String::len), Some(4_000_000));
    });
}

/// Inside a transaction that stands still, a server that is told nothing goes on waiting; it is told when to stop.
#[test]
fn a_session_that_does_nothing_in_a_transaction_is_ended_by_the_server() {
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

/// Reads the start-up packet and lets everybody in.
async fn let_in(stream: &mut TcpStream) -> Option<()> {
    let length = stream.read_u32().await.ok()?;
    let mut packet = vec![0; usize::try_from(length).ok()?.checked_sub(4)?];
    stream.read_exact(&mut packet).await.ok()?;
    let greeting = [message(b'R', &[0; 4]), message(b'K', &[0, 0, 4, 0xd2, 0, 0, 0, 1]), message(b'Z', b"I")];
    stream.write_all(&greeting.concat()).await.ok()
}

async fn until_closed(stream: &mut TcpStream) {
    let mut bytes = [0; 512];
    while stream.read(&mut bytes).await.is_ok_and(|length| length > 0) {}
}

/// A server that lets in and answers every question with this, and then with nothing.
fn server_that_answers(answer: Vec<u8>) -> Stranger {
    Stranger::start(move |_, mut stream| {
        let answer = answer.clone();
        async move {
            if let_in(&mut stream).await.is_some() && stream.read_u8().await.is_ok() {
                drop(stream.write_all(&answer).await);
                until_closed(&mut stream).await;
            }
        }
    })
}

fn at<'a>(lab: &'a Lab, stranger: &Stranger) -> Action<'a> {
    Action::new(lab)
        .file("migrations/0001_one.sql", ONE)
        .secret("database-url", lab.database.url_at("127.0.0.1", stranger.port))
        .input("database-sslmode", "disable")
        .input("wait-timeout", "2s")
}

#[test]
fn a_length_that_no_message_has_is_told_and_not_waited_for() {
    let lab = Lab::new();
    for kind in *b"NDE" {
        let claim = [&[kind], 0x7fff_fff0_u32.to_be_bytes().as_slice(), &[b'x'; 100]].concat();
        let server = server_that_answers(claim);
        let running = at(&lab, &server).input("wait-timeout", "60s").start();
        let peak = watched(&running);
        let told = running.finish().fails("database-protocol", 3).within(PATIENCE);
        told.says("the server begins a message of 2147483628 bytes").done();
        assert!(peak > 0 && peak < MEMORY, "{peak} bytes");
    }
}

#[test]
fn a_database_that_falls_silent_is_not_waited_for_longer_than_it_was_said() {
    let lab = Lab::new();
    let silent = server_that_answers(Vec::new());
    let told = at(&lab, &silent).run().fails("database-timeout", 3).within(PATIENCE);
    told.says("the database has not answered for 2 s (`wait-timeout`)").done();
    let told = at(&lab, &silent).input("command", "status").run().fails("database-timeout", 3).within(PATIENCE);
    told.says("the database has not answered for 2 s (`wait-timeout`)").done();
}

#[test]
fn what_a_server_says_in_words_before_it_can_speak_is_told() {
    let lab = Lab::new();
    let words = b"Ecould not fork new process for connection: Resource temporarily unavailable\n\0";
    let server = Stranger::start(move |_, mut stream| async move {
        drop(stream.write_all(words).await);
        until_closed(&mut stream).await;
    });
    let told = at(&lab, &server).run().fails("database-unready", 3);
    told.says("can't take a connection now: could not fork new process for connection").done();
}

/// Hands on what both say, until the server has said this; then it says nonsense instead, and lets the server wait.
fn garbler(target: u16, sign: &'static [u8]) -> Stranger {
    Stranger::start(move |_, mut near| async move {
        let Ok(mut far) = TcpStream::connect(("127.0.0.1", target)).await else { return };
        let (mut asked, mut said, mut seen) = ([0; 4096], [0; 4096], Vec::new());
        loop {
            tokio::select! {
                Ok(count) = near.read(&mut asked) => match count {
                    0 => return,
                    count => drop(far.write_all(&asked[..count]).await),
                },
                Ok(count) = far.read(&mut said) => {
                    seen.extend_from_slice(&said[..count]);
                    if count == 0 {
                        return;
                    }
                    if seen.windows(sign.len()).any(|window| window == sign) {
                        drop(near.write_all(&[b'D', 0x7f, 0xff, 0xff, 0xff]).await);
                        until_closed(&mut near).await;
                        // The server is not told that there is nobody any more.
                        until_closed(&mut far).await;
                        return;
                    }
                    drop(near.write_all(&said[..count]).await);
                }
                else => return,
            }
        }
    })
}

#[test]
fn a_session_that_is_given_up_is_ended_before_its_lock_is_waited_for() {
    let lab = Lab::new();
    let garbler = garbler(lab.database.server().port(), b"now comes nonsense");
    let second = "create table two ();\ndo $$ begin raise notice 'now comes nonsense'; end $$;\nselect pg_sleep(55);\n";
    let step = three(&lab, second).secret("database-url", lab.database.url_at("127.0.0.1", garbler.port));
    let told = step.input("database-sslmode", "disable").input("wait-timeout", "40s").run();
    let told = told.fails("database-protocol", 3).applied(["0001_one"]).pending(["0002_two", "0003_three"]);
    let told = told.says("held by this run's own previous session (pid ").within(Duration::from_secs(45));
    told.says("1 applied, 2 not, according to the ledger").never_says("nothing was changed").done();
    assert_eq!(recorded(&lab), "one");
}
