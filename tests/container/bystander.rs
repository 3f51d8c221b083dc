//! Another client of the database.

use crate::{engine, network::Database, process::poll};
use std::{
    process::{Child, Stdio},
    time::Duration,
};

/// The client's `application_name`. Sessions with this name do not count as left behind by a step.
pub(crate) const BYSTANDER: &str = "lab nightly report";

/// A session that holds the locks of its statement. It ends with the value.
#[derive(Debug)]
pub(crate) struct Bystander<'a> {
    database: &'a Database,
    psql: Child,
}

impl<'a> Bystander<'a> {
    /// Opens a transaction, runs this statement and keeps the transaction open.
    pub(crate) fn with(database: &'a Database, statement: &str) -> Self {
        let (name, held) = (format!("PGAPPNAME={BYSTANDER}"), format!("begin; {statement}; select pg_sleep(600)"));
        let exec = ["exec", database.network().postgres().id(), "env", &name, "psql", "-XqAt", "-U", "postgres"];
        let mut psql = engine::command(&[&exec[..], &["-d", database.name(), "-c", &held]].concat());
        // The session will be terminated, and psql prints that.
        let psql = psql.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("docker was there a moment ago");
        let bystander = Self { database, psql };
        poll(Duration::from_secs(30), || (bystander.open_transactions() == "1").then_some(()))
            .expect("the statement gets its lock");
        bystander
    }

    fn open_transactions(&self) -> String {
        let sleeps =
            "select count(*) from pg_stat_activity where wait_event = 'PgSleep' and datname = current_database()";
        self.database.sql(&format!("{sleeps} and application_name = '{BYSTANDER}'"))
    }
}

impl Drop for Bystander<'_> {
    fn drop(&mut self) {
        let end =
            "select count(pg_terminate_backend(pid, 5000)) from pg_stat_activity where datname = current_database()";
        self.database.sql(&format!("{end} and application_name = '{BYSTANDER}'"));
        drop(self.psql.wait());
    }
}
