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
    rehearsal::{WatchedEnd, WatchedLedger, WatchedRun},
    secret::Secret,
    tool::LedgerMoment,
    transport::Transport,
};
use std::{fs, net::Ipv4Addr, process::Command};
use tokio::{runtime::Builder, task::spawn_blocking};
use tokio_postgres::{Config, NoTls};

/// Runs each form of a file in a transaction of its own, which is rolled back. The arguments are the driver and the file.
const PROGRAM: &str = r"
import asyncio, json, os, sys
driver, forms = sys.argv[1], json.load(open(sys.argv[2]))
where = dict(host='127.0.0.1', port=int(os.environ['PORT']), user='app', password='any', dbname='shop')
if driver == 'psycopg2':
    import psycopg2
    connection = psycopg2.connect(**where)
    for form in forms:
        connection.cursor().execute(form)
        connection.rollback()
elif driver in ('psycopg', 'psycopg prepared'):
    import psycopg
    connection = psycopg.connect(**where)
    for form in forms:
        connection.execute(form, prepare=driver == 'psycopg prepared')
        connection.rollback()
else:
    import asyncpg
    async def run():
        connection = await asyncpg.connect(host=where['host'], port=where['port'], user='app', password='any', database='shop')
        for form in forms:
            transaction = connection.transaction()
            await transaction.start()
            # With a parameter list, even an empty one, it would prepare; a utility statement can be prepared as well.
            await (await connection.prepare(form)).fetch() if driver == 'asyncpg prepared' else await connection.execute(form)
            await transaction.rollback()
        await connection.close()
    asyncio.run(run())
";

/// Returns the program that runs the forms through a driver.
fn program(driver: &str, forms: &[&str], port: u16) -> (Command, tempfile::TempDir) {
    let place = directory();
    let path = place.path().join("forms");
    let mut command = match driver {
        "psql" => {
            let text: String = forms.iter().map(|form| format!("begin;\n{form};\nrollback;\n")).collect();
            fs::write(&path, text).unwrap();
            let mut psql = Command::new("psql");
            let url = format!("postgres://app:any@127.0.0.1:{port}/shop?sslmode=require");
            psql.args(["-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", &url, "-f"]).arg(&path);
            psql
        }
        driver => {
            fs::write(&path, serde_json::to_string(forms).unwrap()).unwrap();
            let mut python = Command::new(venv(DRIVERS).join("bin/python"));
            python.args(["-c", PROGRAM, driver]).arg(&path);
            python
        }
    };
    command.env("PORT", port.to_string());
    (command, place)
}

/// Runs the forms through a driver whose sessions are watched.
fn watch(database: &Database, driver: &str, forms: &[&str]) -> WatchedRun {
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
        let ledger = WatchedLedger { tables: Vec::new(), moment: LedgerMoment::End };
        let mut run = WatchedRun::begin(&client, ledger, Vec::new()).await.unwrap();
        driving.abort();
        let settings = SessionSettings::named("tool").with_role_of(Some(&target));
        let listener = ProxyListener::bind((Ipv4Addr::LOCALHOST, 0).into(), ClientTls::Terminated, settings);
        let listener =
            listener.await.unwrap().standing_in(StandIn::new("shop.internal", vec![Secret::new("any")]).unwrap());
        let (watch, mut exchanges) = run.watch();
        listener.stand_in().unwrap().set_watch(Some(watch));
        let (mut command, _place) = program(driver, forms, listener.local_address().unwrap().port());
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

#[test]
fn the_watch_sees_what_another_session_sees_of_every_form_through_every_driver() {
    let database = lab::shared().database();
    database.sql(FIXTURE);
    database.sql(&format!("create role watched_{} login superuser password 'watched'", database.name()));
    let (version, prober) = (server_version(&database), Prober::new(&database));
    let forms: Vec<&str> =
        FORMS.iter().filter(|(from, _)| *from * 10_000 <= version).map(|(_, statement)| *statement).collect();
    let measured: Vec<Measured> =
        forms.iter().map(|form| prober.measure_in_transaction(&database, form).expect("the form can be run")).collect();
    for driver in ["psql", "psycopg2", "psycopg", "psycopg prepared", "asyncpg", "asyncpg prepared"] {
        // A cursor and the like live on in a session that prepares.
        let run = watch(&database, driver, &forms);
        let mut found = Vec::new();
        let observed: Vec<_> = run.observed().collect();
        for (form, measured) in forms.iter().zip(&measured) {
            match observed.iter().find(|(text, _)| text.trim_end_matches(';') == form.trim_end_matches(';')) {
                Some((_, seen)) => {
                    found.extend(differences(seen, measured).into_iter().map(|line| format!("{form}\n    {line}")));
                }
                None => found.push(format!("{form}\n    not seen")),
            }
        }
        assert!(found.is_empty(), "{driver}: {} of {} forms differ:\n{}", found.len(), forms.len(), found.join("\n"));
    }
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
