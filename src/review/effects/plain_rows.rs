//! `INSERT INTO table VALUES …` with nothing but values. Such statements are most of a large script, and reading their
//! tokens is ten times as fast as parsing them.

use super::functions::find_function;
use crate::sql::{Phrase, QualifiedName, TokenKind, Tokens, fold_identifier};

/// Words that are values.
const VALUE_WORDS: [&str; 5] = ["default", "false", "null", "true", "values"];

/// Returns the table of an INSERT whose rows are plain values. `None` for every other statement.
pub(super) fn read_plain_insert(statement: &str) -> Option<QualifiedName> {
    let mut phrase = Phrase::new(statement);
    if !phrase.eat_all(&["insert", "into"]) {
        return None;
    }
    let table = phrase.eat_name()?;
    phrase.eat_group();
    if !phrase.eat("values") {
        return None;
    }
    // A column may have the name of a function, so only the tokens behind the first VALUES count.
    let mut tokens = Tokens::new(statement).filter(|token| token.is_significant());
    tokens.by_ref().find(|token| token.is_word(statement, "values"))?;
    let mut word: Option<&str> = None;
    for token in tokens {
        let text = token.span.slice_of(statement);
        if let Some(name) = word.take() {
            let is_value = VALUE_WORDS.iter().any(|value| value.eq_ignore_ascii_case(name));
            let is_call = token.kind == TokenKind::OpenParen
                && fold_identifier(name).is_some_and(|name| find_function(&[name]).is_some());
            if !is_value && !is_call {
                return None;
            }
        }
        match token.kind {
            TokenKind::Ident => word = Some(text),
            TokenKind::Literal { .. }
            | TokenKind::OpenParen
            | TokenKind::CloseParen
            | TokenKind::Comma
            | TokenKind::Minus
            | TokenKind::Plus
            | TokenKind::Semi => {}
            _ => return None,
        }
    }
    word.is_none().then_some(table)
}

#[cfg(test)]
mod tests {
    use super::{super::picture::effects_of, *};

    #[test]
    fn reads_rows_of_plain_values() {
        for statement in [
            "INSERT INTO t VALUES (1, 'a', NULL, -1.5e3, true, DEFAULT), (2, $$x$$, now(), false);",
            "insert into T (a, \"b c\") values (E'\\\\'' , lower('X'))",
            "INSERT INTO t /* rows */ VALUES (1) -- end\n;",
        ] {
            let table = read_plain_insert(statement).map(|table| table.to_string());
            assert_eq!(table.as_deref(), Some("\"t\""), "{statement}");
        }
    }

    #[test]
    fn leaves_everything_else_to_the_parser() {
        for statement in [
            "INSERT INTO t SELECT 1",
            "INSERT INTO t VALUES ((SELECT 1))",
            "INSERT INTO t VALUES (app.f(1))",
            "INSERT INTO t VALUES (f(1))",
            "INSERT INTO t VALUES (1) RETURNING id",
            "INSERT INTO t VALUES (1) ON CONFLICT DO NOTHING",
            "INSERT INTO t AS x VALUES (1)",
            "INSERT INTO t (values) SELECT a FROM b",
            "INSERT INTO t DEFAULT VALUES",
            "INSERT INTO t VALUES ('a'::text)",
            "WITH a AS (SELECT 1) INSERT INTO t VALUES (1)",
            "UPDATE t SET a = 1",
        ] {
            assert_eq!(read_plain_insert(statement), None, "{statement}");
        }
    }

    #[test]
    fn has_the_effect_that_the_parser_finds() {
        assert_eq!(
            effects_of("INSERT INTO s.t (a) VALUES (1)"),
            effects_of("INSERT INTO s.t (a) VALUES (1) RETURNING 'x'"),
        );
    }
}
