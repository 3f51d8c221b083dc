//! The form of a statement: its text without its constants, by which the statements of a loop are one.

use super::lexer::{Token, TokenKind, Tokens};

/// The placeholder of a constant.
const CONSTANT: &str = "$";

/// Bytes of a form, at most: it is for people, and a key.
const MAX_LENGTH: usize = 2 << 10;

/// Returns the form of a statement: constants and parameters are `$`, a list of them is one, words are in small letters, and
/// comments are gone. It shows no value of a row.
#[must_use]
pub fn statement_form(text: &str) -> String {
    let mut parts: Vec<String> = Vec::new();
    let mut length = 0;
    for token in Tokens::new(text).filter(|token| token.is_significant()) {
        if length > MAX_LENGTH {
            parts.push("…".to_owned());
            break;
        }
        let part = part_of(text, token);
        length += part.len() + 1;
        match (parts.as_slice(), part.as_str()) {
            // `$, $` and `($), ($)` are lists.
            ([.., before, comma], CONSTANT) if before == CONSTANT && comma == "," => drop(parts.pop()),
            ([.., open, constant, close, comma, open_again, constant_again], ")")
                if [open, open_again] == ["(", "("]
                    && [constant, constant_again] == [CONSTANT, CONSTANT]
                    && close == ")"
                    && comma == "," =>
            {
                parts.truncate(parts.len() - 3);
            }
            _ => parts.push(part),
        }
    }
    while parts.last().is_some_and(|part| part == ";") {
        parts.pop();
    }
    parts.join(" ")
}

fn part_of(text: &str, token: Token) -> String {
    let written = token.span.slice_of(text);
    match token.kind {
        TokenKind::Literal { .. } | TokenKind::PositionalParam { .. } => CONSTANT.to_owned(),
        TokenKind::Ident => written.to_lowercase(),
        _ => written.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn constants_and_lists_of_them_are_one_placeholder() {
        for (one, other) in [
            ("UPDATE t SET a = 1 WHERE id = 7;", "update t  set a = -- note\n 'x' where id = $1"),
            ("select * from t where id in (1, 2, 3)", "select * from t where id in (4)"),
            ("insert into t values (1, 'a'), (2, 'b'), (3, 'c')", "insert into t values (1, 'a')"),
        ] {
            assert_eq!(statement_form(one), statement_form(other));
        }
        assert_eq!(statement_form("INSERT INTO \"T\" (a) VALUES ('secret')"), "insert into \"T\" ( a ) values ( $ )");
        assert_ne!(statement_form("drop table a"), statement_form("drop table b"));
    }

    #[test]
    fn a_long_statement_has_a_short_form() {
        let long = format!("select {}", "a + ".repeat(10_000));
        assert!(statement_form(&long).len() < 2 * MAX_LENGTH);
    }
}
