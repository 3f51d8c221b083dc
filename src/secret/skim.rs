//! A first look at a text: most of a run's output has neither a part of a secret nor an escape nor a long run of digits.

use super::{base_encodings::base64_digit, escape_signs::ESCAPE_SIGNS, needles::Needles};

const DIGIT: u8 = 1;
const HEX: u8 = 2;
const BREAK: u8 = 4;
const SIGN: u8 = 8;
const DOUBLED: u8 = 16;

/// The thresholds below which a text needs no further look.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// Number of consecutive base64 digits, which those of the smaller bases are as well.
    pub(super) row: usize,
    /// Number of hexadecimal pairs.
    pub(super) pairs: usize,
}

/// The classes of each byte.
#[derive(Debug)]
pub(super) struct Skim {
    classes: [u8; 256],
    limits: Limits,
}

impl Skim {
    pub(super) fn new(needles: &Needles, limits: Limits) -> Self {
        let mut classes = [0; 256];
        for (letter, class) in (0..=u8::MAX).zip(&mut classes) {
            let twice = needles.has_byte(letter) || letter == b'"' && needles.has_byte(b'\'');
            let conditions = [
                (DIGIT, base64_digit(letter).is_some()),
                (HEX, letter.is_ascii_hexdigit()),
                (BREAK, matches!(letter, b'\n' | b'\r')),
                (SIGN, ESCAPE_SIGNS.contains(&letter) && (letter != b'+' || needles.has_byte(b' '))),
                (DOUBLED, letter.is_ascii_punctuation() && twice),
            ];
            *class = conditions.iter().filter(|(_, applies)| *applies).fold(0, |class, (bit, _)| class | bit);
        }
        Self { classes, limits }
    }

    /// Reports whether the text can't contain a secret in any form. It has to be scanned if this is not certain.
    pub(super) fn is_free(&self, needles: &Needles, text: &[u8]) -> bool {
        let (mut row, mut hexadecimal, mut pairs) = (0_usize, 0_usize, 0_usize);
        let (mut before, mut last) = (0, 0);
        for letter in text.iter().copied() {
            let class = self.classes.get(usize::from(letter)).copied().unwrap_or_default();
            row = if class & DIGIT != 0 { row + 1 } else { row * usize::from(class & BREAK != 0) };
            pairs += usize::from(class & HEX == 0 && hexadecimal == 2);
            hexadecimal = (hexadecimal + 1) * usize::from(class & HEX != 0);
            // `'"'"'` is a quotation mark in a shell.
            let is_doubled = class & DOUBLED != 0 && (letter == last || letter == b'\'' && last == b'"');
            let is_sign = class & SIGN != 0 || is_doubled;
            if is_sign || row >= self.limits.row || needles.may_surround(before, last, letter) {
                return false;
            }
            (before, last) = (last, letter);
        }
        pairs < self.limits.pairs
    }
}
