//! The progress of a migration without a transaction: a row that exists from its first statement until its ledger row
//! is written.

use crate::{
    layout::{ProgressPlace, Table},
    postgres::{Row, RowTag, Rows, quote_identifier, quote_literal},
};
use sha2::{Digest as _, Sha256};

/// Our own schema.
pub(super) const OWN_SCHEMA: &str = "bastion_migrate";

/// The longest name in bytes that PostgreSQL does not cut (PostgreSQL manual, 4.1.1).
const LONGEST_NAME: usize = 63;

/// Returns the table in our own schema for the progress of this ledger's migrations.
pub(super) fn own_table(ledger: &Table) -> Table {
    let name = format!("{ledger}_progress");
    let name = match name.len() > LONGEST_NAME {
        true => format!("{}_progress", hex::encode(Sha256::digest(name).get(..16).unwrap_or_default())),
        false => name,
    };
    Table { schema: OWN_SCHEMA.to_owned(), name }
}

/// The progress of a half-done migration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProgressRow {
    /// The version of the migration.
    pub version: String,
    /// The last statement that was started; 1-based.
    pub started: usize,
    /// The last statement that is known to be done.
    pub done: usize,
    /// The SHA-256, in hexadecimal, of the statements up to the last started one.
    pub checksum: String,
}

pub(super) fn read_sql(table: &Table) -> String {
    select_sql(table) + "; "
}

fn select_sql(table: &Table) -> String {
    format!("SELECT {}, version, started, done, checksum FROM {}", RowTag::Progress, table.to_sql())
}

/// Reads the response to [`read_sql`] or [`ProgressRecord::find_sql`].
pub(super) fn parse_rows(rows: &Rows) -> Vec<ProgressRow> {
    let progress = |row: Row<'_>| {
        let [version, started, done, checksum] = row.columns();
        Some(ProgressRow {
            version: version?.to_owned(),
            started: started?.parse().ok()?,
            done: done?.parse().ok()?,
            checksum: checksum?.to_owned(),
        })
    };
    rows.tagged(RowTag::Progress).filter_map(progress).collect()
}

/// The SQL for the progress row of one migration.
#[derive(Debug, Clone)]
pub struct ProgressRecord {
    /// The table.
    pub table: Table,
    /// Its place.
    pub place: ProgressPlace,
    /// Set if the table existed before the run.
    pub exists: bool,
    /// The version of the migration.
    pub version: String,
}

impl ProgressRecord {
    /// Returns the query for the row. It first creates the table if there is none.
    #[must_use]
    pub fn find_sql(&self) -> String {
        let find = format!("{} WHERE version = {}", select_sql(&self.table), quote_literal(&self.version));
        match self.place {
            ProgressPlace::BesideLedger if self.exists => find,
            // Suppresses the notice that it may exist. A table that the run has found must not be created: even with
            // `IF NOT EXISTS` PostgreSQL requires the right to create tables, which a role that may write to the table
            // need not have.
            ProgressPlace::BesideLedger => {
                let create = self.create_sql().replacen("CREATE TABLE", "CREATE TABLE IF NOT EXISTS", 1);
                format!("SET LOCAL client_min_messages = warning; {create}; {find}")
            }
            // The last file of an earlier run, or of this one, has perhaps dropped it.
            ProgressPlace::OwnSchema => format!(
                "DO $bastion_migrate$ BEGIN \
                 IF pg_catalog.to_regnamespace('{OWN_SCHEMA}') IS NULL THEN CREATE SCHEMA {OWN_SCHEMA}; END IF; \
                 IF pg_catalog.to_regclass({}) IS NULL THEN {}; END IF; END $bastion_migrate$; {find}",
                quote_literal(&self.table.to_sql()),
                self.create_sql()
            ),
        }
    }

    fn create_sql(&self) -> String {
        format!(
            "CREATE TABLE {} (version text PRIMARY KEY, started integer NOT NULL, done integer NOT NULL, \
             checksum text NOT NULL)",
            self.table.to_sql()
        )
    }

    /// Returns the SQL that records the last started and the last done statement.
    #[must_use]
    pub fn save_sql(&self, started: usize, done: usize, checksum: &str) -> String {
        format!(
            "INSERT INTO {} (version, started, done, checksum) VALUES ({}, {started}, {done}, {sum}) \
             ON CONFLICT (version) DO UPDATE SET started = {started}, done = {done}, checksum = {sum}",
            self.table.to_sql(),
            quote_literal(&self.version),
            sum = quote_literal(checksum),
        )
    }

    /// Returns the SQL that deletes the row, once the ledger has the migration. The table in our own schema goes with
    /// its last row, and the schema with its last table, if they are ours to drop.
    #[must_use]
    pub fn remove_sql(&self) -> String {
        let table = self.table.to_sql();
        let delete = format!("DELETE FROM {table} WHERE version = {}", quote_literal(&self.version));
        match self.place {
            ProgressPlace::BesideLedger => delete,
            ProgressPlace::OwnSchema => format!(
                "{delete}; DO $bastion_migrate$ BEGIN \
                 IF NOT EXISTS (SELECT FROM {table}) AND {} THEN DROP TABLE {table}; END IF; \
                 IF NOT EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE d.refclassid = 'pg_catalog.pg_namespace'::pg_catalog.regclass \
                 AND d.refobjid = pg_catalog.to_regnamespace('{OWN_SCHEMA}')::pg_catalog.oid) AND {} THEN DROP SCHEMA {}; END IF; \
                 END $bastion_migrate$",
                is_owned_sql("pg_class", "relowner", &format!("{}::pg_catalog.regclass", quote_literal(&table))),
                is_owned_sql("pg_namespace", "nspowner", &format!("pg_catalog.to_regnamespace('{OWN_SCHEMA}')")),
                quote_identifier(OWN_SCHEMA)
            ),
        }
    }
}

/// Returns the condition that our role may drop this object of a catalog.
fn is_owned_sql(catalog: &str, owner: &str, object: &str) -> String {
    format!(
        "EXISTS (SELECT FROM pg_catalog.{catalog} o WHERE o.oid = {object} \
         AND pg_catalog.pg_has_role(o.{owner}, 'USAGE'))"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_in_our_own_schema_has_a_name_for_each_ledger() {
        let name = |schema: &str, name: &str| {
            own_table(&Table { schema: schema.to_owned(), name: name.to_owned() }).to_string()
        };
        assert_eq!(name("app", "_sqlx_migrations"), "bastion_migrate.app._sqlx_migrations_progress");
        let (long, longer) = (name(&"a".repeat(63), "t"), name(&"a".repeat(62), "t"));
        assert_ne!(long, longer);
        assert!(long.len() <= LONGEST_NAME + "bastion_migrate.".len(), "{long}");
    }
}
