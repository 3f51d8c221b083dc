//! The relations of a copy, and what a session has done to them, as the server shows it.

use crate::{
    fault::Fault,
    postgres::{Row, RowTag, Rows, fault::query_fault, query_rows_as_written},
    review::LockMode,
    sql::QualifiedName,
};
use std::collections::BTreeMap;
use tokio_postgres::Client;

/// A relation of a copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct CatalogRelation {
    pub(super) name: QualifiedName,
    /// Its kind (PostgreSQL manual, 53.11, `relkind`).
    pub(super) kind: char,
    /// The file with its rows; zero if it has none.
    pub(super) file: u32,
    /// The table, if it is an index.
    pub(super) table: Option<u32>,
}

impl CatalogRelation {
    pub(super) fn is_index(&self) -> bool {
        matches!(self.kind, 'i' | 'I')
    }
}

/// The relations of a copy, by their OIDs.
pub(super) type RelationCatalog = BTreeMap<u32, CatalogRelation>;

/// The traces that a session shows within its transaction.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct SessionTraces {
    /// The locks that it holds.
    pub(super) locks: Vec<(u32, LockMode)>,
    /// The relations of these that exist now.
    pub(super) relations: RelationCatalog,
    /// The number of sequential scans that it has begun, by table.
    pub(super) scans: BTreeMap<u32, u64>,
    /// The position in the WAL, in bytes.
    pub(super) wal: Option<u64>,
}

impl SessionTraces {
    /// Returns whether nothing but the position in the WAL is known.
    pub(super) fn is_wal_alone(&self) -> bool {
        self.locks.is_empty() && self.relations.is_empty() && self.scans.is_empty()
    }
}

/// The columns about a relation.
const COLUMNS: &str = "c.oid, n.nspname, c.relname, c.relkind, pg_catalog.pg_relation_filenode(c.oid), \
    (SELECT i.indrelid FROM pg_catalog.pg_index i WHERE i.indexrelid = c.oid)";

/// The condition that a relation is not the server's own. What lies in TOAST belongs to its table.
const OWN: &str = "n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'";

/// Returns the question for all relations.
pub(super) fn catalog_sql() -> String {
    format!(
        "SELECT {}, {COLUMNS} FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
         WHERE {OWN} AND c.relkind IN ('r', 'p', 'm', 'i', 'I', 'v', 'f', 'S')",
        RowTag::CopyRelation
    )
}

/// Reads all relations.
pub(super) async fn read_catalog(client: &Client) -> Result<RelationCatalog, Fault> {
    let rows = query_rows_as_written(client, &catalog_sql()).await.map_err(|error| query_fault(&error))?;
    Ok(parse_relations(&rows))
}

/// Returns the question for the traces of the session itself; it has to be in the transaction that they are about.
pub(super) fn traces_sql() -> String {
    const MINE: &str = "l.pid = pg_catalog.pg_backend_pid() AND l.locktype = 'relation' AND l.granted \
        AND l.database = (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database())";
    format!(
        "SELECT {}, l.relation, l.mode FROM pg_catalog.pg_locks l WHERE {MINE} AND l.relation >= 16384; \
         SELECT {}, {COLUMNS} FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
         WHERE {OWN} AND c.oid IN (SELECT l.relation FROM pg_catalog.pg_locks l WHERE {MINE}); \
         SELECT {}, s.relid, s.seq_scan FROM pg_catalog.pg_stat_xact_user_tables s WHERE s.seq_scan > 0; \
         {}",
        RowTag::HeldLock,
        RowTag::CopyRelation,
        RowTag::ScanCount,
        wal_sql()
    )
}

/// Returns the question for the position in the WAL.
pub(super) fn wal_sql() -> String {
    let position = "pg_catalog.pg_wal_lsn_diff(pg_catalog.pg_current_wal_insert_lsn(), '0/0')";
    format!("SELECT {}, {position}", RowTag::WalPosition)
}

/// Reads the traces of the session itself; it has to be in the transaction that they are about.
pub(super) async fn read_traces(client: &Client) -> Result<SessionTraces, Fault> {
    let rows = query_rows_as_written(client, &traces_sql()).await.map_err(|error| query_fault(&error))?;
    Ok(parse_traces(&rows))
}

pub(super) fn parse_traces(rows: &Rows) -> SessionTraces {
    let locks = rows.tagged(RowTag::HeldLock).filter_map(|row| Some((row.parse(0)?, parse_mode(row.text(1)?)?)));
    let scans = rows.tagged(RowTag::ScanCount).filter_map(|row| Some((row.parse(0)?, row.parse(1)?)));
    SessionTraces {
        locks: locks.collect(),
        relations: parse_relations(rows),
        scans: scans.collect(),
        wal: rows.tagged(RowTag::WalPosition).next().and_then(|row| row.parse(0)),
    }
}

pub(super) fn parse_relations(rows: &Rows) -> RelationCatalog {
    rows.tagged(RowTag::CopyRelation).filter_map(parse_relation).collect()
}

fn parse_relation(row: Row<'_>) -> Option<(u32, CatalogRelation)> {
    let [_, schema, name, kind, ..] = row.columns::<6>();
    let name = QualifiedName { schema: schema.map(str::to_owned), name: name?.to_owned() };
    let (file, table) = (row.parse(4).unwrap_or(0), row.parse(5));
    Some((row.parse(0)?, CatalogRelation { name, kind: kind?.chars().next()?, file, table }))
}

/// Reads a mode as `pg_locks` has it: `AccessExclusiveLock`.
fn parse_mode(text: &str) -> Option<LockMode> {
    let squeezed = |mode: &LockMode| mode.name().replace(' ', "").to_ascii_lowercase();
    let wanted = text.strip_suffix("Lock")?.to_ascii_lowercase();
    LockMode::ALL.into_iter().find(|mode| squeezed(mode) == wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_locks_files_scans_and_the_position_in_the_wal() {
        let rows: Rows = [
            RowTag::HeldLock.row(&["16400", "AccessExclusiveLock"]),
            RowTag::HeldLock.row(&["16401", "ShareUpdateExclusiveLock"]),
            RowTag::HeldLock.row(&["16402", "UnheardOfLock"]),
            RowTag::CopyRelation.row(&["16400", "public", "orders", "r", "16410", ""]),
            RowTag::CopyRelation.row(&["16401", "public", "orders_pkey", "i", "16411", "16400"]),
            RowTag::ScanCount.row(&["16400", "2"]),
            RowTag::WalPosition.row(&["123456"]),
        ]
        .into_iter()
        .collect();
        let traces = parse_traces(&rows);
        assert_eq!(traces.locks, [(16_400, LockMode::AccessExclusive), (16_401, LockMode::ShareUpdateExclusive)]);
        assert_eq!(traces.relations[&16_400].file, 16_410);
        assert!(traces.relations[&16_401].is_index() && traces.relations[&16_401].table == Some(16_400));
        assert_eq!((traces.scans[&16_400], traces.wal), (2, Some(123_456)));
    }

    #[test]
    fn every_mode_is_read() {
        for mode in LockMode::ALL {
            let name = mode.name().replace(' ', "").to_lowercase();
            assert_eq!(parse_mode(&format!("{name}Lock")), Some(mode));
        }
        assert_eq!(parse_mode("ShareRowExclusiveLock"), Some(LockMode::ShareRowExclusive));
        assert_eq!(parse_mode("SIReadLock"), None);
    }
}
