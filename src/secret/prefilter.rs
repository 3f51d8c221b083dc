//! Scans a text once for anything that can be a secret, and for the decodings that this would need. For most of a run's
//! output this scan is enough.

use super::{
    base_encodings::{MIN_BASE32_DIGITS, base32_digit, base64_digit},
    escape_signs::CONTROL_ESCAPES,
    needles::Needles,
};

/// The result of a scan.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct PrefilterResult {
    /// Set when an unescaped secret is possible.
    pub(super) plain: bool,
    /// Set when an escape may be a part of a secret.
    pub(super) escapes: bool,
    /// Set when there is a run of base64 digits that decodes to text, or one of a smaller base that is long enough, or
    /// of hexadecimal pairs.
    pub(super) digits: bool,
}

const SIGN: u8 = 1;
const HEX: u8 = 2;
const LETTER: u8 = 4;
const BREAK: u8 = 8;
const DOUBLED: u8 = 16;

/// Value of a byte that is not a base64 digit.
const NO_DIGIT: u8 = u8::MAX;

/// The classes of each byte, and the thresholds for a text that can contain a secret.
#[derive(Debug)]
pub(super) struct Prefilter {
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

/// The thresholds below which a text needs no further look.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// Number of consecutive base64 groups.
    pub(super) groups: usize,
    /// Number of consecutive base32 digits.
    pub(super) letters: usize,
    /// Number of consecutive hexadecimal digits.
    pub(super) hexadecimal: usize,
    /// Number of hexadecimal pairs.
    pub(super) pairs: usize,
}

/// Number of consecutive digits before which an escaped line break matters.
pub(super) const MIN_DIGITS_BEFORE_BREAK: usize = 8;

/// The digits before an escape.
#[derive(Debug, Clone, Copy)]
pub(super) struct PrecedingDigits<R> {
    /// Counts the base64 digits. Few escapes need it.
    pub(super) row: R,
    /// Number of hexadecimal pairs.
    pub(super) pairs: usize,
}

impl<R: Fn() -> usize> PrecedingDigits<R> {
    /// Returns whether an escaped letter may be one of the digits, or stand between them.
    fn may_continue_with(&self, letter: u8) -> bool {
        match letter {
            b'+' | b'/' | b'-' | b'_' => (self.row)() > 0,
            b'\n' | b'\r' => self.pairs > 0 || (self.row)() >= MIN_DIGITS_BEFORE_BREAK,
            b' ' | b':' | b',' | b';' | b'.' | b'\t' => self.pairs > 0,
            _ => false,
        }
    }
}

/// The state of a scan at one position.
#[derive(Debug, Default)]
struct RunLengths {
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

impl Prefilter {
    pub(super) fn new(needles: &Needles) -> Self {
        let (mut classes, mut values) = ([0; 256], [NO_DIGIT; 256]);
        for ((letter, class), value) in (0..=u8::MAX).zip(&mut classes).zip(&mut values) {
            let conditions = [
                (SIGN, needles.is_escape_sign(letter)),
                (HEX, letter.is_ascii_hexdigit()),
                (LETTER, base32_digit(letter).is_some()),
                (BREAK, matches!(letter, b'\n' | b'\r')),
                (DOUBLED, needles.is_doubled_sign(letter)),
            ];
            *class = conditions.iter().filter(|(_, applies)| *applies).map(|(bit, _)| bit).sum();
            *value = base64_digit(letter).unwrap_or(NO_DIGIT);
        }
        let groups = u8::try_from(needles.shortest.saturating_sub(2) / 3).unwrap_or(u8::MAX);
        let capitals = needles.shortest * 8 / 5;
        let letters = capitals.max(MIN_BASE32_DIGITS);
        Self { classes, values, groups, hexadecimal: needles.shortest * 2, capitals, letters }
    }

