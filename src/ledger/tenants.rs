//! Finds the tenants of a tool that keeps a ledger in each tenant's schema. Schemas without a ledger yet are listed
//! only in the application's own table of tenants. That table can have any name; it is found by its column for the
//! schema's name.

use super::catalog::{self, CatalogTable};
use crate::{
    layout::Table,
    postgres::{RowTag, Rows, quote_identifier, quote_literal},
};

/// The type of that column (django-tenants, `TenantMixin.schema_name`: names in PostgreSQL have up to 63 bytes).
const SCHEMA_COLUMN_TYPE: &str = "character varying(63)";

/// Returns the query for every table that has the column.
#[must_use]
pub fn find_sql(column: &str) -> String {
    let condition = format!(
        "c.relkind = 'r' AND EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attname = {} \
         AND format_type(a.atttypid, a.atttypmod) = {} AND NOT a.attisdropped)",
        quote_literal(column),
        quote_literal(SCHEMA_COLUMN_TYPE)
    );
    catalog::tables_sql(RowTag::TenantTable, &condition)
}

/// Reads the tables that may be used from the response to [`find_sql`].
#[must_use]
pub fn parse_tables(rows: &Rows) -> Vec<Table> {
    let tables = catalog::parse_tables(rows, RowTag::TenantTable);
    tables.into_iter().filter(CatalogTable::is_trusted).map(|found| found.table).collect()
}

/// Returns the query for the existing schemas that these tables name.
#[must_use]
pub fn read_sql(tables: &[Table], column: &str) -> String {
    let column = quote_identifier(column);
    let selects = tables.iter().map(|table| {
        format!(
            "SELECT {}, t.{column} FROM {} t JOIN pg_catalog.pg_namespace n ON n.nspname = t.{column} \
             WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'",
            RowTag::Tenant,
            table.to_sql()
        )
    });
    selects.collect::<Vec<_>>().join(" UNION ")
}

/// Reads the schemas from the response to [`read_sql`].
#[must_use]
pub fn parse_schemas(rows: &Rows) -> Vec<String> {
    rows.texts_tagged(RowTag::Tenant).collect()
}
