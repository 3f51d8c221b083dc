//! ALTER COLUMN … TYPE.

use super::{
    super::effect::{Destruction, LockMode, LockedRelation, TableWork},
    column_type::ColumnType,
    draft::{EffectDraft, Reach, Target},
    tree::{SyntaxKind, SyntaxNode, find_child, read_identifier},
};

/// Reads `ALTER COLUMN column TYPE type`. All rows are written, and the indexes with the column built again, unless the
/// old type is stored in the same way; foreign keys with the column are made again (`ATPostAlterTypeCleanup` in
/// PostgreSQL's tablecmds.c).
pub(super) fn read_set_type(subcommand: &SyntaxNode, form: &SyntaxNode, target: &Target, draft: &mut EffectDraft) {
    draft.lock_target(LockMode::AccessExclusive, target, Reach::Descendants);
    let table = target.name.clone();
    draft.add_work(TableWork::Rewrite(table.clone()));
    let column = find_child(subcommand, SyntaxKind::COLUMN_NAME_REF).and_then(|column| read_identifier(&column));
    let (Some(column), Some(to)) = (column, read_type(form)) else {
        return draft.add_reason("the name of a column or its type can't be read");
    };
    draft.lock(
        LockMode::AccessExclusive,
        LockedRelation::ReferencedByColumn { table: table.clone(), column: column.clone() },
    );
    draft.lock(
        LockMode::AccessExclusive,
        LockedRelation::ReferencesToColumn { table: table.clone(), column: column.clone() },
    );
    if to.may_be_coercible() {
        draft.add_relief(format!(
            "nothing is rewritten if {} only takes off a limit of the old type of {column}, or is stored like it",
            to.text
        ));
    }
    if to.may_narrow() {
        draft.add_destruction(Destruction::Narrowed { table, column, to: to.text });
    }
}

/// Returns the type that a column gets.
pub(super) fn read_type(node: &SyntaxNode) -> Option<ColumnType> {
    node.children().find(|child| is_type(child.kind())).map(|child| ColumnType::read(&child))
}

fn is_type(kind: SyntaxKind) -> bool {
    matches!(
        kind,
        SyntaxKind::ARRAY_TYPE
            | SyntaxKind::BIT_TYPE
            | SyntaxKind::BIT_VARYING_TYPE
            | SyntaxKind::CHARACTER_TYPE
            | SyntaxKind::DOUBLE_TYPE
            | SyntaxKind::INTERVAL_TYPE
            | SyntaxKind::PATH_TYPE
            | SyntaxKind::TIME_TYPE
            | SyntaxKind::TIMESTAMP_TYPE
            | SyntaxKind::VARCHAR_TYPE
    )
}
