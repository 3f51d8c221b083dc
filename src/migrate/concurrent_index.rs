//! Cleans up after an interrupted CREATE INDEX CONCURRENTLY.
//!
//! A failed build leaves an INVALID index, on which CREATE INDEX CONCURRENTLY IF NOT EXISTS then "succeeds" (measured).
//! Dropping and rebuilding it is safe; a failed REINDEX would leave one more invalid index.

use crate::{
    fault::{Code, Fault},
    postgres::{
        INDEX_BUILD_RUNNING, Row, RowTag, fault::statement_fault, own_query::OwnQuery, query_rows, quote_literal,
    },
    sql::QualifiedName,
};
use tokio_postgres::Client;

/// Reports whether the index exists and is valid.
pub(super) async fn is_index_valid(client: &Client, index: &QualifiedName) -> Result<bool, Fault> {
    Ok(find_index(client, index).await?.is_some_and(|found| found.state == IndexState::Valid))
}

/// Reports whether there is an index with this name, in any state.
pub(super) async fn index_exists(client: &Client, index: &QualifiedName) -> Result<bool, Fault> {
    Ok(find_index(client, index).await?.is_some())
}

/// Drops the index if it is INVALID, and reports whether it did.
pub(super) async fn drop_if_invalid(client: &Client, index: &QualifiedName) -> Result<bool, Fault> {
    let Some(found) = find_index(client, index).await? else { return Ok(false) };
    match found.state {
        IndexState::Invalid => {
            let sql = format!("DROP INDEX CONCURRENTLY {}", found.name.to_sql());
            client.batch_execute(&sql).await.map_err(|error| statement_fault(&error))?;
            Ok(true)
        }
        IndexState::BeingBuilt => Err(Fault::new(
            Code::StatementFailed,
            format!("another session is building the index {index} at this moment"),
        )
        .fix("wait until it is done, or end that session, and run again")),
        IndexState::Valid => Ok(false),
    }
}

/// An index found by its name.
struct NamedIndex {
    /// Its name with its schema.
    name: QualifiedName,
    state: IndexState,
}

impl NamedIndex {
    fn from_row(row: Row<'_>) -> Option<Self> {
        let [is_valid, is_being_built, schema, name] = row.columns();
        let state = match (is_valid == Some("t"), is_being_built == Some("t")) {
            (true, _) => IndexState::Valid,
            (false, true) => IndexState::BeingBuilt,
            (false, false) => IndexState::Invalid,
        };
        let name = QualifiedName { schema: schema.map(str::to_owned), name: name?.to_owned() };
        Some(Self { name, state })
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum IndexState {
    Valid,
    Invalid,
    BeingBuilt,
}

async fn find_index(client: &Client, index: &QualifiedName) -> Result<Option<NamedIndex>, Fault> {
    // The index's name is resolved with the file's search path, everything else with ours.
    let found = format!(
        "SELECT pg_catalog.set_config('bastion_migrate.index', \
         coalesce(pg_catalog.to_regclass({})::pg_catalog.oid::pg_catalog.text, '0'), true)",
        quote_literal(&index.to_sql())
    );
    let sql = format!(
        "SELECT {}, i.indisvalid, {INDEX_BUILD_RUNNING}, n.nspname, c.relname \
         FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_namespace n ON n.oid = c.relnamespace \
         WHERE i.indexrelid = current_setting('bastion_migrate.index')::oid",
        RowTag::NamedIndex
    );
    let rows = query_rows(client, &OwnQuery::read_only(sql).preceded_by(found)).await?;
    Ok(rows.tagged(RowTag::NamedIndex).find_map(NamedIndex::from_row))
}
