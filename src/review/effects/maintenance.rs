//! VACUUM, ANALYZE, CLUSTER, REFRESH MATERIALIZED VIEW, LOCK TABLE and EXPLAIN.

use super::{
    super::effect::{LockMode, LockedRelation, TableWork},
    draft::{EffectDraft, Reach, Target},
    query::{QueryUse, read_query},
    script_state::ScriptState,
    tree::{SyntaxKind, SyntaxNode, all_within, find_child, has_child, has_within, plain_text},
};
use LockMode::{AccessExclusive, AccessShare, Exclusive, ShareUpdateExclusive};
use SyntaxKind as Kind;

/// Values that switch an option off.
const OFF: [&str; 5] = ["off", "false", "0", "'off'", "'false'"];

fn read_targets(statement: &SyntaxNode, draft: &mut EffectDraft) -> Vec<Target> {
    all_within(statement, Kind::TABLE_RELATION_NAME).filter_map(|table| draft.read_target(&table)).collect()
}

/// Reads VACUUM.
pub(super) fn read_vacuum(statement: &SyntaxNode, draft: &mut EffectDraft, _: &mut ScriptState) {
    draft.end_locks_early();
    let option = all_within(statement, Kind::VACUUM_OPTION).map(|option| plain_text(&option));
    let is_full = has_child(statement, Kind::FULL_KW)
        || option.into_iter().any(|option| option.starts_with("full") && !OFF.iter().any(|off| option.ends_with(off)));
    let targets = read_targets(statement, draft);
    if targets.is_empty() {
        draft.add_reason("it processes all tables of the database");
    }
    for target in targets {
        let mode = if is_full { AccessExclusive } else { ShareUpdateExclusive };
        draft.lock_target(mode, &target, Reach::Partitions);
        draft.add_work(if is_full { TableWork::Rewrite(target.name) } else { TableWork::Scan(target.name) });
    }
}

/// Reads ANALYZE, which reads a sample of bounded size.
pub(super) fn read_analyze(statement: &SyntaxNode, draft: &mut EffectDraft, _: &mut ScriptState) {
    let targets = read_targets(statement, draft);
    if targets.is_empty() {
        draft.add_reason("it processes all tables of the database");
    }
    for target in targets {
        draft.lock_named(ShareUpdateExclusive, &target.name);
        // Partitions are analyzed as well, the tables that inherit are only read.
        draft.lock(AccessShare, LockedRelation::DescendantsOf(target.name.clone()));
        draft.lock(ShareUpdateExclusive, LockedRelation::PartitionsOf(target.name));
    }
}

/// Reads CLUSTER and REPACK (PostgreSQL 19).
pub(super) fn read_cluster(statement: &SyntaxNode, draft: &mut EffectDraft, _: &mut ScriptState) {
    let named = [Kind::TABLE_NAME_REF, Kind::TABLE_RELATION_NAME]
        .into_iter()
        .find_map(|kind| all_within(statement, kind).next());
    let Some(target) = named.and_then(|table| draft.read_target(&table)) else {
        return draft.add_reason("it rewrites all tables that were clustered before");
    };
    draft.lock_target(AccessExclusive, &target, Reach::Partitions);
    draft.add_work(TableWork::Rewrite(target.name));
}

/// Reads REFRESH MATERIALIZED VIEW.
pub(super) fn read_refresh(statement: &SyntaxNode, draft: &mut EffectDraft, _: &mut ScriptState) {
    let named = find_child(statement, Kind::VIEW_REF).and_then(|view| draft.read_name(&view));
    let Some(view) = named else { return };
    if has_child(statement, Kind::CONCURRENTLY_KW) {
        draft.lock_named(Exclusive, &view);
        draft.add_work(TableWork::ChangeRows(view));
    } else {
        draft.lock_named(AccessExclusive, &view);
        draft.add_work(TableWork::Rewrite(view));
    }
    draft.add_reason("it reads the tables of the view's query, which are not in the text");
}

/// Reads LOCK TABLE.
pub(super) fn read_lock(statement: &SyntaxNode, draft: &mut EffectDraft, _: &mut ScriptState) {
    let clause = find_child(statement, Kind::LOCK_MODE_CLAUSE);
    let written = clause.and_then(|clause| clause.children().next()).map(|mode| plain_text(&mode).to_ascii_uppercase());
    let mode = LockMode::ALL.into_iter().find(|mode| written.as_deref() == Some(mode.name()));
    for named in all_within(statement, Kind::RELATION_NAME) {
        if let Some(target) = draft.read_target(&named) {
            draft.lock_target(mode.unwrap_or(AccessExclusive), &target, Reach::Descendants);
        }
    }
}

/// Reads EXPLAIN. Without ANALYZE, the statement is planned, which locks its tables, but not run.
pub(super) fn read_explain(statement: &SyntaxNode, draft: &mut EffectDraft, state: &mut ScriptState) {
    read_query(statement, QueryUse::Executed, draft, state);
    if !has_within(statement, Kind::ANALYZE_KW) && !has_within(statement, Kind::ANALYSE_KW) {
        draft.drop_work();
    }
}
