//! The needles: every byte string that would reveal a secret, and the search for unescaped ones.

use super::{escape_signs::ESCAPE_SIGNS, value::Secret};
use aho_corasick::{
    Anchored, MatchKind,
    automaton::{Automaton as _, StateID},
    nfa::contiguous::NFA,
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use std::{collections::BTreeSet, ops::Range};

/// Length of the shortest line of a multi-line secret that is a secret of its own, in bytes (the last, short line of a
/// key may be `=`).
const MIN_LINE_LENGTH: usize = 4;

/// Number of hash values of three bytes.
const TRIPLE_HASHES: usize = 1 << 16;

/// Number of large hash values of three bytes.
const LARGE_HASHES: usize = 1 << 20;

/// Number of pairs of bytes.
const PAIRS: usize = 1 << 16;

/// Number of bits of an integer.
const BITS: usize = 64;

/// The byte strings to hide. No `Debug`: that would show them.
pub(super) struct Needles {
    texts: Vec<Vec<u8>>,
    automaton: NFA,
    /// The state without a partial match.
    pub(super) idle: StateID,
    /// For the hash of three bytes, true if they are the rarest three of some needle.
    rarest_triples: Vec<bool>,
    /// Length of the shortest needle, in bytes.
    pub(super) shortest: usize,
    /// Length of the longest needle, in bytes.
    pub(super) longest: usize,
    needle_bytes: [bool; 256],
    /// For each byte, true if it may occur in a needle, plain or escaped.
    text_bytes: [bool; 256],
    /// For two bytes, a bit that is set if they begin three bytes of some needle.
    pairs: Box<[u64; PAIRS / BITS]>,
    /// For the large hash of three bytes, a bit that is set if they follow each other in some needle.
    triples: Box<[u64; LARGE_HASHES / BITS]>,
}

impl Needles {
    /// Creates the needles of these secrets; `None` if there are none.
    pub(super) fn from_secrets<'a>(secrets: impl IntoIterator<Item = &'a Secret>) -> Option<Self> {
        let texts: BTreeSet<Vec<u8>> = secrets.into_iter().flat_map(needle_texts).collect();
        let texts: Vec<Vec<u8>> = texts.into_iter().collect();
        // The DFA that would be chosen by default takes minutes and gigabytes for a secret of 100 KiB.
        let automaton = NFA::builder().match_kind(MatchKind::Standard).build(&texts).ok()?;
        let idle = automaton.start_state(Anchored::No).ok()?;
        let (mut rarest, mut letters) = (vec![false; TRIPLE_HASHES], [false; 256]);
        for text in &texts {
            if let Some([first, second, third]) = text.windows(3).max_by_key(|three| triple_rarity(three))
                && let Some(flag) = rarest.get_mut(hash_triple(*first, *second, *third))
            {
                *flag = true;
            }
            text.iter().filter_map(|letter| letters.get_mut(usize::from(*letter)).map(|flag| *flag = true)).count();
        }
        let (mut pairs, mut triples) = (vec![0; PAIRS / BITS], vec![0; LARGE_HASHES / BITS]);
        for triple in texts.iter().flat_map(|text| text.windows(3)) {
            if let [first, second, third] = triple {
                set_bit(&mut pairs, pair_number(*first, *second));
                set_bit(&mut triples, large_hash(*first, *second, *third));
            }
        }
        let mut text = letters;
        for (letter, is_text) in (0..=u8::MAX).zip(&mut text) {
            *is_text |= letter.is_ascii_graphic() || b" \t\r\n".contains(&letter);
        }
        let shortest = texts.iter().map(Vec::len).min()?;
        let longest = texts.iter().map(Vec::len).max()?;
        Some(Self {
            texts,
            automaton,
            idle,
            rarest_triples: rarest,
            shortest,
            longest,
            needle_bytes: letters,
            text_bytes: text,
            pairs: pairs.into_boxed_slice().try_into().ok()?,
            triples: triples.into_boxed_slice().try_into().ok()?,
        })
    }

    /// Returns whether an unescaped needle may surround these bytes.
    pub(super) fn may_surround(&self, first: u8, second: u8, third: u8) -> bool {
        self.rarest_triples.get(hash_triple(first, second, third)).copied().unwrap_or_default()
    }

    /// Returns whether an escape that may be a part of a needle can begin with this sign.
    pub(super) fn is_escape_sign(&self, letter: u8) -> bool {
        ESCAPE_SIGNS.contains(&letter) && (letter != b'+' || self.has_byte(b' '))
    }

    /// Returns whether this sign may be doubled to escape it in a needle, or be a part of a shell's way to write an
    /// apostrophe (`'"'"'`).
    pub(super) fn is_doubled_sign(&self, letter: u8) -> bool {
        letter.is_ascii_punctuation() && (self.has_byte(letter) || letter == b'"' && self.has_byte(b'\''))
    }

    /// Returns whether a needle contains this byte.
    pub(super) fn has_byte(&self, letter: u8) -> bool {
        self.needle_bytes.get(usize::from(letter)).copied().unwrap_or_default()
    }

    /// Returns whether a needle, or an escape of one, may contain this byte.
    pub(super) fn is_text_byte(&self, letter: usize) -> bool {
        self.text_bytes.get(letter).copied().unwrap_or_default()
    }

    /// Returns whether an escaped letter may be the first escape in a needle, judged by the bytes before and behind it:
    /// three of them are neighbours in a needle, or one behind it is escaped, too, or the letter is a part of another
    /// escape.
    pub(super) fn may_hold_escaped(&self, before: &[u8], letter: u8, after: &[u8]) -> bool {
        let (before_last, last) = match before {
            [.., before_last, last] => (*before_last, *last),
            [last] => (0, *last),
            [] => (0, 0),
        };
        let byte = |at: usize| after.get(at).copied().unwrap_or_default();
        let (next, next_but_one) = (byte(0), byte(1));
        let is_quote = |letter: u8| matches!(letter, b'"' | b'\'');
        let may_escape = |letter: u8| ESCAPE_SIGNS.contains(&letter) || is_quote(letter) || letter == b'#';
        let is_of_escape =
            ESCAPE_SIGNS.contains(&letter) || letter == b'#' || is_quote(letter) && (is_quote(last) || is_quote(next));
        is_of_escape
            || !letter.is_ascii()
            || may_escape(next)
            || self.has_triple([before_last, last, letter])
            || self.has_triple([last, letter, next])
            || may_escape(next_but_one) && self.has_byte(next)
            || next == next_but_one && next.is_ascii_punctuation()
            || self.has_triple([letter, next, next_but_one])
    }

    /// Returns whether these bytes follow each other in a needle, or have the hash of bytes that do.
    #[inline]
    pub(super) fn has_triple(&self, [first, second, third]: [u8; 3]) -> bool {
        // Most pairs of letters are in no needle, and the table of pairs is small enough to be in the processor's caches.
        let is_triple = || has_bit(self.triples.as_slice(), large_hash(first, second, third));
        self.shortest < 3 || has_bit(self.pairs.as_slice(), pair_number(first, second)) && is_triple()
    }

    /// Returns the state after another byte.
    pub(super) fn next_state(&self, state: StateID, letter: u8) -> StateID {
        self.automaton.next_state(Anchored::No, state, letter)
    }

    /// Returns the longest needle that ends in this state; every other one that ends there is a suffix of it.
    pub(super) fn longest_match(&self, state: StateID) -> Option<&[u8]> {
        if !self.automaton.is_match(state) {
            return None;
        }
        let matches = (0..self.automaton.match_len(state)).map(|at| self.automaton.match_pattern(state, at));
        matches.filter_map(|text| self.texts.get(text.as_usize())).max_by_key(|text| text.len()).map(Vec::as_slice)
    }

    /// Returns the ranges of unescaped needles.
    pub(super) fn find_unescaped(&self, text: &[u8]) -> Vec<Range<usize>> {
        let (mut state, mut found) = (self.idle, Vec::new());
        for (at, letter) in text.iter().enumerate() {
            state = self.next_state(state, *letter);
            found.extend(self.longest_match(state).map(|needle| at + 1 - needle.len()..at + 1));
        }
        found
    }
}

