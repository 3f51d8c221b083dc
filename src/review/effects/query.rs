//! Queries: the tables that they read, and the functions that they call.

pub(super) use super::query_use::QueryUse;
use super::{
    super::effect::{LockMode, TableWork},
    change::read_change,
    draft::{EffectDraft, Reach},
    functions::find_function,
    script_state::ScriptState,
    tree::{
        SyntaxKind, SyntaxNode, all_within, find_child, find_within, has_child, read_identifier, read_parts,
        significant_tokens,
    },
};
use crate::sql::{Phrase, QualifiedName, fold_identifier};
use LockMode::{AccessShare, RowShare};
use SyntaxKind as Kind;

/// Reads all queries in a statement, with the changes in their WITH clauses.
pub(super) fn read_query(statement: &SyntaxNode, query_use: QueryUse, draft: &mut EffectDraft, state: &ScriptState) {
    for node in statement.descendants() {
        match node.kind() {
            Kind::RELATION_FROM_ITEM => read_relation(&node, query_use, draft),
            Kind::TABLE => {
                if let Some(relation) = find_child(&node, Kind::RELATION_NAME) {
                    read_relation(&relation, query_use, draft);
                }
            }
            Kind::INSERT | Kind::UPDATE | Kind::DELETE | Kind::MERGE if node.first_token().is_some() => {
                read_change(&node, query_use, draft, state);
            }
            Kind::CALL_EXPR if query_use == QueryUse::Executed => read_call(&node, draft),
            Kind::LOCKING_CLAUSE => read_row_locks(&node, draft),
            _ => {}
        }
    }
}

fn read_relation(item: &SyntaxNode, query_use: QueryUse, draft: &mut EffectDraft) {
    if is_common_table_expression(item) {
        return;
    }
    let Some(target) = draft.read_target(item) else { return };
    // The tables of PostgreSQL itself are small, and nobody waits for them.
    if matches!(target.name.schema.as_deref(), Some("pg_catalog" | "information_schema")) {
        return;
    }
    let reach = if query_use == QueryUse::Executed { Reach::Descendants } else { Reach::Itself };
    draft.lock_target(AccessShare, &target, reach);
    if query_use == QueryUse::Executed {
        draft.add_work(TableWork::Scan(target.name));
    }
}

/// Returns whether the name of a relation is that of a WITH clause around it. Without RECURSIVE, an expression is visible
/// only behind itself (PostgreSQL manual, SELECT, "WITH Clause").
fn is_common_table_expression(item: &SyntaxNode) -> bool {
    let Some([name]) = read_parts(item).and_then(|parts| <[String; 1]>::try_from(parts).ok()) else { return false };
    item.ancestors().filter_map(|node| find_child(&node, Kind::WITH_CLAUSE)).any(|clause| {
        let is_recursive = has_child(&clause, Kind::RECURSIVE_KW);
        clause.children().filter(|child| child.kind() == Kind::WITH_TABLE).any(|expression| {
            let is_visible = is_recursive || expression.text_range().end() <= item.text_range().start();
            let own_name = find_child(&expression, Kind::CTE_NAME).and_then(|own| read_identifier(&own));
            is_visible && own_name.as_deref() == Some(name.as_str())
        })
    })
}

/// Reads `FOR UPDATE` and its kind: the rows of all tables of the query, or of those in `OF`, are locked.
fn read_row_locks(clause: &SyntaxNode, draft: &mut EffectDraft) {
    let only_of: Option<Vec<String>> = find_child(clause, Kind::LOCKING_OF)
        .map(|of| significant_tokens(&of).filter_map(|token| fold_identifier(token.text())).collect());
    let Some(from) = clause.parent().and_then(|query| find_child(&query, Kind::FROM_CLAUSE)) else { return };
    for item in all_within(&from, Kind::RELATION_FROM_ITEM).filter(|item| !is_common_table_expression(item)) {
        let Some(target) = draft.read_target(&item) else { continue };
        let alias = find_child(&item, Kind::FROM_ALIAS)
            .and_then(|alias| find_child(&alias, Kind::TABLE_ALIAS))
            .and_then(|alias| read_identifier(&alias))
            .unwrap_or_else(|| target.name.name.clone());
        if only_of.as_ref().is_none_or(|names| names.contains(&alias)) {
            draft.lock_target(RowShare, &target, Reach::Descendants);
        }
    }
}

/// Returns the calls of functions in a node.
pub(super) fn calls_in(node: &SyntaxNode) -> impl Iterator<Item = SyntaxNode> + use<> {
    all_within(node, Kind::CALL_EXPR)
}

/// Returns the name of the function that is called. `None` for the calls that are part of the grammar, as
/// `extract(…)`.
pub(super) fn call_parts(call: &SyntaxNode) -> Option<Vec<String>> {
    let callee = call.children().next()?;
    match callee.kind() {
        Kind::NAME_REF | Kind::FIELD_EXPR => significant_tokens(&callee)
            .filter(|token| token.kind() != Kind::DOT)
            .map(|token| fold_identifier(token.text()))
            .collect(),
        _ => None,
    }
}

fn read_call(call: &SyntaxNode, draft: &mut EffectDraft) {
    let Some(parts) = call_parts(call) else { return };
    if let Some(sequence) = read_sequence(call, &parts) {
        draft.lock_named(LockMode::RowExclusive, &sequence);
    }
    if find_function(&parts).is_none() {
        draft.add_reason(format!("it calls the function {}, whose code is not in the text", parts.join(".")));
    }
}

/// Returns the sequence whose value a call of `nextval` or `setval` changes, if it is named by a string.
fn read_sequence(call: &SyntaxNode, parts: &[String]) -> Option<QualifiedName> {
    if !matches!(parts.last().map(String::as_str), Some("nextval" | "setval")) {
        return None;
    }
    let argument = find_within(call, Kind::ARG)?;
    let token = significant_tokens(&argument).next()?;
    let name = token.text().strip_prefix('\'')?.strip_suffix('\'')?.replace("''", "'");
    Phrase::new(&name).eat_name()
}

#[cfg(test)]
mod tests {
    use super::super::picture::effects_of;

    #[test]
    fn a_common_table_expression_is_no_table() {
        let lock = "ACCESS SHARE \"t\"; ACCESS SHARE below \"t\"; scan \"t\"";
        assert_eq!(effects_of("WITH a AS (SELECT * FROM t) SELECT * FROM a, a AS b"), lock);
        assert_eq!(effects_of("WITH t AS (SELECT * FROM t) SELECT * FROM t"), lock, "the inner one is the table");
        assert_eq!(effects_of("WITH RECURSIVE r AS (SELECT 1 UNION SELECT * FROM r) SELECT * FROM r"), "");
        assert_eq!(effects_of("WITH t AS (SELECT 1) SELECT * FROM s.t"), lock.replace("\"t\"", "\"s\".\"t\""));
    }

    #[test]
    fn locked_rows_are_those_of_the_tables_that_are_named() {
        assert_eq!(
            effects_of("SELECT * FROM ONLY a x, ONLY b FOR UPDATE OF x"),
            "ROW SHARE \"a\"; ACCESS SHARE \"b\"; scan \"a\"; scan \"b\""
        );
    }
}
