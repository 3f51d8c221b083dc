//! The events about migrations, folded into the report.

use super::{
    entries::{MigrationReport, MigrationState},
    run_report::{RunReport, whole_millis},
};
use crate::run::{
    MigrationId,
    event::{ClockPrecision, Event},
};

impl RunReport {
    /// Adds an event about a migration.
    pub(super) fn fold_migration_event(&mut self, event: &Event, now: u64) {
        match event {
            Event::Started(id) => {
                self.set_state(id.index, MigrationState::Running, |entry| entry.started_ms = Some(now));
            }
            Event::StatementDone { index, number: done, of } | Event::Resumed { index, done, of } => {
                let entry = self.migrations.iter_mut().find(|entry| entry.id.index == *index);
                entry.into_iter().for_each(|entry| entry.statements = Some((*done, *of)));
            }
            Event::Applied { index, took } => {
                self.set_state(*index, MigrationState::Applied, |entry| entry.took_ms = Some(whole_millis(*took)));
            }
            Event::Baselined { index } => self.set_state(*index, MigrationState::Applied, |_| ()),
            Event::RolledBack { index } => self.set_state(*index, MigrationState::RolledBack, |_| ()),
            Event::Unrecorded { index } => self.set_state(*index, MigrationState::Unrecorded, |_| ()),
            Event::Failed { index } => self.set_state(*index, MigrationState::Failed, |_| ()),
            Event::Cancelled { index } => self.set_state(*index, MigrationState::Cancelled, |_| ()),
            Event::LostInCrash { index } => {
                self.set_state(*index, MigrationState::Pending, |entry| entry.took_ms = None);
            }
            Event::InDoubt { index } => self.set_state(*index, MigrationState::InDoubt, |_| ()),
            Event::ToolMigrationStarted { name, schema, clock } => {
                if let Some(entry) = self.find_by_tool_name(name, schema.as_ref()) {
                    let started = (*clock == ClockPrecision::Exact).then_some(now);
                    (entry.fate, entry.started_ms, entry.took_ms) = (MigrationState::Running, started, None);
                }
            }
            Event::Ended { name, schema, took } => {
                if let Some(entry) = self.find_by_tool_name(name, schema.as_ref()) {
                    entry.took_ms = took.map(whole_millis);
                }
            }
            Event::Unplanned(id) => {
                let place = self.migrations.partition_point(|entry| entry.id.index < id.index);
                self.migrations.insert(place, MigrationReport::new_pending(id));
            }
            Event::SchemaAssigned { index, schema } => {
                if let Some(entry) = self.migrations.iter_mut().find(|entry| entry.id.index == *index) {
                    entry.id.schema.clone_from(schema);
                }
            }
            Event::Recorded { index, took } => {
                self.set_state(*index, MigrationState::Applied, |entry| {
                    entry.took_ms = took.map(whole_millis).or(entry.took_ms);
                });
            }
            _ => {}
        }
    }

    /// Returns the migration with this name of the tool, in this schema.
    fn find_by_tool_name(&mut self, name: &str, schema: Option<&String>) -> Option<&mut MigrationReport> {
        let is_it = |id: &MigrationId| id.name == name && (id.schema.is_empty() || Some(&id.schema) == schema);
        self.migrations.iter_mut().find(|entry| is_it(&entry.id))
    }

    fn set_state(&mut self, index: usize, fate: MigrationState, change: impl FnOnce(&mut MigrationReport)) {
        if let Some(entry) = self.migrations.iter_mut().find(|entry| entry.id.index == index) {
            entry.fate = fate;
            change(entry);
        }
    }
}