#[inline]
fn has_bit(bits: &[u64], at: usize) -> bool {
    bits.get(at / BITS).is_some_and(|bits| bits >> (at % BITS) & 1 == 1)
}

fn set_bit(bits: &mut [u64], at: usize) {
    bits.get_mut(at / BITS).into_iter().for_each(|bits| *bits |= 1 << (at % BITS));
}

#[inline]
fn pair_number(first: u8, second: u8) -> usize {
    usize::from(u16::from_le_bytes([first, second]))
}

fn hash_triple(first: u8, second: u8, third: u8) -> usize {
    let (first, second, third) = (usize::from(first), usize::from(second), usize::from(third));
    (first.wrapping_mul(0x9e5) ^ second.wrapping_mul(0x4f1b) ^ third.wrapping_mul(0x3d)) % TRIPLE_HASHES
}

/// Returns a hash by which few other bytes are taken for those of a needle, even for a key of many lines.
fn large_hash(first: u8, second: u8, third: u8) -> usize {
    let (first, second, third) = (usize::from(first), usize::from(second), usize::from(third));
    (first << 12 ^ second << 6 ^ third.wrapping_mul(0x9e5)) % LARGE_HASHES
}

/// Returns how rare these bytes are in ordinary text.
fn triple_rarity(bytes: &[u8]) -> usize {
    let is_common = |byte: &&u8| byte.is_ascii_lowercase() || b" :/.-_=,\0".contains(byte);
    bytes.len() - bytes.iter().filter(is_common).count()
}

