//! The servers that the suite runs against: real ones, on loopback, started once per test process and stopped with it.
//! A test whose server is not installed fails; it is never skipped.

pub(crate) mod alembic;
pub(crate) mod certificate;
#[cfg(test)]
pub(crate) mod client_authority;
#[cfg(test)]
pub(crate) mod cloud;
pub(crate) mod gate;
pub(crate) mod github;
pub(crate) mod http_proxy;
pub(crate) mod login;
pub(crate) mod pgbouncer;
pub(crate) mod postgres;
pub(crate) mod process;
pub(crate) mod project;
#[cfg(test)]
pub(crate) mod rds_login;
pub(crate) mod server;
pub(crate) mod session;
#[cfg(test)]
pub(crate) mod ssh_ca;
pub(crate) mod sshd;
#[cfg(test)]
pub(crate) mod stranger;
pub(crate) mod venv;
#[cfg(test)]
pub(crate) mod ways;
#[cfg(test)]
pub(crate) mod webhook;

pub(crate) use process::poll;

use postgres::{Database, Options, Postgres};
use sshd::Sshd;
use std::{
    sync::{Arc, LazyLock},
    time::Duration,
};

static SHARED: LazyLock<Arc<Postgres>> = LazyLock::new(|| Postgres::start(&Options::default()));

static BASTION: LazyLock<Arc<Sshd>> = LazyLock::new(|| Arc::new(Sshd::plain()));

/// Returns the server that tests share, unless they need a special one or damage it.
pub(crate) fn shared() -> Arc<Postgres> {
    Arc::clone(&SHARED)
}

/// The servers of one test.
#[derive(Debug)]
pub(crate) struct Lab {
    /// An empty database of the test's own.
    pub(crate) database: Database,
    /// The bastion in front of it.
    pub(crate) bastion: Arc<Sshd>,
}

impl Lab {
    /// Creates a lab on the shared servers.
    pub(crate) fn new() -> Self {
        Self::on(&shared())
    }

    /// Creates a lab on this database server.
    pub(crate) fn on(postgres: &Arc<Postgres>) -> Self {
        Self { database: postgres.database(), bastion: Arc::clone(&BASTION) }
    }

    /// Creates a lab on the shared servers, with a database in this encoding.
    pub(crate) fn encoded(encoding: &str) -> Self {
        let database = shared().database_with(&format!("encoding '{encoding}' locale 'C'"));
        Self { database, bastion: Arc::clone(&BASTION) }
    }

    /// Replaces the shared bastion by one of the test's own.
    pub(crate) fn behind(self, bastion: Sshd) -> Self {
        Self { bastion: Arc::new(bastion), ..self }
    }

    /// Returns everything that a finished run has left on the servers, one item per line; waits a moment for it to go.
    pub(crate) fn left_behind(&self) -> String {
        let left = self.database.left_behind();
        // On the shared bastion the sessions of other tests come and go.
        if !Arc::ptr_eq(&self.bastion, &BASTION) {
            let none = poll(Duration::from_secs(3), || self.bastion.sessions().is_empty().then_some(()));
            if none.is_none() {
                return format!("{left}sshd still has {:?}\n", self.bastion.sessions());
            }
        }
        left
    }
}
