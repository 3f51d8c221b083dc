//! What is looked for: every text that gives a secret away, and how it is found where nothing is escaped.

use super::{Secret, prefilter::SIGNS};
use aho_corasick::{
    Anchored, MatchKind,
    automaton::{Automaton as _, StateID},
    nfa::contiguous::NFA,
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use std::{collections::BTreeSet, ops::Range};

/// A line of a multi-line secret shorter than this is no secret of its own (the last, ragged line of a key may be `=`).
const SHORTEST_LINE: usize = 4;

/// What three bytes are hashed to.
const THREES: usize = 1 << 16;

/// The texts, as bytes. It has no `Debug`: that would show them.
pub(super) struct Needles {
    texts: Vec<Vec<u8>>,
    automaton: NFA,
    /// The state in which nothing has begun.
    pub(super) idle: StateID,
    /// Of three bytes, whether they are the rarest of one of them.
    rarest: Vec<bool>,
    /// Bytes of the shortest.
    pub(super) shortest: usize,
    /// Bytes of the longest.
    pub(super) longest: usize,
    letters: [bool; 256],
    /// Of each byte, whether it may be in one of them, written as it is or escaped.
    text: [bool; 256],
    /// Of two bytes, whether they stand side by side in one of them.
    neighbours: Vec<bool>,
}

impl Needles {
    /// Those of these secrets; nothing if there is nothing to look for.
    pub(super) fn of<'a>(secrets: impl IntoIterator<Item = &'a Secret>) -> Option<Self> {
        let texts: BTreeSet<Vec<u8>> = secrets.into_iter().flat_map(texts).collect();
        let texts: Vec<Vec<u8>> = texts.into_iter().collect();
        // The DFA that is chosen by itself takes minutes and gigabytes for a secret of 100 KiB.
        let automaton = NFA::builder().match_kind(MatchKind::Standard).build(&texts).ok()?;
        let idle = automaton.start_state(Anchored::No).ok()?;
        let (mut rarest, mut letters) = (vec![false; THREES], [false; 256]);
        for text in &texts {
            if let Some([first, second, third]) = text.windows(3).max_by_key(|three| rarity(three))
                && let Some(known) = rarest.get_mut(three(*first, *second, *third))
            {
                *known = true;
            }
            text.iter().filter_map(|letter| letters.get_mut(usize::from(*letter)).map(|known| *known = true)).count();
        }
        let mut neighbours = vec![false; 1 << 16];
        for pair in texts.iter().flat_map(|text| text.windows(2)) {
            if let [first, second] = pair
                && let Some(known) = neighbours.get_mut(usize::from(*first) << 8 | usize::from(*second))
            {
                *known = true;
            }
        }
        let mut text = letters;
        for (letter, is_text) in (0..=u8::MAX).zip(&mut text) {
            *is_text |= letter.is_ascii_graphic() || b" \t\r\n".contains(&letter);
        }
        let shortest = texts.iter().map(Vec::len).min()?;
        let longest = texts.iter().map(Vec::len).max()?;
        Some(Self { texts, automaton, idle, rarest, shortest, longest, letters, text, neighbours })
    }

    /// Whether one of them may stand around these bytes, as it is.
    pub(super) fn may_be_around(&self, first: u8, second: u8, third: u8) -> bool {
        self.rarest.get(three(first, second, third)).copied().unwrap_or_default()
    }

    /// Whether this byte is in one of them.
    pub(super) fn has(&self, letter: u8) -> bool {
        self.letters.get(usize::from(letter)).copied().unwrap_or_default()
    }

    /// Whether this byte is in one of them, or in what it is escaped with.
    pub(super) fn is_text(&self, letter: usize) -> bool {
        self.text.get(letter).copied().unwrap_or_default()
    }

    /// Whether a letter that is escaped may be a part of one of them, by what stands before the escape and behind it: either is
    /// the letter's neighbour there as well, or it is escaped, too, or the letter is a part of another escape.
    pub(super) fn may_be_among(&self, before: u8, letter: u8, behind: Option<u8>) -> bool {
        let pair = |first: u8, second: u8| {
            self.neighbours.get(usize::from(first) << 8 | usize::from(second)).copied().unwrap_or_default()
        };
        let is_quote = |letter: u8| matches!(letter, b'"' | b'\'');
        let behind = behind.unwrap_or_default();
        let is_of_escape =
            SIGNS.contains(&letter) || letter == b'#' || is_quote(letter) && (is_quote(before) || is_quote(behind));
        is_of_escape || SIGNS.contains(&behind) || pair(before, letter) || pair(letter, behind) || !letter.is_ascii()
    }

    /// The state after one more byte.
    pub(super) fn step(&self, state: StateID, letter: u8) -> StateID {
        self.automaton.next_state(Anchored::No, state, letter)
    }

    /// The longest text that ends in this state; every other one that does is the end of it.
    pub(super) fn ended(&self, state: StateID) -> Option<&[u8]> {
        if !self.automaton.is_match(state) {
            return None;
        }
        let ended = (0..self.automaton.match_len(state)).map(|at| self.automaton.match_pattern(state, at));
        ended.filter_map(|text| self.texts.get(text.as_usize())).max_by_key(|text| text.len()).map(Vec::as_slice)
    }

    /// Where they stand as they are.
    pub(super) fn found(&self, text: &[u8]) -> Vec<Range<usize>> {
        let (mut state, mut found) = (self.idle, Vec::new());
        for (at, letter) in text.iter().enumerate() {
            state = self.step(state, *letter);
            found.extend(self.ended(state).map(|ended| at + 1 - ended.len()..at + 1));
        }
        found
    }
}

