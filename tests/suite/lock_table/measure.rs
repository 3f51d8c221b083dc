//! The effects of a statement, as PostgreSQL shows them.

use crate::lab::{poll, postgres::Database, session::Session};
use bastion_migrate::review::LockMode;
use std::{
    collections::{BTreeMap, BTreeSet},
    thread,
    time::Duration,
};
use tokio_postgres::error::SqlState;

/// The effects of a statement on the relations of the fixture, by their names.
#[derive(Debug, Default)]
pub(super) struct Measured {
    /// The strongest lock on each relation that is not an index.
    pub(super) locks: BTreeMap<String, LockMode>,
    /// The relations that have a new file.
    pub(super) rewritten: BTreeSet<String>,
    /// The relations of which a sequential scan was begun.
    pub(super) scanned: BTreeSet<String>,
    /// The relations whose readers wait.
    pub(super) readers: BTreeSet<String>,
    /// The relations whose writers wait.
    pub(super) writers: BTreeSet<String>,
    /// The relations that were read and written.
    pub(super) probed: BTreeSet<String>,
}

/// A second session, which sees the statement from outside.
#[derive(Debug)]
pub(super) struct Prober {
    pub(super) session: Session,
    tables: Vec<String>,
}

/// A session whose transaction makes a statement wait.
#[derive(Debug)]
pub(super) struct Holder(Session);

impl Holder {
    pub(super) fn new(database: &Database, hold: &str) -> Self {
        let session = database.session();
        session.sql(&format!("begin; {hold}"));
        Self(session)
    }
}

const RELATIONS: &str = "from pg_class c where relnamespace = 'public'::regnamespace and relkind in ('r', 'p', 'm')";

impl Prober {
    pub(super) fn new(database: &Database) -> Self {
        let session = database.session();
        session.sql("set lock_timeout = '15ms'");
        let tables =
            session.sql(&format!("select relname {RELATIONS} order by 1")).lines().map(str::to_owned).collect();
        Self { session, tables }
    }

    /// Runs a statement in a transaction, looks at it, and rolls it back.
    pub(super) fn measure_in_transaction(&self, database: &Database, statement: &str) -> Result<Measured, String> {
        let runner = database.session();
        let files = format!("select oid, relfilenode {RELATIONS} order by 1");
        let oids = runner.sql(&format!("select oid, relname {RELATIONS} order by 1"));
        let before = runner.sql(&files);
        runner.try_sql(&format!("begin; {statement}")).map_err(|error| format!("{error:?}"))?;
        let after = runner.sql(&files);
        let mut measured = self.look_at(&runner.sql("select pg_backend_pid()"), "");
        for line in oids.lines() {
            let (oid, name) = line.split_once('|').expect("there are two columns");
            let file =
                |lines: &str| lines.lines().find(|line| line.starts_with(&format!("{oid}|"))).map(ToOwned::to_owned);
            if file(&after).is_some() && file(&before) != file(&after) {
                measured.rewritten.insert(name.to_owned());
            }
            if runner.sql(&format!("select pg_stat_get_xact_numscans({oid})")).parse::<u32>().unwrap_or(0) > 0 {
                measured.scanned.insert(name.to_owned());
            }
        }
        runner.sql("rollback");
        Ok(measured)
    }

    /// Runs a statement until it waits for the holder, looks at it, and lets it go on.
    pub(super) fn measure_while_held(&self, database: &Database, statement: &str, holder: &Holder) -> Measured {
        let runner = database.session();
        let pid = runner.sql("select pg_backend_pid()");
        let waits = format!("select 1 from pg_stat_activity where pid = {pid} and wait_event_type = 'Lock'");
        thread::scope(|scope| {
            let running = scope.spawn(|| runner.try_sql(statement).map_err(|error| format!("{error:?}")));
            let waiting = || (running.is_finished() || !self.session.sql(&waits).is_empty()).then_some(());
            poll(Duration::from_secs(10), waiting).unwrap_or_else(|| panic!("{statement} did not wait"));
            let measured = self.look_at(&pid, &holder.0.sql("select pg_backend_pid()"));
            holder.0.sql("rollback");
            let outcome = running.join().expect("the session does not panic");
            outcome.unwrap_or_else(|error| panic!("{statement}: {error}"));
            measured
        })
    }

    /// Looks at the locks of one backend, those it waits for included, and tries to read and to write each table. What
    /// the holder blocks is not blocked by the statement.
    fn look_at(&self, pid: &str, holder: &str) -> Measured {
        let mut measured = Measured::default();
        let locks = self.session.sql(&format!(
            "select c.relname, l.mode from pg_locks l join pg_class c on c.oid = l.relation \
             where l.pid = {pid} and c.relnamespace = 'public'::regnamespace \
             and c.relkind in ('r', 'p', 'v', 'm', 'S', 'f')"
        ));
        for line in locks.lines() {
            let (relation, mode) = line.split_once('|').expect("there are two columns");
            let mode = parse_mode(mode);
            let strongest = measured.locks.entry(relation.to_owned()).or_insert(mode);
            *strongest = mode.max(*strongest);
        }
        for table in &self.tables {
            measured.probed.insert(table.clone());
            let is_blocked = |query: String| {
                let code = self.session.try_sql(&query).err().and_then(|error| error.code().cloned());
                code == Some(SqlState::LOCK_NOT_AVAILABLE)
            };
            if is_blocked(format!("select 1 from only {table} where false")) {
                measured.readers.insert(table.clone());
            }
            // A materialized view has no writers but its own.
            if !table.starts_with("mv") && is_blocked(format!("delete from only {table} where false")) {
                measured.writers.insert(table.clone());
            }
        }
        if !holder.is_empty() {
            measured.probed.clear();
        }
        measured
    }
}

/// Returns the mode that `pg_locks` writes as `ShareUpdateExclusiveLock`.
fn parse_mode(written: &str) -> LockMode {
    LockMode::ALL
        .into_iter()
        .find(|mode| mode.name().replace(' ', "").eq_ignore_ascii_case(written.trim_end_matches("Lock")))
        .unwrap_or_else(|| panic!("{written} is no mode"))
}
