//! The names of rounds, and the ground that they are played on.

use crate::record::Record;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use sha2::{Digest as _, Sha256};
use std::fmt;

/// A place with servers of its own, which rounds may damage.
pub(crate) trait Ground {
    /// Plays a round. The findings are in `record`, even after a panic.
    fn play(&mut self, name: &RoundName, record: &mut Record);
}

/// The kind of a round's first disruption.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Kill,
    Cancel,
}

/// The name of a round, from which all of its random choices derive.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RoundName {
    pub(crate) seed: u64,
    pub(crate) kind: Kind,
    pub(crate) number: usize,
}

impl RoundName {
    /// Returns the name `kill-17` or `cancel-17` of a soak with this seed.
    pub(crate) fn parse(seed: u64, text: &str) -> Option<Self> {
        let (kind, number) = text.split_once('-')?;
        let kind = match kind {
            "kill" => Kind::Kill,
            "cancel" => Kind::Cancel,
            _ => return None,
        };
        Some(Self { seed, kind, number: number.parse().ok()? })
    }

    /// Returns a source of random choices, which is the same for the same name.
    pub(crate) fn choices(&self) -> TestRunner {
        let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &Sha256::digest(format!("{} {self}", self.seed)));
        TestRunner::new_with_rng(Config::default(), rng)
    }

    /// Returns the element whose turn it is in this round.
    pub(crate) fn turn<T: Copy>(&self, all: &[T]) -> T {
        all.iter().copied().cycle().nth(self.number).expect("the list is not empty")
    }
}

impl fmt::Display for RoundName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            Kind::Kill => "kill",
            Kind::Cancel => "cancel",
        };
        formatter.pad(&format!("{kind}-{}", self.number))
    }
}
