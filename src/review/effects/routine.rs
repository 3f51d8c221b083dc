//! CREATE FUNCTION and CREATE PROCEDURE. Their bodies are not run, but PostgreSQL checks those in SQL, which locks the
//! tables in them (`check_function_bodies`, `fmgr_sql_validator` in PostgreSQL's `pg_proc.c`).

use super::{
    draft::EffectDraft,
    nesting::is_too_deep,
    query::{QueryUse, read_query},
    script_state::ScriptState,
    tree::{SyntaxKind, SyntaxNode, all_within, plain_text, significant_tokens},
};
use squawk_syntax::SourceFile;

/// Reads CREATE FUNCTION or CREATE PROCEDURE.
pub(super) fn read_routine(statement: &SyntaxNode, draft: &mut EffectDraft, state: &mut ScriptState) {
    read_query(statement, QueryUse::Stored, draft, state);
    let is_sql = all_within(statement, SyntaxKind::LANGUAGE_FUNC_OPTION)
        .any(|option| matches!(plain_text(&option).as_str(), "language sql" | "language 'sql'"));
    let definition = all_within(statement, SyntaxKind::AS_DEFINITION).next();
    let Some(body) = definition.filter(|_| is_sql).and_then(|definition| read_body(&definition)) else { return };
    if !is_too_deep(&body) {
        read_query(&SourceFile::parse(&body).syntax_node(), QueryUse::Stored, draft, state);
    }
}

/// Returns the text of a body in `'…'` or `$…$`.
fn read_body(definition: &SyntaxNode) -> Option<String> {
    let literal = significant_tokens(definition).find(|token| token.text().starts_with(['\'', '$']))?;
    let text = literal.text();
    if let Some(quoted) = text.strip_prefix('\'') {
        return Some(quoted.strip_suffix('\'')?.replace("''", "'"));
    }
    let tag_end = text.get(1..)?.find('$')? + 2;
    text.get(tag_end..text.len().checked_sub(tag_end)?).map(str::to_owned)
}
