//! The rules that turn a concern about a statement into a risk, as tables.

use crate::run::{HeldUp, Risk};
use std::time::Duration;

/// A reason to look at a statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Concern {
    /// It holds up the work of others for this time.
    HoldsUp(HeldUp, TimeClass),
    /// It destroys something that is there.
    DestroysContent,
    /// It destroys something whose content is unknown.
    DestroysUnknown,
    /// It would wait for a session now, and others behind it.
    WaitsForOthers,
    /// Its text does not show all that it does.
    MayDoMore,
    /// It names a relation that is not in the database.
    NotFound,
    /// The database could not be asked.
    FactsUnknown,
    /// A fact worth knowing that is no risk.
    Fact,
}

/// A reason to look at a statement, as a sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Finding {
    pub(super) concern: Concern,
    pub(super) sentence: String,
}

/// The length of a time as people feel it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum TimeClass {
    /// Less than 1 s: no longer than a slow request.
    Moment,
    /// Less than 10 s: most requests wait so long before they give up.
    Seconds,
    /// Less than 60 s: requests fail, and nobody has been called yet.
    TensOfSeconds,
    /// 60 s or more.
    Minutes,
    /// The time is unknown.
    Unknown,
}

/// The longest time of each class.
const CLASSES: [(Duration, TimeClass); 3] = [
    (Duration::from_secs(1), TimeClass::Moment),
    (Duration::from_secs(10), TimeClass::Seconds),
    (Duration::from_secs(60), TimeClass::TensOfSeconds),
];

/// The risk of holding up others, by the length of the time.
const HOLDING_UP: [(HeldUp, TimeClass, Risk); 8] = [
    (HeldUp::Writes, TimeClass::Seconds, Risk::Low),
    (HeldUp::Writes, TimeClass::TensOfSeconds, Risk::Medium),
    (HeldUp::Writes, TimeClass::Minutes, Risk::High),
    (HeldUp::Writes, TimeClass::Unknown, Risk::Medium),
    (HeldUp::ReadsAndWrites, TimeClass::Seconds, Risk::Medium),
    (HeldUp::ReadsAndWrites, TimeClass::TensOfSeconds, Risk::High),
    (HeldUp::ReadsAndWrites, TimeClass::Minutes, Risk::High),
    (HeldUp::ReadsAndWrites, TimeClass::Unknown, Risk::Medium),
];

/// The risk of every other concern.
const OTHER: [(Concern, Risk); 6] = [
    (Concern::DestroysContent, Risk::High),
    (Concern::DestroysUnknown, Risk::High),
    (Concern::WaitsForOthers, Risk::Medium),
    (Concern::MayDoMore, Risk::Medium),
    (Concern::NotFound, Risk::Medium),
    (Concern::FactsUnknown, Risk::Medium),
];

impl TimeClass {
    /// Returns the class of a time.
    pub(super) fn of(time: Duration) -> Self {
        CLASSES.iter().find(|(longest, _)| time < *longest).map_or(Self::Minutes, |(_, class)| *class)
    }
}

impl Concern {
    /// Returns the risk; what no rule names is low.
    pub(super) fn risk(self) -> Risk {
        let held_up = HOLDING_UP.iter().find(|(blocks, time, _)| self == Self::HoldsUp(*blocks, *time));
        let other = OTHER.iter().find(|(concern, _)| *concern == self).map(|(_, risk)| *risk);
        held_up.map(|(_, _, risk)| *risk).or(other).unwrap_or(Risk::Low)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_risk_grows_with_the_time() {
        for blocks in [HeldUp::Nothing, HeldUp::Writes, HeldUp::ReadsAndWrites] {
            let risks: Vec<Risk> = [0, 1, 10, 60, 3_600]
                .map(|seconds| Concern::HoldsUp(blocks, TimeClass::of(Duration::from_secs(seconds))).risk())
                .to_vec();
            assert!(risks.is_sorted(), "{blocks:?}: {risks:?}");
            assert_eq!(risks[0], Risk::Low);
        }
    }

    #[test]
    fn reads_weigh_more_than_writes() {
        for time in [TimeClass::Moment, TimeClass::Seconds, TimeClass::TensOfSeconds, TimeClass::Minutes] {
            let risk = |blocks| Concern::HoldsUp(blocks, time).risk();
            assert!(
                risk(HeldUp::Nothing) <= risk(HeldUp::Writes) && risk(HeldUp::Writes) <= risk(HeldUp::ReadsAndWrites)
            );
        }
    }
}
