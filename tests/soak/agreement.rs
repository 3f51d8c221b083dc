//! What must be true of a database and of a report, whatever was hit and when. Knows neither servers nor how it was seen.

use std::time::Duration;

/// One migration as the database has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Trace {
    pub(crate) name: String,
    pub(crate) way: Way,
    /// How often each statement's effect is there; nothing where there is nothing to be seen.
    pub(crate) effects: Vec<Option<u64>>,
    pub(crate) recorded: bool,
    /// Of the table of progress.
    pub(crate) place: Option<Place>,
}

/// How a migration is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// In one transaction.
    Whole,
    /// Statement by statement, without one.
    Statements,
}

/// How far a migration without a transaction got; statements are counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) started: usize,
    pub(crate) done: usize,
}

/// What a run told of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Told {
    /// The output `outcome`, or `killed`.
    pub(crate) outcome: String,
    /// The exit code, or the signal that killed it.
    pub(crate) exit: i32,
    /// Whether there was a plan.
    pub(crate) planned: bool,
    pub(crate) applied: Vec<String>,
    pub(crate) pending: Vec<String>,
    /// What the log calls applied and does not take back.
    pub(crate) logged: Vec<String>,
    /// What the log says the server has forgotten, by this run or by one before it.
    pub(crate) forgotten: Vec<String>,
    /// From the first signal to the end, or from the start.
    pub(crate) took: Duration,
    pub(crate) logs_nothing: bool,
    /// What no run may do, and this one did.
    pub(crate) wrong: Vec<String>,
}

/// How a run may end.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Terms {
    /// The outcomes and exit codes.
    pub(crate) endings: &'static [(&'static str, i32)],
    /// Of a run that got a signal.
    pub(crate) within: Option<Duration>,
}

/// Ledger, table of progress and schema against each other.
pub(crate) fn database(traces: &[Trace]) -> Vec<String> {
    let mut wrong = Vec::new();
    for (index, trace) in traces.iter().enumerate() {
        let Trace { name, way, recorded, place, .. } = trace;
        wrong.extend(effects(trace));
        if place.is_some_and(|place| *recorded || *way == Way::Whole || place.done > place.started) {
            wrong.push(format!("{name} can't have the place {place:?}"));
        }
        let begun = *recorded || place.is_some();
        if let Some(before) = traces.iter().take(index).find(|before| begun && !before.recorded) {
            wrong.push(format!("{name} was begun before {}", before.name));
        }
    }
    wrong
}

/// A recorded migration is there once and whole, one that is not is not there at all, and of one that is half done there is
/// what the table of progress says.
fn effects(trace: &Trace) -> Vec<String> {
    let Trace { name, recorded, place, .. } = trace;
    let Place { started, done } = place.unwrap_or(Place { started: 0, done: 0 });
    let seen = trace.effects.iter().enumerate().filter_map(|(index, times)| Some((index + 1, (*times)?)));
    let allowed = |number| match number {
        _ if *recorded => 1..=1,
        number if number <= done => 1..=1,
        number if number <= started => 0..=1,
        _ => 0..=0,
    };
    seen.filter(|(number, times)| !allowed(*number).contains(times))
        .map(|(number, times)| {
            let ledger = if *recorded { "recorded" } else { "not recorded" };
            format!("{name} is {ledger} with {place:?}, and its statement {number} is there {times} times")
        })
        .collect()
}

/// What a run told, against the database before and after it.
pub(crate) fn report(told: &Told, before: &[Trace], after: &[Trace], terms: Terms) -> Vec<String> {
    let mut wrong = told.wrong.clone();
    let mut must = |holds: bool, otherwise: String| wrong.extend((!holds).then_some(otherwise));
    let recorded = |traces: &[Trace]| names(traces.iter().filter(|trace| trace.recorded));
    let (old, all) = (recorded(before), recorded(after));
    let new: Vec<_> = all.iter().filter(|name| !old.contains(name)).cloned().collect();
    let missing = names(after.iter().filter(|trace| !trace.recorded));
    let Told { outcome, exit, applied, pending, logged, forgotten, .. } = told;
    must(terms.endings.contains(&(outcome, *exit)), format!("it may not end as {outcome} with {exit}"));
    let kept = old.iter().all(|name| all.contains(name) || forgotten.contains(name));
    must(kept, format!("of {old:?} the ledger kept only {all:?}"));
    let gone = forgotten.iter().all(|name| !all.contains(name));
    must(gone, format!("it says that {forgotten:?} is forgotten, the ledger has {all:?}"));
    must(logged.iter().all(|name| new.contains(name)), format!("the log says {logged:?}, the ledger {new:?}"));
    if *exit == 0 {
        must(missing.is_empty(), format!("{outcome}, and the ledger lacks {missing:?}"));
    }
    if outcome != "killed" {
        must(*applied == new, format!("it says that it applied {applied:?}, the ledger {new:?}"));
        let left = if told.planned { missing } else { Vec::new() };
        must(*pending == left, format!("it says that {pending:?} are pending, the ledger {left:?}"));
    }
    if let Some(limit) = terms.within {
        must(told.took <= limit, format!("it ended {:?} after the signal", told.took));
        // Before its handlers stand a signal ends a process, later it may not.
        must(outcome != "killed" || told.logs_nothing, "a signal killed it when it had begun".to_owned());
    }
    wrong
}

