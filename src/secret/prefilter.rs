//! Scans a text once for anything that can be a secret, and for the decodings that this would need. For most of a run's
//! output this scan is enough.

use super::{
    base_encodings::{LEAST_OF_BASE32, base64},
    escape_signs::{CONTROLS, SIGNS},
    needles::Needles,
};

/// The result of a scan.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Signs {
    /// Set when an unescaped secret is possible.
    pub(super) plain: bool,
    /// Set when an escape may be a part of a secret.
    pub(super) escapes: bool,
    /// Set when there is a run of base64 digits that decodes to text, or one of a smaller base that is long enough, or
    /// of hexadecimal pairs.
    pub(super) digits: bool,
}

impl Signs {
    /// Returns whether the text needs a search.
    pub(super) fn any(self) -> bool {
        self != Self::default()
    }
}

const SIGN: u8 = 1;
const HEX: u8 = 2;
const LETTER: u8 = 4;
const BREAK: u8 = 8;
const TWICE: u8 = 16;

/// Value of a byte that is not a base64 digit.
const NONE: u8 = u8::MAX;

/// The classes of each byte, and the thresholds for a text that can contain a secret.
#[derive(Debug)]
pub(super) struct Scan {
    classes: [u8; 256],
    values: [u8; 256],
    /// Number of consecutive complete base64 groups in the shortest needle.
    groups: u8,
    /// Number of hexadecimal digits of the shortest needle.
    hexadecimal: usize,
    /// Number of base32 digits of the shortest needle: `capitals` if all are capitals, `letters` if some are small.
    capitals: usize,
    letters: usize,
}

/// Number of consecutive digits before which an escaped line break matters.
const LEAST_ROW: usize = 8;

/// Number of base64 digits and of hexadecimal pairs before an escape.
#[derive(Debug, Clone, Copy)]
struct Around {
    row: usize,
    pairs: usize,
}

impl Around {
    /// Returns whether an escaped letter may be one of the digits, or stand between them.
    fn may_have(self, letter: u8) -> bool {
        match letter {
            b'+' | b'/' | b'-' | b'_' => self.row > 0,
            b'\n' | b'\r' => self.row >= LEAST_ROW || self.pairs > 0,
            b' ' | b':' | b',' | b';' | b'.' | b'\t' => self.pairs > 0,
            _ => false,
        }
    }
}

/// The state of a scan at one position.
#[derive(Debug, Default)]
struct Rows {
    held: usize,
    digits: usize,
    /// For each of the four possible alignments, the number of consecutive base64 groups that are text.
    groups: [u8; 4],
    hexadecimal: usize,
    letters: usize,
    /// Number of these since the last small letter.
    capitals: usize,
    pairs: usize,
}

impl Scan {
    pub(super) fn new(needles: &Needles) -> Self {
        let (mut classes, mut values) = ([0; 256], [NONE; 256]);
        for ((letter, class), value) in (0..=u8::MAX).zip(&mut classes).zip(&mut values) {
            let twice = needles.has(letter) || letter == b'"' && needles.has(b'\'');
            let marks = [
                (SIGN, SIGNS.contains(&letter) && (letter != b'+' || needles.has(b' '))),
                (HEX, letter.is_ascii_hexdigit()),
                (LETTER, letter.is_ascii_alphabetic() || (b'2'..=b'7').contains(&letter)),
                (BREAK, matches!(letter, b'\n' | b'\r')),
                (TWICE, letter.is_ascii_punctuation() && twice),
            ];
            *class = marks.iter().filter(|(_, is_so)| *is_so).map(|(mark, _)| mark).sum();
            *value = base64(letter).unwrap_or(NONE);
        }
        let groups = u8::try_from(needles.shortest.saturating_sub(2) / 3).unwrap_or(u8::MAX);
        let capitals = needles.shortest * 8 / 5;
        let letters = capitals.max(LEAST_OF_BASE32);
        Self { classes, values, groups, hexadecimal: needles.shortest * 2, capitals, letters }
    }

