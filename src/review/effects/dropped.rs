//! DROP TABLE, DROP VIEW, DROP SCHEMA and their kin.

use super::{
    super::effect::{Destruction, LockMode, LockedRelation},
    draft::EffectDraft,
    script_state::ScriptState,
    tree::{SyntaxKind, SyntaxNode, find_child, has_child, read_identifier},
};
use crate::sql::QualifiedName;
use LockMode::AccessExclusive;
use SyntaxKind as Kind;

/// Reads DROP TABLE and DROP FOREIGN TABLE. A partition's parent and default partition are locked as well
/// (`heap_drop_with_catalog` in heap.c), and the tables at the other ends of foreign keys (`RemoveTriggerById`).
pub(super) fn read_drop_table(statement: &SyntaxNode, draft: &mut EffectDraft, _: &mut ScriptState) {
    let is_cascade = has_child(statement, Kind::CASCADE);
    for table in names_in(statement, Kind::TABLE_NAME_REF, draft) {
        draft.lock_named(AccessExclusive, &table);
        let others: &[fn(QualifiedName) -> LockedRelation] = match is_cascade {
            true => &[LockedRelation::DescendantsOf, LockedRelation::ReferencesTo, LockedRelation::ViewsOn],
            false => &[LockedRelation::PartitionsOf],
        };
        let always: &[fn(QualifiedName) -> LockedRelation] =
            &[LockedRelation::ParentOf, LockedRelation::DefaultSiblingOf, LockedRelation::ReferencedBy];
        for relation in always.iter().chain(others) {
            draft.lock(AccessExclusive, relation(table.clone()));
        }
        if statement.kind() == Kind::DROP_TABLE {
            draft.add_destruction(Destruction::Table(table));
        }
    }
}

fn names_in(statement: &SyntaxNode, kind: SyntaxKind, draft: &mut EffectDraft) -> Vec<QualifiedName> {
    statement.children().filter(|child| child.kind() == kind).filter_map(|name| draft.read_name(&name)).collect()
}

/// Reads DROP VIEW and DROP MATERIALIZED VIEW. Their rows can be made again.
pub(super) fn read_drop_view(statement: &SyntaxNode, draft: &mut EffectDraft, _: &mut ScriptState) {
    for view in names_in(statement, Kind::VIEW_REF, draft) {
        draft.lock_named(AccessExclusive, &view);
        if has_child(statement, Kind::CASCADE) {
            draft.lock(AccessExclusive, LockedRelation::ViewsOn(view));
        }
    }
}

/// Reads DROP SEQUENCE.
pub(super) fn read_drop_sequence(statement: &SyntaxNode, draft: &mut EffectDraft, _: &mut ScriptState) {
    for sequence in names_in(statement, Kind::SEQUENCE_REF, draft) {
        draft.lock_named(AccessExclusive, &sequence);
    }
    if has_child(statement, Kind::CASCADE) {
        draft.add_reason("CASCADE also drops the defaults that use the sequence");
    }
}

/// Reads DROP TYPE and DROP DOMAIN. A composite type is a relation in PostgreSQL, which only the catalog shows.
pub(super) fn read_drop_type(statement: &SyntaxNode, draft: &mut EffectDraft, _: &mut ScriptState) {
    for kind in [Kind::TYPE_NAME_REF, Kind::DOMAIN_REF] {
        for name in names_in(statement, kind, draft) {
            draft.add_destruction(Destruction::Type(name));
        }
    }
    if has_child(statement, Kind::CASCADE) {
        draft.add_reason("CASCADE also drops all columns and functions of this type");
    }
}

/// Reads DROP SCHEMA.
pub(super) fn read_drop_schema(statement: &SyntaxNode, draft: &mut EffectDraft, _: &mut ScriptState) {
    for schema in statement.children().filter(|child| child.kind() == Kind::SCHEMA_REF) {
        let Some(schema) = read_identifier(&schema) else {
            draft.add_reason("the name of a schema can't be read");
            continue;
        };
        if has_child(statement, Kind::CASCADE) {
            draft.lock(AccessExclusive, LockedRelation::InSchema(schema.clone()));
            draft.add_reason("CASCADE also drops what uses the objects of the schema from outside");
        }
        draft.add_destruction(Destruction::Schema(schema));
    }
}

/// Reads DROP DATABASE.
pub(super) fn read_drop_database(statement: &SyntaxNode, draft: &mut EffectDraft, _: &mut ScriptState) {
    if let Some(database) = find_child(statement, Kind::DATABASE_REF).and_then(|name| read_identifier(&name)) {
        draft.add_destruction(Destruction::Database(database));
    }
}

/// Reads the DROP of an object that no table can lock, like a function: only CASCADE reaches tables.
pub(super) fn read_drop_other(statement: &SyntaxNode, draft: &mut EffectDraft, _: &mut ScriptState) {
    if has_child(statement, Kind::CASCADE) {
        draft.add_reason("CASCADE also drops all that depends on it");
    }
}

/// Reads DROP STATISTICS (`RemoveStatisticsById` in statscmds.c).
pub(super) fn read_drop_statistics(statement: &SyntaxNode, draft: &mut EffectDraft, _: &mut ScriptState) {
    for statistics in names_in(statement, Kind::STATISTICS_REF, draft) {
        draft.lock(LockMode::ShareUpdateExclusive, LockedRelation::TableOfStatistics(statistics));
    }
}

#[cfg(test)]
mod tests {
    use super::super::picture::effects_of;

    #[test]
    fn names_all_that_is_gone() {
        let gone = |sql: &str| {
            effects_of(sql)
                .split("; ")
                .filter(|part| part.starts_with("drops"))
                .map(ToOwned::to_owned)
                .collect::<Vec<_>>()
        };
        assert_eq!(gone("DROP TABLE IF EXISTS s.t, \"U\" CASCADE"), ["drops table \"s\".\"t\"", "drops table \"U\""]);
        assert_eq!(gone("DROP SCHEMA a, \"B\" CASCADE"), ["drops schema a", "drops schema B"]);
        assert_eq!(gone("DROP TYPE e"), ["drops type \"e\""]);
        assert_eq!(gone("DROP DOMAIN d"), ["drops type \"d\""]);
        assert_eq!(gone("DROP INDEX CONCURRENTLY i"), ["drops index \"i\""]);
        assert_eq!(gone("DROP DATABASE d"), ["drops database d"]);
        assert_eq!(gone("DROP VIEW v"), [""; 0]);
    }
}
