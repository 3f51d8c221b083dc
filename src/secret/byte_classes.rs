//! The classes of each byte, and, for a block of text, the bytes of each class as a bit mask: bit `i` belongs to byte `i`.

use super::{
    base_encodings::{base32_digit, base64_digit},
    needles::Needles,
};
use wide::u8x16;

/// Number of bytes in a block.
pub(super) const BLOCK_SIZE: usize = u64::BITS as usize;

/// Number of bytes whose classes are collected at once.
const LANES: usize = 16;

/// The bytes of each class in one block.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct ByteMasks {
    /// Base64 digits of either alphabet.
    pub(super) digits: u64,
    /// Base64 digits that make the first, the second or the third byte of a group 128 or more, if they are the first, the
    /// second or the third digit of the group.
    pub(super) high: [u64; 3],
    /// Base32 digits.
    pub(super) letters: u64,
    /// Hexadecimal digits.
    pub(super) hexadecimal: u64,
    /// Line breaks, and signs that may begin an escape, whatever the next byte is.
    pub(super) signs: u64,
    /// Signs that may be an escape together with the next of them: doubled, or as a shell's way to write an apostrophe.
    pub(super) doubled: u64,
}

/// The classes of each byte: bit 7 is for [`ByteMasks::digits`], and so on.
#[derive(Debug)]
pub(super) struct ByteClasses([u8; 256]);

impl ByteClasses {
    pub(super) fn new(needles: &Needles) -> Self {
        let classes_of = |byte: u8| {
            let value = base64_digit(byte);
            let has_bit = |bit: u8| value.is_some_and(|value| value >> bit & 1 == 1);
            let is_break = matches!(byte, b'\n' | b'\r');
            // A shell's other way to write an apostrophe: `'\\''`.
            let is_of_apostrophe = byte == b'\\' && needles.has_byte(b'\'');
            let conditions = [
                value.is_some(),
                // RFC 4648, section 4: the first byte of a group begins with the bit 5 of its first digit, the second one with
                // the bit 3 of the second, and the third one with the bit 1 of the third.
                has_bit(5),
                has_bit(3),
                has_bit(1),
                base32_digit(byte).is_some(),
                byte.is_ascii_hexdigit(),
                is_break || needles.is_escape_sign(byte),
                needles.is_doubled_sign(byte) || is_of_apostrophe,
            ];
            conditions.into_iter().fold(0, |classes, applies| classes << 1 | u8::from(applies))
        };
        let mut classes = [0; 256];
        (0..=u8::MAX).zip(&mut classes).for_each(|(byte, class)| *class = classes_of(byte));
        Self(classes)
    }

    /// Classifies a block, or what is left of a text.
    #[inline]
    pub(super) fn masks_of(&self, block: &[u8]) -> ByteMasks {
        let mut classes = [0; BLOCK_SIZE];
        for (class, byte) in classes.iter_mut().zip(block) {
            *class = self.0.get(usize::from(*byte)).copied().unwrap_or_default();
        }
        let (quarters, _) = classes.as_chunks::<LANES>();
        let [first, second, third, fourth, ..] = quarters else { return ByteMasks::default() };
        let mut quarters = [u8x16::new(*first), u8x16::new(*second), u8x16::new(*third), u8x16::new(*fourth)];
        let mut next_mask = || {
            let mut mask = 0;
            for lanes in quarters.iter_mut().rev() {
                // The highest bit of each lane; then that of the next class becomes the highest.
                mask = mask << LANES | u64::from(lanes.to_bitmask());
                *lanes += *lanes;
            }
            mask
        };
        let (digits, first, second, third) = (next_mask(), next_mask(), next_mask(), next_mask());
        let (letters, hexadecimal, signs, doubled) = (next_mask(), next_mask(), next_mask(), next_mask());
        ByteMasks { digits, high: [first, second, third], letters, hexadecimal, signs, doubled }
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::{escape_signs::ESCAPE_SIGNS, value::Secret},
        *,
    };

    #[test]
    fn every_byte_has_its_classes_wherever_it_stands() {
        let needles = Needles::from_secrets([&Secret::new("it's + me")]).expect("it can be hidden");
        let classes = ByteClasses::new(&needles);
        for (byte, at) in (0..=u8::MAX).flat_map(|byte| [0, 15, 16, 41, 63].map(|at| (byte, at))) {
            let mut block = vec![0; at + 1];
            block[at] = byte;
            let masks = classes.masks_of(&block);
            let value = base64_digit(byte);
            let has_bit = |bit: u8| value.is_some_and(|value| value >> bit & 1 == 1);
            let is_letter = byte.is_ascii_alphabetic() || (b'2'..=b'7').contains(&byte);
            let mask = |applies: bool| u64::from(applies) << at;
            let expected = ByteMasks {
                digits: mask(value.is_some()),
                high: [5, 3, 1].map(|bit| mask(has_bit(bit))),
                letters: mask(is_letter),
                hexadecimal: mask(byte.is_ascii_hexdigit()),
                signs: mask(ESCAPE_SIGNS.contains(&byte) || matches!(byte, b'\n' | b'\r')),
                doubled: mask(b"'+\"\\".contains(&byte)),
            };
            assert_eq!(masks, expected, "{byte} at {at}");
        }
    }
}
