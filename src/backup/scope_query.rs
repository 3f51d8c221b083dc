//! The question to the database: the relations that a dump would contain, with their sizes, in one message.
//!
//! `pg_total_relation_size` takes the lock of a SELECT, as `pg_dump` does; the session's `lock_timeout` limits the wait.

use super::dump_scope::{DumpScope, DumpedRelation, RelationUse};
use crate::{
    fault::Fault,
    postgres::{OwnQuery, Row, RowTag, Rows, query_rows, quote_literal},
    sql::QualifiedName,
};
use tokio_postgres::Client;

/// The relations that are asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ScopeSelection {
    /// All of the database.
    Database,
    /// Some of it.
    Names {
        /// Relations; one without a schema is looked up in each of the paths.
        relations: Vec<QualifiedName>,
        /// Schemas with all their relations.
        schemas: Vec<String>,
        /// Search paths: that of each tenant, or only one.
        paths: Vec<Vec<String>>,
    },
}

/// Relations that `pg_dump` dumps: tables, partitioned ones, materialized views, views, sequences, foreign tables.
const KINDS: &str = "('r', 'p', 'm', 'v', 'S', 'f')";

/// Columns that the parser reads. The rows of a table are dumped unless they belong to an extension (`pg_dump`,
/// `checkExtensionMembership`).
const COLUMNS: &str = "n.nspname, c.relname, \
    c.relkind = 'r' AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e'), \
    CASE WHEN c.relkind IN ('r', 'm') THEN pg_total_relation_size(c.oid) ELSE 0 END";

/// Reads the relations. Returns the names of those that are not there beside the scope.
///
/// # Errors
/// The server's error, or the lost connection.
pub async fn read_scope(client: &Client, selection: &ScopeSelection) -> Result<(DumpScope, Vec<String>), Fault> {
    let rows = query_rows(client, &OwnQuery::read_only(scope_sql(selection))).await?;
    let missing = rows.texts_tagged(RowTag::MissingTable).collect();
    let relations = parse_relations(&rows);
    let scope = match selection {
        ScopeSelection::Database => DumpScope::Database(relations),
        ScopeSelection::Names { .. } => DumpScope::Relations(relations),
    };
    Ok((scope, missing))
}

fn scope_sql(selection: &ScopeSelection) -> String {
    let tag = RowTag::DumpedRelation;
    let from = "pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace";
    match selection {
        ScopeSelection::Database => format!(
            "SELECT {tag}, {COLUMNS} FROM {from} WHERE c.relkind IN {KINDS} AND c.relpersistence <> 't' \
             AND n.nspname <> 'information_schema' AND n.nspname !~ '^pg_'"
        ),
        ScopeSelection::Names { relations, schemas, paths } => {
            let named = names_sql(relations, schemas, paths);
            // A row that goes with one of another table is changed as well, though the plan does not name its table.
            format!(
                "{named}, touched(oid) AS (SELECT f.oid FROM found f \
                    UNION SELECT x.oid FROM touched t CROSS JOIN LATERAL ( \
                        SELECT i.indrelid FROM pg_index i WHERE i.indexrelid = t.oid \
                        UNION ALL SELECT h.inhrelid FROM pg_inherits h WHERE h.inhparent = t.oid \
                        UNION ALL SELECT k.conrelid FROM pg_constraint k WHERE k.confrelid = t.oid AND k.contype = 'f' \
                            AND (k.confdeltype IN ('c', 'n', 'd') OR k.confupdtype IN ('c', 'n', 'd'))) x(oid)) \
                 SELECT {tag}, {COLUMNS} FROM touched t JOIN {from} ON c.oid = t.oid WHERE c.relkind IN {KINDS} ORDER BY 2, 3; \
                 {named} SELECT {missing}, concat_ws('.', w.schema, w.name) FROM wanted w \
                 WHERE NOT EXISTS (SELECT FROM found f WHERE f.number = w.number)",
                missing = RowTag::MissingTable,
                // pg_class comes from the join above.
                from = "pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace",
            )
        }
    }
}

