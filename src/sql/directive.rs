//! Comments in a file that control other tools.

use super::{
    lexer::{TokenKind, Tokens, line_comments},
    location::SqlSource,
    span::Span,
    split::FaultAt,
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

/// The comment by which a file opts out of its transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OptOut {
    /// As written.
    pub(crate) comment: String,
    /// Its first byte.
    pub(crate) byte: usize,
}

/// Returns the leading comment that opts the file out of its transaction.
pub(crate) fn find_opt_out(text: &str) -> Option<OptOut> {
    Tokens::new(text)
        .take_while(|token| !token.is_significant())
        .filter(|token| token.kind == TokenKind::LineComment)
        .map(|token| OptOut { comment: token.span.slice_of(text).to_owned(), byte: token.span.start })
        .find(|found| OPT_OUTS.iter().any(|spelling| begins_with_spelling(&found.comment, spelling)))
}

/// Refuses a file with a section that undoes it, if the comment that starts it is in this part of the source.
pub(crate) fn refuse_undo_section(source: SqlSource<'_>, part: Span) -> Option<FaultAt> {
    let text = part.slice_of(source.text);
    let token = line_comments(text)
        .find(|token| UNDO_SECTIONS.iter().any(|spelling| begins_with_spelling(token.span.slice_of(text), spelling)))?;
    let byte = part.start + token.span.start;
    let cause = format!(
        "`{}` on line {} of `{}` starts a section that undoes the migration, and files are run from the first line to \
         the last",
        token.span.slice_of(text).trim(),
        source.line_number(byte),
        source.file
    );
    Some(FaultAt { fault: Fault::new(Code::UndoSection, cause), byte })
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

    fn refused_line(text: &str) -> Option<usize> {
        let source = SqlSource::of_file("0001_a.sql", text);
        let found = refuse_undo_section(source, Span::whole(text))?;
        assert_eq!(found.fault.code, Code::UndoSection);
        Some(source.line_number(found.byte))
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
            assert_eq!(find_opt_out(&text).map(|found| found.comment).as_deref(), Some(comment));
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
            assert_eq!(find_opt_out(text), None, "{text}");
        }
    }

    #[test]
    fn refuses_a_section_that_undoes_the_file() {
        for (comment, line) in
            [("-- +goose Down", 3), ("-- migrate:down", 3), ("---- create above / drop below ----", 3)]
        {
            let text = format!("-- up\nCREATE TABLE t ();\n{comment}\nDROP TABLE t;\n");
            assert_eq!(refused_line(&text), Some(line), "{comment}");
        }
    }

    #[test]
    fn accepts_other_sections_and_quoted_ones() {
        for text in ["-- +goose Up\nSELECT 1;", "SELECT '\n-- migrate:down\n';", "-- migrate:downtime is 5 min\n"] {
            assert_eq!(refused_line(text), None, "{text}");
        }
    }
}
