//! The server of a rehearsal's copies.

use crate::lab::postgres::{Database, Options, Postgres};

/// A server for copies, and what rehearsals leave in it.
#[derive(Debug)]
pub(crate) struct Copies {
    database: Database,
    /// The value of the input `rehearse`.
    pub(crate) url: String,
}

impl Copies {
    /// Starts it.
    pub(crate) fn start() -> Self {
        let database = Postgres::start(&Options::default()).database();
        database.sql("create role maker login superuser password 'makes-copies'");
        let url = format!("postgres://maker:makes-copies@127.0.0.1:{}/{}", database.server().port(), database.name());
        Self { database, url }
    }

    /// Lists databases, roles and sessions of rehearsals.
    pub(crate) fn rest(&self) -> Vec<String> {
        let left = self.database.sql(
            "select 'database ' || datname from pg_database where datname like 'bastion%' \
             union all select 'role ' || rolname from pg_roles r join pg_shdescription d on d.objoid = r.oid \
             union all select 'session ' || application_name from pg_stat_activity \
             where application_name like 'bastion-migrate%'",
        );
        left.lines().map(|rest| format!("left in the server of the copies: {rest}")).collect()
    }
}
