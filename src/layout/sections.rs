//! The sections of a file: the one that applies the migration, and the one that undoes it. A mark is a line that is a
//! comment for the server.

use std::ops::Range;

/// The sections of a file's text, in bytes. All that is in no other section applies the migration.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sections {
    /// The sections that undo the migration, in the order in which they stand.
    pub downs: Vec<Range<usize>>,
    /// The line that opts the file out of its transaction.
    pub opt_out: Option<Range<usize>>,
}

impl Sections {
    /// Returns the text that applies the migration: the other sections are blank, or cut off at the end, so that
    /// positions stay the same.
    #[must_use]
    pub fn keep_up(&self, mut text: String) -> String {
        for down in self.downs.iter().rev() {
            if down.end == text.len() {
                text.truncate(down.start);
            } else {
                let blank = text.get(down.clone()).unwrap_or_default();
                let blank: String = blank.bytes().map(|byte| if byte == b'\n' { '\n' } else { ' ' }).collect();
                text.replace_range(down.clone(), &blank);
            }
        }
        text
    }
}

/// The reason why a file's sections can't be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SectionProblem {
    /// The kind.
    pub kind: SectionProblemKind,
    /// The cause, to follow the file's name in a sentence.
    pub cause: String,
    /// The remedy.
    pub fix: String,
    /// The byte at which it stands.
    pub at: usize,
}

/// The kinds of problems.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SectionProblemKind {
    /// A mark is missing, unknown, or in a wrong place.
    Marks,
    /// The text is a template that the tool fills in.
    Template,
}

impl SectionProblem {
    /// Creates a problem with a mark.
    pub(super) fn of_marks(cause: impl Into<String>, fix: impl Into<String>, at: usize) -> Self {
        Self { kind: SectionProblemKind::Marks, cause: cause.into(), fix: fix.into(), at }
    }

    /// Creates a problem with a template.
    pub(super) fn of_template(cause: impl Into<String>, fix: impl Into<String>, at: usize) -> Self {
        Self { kind: SectionProblemKind::Template, cause: cause.into(), fix: fix.into(), at }
    }
}

/// A line of a text, without its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Line<'a> {
    /// The text.
    pub(super) text: &'a str,
    /// Its bytes in the whole text, with its end.
    pub(super) range: Range<usize>,
}

/// Returns the lines of a text.
pub(super) fn lines(text: &str) -> impl Iterator<Item = Line<'_>> {
    let mut start = 0;
    text.split_inclusive('\n').map(move |line| {
        let range = start..start + line.len();
        start = range.end;
        Line { text: line.trim_end_matches(['\n', '\r']), range }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sections_that_undo_are_blank_or_cut_off() {
        let sections = Sections { downs: vec![2..6, 8..10], opt_out: None };
        assert_eq!(sections.keep_up("a;bé\nc;de".to_owned()), "a;   \nc;");
    }

    #[test]
    fn lines_have_their_ends_in_the_range_only() {
        let found: Vec<_> = lines("a\r\n\nbc").map(|line| (line.text, line.range)).collect();
        assert_eq!(found, [("a", 0..3), ("", 3..4), ("bc", 4..6)]);
        assert_eq!(lines("").count(), 0);
    }
}
