//! Constraints of tables: ADD, VALIDATE and DROP CONSTRAINT.

use super::{
    super::effect::{LockMode, LockedRelation, TableWork},
    draft::{EffectDraft, Reach, Target},
    script_state::{ScriptState, Validity},
    tree::{
        SyntaxKind, SyntaxNode, find_child, find_within, has_child, has_within, read_identifier, significant_tokens,
    },
};
use LockMode::{AccessExclusive, RowShare, Share, ShareRowExclusive, ShareUpdateExclusive};
use SyntaxKind as Kind;

/// Reads ADD CONSTRAINT.
pub(super) fn read_add_constraint(
    subcommand: &SyntaxNode,
    target: &Target,
    draft: &mut EffectDraft,
    state: &mut ScriptState,
) {
    let Some(constraint) = subcommand.children().next() else {
        draft.lock_target(AccessExclusive, target, Reach::Descendants);
        return draft.add_reason("the constraint can't be read");
    };
    match constraint.kind() {
        Kind::FOREIGN_KEY_CONSTRAINT => read_foreign_key(&constraint, target, draft),
        Kind::UNIQUE_CONSTRAINT | Kind::PRIMARY_KEY_CONSTRAINT | Kind::EXCLUDE_CONSTRAINT => {
            read_index_constraint(&constraint, target, draft);
        }
        _ => read_check(&constraint, target, draft, state),
    }
}

/// Reads a foreign key. It locks both tables alike since PostgreSQL 9.5 (release notes, E.26.3.4). Its check joins both
/// (`RI_Initial_Check` in `ri_triggers.c`), so that both are read as a rule.
fn read_foreign_key(constraint: &SyntaxNode, target: &Target, draft: &mut EffectDraft) {
    draft.lock_target(ShareRowExclusive, target, Reach::Partitions);
    let referenced = find_child(constraint, Kind::TABLE_NAME_REF).and_then(|table| draft.read_name(&table));
    if is_checked(constraint) {
        draft.add_work(TableWork::Scan(target.name.clone()));
    }
    if let Some(referenced) = referenced.filter(|referenced| *referenced != target.name) {
        if is_checked(constraint) {
            draft.add_work(TableWork::Scan(referenced.clone()));
        }
        draft.lock_target(ShareRowExclusive, &Target { name: referenced, is_only: false }, Reach::Partitions);
    }
}

/// Returns whether the rows that are already there are checked. A constraint that is not enforced (PostgreSQL 18) is not.
fn is_checked(constraint: &SyntaxNode) -> bool {
    !has_child(constraint, Kind::NOT_VALID) && !has_child(constraint, Kind::NOT_ENFORCED)
}

/// Reads a constraint with an index. A primary key also makes its columns NOT NULL, for which all rows are read.
fn read_index_constraint(constraint: &SyntaxNode, target: &Target, draft: &mut EffectDraft) {
    let is_primary = constraint.kind() == Kind::PRIMARY_KEY_CONSTRAINT;
    draft.lock_target(AccessExclusive, target, if is_primary { Reach::Descendants } else { Reach::Itself });
    let Some(using) = find_child(constraint, Kind::USING_INDEX_NAME) else {
        if !is_primary && !target.is_only {
            // The indexes of the partitions are built as by CREATE INDEX (`DefineIndex` in indexcmds.c).
            draft.lock(Share, LockedRelation::PartitionsOf(target.name.clone()));
        }
        if is_primary {
            draft.add_relief("other tables are only locked with it if the columns are not NOT NULL yet");
        }
        return draft.add_work(TableWork::BuildIndex(target.name.clone()));
    };
    // The index is in the schema of its table.
    if let Some(index) = draft.read_name(&using) {
        draft.lock_named(AccessExclusive, &crate::sql::QualifiedName { schema: target.name.schema.clone(), ..index });
    }
    if is_primary {
        draft.add_work(TableWork::Scan(target.name.clone()));
        draft.add_relief("the scan is left out if the columns of the index are NOT NULL already");
    }
}

/// Reads a CHECK constraint, or a named NOT NULL (PostgreSQL 18).
fn read_check(constraint: &SyntaxNode, target: &Target, draft: &mut EffectDraft, state: &mut ScriptState) {
    draft.lock_target(AccessExclusive, target, Reach::Descendants);
    let validity = if is_checked(constraint) { Validity::Valid } else { Validity::NotValid };
    if validity == Validity::Valid {
        draft.add_work(TableWork::Scan(target.name.clone()));
    }
    let name = find_within(constraint, Kind::CONSTRAINT_NAME).and_then(|name| read_identifier(&name));
    if let Some(column) = column_without_null(constraint)
        && !has_child(constraint, Kind::NOT_ENFORCED)
    {
        state.add_null_check(&target.name, name.unwrap_or_default(), column, validity);
    }
}

/// Returns the column of `CHECK (column IS NOT NULL)`.
fn column_without_null(constraint: &SyntaxNode) -> Option<String> {
    let condition = constraint.children().find(|child| child.kind() == Kind::BIN_EXPR)?;
    let column = find_child(&condition, Kind::NAME_REF)?;
    let words: Vec<_> = significant_tokens(&condition).map(|token| token.kind()).collect();
    let [_, Kind::IS_KW, Kind::NOT_KW, Kind::NULL_KW] = words.as_slice() else { return None };
    read_identifier(&column)
}

/// Reads VALIDATE CONSTRAINT.
pub(super) fn read_validate_constraint(
    subcommand: &SyntaxNode,
    target: &Target,
    draft: &mut EffectDraft,
    state: &mut ScriptState,
) {
    draft.lock_target(ShareUpdateExclusive, target, Reach::Descendants);
    draft.add_work(TableWork::Scan(target.name.clone()));
    draft.add_relief("nothing is read if the constraint is valid already");
    let Some(constraint) = read_constraint_name(subcommand) else { return };
    state.validate_constraint(&target.name, &constraint);
    let table = target.name.clone();
    draft.lock(RowShare, LockedRelation::ReferencedByConstraint { table, constraint });
}

/// Reads DROP CONSTRAINT. The triggers of a foreign key on both tables go with it (`RemoveTriggerById` in trigger.c).
pub(super) fn read_drop_constraint(
    subcommand: &SyntaxNode,
    target: &Target,
    draft: &mut EffectDraft,
    state: &mut ScriptState,
) {
    draft.lock_target(AccessExclusive, target, Reach::Descendants);
    let Some(constraint) = read_constraint_name(subcommand) else { return };
    state.drop_constraint(&target.name, &constraint);
    let table = target.name.clone();
    draft.lock(AccessExclusive, LockedRelation::ReferencedByConstraint { table: table.clone(), constraint });
    if has_within(subcommand, Kind::CASCADE) {
        draft.lock(AccessExclusive, LockedRelation::ReferencesTo(table));
    }
}

fn read_constraint_name(subcommand: &SyntaxNode) -> Option<String> {
    find_child(subcommand, Kind::CONSTRAINT_NAME_REF).and_then(|name| read_identifier(&name))
}
