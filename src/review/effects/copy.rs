//! COPY: the rows that it reads or adds, and the program that it may run.

use super::{
    super::effect::{LockMode, TableWork},
    change::lock_by_foreign_keys,
    draft::{EffectDraft, Reach},
    query::{QueryUse, read_query},
    script_state::ScriptState,
    tree::{SyntaxKind, SyntaxNode, find_child, has_within},
};
use LockMode::{AccessShare, RowExclusive};
use SyntaxKind as Kind;

/// Reads COPY.
pub(super) fn read_copy(statement: &SyntaxNode, draft: &mut EffectDraft, state: &mut ScriptState) {
    if has_within(statement, Kind::PROGRAM_KW) {
        draft.add_reason("it runs a program on the database server");
    }
    read_query(statement, QueryUse::Executed, draft, state);
    let Some(table) = find_child(statement, Kind::COPY_TABLE) else { return };
    let Some(target) = draft.read_target(&table) else { return };
    if has_within(statement, Kind::COPY_FROM) {
        draft.lock_target(RowExclusive, &target, Reach::Partitions);
        lock_by_foreign_keys(Kind::INSERT, &target.name, draft);
    } else {
        draft.lock_target(AccessShare, &target, Reach::Itself);
        draft.add_work(TableWork::Scan(target.name));
    }
}
