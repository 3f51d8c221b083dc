//! A migration: its name, its body, and the way it is sent.

use super::{
    body::Body,
    filled_text::Replacements,
    way_back::WayBack,
    work::{FormerRecord, UNDO_KEY, Work},
};
use crate::{
    fault::{Code, Fault, FilePosition},
    layout::{Checksum, Layout, MigrationKey},
    ledger::DatabaseState,
    run::{MigrationId, blocking::run_blocking, event::Event},
    sql::{Execution, FileCheck, Span, SqlSource, TransactionModes, split::statement_spans},
};
use std::{sync::Arc, time::Duration};

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
    pub execution: Arc<Execution>,
    /// The modes that it requests for its transaction.
    pub modes: TransactionModes,
    /// A note for the log about the way it is sent.
    pub note: Option<String>,
    /// Set if it changes its session in a way that can't be undone.
    pub leaves_traces: bool,
    /// The byte of the first statement that returns to the search path that the session began with.
    pub path_reset: Option<usize>,
    /// The checks that it demands.
    pub checks: Vec<FileCheck>,
    /// The values that took the places of placeholders in its text.
    pub replaced: Replacements,
    /// The SQL that undoes it, if there is any.
    pub way_back: Option<WayBack>,
    /// The path of its file in the directory, with `/` between its parts.
    pub relative_path: String,
    /// The work that the run does with it.
    pub work: Work,
}

impl Migration {
    /// Returns the migration of a version that has no file: only the ledger has it.
    #[must_use]
    pub fn without_file(id: MigrationId, layout: Layout) -> Self {
        Self {
            id,
            body: Body::InMemory(String::new().into()),
            checksum: layout.checksum(&[]),
            execution: Execution::SingleQuery.into(),
            modes: TransactionModes::default(),
            note: None,
            leaves_traces: false,
            path_reset: None,
            checks: Vec::new(),
            replaced: Replacements::default(),
            way_back: None,
            relative_path: String::new(),
            work: Work::Apply,
        }
    }

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
        FilePosition::of_file(self.sent_file())
    }

    /// Returns the text with its file's name, to find places in it, if it is in memory.
    pub(super) fn source(&self) -> SqlSource<'_> {
        SqlSource::of_file(self.sent_file(), self.text())
    }

    /// Returns the migration as one that is only recorded. `former` is what the ledger has about it.
    #[must_use]
    pub fn into_recorded(self, former: FormerRecord) -> Self {
        Self { work: Work::Record(former), ..self.without_statements() }
    }

    /// Returns the migration as one that is only removed from the ledger. `previous` is the version before it.
    #[must_use]
    pub fn into_unrecorded(self, former: FormerRecord, previous: Option<String>) -> Self {
        Self { work: Work::Unrecord { previous, former }, ..self.without_statements() }
    }

    fn without_statements(self) -> Self {
        Self {
            execution: Execution::SingleQuery.into(),
            modes: TransactionModes::default(),
            note: None,
            leaves_traces: false,
            path_reset: None,
            checks: Vec::new(),
            ..self
        }
    }

    /// Returns the file whose text is sent, as the user would write its path.
    #[must_use]
    pub fn sent_file(&self) -> &str {
        match (&self.work, &self.way_back) {
            (Work::Undo { .. }, Some(way_back)) => &way_back.file,
            _ => &self.id.file,
        }
    }

    /// Refuses a file that leaves the search path of its tenant: what follows would go to another schema.
    ///
    /// # Errors
    /// `statement-refused`.
    pub fn refuse_path_reset(&self) -> Result<(), Fault> {
        let Some(byte) = self.path_reset else { return Ok(()) };
        let place = match self.body.in_memory() {
            Some(_) => self.source().place_at_byte(byte),
            None => self.whole_file(),
        };
        let cause =
            "the statement returns to the search path of the session, which does not lead to the schema of the tenant";
        Err(Fault::new(Code::StatementRefused, cause)
            .fix("remove it: after each file all settings are reset")
            .in_file(place))
    }

    /// Returns the text that is sent in one message.
    pub(super) fn sent_text(&self) -> &str {
        match self.work {
            Work::Record(_) | Work::Unrecord { .. } => "",
            Work::Apply | Work::Undo { .. } => self.text(),
        }
    }

    /// Returns the key of its progress, if it runs without a transaction.
    pub(super) fn progress_key(&self) -> String {
        match self.work {
            Work::Apply | Work::Record(_) | Work::Unrecord { .. } => self.id.version.clone(),
            Work::Undo { .. } => format!("{}{UNDO_KEY}", self.id.version),
        }
    }

    /// Reports whether the work is done, according to the ledger.
    #[must_use]
    pub fn is_done_in(&self, database: &DatabaseState) -> bool {
        let ledger = database.ledger_of(&self.id.schema);
        let is_recorded = || ledger.recorded.iter().any(|row| row.records(&self.id.version, &self.checksum));
        let is_half_done = || FormerRecord::find(&self.id.version, ledger).progress_key.is_some();
        match self.work {
            Work::Apply => is_recorded(),
            Work::Record(_) => is_recorded() && !is_half_done(),
            Work::Undo { .. } => ledger.recorded.iter().all(|row| row.version != self.id.version),
            Work::Unrecord { .. } => FormerRecord::find(&self.id.version, ledger).is_empty(),
        }
    }

    /// Returns the event that the work is done.
    #[must_use]
    pub fn done_event(&self, took: Duration) -> Event {
        let index = self.id.index;
        match self.work {
            Work::Apply => Event::Applied { index, took },
            Work::Record(_) => Event::Baselined { index },
            Work::Undo { .. } => Event::RolledBack { index },
            Work::Unrecord { .. } => Event::Unrecorded { index },
        }
    }

    /// Returns the bytes that a digest of a plan covers besides the migration itself.
    #[must_use]
    pub fn undo_text(&self) -> Option<&str> {
        match (&self.work, &self.body) {
            // The digest covers the file and the values that may be shown.
            _ if !self.replaced.is_empty() => None,
            (Work::Undo { .. }, Body::InMemory(text)) => Some(text),
            _ => None,
        }
    }

    /// Returns the place of the line with this 1-based number in a part of the text.
    pub(super) async fn place_of_line(&self, part: Span, line: usize) -> FilePosition {
        match &self.body {
            Body::InMemory(text) => {
                let lines = part.slice_of(text).split_inclusive('\n');
                let before: usize = lines.take(line.saturating_sub(1)).map(str::len).sum();
                self.replaced.restore_place(self.source().place_at_byte(part.start + before))
            }
            Body::OnDisk(file) => {
                let file = Arc::clone(file);
                run_blocking(move || file.place_of_line(part, line)).await
            }
        }
    }
}
