//! Reads a statement part by part from its first word on. A pair of parentheses is one part, however long; comments are
//! skipped.

use super::{
    identifier::{QualifiedName, fold_identifier},
    lexer::{Token, TokenKind, Tokens},
};

/// One part of a statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part<'a> {
    /// An unquoted word: a keyword or a name.
    Word(&'a str),
    /// A pair of parentheses with its content.
    Group(&'a str),
    /// A quoted name, a string, a number or an operator.
    Other(&'a str),
}

impl<'a> Part<'a> {
    /// Returns the part as written.
    pub(crate) fn text(self) -> &'a str {
        match self {
            Self::Word(text) | Self::Group(text) | Self::Other(text) => text,
        }
    }

    /// Reports whether it is this word, in any case.
    pub(crate) fn is_word(self, word: &str) -> bool {
        matches!(self, Self::Word(text) if text.eq_ignore_ascii_case(word))
    }
}

/// The unread rest of a statement, up to the first semicolon outside of parentheses.
pub(crate) struct Phrase<'a> {
    text: &'a str,
    tokens: Tokens<'a>,
    next: Option<Part<'a>>,
}

impl<'a> Phrase<'a> {
    /// Starts reading a statement.
    pub(crate) fn new(statement: &'a str) -> Self {
        let mut phrase = Self { text: statement, tokens: Tokens::new(statement), next: None };
        phrase.next = phrase.read_part();
        phrase
    }

    /// Starts reading the content of a group, without its parentheses.
    pub(crate) fn inside_group(group: &'a str) -> Self {
        let inner = group.strip_prefix('(').unwrap_or(group);
        Self::new(inner.strip_suffix(')').unwrap_or(inner))
    }

    /// Returns the next part without consuming it.
    pub(crate) fn peek(&self) -> Option<Part<'a>> {
        self.next
    }

    /// Consumes this word if it is next, and reports whether it was.
    pub(crate) fn eat(&mut self, word: &str) -> bool {
        let matches = self.next.is_some_and(|part| part.is_word(word));
        if matches {
            self.next = self.read_part();
        }
        matches
    }

    /// Consumes these words in order, up to the first that is not next, and reports whether all of them were.
    pub(crate) fn eat_all(&mut self, keywords: &[&str]) -> bool {
        keywords.iter().all(|keyword| self.eat(keyword))
    }

    /// Consumes one of these words if it is next, and returns it.
    pub(crate) fn eat_one_of<'w>(&mut self, keywords: &[&'w str]) -> Option<&'w str> {
        keywords.iter().copied().find(|keyword| self.eat(keyword))
    }

    /// Consumes a group if it is next, and returns it.
    pub(crate) fn eat_group(&mut self) -> Option<&'a str> {
        match self.next {
            Some(Part::Group(group)) => {
                self.next = self.read_part();
                Some(group)
            }
            _ => None,
        }
    }

    /// Consumes `name`, `schema.name` or `database.schema.name`. Returns `None` if there is no name, or one that can't
    /// be read.
    pub(crate) fn eat_name(&mut self) -> Option<QualifiedName> {
        let mut schema = None;
        let mut name = fold_identifier(self.next()?.text());
        while matches!(self.next, Some(Part::Other("."))) {
            self.next = self.read_part();
            schema = name;
            name = fold_identifier(self.next()?.text());
        }
        Some(QualifiedName { schema, name: name? })
    }

    /// Reports whether nothing is left.
    pub(crate) fn is_done(&self) -> bool {
        self.next.is_none()
    }

    fn read_part(&mut self) -> Option<Part<'a>> {
        let first = self.tokens.by_ref().find(|token| token.is_significant())?;
        let part = first.span.slice_of(self.text);
        match first.kind {
            TokenKind::Semi => {
                self.tokens = Tokens::new("");
                None
            }
            TokenKind::Ident => Some(Part::Word(part)),
            TokenKind::OpenParen => Some(Part::Group(self.read_group(first))),
            _ => Some(Part::Other(part)),
        }
    }

    /// Reads the group that this parenthesis opens; an unclosed group extends to the end of the text.
    fn read_group(&mut self, opening: Token) -> &'a str {
        let (mut depth, mut span) = (1_usize, opening.span);
        for token in self.tokens.by_ref() {
            span.end = token.span.end;
            match token.kind {
                TokenKind::OpenParen => depth += 1,
                TokenKind::CloseParen => depth -= 1,
                _ => {}
            }
            if depth == 0 {
                break;
            }
        }
        span.slice_of(self.text)
    }
}

impl<'a> Iterator for Phrase<'a> {
    type Item = Part<'a>;

    fn next(&mut self) -> Option<Part<'a>> {
        let part = self.next?;
        self.next = self.read_part();
        Some(part)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_parentheses_as_one_part_and_skips_comments() {
        let text = "COPY /* a (b */ \"From\" -- )\n (a, (b), ')', $$)$$) FROM 'x' ; more";
        let parts: Vec<_> = Phrase::new(text).map(Part::text).collect();
        assert_eq!(parts, ["COPY", "\"From\"", "(a, (b), ')', $$)$$)", "FROM", "'x'"]);
    }

    #[test]
    fn an_unclosed_group_extends_to_the_end() {
        let parts: Vec<_> = Phrase::new("a (b; c").collect();
        assert_eq!(parts, [Part::Word("a"), Part::Group("(b; c")]);
        assert_eq!(Phrase::inside_group("(a, b)").map(Part::text).collect::<Vec<_>>(), ["a", ",", "b"]);
    }

    #[test]
    fn reads_names_of_up_to_three_parts() {
        let name = |text| Phrase::new(text).eat_name().map(|name| (name.schema, name.name));
        let schema = |text: &str| Some(text.to_owned());
        assert_eq!(name("A (x)"), Some((None, "a".to_owned())));
        assert_eq!(name("d . \"S\" .t"), Some((schema("S"), "t".to_owned())));
        assert_eq!((name("U&\"a\""), name("(a)"), name("a."), name("")), (None, None, None, None));
    }

    #[test]
    fn quoted_words_are_not_keywords() {
        let mut phrase = Phrase::new("\"begin\" begin");
        assert!(!phrase.eat("begin"));
        phrase.next();
        assert!(phrase.eat("BEGIN") && phrase.is_done() && phrase.peek().is_none());
    }
}
