//! The pid that the server announces, which reveals a connection pooler: behind one, the pid of `BackendKeyData`
//! differs from `pg_backend_pid()` (measured with PgBouncer 1.18). tokio-postgres does not expose that pid.

use std::sync::{
    Arc,
    atomic::{AtomicI32, Ordering},
};

/// The pid from `BackendKeyData`; zero until it has arrived.
#[derive(Debug, Clone, Default)]
pub(super) struct BackendPid(Arc<AtomicI32>);

impl BackendPid {
    pub(super) fn get(&self) -> i32 {
        self.0.load(Ordering::Relaxed)
    }

    pub(super) fn set(&self, pid: i32) {
        self.0.store(pid, Ordering::Relaxed);
    }
}
