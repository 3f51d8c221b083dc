//! The nesting of a statement. squawk's parser and its tree recurse without a limit, so a statement that is nested too
//! deeply would exhaust the stack, which ends the process.

use crate::sql::{TokenKind, Tokens};

/// The most open parentheses, brackets and CASE expressions. With a stack of 2 MiB, the least of our threads, squawk
/// 2.68 parses 400 levels in a build without optimizations, and fails at 1,000.
const MAX_LEVELS: usize = 100;

/// The most words and operators between two commas, over all open levels: each may nest one more expression, as NOT does
/// or a chain of `||`. The same parser takes 1,600 of them, and fails at 3,000.
const MAX_CHAIN: usize = 1_000;

/// The most words that join queries or tables: they nest although commas are between them. It takes 3,000 of them.
const MAX_JOINED: usize = 500;

/// Words that join queries or tables, or make a statement a part of another one.
const JOINING_WORDS: [&str; 6] = ["atomic", "except", "explain", "intersect", "join", "union"];

/// Returns whether a statement is nested so deeply that it must not be parsed.
pub(in crate::review) fn is_too_deep(statement: &str) -> bool {
    let mut nesting = Nesting { chains: vec![0], ..Nesting::default() };
    Tokens::new(statement).filter(|token| token.is_significant()).any(|token| {
        nesting.take_token(token.kind, token.span.slice_of(statement));
        nesting.is_excessive()
    })
}

#[derive(Debug, Default)]
struct Nesting {
    /// For each open level, the words and operators since its last comma.
    chains: Vec<usize>,
    chained: usize,
    cases: usize,
    joined: usize,
}

impl Nesting {
    fn take_token(&mut self, kind: TokenKind, text: &str) {
        match kind {
            TokenKind::OpenParen | TokenKind::OpenBracket => self.chains.push(0),
            TokenKind::CloseParen | TokenKind::CloseBracket => {
                self.reset_chain();
                if self.chains.len() > 1 {
                    self.chains.pop();
                }
                self.extend_chain();
            }
            TokenKind::Comma | TokenKind::Semi => self.reset_chain(),
            TokenKind::Ident => {
                if text.eq_ignore_ascii_case("case") {
                    self.cases += 1;
                } else if text.eq_ignore_ascii_case("end") {
                    self.cases = self.cases.saturating_sub(1);
                } else if JOINING_WORDS.iter().any(|word| word.eq_ignore_ascii_case(text)) {
                    self.joined += 1;
                }
                self.extend_chain();
            }
            _ => self.extend_chain(),
        }
    }

    fn reset_chain(&mut self) {
        if let Some(chain) = self.chains.last_mut() {
            self.chained -= std::mem::take(chain);
        }
    }

    fn extend_chain(&mut self) {
        if let Some(chain) = self.chains.last_mut() {
            *chain += 1;
            self.chained += 1;
        }
    }

    fn is_excessive(&self) -> bool {
        self.chains.len() + self.cases > MAX_LEVELS || self.chained > MAX_CHAIN || self.joined > MAX_JOINED
    }
}

#[cfg(test)]
mod tests {
    use super::is_too_deep;
    use squawk_syntax::SourceFile;

    /// Statements that nest `depth` times, each in another way.
    fn nested(depth: usize) -> Vec<String> {
        let repeat = |before: &str, middle: &str, after: &str| {
            format!("{}{middle}{}", before.repeat(depth), after.repeat(depth))
        };
        [
            ("SELECT ", "(", "1", ")"),
            ("SELECT ", "(", "", ""),
            ("SELECT ", "NOT ", "true", ""),
            ("SELECT ", "- ", "1", ""),
            ("SELECT ", "CASE WHEN true THEN ", "1", " END"),
            ("SELECT ", "ARRAY[", "1", "]"),
            ("SELECT ", "f(1, ", "1", ")"),
            ("SELECT ", "1 BETWEEN 1 AND ", "1", ""),
            ("SELECT * FROM ", "(SELECT * FROM ", "t", ") AS a"),
            ("SELECT 1", "+1", "", ""),
            ("SELECT a", ".a", "", ""),
            ("SELECT a", "::int", "", ""),
            ("SELECT a", "[1]", "", ""),
            ("SELECT 1, 2", " UNION ALL SELECT 1, 2", "", ""),
            ("SELECT 1 FROM t", " JOIN t ON f(1, 2)", "", ""),
            ("", "EXPLAIN ", "SELECT 1", ""),
            ("", "WITH a AS (", "", ""),
            ("CREATE FUNCTION f() RETURNS int ", "BEGIN ATOMIC CREATE FUNCTION f() RETURNS int ", "", ""),
        ]
        .into_iter()
        .map(|(first, before, middle, after)| format!("{first}{}", repeat(before, middle, after)))
        .collect()
    }

    #[test]
    fn refuses_a_statement_that_would_exhaust_the_stack() {
        for statement in nested(20_000) {
            assert!(is_too_deep(&statement), "{statement:.60}");
        }
    }

    #[test]
    fn the_parser_takes_what_is_not_refused() {
        for depth in [50, 95, 200, 330, 450, 900] {
            for statement in nested(depth).into_iter().filter(|statement| !is_too_deep(statement)) {
                assert!(!SourceFile::parse(&statement).syntax_node().text_range().is_empty());
            }
        }
    }

    #[test]
    fn takes_long_statements_that_are_flat() {
        let rows = "(1, 'a', now() + interval '1 day'),\n".repeat(10_000);
        assert!(!is_too_deep(&format!("INSERT INTO t VALUES {rows} (1, 'a', now())")));
        let columns = "c numeric(10, 2) NOT NULL DEFAULT 0 CHECK (c >= 0),\n".repeat(1_000);
        assert!(!is_too_deep(&format!("CREATE TABLE t ({columns} id bigint)")));
        assert!(!is_too_deep(&format!("SELECT 1 FROM t WHERE {} true", "a = 1 AND b = 2 OR ".repeat(100))));
    }
}
