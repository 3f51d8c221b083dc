//! The tables of the original whose rows may be copied, with their columns and foreign keys. The question only reads the
//! catalog.

use crate::{
    fault::Fault,
    layout::Table,
    postgres::{OwnQuery, RowTag, Rows, query_rows},
};
use std::collections::BTreeMap;
use tokio_postgres::Client;

/// The tables, by their object identifiers in the original.
pub(super) type SampleCatalog = BTreeMap<u32, SampleTable>;

/// A table whose rows may be copied. Partitions are a part of theirs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct SampleTable {
    pub(super) name: Table,
    /// Whether rows of partitions are read with it; those of children are not.
    pub(super) is_partitioned: bool,
    pub(super) access: RowAccess,
    /// Bytes of a row on average, with what is stored beside it; none if it is not known.
    pub(super) row_bytes: Option<u64>,
    /// The columns that are stored and can be written.
    pub(super) columns: Vec<SampleColumn>,
    /// The columns of its primary key.
    pub(super) primary_key: Vec<String>,
    /// Its foreign keys to tables that may be copied.
    pub(super) references: Vec<SampleReference>,
}

/// The right to read the rows of a table.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum RowAccess {
    /// All rows can be read.
    #[default]
    Whole,
    /// The role may not read it.
    Denied,
    /// Row-level security hides rows from the role.
    Hidden,
}

/// A column.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct SampleColumn {
    pub(super) name: String,
    /// Its type as SQL.
    pub(super) sql_type: String,
    /// The name of the type without its schema; that below a domain.
    pub(super) base_type: String,
    pub(super) kind: TypeKind,
    /// The modifier of the type, as a column has it; none if there is no bound.
    pub(super) modifier: Option<i32>,
    pub(super) nulls: Nulls,
}

/// The kind of a column's type.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum TypeKind {
    /// One of PostgreSQL's own.
    #[default]
    Builtin,
    /// An enumeration.
    Enumeration,
    /// An array.
    Array,
    /// A type of text that an extension has.
    Text,
    /// Any other.
    Other,
}

/// Whether a column may have no value.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Nulls {
    /// It may.
    #[default]
    Allowed,
    /// It may not.
    Refused,
}

/// A foreign key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SampleReference {
    /// The table with the rows that are referred to.
    pub(super) table: u32,
    /// The columns here.
    pub(super) columns: Vec<String>,
    /// The columns there, in the same order.
    pub(super) keys: Vec<String>,
}

/// Reads the tables, without those whose rows a copy has anyway.
///
/// # Errors
/// The server's error, or the lost connection.
pub(super) async fn read_sample_catalog(client: &Client, without: &[Table]) -> Result<SampleCatalog, Fault> {
    let mut catalog = parse_catalog(&query_rows(client, &catalog_query()).await?);
    catalog.retain(|_, table| !without.contains(&table.name));
    let known: Vec<u32> = catalog.keys().copied().collect();
    for table in catalog.values_mut() {
        table.references.retain(|reference| known.contains(&reference.table));
    }
    Ok(catalog)
}

/// The condition on `pg_class c` with `pg_namespace n`: a table of the user's, and no partition.
const IS_SAMPLED: &str = "c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relpersistence <> 't' \
     AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' AND n.nspname <> 'bastion_migrate' \
     AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass \
     AND d.objid = c.oid AND d.deptype = 'e')";

fn catalog_query() -> OwnQuery {
    let [table, column, key] = [RowTag::SampleTable, RowTag::SampleColumn, RowTag::SampleKey];
    let names = |columns: &str, of: &str| {
        format!(
            "(SELECT pg_catalog.json_agg(a.attname ORDER BY k.at) FROM pg_catalog.unnest({columns}) WITH ORDINALITY k(attnum, at) \
             JOIN pg_catalog.pg_attribute a ON a.attrelid = {of} AND a.attnum = k.attnum)::pg_catalog.text"
        )
    };
    OwnQuery::read_only(format!(
        "SELECT {table}, c.oid, n.nspname, c.relname, c.relkind, \
         CASE WHEN NOT pg_catalog.has_table_privilege(c.oid, 'SELECT') THEN 'denied' \
         WHEN pg_catalog.row_security_active(c.oid) THEN 'hidden' END, \
         CASE WHEN c.reltuples > 0 THEN ((c.relpages::pg_catalog.int8 + COALESCE(t.relpages, 0)) * 8192 / c.reltuples)::pg_catalog.int8 END, {} \
         FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
         LEFT JOIN pg_catalog.pg_class t ON t.oid = c.reltoastrelid \
         LEFT JOIN pg_catalog.pg_constraint p ON p.conrelid = c.oid AND p.contype = 'p' WHERE {IS_SAMPLED}",
        names("p.conkey", "c.oid"),
    ))
    .with_appended(&format!(
        "SELECT {column}, a.attrelid, a.attname, pg_catalog.format_type(a.atttypid, a.atttypmod), b.typname, \
         CASE WHEN b.typtype = 'e' THEN 'enumeration' WHEN b.typcategory = 'A' THEN 'array' \
         WHEN b.typnamespace = 'pg_catalog'::pg_catalog.regnamespace AND b.typtype = 'b' THEN 'builtin' \
         WHEN b.typtype = 'b' AND b.typcategory = 'S' THEN 'text' ELSE 'other' END, \
         CASE WHEN y.typtype = 'd' THEN y.typtypmod ELSE a.atttypmod END, (a.attnotnull OR y.typnotnull)::pg_catalog.text \
         FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_class c ON c.oid = a.attrelid \
         JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace JOIN pg_catalog.pg_type y ON y.oid = a.atttypid \
         JOIN pg_catalog.pg_type b ON b.oid = CASE WHEN y.typtype = 'd' THEN y.typbasetype ELSE y.oid END \
         WHERE a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = '' AND {IS_SAMPLED} ORDER BY a.attrelid, a.attnum"
    ))
    .with_appended(&format!(
        "SELECT {key}, f.conrelid, f.confrelid, {}, {} FROM pg_catalog.pg_constraint f \
         JOIN pg_catalog.pg_class c ON c.oid = f.conrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
         WHERE f.contype = 'f' AND {IS_SAMPLED} ORDER BY f.oid",
        names("f.conkey", "f.conrelid"),
        names("f.confkey", "f.confrelid"),
    ))
}