    /// Returns the thresholds below which [`Self::scan_text`] finds no digits.
    pub(super) fn limits(&self, needles: &Needles) -> Limits {
        // `scan_text` counts a pair when it ends; the first may follow other digits, and nothing has to follow the last.
        let pairs = needles.shortest.saturating_sub(2).max(1);
        Limits { groups: self.groups.into(), letters: self.capitals, hexadecimal: self.hexadecimal, pairs }
    }

    /// Scans each byte once.
    pub(super) fn scan_text(&self, needles: &Needles, text: &[u8]) -> PrefilterResult {
        let (mut signs, mut rows) = (PrefilterResult::default(), RunLengths::default());
        let (mut before, mut last) = (0, 0);
        for (at, letter) in text.iter().copied().enumerate() {
            let index = usize::from(letter);
            let class = self.classes.get(index).copied().unwrap_or_default();
            let value = self.values.get(index).copied().unwrap_or(NO_DIGIT);
            let row = rows.digits;
            if value != NO_DIGIT {
                signs.digits |= self.push_base64_digit(&mut rows, needles, value);
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
            if class & (SIGN | DOUBLED) != 0 && !signs.escapes {
                signs.escapes = self.is_escape(needles, text, at, &PrecedingDigits { row: || row, pairs: rows.pairs });
            }
            signs.plain |= at > 1 && needles.may_surround(before, last, letter);
            (before, last) = (last, letter);
        }
        signs
    }

    /// Returns whether an escape that may be a part of a needle, or of an encoded one, begins at a position.
    pub(super) fn is_escape(
        &self,
        needles: &Needles,
        text: &[u8],
        at: usize,
        preceding: &PrecedingDigits<impl Fn() -> usize>,
    ) -> bool {
        let Some(letter) = text.get(at).copied() else { return false };
        let class = self.classes.get(usize::from(letter)).copied().unwrap_or_default();
        let (before, rest) = (text.get(..at).unwrap_or_default(), text.get(at + 1..).unwrap_or_default());
        class & SIGN != 0 && may_be_escape(needles, before, letter, rest, preceding)
            || class & DOUBLED != 0 && is_doubled(needles, before, letter, rest)
    }

    /// Adds a base64 digit; returns whether enough consecutive groups are text to hold a needle.
    fn push_base64_digit(&self, rows: &mut RunLengths, needles: &Needles, value: u8) -> bool {
        rows.held = rows.held << 6 & 0xff_ffff | usize::from(value);
        rows.digits += 1;
        if rows.digits < 4 {
            return false;
        }
        let is_text = [16, 8, 0].iter().all(|shift| needles.is_text_byte(rows.held >> shift & 0xff));
        let Some(groups) = rows.groups.get_mut(rows.digits % 4) else { return false };
        *groups = if is_text { groups.saturating_add(1) } else { 0 };
        *groups >= self.groups
    }
}

/// Returns whether this sign and the rest can be decoded as an escape that may be a part of a needle.
fn may_be_escape(
    needles: &Needles,
    before: &[u8],
    sign: u8,
    rest: &[u8],
    preceding: &PrecedingDigits<impl Fn() -> usize>,
) -> bool {
    let follows =
        |letter: u8, rest: &[u8]| needles.may_hold_escaped(before, letter, rest) || preceding.may_continue_with(letter);
    let control = |letter: &u8| CONTROL_ESCAPES.iter().find(|(name, _)| name == letter).map(|(_, control)| *control);
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
fn is_doubled(needles: &Needles, before: &[u8], sign: u8, rest: &[u8]) -> bool {
    match rest {
        [next, rest @ ..] if *next == sign => needles.may_hold_escaped(before, sign, rest),
        rest => sign == b'\'' && is_shell_quote(rest),
    }
}

/// Returns whether the rest is a shell's way to write a quotation mark, after the closing one.
fn is_shell_quote(rest: &[u8]) -> bool {
    matches!(rest, [b'"', b'\'', ..] | [b'\\', b'\'', ..])
}