/// Returns the common table expressions of the names (`wanted`) and of the relations that they mean (`found`).
fn names_sql(relations: &[QualifiedName], schemas: &[String], paths: &[Vec<String>]) -> String {
    let entries: Vec<(usize, &str)> = paths
        .iter()
        .enumerate()
        .flat_map(|(number, path)| path.iter().map(move |name| (number, name.as_str())))
        .collect();
    let numbers: Vec<String> = entries.iter().map(|(number, _)| number.to_string()).collect();
    format!(
        "WITH RECURSIVE path(number, name, position) AS (SELECT p.number, p.name, p.position FROM ROWS FROM ( \
            unnest({numbers}::int4[]), unnest({path_names}::name[])) WITH ORDINALITY p(number, name, position)), \
         wanted(schema, name, number) AS (SELECT w.schema, w.name, w.number FROM ROWS FROM ( \
            unnest({schemas_of}::name[]), unnest({names}::name[])) WITH ORDINALITY w(schema, name, number)), \
         found(number, oid) AS MATERIALIZED ( \
            SELECT w.number, c.oid FROM wanted w JOIN pg_namespace n ON n.nspname = w.schema \
                JOIN pg_class c ON c.relname = w.name AND c.relnamespace = n.oid \
            UNION SELECT w.number, x.oid FROM wanted w CROSS JOIN (SELECT DISTINCT p.number FROM path p) q CROSS JOIN LATERAL ( \
                SELECT c.oid FROM path p JOIN pg_namespace n ON n.nspname = p.name \
                JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = w.name \
                WHERE p.number = q.number ORDER BY p.position LIMIT 1) x WHERE w.schema IS NULL \
            UNION SELECT NULL, c.oid FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
                WHERE n.nspname = ANY ({schemas}::name[]) AND c.relkind IN {KINDS})",
        numbers = array_literal(numbers.iter().map(|number| Some(number.as_str()))),
        path_names = array_literal(entries.iter().map(|(_, name)| Some(*name))),
        schemas_of = array_literal(relations.iter().map(|name| name.schema.as_deref())),
        names = array_literal(relations.iter().map(|name| Some(name.name.as_str()))),
        schemas = array_literal(schemas.iter().map(|schema| Some(schema.as_str()))),
    )
}

/// Returns an array as an SQL literal; `None` is NULL.
fn array_literal<'a>(elements: impl Iterator<Item = Option<&'a str>>) -> String {
    let quoted = |text: &str| format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""));
    let elements: Vec<String> = elements.map(|text| text.map_or("NULL".to_owned(), quoted)).collect();
    quote_literal(&format!("{{{}}}", elements.join(",")))
}

fn parse_relations(rows: &Rows) -> Vec<DumpedRelation> {
    let parse = |row: Row<'_>| {
        let [schema, name, has_rows, bytes] = row.columns();
        Some(DumpedRelation {
            name: QualifiedName { schema: Some(schema?.to_owned()), name: name?.to_owned() },
            part: if has_rows == Some("t") { RelationUse::Rows } else { RelationUse::Definition },
            // A relation that was dropped meanwhile has none.
            bytes: bytes.and_then(|bytes| bytes.parse().ok()).unwrap_or_default(),
        })
    };
    rows.tagged(RowTag::DumpedRelation).filter_map(parse).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_a_relation_with_its_size() {
        let rows: Rows = [
            RowTag::DumpedRelation.row(&["public", "orders", "t", "8192"]),
            RowTag::DumpedRelation.row(&["public", "gone", "f", ""]),
            RowTag::MissingTable.row(&["items"]),
        ]
        .into_iter()
        .collect();
        let relations = parse_relations(&rows);
        let shown: Vec<String> =
            relations.iter().map(|one| format!("{} {:?} {}", one.name, one.part, one.bytes)).collect();
        assert_eq!(shown, ["\"public\".\"orders\" Rows 8192", "\"public\".\"gone\" Definition 0"]);
    }

    #[test]
    fn each_tenant_has_a_path_of_its_own() {
        let paths = vec![vec!["t1".to_owned(), "public".to_owned()], vec!["t2".to_owned()]];
        let names = vec![QualifiedName { schema: None, name: "it's".to_owned() }];
        let sql = names_sql(&names, &[], &paths);
        assert!(sql.contains("'{\"0\",\"0\",\"1\"}'::int4[]") && sql.contains("'{\"t1\",\"public\",\"t2\"}'"), "{sql}");
        assert!(sql.contains("'{\"it''s\"}'::name[]") && sql.contains("'{NULL}'::name[]"), "{sql}");
    }
}
