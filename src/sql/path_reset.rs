//! Finds statements that return the search path to the one that the session began with. In the schema of a tenant that
//! is another one than the tenant's.

use super::{
    lexer::{Token, TokenKind, Tokens},
    word_search::may_contain,
};

/// Returns the byte of the first such statement: `RESET ALL`, `RESET search_path`, `SET search_path TO DEFAULT` or
/// `DISCARD ALL`.
pub(crate) fn find_path_reset(text: &str) -> Option<usize> {
    let is_name = |token: Token, name: &str| {
        token.is_word(text, name) || token.span.slice_of(text).trim_matches('"').eq_ignore_ascii_case(name)
    };
    if !may_contain(text, &["reset", "discard", "search_path"]) {
        return None;
    }
    let mut last: [Option<Token>; 3] = [None; 3];
    for token in Tokens::new(text).filter(|token| token.is_significant()) {
        let [third, second, first] = last;
        let is_word = |token: Option<Token>, word: &str| token.is_some_and(|token| token.is_word(text, word));
        let is_path = |token: Option<Token>| token.is_some_and(|token| is_name(token, "search_path"));
        let begins = |token: Option<Token>| token.is_none_or(|token| token.kind == TokenKind::Semi);
        let reset = is_word(first, "reset") && (token.is_word(text, "all") || is_path(Some(token)));
        let discard = is_word(first, "discard") && token.is_word(text, "all");
        if (reset || discard) && begins(second) {
            return first.map(|token| token.span.start);
        }
        // `SET [LOCAL | SESSION] search_path TO DEFAULT`, or with `=`.
        let assigns = first.is_some_and(|token| token.is_word(text, "to") || token.kind == TokenKind::Eq);
        if token.is_word(text, "default") && is_path(second) && assigns {
            return third.or(second).map(|token| token.span.start);
        }
        last = [second, first, Some(token)];
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_statements_that_return_to_the_first_path() {
        for (text, byte) in [
            ("RESET ALL", 0),
            ("SELECT 1; reset /* x */ search_path;", 10),
            ("Reset \"search_path\"", 0),
            ("DISCARD ALL;", 0),
            ("SET search_path TO DEFAULT", 0),
            ("SELECT 1;\nset local search_path = default;", 14),
        ] {
            assert_eq!(find_path_reset(text), Some(byte), "{text}");
            let long = format!("{}{text}", "\n".repeat(10_000));
            assert_eq!(find_path_reset(&long), Some(10_000 + byte), "{text} in a long file");
        }
    }

    #[test]
    fn other_statements_are_none() {
        for text in [
            "RESET lock_timeout",
            "SET search_path TO a, b",
            "SELECT reset.all FROM reset",
            "SELECT 'RESET ALL'",
            "-- RESET ALL",
            "CREATE TABLE t (search_path text, x int DEFAULT 1)",
            "DISCARD TEMP",
            "ALTER TABLE t ALTER search_path SET DEFAULT 'x'",
            "",
        ] {
            assert_eq!(find_path_reset(text), None, "{text}");
        }
    }
}
