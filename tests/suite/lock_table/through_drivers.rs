//! What the watch over a tool's sessions sees of each form, through every kind of driver, held against what another session
//! sees of it.
#![expect(clippy::disallowed_methods, reason = "runs the drivers' own programs")]

use super::{
    forms::{FIXTURE, FORMS},
    measure::{Measured, Prober},
    rehearsed::differences,
    server_version,
};
use crate::lab::{
    self,
    postgres::Database,
    process::directory,
    venv::{DRIVERS, venv},
};
use bastion_migrate::{
    postgres::{DatabaseTarget, SessionSettings, SslMode},
    proxy::{ClientTls, ProxyListener, StandIn},
    rehearsal::{WatchedEnd, WatchedLedger, WatchedRun, install_lock_report},
    run::MigrationId,
    secret::Secret,
    tool::LedgerMoment,
    transport::Transport,
};
use std::{collections::BTreeSet, fs, net::Ipv4Addr, process::Command};
use tokio::{runtime::Builder, task::spawn_blocking};
use tokio_postgres::{Config, NoTls};

/// Runs each form of a file, and undoes it: in a transaction of its own, which is rolled back, or alone, with a statement
/// behind it that fails. The arguments are the driver, the file, and which of them.
const PROGRAM: &str = r"
import asyncio, contextlib, json, os, sys
driver, forms, alone = sys.argv[1], json.load(open(sys.argv[2])), sys.argv[3] == 'Alone'
where = dict(host='127.0.0.1', port=int(os.environ['PORT']), user='app', password='any', dbname='shop')
if driver == 'psycopg2':
    import psycopg2
    connection = psycopg2.connect(**where)
    connection.autocommit = alone
    for form in forms:
        with contextlib.suppress(psycopg2.Error) if alone else contextlib.nullcontext():
            connection.cursor().execute(form)
        connection.rollback()
elif driver in ('psycopg', 'psycopg prepared', 'psycopg pipeline'):
    import psycopg
    connection = psycopg.connect(**where, autocommit=alone)
    for form in forms:
        if driver == 'psycopg pipeline':
            # A group of messages up to a Sync is one transaction.
            with contextlib.suppress(psycopg.Error), connection.pipeline():
                for statement in form.split(';\n'):
                    connection.execute(statement)
            continue
        with contextlib.suppress(psycopg.Error) if alone else contextlib.nullcontext():
            connection.execute(form, prepare=driver == 'psycopg prepared')
        connection.rollback()
else:
    import asyncpg
    async def run():
        connection = await asyncpg.connect(host=where['host'], port=where['port'], user='app', password='any', database='shop')
        for form in forms:
            if alone:
                with contextlib.suppress(asyncpg.PostgresError):
                    await connection.execute(form)
                continue
            transaction = connection.transaction()
            await transaction.start()
            # With a parameter list, even an empty one, it would prepare; a utility statement can be prepared as well.
            await (await connection.prepare(form)).fetch() if driver == 'asyncpg prepared' else await connection.execute(form)
            await transaction.rollback()
        await connection.close()
    asyncio.run(run())
";

/// The transaction of a form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Transaction {
    /// One of several statements, which the driver begins.
    Begun,
    /// None but that of the statement itself.
    Alone,
}

/// The statement that undoes a form which stands alone.
const FAILURE: &str = ";\nselect 1 / 0";

/// Returns the program that runs the forms through a driver.
fn program(driver: &str, forms: &[String], transaction: Transaction, port: u16) -> (Command, tempfile::TempDir) {
    let place = directory();
    let path = place.path().join("forms");
    let mut command = match driver {
        "psql" => {
            // Behind `\\;` the next statement belongs to the same message.
            let text = |form: &String| match transaction {
                Transaction::Begun => format!("begin;\n{form};\nrollback;\n"),
                Transaction::Alone => format!("{};\n", form.replace(FAILURE, &FAILURE.replace(';', "\\;"))),
            };
            fs::write(&path, forms.iter().map(text).collect::<String>()).unwrap();
            let mut psql = Command::new("psql");
            let url = format!("postgres://app:any@127.0.0.1:{port}/shop?sslmode=require");
            let stop = if transaction == Transaction::Begun { "ON_ERROR_STOP=1" } else { "ON_ERROR_STOP=0" };
            psql.args(["-X", "-q", "-v", stop, "-d", &url, "-f"]).arg(&path);
            psql
        }
        driver => {
            fs::write(&path, serde_json::to_string(forms).unwrap()).unwrap();
            let mut python = Command::new(venv(DRIVERS).join("bin/python"));
            python.args(["-c", PROGRAM, driver]).arg(&path).arg(format!("{transaction:?}"));
            python
        }
    };
    command.env("PORT", port.to_string());
    (command, place)
}

