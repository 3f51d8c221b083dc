//! Who has a schema of their own, where a tool keeps a ledger in each: the schemas that are still without one are in the
//! application's own table of tenants. It can have any name; the column that names a tenant's schema tells it.

use super::catalog::{self, CatalogTable};
use crate::layout::Table;
use crate::postgres::{identifier, literal};

/// The type of that column (django-tenants, `TenantMixin.schema_name`: a name of PostgreSQL has 63 bytes).
const TYPE: &str = "character varying(63)";

/// Every table that has the column.
#[must_use]
pub fn find_sql(column: &str) -> String {
    let condition = format!(
        "c.relkind = 'r' AND EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attname = {} \
         AND format_type(a.atttypid, a.atttypmod) = {} AND NOT a.attisdropped)",
        literal(column),
        literal(TYPE)
    );
    catalog::tables_sql("tenants", &condition)
}

/// Reads the answer, which may be among others: the tables that may be read.
#[must_use]
pub fn found(answer: &[Vec<Option<String>>]) -> Vec<Table> {
    let tables = catalog::tables(answer, "tenants");
    tables.into_iter().filter(CatalogTable::is_trusted).map(|found| found.table).collect()
}

/// The schemas that these tables name, as far as they exist.
#[must_use]
pub fn read_sql(tables: &[Table], column: &str) -> String {
    let column = identifier(column);
    let each = tables.iter().map(|table| {
        format!(
            "SELECT 'tenant', t.{column} FROM {} t JOIN pg_catalog.pg_namespace n ON n.nspname = t.{column} \
             WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'",
            table.sql()
        )
    });
    each.collect::<Vec<_>>().join(" UNION ")
}

/// Reads the answer, which may be among others.
#[must_use]
pub fn schemas(answer: &[Vec<Option<String>>]) -> Vec<String> {
    let read = |row: &Vec<Option<String>>| {
        let field = |index: usize| row.get(index).cloned().flatten();
        (field(0)? == "tenant").then(|| field(1)).flatten()
    };
    answer.iter().filter_map(read).collect()
}