    /// Scans each byte once.
    pub(super) fn look(&self, needles: &Needles, text: &[u8]) -> Signs {
        let (mut signs, mut rows) = (Signs::default(), Rows::default());
        let (mut before, mut last) = (0, 0);
        for (at, letter) in text.iter().copied().enumerate() {
            let index = usize::from(letter);
            let class = self.classes.get(index).copied().unwrap_or_default();
            let value = self.values.get(index).copied().unwrap_or(NONE);
            let row = rows.digits;
            if value != NONE {
                signs.digits |= self.takes(&mut rows, needles, value);
            } else if class & BREAK == 0 && !matches!(text.get(at..), Some([b'=', b'\r' | b'\n', ..])) {
                (rows.digits, rows.groups) = (0, [0; 4]);
            }
            rows.letters = if class & LETTER == 0 { 0 } else { rows.letters + 1 };
            rows.capitals = if class & LETTER == 0 || letter.is_ascii_lowercase() { 0 } else { rows.capitals + 1 };
            if class & HEX == 0 {
                rows.pairs = match rows.hexadecimal {
                    2 => rows.pairs + 1,
                    0 if !letter.is_ascii_alphanumeric() => rows.pairs,
                    // `0x` before the next pair.
                    1 if last == b'0' && letter == b'x' => rows.pairs,
                    _ => 0,
                };
                rows.hexadecimal = 0;
            } else {
                rows.hexadecimal += 1;
            }
            // The first pair may follow other digits, and nothing has to follow the last.
            signs.digits |= rows.pairs + 2 >= needles.shortest && rows.pairs > 0;
            signs.digits |= rows.letters >= self.letters || rows.capitals >= self.capitals;
            signs.digits |= rows.hexadecimal >= self.hexadecimal;
            if class & (SIGN | TWICE) != 0 && !signs.escapes {
                let rest = text.get(at + 1..).unwrap_or_default();
                signs.escapes = class & SIGN != 0
                    && is_escape(needles, last, letter, rest, Around { row, pairs: rows.pairs })
                    || class & TWICE != 0 && is_twice(needles, last, letter, rest);
            }
            signs.plain |= at > 1 && needles.may_be_around(before, last, letter);
            (before, last) = (last, letter);
        }
        signs
    }

    /// Adds a base64 digit; returns whether enough consecutive groups are text to hold a needle.
    fn takes(&self, rows: &mut Rows, needles: &Needles, value: u8) -> bool {
        rows.held = rows.held << 6 & 0xff_ffff | usize::from(value);
        rows.digits += 1;
        if rows.digits < 4 {
            return false;
        }
        let is_text = [16, 8, 0].iter().all(|shift| needles.is_text(rows.held >> shift & 0xff));
        let Some(groups) = rows.groups.get_mut(rows.digits % 4) else { return false };
        *groups = if is_text { groups.saturating_add(1) } else { 0 };
        *groups >= self.groups
    }
}

/// Returns whether this sign and the rest can be decoded as an escape that may be a part of a needle.
fn is_escape(needles: &Needles, last: u8, sign: u8, rest: &[u8], around: Around) -> bool {
    let follows =
        |letter: u8, rest: &[u8]| needles.may_be_among(last, letter, rest.first().copied()) || around.may_have(letter);
    let control = |letter: &u8| CONTROLS.iter().find(|(name, _)| name == letter).map(|(_, control)| *control);
    match (sign, rest) {
        (b'%', [b'u' | b'U', ..]) | (b'=', [b'\r' | b'\n', ..]) => true,
        (b'\\', [b'x' | b'u' | b'U' | b'\\' | b'&' | b'\n' | b'\r', ..]) => true,
        (b'+', rest) => follows(b' ', rest),
        (b'%' | b'=', [high, low, rest @ ..]) => {
            let digit = |letter: &u8| char::from(*letter).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
            let letter = digit(high).zip(digit(low)).map(|(high, low)| high << 4 | low);
            letter.is_some_and(|letter| follows(letter, rest))
        }
        (b'\\', [letter, rest @ ..]) => {
            letter.is_ascii_hexdigit()
                || follows(*letter, rest)
                || control(letter).is_some_and(|letter| follows(letter, rest))
        }
        (b'&', [next, ..]) => *next == b'#' || next.is_ascii_alphabetic(),
        (b'`' | b'^', [letter, rest @ ..]) => {
            let control = control(letter).filter(|_| sign == b'`');
            letter.is_ascii_punctuation() && follows(*letter, rest)
                || control.is_some_and(|letter| follows(letter, rest))
        }
        _ => false,
    }
}

/// Returns whether a sign is doubled here, or a shell's way to write one begins.
fn is_twice(needles: &Needles, last: u8, sign: u8, rest: &[u8]) -> bool {
    match rest {
        [next, rest @ ..] if *next == sign => needles.may_be_among(last, sign, rest.first().copied()),
        rest => sign == b'\'' && is_shells(rest),
    }
}

/// Returns whether the rest is a shell's way to write a quotation mark, after the closing one.
fn is_shells(rest: &[u8]) -> bool {
    matches!(rest, [b'"', b'\'', ..] | [b'\\', b'\'', ..])
}
