//! A PostgreSQL proxy for foreign clients: the tools in containers, and the later steps of a job.

mod backend_event;
mod channel_binding;
mod client_settings;
mod client_source;
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
mod sent_statements;
mod server_answer;
mod session_recorder;
mod session_watch;
mod stand_in;
pub(crate) mod startup_packet;
mod stats;
mod upstream;
mod watched_relay;
mod watched_session;

pub use listener::{ClientTls, ProxyListener};
pub use session_watch::{
    BACK_TO_SAVEPOINT, Exchange, MAX_REPORT, ProbeMoment, REPORT, SAVEPOINT, SentStatement, SessionWatch,
    TransactionState,
};
pub use stand_in::StandIn;
pub use stats::ServerError;
