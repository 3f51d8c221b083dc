//! A gate in a migration file: a statement that waits until the test opens it.

use super::{postgres::Database, session::Session};

/// A closed gate; it opens when the value is dropped or its server ends.
#[derive(Debug)]
pub(crate) struct Gate<'a> {
    database: &'a Database,
    session: Session,
    number: u32,
}

impl<'a> Gate<'a> {
    /// Returns a statement that waits at the gate without a time limit; without a gate of this number it ends at once.
    pub(crate) fn sql(number: u32) -> String {
        format!("select pg_advisory_xact_lock({number}) from set_config('lock_timeout', '0', true);\n")
    }

    /// Closes the gate.
    pub(crate) fn close(database: &'a Database, number: u32) -> Self {
        let session = database.session();
        session.sql(&format!("select pg_advisory_lock({number})"));
        Self { database, session, number }
    }

    /// Waits until a session waits at the gate.
    pub(crate) fn wait_until_reached(&self) {
        let waiting = format!(
            "select count(*) from pg_locks where locktype = 'advisory' and not granted and objid = {} \
             and database = (select oid from pg_database where datname = current_database())",
            self.number
        );
        self.database.wait_for(&waiting, "1");
    }

    /// Opens the gate.
    pub(crate) fn open(self) {
        self.session.sql(&format!("select pg_advisory_unlock({})", self.number));
    }
}
