//! The approval of a plan, at the time of this run.

use crate::{
    fault::Fault,
    plan,
    settings::{Command, SafetySettings, Settings},
};
use chrono::{DateTime, Utc};
use std::time::SystemTime;

/// Returns the digest of this run's plan.
pub(super) fn digest_to_approve(digest: String, settings: &Settings) -> String {
    let safety = &settings.safety;
    let expires = settings.command == Command::Plan && safety.risk.plan_max_age.is_some();
    plan::digest_to_approve(digest, &safety.allowances, expires.then(now))
}

/// Compares a plan with the approved one, if there is one.
///
/// # Errors
///
/// `plan-changed` or `plan-too-old`.
pub(super) fn check_approved(digest: &str, safety: &SafetySettings) -> Result<(), Fault> {
    match &safety.expect_plan {
        Some(approved) => plan::check_approved(digest, approved, safety.risk.plan_max_age, now()),
        None => Ok(()),
    }
}

fn now() -> DateTime<Utc> {
    SystemTime::now().into()
}
