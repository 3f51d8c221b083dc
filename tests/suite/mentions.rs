//! Placeholders for the database's parameters in `env`, for commands on the deployment server.

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

/// Variables of `libpq`, which a server gets only if `env` sets them.
const LIBPQ: &str = "PGHOST=${DATABASE_HOST}\nPGPORT=${DATABASE_PORT}\nPGUSER=${DATABASE_USER}\nPGPASSWORD=${DATABASE_PASSWORD}\n\
                     PGDATABASE=${DATABASE_NAME}\nPGSSLMODE=${DATABASE_SSLMODE}\n";

/// Returns the lines of `env` that the page shows for apps with variables of their own.
fn documented_env() -> String {
    let page =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/executors.md")).expect("it is there");
    let blocks = page.split("```yaml\nenv: |\n").skip(1).filter_map(|rest| rest.split("```").next());
    let lines: Vec<String> = blocks.flat_map(str::lines).map(|line| line.trim().to_owned()).collect();
    assert!(lines.len() > 8, "{lines:?}");
    lines.join("\n")
}

/// Creates a step that writes its environment to a file on the server, and connects with `libpq`'s variables.
fn recording_step<'a>(lab: &'a Lab, server: &'a Server, env: &str) -> Action<'a> {
    let step = Action::on_server(lab, server).secret("database-url", lab.database.url()).input("tool", "custom");
    let run = "env >environment\npsql -XAtqv ON_ERROR_STOP=1 -c 'create table if not exists made ()'";
    step.input("env", env).input("run", run).leaves_on_server("environment").hides(PASSWORD)
}

fn recorded_environment(server: &Server) -> BTreeMap<String, String> {
    let text = fs::read_to_string(server.path("environment")).expect("the command has run");
    text.lines()
        .filter_map(|line| line.split_once('='))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

#[test]
fn every_mapping_of_the_page_reaches_a_command_on_a_server() {
    let lab = Lab::new();
    let server = Server::start();
    let step = recording_step(&lab, &server, &format!("{}\nDB=${{DATABASE_NAME}}\n{LIBPQ}", documented_env()));
    step.input("database-sslmode", "require").run().succeeds().warning("only the tool itself reports that").done();
    let environment = recorded_environment(&server);
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
        assert_eq!(environment.get(variable).map(String::as_str), Some(value), "{variable}");
    }
    assert_eq!(lab.database.sql("select count(*) from pg_class where relname = 'made'"), "1");
}

#[test]
fn the_url_and_the_tls_mode_are_those_of_our_own_connection() {
    for (given, means) in [("", "disable"), ("prefer", "disable"), ("require", "require")] {
        let lab = Lab::new();
        let server = Server::start();
        let step =
            recording_step(&lab, &server, &format!("URL=${{DATABASE_URL}}\nMODE=${{DATABASE_SSLMODE}}\n{LIBPQ}"));
        step.input("database-sslmode", given).run().succeeds().warning("only the tool itself reports that").done();
        let environment = recorded_environment(&server);
        let url = lab.database.url().replace("postgres://", "postgresql://");
        assert_eq!(
            (environment["MODE"].as_str(), &environment["URL"]),
            (means, &format!("{url}?sslmode={means}")),
            "{given}"
        );
    }
}
