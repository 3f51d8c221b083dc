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
        begun: MigrationStarted,
        at: Instant,
        clock: ClockPrecision,
    ) -> Vec<EndedMigration> {
        let over = self.take_matching(|open| open.migration.schema == begun.schema);
        self.running.push(RunningMigration { migration: begun, started_at: at, clock });
        over.into_iter().map(|open| open.into_ended(Some(at))).collect()
    }

    /// Records an end that the tool reports: of the only running migration, if the report names none.
    pub(super) fn finish_migration(&mut self, done: &Done, at: Instant) -> Option<EndedMigration> {
        let is_it = |open: &RunningMigration| {
            let named = done.name.is_empty() || open.migration.name == done.name;
            named && (done.schema.is_none() || open.migration.schema == done.schema)
        };
        let mut over = self.take_matching(is_it).into_iter();
        let (first, others) = (over.next()?, over.count());
        let over = first.into_ended((others == 0).then_some(at));
        Some(EndedMigration { took: done.took.or(over.took), ..over })
    }

    /// Records the exit of the tool: a migration that still runs ended with the last response of the database, if there
    /// was one.
    pub(super) fn finish_all(&mut self, answered: Option<Instant>) -> Vec<EndedMigration> {
        let over = std::mem::take(&mut self.running);
        // With several running, the response can't be assigned.
        let answered = answered.filter(|_| over.len() == 1);
        over.into_iter().map(|open| open.into_ended(answered)).collect()
    }

    fn take_matching(&mut self, is_it: impl Fn(&RunningMigration) -> bool) -> Vec<RunningMigration> {
        let (over, open) = std::mem::take(&mut self.running).into_iter().partition(is_it);
        self.running = open;
        over
    }
}

impl RunningMigration {
    fn into_ended(self, end: Option<Instant>) -> EndedMigration {
        let shortest = match self.clock {
            ClockPrecision::Exact => MIN_EXACT_DURATION,
            ClockPrecision::Coarse => MIN_POLLED_DURATION,
        };
        let took = end.and_then(|end| end.checked_duration_since(self.started_at)).filter(|took| *took >= shortest);
        EndedMigration { migration: self.migration, took }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn begun(name: &str, schema: Option<&str>) -> MigrationStarted {
        MigrationStarted { name: name.to_owned(), schema: schema.map(ToOwned::to_owned) }
    }

    fn done(name: &str, took: Option<u64>) -> Done {
        Done { name: name.to_owned(), schema: None, took: took.map(Duration::from_millis) }
    }

    fn took(over: impl IntoIterator<Item = EndedMigration>) -> Vec<(String, Option<u128>)> {
        over.into_iter().map(|over| (over.migration.name, over.took.map(|took| took.as_millis()))).collect()
    }

    fn one(name: &str, took: Option<u128>) -> Vec<(String, Option<u128>)> {
        vec![(name.to_owned(), took)]
    }

    #[test]
    fn a_migration_ends_with_the_tools_report_or_the_next_start_or_the_last_response() {
        let (start, mut course) = (Instant::now(), RunningMigrations::default());
        let at = |millis| start + Duration::from_millis(millis);
        assert_eq!(took(course.start_migration(begun("a", None), at(0), ClockPrecision::Exact)), []);
        assert_eq!(took(course.finish_migration(&done("a", None), at(26))), one("a", Some(26)));
        assert_eq!(
            took(course.start_migration(begun("b", None), at(900), ClockPrecision::Exact)),
            [],
            "the pause belongs to no migration"
        );
        assert_eq!(took(course.start_migration(begun("c", None), at(930), ClockPrecision::Exact)), one("b", Some(30)));
        assert_eq!(
            took(course.finish_migration(&done("", Some(7)), at(990))),
            one("c", Some(7)),
            "the tool reports the duration"
        );
        course.start_migration(begun("d", None), at(1_000), ClockPrecision::Exact);
        assert_eq!(took(course.finish_all(Some(at(1_026)))), one("d", Some(26)));
        course.start_migration(begun("e", None), at(2_000), ClockPrecision::Exact);
        assert_eq!(
            took(course.finish_all(Some(at(1_026)))),
            one("e", None),
            "a response before the start does not count"
        );
        course.start_migration(begun("f", None), at(3_000), ClockPrecision::Exact);
        assert_eq!(took(course.finish_all(None)), one("f", None));
    }

    #[test]
    fn an_unknown_duration_is_none() {
        let (start, mut course) = (Instant::now(), RunningMigrations::default());
        let at = |millis| start + Duration::from_millis(millis);
        course.start_migration(begun("a", None), at(0), ClockPrecision::Exact);
        assert_eq!(took(course.finish_migration(&done("a", None), at(0))), one("a", None), "both came in one chunk");
        for (pause, expected) in [(213, None), (7_000, Some(7_000))] {
            course.start_migration(begun("b", None), at(0), ClockPrecision::Coarse);
            assert_eq!(
                took(course.finish_migration(&done("b", None), at(pause))),
                one("b", expected),
                "the pause between two polls"
            );
        }
        course.start_migration(begun("c", Some("t1")), at(0), ClockPrecision::Exact);
        assert_eq!(
            took(course.start_migration(begun("c", Some("t2")), at(5), ClockPrecision::Exact)),
            [],
            "t1 still runs"
        );
        assert_eq!(
            took(course.finish_migration(&done("", None), at(9))),
            one("c", None),
            "the report names neither of the two"
        );
        assert_eq!(course.finish_migration(&done("x", None), at(9)), None);
    }
}
