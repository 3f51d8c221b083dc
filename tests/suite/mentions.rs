//! `env` names the database's own facts, and a command on the deployment server finds them in their place.

use crate::{
    action::Action,
    lab::{
        Lab,
        postgres::{PASSWORD, ROLE},
        server::Server,
    },
};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use std::{collections::BTreeMap, fs, path::Path};

/// What `libpq` reads, which a server is handed only if `env` says so.
const LIBPQ: &str = "PGHOST=${DATABASE_HOST}\nPGPORT=${DATABASE_PORT}\nPGUSER=${DATABASE_USER}\nPGPASSWORD=${DATABASE_PASSWORD}\n\
                     PGDATABASE=${DATABASE_NAME}\nPGSSLMODE=${DATABASE_SSLMODE}\n";

/// The lines of `env` that the page shows for apps with variables of their own.
fn of_the_page() -> String {
    let page =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/executors.md")).expect("it is there");
    let blocks = page.split("```text\nenv: |\n").skip(1).filter_map(|rest| rest.split("```").next());
    let lines: Vec<String> = blocks.flat_map(str::lines).map(|line| line.trim().to_owned()).collect();
    assert!(lines.len() > 8, "{lines:?}");
    lines.join("\n")
}

/// A command on the server that keeps what it is told, and then does something by `libpq`'s variables.
fn told<'a>(lab: &'a Lab, server: &'a Server, env: &str) -> Action<'a> {
    let step = Action::on_server(lab, server).secret("database-url", lab.database.url()).input("tool", "custom");
    let run = "env >told\npsql -XAtqv ON_ERROR_STOP=1 -c 'create table if not exists made ()'";
    step.input("env", env).input("run", run).leaves_on_server("told").hides(PASSWORD)
}

fn kept(server: &Server) -> BTreeMap<String, String> {
    let kept = fs::read_to_string(server.path("told")).expect("the command has run");
    kept.lines()
        .filter_map(|line| line.split_once('='))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

#[test]
fn every_mapping_of_the_page_reaches_a_command_on_a_server() {
    let lab = Lab::new();
    let server = Server::start();
    let step = told(&lab, &server, &format!("{}\nDB=${{DATABASE_NAME}}\n{LIBPQ}", of_the_page()));
    step.input("database-sslmode", "require").run().succeeds().warning("only the tool itself reports that").done();
    let kept = kept(&server);
    let (port, name) = (lab.database.server().port().to_string(), lab.database.name());
    let password = utf8_percent_encode(PASSWORD, NON_ALPHANUMERIC);
    let (place, address) = (format!("localhost:{port}/{name}"), format!("{ROLE}:{password}@localhost:{port}/{name}"));
    for (variable, value) in [
        ("POSTGRES_HOST", "localhost"),
        ("POSTGRES_PORT", &port),
        ("POSTGRES_USER", ROLE),
        ("POSTGRES_PASSWORD", PASSWORD),
        ("POSTGRES_DB", name),
        ("SPRING_DATASOURCE_URL", &format!("jdbc:postgresql://{place}?sslmode=require")),
        ("SPRING_DATASOURCE_USERNAME", ROLE),
        ("SPRING_DATASOURCE_PASSWORD", PASSWORD),
        ("DATABASE_URL", &format!("postgresql+asyncpg://{address}?ssl=require")),
        ("DB", name),
    ] {
        assert_eq!(kept.get(variable).map(String::as_str), Some(value), "{variable}");
    }
    assert_eq!(lab.database.sql("select count(*) from pg_class where relname = 'made'"), "1");
}

#[test]
fn the_whole_url_and_how_much_tls_are_those_of_our_own_connection() {
    for (given, means) in [("", "disable"), ("prefer", "disable"), ("require", "require")] {
        let lab = Lab::new();
        let server = Server::start();
        let step = told(&lab, &server, &format!("URL=${{DATABASE_URL}}\nMODE=${{DATABASE_SSLMODE}}\n{LIBPQ}"));
        step.input("database-sslmode", given).run().succeeds().warning("only the tool itself reports that").done();
        let kept = kept(&server);
        let url = lab.database.url().replace("postgres://", "postgresql://");
        assert_eq!((kept["MODE"].as_str(), &kept["URL"]), (means, &format!("{url}?sslmode={means}")), "{given}");
    }
}
