//! The ledger: the table that records applied migrations. The layout of the files determines its columns and its SQL.

pub mod catalog;
mod choice_faults;
mod database_state;
mod discover;
pub mod known_tools;
mod ledger_shape;
mod progress;
pub mod row_times;
pub mod schema_snapshot;
mod takeover;
mod tenant_ledgers;
mod tenant_schemas;
pub mod tenants;

pub use catalog::TRUSTED_ROLES;
pub use choice_faults::{refuse_foreign, two_ledgers_fault};
pub use database_state::{DatabaseState, read_all_query};
pub use discover::{LedgerChoice, LedgerHints, Survey, survey_query};
pub use progress::{ProgressRecord, ProgressRow};
pub use takeover::SourceLedger;
pub use tenant_ledgers::{TenantLedger, TenantLedgers, refuse_foreign_tenants};
pub use tenant_schemas::{order_tenants, parse_session_path, read_tenants, tenant_survey_query};

use crate::{
    layout::{Layout, MigrationKey, NewRow, ProgressPlace, RecordedMigration, RowDetail, Table},
    postgres::{INDEX_BUILD_RUNNING, RowTag, Rows, own_query::OwnQuery, quote_identifier},
};
use known_tools::ToolLedger;

/// The ledger of this run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ledger {
    /// The layout to which it belongs.
    pub layout: Layout,
    /// Its table.
    pub table: Table,
    /// Set if the table exists.
    pub exists: bool,
    /// Set if its schema exists.
    pub schema_exists: bool,
    /// Set if the progress table exists.
    pub progress_exists: bool,
}

impl Ledger {
    /// Returns the query for everything that the plan of a run without tenants needs from the database, in one round
    /// trip; [`DatabaseState::from_rows`] reads the response.
    #[must_use]
    pub fn read_query(&self, others: &[ToolLedger]) -> OwnQuery {
        self.detailed_query(others, RowDetail::ForPlan)
    }

    /// Returns the same query, with this detail of each row.
    #[must_use]
    pub fn detailed_query(&self, others: &[ToolLedger], detail: RowDetail) -> OwnQuery {
        read_all_query([("", self, others)].into_iter(), detail)
    }

    fn read_sql(&self, detail: RowDetail) -> String {
        let mut sql = String::new();
        if self.exists {
            sql += &self.layout.read_sql(&self.table, detail);
        }
        if self.progress_exists {
            sql += &progress::read_sql(&self.progress_table());
        }
        sql
    }

    /// Returns the SQL that creates the table, and its schema if that is missing; `None` if the table exists.
    #[must_use]
    pub fn create_sql(&self) -> Option<String> {
        if self.exists {
            return None;
        }
        let schema = if self.schema_exists {
            String::new()
        } else {
            format!("CREATE SCHEMA IF NOT EXISTS {}; ", quote_identifier(&self.table.schema))
        };
        Some(schema + &self.layout.create_sql(&self.table))
    }

    /// Returns the SQL that records a migration and returns its duration in milliseconds.
    #[must_use]
    pub fn insert_sql(&self, row: &NewRow<'_>) -> String {
        self.layout.insert_sql(&self.table, row)
    }

    /// Returns the SQL that removes a migration and returns its duration in milliseconds. `previous` is the version
    /// before it.
    #[must_use]
    pub fn remove_sql(&self, row: &NewRow<'_>, previous: Option<&str>) -> String {
        format!("{}; SELECT {}", self.forget_sql(row, previous), row.duration_sql(1_000))
    }

    /// Returns the SQL that removes a migration. `previous` is the version before it.
    #[must_use]
    pub fn forget_sql(&self, row: &NewRow<'_>, previous: Option<&str>) -> String {
        self.layout.remove_sql(&self.table, row.version, previous)
    }

    /// Returns the same ledger as it is after the work: its table is created, and the table of half-done migrations in
    /// our own schema is perhaps gone.
    #[must_use]
    pub fn as_created(&self) -> Self {
        let progress_exists = self.progress_exists && self.layout.progress_place() == ProgressPlace::BesideLedger;
        Self { exists: true, schema_exists: true, progress_exists, ..self.clone() }
    }

    /// Returns the SQL condition that this migration is recorded.
    #[must_use]
    pub fn is_recorded_sql(&self, migration: &MigrationKey<'_>) -> String {
        self.layout.is_recorded_sql(&self.table, migration)
    }

    /// Returns the table with the progress of half-done migrations without a transaction.
    #[must_use]
    pub fn progress_table(&self) -> Table {
        match self.layout.progress_place() {
            ProgressPlace::BesideLedger => self.table.sibling_table("_progress"),
            ProgressPlace::OwnSchema => progress::own_table(&self.table),
        }
    }

    /// Returns the SQL for the progress of one migration.
    #[must_use]
    pub fn progress_record(&self, version: &str) -> ProgressRecord {
        ProgressRecord {
            table: self.progress_table(),
            place: self.layout.progress_place(),
            exists: self.progress_exists,
            version: version.to_owned(),
        }
    }

    /// Returns the keys of the locks that the layout's tool takes.
    #[must_use]
    pub fn tool_lock_keys(&self, database: &str) -> Vec<i64> {
        self.layout.lock_keys(database, &self.table)
    }
}

/// Returns the query for indexes that a failed CREATE INDEX CONCURRENTLY left behind. It omits those that are being
/// built at the moment, and partitioned ones, which are invalid until every partition has its part.
#[must_use]
pub fn invalid_indexes_sql() -> String {
    format!(
        "SELECT {}, i.indexrelid::pg_catalog.regclass::text FROM pg_catalog.pg_index i \
         JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid \
         WHERE NOT i.indisvalid AND c.relkind = 'i' AND NOT {INDEX_BUILD_RUNNING}",
        RowTag::InvalidIndex
    )
}

/// Reads the response to [`invalid_indexes_sql`]: the names as SQL.
#[must_use]
pub fn parse_invalid_indexes(rows: &Rows) -> Vec<String> {
    rows.texts_tagged(RowTag::InvalidIndex).collect()
}

/// The state of one ledger: its rows, and half-done migrations.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LedgerState {
    /// The ledger's rows, by version.
    pub recorded: Vec<RecordedMigration>,
    /// Migrations without a transaction that were started and not finished.
    pub progress: Vec<ProgressRow>,
    /// Other ledgers that have rows: the tool and the table of each.
    pub other_ledgers: Vec<(String, Table)>,
}

impl LedgerState {
    /// Reads the response to [`Ledger::read_query`], with the ledger's rows as they are.
    #[must_use]
    pub fn from_rows(rows: &Rows) -> Self {
        Self {
            recorded: rows.tagged(RowTag::RecordedMigration).map(RecordedMigration::from_row).collect(),
            progress: progress::parse_rows(rows),
            other_ledgers: known_tools::parse_in_use(rows),
        }
    }
}
