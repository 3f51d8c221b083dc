//! Converts positions in a text into a line, a column and an excerpt.

use super::{
    lexer::{LiteralKind, TokenKind, Tokens},
    span::Span,
};
use crate::fault::{Excerpt, FilePosition};

/// Finds places in a SQL file, whose text may be in memory or on disk.
pub(crate) trait FilePlaces {
    /// Returns the path as the user wrote it.
    fn file(&self) -> &str;

    /// Returns the 1-based line of this byte of the file's text.
    fn line_number(&self, byte: usize) -> usize;

    /// Returns the line, column and excerpt for this byte of the file's text.
    fn place_at_byte(&self, byte: usize) -> FilePosition;
}

/// The text of a SQL file, or a part of it, and the file's name.
#[derive(Debug, Clone, Copy)]
pub struct SqlSource<'a> {
    /// The path as the user wrote it.
    pub file: &'a str,
    /// The text, without a byte order mark.
    pub text: &'a str,
    /// The place in the file where the text begins.
    pub start: TextStart,
}

/// The place in a file where a text begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TextStart {
    /// 1-based.
    pub line: usize,
    /// 1-based, in characters.
    pub column: usize,
}

impl TextStart {
    /// The beginning of a file.
    pub const OF_FILE: Self = Self { line: 1, column: 1 };

    /// Returns the place behind a text that begins here.
    #[must_use]
    pub fn after(self, text: &str) -> Self {
        match text.rfind('\n') {
            Some(newline) => Self {
                line: self.line + text.matches('\n').count(),
                column: text.get(newline + 1..).unwrap_or_default().chars().count() + 1,
            },
            None => Self { line: self.line, column: self.column + text.chars().count() },
        }
    }
}

impl FilePlaces for SqlSource<'_> {
    fn file(&self) -> &str {
        self.file
    }

    fn line_number(&self, byte: usize) -> usize {
        SqlSource::line_number(*self, byte)
    }

    fn place_at_byte(&self, byte: usize) -> FilePosition {
        SqlSource::place_at_byte(*self, byte)
    }
}

impl<'a> SqlSource<'a> {
    /// Returns the source with the whole text of a file.
    #[must_use]
    pub fn of_file(file: &'a str, text: &'a str) -> Self {
        Self { file, text, start: TextStart::OF_FILE }
    }

    /// Returns the file as a whole.
    #[must_use]
    pub fn whole_file(self) -> FilePosition {
        FilePosition::of_file(self.file)
    }

    /// Returns the 1-based line of this byte of the text.
    #[must_use]
    pub fn line_number(self, byte: usize) -> usize {
        self.text_before(byte).matches('\n').count() + self.start.line
    }

    /// Returns the line, column and excerpt for this byte of the text.
    #[must_use]
    pub fn place_at_byte(self, byte: usize) -> FilePosition {
        let before = self.text_before(byte);
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let column = before.get(line_start..).unwrap_or_default().chars().count() + 1;
        let line = self.text.get(line_start..).unwrap_or_default().lines().next().unwrap_or_default();
        // The excerpt begins where the text does, the column where the line does.
        let hidden = if line_start == 0 { self.start.column - 1 } else { 0 };
        FilePosition {
            file: self.file.to_owned(),
            line: Some(self.line_number(byte)),
            column: Some(column + hidden),
            excerpt: Some(Excerpt::new(line, column)),
        }
    }

    /// Returns the place of the server's `position`: 1-based, in characters, counted within the part of the text that
    /// was sent as one query (`PG_DIAG_STATEMENT_POSITION` in PostgreSQL's protocol documentation, "Error and Notice
    /// Message Fields").
    #[must_use]
    pub fn place_at_position(self, sent: Span, position: usize) -> FilePosition {
        self.place_at_byte(self.byte_at_position(sent, position))
    }

    /// Returns the byte of the text at the server's `position`, counted as in [`Self::place_at_position`].
    pub(crate) fn byte_at_position(self, sent: Span, position: usize) -> usize {
        let sent_text = sent.slice_of(self.text);
        let offset =
            sent_text.char_indices().nth(position.saturating_sub(1)).map_or(sent_text.len(), |(offset, _)| offset);
        sent.start + offset
    }

    /// Returns the place of a PL/pgSQL error in an inline `DO` block. The server reports only
    /// `PL/pgSQL function inline_code_block line 3 at RAISE`, counted from the line of the block's opening quote. Of
    /// nested blocks the outermost is named last.
    #[must_use]
    pub fn place_in_do_block(self, statement: Span, context: &str) -> Option<FilePosition> {
        let number: usize = context
            .lines()
            .rev()
            .find_map(|line| line.split_once("inline_code_block"))
            .and_then(|(_, rest)| rest.split(|c: char| !c.is_ascii_digit()).find(|digits| !digits.is_empty()))?
            .parse()
            .ok()?;
        let code = statement.slice_of(self.text);
        let opening = Tokens::new(code).find(|token| is_string(token.kind))?;
        let line = self.line_number(statement.start + opening.span.start) + number.checked_sub(1)?;
        self.place_at_line(line)
    }