fn names<'t>(traces: impl Iterator<Item = &'t Trace>) -> Vec<String> {
    traces.map(|trace| trace.name.clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole(name: &str, recorded: bool, effects: &[u64]) -> Trace {
        let effects = effects.iter().copied().map(Some).collect();
        Trace { name: name.to_owned(), way: Way::Whole, effects, recorded, place: None }
    }

    fn half_done(started: usize, done: usize, effects: &[u64]) -> Trace {
        Trace { way: Way::Statements, place: Some(Place { started, done }), ..whole("a", false, effects) }
    }

    fn right(traces: &[Trace]) -> bool {
        database(traces).is_empty()
    }

    #[test]
    fn a_recorded_migration_must_be_there_once() {
        assert!(right(&[whole("a", true, &[1, 1])]));
        assert!(!right(&[whole("a", true, &[1, 0])]));
        assert!(!right(&[whole("a", true, &[1, 2])]));
    }

    #[test]
    fn one_that_is_not_recorded_must_not_be_there() {
        assert!(right(&[whole("a", false, &[0, 0])]));
        assert!(!right(&[whole("a", false, &[0, 1])]));
    }

    #[test]
    fn nothing_is_asked_of_a_statement_that_leaves_nothing() {
        let traced = |recorded| Trace { effects: vec![None], ..whole("a", recorded, &[]) };
        assert!(right(&[traced(true), traced(false)]));
    }

    #[test]
    fn of_a_half_done_one_there_is_what_its_place_says() {
        assert!(right(&[half_done(2, 1, &[1, 0, 0])]) && right(&[half_done(2, 1, &[1, 1, 0])]));
        assert!(!right(&[half_done(2, 1, &[0, 0, 0])]));
        assert!(!right(&[half_done(2, 1, &[1, 2, 0])]));
        assert!(!right(&[half_done(2, 1, &[1, 1, 1])]));
        assert!(!right(&[half_done(1, 2, &[1, 1, 0])]));
    }

    #[test]
    fn a_place_is_for_what_is_half_done() {
        let done = Trace { recorded: true, ..half_done(1, 1, &[1]) };
        assert!(!right(std::slice::from_ref(&done)));
        assert!(right(&[Trace { place: None, ..done }]));
        assert!(!right(&[Trace { way: Way::Whole, ..half_done(1, 0, &[0]) }]));
    }

    #[test]
    fn nothing_is_begun_out_of_order() {
        let gap = whole("b", false, &[0]);
        assert!(right(&[whole("c", true, &[1]), gap.clone()]));
        assert!(!right(&[gap.clone(), whole("c", true, &[1])]));
        assert!(!right(&[gap, half_done(1, 0, &[0])]));
    }

    const TERMS: Terms =
        Terms { endings: &[("success", 0), ("failed", 3), ("killed", 9)], within: Some(Duration::from_secs(7)) };

    /// Of `a` and `b`, `a` is applied by this run.
    fn one_of_two(change: impl FnOnce(&mut Told)) -> Vec<String> {
        let list = |name: &str| vec![name.to_owned()];
        let mut told = Told {
            outcome: "failed".to_owned(),
            exit: 3,
            planned: true,
            applied: list("a"),
            pending: list("b"),
            logged: list("a"),
            forgotten: Vec::new(),
            took: Duration::from_secs(7),
            logs_nothing: false,
            wrong: Vec::new(),
        };
        change(&mut told);
        let traces = |applied| [whole("a", applied, &[]), whole("b", false, &[])];
        report(&told, &traces(false), &traces(true), TERMS)
    }

    #[test]
    fn a_report_says_what_the_ledger_says() {
        let none: Vec<String> = Vec::new();
        assert_eq!(one_of_two(|_| ()), none);
        assert_ne!(one_of_two(|told| told.applied.push("b".to_owned())), none);
        assert_ne!(one_of_two(|told| told.applied.clear()), none);
        assert_ne!(one_of_two(|told| told.pending.clear()), none);
        assert_ne!(one_of_two(|told| told.logged.push("b".to_owned())), none);
        assert_ne!(one_of_two(|told| told.planned = false), none);
        assert_ne!(one_of_two(|told| told.wrong.push("a secret".to_owned())), none);
    }

    #[test]
    fn a_success_has_everything() {
        let finished = |told: &mut Told| (told.outcome, told.exit) = ("success".to_owned(), 0);
        assert_eq!(one_of_two(finished).len(), 1);
    }

    #[test]
    fn what_was_killed_may_not_have_logged_too_much() {
        let killed = |told: &mut Told| {
            (told.outcome, told.exit) = ("killed".to_owned(), 9);
            (told.applied, told.pending) = Default::default();
            told.logs_nothing = true;
        };
        assert_eq!(one_of_two(killed), Vec::<String>::new());
        let told_too_much = |told: &mut Told| {
            killed(told);
            told.logged.push("b".to_owned());
        };
        assert_eq!(one_of_two(told_too_much).len(), 1);
        let too_late = |told: &mut Told| {
            killed(told);
            told.logs_nothing = false;
        };
        assert_eq!(one_of_two(too_late).len(), 1);
    }

    #[test]
    fn it_ends_in_one_of_the_allowed_ways_and_in_time() {
        assert_eq!(one_of_two(|told| told.exit = 8).len(), 1);
        assert_eq!(one_of_two(|told| told.took += Duration::from_millis(1)).len(), 1);
    }

    #[test]
    fn the_ledger_forgets_nothing() {
        let told = Told {
            outcome: "failed".to_owned(),
            exit: 3,
            planned: false,
            applied: Vec::new(),
            pending: Vec::new(),
            logged: Vec::new(),
            forgotten: Vec::new(),
            took: Duration::from_secs(7),
            logs_nothing: false,
            wrong: Vec::new(),
        };
        assert_eq!(report(&told, &[whole("a", true, &[])], &[whole("a", false, &[])], TERMS).len(), 1);
    }
}
