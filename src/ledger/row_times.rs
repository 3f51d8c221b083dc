//! The times in the ledgers of other tools: when each migration was recorded. Only `command: status` reads them.

use super::known_tools::{ToolLedger, ToolMigration};
use crate::{
    layout::origin::{time_sql, utc_seconds},
    postgres::{Row, RowTag, Rows, quote_literal},
};
use std::collections::BTreeMap;

/// The tool, the column with the time, and the SQL that reads it. Ledgers of other tools have none, or only
/// the time at which the migration was written.
const TIMES: &[(&str, &str, &str)] = &[
    ("django", "applied", time_sql!("applied")),
    ("flyway", "installed_on", time_sql!("installed_on")),
    ("liquibase", "dateexecuted", time_sql!("dateexecuted")),
    // Ecto and yoyo write UTC into a column without a time zone.
    ("ecto", "inserted_at", time_sql!("(inserted_at AT TIME ZONE 'UTC')")),
    ("yoyo", "applied_at_utc", time_sql!("(applied_at_utc AT TIME ZONE 'UTC')")),
    ("goose", "tstamp", time_sql!("tstamp")),
    ("sqlx", "installed_on", time_sql!("installed_on")),
    ("refinery", "applied_on", "applied_on"),
    ("diesel", "run_on", time_sql!("run_on")),
    ("prisma", "finished_at", time_sql!("finished_at")),
    ("knex", "migration_time", time_sql!("migration_time")),
    ("db-migrate", "run_on", time_sql!("run_on")),
    ("node-pg-migrate", "run_on", time_sql!("run_on")),
    ("postgrator", "run_at", time_sql!("run_at")),
    ("sqitch", "committed_at", time_sql!("committed_at")),
    ("atlas", "executed_at", time_sql!("executed_at")),
    ("pgroll", "created_at", time_sql!("created_at")),
];

/// Returns the query for the times in these ledgers; `None` if none of them has times.
#[must_use]
pub fn read_sql(ledgers: &[ToolLedger]) -> Option<String> {
    let selects: Vec<String> = ledgers.iter().filter_map(select_sql).collect();
    (!selects.is_empty()).then(|| selects.join(" UNION ALL "))
}

fn select_sql(ledger: &ToolLedger) -> Option<String> {
    let is_there = |column: &str| ledger.columns.iter().any(|found| found == column);
    let (.., time) = TIMES.iter().find(|(tool, column, _)| *tool == ledger.tool_name() && is_there(column))?;
    let (name, applied) = ledger.row_sql();
    Some(format!(
        "SELECT {}, {}, {name}, {time} FROM {} WHERE {applied}",
        RowTag::RowTime,
        quote_literal(&ledger.table.schema),
        ledger.table.to_sql(),
    ))
}

/// Reads the response: the time of each migration, in UTC to the second.
#[must_use]
pub fn parse_rows(rows: &Rows) -> BTreeMap<ToolMigration, String> {
    let time = |row: Row<'_>| {
        let [schema, name, time] = row.columns();
        Some((ToolMigration { schema: schema?.to_owned(), name: name?.to_owned() }, utc_seconds(time?)?))
    };
    rows.tagged(RowTag::RowTime).filter_map(time).collect()
}
