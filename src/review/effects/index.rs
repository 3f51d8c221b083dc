//! CREATE INDEX, ALTER INDEX, DROP INDEX and REINDEX.

use super::{
    super::effect::{Destruction, LockMode, LockedRelation, TableWork},
    draft::{EffectDraft, Reach, Target},
    script_state::ScriptState,
    storage_options::options_lock,
    tree::{
        SyntaxKind, SyntaxNode, all_within, find_child, find_within, has_child, has_within, plain_text, read_identifier,
    },
};
use crate::sql::QualifiedName;
use LockMode::{AccessExclusive, Share, ShareUpdateExclusive};
use SyntaxKind as Kind;

/// Reads CREATE INDEX. The index is in the schema of its table.
pub(super) fn read_create_index(statement: &SyntaxNode, draft: &mut EffectDraft, _: &mut ScriptState) {
    let table = find_child(statement, Kind::TABLE_RELATION_NAME).and_then(|table| draft.read_target(&table));
    let Some(target) = table else { return };
    if has_child(statement, Kind::CONCURRENTLY_KW) {
        draft.lock_named(ShareUpdateExclusive, &target.name);
        draft.end_locks_early();
    } else {
        draft.lock_target(Share, &target, Reach::Partitions);
    }
    if let Some(name) = find_child(statement, Kind::INDEX).and_then(|index| read_identifier(&index)) {
        draft.add_created(QualifiedName { schema: target.name.schema.clone(), name });
    }
    draft.add_work(TableWork::BuildIndex(target.name));
}

/// Reads DROP INDEX.
pub(super) fn read_drop_index(statement: &SyntaxNode, draft: &mut EffectDraft, _: &mut ScriptState) {
    let mode = match has_child(statement, Kind::CONCURRENTLY_KW) {
        true => {
            draft.end_locks_early();
            ShareUpdateExclusive
        }
        false => AccessExclusive,
    };
    for index in all_within(statement, Kind::INDEX_REF) {
        let Some(index) = draft.read_name(&index) else { continue };
        draft.lock(mode, LockedRelation::TableOfIndex(index.clone()));
        draft.lock(mode, LockedRelation::PartitionsOfIndexTable(index.clone()));
        draft.lock_named(mode, &index);
        draft.add_destruction(Destruction::Index(index));
    }
    if has_child(statement, Kind::CASCADE) {
        draft.add_reason("CASCADE also drops the foreign keys that need the index");
    }
}

/// Reads ALTER INDEX.
pub(super) fn read_alter_index(statement: &SyntaxNode, draft: &mut EffectDraft, _: &mut ScriptState) {
    let named = find_child(statement, Kind::INDEX_REF).and_then(|index| draft.read_name(&index));
    let Some(index) = named else {
        return draft.add_reason("it moves all indexes of a tablespace");
    };
    for action in statement.children() {
        match action.kind() {
            Kind::INDEX_RENAME_TO | Kind::ALTER_SET_STATISTICS => draft.lock_named(ShareUpdateExclusive, &index),
            Kind::SET_OPTIONS | Kind::RESET_OPTIONS => draft.lock_named(options_lock(&action), &index),
            Kind::SET_TABLESPACE => {
                draft.lock_named(AccessExclusive, &index);
                draft.add_work(TableWork::RebuildIndex(index.clone()));
                draft.add_relief("nothing is written if the index is in that tablespace already");
            }
            Kind::DEPENDS_ON_EXTENSION | Kind::NO_DEPENDS_ON_EXTENSION => draft.lock_named(AccessExclusive, &index),
            Kind::ATTACH_INDEX_PARTITION => read_attach_index(&action, &index, draft),
            _ => {}
        }
    }
}

