//! The approved plan, as `expect-plan` names it.

use chrono::{DateTime, Utc};

/// An approved plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApprovedPlan {
    /// `sha256:` and 64 hexadecimal digits in small letters.
    pub digest: String,
    /// The time of the plan; the output of a run has it if approvals expire.
    pub planned_at: Option<DateTime<Utc>>,
}

impl ApprovedPlan {
    /// Sign between the digest and the time.
    pub const TIME_SIGN: char = '/';

    /// Parses the output `plan-digest`, with or without its prefix and its time (RFC 3339).
    #[must_use]
    pub fn from_text(text: &str) -> Option<Self> {
        let text = text.to_ascii_lowercase();
        let (digest, time) = match text.split_once(Self::TIME_SIGN) {
            Some((digest, time)) => (digest, Some(time)),
            None => (text.as_str(), None),
        };
        let hexadecimal = digest.strip_prefix("sha256:").unwrap_or(digest);
        let is_sha256 = hexadecimal.len() == 64 && hexadecimal.bytes().all(|byte| byte.is_ascii_hexdigit());
        let planned_at = match time {
            Some(time) => Some(DateTime::parse_from_rfc3339(time).ok()?.to_utc()),
            None => None,
        };
        is_sha256.then(|| Self { digest: format!("sha256:{hexadecimal}"), planned_at })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_is_named_by_its_digest_and_perhaps_its_time() {
        let [bare, prefixed] = ["a".repeat(64), format!("sha256:{}", "a".repeat(64))];
        let without_time = ApprovedPlan { digest: prefixed.clone(), planned_at: None };
        for text in [&bare, &prefixed, &prefixed.to_uppercase()] {
            assert_eq!(ApprovedPlan::from_text(text).as_ref(), Some(&without_time));
        }
        let with_time = ApprovedPlan::from_text(&format!("{prefixed}/2026-11-30T20:00:00Z")).unwrap();
        assert_eq!(with_time.digest, prefixed);
        assert_eq!(with_time.planned_at, "2026-11-30T20:00:00Z".parse().ok());
        for text in ["", "0123456789ab", "not-a-digest-at-all", "sha256:", &"a".repeat(63)] {
            assert_eq!(ApprovedPlan::from_text(text), None, "{text}");
        }
        for time in ["", "2026-11-30", "yesterday", "2026-11-30T20:00:00Z/2026-11-30T20:00:00Z"] {
            assert_eq!(ApprovedPlan::from_text(&format!("{prefixed}/{time}")), None, "{time}");
        }
    }
}
