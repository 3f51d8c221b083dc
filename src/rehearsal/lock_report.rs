//! The report of a copy about a statement outside of a transaction: after it nobody can see what it has locked, so an event
//! trigger of the copy reports that from within the statement, in a notice that the listener keeps from the tool.

use crate::{
    fault::Fault,
    postgres::{RowTag, fault::query_fault},
    proxy::{MAX_REPORT, REPORT},
};
use tokio_postgres::Client;

/// The setting of a session about which the copy reports.
const REPORTS: &str = "bastion_migrate.reports";

/// The event triggers (PostgreSQL manual, 40.1). They never fail a statement.
const TRIGGERS: &str = include_str!("lock_report.sql");

/// Lets the copy report the locks of statements outside of a transaction. `client` is a superuser's session with the copy.
///
/// # Errors
/// The server's error: only superusers can create event triggers.
pub async fn install_lock_report(client: &Client) -> Result<(), Fault> {
    client.batch_execute(&trigger_sql()).await.map_err(|error| query_fault(&error))
}

/// Returns the statement that begins the reports about a session.
pub(super) fn report_sql() -> String {
    format!("SELECT pg_catalog.set_config('{REPORTS}', 'on', false)")
}

/// Returns the statement that ends the reports for the rest of a transaction, whose session is asked what it holds.
pub(super) fn no_report_sql() -> String {
    format!("SELECT pg_catalog.set_config('{REPORTS}', 'off', true)")
}

fn trigger_sql() -> String {
    TRIGGERS
        .replace("{reports}", REPORTS)
        .replace("{held_lock}", RowTag::HeldLock.text())
        .replace("{scan_count}", RowTag::ScanCount.text())
        .replace("{most_bytes}", &MAX_REPORT.to_string())
        .replace("{sqlstate}", REPORT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_left_to_be_filled_in() {
        let sql = trigger_sql();
        assert!(!sql.replace("'{}'", "").contains('{'), "{sql}");
    }
}
