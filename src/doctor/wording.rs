//! Counts, sizes, times and names as people read them.

use chrono::{DateTime, Utc};
use std::time::SystemTime;

/// Number of names in a list; the rest are counted.
const MAX_LISTED: usize = 5;

/// Formats a count: `1 table`, `2 tables`.
pub(super) fn count_of(number: usize, thing: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {thing}{plural}")
}

/// Formats a number of bytes in a unit of which there are few: `812 kB`, `3 GB`.
pub(super) fn format_bytes(bytes: u64) -> String {
    match bytes {
        0..1_000_000 => format!("{} kB", bytes.div_ceil(1_000)),
        1_000_000..1_000_000_000 => format!("{} MB", bytes / 1_000_000),
        _ => format!("{} GB", bytes / 1_000_000_000),
    }
}

/// Formats the day of a time: `2027-11-11`.
pub(super) fn format_day(time: SystemTime) -> String {
    DateTime::<Utc>::from(time).format("%Y-%m-%d").to_string()
}

/// Lists names as code, the first ones and the number of the others.
pub(super) fn list_names<'n>(names: impl ExactSizeIterator<Item = &'n str>) -> String {
    let more = names.len().saturating_sub(MAX_LISTED);
    let shown: Vec<String> = names.take(MAX_LISTED).map(|name| format!("`{name}`")).collect();
    let more = if more == 0 { String::new() } else { format!(" and {more} more") };
    format!("{}{more}", shown.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_has_a_unit_of_which_there_are_few() {
        assert_eq!(
            [0, 1, 999_999, 8_000_000, 3_100_000_000].map(format_bytes),
            ["0 kB", "1 kB", "1000 kB", "8 MB", "3 GB"]
        );
    }

    #[test]
    fn a_long_list_of_names_ends_with_a_number() {
        assert_eq!(list_names(["a", "b"].into_iter()), "`a`, `b`");
        assert_eq!(list_names(["a"; 7].into_iter()), "`a`, `a`, `a`, `a`, `a` and 2 more");
    }
}
