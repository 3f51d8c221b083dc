//! A statement in a few words.

use crate::sql::{TokenKind, Tokens};

/// The most characters of a summary, so that it stays one line of a table.
const MAX_CHARACTERS: usize = 120;

/// Sign in place of text that is left out.
const OMISSION: &str = "…";

/// Types with a length or a precision.
const SIZED_TYPES: [&str; 14] = [
    "bit",
    "bpchar",
    "char",
    "character",
    "dec",
    "decimal",
    "float",
    "interval",
    "nchar",
    "numeric",
    "time",
    "timestamp",
    "varchar",
    "varying",
];

/// Returns the statement on one line of at most 120 characters, without comments, and without strings and numbers: they
/// can be secrets or data. Numbers stay in the length of a type, as in `varchar(20)`.
pub(super) fn summarize(statement: &str) -> String {
    let mut words = Words::default();
    for token in Tokens::new(statement) {
        let text = token.span.slice_of(statement);
        match token.kind {
            TokenKind::Semi => break,
            _ if !token.is_significant() => words.has_gap = true,
            TokenKind::Literal { .. } if words.size == TypeSize::Inside => words.add(text),
            TokenKind::Literal { .. } | TokenKind::PositionalParam { .. } => words.add(OMISSION),
            kind => {
                words.size = words.size.after(kind, text);
                words.add(text);
            }
        }
        if words.characters > MAX_CHARACTERS {
            break;
        }
    }
    words.cut()
}

/// The position of a token relative to the length of a type.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum TypeSize {
    #[default]
    Elsewhere,
    /// Behind the name of the type.
    Next,
    /// Between the parentheses.
    Inside,
}

impl TypeSize {
    fn after(self, kind: TokenKind, text: &str) -> Self {
        match (self, kind) {
            (_, TokenKind::Ident) if SIZED_TYPES.iter().any(|name| name.eq_ignore_ascii_case(text)) => Self::Next,
            (Self::Next, TokenKind::OpenParen) | (Self::Inside, TokenKind::Comma) => Self::Inside,
            _ => Self::Elsewhere,
        }
    }
}

/// The words of a summary so far.
#[derive(Debug, Default)]
struct Words {
    text: String,
    characters: usize,
    has_gap: bool,
    size: TypeSize,
}

impl Words {
    fn add(&mut self, word: &str) {
        // A list of values becomes a single sign.
        if word == OMISSION && self.text.ends_with(OMISSION) {
            return;
        }
        if self.has_gap && !self.text.is_empty() {
            self.text.push(' ');
            self.characters += 1;
        }
        self.has_gap = false;
        self.text.push_str(word);
        self.characters += word.chars().count();
    }

    fn cut(self) -> String {
        if self.characters <= MAX_CHARACTERS {
            return self.text;
        }
        let kept: String = self.text.chars().take(MAX_CHARACTERS - 1).collect();
        format!("{}{OMISSION}", kept.trim_end())
    }
}

#[cfg(test)]
mod tests {
    use super::summarize;

    #[test]
    fn is_the_statement_on_one_line_without_comments() {
        assert_eq!(
            summarize("ALTER TABLE  orders -- x\n  ADD COLUMN /* y */ note text;"),
            "ALTER TABLE orders ADD COLUMN note text"
        );
        assert_eq!(summarize("  drop table a.\"B c\" ; "), "drop table a.\"B c\"");
        assert_eq!(summarize(""), "");
    }

    #[test]
    fn has_no_literal() {
        for (statement, summary) in [
            ("ALTER ROLE app PASSWORD 'hunter2'", "ALTER ROLE app PASSWORD …"),
            (
                "INSERT INTO t VALUES (4711, E'a\\'b', $$c$$, U&'d', $1, -1.5e3)",
                "INSERT INTO t VALUES (…, …, …, …, …, -…)",
            ),
            ("SELECT 'a'\n  'b'", "SELECT …"),
            ("DO $x$ begin perform 1; end $x$ LANGUAGE plpgsql", "DO … LANGUAGE plpgsql"),
            ("SELECT 'never closed", "SELECT …"),
        ] {
            assert_eq!(summarize(statement), summary);
        }
    }

    #[test]
    fn keeps_the_length_of_a_type() {
        assert_eq!(
            summarize("ALTER TABLE t ADD a varchar(20) DEFAULT f(7), ALTER b TYPE numeric (12, 2)"),
            "ALTER TABLE t ADD a varchar(20) DEFAULT f(…), ALTER b TYPE numeric (12, 2)"
        );
    }

    #[test]
    fn has_at_most_120_characters() {
        let summary = summarize(&format!("CREATE TABLE t ({} int)", "größe ".repeat(100)));
        assert_eq!((summary.chars().count() <= 120, summary.ends_with('…')), (true, true), "{summary}");
    }
}
