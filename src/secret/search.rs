//! Searches for needles in all decodings of a text at once.

use super::{
    escapes::{Decoding, Decodings},
    needles::Needles,
};
use aho_corasick::automaton::StateID;
use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
};

/// Returns the ranges of needles that are escaped, in part or as a whole.
pub(super) fn find_escaped(text: &[u8], needles: &Needles, readings: &Decodings<'_>) -> Vec<Range<usize>> {
    let mut walk = DecodingSearch { needles, readings, text, ends: BTreeMap::new(), found: Vec::new() };
    walk.run();
    walk.found
}

struct DecodingSearch<'t> {
    needles: &'t Needles,
    readings: &'t Decodings<'t>,
    text: &'t [u8],
    /// The decodings by their end; filled at the first hit.
    ends: BTreeMap<usize, Vec<(usize, Decoding)>>,
    found: Vec<Range<usize>>,
}

impl DecodingSearch<'_> {
    fn run(&mut self) {
        let mut arriving: BTreeMap<usize, Vec<StateID>> = BTreeMap::new();
        let (mut states, mut place) = (vec![self.needles.idle], 0);
        loop {
            if arriving.is_empty() {
                let Some(next) = self.readings.next_start(place) else { break };
                if states == [self.needles.idle] {
                    // Unescaped needles are found elsewhere: skip to the first position at which an escaped one can
                    // begin.
                    place = place.max(next.saturating_sub(self.needles.longest));
                }
                while place < next {
                    self.read_plain_byte(&mut states, place);
                    place += 1;
                }
            }
            arriving.remove(&place).into_iter().flatten().for_each(|state| add_state(&mut states, state));
            for reading in self.readings.starting_at(place) {
                for at in 0..states.len() {
                    let Some(state) = states.get(at) else { break };
                    let state = self.read_decoding(*state, place, *reading);
                    add_state(arriving.entry(reading.end).or_default(), state);
                }
            }
            if place == self.text.len() {
                return;
            }
            self.read_plain_byte(&mut states, place);
            place += 1;
        }
        // A needle may continue after the last decoding.
        for place in place..self.text.len() {
            if states == [self.needles.idle] {
                break;
            }
            self.read_plain_byte(&mut states, place);
        }
    }

    /// Advances all states by the byte itself.
    fn read_plain_byte(&mut self, states: &mut Vec<StateID>, place: usize) {
        let Some(letter) = self.text.get(place) else { return };
        for at in 0..states.len() {
            let Some(state) = states.get_mut(at) else { break };
            *state = self.needles.next_state(*state, *letter);
            if let Some(ended) = self.needles.longest_match(*state) {
                self.record_match(place + 1, ended, place + 1);
            }
        }
        if states.len() > 1 {
            states.sort_unstable();
            states.dedup();
        }
    }

    fn read_decoding(&mut self, mut state: StateID, place: usize, reading: Decoding) -> StateID {
        for (at, byte) in reading.decoded.as_bytes().iter().enumerate() {
            state = self.needles.next_state(state, *byte);
            if let Some(ended) = self.needles.longest_match(state) {
                let before = ended.len().saturating_sub(at + 1);
                self.record_match(place, ended.get(..before).unwrap_or_default(), reading.end);
            }
        }
        state
    }

    /// Records a needle that ends at `end`; `beginning` is its part before `place`.
    fn record_match(&mut self, place: usize, beginning: &[u8], end: usize) {
        let start = self.match_start(place, beginning);
        self.found.push(start..end);
    }

    /// Returns where the bytes that are decoded up to `place` begin: among several possible starts, the first one.
    fn match_start(&mut self, place: usize, read: &[u8]) -> usize {
        if self.ends.is_empty() {
            for (start, reading) in self.readings.iter() {
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
                let label = reading.decoded.as_bytes();
                let rest_of_it = rest.len().min(label.len());
                if label.ends_with(rest.get(rest.len() - rest_of_it..).unwrap_or_default()) {
                    open.insert((left - rest_of_it, *start));
                }
            }
        }
        first
    }
}

fn add_state(states: &mut Vec<StateID>, state: StateID) {
    if !states.contains(&state) {
        states.push(state);
    }
}
