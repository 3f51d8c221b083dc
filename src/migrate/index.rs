//! What a cut-off CREATE INDEX CONCURRENTLY leaves behind, and how it is cleared away.
//!
//! After a failure the index is there and INVALID, and CREATE INDEX CONCURRENTLY IF NOT EXISTS then "succeeds" on it
//! (measured). Dropping and building anew is the safe way: a failed REINDEX leaves one more invalid index.

use super::name::QualifiedName;
use crate::{
    fault::{Code, Fault},
    postgres::{BEING_BUILT, fault::statement, literal, rows},
};
use tokio_postgres::Client;

/// Whether the index is there and whole.
pub(super) async fn is_valid(client: &Client, index: &QualifiedName) -> Result<bool, Fault> {
    Ok(state(client, index).await?.is_some_and(|state| state == State::Valid))
}

/// Whether there is an index of this name, in any state.
pub(super) async fn exists(client: &Client, index: &QualifiedName) -> Result<bool, Fault> {
    Ok(state(client, index).await?.is_some())
}

/// Drops it if it is INVALID; says whether it was.
pub(super) async fn drop_if_invalid(client: &Client, index: &QualifiedName) -> Result<bool, Fault> {
    match state(client, index).await? {
        Some(State::Invalid) => {
            let sql = format!("DROP INDEX CONCURRENTLY {}", index.sql());
            client.batch_execute(&sql).await.map_err(|error| statement(&error))?;
            Ok(true)
        }
        Some(State::InTheMaking) => Err(Fault::new(
            Code::StatementFailed,
            format!("another session is building the index {index} at this moment"),
        )
        .fix("wait until it is done, or end that session, and run again")),
        Some(State::Valid) | None => Ok(false),
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Valid,
    Invalid,
    InTheMaking,
}

async fn state(client: &Client, index: &QualifiedName) -> Result<Option<State>, Fault> {
    let sql = format!(
        "SELECT i.indisvalid, {BEING_BUILT} \
         FROM pg_catalog.pg_index i WHERE i.indexrelid = pg_catalog.to_regclass({})",
        literal(&index.sql())
    );
    let answer = rows(client, &sql).await.map_err(|error| statement(&error))?;
    let is = |row: &Vec<Option<String>>, at: usize| row.get(at).is_some_and(|value| value.as_deref() == Some("t"));
    Ok(answer.first().map(|row| match (is(row, 0), is(row, 1)) {
        (true, _) => State::Valid,
        (false, true) => State::InTheMaking,
        (false, false) => State::Invalid,
    }))
}