fn parse_catalog(rows: &Rows) -> SampleCatalog {
    let mut catalog = SampleCatalog::new();
    for row in rows.tagged(RowTag::SampleTable) {
        let [_, schema, name, kind, access, _, key] = row.columns().map(Option::unwrap_or_default);
        let Some(oid) = row.parse(0) else { continue };
        let access = match access {
            "denied" => RowAccess::Denied,
            "hidden" => RowAccess::Hidden,
            _ => RowAccess::Whole,
        };
        let table = SampleTable {
            name: Table { schema: schema.to_owned(), name: name.to_owned() },
            is_partitioned: kind == "p",
            access,
            row_bytes: row.parse(5),
            primary_key: names_of(key),
            ..SampleTable::default()
        };
        catalog.insert(oid, table);
    }
    for row in rows.tagged(RowTag::SampleColumn) {
        let [_, name, sql_type, base_type, kind, _, refused] = row.columns().map(Option::unwrap_or_default);
        let column = SampleColumn {
            name: name.to_owned(),
            sql_type: sql_type.to_owned(),
            base_type: base_type.to_owned(),
            kind: match kind {
                "builtin" => TypeKind::Builtin,
                "enumeration" => TypeKind::Enumeration,
                "array" => TypeKind::Array,
                "text" => TypeKind::Text,
                _ => TypeKind::Other,
            },
            modifier: row.parse(5).filter(|modifier: &i32| *modifier >= 0),
            nulls: if refused == "true" { Nulls::Refused } else { Nulls::Allowed },
        };
        if let Some(table) = row.parse(0).and_then(|oid: u32| catalog.get_mut(&oid)) {
            table.columns.push(column);
        }
    }
    for row in rows.tagged(RowTag::SampleKey) {
        let [_, _, columns, keys] = row.columns().map(Option::unwrap_or_default);
        let (Some(table), Some(there)) = (row.parse(0).and_then(|oid: u32| catalog.get_mut(&oid)), row.parse(1)) else {
            continue;
        };
        table.references.push(SampleReference { table: there, columns: names_of(columns), keys: names_of(keys) });
    }
    catalog
}

/// Returns the names in a JSON array.
fn names_of(json: &str) -> Vec<String> {
    serde_json::from_str(json).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_tables_columns_and_foreign_keys() {
        let rows: Rows = [
            RowTag::SampleTable.row(&["7", "public", "a", "r", "", "120", "[\"id\"]"]),
            RowTag::SampleTable.row(&["8", "public", "b", "p", "hidden", "", ""]),
            RowTag::SampleColumn.row(&["7", "id", "integer", "int4", "builtin", "-1", "true"]),
            RowTag::SampleColumn.row(&["7", "note", "character varying(20)", "varchar", "builtin", "24", "false"]),
            RowTag::SampleColumn.row(&["9", "other", "integer", "int4", "builtin", "-1", "true"]),
            RowTag::SampleKey.row(&["7", "8", "[\"x\",\"y\"]", "[\"p\",\"q\"]"]),
        ]
        .into_iter()
        .collect();
        let catalog = parse_catalog(&rows);
        let [first, second] = [&catalog[&7], &catalog[&8]];
        assert_eq!((first.row_bytes, first.primary_key.as_slice()), (Some(120), ["id".to_owned()].as_slice()));
        assert_eq!((second.is_partitioned, second.access), (true, RowAccess::Hidden));
        let columns: Vec<_> = first.columns.iter().map(|column| (column.modifier, column.nulls)).collect();
        assert_eq!(columns, [(None, Nulls::Refused), (Some(24), Nulls::Allowed)]);
        assert_eq!(first.references[0].keys, ["p".to_owned(), "q".to_owned()]);
    }
}
