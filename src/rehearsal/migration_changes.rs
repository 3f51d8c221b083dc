//! The changes of the schema by each migration, as far as the schema is described at its end: one description of a large schema
//! takes a second, so there is only so much time for all.

use crate::{
    run::{MigrationChanges, MigrationId},
    schema::{SchemaDescription, changes_of_run},
};
use std::time::Duration;

/// The time for the descriptions at the ends of migrations in one run.
const TIME: Duration = Duration::from_secs(5);

/// The most descriptions in one run.
const MAX_DESCRIPTIONS: u32 = 500;

/// The most changed lines of one entry, and of all.
const MAX_LINES: usize = 50;
const MAX_ALL_LINES: usize = 500;

/// Returns the number of descriptions for which there is time, if one takes this long.
pub(super) fn affordable_descriptions(took: Duration) -> u32 {
    let affordable = TIME.as_micros() / took.as_micros().max(1);
    u32::try_from(affordable).unwrap_or(u32::MAX).min(MAX_DESCRIPTIONS)
}

/// Returns whether there is time for another description after these.
pub(super) fn is_affordable(spent: Duration) -> bool {
    spent < TIME
}

/// The schema at the ends of migrations.
#[derive(Debug)]
pub(super) struct SchemaAtEnds {
    last: SchemaDescription,
    /// The migrations since it was described.
    since: Vec<MigrationId>,
    lines: usize,
    changes: Vec<MigrationChanges>,
}

impl SchemaAtEnds {
    /// Begins with the schema before the first migration.
    pub(super) fn new(first: SchemaDescription) -> Self {
        Self { last: first, since: Vec::new(), lines: 0, changes: Vec::new() }
    }

    /// Notes the end of a migration.
    pub(super) fn end_migration(&mut self, id: &MigrationId) {
        self.since.push(id.clone());
    }

    /// Takes the schema after the migrations that have ended since the last description.
    pub(super) fn take(&mut self, schema: SchemaDescription) {
        if self.since.is_empty() {
            return;
        }
        let changes = changes_of_run(&self.last, &schema);
        let lines: Vec<String> = changes.into_iter().flat_map(|change| change.lines).collect();
        self.last = schema;
        let migrations = std::mem::take(&mut self.since);
        if lines.is_empty() {
            return;
        }
        let shown = MAX_LINES.min(MAX_ALL_LINES.saturating_sub(self.lines)).min(lines.len());
        self.lines += shown;
        let omitted = lines.len() - shown;
        self.changes.push(MigrationChanges { migrations, lines: lines.into_iter().take(shown).collect(), omitted });
    }

    /// Returns the changes, in the order of the migrations.
    pub(super) fn into_changes(self) -> Vec<MigrationChanges> {
        self.changes
    }

    /// Returns the changes so far, in the order of the migrations.
    pub(super) fn changes(&self) -> &[MigrationChanges] {
        &self.changes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::postgres::{RowTag, Rows};

    fn schema(tables: u32) -> SchemaDescription {
        let rows: Rows = (0..tables)
            .map(|number| {
                let (address, head) = (format!("a{number}"), format!("CREATE TABLE t{number} ()"));
                RowTag::SchemaStatement.row(&["80", &address, "", &head, "", "", ""])
            })
            .collect();
        SchemaDescription::from_rows(&rows).expect("the rows are those of a schema")
    }

    fn id(name: &str) -> MigrationId {
        MigrationId { name: name.to_owned(), ..MigrationId::default() }
    }

    #[test]
    fn migrations_without_a_description_of_their_own_are_one_entry_with_the_next_one() {
        let mut ends = SchemaAtEnds::new(schema(1));
        ends.end_migration(&id("a"));
        ends.take(schema(2));
        ends.end_migration(&id("b"));
        ends.end_migration(&id("c"));
        ends.take(schema(2 + 60));
        ends.end_migration(&id("d"));
        ends.take(schema(2 + 60));
        let found: Vec<(Vec<&str>, usize, usize)> = ends
            .changes()
            .iter()
            .map(|entry| {
                let names = entry.migrations.iter().map(|id| id.name.as_str()).collect();
                (names, entry.lines.len(), entry.omitted)
            })
            .collect();
        assert_eq!(found, [(vec!["a"], 1, 0), (vec!["b", "c"], 50, 10)]);
        assert_eq!(ends.changes()[0].lines, ["+ CREATE TABLE t1 ()"]);
    }

    #[test]
    fn there_is_time_for_few_descriptions_of_a_large_schema() {
        let affordable = [1, 50, 900, 6_000].map(|millis| affordable_descriptions(Duration::from_millis(millis)));
        assert_eq!(affordable, [500, 100, 5, 0]);
    }
}