/// Reads ATTACH PARTITION of an index (`ATExecAttachPartitionIdx` in tablecmds.c).
fn read_attach_index(action: &SyntaxNode, parent: &QualifiedName, draft: &mut EffectDraft) {
    draft.lock_named(ShareUpdateExclusive, parent);
    draft.lock(LockMode::AccessShare, LockedRelation::TableOfIndex(parent.clone()));
    if let Some(index) = draft.read_name(action) {
        draft.lock(LockMode::AccessShare, LockedRelation::TableOfIndex(index.clone()));
        draft.lock_named(AccessExclusive, &index);
    }
}

/// Reads REINDEX. Every index is locked against the planner, which looks at all indexes of a table for any query of it.
pub(super) fn read_reindex(statement: &SyntaxNode, draft: &mut EffectDraft, _: &mut ScriptState) {
    let is_concurrent = has_within(statement, Kind::CONCURRENTLY_KW) && !is_switched_off(statement);
    if is_concurrent {
        draft.end_locks_early();
    }
    let (on_table, on_index) = match is_concurrent {
        true => (ShareUpdateExclusive, ShareUpdateExclusive),
        false => (Share, AccessExclusive),
    };
    let Some(what) = statement.children().find(|child| child.kind() != Kind::REINDEX_OPTION_LIST) else {
        return draft.add_reason("it builds all indexes of the database again");
    };
    match what.kind() {
        Kind::REINDEX_TARGET_TABLE => {
            let Some(name) = draft.read_name(&what) else { return };
            draft.lock_target(on_table, &Target { name: name.clone(), is_only: false }, Reach::Partitions);
            draft.lock(on_index, LockedRelation::IndexesOf(name.clone()));
            draft.add_work(TableWork::BuildIndex(name));
        }
        Kind::REINDEX_TARGET_INDEX => {
            let Some(index) = draft.read_name(&what) else { return };
            draft.lock(on_table, LockedRelation::TableOfIndex(index.clone()));
            draft.lock_named(on_index, &index);
            draft.add_work(TableWork::RebuildIndex(index));
        }
        Kind::REINDEX_TARGET_SCHEMA => {
            draft.end_locks_early();
            if let Some(schema) = find_within(&what, Kind::SCHEMA_REF).and_then(|schema| read_identifier(&schema)) {
                draft.lock(on_table, LockedRelation::InSchema(schema));
            }
            draft.add_reason("it builds all indexes of a schema again");
        }
        _ => {
            draft.end_locks_early();
            draft.add_reason("it builds all indexes of the database again");
        }
    }
}

/// Returns whether the options contain `CONCURRENTLY off`.
fn is_switched_off(statement: &SyntaxNode) -> bool {
    all_within(statement, Kind::REINDEX_OPTION_CONCURRENTLY).any(|option| {
        let text = plain_text(&option);
        ["off", "false", "0", "'off'", "'false'"].iter().any(|value| text.ends_with(value))
    })
}

#[cfg(test)]
mod tests {
    use super::super::picture::effects_of;

    #[test]
    fn an_index_is_in_the_schema_of_its_table() {
        assert_eq!(
            effects_of("CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS I ON ONLY s.t (a)"),
            "SHARE UPDATE EXCLUSIVE \"s\".\"t\"; index on \"s\".\"t\"; creates \"s\".\"i\""
        );
        assert_eq!(effects_of("CREATE INDEX ON ONLY t (a)"), "SHARE \"t\"; index on \"t\"");
    }

    #[test]
    fn reindex_locks_out_the_planner() {
        assert_eq!(effects_of("REINDEX INDEX i"), "ACCESS EXCLUSIVE \"i\"; SHARE table of \"i\"; rebuild \"i\"");
        let concurrent = "SHARE UPDATE EXCLUSIVE table of \"i\"; SHARE UPDATE EXCLUSIVE \"i\"; rebuild \"i\"";
        assert_eq!(effects_of("REINDEX (VERBOSE, CONCURRENTLY) INDEX i"), concurrent);
        assert_eq!(effects_of("REINDEX INDEX CONCURRENTLY i"), concurrent);
        assert_ne!(effects_of("REINDEX (CONCURRENTLY off) INDEX i"), concurrent);
    }
}
