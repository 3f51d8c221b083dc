//! Looking into a table for rows, where statistics are no proof.
//!
//! The question takes the lock of a SELECT, and gives up at once if it can't have it. It reads no column, and a sample
//! can be taken of tables only: the server refuses it for a view that somebody has put in the table's place, whose code
//! would run in our session (PostgreSQL manual, SELECT, TABLESAMPLE).

use super::{relation_facts::RelationFacts, table_facts::Probe};
use crate::{
    fault::Fault,
    postgres::{OwnQuery, RowTag, Rows},
    sql::QualifiedName,
};

/// The most tables to look into.
pub(super) const MAX_PROBES: usize = 50;

/// The settings of the question: it must neither wait for others nor work for long.
const LIMITS: &str = "SET LOCAL lock_timeout TO '200ms'; SET LOCAL statement_timeout TO '1s'";

/// Returns the query that counts the rows of a table up to one more than `most`.
pub(super) fn probe_query(table: &RelationFacts, most: u64) -> OwnQuery {
    let name = QualifiedName { schema: Some(table.schema.clone()), name: table.name.clone() }.to_sql();
    OwnQuery::read_only(format!(
        "{LIMITS}; SELECT {}, pg_catalog.count(*) FROM \
         (SELECT FROM {name} TABLESAMPLE pg_catalog.system (100) LIMIT {}) t",
        RowTag::TableProbe,
        most.saturating_add(1),
    ))
}

/// Returns what the response shows. A table that can't be read is unknown, whatever the reason.
pub(super) fn read_probe(response: Result<Rows, Fault>, most: u64) -> Probe {
    let rows = match response {
        Ok(rows) => rows,
        Err(fault) => return Probe::Unreadable(fault.cause),
    };
    match rows.tagged(RowTag::TableProbe).next().and_then(|row| row.parse(0)) {
        Some(rows) if rows <= most => Probe::Rows(rows),
        Some(_) => Probe::MoreThan(most),
        None => Probe::Unreadable("the server has returned no number".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::Code;

    #[test]
    fn a_table_is_named_with_its_schema_and_in_quotes() {
        let table = RelationFacts { schema: "a\"b".to_owned(), name: "Orders".to_owned(), ..RelationFacts::default() };
        let sql = probe_query(&table, 10).to_string();
        assert!(sql.contains("FROM \"a\"\"b\".\"Orders\" TABLESAMPLE pg_catalog.system (100) LIMIT 11"), "{sql}");
    }

    #[test]
    fn only_a_count_proves_that_a_table_is_empty() {
        let rows = |count| Ok(Rows::from_iter([RowTag::TableProbe.row(&[count])]));
        assert_eq!(read_probe(rows("0"), 10), Probe::Rows(0));
        assert_eq!(read_probe(rows("10"), 10), Probe::Rows(10));
        assert_eq!(read_probe(rows("11"), 10), Probe::MoreThan(10));
        assert!(matches!(read_probe(Ok(Rows::default()), 10), Probe::Unreadable(_)));
        let fault = Fault::new(Code::PermissionDenied, "permission denied for table orders");
        assert_eq!(read_probe(Err(fault), 10), Probe::Unreadable("permission denied for table orders".to_owned()));
    }
}
