//! The entities of HTML.

use std::collections::HashMap;

/// Those of one character (HTML Living Standard, 13.5), its name and its number, by name.
const NAMED: &str = include_str!("entities.txt");

/// The named ones that can matter.
#[derive(Debug, Default)]
pub(super) struct Entities(HashMap<&'static str, char>);

impl Entities {
    /// The longest name is `CounterClockwiseContourIntegral`; a number may have zeros in front.
    pub(super) const LONGEST: usize = 32;

    /// Those whose character matters.
    pub(super) fn of(matters: impl Fn(char) -> bool) -> Self {
        let named = NAMED.lines().filter_map(|line| {
            let (name, number) = line.split_once(' ')?;
            Some((name, char::from_u32(u32::from_str_radix(number, 16).ok()?)?))
        });
        Self(named.filter(|(_, letter)| matters(*letter)).collect())
    }

    /// The character of this name or `#` and number.
    pub(super) fn letter(&self, name: &str) -> Option<char> {
        let Some(number) = name.strip_prefix('#') else { return self.0.get(name).copied() };
        let number = match number.strip_prefix(['x', 'X']) {
            Some(digits) => u32::from_str_radix(digits, 16),
            None => number.parse(),
        };
        char::from_u32(number.ok()?)
    }
}
