//! Sessions with one PostgreSQL database over any stream, and the queries that bastion-migrate itself sends.

mod activity;
mod activity_query;
pub(crate) mod backend_messages;
mod backend_pid;
mod canceller;
mod client_certificate;
pub(crate) mod client_requests;
mod concurrently;
pub(crate) mod error_fields;
pub(crate) mod fault;
mod filtered_stream;
mod frame;
pub(crate) mod frontend_messages;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
pub(crate) mod identity_refusal;
mod lock_waits;
mod message_filter;
mod message_treatment;
pub(crate) mod origin_comment;
pub(crate) mod own_query;
mod parsed_url;
mod placeholders;
pub mod pooler;
pub mod preflight;
mod protocol_violation;
mod query_summary;
mod readable_row;
mod row_tag;
mod rows;
pub mod run_lock;
mod sent_requests;
mod server_certificate;
mod server_end_point;
mod server_health;
mod server_message;
mod session;
mod session_defaults;
mod session_settings;
mod session_state;
mod sqlstate_hint;
mod sslmode;
pub mod start_conditions;
mod startup_options;
mod startup_phase;
mod target;
#[cfg(test)]
pub(crate) mod test_messages;
pub(crate) mod tls;
mod url;
mod url_parameters;
mod url_parts;
mod url_sections;
pub mod wait;
mod watched_sessions;
pub(crate) mod wire_format;

pub use activity::ActivityMonitor;
pub use canceller::Canceller;
pub use client_certificate::{CertificateTexts, ClientCertificate};
pub(crate) use concurrently::waits_for_transactions;
pub(crate) use frame::{FramePart, MessageFramer};
pub use lock_waits::{Blocker, LockWaits};
pub use own_query::{OwnQuery, RunLockRequirement, bastion_migrate_key};
pub use parsed_url::ParsedUrl;
pub use placeholders::DatabasePlaceholder;
pub(crate) use query_summary::summarize_query;
pub use row_tag::RowTag;
pub use rows::{Row, Rows};
pub use server_certificate::{ServerCertificate, read_certificate};
pub(crate) use server_end_point::server_end_point;
pub use server_health::{
    ConnectionUse, IdleSlot, RoleRights, SequenceUse, ServerHealth, SessionTimeout, health_sql, sequences_sql,
};
pub use session::{Session, SessionMeans};
pub use session_defaults::SessionDefaults;
pub(crate) use session_defaults::set_for_session_sql;
pub use session_settings::{DISABLE_TRANSACTION_TIMEOUT, SessionSettings, SettingsDelivery, StatementTimeouts};
pub use session_state::{CURRENT_DATABASE_OID, session_state_sql};
pub use sslmode::SslRequest;
pub use start_conditions::{StartConditions, TimeWindow};
pub(crate) use startup_options::decode_options;
#[cfg(any(test, fuzzing))]
pub(crate) use startup_options::encode_options;
pub use target::{ClientIdentity, DatabaseTarget, SslMode, TlsStart};
pub use tls::check_ca;
pub use url::DatabaseUrl;
pub use url_parameters::RootCert;
pub use watched_sessions::{WatchedSessions, WorkOwner};

use crate::fault::Fault;
use tokio_postgres::{Client, Error, SimpleQueryMessage};

/// Runs the message in one round trip and returns the rows of all its queries, as text.
///
/// # Errors
/// The server's error or the lost connection; `ledger-hidden` if row security would leave rows out.
pub async fn query_rows(client: &Client, query: &OwnQuery) -> Result<Rows, Fault> {
    run_query(client, query).await.map_err(|error| fault::query_fault(&error))
}

async fn run_query(client: &Client, query: &OwnQuery) -> Result<Rows, Error> {
    query_rows_as_written(client, &query.to_string()).await
}

/// Runs a query within the transaction and with the search path of the session, and returns its rows as text.
///
/// # Errors
/// The server's error, or the lost connection.
pub async fn query_rows_as_written(client: &Client, sql: &str) -> Result<Rows, Error> {
    let messages = client.simple_query(sql).await?;
    let row = |message: &SimpleQueryMessage| match message {
        SimpleQueryMessage::Row(row) => {
            Some((0..row.len()).map(|index| Ok(row.try_get(index)?.map(str::to_owned))).collect())
        }
        _ => None,
    };
    messages.iter().filter_map(row).collect()
}

/// An SQL condition on `pg_index i`: a session is building the index at this moment. For a session of another role,
/// the server shows that it builds an index and which table it has locked, but not which index. Neither list depends
/// on `i`: PostgreSQL computes each once, and estimates so low a cost that it skips JIT compilation (350 ms for a
/// thousand tables).
pub(crate) const INDEX_BUILD_RUNNING: &str = "(i.indexrelid IN (SELECT p.index_relid \
    FROM pg_catalog.pg_stat_progress_create_index p WHERE p.index_relid IS NOT NULL) \
    OR i.indrelid IN (SELECT l.relation FROM pg_catalog.pg_stat_progress_create_index p \
    JOIN pg_catalog.pg_locks l ON l.pid = p.pid WHERE p.index_relid IS NULL AND p.datname = pg_catalog.current_database() \
    AND l.relation IS NOT NULL AND l.mode = 'ShareUpdateExclusiveLock' AND l.granted))";

/// Quotes a text as an SQL string literal that means the same with `standard_conforming_strings` on or off.
#[must_use]
pub fn quote_literal(text: &str) -> String {
    let quoted = text.replace('\'', "''");
    if quoted.contains('\\') { format!(" E'{}'", quoted.replace('\\', "\\\\")) } else { format!("'{quoted}'") }
}

/// Quotes a name as an SQL identifier.
#[must_use]
pub fn quote_identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
