//! Checks that a file demands around its own statements: `-- check before: select …` and `-- check after: select …`.

use super::{lexer::line_comments, phrase::Phrase};

/// A query whose rows have to be true.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileCheck {
    /// The moment at which it is made.
    pub moment: CheckMoment,
    /// The query.
    pub query: String,
    /// The 1-based line of the comment.
    pub line: usize,
}

/// The moment of a check, in the file's transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CheckMoment {
    /// Before the file's first statement.
    Before,
    /// After its last one.
    After,
}

/// The beginnings of the comments, compared without regard to case and spacing.
const MARKS: [(&str, CheckMoment); 2] = [("check before:", CheckMoment::Before), ("check after:", CheckMoment::After)];

/// A check and its byte in the text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FoundCheck {
    pub(super) moment: CheckMoment,
    pub(super) query: String,
    pub(super) byte: usize,
}

/// Returns the checks in a text. A comment counts only if a query follows its mark: prose may begin with the same words.
pub(super) fn find_checks(text: &str) -> impl Iterator<Item = FoundCheck> {
    line_comments(text).filter_map(move |token| {
        let comment = token.span.slice_of(text).trim_start_matches('-');
        let (mark, query) = comment.split_at_checked(comment.find(':')? + 1)?;
        let mark = mark.split_whitespace().collect::<Vec<_>>().join(" ").to_ascii_lowercase();
        let moment = MARKS.iter().find(|(name, _)| *name == mark).map(|(_, moment)| *moment)?;
        let query = query.trim().trim_end_matches(';').trim_end();
        let is_query = ["select", "with", "values", "table"].into_iter().any(|word| Phrase::new(query).eat(word));
        is_query.then(|| FoundCheck { moment, query: query.to_owned(), byte: token.span.start })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Vec<(CheckMoment, String)> {
        find_checks(text).map(|check| (check.moment, check.query)).collect()
    }

    #[test]
    fn a_comment_with_a_query_is_a_check() {
        let text = "-- check before: select count(*) = 0 from t;\nDROP TABLE t; --Check  After :x\n\
                    --  CHECK AFTER:\tWITH a AS (SELECT true) TABLE a\r\n";
        assert_eq!(
            found(text),
            [
                (CheckMoment::Before, "select count(*) = 0 from t".to_owned()),
                (CheckMoment::After, "WITH a AS (SELECT true) TABLE a".to_owned()),
            ]
        );
    }

    #[test]
    fn prose_strings_and_other_comments_are_no_checks() {
        for text in [
            "-- check after: the index has to be there",
            "-- check before the deploy: select a time",
            "SELECT '\n-- check after: select true\n'",
            "/* check after: select true */",
            "-- check after: selected rows",
        ] {
            assert_eq!(found(text), [], "{text}");
        }
    }
}
