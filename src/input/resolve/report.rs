//! Resolves the settings of the report.

use super::safety::SWITCH;
use crate::{
    fault::{Code, Fault},
    input::{
        findings::Findings,
        names::InputName,
        parse::{
            parse_notify,
            value::{self, InvalidValue},
        },
        source::Inputs,
    },
    settings::{CommentPolicy, NotificationSettings, Policy, ReportSettings},
};

const COMMENTS: [(&str, CommentPolicy); 3] =
    [("never", CommentPolicy::Never), ("plan", CommentPolicy::Plan), ("always", CommentPolicy::Always)];

/// Longest key of a comment, in characters.
const MAX_KEY_LENGTH: usize = 100;

fn parse_comment_key(text: &str) -> Result<String, InvalidValue> {
    match text.chars().count() {
        0..=MAX_KEY_LENGTH => Ok(text.to_owned()),
        _ => Err(InvalidValue::new("is too long", format!("at most {MAX_KEY_LENGTH} characters"))),
    }
}

/// Resolves the settings of the report. A comment that can't be written is only a warning, here as elsewhere: it never decides
/// the outcome of a migration.
pub(super) fn resolve_report_settings(
    inputs: &Inputs,
    default_key: Option<String>,
    findings: &mut Findings,
) -> ReportSettings {
    let token = inputs.secret(InputName::GithubToken);
    let comment =
        findings.ok_or_record(inputs.required(InputName::Comment, |text| value::parse_choice(text, &COMMENTS)));
    let given_key = findings.ok_or_record(inputs.optional(InputName::CommentKey, parse_comment_key));
    let summary = findings.ok_or_record(inputs.required(InputName::Summary, |text| value::parse_choice(text, &SWITCH)));
    if token.is_none() && comment.is_some_and(|comment| comment != CommentPolicy::Never) {
        findings.add_warning(
            Fault::new(Code::InputMissing, "there will be no comment: `github-token` has no value")
                .fix("set `github-token`, or `comment: never`"),
        );
    }
    ReportSettings {
        notification: resolve_notification(inputs, findings),
        token,
        comment: comment.unwrap_or(CommentPolicy::Never),
        comment_key: given_key.and_then(|key| key.or(default_key)),
        summary: summary.unwrap_or(Policy::Allow),
    }
}

fn resolve_notification(inputs: &Inputs, findings: &mut Findings) -> Option<NotificationSettings> {
    let text = inputs.secret(InputName::Notify)?;
    match parse_notify(text.expose(), &inputs.label(InputName::Notify)) {
        Ok(notification) => Some(notification),
        Err(faults) => {
            findings.faults.extend(faults);
            None
        }
    }
}
