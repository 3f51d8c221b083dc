//! HTML entities.

use std::collections::HashMap;

/// The named entities of one character (HTML Living Standard, 13.5): a name and a hexadecimal number on each line.
const NAMED: &str = include_str!("entities.txt");

/// The named entities that can be a part of a needle or an escape.
#[derive(Debug, Default)]
pub(super) struct Entities(HashMap<&'static str, char>);

impl Entities {
    /// Length of the longest name, with a margin. The longest is `CounterClockwiseContourIntegral`; a number may have
    /// leading zeros.
    pub(super) const LONGEST_NAME: usize = 32;

    /// Returns the entities whose character matters.
    pub(super) fn matching(matters: impl Fn(char) -> bool) -> Self {
        let named = NAMED.lines().filter_map(|line| {
            let (name, number) = line.split_once(' ')?;
            Some((name, char::from_u32(u32::from_str_radix(number, 16).ok()?)?))
        });
        Self(named.filter(|(_, letter)| matters(*letter)).collect())
    }

    /// Returns the character of a name, or of `#` and a number.
    pub(super) fn character(&self, name: &str) -> Option<char> {
        let Some(number) = name.strip_prefix('#') else { return self.0.get(name).copied() };
        let number = match number.strip_prefix(['x', 'X']) {
            Some(digits) => u32::from_str_radix(digits, 16),
            None => number.parse(),
        };
        char::from_u32(number.ok()?)
    }
}
