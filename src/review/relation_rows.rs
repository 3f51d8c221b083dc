//! The parser of the rows about relations, schemas and types.

use super::{
    plan_names::PlanNames,
    relation_facts::{Descendants, RelationFacts, RelationKind, TableSize},
    table_facts::{ForeignKey, IndexFacts, SchemaFacts, TableFacts, TypeFacts},
};
use crate::postgres::{Row, RowTag, Rows};
use std::time::Duration;

/// The bytes of a row besides its values: its header and its line pointer (PostgreSQL manual, 73.6.1).
const ROW_OVERHEAD: u64 = 28;

/// The bytes of a page of a server that is built as usual (PostgreSQL manual, 20.17, `block_size`).
pub(super) const USUAL_PAGE: u64 = 8_192;

/// Adds the facts in the response to the queries of [`super::relation_query`]. `page` is the number of bytes of a page.
pub(super) fn add_relations(facts: &mut TableFacts, rows: &Rows, names: &PlanNames, page: u64) {
    for row in rows.tagged(RowTag::PlanName) {
        if let (Some(name), Some(oid)) = (numbered(&names.relations, row), row.parse(1)) {
            facts.names.insert(name.clone(), oid);
        }
    }
    let relations = rows.tagged(RowTag::RelationFacts).filter_map(|row| parse_relation(row, page));
    facts.relations.extend(relations.map(|relation| (relation.oid, relation)));
    facts.foreign_keys.extend(rows.tagged(RowTag::ForeignKey).filter_map(parse_key));
    facts.indexes.extend(rows.tagged(RowTag::PlanIndex).filter_map(parse_index));
    facts.schemas.extend(rows.tagged(RowTag::PlanSchema).filter_map(|row| parse_schema(row, page)));
    facts.types.extend(rows.tagged(RowTag::PlanType).filter_map(|row| {
        Some(TypeFacts {
            name: numbered(&names.types, row)?.clone(),
            schema: row.text(1)?.to_owned(),
            columns: number(row, 2),
        })
    }));
}

/// Returns the name whose number, from 1, is in the first column.
fn numbered<'n, T>(names: &'n [T], row: Row<'_>) -> Option<&'n T> {
    names.get(row.parse::<usize>(0)?.checked_sub(1)?)
}

fn number(row: Row<'_>, column: usize) -> u64 {
    row.parse(column).unwrap_or_default()
}

fn parse_relation(row: Row<'_>, page: u64) -> Option<RelationFacts> {
    let kind = RelationKind::from_letter(row.text(3)?);
    let descendants = row
        .parse(19)
        .filter(|count| *count > 0)
        .map(|count| Descendants { count, size: row.text(20).map(|size| parse_sizes(size, page)).unwrap_or_default() });
    Some(RelationFacts {
        oid: row.parse(0)?,
        schema: row.text(1)?.to_owned(),
        name: row.text(2)?.to_owned(),
        kind,
        partition: row.text(4) == Some("t"),
        size: parse_size(row, kind, page),
        descendants,
        analyzed_ago: row.parse(12).map(Duration::from_secs),
        modified_since: number(row, 13),
        scans: number(row, 14),
        writes: number(row, 15),
        triggers: number(row, 16),
        views: number(row, 17),
        parent: row.parse(18),
    })
}

/// Reads the size of one relation. Rows are the larger one of two numbers: the last count, and the count that the
/// server keeps while rows come and go, which a crash resets.
fn parse_size(row: Row<'_>, kind: RelationKind, page: u64) -> TableSize {
    let (counted, live) = (row.parse::<i64>(5).unwrap_or(-1), number(row, 10));
    let counted = u64::try_from(counted).ok();
    let known = |rows: Option<u64>| match kind {
        RelationKind::Table | RelationKind::MaterializedView => rows,
        _ => Some(0),
    };
    let rows = counted.map(|counted| counted.max(live)).or(Some(live).filter(|live| *live > 0));
    let pages = number(row, 6).saturating_mul(page);
    let width = number(row, 11).saturating_add(ROW_OVERHEAD);
    // Pages of an older count grow as the rows have grown; a table that was never counted has rows of an assumed width.
    let heap_bytes = match (counted, rows) {
        (Some(counted), Some(rows)) if counted > 0 => Some(scale(pages, rows, counted)),
        (_, Some(rows)) => Some(pages.max(rows.saturating_mul(width))),
        (_, None) => Some(pages).filter(|pages| *pages > 0),
    };
    TableSize {
        rows: known(rows),
        heap_bytes: known(heap_bytes),
        toast_bytes: number(row, 7).saturating_mul(page),
        index_bytes: number(row, 8).saturating_mul(page),
        indexes: number(row, 9),
    }
}

