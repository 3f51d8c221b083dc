//! The moment of a disruption.

use crate::{action, lab::poll};
use proptest::{prelude::Strategy, prop_oneof};
use std::{
    fmt, thread,
    time::{Duration, Instant},
};

/// A run without progress for so long hangs; the judge reports it.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running step, in a process or in a container.
pub(crate) trait RunningStep {
    /// Returns the log so far.
    fn log(&self) -> String;

    /// Returns whether the step has ended.
    fn has_ended(&mut self) -> bool;
}

impl RunningStep for action::Running<'_> {
    fn log(&self) -> String {
        self.log()
    }

    fn has_ended(&mut self) -> bool {
        self.ended().is_some()
    }
}

/// A moment of a run.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Moment {
    /// A share of the typical duration, in thousandths.
    Time(u32),
    /// Milliseconds after the start.
    Early(u64),
    /// Milliseconds after a line of the log; the line is given as a share of the typical length, in thousandths.
    Line(u32, u64),
}

/// Duration and log length of an undisturbed run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TypicalRun {
    pub(crate) duration: Duration,
    pub(crate) lines: usize,
}

/// Generates any moment. Lines make a moment reproducible. Times go slightly beyond the typical duration, to cover the
/// end of a run.
pub(crate) fn moments() -> impl Strategy<Value = Moment> {
    prop_oneof![
        3 => (0..1050_u32).prop_map(Moment::Time),
        1 => (0..=300_u64).prop_map(Moment::Early),
        3 => (0..1000_u32, 0..25_u64).prop_map(|(at, delay)| Moment::Line(at, delay))
    ]
}

impl Moment {
    /// Waits for this moment, or for the end of the run.
    #[expect(clippy::disallowed_methods, reason = "a random moment is a random time to wait")]
    pub(crate) fn wait(self, running: &mut impl RunningStep, typical: TypicalRun) {
        let (line, delay) = match self {
            Self::Time(share) => (0, typical.duration * share / 1000),
            Self::Early(delay) => (0, Duration::from_millis(delay)),
            Self::Line(share, delay) => (typical.lines * share as usize / 1000, Duration::from_millis(delay)),
        };
        poll(PATIENCE, || (line == 0 || running.log().lines().count() >= line || running.has_ended()).then_some(()));
        let at = Instant::now() + delay;
        while Instant::now() < at && !running.has_ended() {
            thread::sleep(Duration::from_millis(1).min(delay));
        }
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Time(share) => write!(formatter, "at {share} ‰ of the time"),
            Self::Early(delay) => write!(formatter, "{delay} ms after its start"),
            Self::Line(share, delay) => write!(formatter, "{delay} ms after {share} ‰ of the log"),
        }
    }
}
