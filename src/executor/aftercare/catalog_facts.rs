//! The facts of the catalog by which a run's own changes are found: the same for files and for every tool, because only
//! the database is asked, before and after the work.

use crate::{
    ledger::TRUSTED_ROLES,
    postgres::{OwnQuery, Row, RowTag, Rows},
};
use std::collections::{BTreeMap, BTreeSet};

/// Settings of the transaction: the facts are not worth holding up a run, and no index helps.
pub(super) const SETTINGS: &str =
    "SET LOCAL lock_timeout TO 200; SET LOCAL statement_timeout TO 20000; SET LOCAL jit TO off";

/// Schemas whose objects are not the user's, as a condition on `n`. `bastion_migrate` has our own ledger.
pub(super) const USER_SCHEMA: &str =
    "n.nspname !~ '^pg_' AND n.nspname NOT IN ('information_schema', 'bastion_migrate')";

/// The condition that the constraint `k` of a table is NOT VALID. One that is NOT ENFORCED (PostgreSQL 18) can't be
/// validated, and one that is inherited is validated with its parent's.
pub(super) const IS_UNVALIDATED: &str = "NOT k.convalidated AND k.conrelid <> 0 AND k.coninhcount = 0 \
    AND pg_catalog.to_jsonb(k) ->> 'conenforced' IS DISTINCT FROM 'false'";

/// The condition that our session has the rights of the owner of the relation `c`, and that we trust that role. The query
/// begins with [`TRUSTED_ROLES`].
pub(super) const OWNER: &str =
    "pg_catalog.pg_has_role(c.relowner, 'USAGE') AND c.relowner IN (SELECT oid FROM trusted)";

/// Number of rows by which a table has to change before its statistics count as outdated, and the share of its rows:
/// those of `autovacuum_analyze_threshold` and `autovacuum_analyze_scale_factor` (PostgreSQL manual, 20.10).
const MIN_CHANGED_ROWS: u64 = 50;
const CHANGED_SHARE: u64 = 10;

/// Bytes by which a table has to grow: eight pages.
const MIN_GROWTH: u64 = 64 << 10;

/// The facts at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct CatalogFacts {
    tables: BTreeMap<u32, CareTable>,
    unvalidated: BTreeMap<u32, UnvalidatedConstraint>,
    indexes: BTreeSet<u32>,
}

/// A table or a materialized view, by its object identifier.
#[derive(Debug, Clone, PartialEq, Eq)]
struct CareTable {
    name: String,
    /// The file of its rows: a new one after each rewrite.
    file: u32,
    bytes: u64,
    /// Number of rows that were changed since the last ANALYZE.
    changed_rows: u64,
    /// Number of rows, as the last ANALYZE estimated it.
    rows: u64,
}

/// A constraint that is NOT VALID, with the statement that validates it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct UnvalidatedConstraint {
    pub(super) name: String,
    pub(super) sql: String,
}

impl CatalogFacts {
    /// Returns the query for the facts, in one round trip. ANALYZE and VALIDATE need the rights of the table's owner, and
    /// run its code: so only tables count that belong to our role or one that it is a member of. A superuser is no
    /// member of the others.
    pub(super) fn query() -> OwnQuery {
        let (table, constraint, index) = (RowTag::CareTable, RowTag::CareConstraint, RowTag::CareIndex);
        OwnQuery::read_only(format!(
            "{TRUSTED_ROLES} SELECT {table}, c.oid, pg_catalog.format('%I.%I', n.nspname, c.relname), \
             pg_catalog.pg_relation_filenode(c.oid), pg_catalog.pg_relation_size(c.oid), \
             pg_catalog.pg_stat_get_mod_since_analyze(c.oid), GREATEST(c.reltuples, 0)::bigint \
             FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
             WHERE c.relkind IN ('r', 'm') AND c.relpersistence <> 't' AND {USER_SCHEMA} \
             AND {OWNER}; \
             {TRUSTED_ROLES} SELECT {constraint}, k.oid, pg_catalog.format('%I on %I.%I', k.conname, n.nspname, c.relname), \
             pg_catalog.format('ALTER TABLE %I.%I VALIDATE CONSTRAINT %I', n.nspname, c.relname, k.conname) \
             FROM pg_catalog.pg_constraint k JOIN pg_catalog.pg_class c ON c.oid = k.conrelid \
             JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
             WHERE {IS_UNVALIDATED} AND {USER_SCHEMA} AND {OWNER} ORDER BY k.oid; \
             SELECT {index}, i.indexrelid FROM pg_catalog.pg_index i"
        ))
        .preceded_by(SETTINGS)
    }

