//! Snapshots of the schema, as a set of lines of text, to compare two moments.

use crate::postgres::{RowTag, Rows, quote_literal};
use std::collections::BTreeSet;

/// Returns the query for tables, columns, indexes, constraints and other objects that migrations usually create, one
/// per row.
#[must_use]
pub fn snapshot_sql() -> String {
    filtered_sql("")
}

/// Returns the same query for objects that are newer than the newest row of these tables and than the tables
/// themselves; `None` without a table. Row versions carry the id of their transaction (PostgreSQL manual, 5.5): the
/// smaller its age, the newer they are.
#[must_use]
pub fn since_sql(tables: &[String]) -> Option<String> {
    let age = |table: &String| {
        format!(
            "SELECT pg_catalog.age(l.xmin) AS age FROM {table} l UNION ALL SELECT pg_catalog.age(c.xmin) \
             FROM pg_catalog.pg_class c WHERE c.oid = {}::pg_catalog.regclass",
            quote_literal(table)
        )
    };
    let ages: Vec<String> = tables.iter().map(age).collect();
    let newer_than_tables =
        format!(" AND pg_catalog.age(x.xid) < (SELECT pg_catalog.min(y.age) FROM ({}) y)", ages.join(" UNION ALL "));
    (!tables.is_empty()).then(|| filtered_sql(&newer_than_tables))
}

fn filtered_sql(condition: &str) -> String {
    format!("SELECT {}, {OBJECTS_SQL}{condition}", RowTag::SchemaObject)
}

/// The query for the objects, behind `SELECT` and the tag.
const OBJECTS_SQL: &str = "x.what FROM ( \
    SELECT CASE c.relkind WHEN 'v' THEN 'view ' WHEN 'm' THEN 'materialized view ' WHEN 'S' THEN 'sequence ' ELSE 'table ' END \
        || c.oid::pg_catalog.regclass::text AS what, c.relnamespace AS space, c.xmin AS xid \
    FROM pg_catalog.pg_class c WHERE c.relkind IN ('r', 'p', 'v', 'm', 'S', 'f') \
    UNION ALL SELECT 'column ' || a.attrelid::pg_catalog.regclass::text || '.' || a.attname || ' ' \
        || pg_catalog.format_type(a.atttypid, a.atttypmod) || CASE WHEN a.attnotnull THEN ' not null' ELSE '' END, c.relnamespace, \
        a.xmin \
    FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_class c ON c.oid = a.attrelid \
    WHERE c.relkind IN ('r', 'p', 'f') AND a.attnum > 0 AND NOT a.attisdropped \
    UNION ALL SELECT 'index ' || i.indexrelid::pg_catalog.regclass::text || ' on ' || i.indrelid::pg_catalog.regclass::text \
        || CASE WHEN i.indisvalid THEN '' ELSE ' (INVALID)' END, c.relnamespace, i.xmin \
    FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid \
    UNION ALL SELECT 'constraint ' || k.conname || ' on ' || k.conrelid::pg_catalog.regclass::text || ' ' \
        || pg_catalog.pg_get_constraintdef(k.oid), k.connamespace, k.xmin \
    FROM pg_catalog.pg_constraint k WHERE k.conrelid <> 0 \
    ) x JOIN pg_catalog.pg_namespace n ON n.oid = x.space \
    WHERE n.nspname !~ '^pg_' AND n.nspname NOT IN ('information_schema', 'bastion_migrate')";

/// The schema at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SchemaSnapshot(BTreeSet<String>);

impl SchemaSnapshot {
    /// Reads the response to [`snapshot_sql`] or [`since_sql`].
    #[must_use]
    pub fn from_rows(rows: &Rows) -> Self {
        Self(rows.texts_tagged(RowTag::SchemaObject).collect())
    }

    /// Reports whether it contains this object.
    #[must_use]
    pub fn contains(&self, change: &str) -> bool {
        self.0.contains(change)
    }

    /// Returns the objects that `before` doesn't have.
    #[must_use]
    pub fn added_since(&self, before: &Self) -> Vec<String> {
        self.0.difference(&before.0).cloned().collect()
    }
}
