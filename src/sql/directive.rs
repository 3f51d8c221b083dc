//! Comments in a file that control other tools.

use super::{
    lexer::{TokenKind, Tokens},
    location::SqlSource,
};
use crate::fault::{Code, Fault};

/// The spellings of the leading comment that opts a file out of its transaction: those of sqlx, goose, dbmate, tern and
/// Atlas, in this order. Every spelling counts in every layout, because its author meant it. The text after the dashes
/// is compared without regard to case and spacing.
const OPT_OUTS: &[&str] = &[
    "no-transaction",
    "+goose no transaction",
    "migrate:up transaction:false",
    "tern: disable-tx",
    "atlas:txmode none",
];

/// The comments that start the section which undoes the migration: goose, dbmate, tern. In a plain file that section
/// would be executed right after the migration itself.
const UNDO_SECTIONS: &[&str] = &["+goose down", "migrate:down", "create above / drop below"];

/// Returns the leading comment that opts the file out of its transaction, as written, and its byte offset.
pub(crate) fn find_opt_out(source: SqlSource<'_>) -> Option<(&str, usize)> {
    Tokens::new(source.text)
        .take_while(|token| !token.is_significant())
        .filter(|token| token.kind == TokenKind::LineComment)
        .map(|token| (token.span.slice_of(source.text), token.span.start))
        .find(|(comment, _)| OPT_OUTS.iter().any(|spelling| begins_with_spelling(comment, spelling)))
}

/// Refuses a file with a section that undoes it.
///
/// # Errors
///
/// `undo-section`, at the comment that starts it.
pub(crate) fn refuse_undo_section(source: SqlSource<'_>) -> Result<(), Fault> {
    let undo = Tokens::new(source.text).filter(|token| token.kind == TokenKind::LineComment).find(|token| {
        UNDO_SECTIONS.iter().any(|spelling| begins_with_spelling(token.span.slice_of(source.text), spelling))
    });
    let Some(token) = undo else { return Ok(()) };
    let cause = format!(
        "`{}` on line {} of `{}` starts a section that undoes the migration, and files are run from the first line to \
         the last",
        token.span.slice_of(source.text).trim(),
        source.line_number(token.span.start),
        source.file
    );
    Err(Fault::new(Code::UndoSection, cause).in_file(source.place_at_byte(token.span.start)))
}

/// Reports whether a line comment begins with this text, up to the end of a word.
fn begins_with_spelling(comment: &str, spelling: &str) -> bool {
    let directive =
        comment.trim_start_matches('-').split_whitespace().collect::<Vec<_>>().join(" ").to_ascii_lowercase();
    directive
        .strip_prefix(spelling)
        .is_some_and(|rest| !rest.starts_with(|c: char| c.is_alphanumeric() || "-_".contains(c)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(text: &str) -> SqlSource<'_> {
        SqlSource { file: "0001_a.sql", text }
    }

    #[test]
    fn honours_every_tools_spelling() {
        for comment in [
            "-- no-transaction",
            "-- no-transaction: builds an index",
            "-- +goose NO TRANSACTION",
            "-- migrate:up transaction:false",
            "---- tern: disable-tx ----",
            "-- atlas:txmode none",
        ] {
            let text = format!("/* licence */\n-- about\n{comment}\r\nSELECT 1;");
            assert_eq!(find_opt_out(source(&text)).map(|(spelling, _)| spelling), Some(comment));
        }
    }

    #[test]
    fn ignores_comments_other_than_leading_line_comments() {
        for text in [
            "SELECT 1;\n-- no-transaction\n",
            "/* no-transaction */ SELECT 1;",
            "-- no-transactions here\nSELECT 1;",
            "-- not no-transaction\nSELECT 1;",
            "-- migrate:up\nSELECT 1;",
            "-- atlas:txmode file\nSELECT 1;",
            "",
        ] {
            assert_eq!(find_opt_out(source(text)), None, "{text}");
        }
    }

    #[test]
    fn refuses_a_section_that_undoes_the_file() {
        for (comment, line) in
            [("-- +goose Down", 3), ("-- migrate:down", 3), ("---- create above / drop below ----", 3)]
        {
            let text = format!("-- up\nCREATE TABLE t ();\n{comment}\nDROP TABLE t;\n");
            let fault = refuse_undo_section(source(&text)).unwrap_err();
            assert_eq!((fault.code, fault.place.unwrap().line), (Code::UndoSection, Some(line)), "{comment}");
        }
    }

    #[test]
    fn accepts_other_sections_and_quoted_ones() {
        for text in ["-- +goose Up\nSELECT 1;", "SELECT '\n-- migrate:down\n';", "-- migrate:downtime is 5 min\n"] {
            assert_eq!(refuse_undo_section(source(text)), Ok(()), "{text}");
        }
    }
}
