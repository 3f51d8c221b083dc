//! The comment on the pull request: whether there is one to write, where, and with which marker.

use super::{
    comment::{COMMENT_LIMIT, CommentStamp, MARKER_PREFIX, comment_body, comment_marker},
    rendering::render_within,
    run_report::RunReport,
};
use crate::{
    fault::{Code, Fault},
    github::{
        comment::{CommentOutcome, Conversation, MarkedComment},
        pull_request::RunEvent,
        runner::Runner,
    },
    secret::Redactor,
    settings::{Command, CommentPolicy, ReportSettings},
};
use std::{
    path::Path,
    time::{Duration, SystemTime},
};

/// Room for the marker of an existing comment, whose length is not known before it is found.
const MARKER_ROOM: usize = 1_024;

/// Writes the comment if one is wanted. Returns a remark for the log if there is none in spite of the wish.
///
/// # Errors
/// `comment-unwritten`.
pub(super) async fn write_pull_request_comment(
    report: &RunReport,
    runner: &Runner,
    settings: &ReportSettings,
    redactor: &Redactor,
    time_limit: Duration,
) -> Result<Option<String>, Fault> {
    // Without a token, the inputs have caused a warning already.
    let Some(token) = settings.token.as_ref().filter(|_| is_wanted(report, settings.comment)) else { return Ok(None) };
    let (Some(event_file), Some(event_name)) = (&runner.event_file, &runner.event_name) else { return Ok(None) };
    let event = RunEvent::from_payload(event_name, &read_event_payload(event_file)?, runner.commit.as_deref());
    let no_pull_request = || Some(format!("there is no comment: this run, on `{event_name}`, has no pull request"));
    let Some(pull_request) = event.pull_request else { return Ok(no_pull_request()) };
    let Some(conversation) = Conversation::of_run(runner, pull_request, event.origin) else { return Ok(None) };
    // The key may be a database's name, and that may be a secret.
    let key = settings.comment_key.as_deref().map(|key| redactor.redact(key).into_owned());
    let marker = key.as_deref().map(comment_marker);
    let stamp = CommentStamp {
        key,
        commit: event.commit,
        repository_url: runner.repository_url(),
        written_at: SystemTime::now(),
    };
    let room = COMMENT_LIMIT - MARKER_ROOM;
    let text = render_within(room, redactor, |budget| comment_body(report, &stamp, budget));
    let comment = marker.as_deref().map_or(MarkedComment::OnlyOne(MARKER_PREFIX), MarkedComment::Marker);
    Ok(match conversation.write_comment(token, comment, &text, time_limit).await? {
        CommentOutcome::Written => None,
        CommentOutcome::NoPullRequest => no_pull_request(),
        CommentOutcome::NothingToReplace => Some(
            "there is no comment: the inputs are invalid, and there is none of an earlier run to replace".to_owned(),
        ),
        CommentOutcome::Ambiguous(count) => Some(format!(
            "the comment of an earlier run is not replaced: the inputs are invalid, and any of {count} comments may be its; \
             `comment-key` names it"
        )),
    })
}

/// Returns whether the policy wants a comment. A command that is invalid could have been any.
fn is_wanted(report: &RunReport, policy: CommentPolicy) -> bool {
    match policy {
        CommentPolicy::Never => false,
        CommentPolicy::Plan => matches!(report.command, None | Some(Command::Plan | Command::Rehearse)),
        // It only reads, here as well.
        CommentPolicy::Always => report.command != Some(Command::Doctor),
    }
}

fn read_event_payload(path: &Path) -> Result<serde_json::Value, Fault> {
    let unreadable = |error: &(dyn std::error::Error + 'static)| {
        Fault::new(Code::CommentUnwritten, "can't write the comment: the event (`GITHUB_EVENT_PATH`) can't be read")
            .with_causes(error)
    };
    let text = std::fs::read_to_string(path).map_err(|error| unreadable(&error))?;
    serde_json::from_str(&text).map_err(|error| unreadable(&error))
}
