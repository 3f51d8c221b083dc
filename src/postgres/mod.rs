//! Talking to one PostgreSQL over any stream, and letting others talk to it.

mod backend_pid;
mod connect;
pub mod facts;
pub(crate) mod fault;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod guard;
mod hint;
mod listener;
pub mod lock;
mod messages;
pub mod ready;
mod record;
mod relay;
mod sslmode;
mod target;
mod tls;
mod upstream;
pub mod url;
mod url_parameters;
mod wire;

pub use connect::{Canceller, Session, Startup};
pub use guard::{Guard, Ward};
pub use listener::{Injected, Listener, Passage};
pub use record::{ServerError, Traffic};
pub use sslmode::SslWish;
pub use target::{SslMode, Target};
pub use tls::check_ca;
pub use url_parameters::RootCert;

use tokio_postgres::{Client, Error, SimpleQueryMessage};

/// Runs a string of queries in one round trip and returns the rows of all of them, as text.
///
/// # Errors
/// The driver's own.
pub async fn rows(client: &Client, sql: &str) -> Result<Vec<Vec<Option<String>>>, Error> {
    let answer = client.simple_query(sql).await?;
    let row = |message: &SimpleQueryMessage| match message {
        SimpleQueryMessage::Row(row) => Some((0..row.len()).map(|index| row.get(index).map(str::to_owned)).collect()),
        _ => None,
    };
    Ok(answer.iter().filter_map(row).collect())
}

/// An SQL condition on `pg_index i`: somebody is building it at this moment. Of another role's session the server tells
/// which table it has locked, and that it builds an index, but not which one. Neither list depends on `i`: PostgreSQL makes
/// each of them once, and estimates so little that it does not compile the question first (350 ms for a thousand tables).
pub(crate) const BEING_BUILT: &str = "(i.indexrelid IN (SELECT p.index_relid \
    FROM pg_catalog.pg_stat_progress_create_index p WHERE p.index_relid IS NOT NULL) \
    OR i.indrelid IN (SELECT l.relation FROM pg_catalog.pg_stat_progress_create_index p \
    JOIN pg_catalog.pg_locks l ON l.pid = p.pid WHERE p.index_relid IS NULL AND p.datname = pg_catalog.current_database() \
    AND l.relation IS NOT NULL AND l.mode = 'ShareUpdateExclusiveLock' AND l.granted))";

/// An SQL string literal. With `standard_conforming_strings` on, which our start-up sees to, only the quote is special.
#[must_use]
pub fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// A quoted SQL identifier.
#[must_use]
pub fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
