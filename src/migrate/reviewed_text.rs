//! The SQL of a migration for the review of a plan.

use super::{blank::blank_lines, migration::Migration, work::Work};
use crate::{
    fault::FilePosition,
    sql::{Execution, Span, SqlChunk},
};

impl Migration {
    /// Returns the SQL that will run, in which rows of `COPY` are blank: they are no SQL. Positions are those of the
    /// file. Returns `None` if the text is not in memory, and of a migration that is only recorded.
    #[must_use]
    pub fn reviewed_text(&self) -> Option<String> {
        match self.work {
            Work::Record(_) | Work::Unrecord { .. } => None,
            Work::Apply | Work::Undo { .. } => {
                let text = self.body.in_memory()?;
                let rows = self.execution.copied_rows().into_iter().map(|rows| with_end_mark(text, rows));
                Some(blank_lines(text.to_owned(), &rows.collect::<Vec<_>>()))
            }
        }
    }

    /// Returns the place in the file of a byte of [`Self::reviewed_text`].
    #[must_use]
    pub fn reviewed_place(&self, byte: usize) -> FilePosition {
        self.replaced.restore_place(self.source().place_at_byte(byte))
    }

    /// Reports whether all of it runs in one transaction.
    #[must_use]
    pub fn runs_in_one_transaction(&self) -> bool {
        !matches!(*self.execution, Execution::PerStatement { .. })
    }
}

/// Returns the span of rows with the mark that ends them (PostgreSQL manual, COPY).
fn with_end_mark(text: &str, rows: Span) -> Span {
    let mark = if text.get(rows.end..).is_some_and(|rest| rest.starts_with("\\.")) { 2 } else { 0 };
    Span { end: rows.end + mark, ..rows }
}

impl Execution {
    /// Returns the positions of all rows of `COPY`.
    fn copied_rows(&self) -> Vec<Span> {
        let chunks: Vec<&SqlChunk> = match self {
            Self::SingleQuery => Vec::new(),
            Self::Chunked(chunks) => chunks.iter().collect(),
            Self::PerStatement { statements, .. } => {
                statements.iter().flat_map(|statement| &statement.chunks).collect()
            }
        };
        let rows = chunks.into_iter().filter_map(|chunk| match chunk {
            SqlChunk::Copy { data, .. } => Some(*data),
            SqlChunk::Query(_) => None,
        });
        rows.collect()
    }
}
