//! The schema as a list of sentences, so that two moments can be compared.

use std::collections::BTreeSet;

/// Tables, columns, indexes, constraints and what else a migration usually makes, one to a row.
#[must_use]
pub fn sql() -> String {
    asked("")
}

/// The same as far as it is younger than the youngest row of these tables, and than the tables themselves; nothing without a
/// table. Row versions are numbered by transactions (PostgreSQL manual, 5.5): the smaller the age, the younger.
#[must_use]
pub fn since_sql(tables: &[String]) -> Option<String> {
    let age = |table: &String| {
        format!(
            "SELECT pg_catalog.age(l.xmin) AS age FROM {table} l UNION ALL SELECT pg_catalog.age(c.xmin) \
             FROM pg_catalog.pg_class c WHERE c.oid = {}::pg_catalog.regclass",
            crate::postgres::literal(table)
        )
    };
    let ages: Vec<String> = tables.iter().map(age).collect();
    let youngest =
        format!(" AND pg_catalog.age(x.xid) < (SELECT pg_catalog.min(y.age) FROM ({}) y)", ages.join(" UNION ALL "));
    (!tables.is_empty()).then(|| asked(&youngest))
}

fn asked(which: &str) -> String {
    format!("{SQL}{which}")
}

const SQL: &str = "SELECT 'schema', x.what FROM ( \
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
    WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'";

/// The schema at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fingerprint(BTreeSet<String>);

impl Fingerprint {
    /// Reads the answer to [`SQL`], which may be among others.
    #[must_use]
    pub fn parse(answer: &[Vec<Option<String>>]) -> Self {
        let read = |row: &Vec<Option<String>>| {
            let field = |index: usize| row.get(index).cloned().flatten();
            (field(0)? == "schema").then(|| field(1)).flatten()
        };
        Self(answer.iter().filter_map(read).collect())
    }

    /// Whether this is in it.
    #[must_use]
    pub fn has(&self, what: &str) -> bool {
        self.0.contains(what)
    }

    /// What is here and was not before.
    #[must_use]
    pub fn added_since(&self, before: &Self) -> Vec<String> {
        self.0.difference(&before.0).cloned().collect()
    }
}
