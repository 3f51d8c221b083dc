//! Detects lasting changes to the session, which no statement can undo: a custom setting stays defined (though empty)
//! after RESET, a library stays loaded, `random()` stays seeded. The files after such a file run in a new session.

use super::{
    lexer::{LiteralKind, Token, TokenKind, Tokens},
    word_search::may_contain,
};

/// Functions with a lasting effect on the session, in PostgreSQL itself and in the extensions shipped with it.
const TRACE_FUNCTIONS: &[&str] = &[
    "setseed",
    "dblink_connect",
    "dblink_connect_u",
    "pg_replication_origin_session_setup",
    "pg_create_logical_replication_slot",
    "pg_create_physical_replication_slot",
    "pg_copy_logical_replication_slot",
    "pg_backup_start",
    "pg_start_backup",
    // An existing session sees the reloaded values some time later, a new one at once.
    "pg_reload_conf",
];

/// Reports whether the text, or quoted text in it, has a lasting effect on the session. Code that is only defined and
/// not run counts as well: a false positive costs one new session, nothing else.
pub(crate) fn leaves_traces(text: &str) -> bool {
    let keywords = ["set", "load"];
    let words: Vec<&str> = keywords.iter().chain(TRACE_FUNCTIONS).copied().collect();
    if !may_contain(text, &words) {
        return false;
    }
    let mut last: [Option<Token>; 2] = [None, None];
    for token in Tokens::new(text).filter(|token| token.is_significant()) {
        if is_trace(text, last, token)
            || (may_hold_code(text, token) && leaves_traces(quoted_content(token.span.slice_of(text))))
        {
            return true;
        }
        last = match last {
            [_, Some(previous)] if is_skippable(text, previous, token) => last,
            [_, previous] => [previous, Some(token)],
        };
    }
    false
}

/// Recognises `SET a.b`, `SET seed`, `set_config('a.b'`, `LOAD '…'` and calls of the functions; `last` are the two
/// previous tokens.
fn is_trace(text: &str, last: [Option<Token>; 2], token: Token) -> bool {
    let is_keyword = |token: Option<Token>, word: &str| token.is_some_and(|token| token.is_word(text, word));
    let [before, previous] = last;
    if is_keyword(before, "set_config") && previous.is_some_and(|token| token.kind == TokenKind::OpenParen) {
        // Anything but the plain name of one of PostgreSQL's own settings.
        let name = token.span.slice_of(text);
        return !name.starts_with('\'') || name.contains('.') || name.eq_ignore_ascii_case("'seed'");
    }
    match token.kind {
        TokenKind::Dot => is_keyword(before, "set"),
        TokenKind::Ident if is_keyword(previous, "set") && token.is_word(text, "seed") => true,
        TokenKind::Ident => TRACE_FUNCTIONS.iter().any(|name| token.is_word(text, name)),
        TokenKind::Literal { .. } => is_keyword(previous, "load"),
        _ => false,
    }
}

/// Reports whether this word is skipped: `SET LOCAL a.b` and `SET SESSION a.b` are read as `SET a.b`.
fn is_skippable(text: &str, previous: Token, token: Token) -> bool {
    previous.is_word(text, "set") && (token.is_word(text, "local") || token.is_word(text, "session"))
}

/// Reports whether the token is quoted text that may be code; most strings are data.
fn may_hold_code(text: &str, token: Token) -> bool {
    let TokenKind::Literal { kind } = token.kind else { return false };
    match kind {
        LiteralKind::DollarQuotedString { .. } => true,
        LiteralKind::Str { .. } | LiteralKind::EscStr { .. } => {
            let bytes = token.span.slice_of(text).as_bytes();
            bytes.windows(3).any(|three| three.eq_ignore_ascii_case(b"set"))
                || bytes.windows(4).any(|four| four.eq_ignore_ascii_case(b"load"))
        }
        _ => false,
    }
}

/// Returns the text between the quotes, without decoding escapes: good enough to find words in it.
fn quoted_content(quoted: &str) -> &str {
    match quoted.strip_prefix('$').and_then(|rest| rest.split_once('$')) {
        Some((tag, rest)) => rest.strip_suffix(&format!("${tag}$")).unwrap_or(rest),
        None => quoted.split_once('\'').map_or("", |(_, rest)| rest.strip_suffix('\'').unwrap_or(rest)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_lasting_changes() {
        for text in [
            "SET app.tenant = '1';",
            "set /* x */ local \"app\" . tenant to 1",
            "SET SESSION app.tenant TO 1;",
            "SELECT pg_catalog.Set_Config('app.tenant', '1', true)",
            "DO $$ BEGIN PERFORM set_config('a.b', '1', true); END $$",
            "DO $a$ BEGIN EXECUTE 'SET a.b = 1'; END $a$",
            "SELECT set_config(name, '1', true) FROM t; SELECT set_config('seed', '0.5', false)",
            "SELECT pg_reload_conf()",
            "DO 'BEGIN SET LOCAL a.b = 1; END'",
            "LOAD 'age'",
            "SET seed = 0.5",
            "SELECT setseed(0.5)",
            "CREATE FUNCTION f() RETURNS void LANGUAGE plpgsql AS $f$ BEGIN EXECUTE $x$ SET a.b = 1 $x$; END $f$",
        ] {
            assert!(leaves_traces(text), "{text}");
            assert!(leaves_traces(&format!("{}{text}", "\n".repeat(10_000))), "{text} in a long file");
        }
    }

    #[test]
    fn ignores_changes_that_can_be_undone() {
        for text in [
            "SET search_path = a, b; SET LOCAL lock_timeout = 0; RESET ALL",
            "UPDATE t SET a = b.c FROM b",
            "SELECT pg_catalog.set_config('search_path', '', false)",
            "DO $$ BEGIN PERFORM set_config('lock_timeout', '0', true); END $$",
            "SELECT 'a' FROM load",
            "SELECT 'offset', $$SELECT 1$$, 'upload.x'",
            "CREATE TABLE set_config_ (seed int)",
            "",
        ] {
            assert!(!leaves_traces(text), "{text}");
        }
    }
}
