//! Decodes the escapes of a text: percent-encoding, those of programming languages and of JSON, HTML entities, doubled
//! signs, shell quotes, quoted-printable. The encoding of a text is unknown, so every position keeps all its possible
//! decodings, and an escape may itself be escaped.

use super::{
    decoded_bytes::DecodedBytes,
    decoded_text::DecodedText,
    entities::Entities,
    escape_signs::{CONTROL_ESCAPES, ESCAPE_SIGNS},
    needles::Needles,
};
use std::{
    cell::Cell,
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
};

/// Greatest number of ways to read one number that are followed.
const MAX_NUMBERS: usize = 12;

/// Number of equal signs on each side that make a sign part of a drawn line: no secret has so many.
const RULE_LENGTH: usize = 24;

/// Greatest number of decodings kept for one position.
const MAX_DECODINGS: usize = 24;

/// A decoding of a part of the text, up to `end`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Decoding {
    pub(super) end: usize,
    pub(super) decoded: DecodedBytes,
}

/// A number, and the position where it ends.
type Number = (u32, usize);

/// All decodings of a text, by their start. Besides these, every byte can stand for itself.
pub(super) struct Decodings<'t> {
    text: &'t [u8],
    needles: &'t Needles,
    entities: &'t Entities,
    found: BTreeMap<usize, Vec<Decoding>>,
    /// Positions where an escape may begin, each with the last position that was looked at to decode it.
    escape_starts: BTreeMap<usize, usize>,
    /// The last position that was looked at.
    last_looked_at: Cell<usize>,
}

impl<'t> Decodings<'t> {
    /// Decodes the escapes that are not escaped themselves.
    pub(super) fn from_text(text: &'t [u8], needles: &'t Needles, entities: &'t Entities) -> Self {
        let is_quote =
            |letter: u8| letter.is_ascii_punctuation() && needles.has_byte(letter) || b"'\"".contains(&letter);
        let is_sign = |letter: &u8| ESCAPE_SIGNS.contains(letter) || is_quote(*letter);
        // Of a drawn line only the ends matter.
        let is_in_rule = |at: usize| {
            let neighbourhood = text.get(at.saturating_sub(RULE_LENGTH)..at + RULE_LENGTH).unwrap_or_default();
            neighbourhood.len() == 2 * RULE_LENGTH && neighbourhood.iter().all(|letter| text.get(at) == Some(letter))
        };
        let escape_starts = text.iter().enumerate().filter(|(at, letter)| is_sign(letter) && !is_in_rule(*at));
        let escape_starts = escape_starts.map(|(at, _)| (at, at)).collect();
        let mut decodings =
            Self { text, needles, entities, found: BTreeMap::new(), escape_starts, last_looked_at: Cell::default() };
        let all = decodings.escape_starts.keys().copied().collect();
        decodings.decode_escapes_at(all);
        decodings
    }

    /// Adds the decodings of nested escapes, up to this many levels.
    pub(super) fn add_nested(&mut self, depth: usize) {
        let mut added: BTreeSet<usize> = self.found.keys().copied().collect();
        for _ in 0..depth {
            self.escape_starts.extend(
                added
                    .iter()
                    .filter(|at| !self.escape_starts.contains_key(*at))
                    .map(|at| (*at, *at))
                    .collect::<Vec<_>>(),
            );
            let is_sign = |at: usize| {
                self.starting_at(at)
                    .iter()
                    .any(|decoding| decoding.decoded.as_bytes().first().is_some_and(u8::is_ascii_punctuation))
            };
            // Only an escape that looked at a changed position can have a new decoding.
            let affected = self
                .escape_starts
                .iter()
                .filter(|(at, seen)| added.range(**at..=**seen).any(|added| *added > **at || is_sign(*added)));
            let affected = affected.map(|(at, _)| *at).collect();
            added = self.decode_escapes_at(affected);
            if added.is_empty() {
                break;
            }
        }
    }