    /// Reads the response.
    pub(super) fn from_rows(rows: &Rows) -> Self {
        let constraint = |row: Row<'_>| {
            let [_, name, sql] = row.columns().map(|column| column.unwrap_or_default().to_owned());
            Some((row.parse(0)?, UnvalidatedConstraint { name, sql }))
        };
        Self {
            tables: rows.tagged(RowTag::CareTable).filter_map(CareTable::from_row).collect(),
            unvalidated: rows.tagged(RowTag::CareConstraint).filter_map(constraint).collect(),
            indexes: rows.tagged(RowTag::CareIndex).filter_map(|row| row.parse(0)).collect(),
        }
    }

    /// Returns the tables that were rewritten or filled since, by their SQL names.
    pub(super) fn outdated_tables(&self, now: &Self) -> Vec<String> {
        let is_outdated = |(oid, table): &(&u32, &CareTable)| table.is_outdated(self.tables.get(*oid));
        let mut names: Vec<String> =
            now.tables.iter().filter(is_outdated).map(|(_, table)| table.name.clone()).collect();
        names.sort_unstable();
        names
    }

    /// Returns the constraints that were added NOT VALID since.
    pub(super) fn added_unvalidated(&self, now: &Self) -> Vec<UnvalidatedConstraint> {
        let is_new = |(oid, _): &(&u32, &UnvalidatedConstraint)| !self.unvalidated.contains_key(*oid);
        now.unvalidated.iter().filter(is_new).map(|(_, constraint)| constraint.clone()).collect()
    }

    /// Returns whether there was an index with this object identifier.
    pub(super) fn has_index(&self, oid: u32) -> bool {
        self.indexes.contains(&oid)
    }
}

impl CareTable {
    fn from_row(row: Row<'_>) -> Option<(u32, Self)> {
        // Of a table that was dropped meanwhile, the size is NULL.
        let state = Self {
            name: row.text(1)?.to_owned(),
            file: row.parse(2)?,
            bytes: row.parse(3)?,
            changed_rows: row.parse(4).unwrap_or_default(),
            rows: row.parse(5).unwrap_or_default(),
        };
        Some((row.parse(0)?, state))
    }

    /// Returns whether its statistics are outdated by what happened since `before`; `None` is a new table. Both the
    /// size and the number of changed rows count: a session reports the latter late, and a table may be changed in place.
    fn is_outdated(&self, before: Option<&Self>) -> bool {
        let (old_bytes, old_changed) = before.map_or((0, 0), |before| (before.bytes, before.changed_rows));
        let is_rewritten = before.is_some_and(|before| before.file != self.file);
        let grown = self.bytes.saturating_sub(old_bytes);
        let changed = self.changed_rows.saturating_sub(old_changed);
        self.bytes > 0
            && (is_rewritten
                || grown >= MIN_GROWTH.max(old_bytes / CHANGED_SHARE)
                || changed >= MIN_CHANGED_ROWS + self.rows / CHANGED_SHARE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(tables: &[(u32, u32, u64, u64, u64)], constraints: &[u32]) -> CatalogFacts {
        let tables = tables.iter().map(|(oid, file, bytes, changed, rows)| {
            RowTag::CareTable.row(&[
                &oid.to_string(),
                &format!("public.t{oid}"),
                &file.to_string(),
                &bytes.to_string(),
                &changed.to_string(),
                &rows.to_string(),
            ])
        });
        let constraints = constraints
            .iter()
            .map(|oid| RowTag::CareConstraint.row(&[&oid.to_string(), &format!("k{oid}"), &format!("ALTER … k{oid}")]));
        let indexes = [RowTag::CareIndex.row(&["70"])];
        CatalogFacts::from_rows(&tables.chain(constraints).chain(indexes).collect())
    }

    #[test]
    fn a_table_is_outdated_if_it_was_rewritten_or_filled() {
        let before = facts(
            &[
                (1, 1, 8_192, 0, 10),
                (2, 2, 8_192, 0, 10),
                (3, 3, 8_192, 7, 1_000),
                (4, 4, 8_192, 7, 1_000),
                (5, 5, 9_000_000, 0, 0),
                (6, 6, 9_000_000, 0, 0),
                (7, 7, 0, 0, 0),
            ],
            &[],
        );
        let after = facts(
            &[
                (1, 1, 8_192, 0, 10),
                (2, 12, 8_192, 0, 10),
                (3, 3, 8_192, 156, 1_000),
                (4, 4, 8_192, 157, 1_000),
                (5, 5, 9_800_000, 0, 0),
                (6, 6, 9_900_000, 0, 0),
                (7, 17, 0, 0, 0),
                (8, 8, 8_192, 3, 0),
                (9, 9, 65_536, 0, 0),
                (10, 10, 8_192, 50, 0),
            ],
            &[],
        );
        assert_eq!(
            before.outdated_tables(&after),
            ["public.t10", "public.t2", "public.t4", "public.t6", "public.t9"],
            "2 is rewritten, 4 changed by a tenth and 50 rows, 6 grown by a tenth, 9 and 10 new and filled"
        );
        assert_eq!(after.outdated_tables(&after), [""; 0]);
    }

    #[test]
    fn only_constraints_and_indexes_of_this_run_are_new() {
        let (before, after) = (facts(&[], &[1, 2]), facts(&[], &[2, 3]));
        let added: Vec<String> = before.added_unvalidated(&after).into_iter().map(|added| added.name).collect();
        assert_eq!(added, ["k3"]);
        assert!(before.has_index(70) && !before.has_index(71));
    }

    #[test]
    fn a_table_that_is_being_dropped_has_no_facts() {
        let rows = Rows::from_iter([RowTag::CareTable.row(&["1", "public.t", "", "", "", ""])]);
        assert_eq!(CatalogFacts::from_rows(&rows), CatalogFacts::default());
    }
}