fn three(first: u8, second: u8, third: u8) -> usize {
    let [first, second, third] = [first, second, third].map(usize::from);
    (first.wrapping_mul(0x9e5) ^ second.wrapping_mul(0x4f1b) ^ third.wrapping_mul(0x3d)) % THREES
}

/// How seldom these stand in what people read.
fn rarity(bytes: &[u8]) -> usize {
    let is_common = |byte: &&u8| byte.is_ascii_lowercase() || b" :/.-_=,\0".contains(byte);
    bytes.len() - bytes.iter().filter(is_common).count()
}

/// The value, trimmed, each line of it, the parts of it that the runner hides, too (`ValueEncoders.cs`: an output in which
/// it finds one is dropped as a whole), and each in the encodings of characters that programs of today use.
fn texts(secret: &Secret) -> Vec<Vec<u8>> {
    if !secret.can_be_hidden() {
        return Vec::new();
    }
    let whole = secret.expose();
    let lines = whole.lines().map(str::trim).filter(|line| line.len() >= SHORTEST_LINE);
    let values = [whole, whole.trim()].into_iter().chain(lines).filter(|value| !value.trim().is_empty());
    let values = values.flat_map(|value| [Some(value), unquoted(value)].into_iter().flatten().chain(parts(value)));
    values.flat_map(|value| encoded(value).into_iter().chain(groups_in_base64(value.as_bytes()))).collect()
}

/// The inside of a value that was saved with its quotes, unless it is short.
fn unquoted(value: &str) -> Option<&str> {
    let inside = value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    inside.filter(|_| value.len() > 8)
}

/// The parts before and behind an ampersand, which `PowerShell` shows one by one, unless they are short.
fn parts(value: &str) -> impl Iterator<Item = &str> {
    let at = value.find("&+").map(|at| at + 2).or_else(|| value.rfind('&').map(|at| at + 1));
    let parts = at.and_then(|at| value.split_at_checked(at));
    parts.into_iter().flat_map(|(before, behind)| [before, behind]).filter(|part| part.len() >= 6)
}

/// UTF-8, UTF-16 in both orders (`PowerShell` makes base64 of it), and Latin-1 (JavaScript's `escape` and Python's `repr`)
/// where that can write the value.
fn encoded(value: &str) -> Vec<Vec<u8>> {
    let mut encoded = vec![value.as_bytes().to_vec()];
    encoded.push(value.encode_utf16().flat_map(u16::to_le_bytes).collect());
    encoded.push(value.encode_utf16().flat_map(u16::to_be_bytes).collect());
    if !value.is_ascii() {
        let latin: Option<Vec<u8>> = value.chars().map(|letter| u8::try_from(u32::from(letter)).ok()).collect();
        encoded.extend(latin.filter(|latin| latin.len() > 2));
    }
    encoded
}

/// Base64 of the whole groups of three bytes in the value, from its first, second or third byte on: that is how the runner
/// looks for a value inside of a longer encoded text.
fn groups_in_base64(value: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    (0..3).filter_map(|from| {
        let rest = value.get(from..)?;
        let whole = rest.get(..rest.len() / 3 * 3).filter(|whole| whole.len() >= 6)?;
        Some(STANDARD.encode(whole).into_bytes())
    })
}
