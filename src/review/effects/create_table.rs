//! CREATE TABLE in all its forms, and SELECT INTO.

use super::{
    super::effect::LockMode,
    draft::EffectDraft,
    partition::read_partition_of,
    query::{QueryUse, read_query},
    script_state::ScriptState,
    tree::{SyntaxKind, SyntaxNode, all_within, find_child, find_within, has_within, read_identifier},
};
use crate::sql::QualifiedName;
use LockMode::{AccessShare, ShareRowExclusive, ShareUpdateExclusive};
use SyntaxKind as Kind;

/// Reads CREATE TABLE or CREATE FOREIGN TABLE: the tables that it refers to.
pub(super) fn read_create_table(statement: &SyntaxNode, draft: &mut EffectDraft, _: &mut ScriptState) {
    let Some(table) = read_created(statement, draft) else { return };
    for reference in statement.descendants() {
        match reference.kind() {
            Kind::REFERENCES_CONSTRAINT | Kind::FOREIGN_KEY_CONSTRAINT => {
                lock_others(ShareRowExclusive, &reference, &table, draft);
            }
            Kind::LIKE_CLAUSE => lock_others(AccessShare, &reference, &table, draft),
            Kind::INHERITS => {
                for parent in draft.read_names(&reference) {
                    draft.lock_named(ShareUpdateExclusive, &parent);
                }
            }
            Kind::PARTITION_OF => read_partition_of(&reference, draft),
            _ => {}
        }
    }
}

fn lock_others(mode: LockMode, reference: &SyntaxNode, table: &QualifiedName, draft: &mut EffectDraft) {
    let named =
        reference.children().find(|child| matches!(child.kind(), Kind::TABLE_NAME_REF | Kind::RELATION_NAME_REF));
    let other = named.and_then(|named| draft.read_name(&named));
    if let Some(other) = other.filter(|other| other != table) {
        draft.lock_named(mode, &other);
    }
}

fn read_created(statement: &SyntaxNode, draft: &mut EffectDraft) -> Option<QualifiedName> {
    let named =
        statement.children().find(|child| matches!(child.kind(), Kind::TABLE_NAME | Kind::VIEW | Kind::SEQUENCE))?;
    let name = draft.read_name(&named)?;
    draft.add_created(name.clone());
    Some(name)
}

/// Reads CREATE TABLE … AS or CREATE MATERIALIZED VIEW.
pub(super) fn read_create_table_as(statement: &SyntaxNode, draft: &mut EffectDraft, state: &mut ScriptState) {
    read_created(statement, draft);
    if find_child(statement, Kind::EXECUTE).is_some() {
        draft.add_reason("it runs a prepared statement");
    }
    let query_use = if has_within(statement, Kind::WITH_NO_DATA) { QueryUse::Stored } else { QueryUse::Executed };
    read_query(statement, query_use, draft, state);
}

/// Reads SELECT … INTO.
pub(super) fn read_select_into(statement: &SyntaxNode, draft: &mut EffectDraft, state: &mut ScriptState) {
    if let Some(name) = find_within(statement, Kind::INTO_CLAUSE).and_then(|clause| draft.read_name(&clause)) {
        draft.add_created(name);
    }
    read_query(statement, QueryUse::Executed, draft, state);
}

/// Reads CREATE VIEW. A view that it replaces is locked.
pub(super) fn read_create_view(statement: &SyntaxNode, draft: &mut EffectDraft, state: &mut ScriptState) {
    if let Some(view) = read_created(statement, draft)
        && has_within(statement, Kind::OR_REPLACE)
    {
        draft.lock_named(LockMode::AccessExclusive, &view);
    }
    read_query(statement, QueryUse::Stored, draft, state);
}

/// Reads CREATE SEQUENCE; its OWNED BY names a column.
pub(super) fn read_create_sequence(statement: &SyntaxNode, draft: &mut EffectDraft, _: &mut ScriptState) {
    read_created(statement, draft);
    read_owned_by(statement, draft);
}

/// Reads the OWNED BY of a sequence: the table of the column is locked.
pub(super) fn read_owned_by(statement: &SyntaxNode, draft: &mut EffectDraft) {
    for column in all_within(statement, Kind::QUALIFIED_COLUMN_NAME_REF) {
        if let Some(table) = draft.read_table_of_column(&column) {
            draft.lock_named(AccessShare, &table);
        }
    }
}

/// Returns the schema that a CREATE SCHEMA makes, if it is named.
pub(super) fn read_created_schema(statement: &SyntaxNode) -> Option<String> {
    find_within(statement, Kind::SCHEMA).and_then(|schema| read_identifier(&schema))
}
