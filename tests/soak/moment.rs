//! When a blow falls.

use crate::{action::Running, lab::poll};
use proptest::{prelude::Strategy, prop_oneof};
use std::{
    fmt, thread,
    time::{Duration, Instant},
};

/// A run that stands still for so long hangs; its judge will say so.
const PATIENCE: Duration = Duration::from_secs(60);

/// A moment of a run.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Moment {
    /// So far into its usual duration, in thousandths.
    Time(u32),
    /// So many milliseconds after it was started.
    Early(u64),
    /// So many milliseconds behind a line of its log, which is found so far into its usual length, in thousandths.
    Line(u32, u64),
}

/// What a run that nothing hits is like.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Usual {
    pub(crate) duration: Duration,
    pub(crate) lines: usize,
}

/// Any moment; the lines help to meet the same one again. A little more than all, so that the end is met as well.
pub(crate) fn moments() -> impl Strategy<Value = Moment> {
    prop_oneof![
        3 => (0..1050_u32).prop_map(Moment::Time),
        1 => (0..=300_u64).prop_map(Moment::Early),
        3 => (0..1000_u32, 0..25_u64).prop_map(|(at, then)| Moment::Line(at, then))
    ]
}

impl Moment {
    /// Waits for it, or for the end of the run.
    #[expect(clippy::disallowed_methods, reason = "a random moment is a random time to wait")]
    pub(crate) fn wait(self, running: &mut Running<'_>, usual: Usual) {
        let (line, then) = match self {
            Self::Time(share) => (0, usual.duration * share / 1000),
            Self::Early(then) => (0, Duration::from_millis(then)),
            Self::Line(share, then) => (usual.lines * share as usize / 1000, Duration::from_millis(then)),
        };
        poll(PATIENCE, || {
            (line == 0 || running.log().lines().count() >= line || running.ended().is_some()).then_some(())
        });
        let at = Instant::now() + then;
        while Instant::now() < at && running.ended().is_none() {
            thread::sleep(Duration::from_millis(1).min(then));
        }
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Time(share) => write!(formatter, "at {share} ‰ of the time"),
            Self::Early(then) => write!(formatter, "{then} ms after its start"),
            Self::Line(share, then) => write!(formatter, "{then} ms after {share} ‰ of the log"),
        }
    }
}
