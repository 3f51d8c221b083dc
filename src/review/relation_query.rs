//! The queries for the facts of relations, schemas and types: one message, which takes no lock on any of them.
//!
//! Names are looked up in the catalog instead of with `to_regclass`, which fails at a schema that our role may not use.
//! Sizes come from the catalog and the statistics: `pg_relation_size` would lock the table.

use super::plan_names::PlanNames;
use crate::{
    postgres::{RowTag, quote_literal},
    sql::QualifiedName,
};

/// The common table expression of the relations that are near the plan: those that it names, the tables of its indexes,
/// the tables above its partitions, and both ends of its foreign keys.
const NEAR: &str = "near";

/// The common table expression of these relations (`root`) with everything below them (`oid`), themselves included.
pub(super) const TREE: &str = "tree";

/// The bytes that PostgreSQL assumes for a value whose length varies (`get_typavgwidth`,
/// `src/backend/utils/cache/lsyscache.c`).
const ASSUMED_WIDTH: u32 = 32;

/// The relations that have rows.
const TABLES: &str = "('r', 'p', 'm')";

/// The sum of the sizes of several tables, as [`super::relation_rows`] reads it: rows, pages of the tables, of their long
/// values and of their indexes, number of indexes, and number of tables that were never counted.
const SIZE_COLUMNS: &str = "pg_catalog.sum(greatest(z.reltuples, z.live))::pg_catalog.int8, pg_catalog.sum(greatest(z.relpages, 0)), \
    pg_catalog.sum(z.toast_pages), pg_catalog.sum(z.index_pages), pg_catalog.sum(z.indexes), \
    pg_catalog.count(*) FILTER (WHERE z.relkind <> 'p' AND z.reltuples < 0 AND z.live = 0)";

/// Returns the common table expressions that all queries for relations begin with. `path` has the schemas in which a
/// name without a schema is looked up.
pub(super) fn near_sql(names: &PlanNames, path: &[String]) -> String {
    format!(
        "WITH RECURSIVE {path}, wanted(number, schema, name) AS MATERIALIZED (SELECT w.number, w.schema, w.name \
            FROM ROWS FROM (pg_catalog.unnest({schemas}::pg_catalog.name[]), pg_catalog.unnest({relations}::pg_catalog.name[])) WITH ORDINALITY w(schema, name, number)), \
         named(number, oid) AS MATERIALIZED ( \
            SELECT w.number, c.oid FROM wanted w JOIN pg_catalog.pg_namespace n ON n.nspname = w.schema \
            JOIN pg_catalog.pg_class c ON c.relname = w.name AND c.relnamespace = n.oid \
            UNION ALL SELECT w.number, (SELECT c.oid FROM path p JOIN pg_catalog.pg_class c ON c.relnamespace = p.oid \
                WHERE c.relname = w.name ORDER BY p.position LIMIT 1) FROM wanted w WHERE w.schema IS NULL), \
         above(oid) AS (SELECT w.oid FROM named w WHERE w.oid IS NOT NULL \
            UNION SELECT i.indrelid FROM named w JOIN pg_catalog.pg_index i ON i.indexrelid = w.oid \
            UNION SELECT h.inhparent FROM above a JOIN pg_catalog.pg_inherits h ON h.inhrelid = a.oid), \
         {NEAR}(oid) AS MATERIALIZED (SELECT a.oid FROM above a \
            UNION SELECT k.confrelid FROM above a JOIN pg_catalog.pg_constraint k ON k.conrelid = a.oid AND k.contype = 'f' AND k.conparentid = 0 \
            UNION SELECT k.conrelid FROM above a JOIN pg_catalog.pg_constraint k ON k.confrelid = a.oid AND k.contype = 'f' AND k.conparentid = 0), \
         {TREE}(root, oid) AS MATERIALIZED (SELECT r.oid, r.oid FROM {NEAR} r \
            UNION SELECT t.root, h.inhrelid FROM {TREE} t JOIN pg_catalog.pg_inherits h ON h.inhparent = t.oid)",
        path = path_sql(path),
        schemas = array_literal(names.relations.iter().map(|name| name.schema.as_deref())),
        relations = array_literal(names.relations.iter().map(|name| Some(name.name.as_str()))),
    )
}

/// Returns the common table expression of the search path, whose first schema is the catalog unless the path has it
/// elsewhere.
fn path_sql(path: &[String]) -> String {
    format!(
        "path(position, oid) AS MATERIALIZED (SELECT p.position, n.oid FROM \
         pg_catalog.unnest({}::pg_catalog.name[]) WITH ORDINALITY p(name, position) \
         JOIN pg_catalog.pg_namespace n ON n.nspname = p.name)",
        array_literal(path.iter().map(|schema| Some(schema.as_str())))
    )
}

