//! Resolves the limits and approvals that keep a run from doing harm.

use super::command::resolve_reason;
use crate::{
    fault::{Code, Fault},
    input::{
        findings::Findings,
        names::InputName,
        parse::{parse_allowances, parse_start_when, value},
        source::Inputs,
    },
    settings::{ApprovedPlan, Command, Policy, RiskSettings, SafetySettings},
};

/// The values of a switch.
pub(super) const SWITCH: [(&str, Policy); 2] = [("true", Policy::Allow), ("false", Policy::Refuse)];

/// Resolves them.
pub(super) fn resolve_safety_settings(
    inputs: &Inputs,
    command: Option<Command>,
    findings: &mut Findings,
) -> Option<SafetySettings> {
    let timeout = findings.ok_or_record(inputs.required(InputName::Timeout, value::parse_positive_duration));
    let lock_wait = findings.ok_or_record(inputs.required(InputName::LockWait, value::parse_duration));
    let lock_timeout = findings.ok_or_record(inputs.required(InputName::LockTimeout, value::parse_duration));
    let statement_timeout = findings.ok_or_record(inputs.required(InputName::StatementTimeout, value::parse_duration));
    let retries = findings.ok_or_record(inputs.required(InputName::Retries, value::parse_retries));
    let expect_plan = findings.ok_or_record(inputs.optional(InputName::ExpectPlan, value::parse_approved_plan));
    let expect_rehearsal =
        findings.ok_or_record(inputs.optional(InputName::ExpectRehearsal, value::parse_approved_rehearsal));
    let start_when = findings.ok_or_record(inputs.optional(InputName::StartWhen, parse_start_when));
    let reason = resolve_reason(inputs, command).map_err(|faults| findings.faults.extend(faults)).ok();
    let allowances = match inputs.text(InputName::Command) {
        // There it is the reason.
        Some("resolve") => Some(None),
        _ => findings.ok_or_record(inputs.optional(InputName::Allow, parse_allowances)),
    };
    let audit = findings.ok_or_record(inputs.required(InputName::Audit, |text| value::parse_choice(text, &SWITCH)));
    let parsed = inputs.parsed_steps();
    let (lint, risk) = (parsed.lint.clone().unwrap_or_default(), parsed.risk.clone().unwrap_or_default());
    findings.faults.extend(plan_without_time(inputs, expect_plan.as_ref().and_then(Option::as_ref), &risk));
    Some(SafetySettings {
        timeout: timeout?,
        lock_wait: lock_wait?,
        lock_timeout: lock_timeout?,
        statement_timeout: statement_timeout?,
        retries: retries?,
        expect_plan: expect_plan?,
        expect_rehearsal: expect_rehearsal?,
        start_when: start_when?,
        allowances: allowances?.unwrap_or_default(),
        risk: RiskSettings { small_table: lint.small_table, ..risk },
        lint,
        audit: audit?,
        reason: reason?,
    })
}

/// Returns the fault of an approved plan whose age is unknown, if approvals expire.
fn plan_without_time(inputs: &Inputs, approved: Option<&ApprovedPlan>, risk: &RiskSettings) -> Option<Fault> {
    risk.plan_max_age.filter(|_| approved.is_some_and(|approved| approved.planned_at.is_none()))?;
    let label = inputs.label(InputName::ExpectPlan);
    let cause = format!("{label} has no time, so the plan may be older than `plan-max-age` of `risk`");
    let fix = "set the same `risk` in the run with `command: plan`, and pass its output `plan-digest` as it is: it has the time then";
    Some(Fault::new(Code::InputInvalid, cause).fix(fix))
}
