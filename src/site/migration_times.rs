//! When the migrations of a tool begin and end, as far as that is heard: the end as the tool itself tells it, or else the beginning
//! of the next, or else the last answer of the database. The end of the tool says nothing of a migration.

use crate::{
    run::event::Clock,
    tool::{Begun, Done},
};
use std::time::{Duration, Instant};

/// Of a tool that is looked for now and then (up to once a second), a time is told from so long on: before that most of it is the
/// pause between two looks.
const LOOKED_FOR: Duration = Duration::from_secs(5);

/// What is heard in one piece is not parted by time: a shorter one is none.
const PIECE: Duration = Duration::from_millis(1);

/// The migrations that are under way.
#[derive(Debug, Default)]
pub(super) struct Course {
    open: Vec<Open>,
}

#[derive(Debug)]
struct Open {
    begun: Begun,
    at: Instant,
    clock: Clock,
}

/// A migration that is over.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Over {
    pub(super) begun: Begun,
    /// Nothing where nobody knows.
    pub(super) took: Option<Duration>,
}

impl Course {
    /// One begins, so the one before it in its schema is over. Tools may work on several schemas at once.
    pub(super) fn begin(&mut self, begun: Begun, at: Instant, clock: Clock) -> Vec<Over> {
        let over = self.take(|open| open.begun.schema == begun.schema);
        self.open.push(Open { begun, at, clock });
        over.into_iter().map(|open| open.over(Some(at))).collect()
    }

    /// The tool says that one is done: the only one under way, where it does not say which.
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

    /// The tool has ended: those still under way were until the last answer of the database, if that was heard.
    pub(super) fn rest(&mut self, answered: Option<Instant>) -> Vec<Over> {
        let over = std::mem::take(&mut self.open);
        // Of several nobody knows whose answer it was.
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
            Clock::Exact => PIECE,
            Clock::Coarse => LOOKED_FOR,
        };
        let took = end.and_then(|end| end.checked_duration_since(self.at)).filter(|took| *took >= shortest);
        Over { begun: self.begun, took }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn begun(name: &str, schema: Option<&str>) -> Begun {
        Begun { name: name.to_owned(), schema: schema.map(ToOwned::to_owned) }
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
    fn a_migration_ends_where_the_tool_says_so_or_with_the_next_or_with_the_last_answer() {
        let (start, mut course) = (Instant::now(), Course::default());
        let at = |millis| start + Duration::from_millis(millis);
        assert_eq!(took(course.begin(begun("a", None), at(0), Clock::Exact)), []);
        assert_eq!(took(course.end(&done("a", None), at(26))), one("a", Some(26)));
        assert_eq!(took(course.begin(begun("b", None), at(900), Clock::Exact)), [], "the pause is nobody's");
        assert_eq!(took(course.begin(begun("c", None), at(930), Clock::Exact)), one("b", Some(30)));
        assert_eq!(took(course.end(&done("", Some(7)), at(990))), one("c", Some(7)), "it says itself how long");
        course.begin(begun("d", None), at(1_000), Clock::Exact);
        assert_eq!(took(course.rest(Some(at(1_026)))), one("d", Some(26)));
        course.begin(begun("e", None), at(2_000), Clock::Exact);
        assert_eq!(took(course.rest(Some(at(1_026)))), one("e", None), "an answer of before is none");
        course.begin(begun("f", None), at(3_000), Clock::Exact);
        assert_eq!(took(course.rest(None)), one("f", None));
    }

    #[test]
    fn a_time_that_is_not_known_is_none() {
        let (start, mut course) = (Instant::now(), Course::default());
        let at = |millis| start + Duration::from_millis(millis);
        course.begin(begun("a", None), at(0), Clock::Exact);
        assert_eq!(took(course.end(&done("a", None), at(0))), one("a", None), "both came in one piece");
        for (pause, expected) in [(213, None), (7_000, Some(7_000))] {
            course.begin(begun("b", None), at(0), Clock::Coarse);
            assert_eq!(
                took(course.end(&done("b", None), at(pause))),
                one("b", expected),
                "the pause between two looks"
            );
        }
        course.begin(begun("c", Some("t1")), at(0), Clock::Exact);
        assert_eq!(took(course.begin(begun("c", Some("t2")), at(5), Clock::Exact)), [], "t1 goes on");
        assert_eq!(took(course.end(&done("", None), at(9))), one("c", None), "nobody says which of the two");
        assert_eq!(course.end(&done("x", None), at(9)), None);
    }
}
