//! The schema before and after a run: reading it, and reporting the changes.

use crate::{
    fault::Fault,
    postgres::{Session, query_rows, wait::answer_within},
    run::event::{Event, Events},
    schema::{SchemaDescription, changes_of_run, description_query},
    settings::{Command, Settings},
};
use std::{cell::RefCell, time::Duration};

/// Maximum number of changes in the report, and of their bytes together.
const MAX_CHANGES: usize = 1_000;
const MAX_CHANGE_BYTES: usize = 128 << 10;

/// The schema before and after a run, or the reasons why they are not known.
#[derive(Debug, Default)]
pub(super) struct SchemaReadings {
    before: RefCell<Option<Result<SchemaDescription, Fault>>>,
    after: RefCell<Option<Result<SchemaDescription, Fault>>>,
}

impl SchemaReadings {
    /// Reads the schema before the work, once, if the command may change it.
    pub(super) async fn read_before(&self, session: &Session, settings: &Settings) {
        if may_change_schema(settings) && self.before.borrow().is_none() {
            let reading = read_schema(session, settings.wait_timeout).await;
            self.before.replace(Some(reading));
        }
    }

    /// Reads the schema after the work, if it was read before.
    pub(super) async fn read_after(&self, session: &Session, settings: &Settings) {
        if self.before.borrow().as_ref().is_some_and(Result::is_ok) {
            let reading = read_schema(session, settings.wait_timeout).await;
            self.after.replace(Some(reading));
        }
    }

    /// Reads the schema in a query that is sent with the work, before it is known whether it was read before it.
    pub(super) async fn read_behind_work(&self, session: &Session, settings: &Settings) {
        if may_change_schema(settings) {
            let reading = read_schema(session, settings.wait_timeout).await;
            self.after.replace(Some(reading));
        }
    }

    /// Reports the changes, or why they are not known.
    pub(super) fn report_changes(&self, events: &Events) {
        let (before, after) = (self.before.borrow(), self.after.borrow());
        match (before.as_ref(), after.as_ref()) {
            (Some(Ok(before)), Some(Ok(after))) => {
                let changes = changes_of_run(before, after).into_iter().map(|change| change.lines.join("\n"));
                let changes = bounded_changes(changes.collect(), events);
                if !changes.is_empty() {
                    events.emit(Event::SchemaChanged { changes });
                }
            }
            (Some(Err(fault)), _) | (_, Some(Err(fault))) => {
                events.emit_note(format!("the changes of the schema are not shown: {}", fault.cause));
            }
            (None, _) | (Some(Ok(_)), None) => {}
        }
    }

    /// Returns the schema as it is now.
    ///
    /// # Errors
    /// `schema-unknown`, or the lost connection.
    pub(super) async fn current_schema(
        &self,
        session: &Session,
        settings: &Settings,
    ) -> Result<SchemaDescription, Fault> {
        match self.after.take() {
            Some(Ok(after)) => Ok(after),
            _ => read_schema(session, settings.wait_timeout).await,
        }
    }
}

/// Returns whether the command may change the schema; a baseline only writes the ledger.
fn may_change_schema(settings: &Settings) -> bool {
    matches!(settings.command, Command::Migrate | Command::Rollback)
}

async fn read_schema(session: &Session, wait: Duration) -> Result<SchemaDescription, Fault> {
    match answer_within(wait, query_rows(&session.client, &description_query())).await {
        Ok(rows) => SchemaDescription::from_rows(&rows),
        Err(fault) if fault.code.ends_session() => Err(fault),
        Err(fault) => Err(SchemaDescription::unknown_fault(&fault)),
    }
}

/// Returns as many changes as a report has room for, without secrets, and the number of the others as a sentence.
fn bounded_changes(changes: Vec<String>, events: &Events) -> Vec<String> {
    let (count, mut bytes, mut kept) = (changes.len(), 0, Vec::new());
    for change in changes.into_iter().take(MAX_CHANGES) {
        let change = events.redactor().redact(&change).into_owned();
        bytes += change.len();
        if bytes > MAX_CHANGE_BYTES {
            break;
        }
        kept.push(change);
    }
    if kept.len() < count {
        kept.push(format!("{} more changes are not shown: there is no room for them", count - kept.len()));
    }
    kept
}
