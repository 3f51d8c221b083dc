//! File names that begin with a number, `<number>_<name>.sql`, as most layouts have them.

use std::cmp::Ordering;

/// The largest version: ledgers keep it in a `bigint` column.
const LARGEST: u64 = 9_223_372_036_854_775_807;

/// The smallest number that is a date (`YYYYMMDD`) or a timestamp; those leave gaps.
const FIRST_DATE: u64 = 19_700_101;

/// The role of a file in its migration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileRole {
    /// It is the whole migration.
    Whole,
    /// It applies the migration, and its name says so, as in `.up.sql`.
    Up,
    /// It undoes the migration.
    Down,
    /// It applies the migration, and is a program that only the layout's tool can run.
    Program,
}

/// The parts of a file's name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileName {
    /// The version, as the ledger has it.
    pub version: String,
    /// The name behind the number, without the ending.
    pub name: String,
    /// Its role.
    pub role: FileRole,
}

impl FileName {
    /// Reads `<number>_<name>.sql`, `.up.sql` or `.down.sql`.
    ///
    /// # Errors
    ///
    /// The reason why it can't be read, to follow the file's name in a sentence.
    pub(super) fn read_numbered(file_name: &str) -> Result<Self, String> {
        let stem = file_name.strip_suffix(".sql").ok_or("does not end in `.sql` in lower case")?;
        let (stem, role) = split_role(stem);
        let (number, name) = stem.split_once('_').ok_or("has no `_` after its number")?;
        if number.is_empty() || !number.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err("does not begin with a number and `_`".to_owned());
        }
        if name.is_empty() {
            return Err("has no name after its number".to_owned());
        }
        let version = canonical_number(number).ok_or_else(number_too_large)?;
        Ok(Self { version, name: name.to_owned(), role })
    }
}

/// Returns the reason why a number is not a version.
pub(super) fn number_too_large() -> String {
    format!("has a number above {LARGEST}")
}

/// Splits `.up` or `.down` off the end of a name.
pub(super) fn split_role(stem: &str) -> (&str, FileRole) {
    match (stem.strip_suffix(".up"), stem.strip_suffix(".down")) {
        (Some(up), _) => (up, FileRole::Up),
        (None, Some(down)) => (down, FileRole::Down),
        (None, None) => (stem, FileRole::Whole),
    }
}

/// Reports whether the name ends in `.sql`, in any case.
pub(super) fn is_sql(path: &str) -> bool {
    path.rsplit_once('.').is_some_and(|(_, ending)| ending.eq_ignore_ascii_case("sql"))
}

/// Returns a number without leading zeros, as a `bigint` column has it.
pub(super) fn canonical_number(version: &str) -> Option<String> {
    let number: u64 = version.parse().ok().filter(|number| *number <= LARGEST)?;
    version.bytes().all(|byte| byte.is_ascii_digit()).then(|| number.to_string())
}

/// Reports whether a text has digits only.
pub(super) fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// Compares versions as the names of their files are compared as text: a `_` follows the version, and sorts behind
/// digits.
pub(super) fn compare_as_names(left: &str, right: &str) -> Ordering {
    let characters = |version: &str| version.bytes().chain(*b"_").collect::<Vec<u8>>();
    characters(left).cmp(&characters(right))
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

    fn read(name: &str) -> (String, String, FileRole) {
        let read = FileName::read_numbered(name).unwrap();
        (read.version, read.name, read.role)
    }

    fn parts(version: &str, name: &str, role: FileRole) -> (String, String, FileRole) {
        (version.to_owned(), name.to_owned(), role)
    }

    #[test]
    fn reads_names_with_any_number() {
        assert_eq!(read("0001_create_users.sql"), parts("1", "create_users", FileRole::Whole));
        assert_eq!(read("20240131120000_x.up.sql"), parts("20240131120000", "x", FileRole::Up));
        assert_eq!(read("2_x.down.sql"), parts("2", "x", FileRole::Down));
        assert_eq!(read("0_größe v1.2.sql"), parts("0", "größe v1.2", FileRole::Whole));
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