/// Runs the forms through a driver whose sessions are watched.
fn watch(database: &Database, driver: &str, forms: &[String], transaction: Transaction) -> WatchedRun {
    let role = format!("watched_{}", database.name());
    let server = database.server().port();
    let target = DatabaseTarget {
        password: Some(Secret::new("watched")),
        sslmode: SslMode::Disable,
        role: Some("postgres".to_owned()),
        ..DatabaseTarget::new("localhost", server, role.clone(), database.name())
    };
    let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime can be built");
    runtime.block_on(async {
        let url = format!("postgres://{role}:watched@localhost:{server}/{}", database.name());
        let (client, connection) = url.parse::<Config>().unwrap().connect(NoTls).await.unwrap();
        let driving = tokio::spawn(connection);
        if transaction == Transaction::Alone {
            client.batch_execute("drop schema if exists bastion_migrate cascade").await.unwrap();
            install_lock_report(&client).await.unwrap();
        }
        let ledger = WatchedLedger { tables: vec!["ledger_of_tool".to_owned()], moment: LedgerMoment::End };
        let pending = ["0001_small", "0002_large", "0003_last"];
        let pending = pending.map(|name| MigrationId { name: name.to_owned(), ..MigrationId::default() });
        let mut run = WatchedRun::begin(&client, ledger, pending.to_vec()).await.unwrap();
        driving.abort();
        let settings = SessionSettings::named("tool").with_role_of(Some(&target));
        let listener = ProxyListener::bind((Ipv4Addr::LOCALHOST, 0).into(), ClientTls::Terminated, settings);
        let listener =
            listener.await.unwrap().standing_in(StandIn::new("shop.internal", vec![Secret::new("any")]).unwrap());
        let (watch, mut exchanges) = run.watch();
        listener.stand_in().unwrap().set_watch(Some(watch));
        let (mut command, _place) = program(driver, forms, transaction, listener.local_address().unwrap().port());
        let output = tokio::select! {
            never = listener.serve(&Transport::Direct, &target) => match never {},
            output = spawn_blocking(move || command.output().expect("the driver is installed")) => output.unwrap(),
        };
        assert!(output.status.success(), "{driver}: {}", String::from_utf8_lossy(&output.stderr));
        while let Ok(exchange) = exchanges.try_recv() {
            run.take(&exchange);
        }
        run.end(WatchedEnd::Completed);
        run
    })
}

/// The forms that this server knows, and what another session sees of each.
struct MeasuredForms {
    database: Database,
    forms: Vec<(&'static str, Measured)>,
}

impl MeasuredForms {
    fn new() -> Self {
        let database = lab::shared().database();
        database.sql(FIXTURE);
        database.sql(&format!("create role watched_{} login superuser password 'watched'", database.name()));
        let (version, prober) = (server_version(&database), Prober::new(&database));
        let known = FORMS.iter().filter(|(from, _)| *from * 10_000 <= version);
        let measured = known
            .map(|(_, form)| (*form, prober.measure_in_transaction(&database, form).expect("the form can be run")));
        let forms = measured.collect();
        Self { database, forms }
    }

