//! A gate in a file: the statement waits there until the test opens it.

use super::{postgres::Database, session::Session};

/// A closed gate; it opens with the end of the value, and of the server that it stands in.
#[derive(Debug)]
pub(crate) struct Gate<'a> {
    database: &'a Database,
    session: Session,
    number: u32,
}

impl<'a> Gate<'a> {
    /// The statement that waits at the gate, however long; without one of this number it goes on at once.
    pub(crate) fn sql(number: u32) -> String {
        format!("select pg_advisory_xact_lock({number}) from set_config('lock_timeout', '0', true);\n")
    }

    /// Closes it.
    pub(crate) fn close(database: &'a Database, number: u32) -> Self {
        let session = database.session();
        session.sql(&format!("select pg_advisory_lock({number})"));
        Self { database, session, number }
    }

    /// Waits until somebody stands before it.
    pub(crate) fn reached(&self) {
        let waiting = format!(
            "select count(*) from pg_locks where locktype = 'advisory' and not granted and objid = {} \
             and database = (select oid from pg_database where datname = current_database())",
            self.number
        );
        self.database.wait_for(&waiting, "1");
    }

    /// Opens it.
    pub(crate) fn open(self) {
        self.session.sql(&format!("select pg_advisory_unlock({})", self.number));
    }
}
