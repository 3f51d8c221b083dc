//! Objects that belong to a table: triggers, rules, policies, statistics, comments, publications, sequences.

use super::{
    super::effect::LockMode,
    create_table::read_owned_by,
    draft::{EffectDraft, Reach},
    query::{QueryUse, read_query},
    script_state::ScriptState,
    tree::{SyntaxKind, SyntaxNode, all_within, find_child, has_child},
};
use LockMode::{AccessExclusive, AccessShare, ShareRowExclusive, ShareUpdateExclusive};
use Reach::{Descendants, Itself, Partitions};
use SyntaxKind as Kind;

/// The lock that a statement takes on the table of its object: (statement, part with the table, mode, reach).
const TABLE_LOCKS: &[(SyntaxKind, SyntaxKind, LockMode, Reach)] = &[
    (Kind::ALTER_POLICY, Kind::ON_TABLE, AccessExclusive, Itself),
    (Kind::ALTER_RULE, Kind::ON_RELATION, AccessExclusive, Itself),
    (Kind::ALTER_TRIGGER, Kind::ON_RELATION, AccessExclusive, Partitions),
    (Kind::CREATE_POLICY, Kind::ON_TABLE, AccessExclusive, Itself),
    (Kind::CREATE_RULE, Kind::RULE_ON, AccessExclusive, Itself),
    (Kind::CREATE_STATISTICS, Kind::FROM_TABLE, ShareUpdateExclusive, Itself),
    (Kind::CREATE_TRIGGER, Kind::FROM_TABLE, AccessShare, Itself),
    (Kind::CREATE_TRIGGER, Kind::ON_RELATION, ShareRowExclusive, Partitions),
    (Kind::DROP_POLICY, Kind::ON_TABLE, AccessExclusive, Itself),
    (Kind::DROP_RULE, Kind::ON_RELATION, AccessExclusive, Itself),
    (Kind::DROP_TRIGGER, Kind::ON_RELATION, AccessExclusive, Partitions),
];

/// Reads a statement about an object that belongs to a table, with the queries in it.
pub(super) fn read_attached(statement: &SyntaxNode, draft: &mut EffectDraft, state: &mut ScriptState) {
    for (_, part, mode, reach) in TABLE_LOCKS.iter().filter(|row| row.0 == statement.kind()) {
        let target = find_child(statement, *part).and_then(|part| draft.read_target(&part));
        if let Some(target) = target {
            draft.lock_target(*mode, &target, *reach);
        }
    }
    read_query(statement, QueryUse::Stored, draft, state);
}

/// The lock of COMMENT ON and SECURITY LABEL, by the object: on it, if it is a relation, otherwise on its table
/// (`get_object_address` in PostgreSQL's objectaddress.c).
const COMMENT_LOCKS: &[(SyntaxKind, LockMode)] = &[
    (Kind::OBJECT_COLUMN, ShareUpdateExclusive),
    (Kind::OBJECT_CONSTRAINT, AccessShare),
    (Kind::OBJECT_FOREIGN_TABLE, ShareUpdateExclusive),
    (Kind::OBJECT_INDEX, ShareUpdateExclusive),
    (Kind::OBJECT_MATERIALIZED_VIEW, ShareUpdateExclusive),
    (Kind::OBJECT_POLICY, AccessShare),
    (Kind::OBJECT_RULE, AccessShare),
    (Kind::OBJECT_SEQUENCE, ShareUpdateExclusive),
    (Kind::OBJECT_TABLE, ShareUpdateExclusive),
    (Kind::OBJECT_TRIGGER, AccessShare),
    (Kind::OBJECT_VIEW, ShareUpdateExclusive),
];

/// Reads COMMENT ON and SECURITY LABEL.
pub(super) fn read_comment(statement: &SyntaxNode, draft: &mut EffectDraft, _: &mut ScriptState) {
    let row = statement
        .children()
        .find_map(|object| COMMENT_LOCKS.iter().find(|row| row.0 == object.kind()).map(|row| (object, row.1)));
    let Some((object, mode)) = row else { return };
    let relation = match object.kind() {
        Kind::OBJECT_COLUMN => draft.read_table_of_column(&object),
        _ => object
            .children()
            .filter(|child| {
                matches!(
                    child.kind(),
                    Kind::TABLE_NAME_REF
                        | Kind::RELATION_NAME_REF
                        | Kind::VIEW_REF
                        | Kind::INDEX_REF
                        | Kind::SEQUENCE_REF
                )
            })
            .find_map(|named| draft.read_name(&named)),
    };
    match relation {
        Some(relation) => draft.lock_named(mode, &relation),
        // The constraint of a domain has no table.
        None if has_child(&object, Kind::DOMAIN_REF) => {}
        None => draft.add_reason("the name of the object can't be read"),
    }
}

/// Reads CREATE PUBLICATION and ALTER PUBLICATION: the tables that they name (`OpenTableList` in publicationcmds.c).
pub(super) fn read_publication(statement: &SyntaxNode, draft: &mut EffectDraft, _: &mut ScriptState) {
    for object in all_within(statement, Kind::PUBLICATION_OBJECT_TABLE) {
        if let Some(target) = draft.read_target(&object) {
            draft.lock_target(ShareUpdateExclusive, &target, Descendants);
        }
    }
}

/// Reads ALTER SEQUENCE. Only its options leave it readable (`AlterSequence` in sequence.c).
pub(super) fn read_alter_sequence(statement: &SyntaxNode, draft: &mut EffectDraft, _: &mut ScriptState) {
    let sequence = find_child(statement, Kind::SEQUENCE_REF).and_then(|sequence| draft.read_name(&sequence));
    let Some(sequence) = sequence else { return };
    let is_strong = statement.children().any(|action| {
        matches!(
            action.kind(),
            Kind::OWNER_TO | Kind::SEQUENCE_RENAME_TO | Kind::SET_LOGGED | Kind::SET_SCHEMA | Kind::SET_UNLOGGED
        )
    });
    draft.lock_named(if is_strong { AccessExclusive } else { ShareRowExclusive }, &sequence);
    read_owned_by(statement, draft);
}

/// Reads ALTER TYPE. Only the attributes of a composite type concern relations.
pub(super) fn read_alter_type(statement: &SyntaxNode, draft: &mut EffectDraft, _: &mut ScriptState) {
    let has_attributes = statement
        .children()
        .any(|action| matches!(action.kind(), Kind::ALTER_TYPE_ATTRIBUTE_ACTION_LIST | Kind::RENAME_ATTRIBUTE));
    if !has_attributes {
        return;
    }
    if let Some(name) = find_child(statement, Kind::TYPE_NAME_REF).and_then(|name| draft.read_name(&name)) {
        draft.lock_named(AccessExclusive, &name);
    }
    if super::tree::has_within(statement, Kind::CASCADE) {
        draft.add_reason("CASCADE also changes all tables of this type");
    }
}

/// Reads ALTER DOMAIN. A constraint is checked in all tables with a column of the domain, under a SHARE lock
/// (`get_rels_with_domain` in typecmds.c).
pub(super) fn read_alter_domain(statement: &SyntaxNode, draft: &mut EffectDraft, _: &mut ScriptState) {
    let is_checked = statement.children().any(|action| match action.kind() {
        Kind::ADD_CONSTRAINT => !super::tree::has_within(&action, Kind::NOT_VALID),
        Kind::SET_NOT_NULL | Kind::VALIDATE_CONSTRAINT => true,
        _ => false,
    });
    if is_checked {
        draft.add_reason("it reads all tables with a column of this domain, and locks them against writes");
    }
}
