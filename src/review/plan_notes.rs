//! Notes on a plan as a whole: the room for locks, disk space, standbys.

use super::{
    effect::TableWork,
    lock_target::TargetLock,
    script_effects::ScriptEffects,
    table_facts::{SessionVisibility, TableFacts},
    units::format_count,
};
use crate::run::{StatementReview, format_bytes};

/// The new bytes from which disk space is mentioned.
const NOTABLE_BYTES: u64 = 1 << 30;

/// Returns the note on a transaction that takes more than half of the locks for which there is room. The table of locks
/// is shared by all sessions, and without room a statement fails (PostgreSQL manual, 20.12,
/// `max_locks_per_transaction`).
pub(super) fn lock_room_note(script: &ScriptEffects<'_>, held: &[TargetLock], facts: &TableFacts) -> Option<String> {
    let needed: u64 = held.iter().map(|(_, target)| target.locks).sum();
    let room = facts.server.lock_capacity.saturating_sub(facts.server.locks_taken);
    let is_tight = facts.server.lock_capacity > 0 && needed > room / 2;
    is_tight.then(|| {
        format!(
            "{} takes about {} locks in one transaction, and the server has room for {}, of which {} are taken: raise \
             `max_locks_per_transaction`, or split it.",
            script.migration.label(),
            format_count(needed),
            format_count(facts.server.lock_capacity),
            format_count(facts.server.locks_taken)
        )
    })
}

/// Returns the notes on the server.
pub(super) fn server_notes(
    scripts: &[ScriptEffects<'_>],
    reviews: &[StatementReview],
    facts: &TableFacts,
) -> Vec<String> {
    let new_bytes = written_bytes(scripts, facts);
    let disk = (new_bytes >= NOTABLE_BYTES).then(|| {
        let bytes = format_bytes(new_bytes);
        format!("Rewrites and new indexes need up to {bytes} of disk space; SQL can't show how much is free.")
    });
    let replication = if new_bytes > 0 { facts.replication.clone() } else { Vec::new() };
    let is_hidden = facts.server.visibility == SessionVisibility::OwnRoles
        && reviews.iter().any(|review| !review.in_the_way.is_empty());
    let hidden = is_hidden.then(|| {
        "Of sessions of other roles, the role may see neither the age nor the query: `GRANT pg_read_all_stats` shows them."
            .to_owned()
    });
    disk.into_iter().chain(replication).chain(hidden).collect()
}

/// Returns the most bytes that rewrites and new indexes write. An index is at most as large as its table, mostly.
fn written_bytes(scripts: &[ScriptEffects<'_>], facts: &TableFacts) -> u64 {
    let works = scripts.iter().flat_map(|script| script.effects).flat_map(|effect| &effect.work);
    let bytes = works.filter_map(|work| {
        let size = facts.find(TableWork::relation(work))?.whole_size();
        match work {
            TableWork::Rewrite(_) => size.bytes(),
            TableWork::BuildIndex(_) | TableWork::RebuildIndex(_) => size.heap_bytes,
            _ => None,
        }
    });
    bytes.fold(0, u64::saturating_add)
}
