//! The queries that use the tables of a plan, as the extension `pg_stat_statements` has counted them.

use super::{relation_facts::RelationFacts, table_facts::StatementFamilies};
use crate::postgres::{OwnQuery, RowTag, Rows, quote_identifier, quote_literal, summarize_query};
use std::time::Duration;

/// The most tables whose queries are looked for: each is searched in thousands of texts.
const MAX_TABLES: usize = 20;

/// Characters to read of a query, so that its first words are among them even behind a comment.
const QUERY_CHARACTERS: usize = 2_000;

/// The place of the extension.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct StatementStatistics {
    schema: String,
    /// The view with the time since which it counts (version 1.9 of the extension).
    info: InfoView,
}

/// The view with the time since which the extension counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum InfoView {
    Present,
    Absent,
}

impl StatementStatistics {
    /// Returns the place, if the extension is there and our role may read it.
    pub(super) fn from_rows(rows: &Rows) -> Option<Self> {
        let row = rows.tagged(RowTag::StatementStatistics).next()?;
        let info = if row.text(1) == Some("t") { InfoView::Present } else { InfoView::Absent };
        Some(Self { schema: row.text(0)?.to_owned(), info })
    }

    /// Returns the query for these tables. A text is one about a table if it has the name as a word of its own.
    pub(super) fn query(&self, tables: &[&RelationFacts], timeout_sql: &str) -> OwnQuery {
        let schema = quote_identifier(&self.schema);
        let wanted: Vec<String> = tables
            .iter()
            .take(MAX_TABLES)
            .map(|table| {
                format!(
                    "({}, {}, {})",
                    table.oid,
                    quote_literal(&table.name),
                    quote_literal(&word_pattern(&table.name))
                )
            })
            .collect();
        let age = match self.info {
            InfoView::Present => format!(
                "(SELECT EXTRACT(epoch FROM pg_catalog.clock_timestamp() - i.stats_reset)::pg_catalog.int8 \
                 FROM {schema}.pg_stat_statements_info i)"
            ),
            InfoView::Absent => "NULL".to_owned(),
        };
        OwnQuery::read_only(format!(
            "{timeout_sql}; WITH s AS MATERIALIZED (SELECT s.calls, s.query FROM {schema}.pg_stat_statements s \
                WHERE s.dbid = (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database())) \
             SELECT {tag}, w.oid, f.families, f.calls, {age}, f.query FROM (VALUES {wanted}) w(oid, name, pattern) \
             CROSS JOIN LATERAL (SELECT pg_catalog.count(*) AS families, pg_catalog.sum(s.calls)::pg_catalog.int8 AS calls, \
                pg_catalog.left((pg_catalog.array_agg(s.query ORDER BY s.calls DESC))[1], {QUERY_CHARACTERS}) AS query \
                FROM s WHERE pg_catalog.strpos(pg_catalog.lower(s.query), pg_catalog.lower(w.name)) > 0 AND s.query ~* w.pattern) f \
             WHERE f.families > 0",
            tag = RowTag::StatementFamily,
            wanted = wanted.join(", "),
        ))
    }
}

/// Returns a regular expression for the name as a word of its own.
fn word_pattern(name: &str) -> String {
    let escape = |letter: char| match letter {
        letter if letter.is_ascii_alphanumeric() || letter == '_' || !letter.is_ascii() => letter.to_string(),
        letter => format!("\\{letter}"),
    };
    format!("(^|[^[:alnum:]_]){}($|[^[:alnum:]_])", name.chars().map(escape).collect::<String>())
}

/// Reads the response to [`StatementStatistics::query`].
pub(super) fn parse_families(rows: &Rows) -> Vec<StatementFamilies> {
    let families = rows.tagged(RowTag::StatementFamily).filter_map(|row| {
        Some(StatementFamilies {
            table: row.parse(0)?,
            families: row.parse(1)?,
            calls: row.parse(2)?,
            counted_for: row.parse(3).map(Duration::from_secs),
            most_frequent: summarize_query(row.text(4).unwrap_or_default()),
        })
    });
    families.collect()
}

impl StatementFamilies {
    /// Returns the calls per minute; `None` if it is unknown for how long they were counted.
    #[must_use]
    pub fn calls_per_minute(&self) -> Option<u64> {
        let minutes = self.counted_for?.as_secs() / 60;
        (minutes > 0).then(|| self.calls / minutes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_searched_as_a_word_whatever_it_contains() {
        assert_eq!(word_pattern("orders"), "(^|[^[:alnum:]_])orders($|[^[:alnum:]_])");
        assert_eq!(word_pattern("a.b*é"), "(^|[^[:alnum:]_])a\\.b\\*é($|[^[:alnum:]_])");
    }

    #[test]
    fn the_rate_of_calls_needs_a_time() {
        let row =
            |age| RowTag::StatementFamily.row(&["7", "2", "1200", age, "SELECT * FROM orders WHERE name = 'Ada'"]);
        let families = parse_families(&Rows::from_iter([row("600"), row(""), row("30")]));
        assert_eq!(
            families.iter().map(StatementFamilies::calls_per_minute).collect::<Vec<_>>(),
            [Some(120), None, None]
        );
        assert_eq!(families[0].most_frequent, "SELECT", "values are not shown");
    }
}