/// Returns an array as an SQL literal; `None` is NULL.
fn array_literal<'a>(elements: impl Iterator<Item = Option<&'a str>>) -> String {
    let quoted = |text: &str| format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""));
    let elements: Vec<String> = elements.map(|text| text.map_or("NULL".to_owned(), quoted)).collect();
    quote_literal(&format!("{{{}}}", elements.join(",")))
}

/// Returns the common table expression with the sizes of the tables in `oids`, a query of one column `oid`.
fn sized_sql(oids: &str) -> String {
    format!(
        "sized AS MATERIALIZED (SELECT c.oid, c.relkind, c.relnamespace, c.reltuples, c.relpages, coalesce(o.relpages, 0) AS toast_pages, \
            pg_catalog.pg_stat_get_live_tuples(c.oid) AS live, coalesce(x.pages, 0) AS index_pages, x.indexes, \
            pg_catalog.pg_stat_get_numscans(c.oid) + coalesce(x.scans, 0) AS scans \
         FROM ({oids}) d JOIN pg_catalog.pg_class c ON c.oid = d.oid LEFT JOIN pg_catalog.pg_class o ON o.oid = c.reltoastrelid \
         LEFT JOIN LATERAL (SELECT pg_catalog.sum(greatest(y.relpages, 0)) AS pages, pg_catalog.count(*) AS indexes, \
            pg_catalog.sum(pg_catalog.pg_stat_get_numscans(i.indexrelid)) AS scans FROM pg_catalog.pg_index i \
            JOIN pg_catalog.pg_class y ON y.oid = i.indexrelid WHERE i.indrelid = c.oid) x ON true)"
    )
}

/// Returns the query for the relations that the names mean, with their facts.
pub(super) fn relations_sql(near: &str) -> String {
    format!(
        "{near} SELECT {name}, w.number, w.oid FROM named w WHERE w.oid IS NOT NULL; \
         {near}, {sized}, \
         below AS (SELECT t.root, pg_catalog.count(*) AS count, pg_catalog.json_build_array({SIZE_COLUMNS}) AS size \
            FROM {TREE} t JOIN sized z ON z.oid = t.oid WHERE t.root <> t.oid GROUP BY t.root) \
         SELECT {facts}, c.oid, n.nspname, c.relname, c.relkind, c.relispartition, \
            s.reltuples::pg_catalog.int8, greatest(s.relpages, 0), s.toast_pages, s.index_pages, s.indexes, s.live, \
            (SELECT pg_catalog.sum(CASE WHEN a.attlen > 0 THEN a.attlen ELSE {ASSUMED_WIDTH} END) FROM pg_catalog.pg_attribute a \
                WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped), \
            EXTRACT(epoch FROM pg_catalog.clock_timestamp() - greatest(pg_catalog.pg_stat_get_last_analyze_time(c.oid), \
                pg_catalog.pg_stat_get_last_autoanalyze_time(c.oid)))::pg_catalog.int8, \
            pg_catalog.pg_stat_get_mod_since_analyze(c.oid), s.scans, \
            pg_catalog.pg_stat_get_tuples_inserted(c.oid) + pg_catalog.pg_stat_get_tuples_updated(c.oid) \
                + pg_catalog.pg_stat_get_tuples_deleted(c.oid), \
            (SELECT pg_catalog.count(*) FROM pg_catalog.pg_trigger g WHERE g.tgrelid = c.oid AND NOT g.tgisinternal), \
            (SELECT pg_catalog.count(DISTINCT w.ev_class) FROM pg_catalog.pg_depend e JOIN pg_catalog.pg_rewrite w ON w.oid = e.objid \
                WHERE e.classid = 'pg_catalog.pg_rewrite'::pg_catalog.regclass \
                AND e.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass AND e.refobjid = c.oid AND w.ev_class <> c.oid), \
            (SELECT h.inhparent FROM pg_catalog.pg_inherits h WHERE h.inhrelid = c.oid ORDER BY h.inhseqno LIMIT 1), \
            b.count, b.size \
         FROM {NEAR} r JOIN pg_catalog.pg_class c ON c.oid = r.oid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
         JOIN sized s ON s.oid = c.oid LEFT JOIN below b ON b.root = c.oid; \
         {near} SELECT DISTINCT {key}, k.conrelid, k.confrelid FROM pg_catalog.pg_constraint k \
         WHERE k.contype = 'f' AND k.conparentid = 0 AND k.conrelid IN (SELECT r.oid FROM {NEAR} r) AND k.confrelid IN (SELECT r.oid FROM {NEAR} r); \
         {indexes}",
        name = RowTag::PlanName,
        facts = RowTag::RelationFacts,
        key = RowTag::ForeignKey,
        sized = sized_sql(&format!("SELECT DISTINCT t.oid FROM {TREE} t")),
        indexes = indexes_sql(near),
    )
}

