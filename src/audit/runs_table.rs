//! The table `bastion_migrate.runs`.

use crate::{
    ledger::catalog::{self, CatalogTable},
    postgres::{OwnQuery, RowTag, Rows},
};

/// The table, as SQL.
pub(super) const TABLE: &str = "bastion_migrate.runs";

/// The condition that a row of `pg_class` (`c`), with its schema (`n`), is the table.
const IS_TABLE: &str = "n.nspname = 'bastion_migrate' AND c.relname = 'runs'";

/// The SQLSTATE raised if the table may run the code of others. Class BM is unused (PostgreSQL manual, appendix A).
pub(super) const UNTRUSTED: &str = "BM008";

/// The columns. A run writes those up to `plan_digest` when it begins, and the others when it ends.
const COLUMNS: &str = "id uuid PRIMARY KEY, \
    started_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(), \
    role name NOT NULL DEFAULT current_user, \
    command text NOT NULL, executor text NOT NULL, environment text, image text, \
    actor text, triggering_actor text, approved_by text, \
    repository text, commit text, ref text, workflow text, run text, attempt integer, \
    reason text, plan_digest text, planned integer, done integer, \
    ended_at timestamptz, outcome text, fault text";

/// Returns SQL that creates the table if there is none, keeps it from being changed until the end of the transaction, and
/// fails unless it is ours.
pub(super) fn prepare_sql() -> String {
    let trusted = catalog::is_trusted_sql(RowTag::RunsTable, IS_TABLE);
    let raise = crate::postgres::own_query::raise_unless(
        &trusted,
        UNTRUSTED,
        "the table bastion_migrate.runs belongs to another role, has triggers or rules of others, or hides rows by row-level \
         security",
    );
    format!(
        "SET LOCAL client_min_messages TO warning; DO $bastion_migrate$ BEGIN \
         IF pg_catalog.to_regnamespace('bastion_migrate') IS NULL THEN CREATE SCHEMA bastion_migrate; END IF; \
         IF pg_catalog.to_regclass('{TABLE}') IS NULL THEN CREATE TABLE {TABLE} ({COLUMNS}); END IF; \
         LOCK TABLE {TABLE} IN ROW EXCLUSIVE MODE; {raise} END $bastion_migrate$"
    )
}

/// Returns SQL that adds the column for reasons to a table of an earlier version, for a run that has one: it needs the table's
/// owner. `ADD COLUMN IF NOT EXISTS` would lock the table even if the column exists.
pub(super) fn add_reason_sql() -> String {
    format!(
        "DO $bastion_migrate$ BEGIN IF NOT EXISTS (SELECT FROM pg_catalog.pg_attribute \
         WHERE attrelid = pg_catalog.to_regclass('{TABLE}') AND attname = 'reason' AND NOT attisdropped) \
         THEN ALTER TABLE {TABLE} ADD COLUMN reason text; END IF; END $bastion_migrate$; "
    )
}

/// Returns the query for the table and for what speaks against reading it.
#[must_use]
pub fn runs_table_query() -> OwnQuery {
    OwnQuery::read_only(catalog::tables_sql(RowTag::RunsTable, IS_TABLE))
}

/// Reads the response to [`runs_table_query`]; `None` if no run was ever recorded.
#[must_use]
pub fn parse_runs_table(rows: &Rows) -> Option<CatalogTable> {
    catalog::parse_tables(rows, RowTag::RunsTable).into_iter().next()
}
