//! The servers that the suite runs against: real ones, on loopback, started once per test process and gone with it. A
//! server that is not installed is a failure, never a test left out.

pub(crate) mod certificate;
pub(crate) mod pgbouncer;
pub(crate) mod postgres;
mod process;
pub(crate) mod session;
pub(crate) mod sshd;

pub(crate) use process::poll;

use postgres::{Database, Options, Postgres};
use std::sync::{Arc, LazyLock};

static SHARED: LazyLock<Arc<Postgres>> = LazyLock::new(|| Postgres::start(&Options::default()));

/// The server that tests share unless they need one that is special, or want to harm it.
pub(crate) fn shared() -> Arc<Postgres> {
    Arc::clone(&SHARED)
}

/// One test's surroundings.
#[derive(Debug)]
pub(crate) struct Lab {
    /// An empty database of the test's own.
    pub(crate) database: Database,
}

impl Lab {
    /// On the shared servers.
    pub(crate) fn new() -> Self {
        Self::on(&shared())
    }

    /// On this server.
    pub(crate) fn on(postgres: &Arc<Postgres>) -> Self {
        Self { database: postgres.database() }
    }

    /// What a finished run has left on the servers, one thing to a line; waits a moment for them to notice its end.
    pub(crate) fn left_behind(&self) -> String {
        self.database.left_behind()
    }
}
