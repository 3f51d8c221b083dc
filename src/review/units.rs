//! Numbers and durations as people read them.

pub(super) use crate::run::group_digits as format_count;
use std::time::Duration;

/// The units of large numbers of rows.
const ROW_UNITS: [(u64, &str); 2] = [(1_000_000_000, "G"), (1_000_000, "M")];

/// The units of durations, with the longest time that is given in each.
const TIME_UNITS: [(u64, u64, &str); 4] =
    [(1, 120, "s"), (60, 120 * 60, "min"), (3_600, 48 * 3_600, "h"), (86_400, u64::MAX, "days")];

/// Returns a number of rows, as in `120 M rows`.
pub(super) fn format_rows(rows: u64) -> String {
    match ROW_UNITS.iter().find(|(size, _)| rows >= *size) {
        Some((size, name)) => format!("{} {name} rows", with_fraction(rows, *size)),
        None if rows == 1 => "1 row".to_owned(),
        None => format!("{} rows", format_count(rows)),
    }
}

/// Returns a number in a unit; one below 10 has a fraction, except where the unit is 1.
fn with_fraction(number: u64, unit: u64) -> String {
    let (whole, rest) = (number / unit.max(1), number % unit.max(1));
    if unit == 1 || whole >= 10 {
        return format_count(whole);
    }
    let tenth = u128::from(rest) * 10 / u128::from(unit);
    format!("{whole}.{tenth}")
}

/// Returns a duration, as in `90 s`.
pub(super) fn format_duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    if seconds == 0 {
        return "less than 1 s".to_owned();
    }
    let (size, _, name) = unit_of(seconds);
    format!("{} {name}", format_count(seconds / size))
}

/// Returns a range of durations in the unit of the longer one, as in `3 to 9 min`.
pub(super) fn format_range(from: Duration, to: Duration) -> String {
    // The longest time is never understated.
    let (size, _, name) = unit_of(to.as_secs());
    let (from, to) = (from.as_secs() / size, to.as_millis().div_ceil(u128::from(size) * 1_000));
    let to = u64::try_from(to).unwrap_or(u64::MAX);
    match (from, to) {
        (_, 0 | 1) => format!("less than 1 {name}"),
        (0, to) => format!("up to {} {name}", format_count(to)),
        (from, to) if from == to => format!("{} {name}", format_count(to)),
        (from, to) => format!("{} to {} {name}", format_count(from), format_count(to)),
    }
}

fn unit_of(seconds: u64) -> (u64, u64, &'static str) {
    let [first, ..] = TIME_UNITS;
    TIME_UNITS.into_iter().find(|(_, longest, _)| seconds < *longest).unwrap_or(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_given_in_millions_if_there_are_so_many() {
        for (rows, text) in [
            (0, "0 rows"),
            (1, "1 row"),
            (12_000, "12,000 rows"),
            (1_250_000, "1.2 M rows"),
            (120_400_000, "120 M rows"),
        ] {
            assert_eq!(format_rows(rows), text);
        }
        assert_eq!(format_rows(2_000_000_000), "2.0 G rows");
    }

    #[test]
    fn a_range_has_the_unit_of_the_longer_time() {
        for (from, to, text) in [
            (0, 400, "less than 1 s"),
            (200, 4_100, "up to 5 s"),
            (97_000, 389_000, "1 to 7 min"),
            (5_000, 5_000, "5 s"),
            (3_600_000, 18_000_000, "1 to 5 h"),
        ] {
            assert_eq!(format_range(Duration::from_millis(from), Duration::from_millis(to)), text);
        }
        assert_eq!(format_duration(Duration::from_secs(7_200)), "2 h");
        assert_eq!(format_duration(Duration::from_millis(10)), "less than 1 s");
    }
}
