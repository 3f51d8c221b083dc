//! A later step of the job on the runner's machine.
#![expect(clippy::disallowed_methods, reason = "a later step runs psql")]

use crate::network::{Database, PASSWORD, ROLE};
use std::process::{Command, Output};

/// Runs psql on the runner's machine, through the tunnel at this port.
pub(crate) fn psql(database: &Database, port: &str, options: &str, statement: &str) -> Output {
    let place = format!("host=127.0.0.1 port={port} user={ROLE} dbname={} {options}", database.name());
    let mut psql = Command::new("psql");
    psql.args([&place, "-XqAt", "-c", statement]).env("PGPASSWORD", PASSWORD);
    psql.output().expect("psql is installed")
}
