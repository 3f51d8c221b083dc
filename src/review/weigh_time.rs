//! The time for which a statement holds up others, and the sentences about it.

use super::{
    effect::{Destruction, StatementEffect, TableWork},
    lock_target::{TargetLock, TargetSearch, TargetWeight, display_name, held_up},
    relation_facts::RelationFacts,
    risk_rules::{Concern, Finding, TimeClass},
    table_facts::TableFacts,
    units::{format_count, format_duration, format_rows},
    work_time::{ChangedRows, SizedWork, WorkRates, describe_estimate, estimate_work},
};
use crate::run::{Estimate, HeldUp};

/// The share of changed rows from which the last count of a table counts as old.
const STALE_SHARE: u64 = 5;

/// The most tables that a sentence lists.
const MAX_NAMES: usize = 5;

/// The time that the work of a statement takes.
#[derive(Debug, Clone)]
pub(super) struct Exposure {
    /// The work, as phrases.
    pub(super) work: Vec<String>,
    /// The estimate for all work.
    pub(super) estimate: Option<Estimate>,
    /// The time that matters: work on small and new tables counts as a moment.
    pub(super) time: TimeClass,
    /// The reason why the time is unknown.
    pub(super) unknown: Option<String>,
    /// Facts about the tables, as sentences.
    pub(super) facts: Vec<String>,
}

/// Returns the time that the work of a statement takes.
pub(super) fn exposure_of(effect: &StatementEffect, search: &TargetSearch<'_>, rates: &WorkRates) -> Exposure {
    let (mut sized, mut large, mut unknown, mut work, mut facts) =
        (Vec::new(), Vec::new(), None, Vec::new(), Vec::new());
    for table_work in &effect.work {
        let target = search.worked_on(table_work);
        work.push(format!("{} {}", verb_of(table_work), target.describe()));
        match target.weight {
            TargetWeight::Small(size) | TargetWeight::Large(size) => {
                let is_large = matches!(target.weight, TargetWeight::Large(_));
                let changed = changed_rows(effect, table_work);
                let item = SizedWork { work: table_work, label: target.label, size, changed };
                large.extend(is_large.then(|| item.clone()));
                sized.push(item);
                let relation = search.facts.find(table_work.relation()).filter(|_| is_large);
                facts.extend(relation.into_iter().flat_map(|relation| table_findings(relation, search.facts)));
            }
            TargetWeight::Uncounted(_) => unknown = Some(format!("{} was never analysed", target.label)),
            TargetWeight::Missing => unknown = Some(format!("{} is not in this database now", target.label)),
            TargetWeight::Unknown => unknown = Some("the database could not be asked".to_owned()),
            TargetWeight::New | TargetWeight::Rowless => {}
        }
    }
    let decisive = estimate_work(&large, rates);
    let time = match (&unknown, &decisive) {
        (Some(_), _) => TimeClass::Unknown,
        (None, Some(estimate)) => TimeClass::of(estimate.longest()),
        (None, None) => TimeClass::Moment,
    };
    facts.dedup();
    Exposure { work, estimate: estimate_work(&sized, rates).filter(|_| unknown.is_none()), time, unknown, facts }
}

fn verb_of(work: &TableWork) -> &'static str {
    match work {
        TableWork::Scan(_) => "reads all of",
        TableWork::ScanDefaultPartition(_) => "reads all of the default partition of",
        TableWork::Rewrite(_) => "rewrites",
        TableWork::BuildIndex(_) => "builds an index of",
        TableWork::RebuildIndex(_) => "builds an index again of",
        TableWork::ChangeRows(_) => "changes rows of",
        TableWork::ChangeAllRows(_) => "changes all rows of",
    }
}

/// Returns the rows of the table that the statement changes.
fn changed_rows(effect: &StatementEffect, work: &TableWork) -> ChangedRows {
    let table = work.relation();
    let is_deleted = |lost: &Destruction| matches!(lost, Destruction::Rows(known) if known == table);
    let is_overwritten =
        |lost: &Destruction| matches!(lost, Destruction::Values { table: known, .. } if known == table);
    match work {
        _ if effect.destroys.iter().any(is_deleted) => ChangedRows::AllDeleted,
        TableWork::ChangeAllRows(_) => ChangedRows::All,
        _ if effect.destroys.iter().any(is_overwritten) => ChangedRows::All,
        _ => ChangedRows::Some,
    }
}

