//! A PostgreSQL proxy for foreign clients: the tools in containers, and the later steps of a job.

mod backend_event;
mod channel_binding;
mod client_settings;
mod error_response;
mod error_scanner;
mod first_packets;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod held_statement;
mod listener;
mod lock_timeout;
mod lock_timeout_sql;
mod own_login;
mod password_proof;
mod relay;
mod session_recorder;
pub(crate) mod startup_packet;
mod stats;
mod upstream;

pub use listener::{ClientTls, ProxyListener};
pub use stats::ServerError;
