//! A prediction in the names of the fixture: the catalog resolves what the statement does not name.

use crate::lab::session::Session;
use bastion_migrate::{
    postgres::quote_literal,
    review::{Blocked, Destruction, LockMode, LockedRelation, StatementEffect, TableWork},
    sql::QualifiedName,
};
use std::collections::{BTreeMap, BTreeSet};

/// A predicted lock.
#[derive(Debug, Clone, Copy)]
pub(super) struct PredictedLock {
    pub(super) mode: LockMode,
    /// Set if the statement names the relation.
    pub(super) is_named: bool,
}

/// The prediction for the relations of the fixture, by their names.
#[derive(Debug, Default)]
pub(super) struct Predicted {
    pub(super) locks: BTreeMap<String, PredictedLock>,
    pub(super) blocked: BTreeMap<String, Blocked>,
    pub(super) rewritten: BTreeSet<String>,
    /// The relations that may be read in full.
    pub(super) scanned: BTreeSet<String>,
    /// Those of them that have no partitions, and whose rows no condition excludes.
    pub(super) surely_scanned: BTreeSet<String>,
}

/// Returns a query of the relations behind a predicted one.
fn query(relation: &LockedRelation) -> String {
    let oid = |name: &QualifiedName| format!("to_regclass({})", quote_literal(&name.to_sql()));
    let other_end =
        |key: &str, condition: String| format!("select {key} from pg_constraint where contype = 'f' and {condition}");
    let number = |table: &QualifiedName, column: &str| {
        format!(
            "(select attnum from pg_attribute where attrelid = {} and attname = {})",
            oid(table),
            quote_literal(column)
        )
    };
    match relation {
        LockedRelation::Named(name) => format!("select {}", oid(name)),
        LockedRelation::TableOfIndex(name) => format!("select indrelid from pg_index where indexrelid = {}", oid(name)),
        LockedRelation::PartitionsOfIndexTable(name) => descendants(
            &format!("(select indrelid from pg_index where indexrelid = {})", oid(name)),
            &format!("where (select relkind = 'I' from pg_class where oid = {})", oid(name)),
        ),
        LockedRelation::TableOfStatistics(name) => {
            format!("select stxrelid from pg_statistic_ext where stxname = {}", quote_literal(&name.name))
        }
        LockedRelation::IndexesOf(name) => format!("select indexrelid from pg_index where indrelid = {}", oid(name)),
        LockedRelation::ReferencedBy(name) => other_end("confrelid", format!("conrelid = {}", oid(name))),
        LockedRelation::ReferencedByColumn { table, column } => {
            other_end("confrelid", format!("conrelid = {} and {} = any (conkey)", oid(table), number(table, column)))
        }
        LockedRelation::ReferencedByConstraint { table, constraint } => {
            other_end("confrelid", format!("conrelid = {} and conname = {}", oid(table), quote_literal(constraint)))
        }
        LockedRelation::ReferencesTo(name) => other_end("conrelid", format!("confrelid = {}", oid(name))),
        LockedRelation::ReferencesToColumn { table, column } => {
            other_end("conrelid", format!("confrelid = {} and {} = any (confkey)", oid(table), number(table, column)))
        }
        LockedRelation::DescendantsOf(name) => descendants(&oid(name), ""),
        LockedRelation::PartitionsOf(name) => {
            descendants(&oid(name), &format!("where (select relkind = 'p' from pg_class where oid = {})", oid(name)))
        }
        LockedRelation::DefaultPartitionOf(name) => {
            format!("select nullif(partdefid, 0) from pg_partitioned_table where partrelid = {}", oid(name))
        }
        LockedRelation::DefaultSiblingOf(name) => format!(
            "select nullif(partdefid, 0) from pg_partitioned_table join pg_inherits on inhparent = partrelid \
             where inhrelid = {}",
            oid(name)
        ),
        LockedRelation::ViewsOn(name) => format!(
            "with recursive v(o) as (select {}::oid union select ev_class from v \
             join pg_depend on refobjid = v.o and classid = 'pg_rewrite'::regclass join pg_rewrite r on r.oid = objid) \
             select o from v where o <> {}",
            oid(name),
            oid(name)
        ),
        LockedRelation::ParentOf(name) => {
            format!(
                "select inhparent from pg_inherits join pg_class c on c.oid = inhrelid where relispartition and inhrelid = {}",
                oid(name)
            )
        }
        LockedRelation::InSchema(name) => format!(
            "select c.oid from pg_class c join pg_namespace n on n.oid = relnamespace where nspname = {}",
            quote_literal(name)
        ),
    }
}

