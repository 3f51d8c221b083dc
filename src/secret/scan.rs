//! One look at a text: whether anything in it can be a secret, and how it would have to be read. Most of what a run says is
//! done with after it.

use super::needles::Needles;

/// What a look has shown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Signs {
    /// A secret may stand there as it is.
    pub(super) plain: bool,
    /// Something may be escaped.
    pub(super) escapes: bool,
    /// There are enough digits of base64 in a row, or of a smaller base, to hold a secret.
    pub(super) digits: bool,
    /// There are enough pairs of hexadecimal digits, one behind the other, to hold a secret.
    pub(super) pairs: bool,
}

impl Signs {
    /// Whether there is anything to look closer at.
    pub(super) fn any(self) -> bool {
        self != Self::default()
    }
}

/// May begin an escape, whatever follows. Quotes and their like may do so when they are doubled.
pub(super) const SIGNS: &[u8] = b"%\\&=`^+";

const SIGN: u8 = 1;
const DIGIT: u8 = 2;
const HEX: u8 = 4;
const BREAK: u8 = 8;
const TWICE: u8 = 16;

/// What each byte may be.
#[derive(Debug)]
pub(super) struct Scan {
    classes: [u8; 256],
    /// Digits of base64 that the shortest needle takes.
    digits: usize,
    /// Pairs of digits that it takes behind the first, which may have digits in front.
    pairs: usize,
}

impl Scan {
    pub(super) fn new(needles: &Needles) -> Self {
        let mut classes = [0; 256];
        for (letter, class) in (0..=u8::MAX).zip(&mut classes) {
            let is_digit = letter.is_ascii_alphanumeric() || b"+/-_".contains(&letter);
            let marks = [
                (SIGN, SIGNS.contains(&letter) && (letter != b'+' || needles.has(b' '))),
                (DIGIT, is_digit),
                (HEX, letter.is_ascii_hexdigit()),
                (BREAK, matches!(letter, b'\n' | b'\r')),
                (TWICE, letter.is_ascii_punctuation() && needles.has(letter) || letter == b'"' && needles.has(b'\'')),
            ];
            *class = marks.iter().filter(|(_, is_so)| *is_so).map(|(mark, _)| mark).sum();
        }
        Self { classes, digits: needles.shortest * 4 / 3, pairs: needles.shortest - 1 }
    }

    /// Looks at each byte once.
    pub(super) fn look(&self, needles: &Needles, text: &[u8]) -> Signs {
        let (mut signs, mut digits, mut most, mut pairs, mut hex) = (Signs::default(), 0_usize, 0_usize, 0_usize, 0_u8);
        let (mut before, mut last) = (0, 0);
        for (at, letter) in text.iter().copied().enumerate() {
            let class = self.class(letter);
            if class & DIGIT != 0 {
                digits += 1;
            } else if class & BREAK == 0 && !matches!(text.get(at..), Some([b'=', b'\r' | b'\n', ..])) {
                most = most.max(digits);
                digits = 0;
            }
            if class & HEX != 0 {
                hex = hex.saturating_add(1);
            } else {
                pairs = match hex {
                    2 => pairs + 1,
                    0 if !letter.is_ascii_alphanumeric() => pairs,
                    // `0x` in front of the next.
                    1 if last == b'0' && letter == b'x' => pairs,
                    _ => 0,
                };
                signs.pairs |= pairs >= self.pairs;
                hex = 0;
            }
            if class & (SIGN | TWICE) != 0 && !signs.escapes {
                let rest = text.get(at + 1..).unwrap_or_default();
                signs.escapes = class & SIGN != 0 && is_escape(needles, letter, rest)
                    || class & TWICE != 0 && (rest.first() == Some(&letter) || letter == b'\'' && is_shells(rest));
            }
            signs.plain |= at > 1 && needles.may_begin(before, last, letter);
            (before, last) = (last, letter);
        }
        signs.digits = most.max(digits) >= self.digits;
        signs.pairs |= hex == 2 && pairs + 1 >= self.pairs;
        signs
    }

    fn class(&self, letter: u8) -> u8 {
        self.classes.get(usize::from(letter)).copied().unwrap_or_default()
    }
}

/// Whether something can be read as an escape that begins with this sign and goes on like this.
fn is_escape(needles: &Needles, sign: u8, rest: &[u8]) -> bool {
    match (sign, rest) {
        (b'%', [b'u' | b'U', ..]) | (b'=', [b'\r' | b'\n', ..]) | (b'\\', [_, ..]) | (b'+', _) => true,
        (b'%' | b'=', [high, low, ..]) => {
            let digit = |letter: &u8| char::from(*letter).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
            let letter = digit(high).zip(digit(low)).map(|(high, low)| high << 4 | low);
            letter.is_some_and(|letter| needles.has(letter) || letter.is_ascii_graphic() || !letter.is_ascii())
        }
        (b'&', [next, ..]) => *next == b'#' || next.is_ascii_alphabetic(),
        (b'`' | b'^', [next, ..]) => next.is_ascii_punctuation() || (sign == b'`' && b"0abefnrtv".contains(next)),
        _ => false,
    }
}

/// Whether a shell's way to write a quotation mark follows the one that closes.
fn is_shells(rest: &[u8]) -> bool {
    matches!(rest, [b'"', b'\'', ..] | [b'\\', b'\'', ..])
}
