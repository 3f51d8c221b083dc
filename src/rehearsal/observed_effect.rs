//! The effect of a statement as it was observed, in the terms of the review: so it is weighed by the tables of the database
//! itself, as the forecast is.

use super::observation::{LockAge, LockVisibility, ObservedLock, ObservedStatement};
use crate::{
    review::{Certainty, Destruction, LockDuration, LockedRelation, RelationLock, StatementEffect, TableWork},
    sql::{Phrase, QualifiedName},
};

/// First words of statements about rows. On a copy without rows their plans and their work mean nothing.
const ROW_WORDS: [&str; 12] =
    ["select", "insert", "update", "delete", "merge", "with", "values", "table", "copy", "explain", "declare", "fetch"];

/// Returns the effect of a statement: its locks as observed, its work as observed where that does not depend on rows.
pub(super) fn observed_effect(forecast: &StatementEffect, text: &str, seen: &ObservedStatement) -> StatementEffect {
    if seen.visibility == LockVisibility::Gone || seen.error.is_some() {
        return forecast.clone();
    }
    // The server shows each mode of a lock once: one that an earlier statement took hides that of this one.
    let foreseen = |held: &ObservedLock| {
        forecast.locks.iter().any(|lock| lock.mode == held.mode && is_about(&lock.relation, &held.relation))
    };
    let locks = seen.held.iter().filter(|lock| lock.age == LockAge::New || foreseen(lock));
    let locks = locks.map(|lock| RelationLock {
        mode: lock.mode,
        relation: LockedRelation::Named(lock.relation.clone()),
        duration: LockDuration::Transaction,
    });
    let mut locks: Vec<RelationLock> = locks.collect();
    locks.sort_by_key(|lock| std::cmp::Reverse(lock.mode));
    StatementEffect {
        locks,
        work: observed_work(forecast, text, seen),
        destroys: forecast.destroys.iter().filter(|lost| may_be_lost(lost, seen)).cloned().collect(),
        certainty: Certainty::Known,
        ..forecast.clone()
    }
}

fn observed_work(forecast: &StatementEffect, text: &str, seen: &ObservedStatement) -> Vec<TableWork> {
    let concerns_rows = Phrase::new(text).eat_one_of(&ROW_WORDS).is_some();
    if concerns_rows {
        return forecast.work.clone();
    }
    // TRUNCATE gives a table a new file without reading the old one.
    let emptied = |name: &QualifiedName| {
        forecast.destroys.iter().any(|lost| matches!(lost, Destruction::Rows(table) if is_same(table, name)))
    };
    let rewritten = seen.rewritten.iter().filter(|name| !emptied(name)).cloned().map(TableWork::Rewrite);
    let indexed = seen.indexed.iter().filter(|name| !seen.rewritten.contains(name)).cloned().map(TableWork::BuildIndex);
    let is_other_work = |name: &&QualifiedName| !seen.rewritten.contains(*name) && !seen.indexed.contains(*name);
    let scanned = seen.scanned.iter().filter(is_other_work).cloned().map(TableWork::Scan);
    // The check of a foreign key reads both tables; without rows in one of them it does not begin with the other.
    let also_read = |work: &&TableWork| {
        let is_known = |name: &QualifiedName| is_same(work.relation(), name);
        matches!(work, TableWork::Scan(_)) && !seen.scanned.is_empty() && !seen.scanned.iter().any(is_known)
    };
    let rebuilt = seen.rebuilt.iter().filter(|_| seen.rewritten.is_empty()).cloned().map(TableWork::RebuildIndex);
    let changes_rows =
        |work: &&TableWork| matches!(work, TableWork::ChangeRows(_) | TableWork::ChangeAllRows(_)) || also_read(work);
    rewritten
        .chain(indexed)
        .chain(scanned)
        .chain(rebuilt)
        .chain(forecast.work.iter().filter(changes_rows).cloned())
        .collect()
}

/// Returns whether something can be lost. A change of type that leaves the rows as they are narrows none of them.
fn may_be_lost(lost: &Destruction, seen: &ObservedStatement) -> bool {
    match lost {
        Destruction::Narrowed { table, .. } => seen.rewritten.iter().any(|name| is_same(table, name)),
        _ => true,
    }
}

fn is_about(locked: &LockedRelation, relation: &QualifiedName) -> bool {
    locked.name().is_some_and(|name| is_same(name, relation))
}

/// Returns whether a written name means this relation, as far as the name shows.
pub(super) fn is_same(written: &QualifiedName, relation: &QualifiedName) -> bool {
    written.name == relation.name && (written.schema.is_none() || written.schema == relation.schema)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{review::LockMode, sql::Span};
    use std::collections::BTreeSet;

    fn name(schema: Option<&str>, text: &str) -> QualifiedName {
        QualifiedName { schema: schema.map(str::to_owned), name: text.to_owned() }
    }

    fn forecast(work: Vec<TableWork>, destroys: Vec<Destruction>) -> StatementEffect {
        let lock = RelationLock {
            mode: LockMode::AccessExclusive,
            relation: LockedRelation::Named(name(None, "t")),
            duration: LockDuration::Transaction,
        };
        StatementEffect {
            span: Span { start: 0, end: 1 },
            summary: "x".to_owned(),
            locks: vec![lock],
            work,
            destroys,
            creates: Vec::new(),
            certainty: Certainty::Known,
        }
    }

    #[test]
    fn locks_of_earlier_statements_count_where_the_forecast_names_them() {
        let t = name(Some("public"), "t");
        let lock = |relation: &str, age| ObservedLock {
            mode: LockMode::AccessExclusive,
            relation: name(Some("public"), relation),
            age,
        };
        let seen = ObservedStatement {
            held: vec![lock("t", LockAge::Earlier), lock("u", LockAge::Earlier), lock("v", LockAge::New)],
            rewritten: BTreeSet::from([t.clone()]),
            scanned: BTreeSet::from([t.clone(), name(Some("public"), "u")]),
            rebuilt: BTreeSet::from([name(Some("public"), "t_key")]),
            ..ObservedStatement::default()
        };
        let effect = observed_effect(&forecast(Vec::new(), Vec::new()), "ALTER TABLE t …", &seen);
        let names: Vec<&str> =
            effect.locks.iter().filter_map(|lock| lock.relation.name()).map(|name| name.name.as_str()).collect();
        assert_eq!(names, ["t", "v"]);
        assert_eq!(effect.work, [TableWork::Rewrite(t), TableWork::Scan(name(Some("public"), "u"))]);
    }

    #[test]
    fn the_work_of_rows_is_that_of_the_forecast_and_an_emptied_table_is_not_rewritten() {
        let t = name(Some("public"), "t");
        let seen = ObservedStatement {
            rewritten: BTreeSet::from([t.clone()]),
            scanned: BTreeSet::from([t.clone()]),
            ..ObservedStatement::default()
        };
        let change = TableWork::ChangeAllRows(name(None, "t"));
        let update = forecast(vec![change.clone()], Vec::new());
        assert_eq!(observed_effect(&update, "UPDATE t SET a = 1", &seen).work, [change]);
        let truncate = forecast(Vec::new(), vec![Destruction::Rows(name(None, "t"))]);
        assert_eq!(observed_effect(&truncate, "TRUNCATE t", &seen).work, []);
    }
}