    /// Decodes the escapes that begin at these positions; returns the positions with new decodings.
    fn decode_escapes_at(&mut self, positions: Vec<usize>) -> BTreeSet<usize> {
        let mut read = Vec::new();
        for at in positions {
            self.last_looked_at.set(at);
            read.push((at, self.decode_escape(at), self.last_looked_at.get()));
        }
        let mut added = BTreeSet::new();
        for (at, new, seen) in read {
            self.escape_starts.insert(at, seen);
            let new: Vec<Decoding> =
                new.into_iter().filter(|decoding| !self.starting_at(at).contains(decoding)).collect();
            if new.is_empty() {
                continue;
            }
            added.insert(at);
            let decodings = self.found.entry(at).or_default();
            for decoding in new {
                if decodings.len() < MAX_DECODINGS && !decodings.contains(&decoding) {
                    decodings.push(decoding);
                }
            }
            // The longest is likeliest; among equals the empty one, which separates no digits, and then the one that
            // was found first.
            decodings.sort_by_key(|decoding| (Reverse(decoding.end), decoding.decoded != DecodedBytes::EMPTY));
        }
        added
    }

    /// Returns the decodings that begin at a position.
    pub(super) fn starting_at(&self, position: usize) -> &[Decoding] {
        self.found.get(&position).map(Vec::as_slice).unwrap_or_default()
    }

    /// Returns all decodings, in the order of their start.
    pub(super) fn iter(&self) -> impl Iterator<Item = (usize, Decoding)> {
        self.found.iter().flat_map(|(at, decodings)| decodings.iter().map(|decoding| (*at, *decoding)))
    }

    /// Returns the first position from `position` on at which a decoding begins.
    pub(super) fn next_start(&self, position: usize) -> Option<usize> {
        self.found.range(position..).next().map(|(at, _)| *at)
    }

    /// Returns the text with each escape replaced by its likeliest decoding, and the original range of each byte. It
    /// serves only to find base encodings: their digits are not escaped in more than one way.
    pub(super) fn unescape(&self) -> DecodedText {
        let (mut unescaped, mut at) = (DecodedText::with_capacity(self.text.len()), 0);
        while let Some(letter) = self.text.get(at) {
            let decodings = self.starting_at(at).iter().filter(|_| b"%\\&`^".contains(letter));
            let ascii_decoding = decodings.copied().find(|decoding| decoding.decoded.as_bytes().is_ascii());
            let decoding =
                ascii_decoding.unwrap_or(Decoding { end: at + 1, decoded: DecodedBytes::from_byte(*letter) });
            for byte in decoding.decoded.as_bytes() {
                unescaped.push(*byte, &(at..decoding.end));
            }
            at = decoding.end;
        }
        unescaped
    }

    /// Returns the bytes that may stand at a position, each with its end: the byte itself, and every decoding of one
    /// byte.
    fn letters_at(&self, position: usize) -> impl Iterator<Item = (u8, usize)> {
        self.last_looked_at.set(self.last_looked_at.get().max(position));
        let plain = self.text.get(position).map(|letter| (*letter, position + 1));
        let read = self.starting_at(position).iter().filter_map(|decoding| match decoding.decoded.as_bytes() {
            [letter] => Some((*letter, decoding.end)),
            _ => None,
        });
        read.chain(plain)
    }

    /// Returns the positions where this letter may end if it stands at `position`.
    fn ends_of_letter(&self, position: usize, letter: u8) -> impl Iterator<Item = usize> {
        self.letters_at(position).filter(move |(candidate, _)| *candidate == letter).map(|(_, end)| end)
    }

