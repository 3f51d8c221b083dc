//! The work that a run does with a migration.

use super::{blocks::unreadable, body::Body, migration::Migration, named_file::find_opt_out, parsed_file::ParsedFile};
use crate::{
    fault::{Code, Fault},
    layout::Layout,
    ledger::LedgerState,
    run::{MigrationId, event::Event},
    sql::{Execution, TransactionModes},
};
use std::{fs, time::Duration};

/// The work that a run does with a migration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Work {
    /// Its statements are run, and it is recorded.
    Apply,
    /// It is recorded, and nothing is run.
    Record,
    /// The statements of its way back are run, and it is removed from the ledger.
    Undo {
        /// The version before it, which is then the last one.
        previous: Option<String>,
    },
}

impl Migration {
    /// Returns the migration as one that is only recorded.
    #[must_use]
    pub fn into_recorded(self) -> Self {
        Self {
            work: Work::Record,
            execution: Execution::SingleQuery,
            modes: TransactionModes::default(),
            note: None,
            leaves_traces: false,
            ..self
        }
    }

    /// Returns the migration with the statements that undo it. `previous` is the version before it.
    ///
    /// # Errors
    ///
    /// `no-way-back` if there are none, and every fault of their text.
    fn into_undone(self, layout: Layout, previous: Option<String>) -> Result<Self, Vec<Fault>> {
        let Some(way_back) = &self.way_back else {
            let cause = format!("`{}` can't be undone: it has no {}", self.id.file, layout.way_back());
            return Err(vec![Fault::new(Code::NoWayBack, cause).in_file(self.whole_file())]);
        };
        let bytes = fs::read(&way_back.path).map_err(|error| vec![unreadable(&way_back.file, &error)])?;
        let opt_out = find_opt_out(&way_back.path, layout);
        let parsed = ParsedFile::from_way_back(&way_back.file, bytes, (layout, opt_out), &way_back.sections)?;
        Ok(Self {
            body: parsed.body,
            execution: parsed.execution,
            modes: parsed.modes,
            note: parsed.note,
            leaves_traces: parsed.leaves_traces,
            work: Work::Undo { previous },
            ..self
        })
    }

    /// Returns the file whose text is sent, as the user would write its path.
    #[must_use]
    pub fn sent_file(&self) -> &str {
        match (&self.work, &self.way_back) {
            (Work::Undo { .. }, Some(way_back)) => &way_back.file,
            _ => &self.id.file,
        }
    }

    /// Returns the text that is sent in one message.
    pub(super) fn sent_text(&self) -> &str {
        match self.work {
            Work::Record => "",
            Work::Apply | Work::Undo { .. } => self.text(),
        }
    }

    /// Returns the key of its progress, if it runs without a transaction.
    pub(super) fn progress_key(&self) -> String {
        match self.work {
            Work::Apply | Work::Record => self.id.version.clone(),
            Work::Undo { .. } => format!("{}{UNDO_KEY}", self.id.version),
        }
    }

    /// Reports whether the work is done, according to the ledger.
    #[must_use]
    pub fn is_done_in(&self, ledger: &LedgerState) -> bool {
        let mut rows = ledger.recorded.iter();
        match self.work {
            Work::Apply | Work::Record => rows.any(|row| row.records(&self.id.version, &self.checksum)),
            Work::Undo { .. } => rows.all(|row| row.version != self.id.version),
        }
    }

    /// Returns the event that the work is done.
    #[must_use]
    pub fn done_event(&self, took: Duration) -> Event {
        let index = self.id.index;
        match self.work {
            Work::Apply => Event::Applied { index, took },
            Work::Record => Event::Baselined { index },
            Work::Undo { .. } => Event::RolledBack { index },
        }
    }

    /// Returns the bytes that a digest of a plan covers besides the migration itself.
    #[must_use]
    pub fn undo_text(&self) -> Option<&str> {
        match (&self.work, &self.body) {
            (Work::Undo { .. }, Body::InMemory(text)) => Some(text),
            _ => None,
        }
    }
}

/// Reads the ways back of these migrations; each has the version before it.
///
/// # Errors
///
/// `no-way-back` for each that has none, and every fault of their texts.
pub fn read_ways_back(
    migrations: Vec<(Migration, Option<String>)>,
    layout: Layout,
) -> Result<Vec<Migration>, Vec<Fault>> {
    let (mut undone, mut faults) = (Vec::new(), Vec::new());
    for (index, (migration, previous)) in (1..).zip(migrations) {
        let migration = Migration { id: MigrationId { index, ..migration.id.clone() }, ..migration };
        undone.extend(migration.into_undone(layout, previous).map_err(|found| faults.extend(found)));
    }
    if faults.is_empty() { Ok(undone) } else { Err(faults) }
}

/// The end of the key of a progress row for a way back; no version ends like this.
pub(super) const UNDO_KEY: &str = " down";