/// Returns `bytes * rows / counted`.
fn scale(bytes: u64, rows: u64, counted: u64) -> u64 {
    let product = u128::from(bytes) * u128::from(rows) / u128::from(counted.max(1));
    u64::try_from(product).unwrap_or(u64::MAX)
}

/// Reads the sum of several sizes, a JSON array. If one of the tables was never counted, the sum is unknown.
fn parse_sizes(json: &str, page: u64) -> TableSize {
    let numbers: Vec<Option<u64>> = serde_json::from_str(json).unwrap_or_default();
    let at = |index: usize| numbers.get(index).copied().flatten().unwrap_or_default();
    let is_known = at(5) == 0;
    TableSize {
        rows: Some(at(0)).filter(|_| is_known),
        heap_bytes: Some(at(1).saturating_mul(page)).filter(|_| is_known),
        toast_bytes: at(2).saturating_mul(page),
        index_bytes: at(3).saturating_mul(page),
        indexes: at(4),
    }
}

fn parse_key(row: Row<'_>) -> Option<ForeignKey> {
    Some(ForeignKey { from: row.parse(0)?, to: row.parse(1)? })
}

fn parse_index(row: Row<'_>) -> Option<IndexFacts> {
    Some(IndexFacts {
        oid: row.parse(0)?,
        table: row.parse(1)?,
        unique: row.text(2) == Some("t"),
        only_one_for: row.text(3).and_then(|names| serde_json::from_str(names).ok()).unwrap_or_default(),
    })
}

fn parse_schema(row: Row<'_>, page: u64) -> Option<SchemaFacts> {
    let tables = number(row, 1);
    let size = row.text(2).map(|size| parse_sizes(size, page)).unwrap_or_default();
    // The only row of a schema without tables is one of nulls.
    let size =
        if tables == 0 { TableSize { rows: Some(0), heap_bytes: Some(0), ..TableSize::default() } } else { size };
    Some(SchemaFacts { name: row.text(0)?.to_owned(), tables, size })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the row of an ordinary table with these numbers.
    fn table(reltuples: &str, pages: &str, live: &str) -> RelationFacts {
        let columns = [
            "7", "public", "orders", "r", "f", reltuples, pages, "10", "20", "2", live, "72", "3600", "5", "9", "4",
            "1", "2", "", "", "",
        ];
        let rows = Rows::from_iter([RowTag::RelationFacts.row(&columns)]);
        let row = rows.tagged(RowTag::RelationFacts).next().unwrap();
        parse_relation(row, USUAL_PAGE).unwrap()
    }

    fn size(reltuples: &str, pages: &str, live: &str) -> (Option<u64>, Option<u64>) {
        let size = table(reltuples, pages, live).size;
        (size.rows, size.heap_bytes.map(|bytes| bytes / USUAL_PAGE))
    }

    #[test]
    fn a_table_is_as_large_as_it_was_counted_and_has_grown_since() {
        assert_eq!(size("1000", "50", "1000"), (Some(1000), Some(50)));
        assert_eq!(size("1000", "50", "2000"), (Some(2000), Some(100)), "it has grown");
        assert_eq!(size("1000", "50", "0"), (Some(1000), Some(50)), "a crash has reset the statistics");
        assert_eq!(size("0", "0", "0"), (Some(0), Some(0)));
    }

    #[test]
    fn a_table_that_was_never_counted_is_unknown_unless_the_server_has_seen_its_rows() {
        assert_eq!(size("-1", "0", "0"), (None, None));
        assert_eq!(size("-1", "0", "81920"), (Some(81920), Some(1000)), "100 bytes for each row");
        assert_eq!(size("-1", "30", "0"), (None, Some(30)));
    }

    #[test]
    fn the_other_facts_of_a_table_are_read() {
        let facts = table("1000", "50", "1000");
        assert_eq!((facts.size.toast_bytes, facts.size.index_bytes, facts.size.indexes), (81_920, 163_840, 2));
        assert_eq!((facts.analyzed_ago, facts.modified_since), (Some(Duration::from_secs(3600)), 5));
        assert_eq!((facts.scans, facts.writes, facts.triggers, facts.views), (9, 4, 1, 2));
        assert_eq!((facts.parent, facts.descendants, facts.partition), (None, None, false));
    }

    #[test]
    fn the_sizes_of_partitions_are_known_if_all_are() {
        let size = parse_sizes("[1000, 50, 1, 2, 3, 0]", USUAL_PAGE);
        assert_eq!((size.rows, size.heap_bytes, size.indexes), (Some(1000), Some(50 * USUAL_PAGE), 3));
        assert_eq!(parse_sizes("[1000, 50, 1, 2, 3, 1]", USUAL_PAGE).rows, None);
    }
}