/// Returns the needles of a secret: the value, the trimmed value, each of its lines, the parts that the runner hides
/// (`ValueEncoders.cs`: the runner drops an output in which it finds one), and each of these in the character encodings
/// that current programs use.
fn needle_texts(secret: &Secret) -> Vec<Vec<u8>> {
    if !secret.can_be_hidden() {
        return Vec::new();
    }
    let text = secret.expose();
    let lines = text.lines().map(str::trim).filter(|line| line.len() >= MIN_LINE_LENGTH);
    let values = [text, text.trim()].into_iter().chain(lines).filter(|value| !value.trim().is_empty());
    let values =
        values.flat_map(|value| [Some(value), strip_quotes(value)].into_iter().flatten().chain(ampersand_parts(value)));
    values.flat_map(|value| character_encodings(value).into_iter().chain(base64_groups(value.as_bytes()))).collect()
}

/// Returns the inside of a value that was saved with its quotes, unless it is short.
fn strip_quotes(value: &str) -> Option<&str> {
    let unquoted = value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    unquoted.filter(|_| value.len() > 8)
}

/// Returns the parts before and after an ampersand, which `PowerShell` prints one by one, unless they are short.
fn ampersand_parts(value: &str) -> impl Iterator<Item = &str> {
    let at = value.find("&+").map(|at| at + 2).or_else(|| value.rfind('&').map(|at| at + 1));
    let parts = at.and_then(|at| value.split_at_checked(at));
    parts.into_iter().flat_map(|(before, after)| [before, after]).filter(|part| part.len() >= 6)
}

/// Returns the value in UTF-8, in UTF-16 of both byte orders (`PowerShell` encodes it in base64), and in Latin-1 where
/// possible (JavaScript's `escape` and Python's `repr`).
fn character_encodings(value: &str) -> Vec<Vec<u8>> {
    let mut encoded = vec![value.as_bytes().to_vec()];
    encoded.push(value.encode_utf16().flat_map(u16::to_le_bytes).collect());
    encoded.push(value.encode_utf16().flat_map(u16::to_be_bytes).collect());
    if !value.is_ascii() {
        let latin: Option<Vec<u8>> = value.chars().map(|letter| u8::try_from(u32::from(letter)).ok()).collect();
        encoded.extend(latin.filter(|latin| latin.len() > 2));
    }
    encoded
}

/// Returns the base64 of the complete groups of three bytes, from the first, second and third byte on: the runner looks
/// for these to find a value inside a longer encoded text.
fn base64_groups(value: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    (0..3).filter_map(|from| {
        let rest = value.get(from..)?;
        let groups = rest.get(..rest.len() / 3 * 3).filter(|groups| groups.len() >= 6)?;
        Some(STANDARD.encode(groups).into_bytes())
    })
}
