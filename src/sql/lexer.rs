//! The tokens of a SQL text and their positions: squawk's lexer, extended to start anywhere and to handle continued
//! strings.

use super::span::Span;
pub(crate) use squawk_lexer::{LiteralKind, TokenKind};

/// A token and its position.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Token {
    pub(crate) kind: TokenKind,
    pub(crate) span: Span,
}

impl Token {
    /// Reports whether the server's parser sees it: whitespace and comments are skipped.
    pub(crate) fn is_significant(self) -> bool {
        !matches!(self.kind, TokenKind::Whitespace | TokenKind::LineComment | TokenKind::BlockComment { .. })
    }

    /// Reports whether it is this word, unquoted, in any case.
    pub(crate) fn is_word(self, text: &str, word: &str) -> bool {
        self.kind == TokenKind::Ident && self.span.slice_of(text).eq_ignore_ascii_case(word)
    }

    /// Returns the user's name for what the token opens and never closes, if it does.
    pub(crate) fn unterminated_kind(self) -> Option<&'static str> {
        match self.kind {
            TokenKind::BlockComment { terminated: false } => Some("comment"),
            TokenKind::QuotedIdent { terminated: false, .. } => Some("double-quoted name"),
            TokenKind::Literal { kind: LiteralKind::DollarQuotedString { terminated: false } } => {
                Some("dollar-quoted string")
            }
            TokenKind::Literal {
                kind:
                    LiteralKind::Str { terminated: false }
                    | LiteralKind::NationalStr { terminated: false }
                    | LiteralKind::ByteStr { terminated: false }
                    | LiteralKind::BitStr { terminated: false }
                    | LiteralKind::UnicodeEscStr { terminated: false }
                    | LiteralKind::EscStr { terminated: false },
            } => Some("string"),
            _ => None,
        }
    }
}

/// An iterator over the tokens of a text.
pub(crate) struct Tokens<'a> {
    text: &'a str,
    at: usize,
    inner: Box<dyn Iterator<Item = (TokenKind, usize)> + 'a>,
    continued: StringContinuation,
}

/// Returns the line comments of a text. Where there is no dash after another, there is nothing to read.
pub(super) fn line_comments(text: &str) -> impl Iterator<Item = Token> {
    let tokens = text.contains("--").then(|| Tokens::new(text));
    tokens.into_iter().flatten().filter(|token| token.kind == TokenKind::LineComment)
}

/// The state between two string literals. A plain `'…'` continues `E'…'` if only comments and whitespace with a line
/// break are between them, and a backslash then still escapes in it (PostgreSQL's scan.l, `quotecontinue`). squawk's
/// lexer treats it as a string of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum StringContinuation {
    No,
    SameLine,
    NextLine,
}

impl<'a> Tokens<'a> {
    pub(crate) fn new(text: &'a str) -> Self {
        Self { text, at: 0, inner: tokenize(text), continued: StringContinuation::No }
    }

    /// Continues at this byte as if the text began there.
    pub(crate) fn resume_at(&mut self, byte: usize) {
        let rest = self.text.get(byte..).unwrap_or_default();
        self.at = self.text.len() - rest.len();
        self.inner = tokenize(rest);
        self.continued = StringContinuation::No;
    }

    fn continued_after(&self, token: Token) -> StringContinuation {
        match (token.kind, self.continued) {
            (TokenKind::Literal { kind: LiteralKind::EscStr { terminated: true } }, _) => StringContinuation::SameLine,
            (TokenKind::Whitespace, StringContinuation::SameLine)
                if token.span.slice_of(self.text).contains(['\n', '\r']) =>
            {
                StringContinuation::NextLine
            }
            (TokenKind::Whitespace | TokenKind::LineComment, continued) => continued,
            _ => StringContinuation::No,
        }
    }

    fn continued_escape_string(&mut self, start: usize) -> Token {
        let (end, terminated) = match escape_string_end(self.text, start) {
            Some(end) => (end, true),
            None => (self.text.len(), false),
        };
        self.resume_at(end);
        Token { kind: TokenKind::Literal { kind: LiteralKind::EscStr { terminated } }, span: Span { start, end } }
    }
}

impl Iterator for Tokens<'_> {
    type Item = Token;

    fn next(&mut self) -> Option<Token> {
        let (kind, length) = self.inner.next()?;
        let start = self.at;
        let plain_string = matches!(kind, TokenKind::Literal { kind: LiteralKind::Str { .. } });
        let token = if plain_string && self.continued == StringContinuation::NextLine {
            self.continued_escape_string(start)
        } else {
            self.at = start + length;
            Token { kind, span: Span { start, end: self.at } }
        };
        self.continued = self.continued_after(token);
        Some(token)
    }
}

