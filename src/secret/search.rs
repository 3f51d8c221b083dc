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
pub(super) fn find_escaped(text: &[u8], needles: &Needles, decodings: &Decodings<'_>) -> Vec<Range<usize>> {
    let mut search = DecodingSearch { needles, decodings, text, ends: BTreeMap::new(), found: Vec::new() };
    search.run();
    search.found
}

struct DecodingSearch<'t> {
    needles: &'t Needles,
    decodings: &'t Decodings<'t>,
    text: &'t [u8],
    /// The decodings by their end; filled at the first hit.
    ends: BTreeMap<usize, Vec<(usize, Decoding)>>,
    found: Vec<Range<usize>>,
}

impl DecodingSearch<'_> {
    fn run(&mut self) {
        let mut pending_states: BTreeMap<usize, Vec<StateID>> = BTreeMap::new();
        let (mut states, mut position) = (vec![self.needles.idle], 0);
        loop {
            if pending_states.is_empty() {
                let Some(next) = self.decodings.next_start(position) else { break };
                if states == [self.needles.idle] {
                    // Unescaped needles are found elsewhere: skip to the first position at which an escaped one can
                    // begin.
                    position = position.max(next.saturating_sub(self.needles.longest));
                }
                while position < next {
                    self.read_plain_byte(&mut states, position);
                    position += 1;
                }
            }
            pending_states.remove(&position).into_iter().flatten().for_each(|state| add_state(&mut states, state));
            for decoding in self.decodings.starting_at(position) {
                for at in 0..states.len() {
                    let Some(state) = states.get(at) else { break };
                    let state = self.read_decoding(*state, position, *decoding);
                    add_state(pending_states.entry(decoding.end).or_default(), state);
                }
            }
            if position == self.text.len() {
                return;
            }
            self.read_plain_byte(&mut states, position);
            position += 1;
        }
        // A needle may continue after the last decoding.
        for position in position..self.text.len() {
            if states == [self.needles.idle] {
                break;
            }
            self.read_plain_byte(&mut states, position);
        }
    }

    /// Advances all states by the byte itself.
    fn read_plain_byte(&mut self, states: &mut Vec<StateID>, position: usize) {
        let Some(letter) = self.text.get(position) else { return };
        for at in 0..states.len() {
            let Some(state) = states.get_mut(at) else { break };
            *state = self.needles.next_state(*state, *letter);
            if let Some(needle) = self.needles.longest_match(*state) {
                self.record_match(position + 1, needle, position + 1);
            }
        }
        if states.len() > 1 {
            states.sort_unstable();
            states.dedup();
        }
    }

    fn read_decoding(&mut self, mut state: StateID, position: usize, decoding: Decoding) -> StateID {
        for (at, byte) in decoding.decoded.as_bytes().iter().enumerate() {
            state = self.needles.next_state(state, *byte);
            if let Some(needle) = self.needles.longest_match(state) {
                let before = needle.len().saturating_sub(at + 1);
                self.record_match(position, needle.get(..before).unwrap_or_default(), decoding.end);
            }
        }
        state
    }

    /// Records a needle that ends at `end`; `beginning` is its part before `position`.
    fn record_match(&mut self, position: usize, beginning: &[u8], end: usize) {
        let start = self.match_start(position, beginning);
        self.found.push(start..end);
    }

    /// Returns where the bytes that are decoded up to `position` begin: among several possible starts, the first one.
    fn match_start(&mut self, position: usize, read: &[u8]) -> usize {
        if self.ends.is_empty() {
            for (start, decoding) in self.decodings.iter() {
                self.ends.entry(decoding.end).or_default().push((start, decoding));
            }
        }
        // The number of bytes left to match, and the position where they end.
        let mut pending = BTreeSet::from([(read.len(), position)]);
        let mut first = position;
        while let Some((length, position)) = pending.pop_last() {
            let Some(rest) = read.get(..length).filter(|rest| !rest.is_empty()) else {
                first = first.min(position);
                continue;
            };
            if position > 0 && rest.last() == self.text.get(position - 1) {
                pending.insert((length - 1, position - 1));
            }
            for (start, decoding) in self.ends.get(&position).into_iter().flatten() {
                let bytes = decoding.decoded.as_bytes();
                let overlap = rest.len().min(bytes.len());
                if bytes.ends_with(rest.get(rest.len() - overlap..).unwrap_or_default()) {
                    pending.insert((length - overlap, *start));
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
