//! The content of a tool's ledger, for `command: status`.

use super::{ToolExecutor, plan};
use crate::{
    fault::Fault,
    ledger::{known_tools::ToolMigration, row_times},
    postgres::{own_query::OwnQuery, query_rows, wait::answer_within},
    run::{LedgerEntry, MigrationId},
    tool::LedgerCount,
};
use std::collections::BTreeMap;

impl ToolExecutor<'_> {
    /// Returns the applied migrations, numbered in the ledger's order, with the times that the ledger has.
    ///
    /// # Errors
    /// The fault of the query for the times.
    pub(super) async fn listed_ledger(&self) -> Result<Vec<LedgerEntry>, Fault> {
        let has_schema_ledgers = self.tool.recipe.ledgers == LedgerCount::EachSchema;
        let id = |row: &ToolMigration| MigrationId {
            name: row.name.clone(),
            schema: if has_schema_ledgers { row.schema.clone() } else { String::new() },
            ..MigrationId::default()
        };
        let (rows, times) = (&self.snapshot_before.rows, self.read_row_times().await?);
        let ids = plan::with_titles(plan::with_indexes(rows.iter().map(id)), self.listing.migrations());
        let entry = |(id, row)| LedgerEntry { id, recorded_at: times.get(row).cloned(), ..LedgerEntry::default() };
        Ok(ids.into_iter().zip(rows).map(entry).collect())
    }

    async fn read_row_times(&self) -> Result<BTreeMap<ToolMigration, String>, Fault> {
        let (Some(holder), Some(sql)) = (&self.lock_holder, row_times::read_sql(&self.snapshot_before.ledgers)) else {
            return Ok(BTreeMap::new());
        };
        let query = OwnQuery::read_only(sql).requiring_lock(holder.lock_requirement());
        let rows = answer_within(self.settings.wait_timeout, query_rows(&holder.session().client, &query)).await?;
        Ok(row_times::parse_rows(&rows))
    }
}
