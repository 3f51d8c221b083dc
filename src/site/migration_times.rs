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
const LOOKED_FOR: Duration = Duration::from_secs(5);

/// Minimum duration that is reported for streamed output: two lines that arrive in one chunk have no time between them.
const PIECE: Duration = Duration::from_millis(1);

/// The running migrations.
#[derive(Debug, Default)]
pub(super) struct Course {
    open: Vec<Open>,
}

#[derive(Debug)]
struct Open {
    begun: MigrationStarted,
    at: Instant,
    clock: ClockPrecision,
}

/// A migration that has ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Over {
    pub(super) begun: MigrationStarted,
    /// `None` if it is not known.
    pub(super) took: Option<Duration>,
}

impl Course {
    /// Records the start of a migration, which ends the previous one in its schema. Tools may work on several schemas
    /// at once.
    pub(super) fn begin(&mut self, begun: MigrationStarted, at: Instant, clock: ClockPrecision) -> Vec<Over> {
        let over = self.take(|open| open.begun.schema == begun.schema);
        self.open.push(Open { begun, at, clock });
        over.into_iter().map(|open| open.over(Some(at))).collect()
    }

    /// Records an end that the tool reports: of the only running migration, if the report names none.
    pub(super) fn end(&mut self, done: &Done, at: Instant) -> Option<Over> {
        let is_it = |open: &Open| {
            let named = done.name.is_empty() || open.begun.name == done.name;
            named && (done.schema.is_none() || open.begun.schema == done.schema)
        };
        let mut over = self.take(is_it).into_iter();
        let (first, others) = (over.next()?, over.count());
        let over = first.over((others == 0).then_some(at));
        Some(Over { took: done.took.or(over.took), ..over })
    }

    /// Records the exit of the tool: a migration that still runs ended with the last response of the database, if there
    /// was one.
    pub(super) fn rest(&mut self, answered: Option<Instant>) -> Vec<Over> {
        let over = std::mem::take(&mut self.open);
        // With several running, the response can't be assigned.
        let answered = answered.filter(|_| over.len() == 1);
        over.into_iter().map(|open| open.over(answered)).collect()
    }

    fn take(&mut self, is_it: impl Fn(&Open) -> bool) -> Vec<Open> {
        let (over, open) = std::mem::take(&mut self.open).into_iter().partition(is_it);
        self.open = open;
        over
    }
}

impl Open {
    fn over(self, end: Option<Instant>) -> Over {
        let shortest = match self.clock {
            ClockPrecision::Exact => PIECE,
            ClockPrecision::Coarse => LOOKED_FOR,
        };
        let took = end.and_then(|end| end.checked_duration_since(self.at)).filter(|took| *took >= shortest);
        Over { begun: self.begun, took }
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

    fn took(over: impl IntoIterator<Item = Over>) -> Vec<(String, Option<u128>)> {
        over.into_iter().map(|over| (over.begun.name, over.took.map(|took| took.as_millis()))).collect()
    }

    fn one(name: &str, took: Option<u128>) -> Vec<(String, Option<u128>)> {
        vec![(name.to_owned(), took)]
    }

    #[test]
    fn a_migration_ends_with_the_tools_report_or_the_next_start_or_the_last_response() {
        let (start, mut course) = (Instant::now(), Course::default());
        let at = |millis| start + Duration::from_millis(millis);
        assert_eq!(took(course.begin(begun("a", None), at(0), ClockPrecision::Exact)), []);
        assert_eq!(took(course.end(&done("a", None), at(26))), one("a", Some(26)));
        assert_eq!(
            took(course.begin(begun("b", None), at(900), ClockPrecision::Exact)),
            [],
            "the pause belongs to no migration"
        );
        assert_eq!(took(course.begin(begun("c", None), at(930), ClockPrecision::Exact)), one("b", Some(30)));
        assert_eq!(took(course.end(&done("", Some(7)), at(990))), one("c", Some(7)), "the tool reports the duration");
        course.begin(begun("d", None), at(1_000), ClockPrecision::Exact);
        assert_eq!(took(course.rest(Some(at(1_026)))), one("d", Some(26)));
        course.begin(begun("e", None), at(2_000), ClockPrecision::Exact);
        assert_eq!(took(course.rest(Some(at(1_026)))), one("e", None), "a response before the start does not count");
        course.begin(begun("f", None), at(3_000), ClockPrecision::Exact);
        assert_eq!(took(course.rest(None)), one("f", None));
    }

    #[test]
    fn an_unknown_duration_is_none() {
        let (start, mut course) = (Instant::now(), Course::default());
        let at = |millis| start + Duration::from_millis(millis);
        course.begin(begun("a", None), at(0), ClockPrecision::Exact);
        assert_eq!(took(course.end(&done("a", None), at(0))), one("a", None), "both came in one chunk");
        for (pause, expected) in [(213, None), (7_000, Some(7_000))] {
            course.begin(begun("b", None), at(0), ClockPrecision::Coarse);
            assert_eq!(
                took(course.end(&done("b", None), at(pause))),
                one("b", expected),
                "the pause between two polls"
            );
        }
        course.begin(begun("c", Some("t1")), at(0), ClockPrecision::Exact);
        assert_eq!(took(course.begin(begun("c", Some("t2")), at(5), ClockPrecision::Exact)), [], "t1 still runs");
        assert_eq!(took(course.end(&done("", None), at(9))), one("c", None), "the report names neither of the two");
        assert_eq!(course.end(&done("x", None), at(9)), None);
    }
}