    /// Expects that the watch sees the same through a driver.
    fn are_seen(&self, driver: &str, transaction: Transaction) {
        let sent: Vec<String> = self.forms.iter().map(|(form, _)| transaction.text_of(form)).collect();
        let run = watch(&self.database, driver, &sent, transaction);
        let observed: Vec<_> = run.observed().collect();
        let mut found = Vec::new();
        for ((form, measured), sent) in self.forms.iter().zip(&sent) {
            let is_it = |text: &str| text.trim_end_matches(';') == sent.trim_end_matches(';');
            match observed.iter().find(|(text, _)| is_it(text)) {
                Some((_, seen)) => {
                    found.extend(differences(seen, measured).into_iter().map(|line| format!("{form}\n    {line}")));
                }
                None => found.push(format!("{form}\n    not seen")),
            }
        }
        let all = self.forms.len();
        assert!(found.is_empty(), "{driver}: {} of {all} forms differ:\n{}", found.len(), found.join("\n"));
    }
}

impl Transaction {
    fn text_of(self, form: &str) -> String {
        match self {
            Self::Begun => form.to_owned(),
            Self::Alone => format!("{}{FAILURE}", form.trim_end_matches(';')),
        }
    }
}

#[test]
fn the_watch_sees_what_another_session_sees_of_every_form_through_every_driver() {
    let forms = MeasuredForms::new();
    for driver in ["psql", "psycopg2", "psycopg", "psycopg prepared", "asyncpg", "asyncpg prepared"] {
        // A cursor and the like live on in a session that prepares.
        forms.are_seen(driver, Transaction::Begun);
    }
}

/// First words of statements about which PostgreSQL's event triggers are silent: their locks are gone with them.
const UNREPORTED: [&str; 18] = [
    "truncate", "lock", "cluster", "reindex", "analyze", "select", "insert", "update", "delete", "merge", "with",
    "table", "copy", "declare", "prepare", "explain", "vacuum", "do",
];

#[test]
fn a_copy_reports_what_a_statement_outside_of_a_transaction_holds_through_every_driver() {
    let mut forms = MeasuredForms::new();
    let mut known = BTreeSet::new();
    forms.forms.retain(|(form, _)| {
        let first = form.split_whitespace().next().unwrap_or_default().to_lowercase();
        // Those that differ in a number are one entry.
        let without_numbers: String = form.chars().filter(|letter| !letter.is_ascii_digit()).collect();
        !UNREPORTED.contains(&first.as_str()) && known.insert(without_numbers)
    });
    assert!(forms.forms.len() >= 100, "{} forms", forms.forms.len());
    // The failure behind each has undone its new files.
    forms.forms.iter_mut().for_each(|(_, measured)| measured.rewritten.clear());
    for driver in ["psql", "psycopg2", "psycopg", "psycopg pipeline", "asyncpg"] {
        forms.are_seen(driver, Transaction::Alone);
    }
}

#[test]
fn a_description_that_fails_does_not_fail_the_transaction_of_the_tool() {
    let database = lab::shared().database();
    database.sql(&format!("create role watched_{} login superuser password 'watched'", database.name()));
    database.sql("create table ledger_of_tool (name text)");
    // More columns than are described.
    let columns = "(select string_agg(format('a%s int', n), ', ') from generate_series(1, 1500) n)";
    let large = format!(
        "do $$ begin for number in 1..34 loop execute format('create table t%s (%s)', number, {columns}); end loop; end $$"
    );
    let row = |name: &str| format!("insert into ledger_of_tool values ('{name}')");
    let sent = [
        "create table small ()",
        &row("0001_small"),
        &large,
        &row("0002_large"),
        "create table last ()",
        &row("0003_last"),
    ];
    let run = watch(&database, "psql", &[sent.join(";\n")], Transaction::Begun);
    let failed: Vec<_> = run.observed().filter(|(_, seen)| seen.error.is_some()).collect();
    assert!(failed.is_empty() && run.observed().any(|(text, _)| text.contains("table last")), "{failed:?}");
    let [small] = run.changes() else { panic!("{:?}", run.changes()) };
    assert_eq!(small.migrations[0].name, "0001_small");
}

#[test]
fn a_client_has_to_know_a_password_where_others_could_connect() {
    let database = lab::shared().database();
    let target = DatabaseTarget {
        sslmode: SslMode::Disable,
        ..DatabaseTarget::new("localhost", database.server().port(), "nobody", database.name())
    };
    let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime can be built");
    runtime.block_on(async {
        let listener =
            ProxyListener::bind((Ipv4Addr::LOCALHOST, 0).into(), ClientTls::Terminated, SessionSettings::named("tool"));
        let known = vec![Secret::new("any")];
        let listener = listener.await.unwrap().standing_in(StandIn::new("shop.internal", known).unwrap());
        let url = format!("postgres://app:other@127.0.0.1:{}/shop", listener.local_address().unwrap().port());
        let connecting =
            async { url.parse::<Config>().unwrap().connect(NoTls).await.err().map(|error| error.to_string()) };
        let refused = tokio::select! {
            never = listener.serve(&Transport::Direct, &target) => match never {},
            refused = connecting => refused.expect("it is refused"),
        };
        assert!(refused.contains("password authentication failed") || refused.contains("db error"), "{refused}");
        assert_eq!(listener.traffic().settled, 0, "nothing was opened to the database");
    });
}
