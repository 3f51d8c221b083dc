//! Start and end times of a tool's migrations, as far as they can be seen. A migration ends when the tool reports it,
//! or else when the next one starts, or else with the last response of the database. The exit of the tool is no end of
//! a migration.

use crate::{
    run::event::ClockPrecision,
    tool::{Done, MigrationStarted},
};
use std::time::{Duration, Instant};

/// Minimum duration that is reported for polled output: it is polled up to once a second, so a shorter duration is
/// mostly the pause between two polls.
const MIN_POLLED_DURATION: Duration = Duration::from_secs(5);

/// Minimum duration that is reported for streamed output: two lines that arrive in one chunk have no time between them.
const MIN_EXACT_DURATION: Duration = Duration::from_millis(1);

/// The running migrations.
#[derive(Debug, Default)]
pub(super) struct RunningMigrations {
    running: Vec<RunningMigration>,
}

#[derive(Debug)]
struct RunningMigration {
    migration: MigrationStarted,
    started_at: Instant,
    clock: ClockPrecision,
}

/// A migration that has ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct EndedMigration {
    pub(super) migration: MigrationStarted,
    /// `None` if it is not known.
    pub(super) took: Option<Duration>,
}

impl RunningMigrations {
    /// Records the start of a migration, which ends the previous one in its schema. Tools may work on several schemas
    /// at once.
    pub(super) fn start_migration(
        &mut self,
        migration: MigrationStarted,
        now: Instant,
        clock: ClockPrecision,
    ) -> Vec<EndedMigration> {
        let ended = self.take_matching(|running| running.migration.schema == migration.schema);
        self.running.push(RunningMigration { migration, started_at: now, clock });
        ended.into_iter().map(|running| running.into_ended(Some(now))).collect()
    }

    /// Records an end that the tool reports: of the only running migration, if the report names none.
    pub(super) fn finish_migration(&mut self, done: &Done, now: Instant) -> Option<EndedMigration> {
        let is_finished = |running: &RunningMigration| {
            let has_name = done.name.is_empty() || running.migration.name == done.name;
            has_name && (done.schema.is_none() || running.migration.schema == done.schema)
        };
        let mut ended = self.take_matching(is_finished).into_iter();
        let (first, others) = (ended.next()?, ended.count());
        let ended = first.into_ended((others == 0).then_some(now));
        Some(EndedMigration { took: done.took.or(ended.took), ..ended })
    }

    /// Records the exit of the tool: a migration that still runs ended with the last response of the database, if there
    /// was one.
    pub(super) fn finish_all(&mut self, last_response_at: Option<Instant>) -> Vec<EndedMigration> {
        let ended = std::mem::take(&mut self.running);
        // With several running, the response can't be assigned.
        let last_response_at = last_response_at.filter(|_| ended.len() == 1);
        ended.into_iter().map(|running| running.into_ended(last_response_at)).collect()
    }

    fn take_matching(&mut self, predicate: impl Fn(&RunningMigration) -> bool) -> Vec<RunningMigration> {
        let (matching, rest) = std::mem::take(&mut self.running).into_iter().partition(predicate);
        self.running = rest;
        matching
    }
}

impl RunningMigration {
    fn into_ended(self, end: Option<Instant>) -> EndedMigration {
        let shortest = match self.clock {
            ClockPrecision::Exact => MIN_EXACT_DURATION,
            ClockPrecision::Coarse => MIN_POLLED_DURATION,
        };
        let duration =
            end.and_then(|end| end.checked_duration_since(self.started_at)).filter(|duration| *duration >= shortest);
        EndedMigration { migration: self.migration, took: duration }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn started(name: &str, schema: Option<&str>) -> MigrationStarted {
        MigrationStarted { name: name.to_owned(), schema: schema.map(ToOwned::to_owned) }
    }

    fn done(name: &str, millis: Option<u64>) -> Done {
        Done { name: name.to_owned(), schema: None, took: millis.map(Duration::from_millis) }
    }

    fn names_and_millis(ended: impl IntoIterator<Item = EndedMigration>) -> Vec<(String, Option<u128>)> {
        ended.into_iter().map(|ended| (ended.migration.name, ended.took.map(|duration| duration.as_millis()))).collect()
    }

    fn ended_after(name: &str, millis: Option<u128>) -> Vec<(String, Option<u128>)> {
        vec![(name.to_owned(), millis)]
    }

    #[test]
    fn a_migration_ends_with_the_tools_report_or_the_next_start_or_the_last_response() {
        let (start, mut migrations) = (Instant::now(), RunningMigrations::default());
        let instant = |millis| start + Duration::from_millis(millis);
        assert_eq!(
            names_and_millis(migrations.start_migration(started("a", None), instant(0), ClockPrecision::Exact)),
            []
        );
        assert_eq!(
            names_and_millis(migrations.finish_migration(&done("a", None), instant(26))),
            ended_after("a", Some(26))
        );
        assert_eq!(
            names_and_millis(migrations.start_migration(started("b", None), instant(900), ClockPrecision::Exact)),
            [],
            "the pause belongs to no migration"
        );
        assert_eq!(
            names_and_millis(migrations.start_migration(started("c", None), instant(930), ClockPrecision::Exact)),
            ended_after("b", Some(30))
        );
        assert_eq!(
            names_and_millis(migrations.finish_migration(&done("", Some(7)), instant(990))),
            ended_after("c", Some(7)),
            "the tool reports the duration"
        );
        migrations.start_migration(started("d", None), instant(1_000), ClockPrecision::Exact);
        assert_eq!(names_and_millis(migrations.finish_all(Some(instant(1_026)))), ended_after("d", Some(26)));
        migrations.start_migration(started("e", None), instant(2_000), ClockPrecision::Exact);
        assert_eq!(
            names_and_millis(migrations.finish_all(Some(instant(1_026)))),
            ended_after("e", None),
            "a response before the start does not count"
        );
        migrations.start_migration(started("f", None), instant(3_000), ClockPrecision::Exact);
        assert_eq!(names_and_millis(migrations.finish_all(None)), ended_after("f", None));
    }

    #[test]
    fn an_unknown_duration_is_none() {
        let (start, mut migrations) = (Instant::now(), RunningMigrations::default());
        let instant = |millis| start + Duration::from_millis(millis);
        migrations.start_migration(started("a", None), instant(0), ClockPrecision::Exact);
        assert_eq!(
            names_and_millis(migrations.finish_migration(&done("a", None), instant(0))),
            ended_after("a", None),
            "both came in one chunk"
        );
        for (pause, expected) in [(213, None), (7_000, Some(7_000))] {
            migrations.start_migration(started("b", None), instant(0), ClockPrecision::Coarse);
            assert_eq!(
                names_and_millis(migrations.finish_migration(&done("b", None), instant(pause))),
                ended_after("b", expected),
                "the pause between two polls"
            );
        }
        migrations.start_migration(started("c", Some("t1")), instant(0), ClockPrecision::Exact);
        assert_eq!(
            names_and_millis(migrations.start_migration(started("c", Some("t2")), instant(5), ClockPrecision::Exact)),
            [],
            "t1 still runs"
        );
        assert_eq!(
            names_and_millis(migrations.finish_migration(&done("", None), instant(9))),
            ended_after("c", None),
            "the report names neither of the two"
        );
        assert_eq!(migrations.finish_migration(&done("x", None), instant(9)), None);
    }
}
