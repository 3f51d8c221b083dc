//! The state of the database: all ledgers of a run, and the INVALID indexes.

use super::{Ledger, LedgerState, invalid_indexes_sql, known_tools, known_tools::ToolLedger, parse_invalid_indexes};
use crate::{
    layout::{Layout, RowDetail},
    postgres::{RowTag, Rows, own_query::OwnQuery, quote_literal},
};
use std::collections::BTreeMap;

/// The state of the database.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DatabaseState {
    /// The ledgers, by the schema of their tenant, which is empty without tenants.
    ledgers: BTreeMap<String, LedgerState>,
    /// The state of a ledger that does not exist.
    empty: LedgerState,
    /// INVALID indexes, with their schemas.
    pub invalid_indexes: Vec<String>,
}

/// Returns the query for these ledgers, each with the schema of its tenant and the other ledgers beside it, in one
/// round trip; [`DatabaseState::from_rows`] reads the response.
#[must_use]
pub fn read_all_query<'l>(
    ledgers: impl Iterator<Item = (&'l str, &'l Ledger, &'l [ToolLedger])>,
    detail: RowDetail,
) -> OwnQuery {
    let mut sql = String::new();
    for (schema, ledger, others) in ledgers {
        if !schema.is_empty() {
            sql.extend(["SELECT ", &RowTag::Tenant.to_string(), ", ", &quote_literal(schema), "; "]);
        }
        sql += &ledger.read_sql(detail);
        sql += &known_tools::in_use_sql(others);
    }
    OwnQuery::read_only(sql + &invalid_indexes_sql())
}

impl DatabaseState {
    /// Reads the response to [`read_all_query`]. `versions` are those of all files.
    #[must_use]
    pub fn from_rows(rows: &Rows, layout: Layout, versions: &[&str]) -> Self {
        let state_of = |rows: &Rows| {
            let state = LedgerState::from_rows(rows);
            LedgerState { recorded: layout.complete_rows(state.recorded, versions), ..state }
        };
        let ledgers = rows.sections(RowTag::Tenant).into_iter();
        let ledgers = ledgers.map(|(schema, rows)| (schema.unwrap_or_default(), state_of(&rows))).collect();
        Self { ledgers, invalid_indexes: parse_invalid_indexes(rows), ..Self::default() }
    }

    /// Returns the state of a run without tenants.
    #[must_use]
    pub fn without_tenants(ledger: LedgerState, invalid_indexes: Vec<String>) -> Self {
        Self { ledgers: [(String::new(), ledger)].into(), invalid_indexes, ..Self::default() }
    }

    /// Returns the state of the ledger of this tenant; of an empty one if it has none.
    #[must_use]
    pub fn ledger_of(&self, schema: &str) -> &LedgerState {
        self.ledgers.get(schema).unwrap_or(&self.empty)
    }

    /// Returns the INVALID indexes that an earlier state does not have.
    pub fn invalid_indexes_since<'s>(&'s self, before: &'s Self) -> impl Iterator<Item = &'s String> {
        self.invalid_indexes.iter().filter(|index| !before.invalid_indexes.contains(index))
    }
}
