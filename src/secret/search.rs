//! Searches for needles in all decodings of a text at once.

use super::{
    escapes::{Reading, Readings},
    needles::Needles,
};
use aho_corasick::automaton::StateID;
use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
};

/// Returns the ranges of needles that are escaped, in part or as a whole.
pub(super) fn escaped(text: &[u8], needles: &Needles, readings: &Readings<'_>) -> Vec<Range<usize>> {
    let mut walk = Walk { needles, readings, text, ends: BTreeMap::new(), found: Vec::new() };
    walk.go();
    walk.found
}

struct Walk<'t> {
    needles: &'t Needles,
    readings: &'t Readings<'t>,
    text: &'t [u8],
    /// The decodings by their end; filled at the first hit.
    ends: BTreeMap<usize, Vec<(usize, Reading)>>,
    found: Vec<Range<usize>>,
}

impl Walk<'_> {
    fn go(&mut self) {
        let mut arriving: BTreeMap<usize, Vec<StateID>> = BTreeMap::new();
        let (mut states, mut place) = (vec![self.needles.idle], 0);
        loop {
            if arriving.is_empty() {
                let Some(next) = self.readings.next(place) else { break };
                if states == [self.needles.idle] {
                    // Unescaped needles are found elsewhere: skip to the first position at which an escaped one can
                    // begin.
                    place = place.max(next.saturating_sub(self.needles.longest));
                }
                while place < next {
                    self.advance(&mut states, place);
                    place += 1;
                }
            }
            arriving.remove(&place).into_iter().flatten().for_each(|state| add(&mut states, state));
            for reading in self.readings.at(place) {
                for at in 0..states.len() {
                    let Some(state) = states.get(at) else { break };
                    let state = self.read(*state, place, *reading);
                    add(arriving.entry(reading.end).or_default(), state);
                }
            }
            if place == self.text.len() {
                return;
            }
            self.advance(&mut states, place);
            place += 1;
        }
        // A needle may continue after the last decoding.
        for place in place..self.text.len() {
            if states == [self.needles.idle] {
                break;
            }
            self.advance(&mut states, place);
        }
    }

    /// Advances all states by the byte itself.
    fn advance(&mut self, states: &mut Vec<StateID>, place: usize) {
        let Some(letter) = self.text.get(place) else { return };
        for at in 0..states.len() {
            let Some(state) = states.get_mut(at) else { break };
            *state = self.needles.step(*state, *letter);
            if let Some(ended) = self.needles.ended(*state) {
                self.hit(place + 1, ended, place + 1);
            }
        }
        if states.len() > 1 {
            states.sort_unstable();
            states.dedup();
        }
    }

    fn read(&mut self, mut state: StateID, place: usize, reading: Reading) -> StateID {
        for (at, byte) in reading.label.bytes().iter().enumerate() {
            state = self.needles.step(state, *byte);
            if let Some(ended) = self.needles.ended(state) {
                let before = ended.len().saturating_sub(at + 1);
                self.hit(place, ended.get(..before).unwrap_or_default(), reading.end);
            }
        }
        state
    }

    /// Records a needle that ends at `end`; `beginning` is its part before `place`.
    fn hit(&mut self, place: usize, beginning: &[u8], end: usize) {
        let start = self.start(place, beginning);
        self.found.push(start..end);
    }

    /// Returns where the bytes that are decoded up to `place` begin: among several possible starts, the first one.
    fn start(&mut self, place: usize, read: &[u8]) -> usize {
        if self.ends.is_empty() {
            for (start, reading) in self.readings.all() {
                self.ends.entry(reading.end).or_default().push((start, reading));
            }
        }
        // The number of bytes left to match, and the position where they end.
        let mut open = BTreeSet::from([(read.len(), place)]);
        let mut first = place;
        while let Some((left, place)) = open.pop_last() {
            let Some(rest) = read.get(..left).filter(|rest| !rest.is_empty()) else {
                first = first.min(place);
                continue;
            };
            if place > 0 && rest.last() == self.text.get(place - 1) {
                open.insert((left - 1, place - 1));
            }
            for (start, reading) in self.ends.get(&place).into_iter().flatten() {
                let label = reading.label.bytes();
                let rest_of_it = rest.len().min(label.len());
                if label.ends_with(rest.get(rest.len() - rest_of_it..).unwrap_or_default()) {
                    open.insert((left - rest_of_it, *start));
                }
            }
        }
        first
    }
}

fn add(states: &mut Vec<StateID>, state: StateID) {
    if !states.contains(&state) {
        states.push(state);
    }
}
