//! A PostgreSQL proxy for foreign clients: the tools in containers, and the later steps of a job.

#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod held_statement;
mod listener;
mod lock_timeout;
mod lock_timeout_sql;
mod relay;
mod session_recorder;
pub(crate) mod startup_packet;
mod stats;
mod upstream;

pub use listener::{ClientSessionSettings, ClientTls, ProxyListener};
pub use stats::ServerError;
