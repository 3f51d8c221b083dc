//! Decodes base64, base32 and hexadecimal. The start of an encoded text is unknown, so each run of digits is decoded
//! from every digit at which its first byte could begin.

use super::{decoded_text::DecodedText, needles::Needles};

impl DecodedText {
    /// Decodes the text as UTF-16, if it contains zeros as ASCII letters do there: in either byte order, from the first
    /// and from the second byte on.
    fn decode_utf16(&self) -> Vec<Self> {
        if !self.bytes().contains(&0) {
            return Vec::new();
        }
        let unit_decoders: [fn([u8; 2]) -> u16; 2] = [u16::from_le_bytes, u16::from_be_bytes];
        let variants = unit_decoders.into_iter().flat_map(|decode_unit| [(decode_unit, 0), (decode_unit, 1)]);
        variants.map(|(decode_unit, first)| self.transcode_utf16(decode_unit, first)).collect()
    }

    fn transcode_utf16(&self, decode_unit: fn([u8; 2]) -> u16, first: usize) -> Self {
        let units = self.bytes().get(first..).unwrap_or_default().chunks_exact(2);
        let units = units.filter_map(|unit| unit.try_into().ok()).map(decode_unit);
        let (mut decoded, mut at) = (Self::default(), first);
        for letter in char::decode_utf16(units) {
            let letter = letter.unwrap_or(char::REPLACEMENT_CHARACTER);
            let end = at + 2 * letter.len_utf16();
            if let Some(range) = self.source_of(&(at..end)) {
                letter.encode_utf8(&mut [0; 4]).bytes().for_each(|byte| decoded.push(byte, &range));
            }
            at = end;
        }
        decoded
    }
}

/// Number of base32 digits worth decoding if some are small letters: every English word could be base32, but one in
/// capitals is seldom a word.
pub(super) const MIN_BASE32_DIGITS: usize = 13;

/// One base encoding.
struct BaseEncoding {
    bits: usize,
    digit: fn(u8) -> Option<u8>,
    /// Number of digits worth decoding if some are small letters.
    min_digits: usize,
}

const BASES: [BaseEncoding; 3] = [
    BaseEncoding { bits: 6, digit: base64_digit, min_digits: 4 },
    BaseEncoding { bits: 5, digit: base32_digit, min_digits: MIN_BASE32_DIGITS },
    BaseEncoding { bits: 4, digit: hex_digit, min_digits: 6 },
];

/// Returns the value of a digit of either alphabet of RFC 4648.
pub(super) fn base64_digit(letter: u8) -> Option<u8> {
    match letter {
        b'A'..=b'Z' => Some(letter - b'A'),
        b'a'..=b'z' => Some(letter - b'a' + 26),
        b'0'..=b'9' => Some(letter - b'0' + 52),
        b'+' | b'-' => Some(62),
        b'/' | b'_' => Some(63),
        _ => None,
    }
}

pub(super) fn base32_digit(letter: u8) -> Option<u8> {
    match letter {
        b'A'..=b'Z' => Some(letter - b'A'),
        b'a'..=b'z' => Some(letter - b'a'),
        b'2'..=b'7' => Some(letter - b'2' + 26),
        _ => None,
    }
}

fn hex_digit(letter: u8) -> Option<u8> {
    char::from(letter).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

/// A digit's value and position.
type Digit = (u8, usize);

/// Decodes the runs of digits that can hold a needle. Line breaks may interrupt them.
pub(super) fn decode_rows(text: &[u8], needles: &Needles) -> Vec<DecodedText> {
    let mut decoded = Vec::new();
    for BaseEncoding { bits, digit, min_digits } in BASES {
        let mut row: Vec<Digit> = Vec::new();
        let mut flush_row = |row: &mut Vec<Digit>| {
            let is_capital = |(_, at): &Digit| text.get(*at).is_some_and(|letter| !letter.is_ascii_lowercase());
            let is_long = row.len() >= min_digits || row.iter().all(is_capital);
            if row.len() >= (needles.shortest * 8).div_ceil(bits) && is_long {
                // The smallest number of digits that make whole bytes.
                (0..8_usize >> bits.trailing_zeros())
                    .for_each(|first| push_text_stretches(row, first, bits, needles, &mut decoded));
            }
            row.clear();
        };
        let mut is_new_line = false;
        for (at, letter) in text.iter().enumerate() {
            match digit(*letter) {
                Some(value) => row.push((value, at)),
                None if is_line_break(text, at) || (is_new_line && matches!(letter, b' ' | b'\t')) => {
                    is_new_line = true;
                    continue;
                }
                None => flush_row(&mut row),
            }
            is_new_line = false;
        }
        flush_row(&mut row);
    }
    decoded
}

/// Returns whether a line ends at a position, also in quoted-printable.
fn is_line_break(text: &[u8], at: usize) -> bool {
    matches!(text.get(at..), Some([b'\n' | b'\r', ..] | [b'=', b'\n' | b'\r', ..]))
}

/// Decodes pairs of hexadecimal digits with separators: `70:61:73`, `0x70, 0x61`.
pub(super) fn decode_hex_pairs(text: &[u8], needles: &Needles) -> Vec<DecodedText> {
    let (mut decoded, mut row, mut at) = (Vec::new(), Vec::new(), 0);
    let digit = |at: usize| text.get(at).copied().and_then(hex_digit);
    while at < text.len() {
        if let (Some(high), Some(low), None) = (digit(at), digit(at + 1), digit(at + 2)) {
            row.extend([(high, at), (low, at + 1)]);
            let rest = text.get(at + 2..).unwrap_or_default();
            let gap = rest.iter().take(3).take_while(|letter| b" :-,;._+\t\r\n".contains(letter)).count();
            let sign = usize::from(rest.get(gap..).is_some_and(|rest| rest.starts_with(b"0x"))) * 2;
            at += 2 + gap + sign;
        } else {
            push_text_stretches(&row, 0, 4, needles, &mut decoded);
            row.clear();
            at += 1;
        }
    }
    push_text_stretches(&row, 0, 4, needles, &mut decoded);
    decoded
}

/// Adds the stretches of the decoded bytes that can hold a needle, plain or escaped: all other bytes are not text.
fn push_text_stretches(row: &[Digit], first: usize, bits: usize, needles: &Needles, decoded: &mut Vec<DecodedText>) {
    let mut stretch = DecodedText::default();
    let (mut bit_buffer, mut bit_count, mut begin) = (0_usize, 0, 0);
    let mut end_stretch = |stretch: &mut DecodedText| {
        if stretch.bytes().len() >= needles.shortest {
            decoded.extend(stretch.decode_utf16());
            decoded.push(stretch.clone());
        }
        stretch.clear();
    };
    for (value, at) in row.get(first..).unwrap_or_default() {
        bit_buffer = bit_buffer << bits | usize::from(*value);
        bit_count += bits;
        if bit_count < 8 {
            continue;
        }
        bit_count -= 8;
        let byte = u8::try_from(bit_buffer >> bit_count & 0xff).unwrap_or_default();
        bit_buffer &= (1 << bit_count) - 1;
        if needles.is_text_byte(usize::from(byte)) {
            let start = row.get(first + begin / bits).map_or(*at, |(_, start)| *start);
            stretch.push(byte, &(start..at + 1));
        } else {
            end_stretch(&mut stretch);
        }
        begin += 8;
    }
    end_stretch(&mut stretch);
}