/// Returns facts about a large table: an old count, and the queries that use it.
fn table_findings(table: &RelationFacts, facts: &TableFacts) -> Vec<String> {
    let name = display_name(Some(&table.schema), &table.name);
    let rows = facts.rows(table).unwrap_or_default();
    let is_stale = table.modified_since > rows / STALE_SHARE;
    let stale = table.analyzed_ago.filter(|_| is_stale).map(|age| {
        let changed = format_rows(table.modified_since);
        format!("{changed} of {name} have changed since its size was counted {} ago.", format_duration(age))
    });
    let families = facts.families.iter().find(|families| families.table == table.oid);
    let used = families.and_then(|families| {
        let calls = format_count(families.calls_per_minute().filter(|calls| *calls > 0)?);
        Some(format!("{name} is used by {calls} calls per minute, most often {}.", families.most_frequent))
    });
    stale.into_iter().chain(used).collect()
}

/// Returns the findings about the time for which the locks of the statement, and those that its transaction holds
/// already, hold up others.
pub(super) fn time_findings(
    blocks: HeldUp,
    locks: &[TargetLock],
    held: &[TargetLock],
    exposure: &Exposure,
) -> Vec<Finding> {
    let own =
        Finding { concern: Concern::HoldsUp(blocks, exposure.time), sentence: own_sentence(blocks, locks, exposure) };
    [Some(own), held_finding(locks, held, exposure)].into_iter().flatten().collect()
}

fn own_sentence(blocks: HeldUp, locks: &[TargetLock], exposure: &Exposure) -> String {
    let used: Vec<&TargetLock> = locks.iter().filter(|(_, target)| target.is_used()).collect();
    let Some(work_of_others) = describe_held_up(blocks) else {
        return match (&exposure.estimate, &exposure.unknown) {
            (_, Some(reason)) => format!("It blocks neither reads nor writes; its time is unknown, because {reason}."),
            (Some(estimate), None) => {
                let time = describe_estimate(estimate);
                format!("It blocks neither reads nor writes and takes {time}: {}.", estimate.basis)
            }
            (None, None) if used.is_empty() && !locks.is_empty() => {
                "It works only on what this plan creates.".to_owned()
            }
            (None, None) => "It blocks neither reads nor writes.".to_owned(),
        };
    };
    let blocking: Vec<&TargetLock> = used.into_iter().filter(|(mode, _)| held_up(*mode) == blocks).collect();
    // Without such a lock, only the changed rows themselves are blocked.
    let object = if blocking.is_empty() { "the same rows".to_owned() } else { list_tables(&blocking) };
    match (&exposure.unknown, &exposure.estimate) {
        (Some(reason), _) => format!("It blocks {work_of_others} {object} for an unknown time, because {reason}."),
        (None, Some(estimate)) => {
            format!("It blocks {work_of_others} {object} for {}: {}.", describe_estimate(estimate), estimate.basis)
        }
        (None, None) => format!("It blocks {work_of_others} {object} only for a moment, once it has the lock."),
    }
}

/// Returns the finding about locks that earlier statements of the same transaction have left.
fn held_finding(locks: &[TargetLock], held: &[TargetLock], exposure: &Exposure) -> Option<Finding> {
    let is_own = |label: &str| locks.iter().any(|(_, target)| target.label == label);
    let others: Vec<&TargetLock> =
        held.iter().filter(|(_, target)| target.is_used() && !is_own(&target.label)).collect();
    let stronger = held.iter().filter(|(mode, target)| {
        let own = locks.iter().filter(|(_, own)| own.label == target.label).map(|(mode, _)| held_up(*mode)).max();
        target.is_used() && own.is_some_and(|own| held_up(*mode) > own)
    });
    let kept: Vec<&TargetLock> = others.into_iter().chain(stronger).collect();
    let blocks = kept.iter().map(|(mode, _)| held_up(*mode)).max()?;
    let work_of_others = describe_held_up(blocks).filter(|_| exposure.time != TimeClass::Moment)?;
    let tables: Vec<&TargetLock> = kept.into_iter().filter(|(mode, _)| held_up(*mode) == blocks).collect();
    let sentence = format!(
        "Its transaction still holds the locks of earlier statements meanwhile, which block {work_of_others} {}.",
        list_tables(&tables)
    );
    Some(Finding { concern: Concern::HoldsUp(blocks, exposure.time), sentence })
}

fn describe_held_up(blocks: HeldUp) -> Option<&'static str> {
    match blocks {
        HeldUp::Nothing => None,
        HeldUp::Writes => Some("writes to"),
        HeldUp::ReadsAndWrites => Some("reads and writes of"),
    }
}

fn list_tables(locks: &[&TargetLock]) -> String {
    let mut names: Vec<String> = locks.iter().map(|(_, target)| target.describe()).collect();
    names.dedup();
    let more = names.len().saturating_sub(MAX_NAMES);
    names.truncate(MAX_NAMES);
    match more {
        0 => names.join(", "),
        more => format!("{} and {more} more", names.join(", ")),
    }
}