/// Returns the query for the indexes that the plan names. An index serves a foreign key if its first columns are those of
/// the key, in any order, and if it has all rows.
fn indexes_sql(near: &str) -> String {
    let serves = |index: &str| {
        format!(
            "({index}.indisvalid AND {index}.indpred IS NULL AND {index}.indrelid = k.conrelid \
             AND ({index}.indkey::pg_catalog.int2[])[0:pg_catalog.cardinality(k.conkey) - 1] @> k.conkey)"
        )
    };
    format!(
        "{near} SELECT {tag}, i.indexrelid, i.indrelid, i.indisunique, \
            (SELECT pg_catalog.json_agg(k.conname ORDER BY k.conname) FROM pg_catalog.pg_constraint k WHERE k.contype = 'f' AND {this} \
             AND NOT EXISTS (SELECT FROM pg_catalog.pg_index j WHERE j.indexrelid <> i.indexrelid AND {other})) \
         FROM pg_catalog.pg_index i WHERE i.indexrelid IN (SELECT w.oid FROM named w)",
        tag = RowTag::PlanIndex,
        this = serves("i"),
        other = serves("j"),
    )
}

/// Returns the query for the schemas that the plan names, with the sizes of their tables.
pub(super) fn schemas_sql(schemas: &[String]) -> String {
    let schemas = array_literal(schemas.iter().map(|schema| Some(schema.as_str())));
    let oids = format!(
        "SELECT c.oid FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
         WHERE n.nspname = ANY ({schemas}::pg_catalog.name[]) AND c.relkind IN {TABLES}"
    );
    format!(
        "WITH {sized} SELECT {tag}, n.nspname, pg_catalog.count(z.oid), pg_catalog.json_build_array({SIZE_COLUMNS}) \
         FROM pg_catalog.pg_namespace n LEFT JOIN sized z ON z.relnamespace = n.oid \
         WHERE n.nspname = ANY ({schemas}::pg_catalog.name[]) GROUP BY n.nspname",
        tag = RowTag::PlanSchema,
        sized = sized_sql(&oids),
    )
}

/// Returns the query for the types that the plan names, with the number of columns that have them.
pub(super) fn types_sql(types: &[QualifiedName], path: &[String]) -> String {
    format!(
        "WITH {path}, wanted(number, schema, name) AS (SELECT w.number, w.schema, w.name \
            FROM ROWS FROM (pg_catalog.unnest({schemas}::pg_catalog.name[]), pg_catalog.unnest({names}::pg_catalog.name[])) WITH ORDINALITY w(schema, name, number)) \
         SELECT {tag}, w.number, n.nspname, (SELECT pg_catalog.count(*) FROM pg_catalog.pg_depend e \
            JOIN pg_catalog.pg_class c ON c.oid = e.objid WHERE e.classid = 'pg_catalog.pg_class'::pg_catalog.regclass \
            AND e.refclassid = 'pg_catalog.pg_type'::pg_catalog.regclass AND e.refobjid IN (t.oid, t.typarray) \
            AND e.objsubid > 0 AND c.relkind IN {TABLES}) \
         FROM wanted w CROSS JOIN LATERAL (SELECT y.oid, y.typarray, y.typnamespace FROM pg_catalog.pg_type y \
            JOIN pg_catalog.pg_namespace m ON m.oid = y.typnamespace LEFT JOIN path p ON p.oid = y.typnamespace \
            WHERE y.typname = w.name AND (m.nspname = w.schema OR (w.schema IS NULL AND p.oid IS NOT NULL)) \
            ORDER BY p.position LIMIT 1) t JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace",
        path = path_sql(path),
        schemas = array_literal(types.iter().map(|name| name.schema.as_deref())),
        names = array_literal(types.iter().map(|name| Some(name.name.as_str()))),
        tag = RowTag::PlanType,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_elements_of_an_array_whatever_they_contain() {
        let elements = [Some("plain"), None, Some("it's"), Some("a \"b\" \\ {c}, NULL"), Some("NULL")];
        let expected = " E'{\"plain\",NULL,\"it''s\",\"a \\\\\"b\\\\\" \\\\\\\\ {c}, NULL\",\"NULL\"}'";
        assert_eq!(array_literal(elements.into_iter()), expected);
        assert_eq!(array_literal(std::iter::empty()), "'{}'");
    }

    #[test]
    fn nothing_measures_a_table() {
        let names = PlanNames { relations: vec![crate::review::test_effects::name("orders")], ..PlanNames::default() };
        let sql = relations_sql(&near_sql(&names, &["public".to_owned()])) + &schemas_sql(&["a".to_owned()]);
        assert!(!sql.contains("_size(") && !sql.contains("to_regclass"), "{sql}");
    }
}
