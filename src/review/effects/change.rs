//! Statements that change rows: INSERT, UPDATE, DELETE, MERGE and TRUNCATE.

use super::{
    super::effect::{Destruction, LockMode, LockedRelation, TableWork},
    draft::{EffectDraft, Reach, Target},
    query_use::QueryUse,
    script_state::ScriptState,
    tree::{SyntaxKind, SyntaxNode, all_within, find_child, has_child, has_within, plain_text, read_identifier},
};
use crate::sql::QualifiedName;
use LockMode::{AccessExclusive, RowExclusive, RowShare};
use SyntaxKind as Kind;

/// Reads the table that an INSERT, UPDATE, DELETE or MERGE changes.
pub(super) fn read_change(change: &SyntaxNode, query_use: QueryUse, draft: &mut EffectDraft, state: &ScriptState) {
    let named = change.children().find(|child| {
        matches!(child.kind(), Kind::RELATION_NAME | Kind::RELATION_NAME_REF | Kind::TABLE_RELATION_NAME)
    });
    let Some(target) = named.and_then(|named| draft.read_target(&named)) else { return };
    draft.lock_target(RowExclusive, &target, Reach::Descendants);
    if query_use == QueryUse::Stored {
        return;
    }
    lock_by_foreign_keys(change.kind(), &target.name, draft);
    match change.kind() {
        Kind::INSERT if has_within(change, Kind::CONFLICT_DO_UPDATE_SET) => {
            draft.add_work(TableWork::ChangeRows(target.name));
        }
        Kind::MERGE => draft.add_work(TableWork::ChangeRows(target.name)),
        Kind::UPDATE | Kind::DELETE => read_changed_rows(change, target.name, draft, state),
        _ => {}
    }
}

/// Reads an INSERT of plain values into this table.
pub(super) fn read_inserted(table: QualifiedName, draft: &mut EffectDraft) {
    let target = Target { name: draft.qualify(table), is_only: false };
    draft.lock_target(RowExclusive, &target, Reach::Descendants);
    lock_by_foreign_keys(Kind::INSERT, &target.name, draft);
}

/// Adds the locks of the triggers behind foreign keys, which lock or change the rows of other tables.
pub(super) fn lock_by_foreign_keys(kind: SyntaxKind, table: &QualifiedName, draft: &mut EffectDraft) {
    if kind != Kind::DELETE {
        draft.lock(RowShare, LockedRelation::ReferencedBy(table.clone()));
    }
    if kind != Kind::INSERT {
        draft.lock(RowExclusive, LockedRelation::ReferencesTo(table.clone()));
    }
}

fn read_changed_rows(change: &SyntaxNode, table: QualifiedName, draft: &mut EffectDraft, state: &ScriptState) {
    match find_condition(change) {
        Condition::Never => {}
        Condition::Some => draft.add_work(TableWork::ChangeRows(table)),
        Condition::Always => {
            draft.add_work(TableWork::ChangeAllRows(table.clone()));
            if change.kind() == Kind::DELETE {
                return draft.add_destruction(Destruction::Rows(table));
            }
            let set = find_child(change, Kind::SET_CLAUSE);
            let columns: Vec<_> = set
                .iter()
                .flat_map(|set| all_within(set, Kind::COLUMN_TARGET))
                .filter_map(|column| read_identifier(&find_child(&column, Kind::COLUMN_NAME_REF)?))
                // The script gives a column that it adds its first values.
                .filter(|column| !state.is_added(&table, column))
                .collect();
            if !columns.is_empty() {
                draft.add_destruction(Destruction::Values { table, columns });
            }
        }
    }
}

/// The rows for which a statement's condition holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Condition {
    Never,
    Some,
    Always,
}

