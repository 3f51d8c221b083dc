//! A migration: its name, its body, and the way it is sent.

use super::{body::Body, way_back::WayBack};
use crate::{
    fault::FilePosition,
    layout::{Checksum, MigrationKey},
    run::{MigrationId, blocking::run_blocking},
    sql::{Execution, Span, SqlSource, TransactionModes, split::statement_spans},
};
use std::sync::Arc;

/// One migration, ready to be planned and sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Migration {
    /// Its version, name and file.
    pub id: MigrationId,
    /// The file's text.
    pub body: Body,
    /// The checksum of its content, for the ledger.
    pub checksum: Checksum,
    /// The way it is sent.
    pub execution: Execution,
    /// The modes that it requests for its transaction.
    pub modes: TransactionModes,
    /// A note for the log about the way it is sent.
    pub note: Option<String>,
    /// Set if it changes its session in a way that can't be undone.
    pub leaves_traces: bool,
    /// The SQL that undoes it, if there is any.
    pub way_back: Option<WayBack>,
    /// The path of its file in the directory, with `/` between its parts.
    pub relative_path: String,
}

impl Migration {
    /// Returns the values by which its row in the ledger is found.
    #[must_use]
    pub fn key(&self) -> MigrationKey<'_> {
        MigrationKey { version: &self.id.version, path: &self.relative_path, checksum: &self.checksum }
    }

    /// Returns its statements without their semicolons, each with the comments above it (supabase/cli,
    /// `parser.SplitAndTrim`). The text has to be in memory.
    pub(super) fn statements(&self) -> Vec<&str> {
        let text = self.text();
        let ends = statement_spans(self.source(), Span::whole(text)).map(|span| span.end);
        let mut start = 0;
        let pieces = ends.chain([text.len()]).map(|end| {
            let piece = text.get(start..end).unwrap_or_default();
            start = end;
            piece.trim().trim_end_matches(';').trim()
        });
        pieces.filter(|piece| !piece.is_empty()).collect()
    }

    /// Returns the text if it is in memory: only the text of a file in one transaction may be on disk.
    pub(super) fn text(&self) -> &str {
        self.body.in_memory().unwrap_or_default()
    }

    /// Returns the file as a whole.
    #[must_use]
    pub fn whole_file(&self) -> FilePosition {
        FilePosition::of_file(&self.id.file)
    }

    /// Returns the text with its file's name, to find places in it, if it is in memory.
    pub(super) fn source(&self) -> SqlSource<'_> {
        SqlSource::of_file(&self.id.file, self.text())
    }

    /// Returns the place of the line with this 1-based number in a part of the text.
    pub(super) async fn place_of_line(&self, part: Span, line: usize) -> FilePosition {
        match &self.body {
            Body::InMemory(text) => {
                let lines = part.slice_of(text).split_inclusive('\n');
                let before: usize = lines.take(line.saturating_sub(1)).map(str::len).sum();
                self.source().place_at_byte(part.start + before)
            }
            Body::OnDisk(file) => {
                let file = Arc::clone(file);
                run_blocking(move || file.place_of_line(part, line)).await
            }
        }
    }
}
