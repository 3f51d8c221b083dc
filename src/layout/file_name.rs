//! File names that begin with a number, `<number>_<name>.sql`, as plain files and sqlx have them.

use std::cmp::Ordering;

/// The largest version: ledgers keep it in a `bigint` column.
const LARGEST: u64 = 9_223_372_036_854_775_807;

/// The smallest number that is a date (`YYYYMMDD`) or a timestamp; those leave gaps.
const FIRST_DATE: u64 = 19_700_101;

/// The direction of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// The migration has no down file.
    Irreversible,
    /// `.up.sql`
    Up,
    /// `.down.sql`; never run.
    Down,
}

/// The parts of a file's name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileName {
    /// The version, as the ledger has it.
    pub version: String,
    /// The name behind the number, without the ending.
    pub name: String,
    /// The direction.
    pub direction: Direction,
}

impl FileName {
    /// Reads `<number>_<name>.sql`, `.up.sql` or `.down.sql`.
    ///
    /// # Errors
    ///
    /// The reason why it can't be read, to follow the file's name in a sentence.
    pub(super) fn read_numbered(file_name: &str) -> Result<Self, String> {
        let stem = file_name.strip_suffix(".sql").ok_or("does not end in `.sql` in lower case")?;
        let (stem, direction) = match (stem.strip_suffix(".up"), stem.strip_suffix(".down")) {
            (Some(up), _) => (up, Direction::Up),
            (None, Some(down)) => (down, Direction::Down),
            (None, None) => (stem, Direction::Irreversible),
        };
        let (number, name) = stem.split_once('_').ok_or("has no `_` after its number")?;
        if number.is_empty() || !number.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err("does not begin with a number and `_`".to_owned());
        }
        if name.is_empty() {
            return Err("has no name after its number".to_owned());
        }
        let version = canonical_number(number).ok_or_else(|| format!("has a number above {LARGEST}"))?;
        Ok(Self { version, name: name.to_owned(), direction })
    }
}

/// Returns a number without leading zeros, as a `bigint` column has it.
pub(super) fn canonical_number(version: &str) -> Option<String> {
    let number: u64 = version.parse().ok().filter(|number| *number <= LARGEST)?;
    version.bytes().all(|byte| byte.is_ascii_digit()).then(|| number.to_string())
}

/// Compares versions as numbers. Another tool's ledger may contain versions that are not numbers, which come first.
pub(super) fn compare_numbers(left: &str, right: &str) -> Ordering {
    let number = |version: &str| version.parse::<u64>().ok();
    number(left).cmp(&number(right)).then_with(|| left.cmp(right))
}

/// Returns the first number that is left out between two neighbours of a consecutive numbering.
pub(super) fn first_gap(before: &str, after: &str) -> Option<String> {
    let (before, after): (u64, u64) = (before.parse().ok()?, after.parse().ok()?);
    (after < FIRST_DATE && after.saturating_sub(before) > 1).then(|| before.saturating_add(1).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(name: &str) -> (String, String, Direction) {
        let read = FileName::read_numbered(name).unwrap();
        (read.version, read.name, read.direction)
    }

    fn parts(version: &str, name: &str, direction: Direction) -> (String, String, Direction) {
        (version.to_owned(), name.to_owned(), direction)
    }

    #[test]
    fn reads_names_with_any_number() {
        assert_eq!(read("0001_create_users.sql"), parts("1", "create_users", Direction::Irreversible));
        assert_eq!(read("20240131120000_x.up.sql"), parts("20240131120000", "x", Direction::Up));
        assert_eq!(read("2_x.down.sql"), parts("2", "x", Direction::Down));
        assert_eq!(read("0_größe v1.2.sql"), parts("0", "größe v1.2", Direction::Irreversible));
        assert_eq!(read("9223372036854775807_x.sql").0, LARGEST.to_string());
    }

    #[test]
    fn explains_why_a_name_is_unreadable() {
        for (name, reason) in [
            ("V1__x.sql", "does not begin"),
            ("create.sql", "has no `_`"),
            ("0001-x.sql", "has no `_`"),
            ("0001_.sql", "has no name"),
            ("0001_.up.sql", "has no name"),
            ("+1_x.sql", "does not begin"),
            ("_x.sql", "does not begin"),
            ("0001_x.SQL", "lower case"),
            ("9223372036854775808_x.sql", "above"),
            ("99999999999999999999_x.sql", "above"),
        ] {
            assert!(FileName::read_numbered(name).unwrap_err().contains(reason), "{name}");
        }
    }

    #[test]
    fn compares_versions_as_numbers() {
        let mut versions = ["10", "9", "20240131120000", "-1", "0"];
        versions.sort_by(|left, right| compare_numbers(left, right));
        assert_eq!(versions, ["-1", "0", "9", "10", "20240131120000"]);
    }

    #[test]
    fn finds_gaps_of_a_consecutive_numbering_and_none_between_dates() {
        assert_eq!(first_gap("4", "6").as_deref(), Some("5"));
        assert_eq!(first_gap("6", "9").as_deref(), Some("7"));
        for (before, after) in [("3", "4"), ("9", "20240101"), ("20240101", "20240301"), ("4", "4")] {
            assert_eq!(first_gap(before, after), None);
        }
    }
}
