//! The approval of a plan: what its digest covers besides the migrations, and whether an approved digest still holds.

use crate::{
    fault::{Code, Fault},
    settings::{Allowance, ApprovedPlan},
};
use chrono::{DateTime, SecondsFormat, Utc};
use sha2::{Digest as _, Sha256};
use std::time::Duration;

/// Returns the digest to approve: it covers what is accepted. If approvals expire, it also has the time of the plan.
#[must_use]
pub fn digest_to_approve(digest: String, allowances: &[Allowance], planned_at: Option<DateTime<Utc>>) -> String {
    let digest = with_allowances(digest, allowances);
    match planned_at {
        Some(time) => {
            format!("{digest}{}{}", ApprovedPlan::TIME_SIGN, time.to_rfc3339_opts(SecondsFormat::Secs, true))
        }
        None => digest,
    }
}

/// Returns the digest of a plan together with what is accepted; without anything, the digest itself.
fn with_allowances(digest: String, allowances: &[Allowance]) -> String {
    if allowances.is_empty() {
        return digest;
    }
    let mut parts: Vec<String> =
        allowances.iter().map(|allowance| format!("{}: {}", allowance.line(), allowance.reason)).collect();
    parts.sort_unstable();
    let mut hash = Sha256::new();
    hash.update(b"bastion-migrate allow 1");
    for part in [digest].iter().chain(&parts) {
        hash.update(part.len().to_be_bytes());
        hash.update(part);
    }
    format!("sha256:{}", hex::encode(hash.finalize()))
}

/// Compares the digest of a plan with that of the approved one. `max_age` is the time for which an approval holds.
///
/// # Errors
///
/// `plan-changed`, with both digests; `plan-too-old` if the approved plan was made too long ago.
pub fn check_approved(
    digest: &str,
    approved: &ApprovedPlan,
    max_age: Option<Duration>,
    now: DateTime<Utc>,
) -> Result<(), Fault> {
    if approved.digest != digest {
        let cause = format!("the plan is {digest}, and `expect-plan` is {}", approved.digest);
        return Err(Fault::new(Code::PlanChanged, cause));
    }
    let Some((planned_at, max_age)) = approved.planned_at.zip(max_age) else { return Ok(()) };
    // A clock that is behind the other makes no plan too old.
    let age = (now - planned_at).to_std().unwrap_or_default();
    if age <= max_age {
        return Ok(());
    }
    let cause = format!(
        "the approved plan was made {} ago, at {}, and `plan-max-age` of `risk` is {}",
        in_minutes(age),
        planned_at.format("%Y-%m-%d %H:%M:%S UTC"),
        in_minutes(max_age)
    );
    Err(Fault::new(Code::PlanTooOld, cause))
}

/// Returns a time in minutes, or in seconds if it is short.
fn in_minutes(time: Duration) -> String {
    let seconds = time.as_secs();
    if seconds < 300 { format!("{seconds} s") } else { format!("{} min", seconds / 60) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::{AllowedSubject, DestructiveVerb};

    fn time(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    #[test]
    fn a_digest_covers_what_is_accepted_in_any_order() {
        let allow = |object: &str, reason: &str| Allowance {
            subject: AllowedSubject::Destruction { verb: DestructiveVerb::Drop, name: object.to_owned() },
            reason: reason.to_owned(),
        };
        let digest = |allowances: &[Allowance]| with_allowances("sha256:1".to_owned(), allowances);
        assert_eq!(digest(&[]), "sha256:1");
        assert_eq!(digest(&[allow("a", "x"), allow("b", "y")]), digest(&[allow("b", "y"), allow("a", "x")]));
        assert_ne!(digest(&[allow("a", "x")]), digest(&[allow("a", "y")]));
        assert_ne!(digest(&[allow("a", "x")]), digest(&[]));
    }

    #[test]
    fn another_plan_than_the_approved_one_is_refused() {
        let approved = ApprovedPlan { digest: "sha256:1".to_owned(), planned_at: None };
        let check = |digest: &str| check_approved(digest, &approved, None, time("2026-11-30T20:00:00Z"));
        assert_eq!(check("sha256:1"), Ok(()));
        let fault = check("sha256:2").unwrap_err();
        assert_eq!(
            (fault.code, fault.cause.as_str()),
            (Code::PlanChanged, "the plan is sha256:2, and `expect-plan` is sha256:1")
        );
    }

    #[test]
    fn an_approval_expires_if_that_is_wanted() {
        let hash = format!("sha256:{}", "a".repeat(64));
        let stamped = digest_to_approve(hash.clone(), &[], Some(time("2026-11-30T20:00:00Z")));
        assert_eq!(stamped, format!("{hash}/2026-11-30T20:00:00Z"));
        assert_eq!(digest_to_approve(hash.clone(), &[], None), hash);

        let approved = ApprovedPlan::from_text(&stamped).unwrap();
        let check = |digest: &str, max_age: Option<u64>, now: &str| {
            check_approved(digest, &approved, max_age.map(Duration::from_secs), time(now))
        };
        assert_eq!(check(&hash, Some(3600), "2026-11-30T21:00:00Z"), Ok(()));
        assert_eq!(check(&hash, Some(3600), "2026-11-30T19:00:00Z"), Ok(()));
        assert_eq!(check(&hash, None, "2027-11-30T19:00:00Z"), Ok(()));
        let fault = check(&hash, Some(3600), "2026-11-30T21:00:01Z").unwrap_err();
        assert_eq!(
            (fault.code, fault.cause.as_str()),
            (
                Code::PlanTooOld,
                "the approved plan was made 60 min ago, at 2026-11-30 20:00:00 UTC, and `plan-max-age` of `risk` is 60 min"
            )
        );
        let other = check("sha256:1", Some(1), "2027-11-30T19:00:00Z");
        assert_eq!(other.unwrap_err().code, Code::PlanChanged, "another plan is the first cause");
    }
}
