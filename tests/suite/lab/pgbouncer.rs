//! `PgBouncer` in front of a database server.

use super::{
    postgres::{Database, PASSWORD, ROLE},
    process::{ServerProcess, chown_to_unprivileged, directory, free_port, poll, program, unprivileged},
};
use std::{fs, net::TcpStream, time::Duration};
use tempfile::TempDir;

/// The pool mode: how long a client keeps a server connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pool {
    Transaction,
    Session,
    Statement,
}

/// A running pooler.
#[derive(Debug)]
pub(crate) struct PgBouncer {
    // Before the directory: the process must end before its directory is removed.
    _process: ServerProcess,
    _directory: TempDir,
    port: u16,
}

impl PgBouncer {
    /// Starts a pooler in front of the database's server.
    pub(crate) fn start(database: &Database, pool: Pool) -> Self {
        Self::configured(database, pool, "")
    }

    /// Starts a pooler with more lines in its configuration.
    pub(crate) fn configured(database: &Database, pool: Pool, line: &str) -> Self {
        let (directory, port) = (directory(), free_port());
        let path = |name: &str| directory.path().join(name);
        let mode = match pool {
            Pool::Transaction => "transaction",
            Pool::Session => "session",
            Pool::Statement => "statement",
        };
        let users = format!("\"{ROLE}\" \"{}\"\n", PASSWORD.replace('"', "\"\""));
        fs::write(path("users"), users).expect("the directory is writable");
        let settings = format!(
            "[databases]\n* = host=127.0.0.1 port={}\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\n\
             unix_socket_dir =\nauth_type = trust\nauth_file = {}\npool_mode = {mode}\n{line}\n",
            database.server().port(),
            path("users").display(),
        );
        fs::write(path("pgbouncer.ini"), settings).expect("the directory is writable");
        chown_to_unprivileged(directory.path());
        let mut command = unprivileged(&program("pgbouncer", "pgbouncer"));
        command.arg(path("pgbouncer.ini"));
        let process = ServerProcess::start(&command, directory.path(), &path("log"), "TERM");
        poll(Duration::from_secs(10), || TcpStream::connect(("127.0.0.1", port)).ok())
            .unwrap_or_else(|| panic!("PgBouncer: {}", fs::read_to_string(path("log")).unwrap_or_default()));
        Self { _process: process, _directory: directory, port }
    }

    /// Returns its port on 127.0.0.1.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::{session::Session, shared};

    #[test]
    fn pools_by_transaction_or_by_session() {
        let database = shared().database();
        for (pool, kept) in [(Pool::Session, "42s"), (Pool::Transaction, "0")] {
            let pooler = PgBouncer::start(&database, pool);
            let url = database.url_at("localhost", pooler.port());
            let session = Session::open(&url.parse().unwrap()).unwrap();
            let blocker = Session::open(&url.parse().unwrap()).unwrap();
            session.sql("set statement_timeout = '42s'");
            // In transaction mode the other client takes the one idle server connection and holds it.
            blocker.sql("begin");
            assert_eq!(session.sql("show statement_timeout"), kept, "{pool:?}");
        }
    }
}