    /// Returns the place of the first non-blank character on this 1-based line of the file, if the text has it.
    fn place_at_line(self, line: usize) -> Option<FilePosition> {
        let lines_before = line.checked_sub(self.start.line)?;
        let start: usize = self.text.split_inclusive('\n').take(lines_before).map(str::len).sum();
        let rest = self.text.get(start..).filter(|rest| !rest.is_empty())?;
        let content = rest.lines().next().unwrap_or_default();
        Some(self.place_at_byte(start + content.len() - content.trim_start().len()))
    }

    fn text_before(self, byte: usize) -> &'a str {
        self.text.get(..byte).unwrap_or(self.text)
    }
}

fn is_string(kind: TokenKind) -> bool {
    matches!(
        kind,
        TokenKind::Literal {
            kind: LiteralKind::DollarQuotedString { .. } | LiteralKind::Str { .. } | LiteralKind::EscStr { .. }
        }
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(text: &str) -> SqlSource<'_> {
        SqlSource::of_file("migrations/0001_a.sql", text)
    }

    fn line_column_excerpt(position: &FilePosition) -> (usize, usize, String) {
        (position.line.unwrap(), position.column.unwrap(), position.excerpt.as_ref().unwrap().render())
    }

    fn expected(line: usize, column: usize, excerpt: &str) -> (usize, usize, String) {
        (line, column, excerpt.to_owned())
    }

    #[test]
    fn counts_characters_and_not_bytes() {
        let text = "-- größe\nSELECT 'äö', oops;\n";
        let position = text.split("oops").next().unwrap().chars().count() + 1;
        let file_position = source(text).place_at_position(Span::whole(text), position);
        assert_eq!(line_column_excerpt(&file_position), expected(2, 14, "SELECT 'äö', oops;\n             ^"));
    }

    #[test]
    fn counts_a_carriage_return_as_one_character() {
        let text = "SELECT 1;\r\nSELECT x;\r\n";
        let file_position = source(text).place_at_position(Span::whole(text), 19);
        assert_eq!(line_column_excerpt(&file_position), expected(2, 8, "SELECT x;\n       ^"));
    }

    #[test]
    fn counts_from_the_start_of_the_sent_part() {
        let text = "SELECT 1;\n  SELECT é, x;";
        let sent = Span { start: 12, end: text.len() };
        assert_eq!(
            line_column_excerpt(&source(text).place_at_position(sent, 11)),
            expected(2, 13, "  SELECT é, x;\n            ^")
        );
    }

    #[test]
    fn a_position_after_the_end_is_the_end() {
        let text = "SELECT (";
        assert_eq!(
            line_column_excerpt(&source(text).place_at_position(Span::whole(text), 9)),
            expected(1, 9, "SELECT (\n        ^")
        );
        assert_eq!(source(text).place_at_position(Span::whole(text), 99).column, Some(9));
        assert_eq!(line_column_excerpt(&source("").place_at_position(Span::whole(""), 0)), expected(1, 1, "\n^"));
    }

    #[test]
    fn keeps_tabs_above_the_caret() {
        assert_eq!(line_column_excerpt(&source("\ta\tb").place_at_byte(3)).2, "\ta\tb\n\t \t^");
    }

    #[test]
    fn finds_the_line_in_a_do_block() {
        let text = "SELECT 1;\nDO\n$$\nBEGIN\n  RAISE 'x';\nEND $$;\n";
        let statement = Span { start: 10, end: text.len() };
        let context = "PL/pgSQL function inline_code_block line 3 at RAISE";
        let file_position = source(text).place_in_do_block(statement, context).unwrap();
        assert_eq!(line_column_excerpt(&file_position), expected(5, 3, "  RAISE 'x';\n  ^"));
    }

    #[test]
    fn finds_the_outermost_block_of_nested_ones() {
        let text = "DO $$\nBEGIN\n  PERFORM f();\nEND $$";
        let context = "PL/pgSQL function inline_code_block line 1 at RAISE\nSQL statement \"DO 'x'\"\n\
                       PL/pgSQL function inline_code_block line 3 at EXECUTE";
        assert_eq!(source(text).place_in_do_block(Span::whole(text), context).unwrap().line, Some(3));
    }

    #[test]
    fn ignores_errors_in_other_functions() {
        let text = "SELECT f();";
        assert_eq!(source(text).place_in_do_block(Span::whole(text), "PL/pgSQL function f() line 3 at RAISE"), None);
        let block = "DO $$ x $$";
        let far_context = "PL/pgSQL function inline_code_block line 30 at RAISE";
        assert_eq!(source(block).place_in_do_block(Span::whole(block), far_context), None);
    }
}
