//! The end of life of PostgreSQL's major versions.

use super::wording::count_of;
use crate::run::{Check, DoctorFinding};
use chrono::{DateTime, NaiveDate, Utc};
use std::time::SystemTime;

/// The last day with fixes of each major version. Source: <https://www.postgresql.org/support/versioning/>, on
/// 2026-11-30.
const LAST_FIXES: [(u32, (i32, u32, u32)); 5] =
    [(14, (2026, 11, 12)), (15, (2027, 11, 11)), (16, (2028, 11, 9)), (17, (2029, 11, 8)), (18, (2030, 11, 14))];

/// Number of days before the end from which on it is a warning.
const NOTICE_DAYS: i64 = 180;

const FIX: &str = "plan the upgrade to a newer major version: without fixes, holes in the server stay open";

/// Judges a version: `text` as the server reports it, `number` its `server_version_num`.
pub(super) fn judge_version(text: &str, number: Option<u32>, now: SystemTime) -> DoctorFinding {
    let major = number.unwrap_or_default() / 10_000;
    let end = LAST_FIXES.iter().find(|(version, _)| *version == major);
    let end = end.and_then(|(_, (year, month, day))| NaiveDate::from_ymd_opt(*year, *month, *day));
    let Some(end) = end else { return DoctorFinding::good(Check::Version, format!("PostgreSQL {text}")) };
    let days = end.signed_duration_since(DateTime::<Utc>::from(now).date_naive()).num_days();
    let left = count_of(usize::try_from(days).unwrap_or_default(), "day");
    match days {
        ..0 => DoctorFinding::warning(Check::Version, format!("PostgreSQL {text} gets no fixes since {end}"), FIX),
        0..NOTICE_DAYS => {
            DoctorFinding::warning(Check::Version, format!("PostgreSQL {text} gets fixes until {end}, for {left}"), FIX)
        }
        _ => DoctorFinding::good(Check::Version, format!("PostgreSQL {text}, with fixes until {end}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, UNIX_EPOCH};

    #[test]
    fn a_version_near_its_end_or_beyond_it_is_a_warning() {
        // 2026-11-30.
        let now = UNIX_EPOCH + Duration::from_secs(20_787 * 86_400);
        let judged = |text, number| {
            let finding = judge_version(text, Some(number), now);
            (finding.state.name(), finding.detail().to_owned())
        };
        assert_eq!(judged("14.20", 140_020), ("warning", "PostgreSQL 14.20 gets no fixes since 2026-11-12".to_owned()));
        assert_eq!(judged("15.1", 150_001), ("good", "PostgreSQL 15.1, with fixes until 2027-11-11".to_owned()));
        assert_eq!(judged("99.1", 990_001), ("good", "PostgreSQL 99.1".to_owned()));
        let later = now + Duration::from_secs(300 * 86_400);
        let soon = judge_version("15.1", Some(150_001), later);
        assert_eq!(soon.detail(), "PostgreSQL 15.1 gets fixes until 2027-11-11, for 46 days");
    }
}
