//! Flyway's versions, and what baselines mean for them.

use super::table::RecordedMigration;
use std::cmp::Ordering;

/// The beginning of the version of a repeatable migration; its description follows.
pub(super) const REPEATABLE: &str = "R__";

/// The beginning of the version of a baseline; its version follows.
pub(super) const BASELINE: &str = "B__";

/// Returns a version without zeros that make no difference: `1.2` for `01_2.0`.
pub(super) fn canonical(version: &str) -> Option<String> {
    let parts: Option<Vec<u128>> = version.split(['.', '_']).map(parse_part).collect();
    let mut parts = parts?;
    while parts.len() > 1 && parts.last() == Some(&0) {
        parts.pop();
    }
    Some(parts.iter().map(u128::to_string).collect::<Vec<_>>().join("."))
}

fn parse_part(part: &str) -> Option<u128> {
    part.bytes().all(|byte| byte.is_ascii_digit()).then(|| part.parse().ok()).flatten()
}

/// Compares versions: numbered ones, a baseline before the version that it stands for, then repeatable ones by their
/// descriptions.
pub(super) fn compare(left: &str, right: &str) -> Ordering {
    let key = |version: &str| {
        let repeatable = version.strip_prefix(REPEATABLE);
        let number = version.strip_prefix(BASELINE).unwrap_or(version);
        let parts: Vec<u128> = match repeatable {
            Some(_) => Vec::new(),
            None => number.split('.').filter_map(parse_part).collect(),
        };
        (repeatable.map(str::to_owned), parts, !version.starts_with(BASELINE))
    };
    key(left).cmp(&key(right)).then_with(|| left.cmp(right))
}

/// Returns the versions that are not applied: in an empty database all those up to the newest baseline, else the
/// baselines.
pub(super) fn superseded(versions: &[&str], is_empty: bool) -> Vec<String> {
    let baselines = versions.iter().filter(|version| version.starts_with(BASELINE));
    let Some(newest) = baselines.clone().max_by(|left, right| compare(left, right)) else { return Vec::new() };
    let is_superseded = |version: &&&str| match (is_empty, version.starts_with(BASELINE)) {
        (true, _) => *version != newest && is_up_to(version, newest),
        (false, is_baseline) => is_baseline,
    };
    versions.iter().filter(is_superseded).map(|version| (*version).to_owned()).collect()
}

/// Reports whether a numbered version is not newer than a baseline.
fn is_up_to(version: &str, baseline: &str) -> bool {
    let number = |version: &str| version.strip_prefix(BASELINE).unwrap_or(version).to_owned();
    !version.starts_with(REPEATABLE) && compare(&number(version), &number(baseline)) != Ordering::Greater
}

/// Completes the ledger's rows: versions in their canonical form, and for a baseline every file up to it. A baseline
/// without a file of its own is not a migration.
pub(super) fn complete_rows(rows: Vec<RecordedMigration>, versions: &[&str]) -> Vec<RecordedMigration> {
    let (baselines, rows): (Vec<_>, Vec<_>) = rows.into_iter().partition(|row| row.version.starts_with(BASELINE));
    let mut rows: Vec<RecordedMigration> = rows
        .into_iter()
        .map(|row| match canonical(&row.version) {
            Some(version) => RecordedMigration { version, ..row },
            None => row,
        })
        .collect();
    for baseline in baselines {
        let number = baseline.version.strip_prefix(BASELINE).unwrap_or_default();
        let version = format!("{BASELINE}{}", canonical(number).unwrap_or_default());
        let covered = versions.iter().filter(|found| !found.starts_with(BASELINE) && is_up_to(found, &version));
        let covered: Vec<RecordedMigration> = covered
            .filter(|found| rows.iter().all(|row| row.version != **found))
            .map(|found| RecordedMigration { version: (*found).to_owned(), checksum: None, ..baseline.clone() })
            .collect();
        rows.extend(covered);
        if versions.contains(&version.as_str()) {
            rows.push(RecordedMigration { version, ..baseline });
        }
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(version: &str) -> RecordedMigration {
        RecordedMigration {
            version: version.to_owned(),
            name: String::new(),
            checksum: Some(b"1".to_vec()),
            success: true,
            took_ms: 0,
            origin: None,
        }
    }

    #[test]
    fn versions_are_compared_part_by_part() {
        let mut versions = ["R__b", "10.1", "2", "R__a", "10", "B__10", "1.2"];
        versions.sort_by(|left, right| compare(left, right));
        assert_eq!(versions, ["1.2", "2", "B__10", "10", "10.1", "R__a", "R__b"]);
        assert_eq!(canonical("001_0").as_deref(), Some("1"));
        assert_eq!(canonical("1.a"), None);
        assert_eq!(canonical(""), None);
    }

    #[test]
    fn a_baseline_stands_for_the_files_up_to_it_in_an_empty_database_only() {
        let versions = ["1", "2", "B__2", "3", "R__a"];
        assert_eq!(superseded(&versions, true), ["1", "2"]);
        assert_eq!(superseded(&versions, false), ["B__2"]);
        assert_eq!(superseded(&["1", "R__a"], true), [""; 0]);
    }

    #[test]
    fn a_recorded_baseline_covers_the_files_up_to_it() {
        let completed = |rows: Vec<RecordedMigration>, versions: &[&str]| -> Vec<String> {
            complete_rows(rows, versions).into_iter().map(|row| row.version).collect()
        };
        assert_eq!(completed(vec![row("B__2.0"), row("3.0")], &["1", "2", "3", "4"]), ["3", "1", "2"]);
        assert_eq!(completed(vec![row("B__2")], &["1", "B__2", "3"]), ["1", "B__2"]);
    }
}
