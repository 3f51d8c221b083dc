//! The rows of ledgers, which a copy needs so that the same migrations are pending there. They travel as JSON: one value for
//! each table, which only a SELECT reads.

use crate::{
    fault::Fault,
    layout::Table,
    postgres::{OwnQuery, query_rows, quote_literal},
};
use tokio_postgres::Client;

/// The rows of one table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CopiedRows {
    /// The table.
    pub table: Table,
    /// Its rows, as a JSON array; none if it is empty.
    json: Option<String>,
}

/// Reads the rows of these tables.
///
/// # Errors
/// The server's error, or the lost connection.
pub async fn read_rows(client: &Client, tables: Vec<Table>) -> Result<Vec<CopiedRows>, Fault> {
    let mut all = Vec::new();
    for table in tables {
        let query = OwnQuery::read_only(format!("SELECT pg_catalog.json_agg(t)::text FROM {} t", table.to_sql()));
        let json = query_rows(client, &query).await?.first_text().map(str::to_owned);
        all.push(CopiedRows { table, json });
    }
    Ok(all)
}

impl CopiedRows {
    /// Returns the statement that adds the rows to the same table of a copy.
    #[must_use]
    pub fn insert_sql(&self) -> Option<String> {
        let (table, json) = (self.table.to_sql(), quote_literal(self.json.as_ref()?));
        Some(format!(
            "INSERT INTO {table} OVERRIDING SYSTEM VALUE SELECT * FROM pg_catalog.json_populate_recordset(NULL::{table}, {json})"
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_added_by_one_statement_and_an_empty_table_needs_none() {
        let table = Table { schema: "public".to_owned(), name: "it's".to_owned() };
        let rows = |json: Option<&str>| CopiedRows { table: table.clone(), json: json.map(str::to_owned) };
        assert_eq!(rows(None).insert_sql(), None);
        assert_eq!(
            rows(Some("[{\"a\":\"o'n\"}]")).insert_sql().unwrap(),
            "INSERT INTO \"public\".\"it's\" OVERRIDING SYSTEM VALUE SELECT * FROM \
             pg_catalog.json_populate_recordset(NULL::\"public\".\"it's\", '[{\"a\":\"o''n\"}]')"
        );
    }
}
