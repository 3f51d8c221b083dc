//! Partitions: ATTACH, DETACH, SPLIT and MERGE PARTITION, and CREATE TABLE … PARTITION OF.

use super::{
    super::effect::{LockMode, LockedRelation, TableWork},
    draft::{EffectDraft, Reach, Target},
    script_state::ScriptState,
    tree::{SyntaxKind, SyntaxNode, find_child, find_within, has_within},
};
use crate::sql::QualifiedName;
use LockMode::{AccessExclusive, ShareRowExclusive, ShareUpdateExclusive};
use SyntaxKind as Kind;

/// Reads ATTACH PARTITION. Both the new partition and the default one are read, unless a valid CHECK constraint shows
/// that no row is in the wrong place (PostgreSQL manual, ALTER TABLE, "ATTACH PARTITION"). The foreign keys of the parent
/// become those of the partition.
pub(super) fn read_attach_partition(
    subcommand: &SyntaxNode,
    target: &Target,
    draft: &mut EffectDraft,
    _: &mut ScriptState,
) {
    draft.lock_target(ShareUpdateExclusive, target, Reach::Itself);
    let Some(partition) = draft.read_name(subcommand) else { return };
    draft.lock_target(AccessExclusive, &Target { name: partition.clone(), is_only: false }, Reach::Descendants);
    draft.add_work(TableWork::Scan(partition));
    draft.add_relief("the scan is left out if a valid CHECK constraint implies the bounds of the partition");
    lock_for_new_bounds(&target.name, draft);
}

fn lock_for_new_bounds(parent: &QualifiedName, draft: &mut EffectDraft) {
    draft.lock(AccessExclusive, LockedRelation::DefaultPartitionOf(parent.clone()));
    draft.add_work(TableWork::ScanDefaultPartition(parent.clone()));
    draft.lock(ShareRowExclusive, LockedRelation::ReferencedBy(parent.clone()));
    draft.lock(ShareRowExclusive, LockedRelation::ReferencesTo(parent.clone()));
}

/// Reads DETACH PARTITION. CONCURRENTLY (PostgreSQL 14) waits for the queries of the parent between two transactions.
pub(super) fn read_detach_partition(
    subcommand: &SyntaxNode,
    target: &Target,
    draft: &mut EffectDraft,
    _: &mut ScriptState,
) {
    let is_gentle = has_within(subcommand, Kind::DETACH_CONCURRENTLY) || has_within(subcommand, Kind::DETACH_FINALIZE);
    draft.lock_target(if is_gentle { ShareUpdateExclusive } else { AccessExclusive }, target, Reach::Itself);
    let partition = find_child(subcommand, Kind::TABLE_NAME_REF).and_then(|partition| draft.read_name(&partition));
    let Some(partition) = partition else { return };
    draft.lock_named(AccessExclusive, &partition);
    // The partition keeps its foreign keys, as constraints of its own.
    draft.lock(ShareRowExclusive, LockedRelation::ReferencedBy(partition.clone()));
    draft.lock(AccessExclusive, LockedRelation::ReferencesTo(target.name.clone()));
    if has_within(subcommand, Kind::DETACH_CONCURRENTLY) {
        draft.end_locks_early();
    } else {
        draft.lock(AccessExclusive, LockedRelation::DefaultPartitionOf(target.name.clone()));
    }
}

/// Reads SPLIT PARTITION (PostgreSQL 19): the rows move into new tables.
pub(super) fn read_split_partition(
    subcommand: &SyntaxNode,
    target: &Target,
    draft: &mut EffectDraft,
    _: &mut ScriptState,
) {
    draft.lock_target(AccessExclusive, target, Reach::Itself);
    if let Some(partition) = find_child(subcommand, Kind::TABLE_NAME_REF).and_then(|name| draft.read_name(&name)) {
        draft.lock_named(AccessExclusive, &partition);
        draft.add_work(TableWork::Rewrite(partition));
    }
}

/// Reads MERGE PARTITIONS (PostgreSQL 19): the rows move into a new table.
pub(super) fn read_merge_partitions(
    subcommand: &SyntaxNode,
    target: &Target,
    draft: &mut EffectDraft,
    _: &mut ScriptState,
) {
    draft.lock_target(AccessExclusive, target, Reach::Itself);
    let Some(list) = find_within(subcommand, Kind::TABLE_NAME_REF_LIST) else { return };
    for partition in draft.read_names(&list) {
        draft.lock_named(AccessExclusive, &partition);
        draft.add_work(TableWork::Rewrite(partition));
    }
}

/// Reads the PARTITION OF of a new table. The parent is locked against reads, too (`DefineRelation` in tablecmds.c).
pub(super) fn read_partition_of(clause: &SyntaxNode, draft: &mut EffectDraft) {
    if let Some(parent) = draft.read_name(clause) {
        draft.lock_named(AccessExclusive, &parent);
        lock_for_new_bounds(&parent, draft);
    }
}