fn descendants(oid: &str, condition: &str) -> String {
    format!(
        "with recursive d(o) as (select inhrelid from pg_inherits where inhparent = {oid} \
         union select inhrelid from pg_inherits join d on inhparent = d.o) select o from d {condition}"
    )
}

/// Returns the names and kinds of the relations that a query finds, with the table of an index.
fn find(session: &Session, query: &str) -> Vec<(String, String, String)> {
    let lines = session.sql(&format!(
        "select distinct c.relname, c.relkind, coalesce(t.relname, c.relname) from ({query}) q(o) \
         join pg_class c on c.oid = q.o left join pg_index i on i.indexrelid = c.oid \
         left join pg_class t on t.oid = i.indrelid where c.relnamespace = 'public'::regnamespace"
    ));
    lines
        .lines()
        .filter_map(|line| {
            let mut columns = line.split('|').map(str::to_owned);
            Some((columns.next()?, columns.next()?, columns.next()?))
        })
        .collect()
}

/// Returns the prediction in the names of the fixture.
pub(super) fn predict(session: &Session, effect: &StatementEffect) -> Predicted {
    let mut predicted = Predicted::default();
    for lock in &effect.locks {
        let is_named = matches!(lock.relation, LockedRelation::Named(_));
        for (relation, kind, table) in find(session, &query(&lock.relation)) {
            let is_index = matches!(kind.as_str(), "i" | "I");
            // On an index only ACCESS EXCLUSIVE keeps the planner out.
            let blocks = match (is_index, lock.mode) {
                (true, LockMode::AccessExclusive) | (false, _) => lock.mode.blocks(),
                (true, _) => Blocked::Nothing,
            };
            let blocked = predicted.blocked.entry(table).or_insert(blocks);
            *blocked = blocks.max(*blocked);
            if !is_index && kind != "c" {
                let entry = predicted.locks.entry(relation).or_insert(PredictedLock { mode: lock.mode, is_named });
                entry.mode = lock.mode.max(entry.mode);
                entry.is_named |= is_named;
            }
        }
    }
    predict_work(session, effect, &mut predicted);
    predict_foreign_key_checks(session, effect, &mut predicted);
    predicted
}

/// A foreign key is checked for each changed row, if the type of its column changes, and if it is validated: the table at
/// its other end may be read, in full if it is small.
fn predict_foreign_key_checks(session: &Session, effect: &StatementEffect, predicted: &mut Predicted) {
    for lock in &effect.locks {
        if matches!(
            lock.relation,
            LockedRelation::ReferencedBy(_)
                | LockedRelation::ReferencesTo(_)
                | LockedRelation::ReferencedByConstraint { .. }
                | LockedRelation::ReferencedByColumn { .. }
                | LockedRelation::ReferencesToColumn { .. }
        ) {
            predicted.scanned.extend(find(session, &query(&lock.relation)).into_iter().map(|(name, _, _)| name));
        }
    }
}

fn predict_work(session: &Session, effect: &StatementEffect, predicted: &mut Predicted) {
    let locked: BTreeSet<_> = predicted.locks.keys().cloned().collect();
    // The descendants that the statement does not lock have no part in its work.
    let with_descendants = |name: &QualifiedName| {
        let own = LockedRelation::Named(name.clone());
        let below = LockedRelation::DescendantsOf(name.clone());
        let rows = format!("({}) union ({})", query(&own), query(&below));
        let found = find(session, &rows).into_iter().filter(|(_, kind, _)| kind != "p").map(|(name, _, _)| name);
        found.filter(|name| locked.contains(name)).collect::<Vec<_>>()
    };
    for work in &effect.work {
        match work {
            TableWork::Rewrite(name) => predicted.rewritten.extend(with_descendants(name)),
            TableWork::Scan(name) | TableWork::BuildIndex(name) | TableWork::ChangeAllRows(name) => {
                predicted.scanned.extend(with_descendants(name));
                predicted.surely_scanned.extend(with_descendants(name));
            }
            TableWork::ChangeRows(name) => predicted.scanned.extend(with_descendants(name)),
            TableWork::ScanDefaultPartition(name) => {
                let found = find(session, &query(&LockedRelation::DefaultPartitionOf(name.clone())));
                predicted.scanned.extend(found.into_iter().map(|(name, _, _)| name));
            }
            TableWork::RebuildIndex(name) => {
                let found = find(session, &query(&LockedRelation::TableOfIndex(name.clone())));
                predicted.scanned.extend(found.into_iter().map(|(name, _, _)| name));
            }
        }
    }
    for destruction in &effect.destroys {
        // TRUNCATE gives a table a new, empty file.
        if let Destruction::Rows(name) = destruction
            && effect.work.is_empty()
        {
            predicted.rewritten.extend(with_descendants(name));
        }
    }
}
