//! A first look at a text: most of a run's output has neither a part of a secret nor an escape nor a long run of digits.
//! It classifies the bytes by the block, and looks more closely only where one of them is suspicious.

use super::{
    base_encodings::base64_digit,
    byte_classes::{BLOCK_SIZE, ByteClasses, ByteMasks},
    needles::Needles,
    prefilter::{Limits, MIN_DIGITS_BEFORE_BREAK, PrecedingDigits, Prefilter},
};

/// Number of digits in a base64 group.
const GROUP_LENGTH: usize = 4;

/// The limits, as far as two neighbouring blocks show whether they are reached.
#[derive(Debug)]
pub(super) struct Skim {
    limits: Limits,
    classes: ByteClasses,
    /// Set if every byte of a needle, plain or escaped, is below 128.
    is_ascii: bool,
    /// Distance, in bytes, between two places of a text whose three bytes are compared with those of the needles. Every
    /// needle covers the three bytes of such a place.
    step: usize,
}

impl Skim {
    pub(super) fn new(needles: &Needles, limits: Limits) -> Self {
        let Limits { groups, letters, hexadecimal, pairs } = limits;
        let limits = Limits {
            groups: groups.min(BLOCK_SIZE / GROUP_LENGTH - 1),
            letters: letters.min(BLOCK_SIZE),
            hexadecimal: hexadecimal.min(BLOCK_SIZE),
            pairs,
        };
        let is_ascii = (128..=255).all(|byte| !needles.is_text_byte(byte));
        Self { limits, classes: ByteClasses::new(needles), is_ascii, step: needles.shortest.saturating_sub(2).max(1) }
    }

    /// Reports whether the text can't contain a secret in any form. It has to be scanned if this is not certain.
    pub(super) fn is_free(&self, needles: &Needles, prefilter: &Prefilter, text: &[u8]) -> bool {
        if text.len() < needles.shortest {
            return true;
        }
        if self.may_hold_plain(needles, text) {
            return false;
        }
        let (mut last, mut pairs) = (ByteMasks::default(), 0);
        for (number, block) in text.chunks(BLOCK_SIZE).enumerate() {
            let masks = self.classes.masks_of(block);
            let both = |mask: fn(&ByteMasks) -> u64| u128::from(mask(&masks)) << BLOCK_SIZE | u128::from(mask(&last));
            pairs += ended_pairs(both(|masks| masks.hexadecimal));
            if pairs >= self.limits.pairs || self.has_long_row(both) {
                return false;
            }
            let start = number * BLOCK_SIZE;
            let is_escape = |at: usize| match text.get(at) {
                // A row of digits continues behind a line break.
                Some(b'\n' | b'\r') => row_before(text, at) > 0,
                _ => prefilter.is_escape(needles, text, at, &PrecedingDigits { row: || row_before(text, at), pairs }),
            };
            // Where the first of two signs stands, which may be the last byte of the block before.
            let doubled = masks.doubled & masks.doubled >> 1;
            let is_over_edge = masks.doubled & last.doubled >> (BLOCK_SIZE - 1) != 0;
            if is_over_edge && is_escape(start - 1) || ones(masks.signs | doubled).any(|at| is_escape(start + at)) {
                return false;
            }
            last = masks;
        }
        true
    }

    /// Returns whether an unescaped needle may be in the text: three bytes of a needle, and as many such triples around
    /// them as the shortest needle has.
    fn may_hold_plain(&self, needles: &Needles, text: &[u8]) -> bool {
        if needles.shortest < 3 {
            return true;
        }
        let mut at = 0;
        while let Some([first, second, third, ..]) = text.get(at..) {
            if needles.has_triple([*first, *second, *third]) && self.is_among_triples(needles, text, at) {
                return true;
            }
            at += self.step;
        }
        false
    }

    /// Returns whether there are as many triples of needles around this one as the shortest needle has.
    fn is_among_triples(&self, needles: &Needles, text: &[u8], at: usize) -> bool {
        let is_triple = |three: &&[u8]| match three {
            [first, second, third] => needles.has_triple([*first, *second, *third]),
            _ => false,
        };
        let (before, after) = (text.get(..at + 2).unwrap_or_default(), text.get(at + 1..).unwrap_or_default());
        let before = before.windows(3).rev().take(self.step).take_while(is_triple).count();
        let after = after.windows(3).take(self.step).take_while(is_triple).count();
        before + 1 + after >= self.step
    }

    /// Returns whether a run of digits of some base may be long enough for a needle. Takes a class of bytes of the last
    /// block and this one.
    fn has_long_row(&self, both: impl Fn(fn(&ByteMasks) -> u64) -> u128) -> bool {
        let digits = both(|masks| masks.digits);
        let mut groups = digits & digits >> 1 & digits >> 2 & digits >> 3;
        let eight = groups & groups >> 4;
        // An upper bound of the digits in a row. Most words are short, and need none of the searches below.
        let most = match (groups, eight, eight & eight >> 8) {
            (0, _, _) => 3,
            (_, 0, _) => 7,
            (_, _, 0) => 15,
            _ => usize::MAX,
        };
        let Limits { groups: least_groups, letters, hexadecimal, pairs: _ } = self.limits;
        if least_groups > 0 && least_groups * GROUP_LENGTH <= most && self.is_ascii {
            let [first, second, third] =
                [both(|masks| masks.high[0]), both(|masks| masks.high[1]), both(|masks| masks.high[2])];
            groups &= !(first | second >> 1 | third >> 2);
        }
        least_groups * GROUP_LENGTH <= most && has_run(groups, least_groups, GROUP_LENGTH)
            || letters <= most && has_run(both(|masks| masks.letters), letters, 1)
            || hexadecimal <= most && has_run(both(|masks| masks.hexadecimal), hexadecimal, 1)
    }
}

/// Returns the number of runs of exactly two hexadecimal digits that end in the upper half.
fn ended_pairs(hexadecimal: u128) -> usize {
    let ended = !hexadecimal & hexadecimal << 1 & hexadecimal << 2 & !(hexadecimal << 3);
    // Most blocks have none, and not every processor counts bits.
    match ended >> BLOCK_SIZE {
        0 => 0,
        ended => usize::try_from(ended.count_ones()).unwrap_or_default(),
    }
}

/// Returns whether there are so many bits in a row, each `stride` after the one before.
fn has_run(mut bits: u128, length: usize, stride: usize) -> bool {
    let mut joined = 1;
    while joined < length && bits != 0 {
        let more = joined.min(length - joined);
        bits &= bits >> (more * stride);
        joined += more;
    }
    bits != 0
}

/// Returns the positions of the bits that are set.
fn ones(mut bits: u64) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let lowest = usize::try_from(bits.trailing_zeros()).ok()?;
        (bits != 0).then(|| bits &= bits - 1)?;
        Some(lowest)
    })
}

/// Returns the number of base64 digits before a position, as far as it matters.
fn row_before(text: &[u8], at: usize) -> usize {
    let before = text.get(..at).unwrap_or_default().iter().rev().take(MIN_DIGITS_BEFORE_BREAK);
    before.take_while(|letter| base64_digit(**letter).is_some()).count()
}