    /// Decodes every escape that begins at a position.
    fn decode_escape(&self, position: usize) -> Vec<Decoding> {
        let mut decodings = Vec::new();
        for (sign, end) in self.letters_at(position) {
            match sign {
                b'%' => self.decode_percent(end, &mut decodings),
                b'\\' => self.decode_backslash(end, &mut decodings),
                b'&' => decodings.extend(self.decode_entity(end)),
                b'=' => self.decode_quoted_printable(end, &mut decodings),
                b'`' | b'^' => self.decode_shell_prefix(sign, end, &mut decodings),
                b'+' => decodings.push(Decoding { end, decoded: DecodedBytes::from_byte(b' ') }),
                _ => {}
            }
            if sign.is_ascii_punctuation() {
                decodings.extend(
                    self.ends_of_letter(end, sign).map(|end| Decoding { end, decoded: DecodedBytes::from_byte(sign) }),
                );
            }
            if sign == b'\'' {
                let quotes = [br"\''".as_slice(), br#""'"'"#];
                let closed = quotes.iter().flat_map(|quote| self.ends_of_letters(end, quote));
                decodings.extend(closed.map(|end| Decoding { end, decoded: DecodedBytes::from_byte(sign) }));
            }
        }
        decodings.retain(|decoding| decoding.decoded.as_bytes().iter().all(|byte| self.is_relevant(*byte)));
        decodings
    }

    /// Returns whether a byte can be a part of a needle or of an escape.
    fn is_relevant(&self, byte: u8) -> bool {
        self.needles.has_byte(byte) || byte.is_ascii_graphic() || b" \t\r\n".contains(&byte)
    }

    /// Returns every position at which these letters may end if they begin at `position`.
    fn ends_of_letters(&self, position: usize, letters: &[u8]) -> BTreeSet<usize> {
        letters.iter().fold(BTreeSet::from([position]), |positions, letter| {
            positions.into_iter().flat_map(|position| self.ends_of_letter(position, *letter)).collect()
        })
    }

    /// Returns the numbers of exactly `count` digits.
    fn numbers_of_length(&self, position: usize, base: u32, count: usize) -> Vec<Number> {
        self.numbers_up_to_length(position, base, count).into_iter().nth(count - 1).unwrap_or_default()
    }

    /// Returns the numbers of one digit, of two, and so on, up to `most` digits.
    fn numbers_up_to_length(&self, position: usize, base: u32, most: usize) -> Vec<Vec<Number>> {
        let longer = |(number, position): &Number| {
            let (number, position) = (*number, *position);
            let digits = self.letters_at(position).filter_map(move |(letter, end)| {
                Some((number.checked_mul(base)?.checked_add(char::from(letter).to_digit(base)?)?, end))
            });
            digits.collect::<Vec<_>>()
        };
        let (mut all, mut last) = (Vec::new(), vec![(0, position)]);
        while all.len() < most {
            last = last.iter().flat_map(longer).take(MAX_NUMBERS).collect();
            if last.is_empty() {
                break;
            }
            all.push(last.clone());
        }
        all
    }

    /// Adds the byte and the character of each number: some programs mean the one, some the other.
    fn push_numbered(numbers: &[Number], decodings: &mut Vec<Decoding>) {
        for (number, end) in numbers {
            let byte = u8::try_from(*number).ok().map(DecodedBytes::from_byte);
            let letter = char::from_u32(*number).filter(|letter| !letter.is_ascii()).map(DecodedBytes::from_char);
            decodings.extend(byte.into_iter().chain(letter).map(|label| Decoding { end: *end, decoded: label }));
        }
    }

    /// Adds the characters of UTF-16 units; a surrogate pair repeats the sign before its second unit.
    fn push_utf16_units(&self, sign: &[u8], numbers: &[Number], decodings: &mut Vec<Decoding>) {
        for (number, end) in numbers {
            if let Some(letter) = char::from_u32(*number) {
                decodings.push(Decoding { end: *end, decoded: DecodedBytes::from_char(letter) });
                continue;
            }
            let second = self
                .ends_of_letters(*end, sign)
                .into_iter()
                .flat_map(|position| self.numbers_of_length(position, 16, 4));
            decodings.extend(second.filter_map(|(low, end)| {
                let units = [u16::try_from(*number).ok()?, u16::try_from(low).ok()?];
                let letter = char::decode_utf16(units).next()?.ok()?;
                Some(Decoding { end, decoded: DecodedBytes::from_char(letter) })
            }));
        }
    }

    /// Decodes `%E4`, and JavaScript's `%u20AC`.
    fn decode_percent(&self, position: usize, decodings: &mut Vec<Decoding>) {
        Self::push_numbered(&self.numbers_of_length(position, 16, 2), decodings);
        for position in self.ends_of_letter(position, b'u') {
            self.push_utf16_units(b"%u", &self.numbers_of_length(position, 16, 4), decodings);
        }
    }

    /// Decodes quoted-printable.
    fn decode_quoted_printable(&self, position: usize, decodings: &mut Vec<Decoding>) {
        Self::push_numbered(&self.numbers_of_length(position, 16, 2), decodings);
        decodings.extend(self.line_ends(position).map(|end| Decoding { end, decoded: DecodedBytes::EMPTY }));
    }

    fn line_ends(&self, position: usize) -> impl Iterator<Item = usize> {
        self.ends_of_letters(position, b"\n").into_iter().chain(self.ends_of_letters(position, b"\r\n"))
    }

    /// Decodes the backslash escapes of C, Python, JavaScript, JSON, Rust, Haskell, SQL, LDAP and shells.
    fn decode_backslash(&self, position: usize, decodings: &mut Vec<Decoding>) {
        for (letter, end) in self.letters_at(position) {
            let control = CONTROL_ESCAPES.iter().find(|(name, _)| *name == letter).map(|(_, control)| *control);
            decodings.extend(
                control
                    .into_iter()
                    .chain([letter])
                    .map(|letter| Decoding { end, decoded: DecodedBytes::from_byte(letter) }),
            );
            match letter {
                b'x' => {
                    Self::push_numbered(&self.numbers_of_length(end, 16, 2), decodings);
                    Self::push_numbered(&self.braced_numbers(end), decodings);
                }
                b'u' => {
                    self.push_utf16_units(br"\u", &self.numbers_of_length(end, 16, 4), decodings);
                    self.push_utf16_units(br"\u", &self.braced_numbers(end), decodings);
                }
                b'&' => decodings.push(Decoding { end, decoded: DecodedBytes::EMPTY }),
                b'U' => self.push_utf16_units(br"\U", &self.numbers_of_length(end, 16, 8), decodings),
                _ => {}
            }
        }
        let by_digits =
            [(8, 3), (10, 7)].into_iter().flat_map(|(base, most)| self.numbers_up_to_length(position, base, most));
        by_digits.for_each(|numbers| Self::push_numbered(&numbers, decodings));
        let hexadecimal = self.numbers_up_to_length(position, 16, 4);
        hexadecimal.get(1).into_iter().for_each(|numbers| Self::push_numbered(numbers, decodings));
        hexadecimal.get(3).into_iter().for_each(|numbers| self.push_utf16_units(b"\\", numbers, decodings));
        decodings.extend(self.line_ends(position).map(|end| Decoding { end, decoded: DecodedBytes::EMPTY }));
    }

    /// Returns the numbers of the form `{1f600}`.
    fn braced_numbers(&self, position: usize) -> Vec<Number> {
        let numbers = self
            .ends_of_letters(position, b"{")
            .into_iter()
            .flat_map(|position| self.numbers_up_to_length(position, 16, 6))
            .flatten();
        numbers.flat_map(|(number, end)| self.ends_of_letter(end, b'}').map(move |end| (number, end))).collect()
    }

    /// Decodes the quoted signs of `PowerShell` and cmd.
    fn decode_shell_prefix(&self, sign: u8, position: usize, decodings: &mut Vec<Decoding>) {
        for (letter, end) in self.letters_at(position) {
            let control =
                CONTROL_ESCAPES.iter().find(|(name, _)| sign == b'`' && *name == letter).map(|(_, control)| *control);
            let quoted = Some(letter).filter(u8::is_ascii_punctuation);
            decodings.extend(
                control
                    .into_iter()
                    .chain(quoted)
                    .map(|letter| Decoding { end, decoded: DecodedBytes::from_byte(letter) }),
            );
        }
    }

    /// Decodes `&auml;`, `&#228;` and `&#xe4;`.
    fn decode_entity(&self, position: usize) -> Vec<Decoding> {
        let (mut name, mut at, mut decodings) = (String::new(), position, Vec::new());
        let is_named = |letter: &u8| letter.is_ascii_alphanumeric() || *letter == b'#';
        while name.len() <= Entities::LONGEST_NAME {
            if let Some(letter) = self.entities.character(&name) {
                decodings.extend(
                    self.ends_of_letter(at, b';').map(|end| Decoding { end, decoded: DecodedBytes::from_char(letter) }),
                );
            }
            let Some((letter, end)) = self.letters_at(at).find(|(letter, _)| is_named(letter)) else { break };
            name.push(char::from(letter));
            at = end;
        }
        decodings
    }
}