/// Reads the WHERE of an UPDATE or a DELETE. One that names no column, as in `WHERE 1 = 1`, is no condition.
fn find_condition(change: &SyntaxNode) -> Condition {
    let clause = change.children().find(|child| matches!(child.kind(), Kind::WHERE_CLAUSE | Kind::WHERE_CURRENT_OF));
    let Some(clause) = clause else { return Condition::Always };
    if plain_text(&clause) == "where false" {
        return Condition::Never;
    }
    let is_variable = clause.kind() == Kind::WHERE_CURRENT_OF
        || clause.descendants().any(|node| matches!(node.kind(), Kind::NAME_REF | Kind::CALL_EXPR | Kind::SELECT));
    if is_variable { Condition::Some } else { Condition::Always }
}

/// Reads TRUNCATE.
pub(super) fn read_truncate(statement: &SyntaxNode, draft: &mut EffectDraft, _: &mut ScriptState) {
    for named in all_within(statement, Kind::TABLE_RELATION_NAME) {
        let Some(target) = draft.read_target(&named) else { continue };
        draft.lock_target(AccessExclusive, &target, Reach::Descendants);
        if has_child(statement, Kind::CASCADE) {
            draft.lock(AccessExclusive, LockedRelation::ReferencesTo(target.name.clone()));
            draft.add_reason("CASCADE also empties the tables whose foreign keys lead to it, and so on");
        }
        draft.add_destruction(Destruction::Rows(target.name));
    }
}

#[cfg(test)]
mod tests {
    use super::super::picture::effects_of;

    fn rows(sql: &str) -> Vec<String> {
        let is_lock = |part: &&str| part.starts_with("ROW ") || part.starts_with("ACCESS ");
        effects_of(sql).split("; ").filter(|part| !is_lock(part)).map(ToOwned::to_owned).collect()
    }

    #[test]
    fn without_a_condition_all_rows_are_gone() {
        for condition in ["", "WHERE true", "WHERE 1 = 1", "WHERE NOT false", "USING u"] {
            let expected = ["change all of \"t\"", "empties \"t\""];
            let found: Vec<_> =
                rows(&format!("DELETE FROM t {condition}")).into_iter().filter(|part| part != "scan \"u\"").collect();
            assert_eq!(found, expected, "{condition}");
        }
        assert_eq!(rows("DELETE FROM t WHERE id = 1"), ["change some of \"t\""]);
        assert_eq!(rows("DELETE FROM t WHERE app_filter()")[0], "change some of \"t\"");
        assert_eq!(rows("DELETE FROM t WHERE CURRENT OF c"), ["change some of \"t\""]);
        assert_eq!(rows("DELETE FROM t WHERE false"), [""; 0]);
        assert_eq!(rows("WITH x AS (DELETE FROM t) SELECT 1"), ["change all of \"t\"", "empties \"t\""]);
    }

    #[test]
    fn an_update_of_all_rows_overwrites_its_columns() {
        assert_eq!(rows("UPDATE t SET a = 1, (b, \"C\") = (1, 2)"), ["change all of \"t\"", "overwrites \"t\".a,b,C"]);
        assert_eq!(rows("UPDATE t SET a = 1 WHERE b > 2"), ["change some of \"t\""]);
    }

    #[test]
    fn the_first_values_of_a_new_column_overwrite_nothing() {
        let script = "ALTER TABLE t ADD COLUMN n int; UPDATE t SET n = 1, a = 2; UPDATE t SET n = 3";
        let effects: Vec<_> = effects_of(script).lines().skip(1).map(ToOwned::to_owned).collect();
        assert!(effects[0].ends_with("change all of \"t\"; overwrites \"t\".a"), "{}", effects[0]);
        assert!(effects[1].ends_with("change all of \"t\""), "{}", effects[1]);
    }

    #[test]
    fn copies_and_truncates() {
        assert_eq!(
            effects_of("COPY t FROM STDIN"),
            "ROW EXCLUSIVE \"t\"; ROW EXCLUSIVE partitions of \"t\"; ROW SHARE referenced by \"t\""
        );
        assert_eq!(rows("COPY (SELECT * FROM t) TO '/x'"), ["scan \"t\""]);
        assert_eq!(rows("COPY t FROM PROGRAM 'rm -r /'"), ["more: it runs a program on the database server"]);
        assert_eq!(rows("TRUNCATE t, ONLY u"), ["empties \"t\"", "empties \"u\""]);
    }
}