/// Returns the kinds and lengths of a text's tokens. For squawk's lexer a byte order mark at the beginning is whitespace;
/// inside a file, where a text may begin anywhere, it is a letter like any other (PostgreSQL's scan.l, `ident_cont`).
fn tokenize(text: &str) -> Box<dyn Iterator<Item = (TokenKind, usize)> + '_> {
    let is_identifier_part =
        |character: char| character.is_ascii_alphanumeric() || matches!(character, '_' | '$') || !character.is_ascii();
    let (name, rest) = match text.starts_with(squawk_lexer::BOM) {
        true => text.split_at(text.find(|character| !is_identifier_part(character)).unwrap_or(text.len())),
        false => ("", text),
    };
    let first = (!name.is_empty()).then_some((TokenKind::Ident, name.len()));
    let others = squawk_lexer::tokenize(rest).map(|token| (token.kind, usize::try_from(token.len).unwrap_or_default()));
    Box::new(first.into_iter().chain(others))
}

/// Returns the byte after the closing quote of the escape string whose opening quote is at `start`.
fn escape_string_end(text: &str, start: usize) -> Option<usize> {
    let opened = start + 1;
    let mut rest = text.get(opened..)?.bytes().enumerate().peekable();
    while let Some((offset, byte)) = rest.next() {
        match byte {
            b'\\' => {
                rest.next();
            }
            b'\'' if rest.next_if(|(_, next)| *next == b'\'').is_none() => return Some(opened + offset + 1),
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(text: &str) -> Vec<&str> {
        Tokens::new(text).filter(|token| token.is_significant()).map(|token| token.span.slice_of(text)).collect()
    }

    fn unterminated(text: &str) -> Option<&'static str> {
        Tokens::new(text).find_map(Token::unterminated_kind)
    }

    #[test]
    fn reads_every_kind_of_quoted_text() {
        for quoted in [
            "'a;''b;'",
            r"E'a\';b'",
            r"e'a\\'",
            r"'a\'",
            "U&'d;\\0061'",
            "U&\"d;a\"",
            "\"a;\"\"b;\"",
            "$$a;$b$;c$$",
            "$tag$ a $$;$$ $ta$; $tag$",
            "$é$;$é$",
            "N'a;'",
            "B'0;1'",
            "x'f;f'",
        ] {
            assert_eq!(texts(&format!("{quoted};x")), [quoted, ";", "x"], "{quoted}");
        }
    }

    #[test]
    fn a_dollar_in_a_name_or_a_parameter_quotes_nothing() {
        assert_eq!(texts("a$b$;c$b$"), ["a$b$", ";", "c$b$"]);
        assert_eq!(texts("$1;$1"), ["$1", ";", "$1"]);
    }

    #[test]
    fn comments_nest_and_hide_quotes() {
        assert_eq!(texts("a /* ' /* ; */ $$ */ ; -- '\nb"), ["a", ";", "b"]);
    }

    #[test]
    fn a_continued_escape_string_still_escapes() {
        assert_eq!(texts("E'a' -- x\n  'b\\';c' ; d"), ["E'a'", "'b\\';c'", ";", "d"]);
        assert_eq!(texts("E'a' 'b\\' ; c"), ["E'a'", "'b\\'", ";", "c"], "not on the same line");
        assert_eq!(texts("'a'\n'b\\' ; c"), ["'a'", "'b\\'", ";", "c"], "not after a plain string");
        assert_eq!(texts("E'a'\n'b''c\\''\n'd\\'' ;"), ["E'a'", "'b''c\\''", "'d\\''", ";"]);
    }

    #[test]
    fn a_byte_order_mark_inside_a_file_is_a_letter() {
        assert_eq!(texts("\u{feff}\u{b}"), ["\u{feff}"]);
        assert_eq!(texts("\u{feff}a$1\u{feff};b"), ["\u{feff}a$1\u{feff}", ";", "b"]);
        assert_eq!(texts("select\u{feff} 1"), ["select\u{feff}", "1"]);
        assert_eq!(texts("E'a'\n'b'\u{feff};"), ["E'a'", "'b'", "\u{feff}", ";"], "after a continued string");
    }

    #[test]
    fn names_the_unterminated_token() {
        assert_eq!(unterminated("select 'a"), Some("string"));
        assert_eq!(unterminated(r"select E'a\'"), Some("string"));
        assert_eq!(unterminated("select E'a'\n'b\\'"), Some("string"));
        assert_eq!(unterminated("select \"a"), Some("double-quoted name"));
        assert_eq!(unterminated("select $x$ a $$"), Some("dollar-quoted string"));
        assert_eq!(unterminated("select /* /* */"), Some("comment"));
        assert_eq!(unterminated("select 'a' \"b\" $$c$$ /* d */ -- e"), None);
    }
}
