//! A PostgreSQL proxy for foreign clients: the tools in containers, and the later steps of a job.

#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod listener;
mod lock_timeout;
mod relay;
pub(crate) mod startup_packet;
mod stats;
mod upstream;

pub use listener::{ClientTls, ProxyListener};
pub use stats::ServerError;
