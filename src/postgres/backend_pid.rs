//! Which backend the server says we talk to, to find out a connection pooler: behind one, the pid of `BackendKeyData` is not
//! that of `pg_backend_pid()` (measured with PgBouncer 1.18). tokio-postgres keeps the pid to itself.

use std::sync::{
    Arc,
    atomic::{AtomicI32, Ordering},
};

/// The pid that `BackendKeyData` told; zero until then.
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
