//! Everything that is left of the run when it is over: annotations, outputs, summary, comment.

use super::{
    annotate::annotations,
    comment::{COMMENT_LIMIT, comment, marker},
    log::Log,
    outcome::{Outcome, Report},
    outputs::outputs,
    summary::summary,
};
use crate::{
    fault::{Code, Fault},
    github::{
        api::{Conversation, pull_request},
        env::Runner,
        file,
    },
    input::{Command, CommentPolicy, GithubSettings, Policy},
    secret::Redactor,
};
use std::{path::Path, time::Duration};

/// How long GitHub's API may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// The same after a cancel: the runner kills us ten seconds after its signal, and the database needs most of them.
const PATIENCE_CANCELLED: Duration = Duration::from_millis(1_500);

/// Writes every surface. What can't be written is told as a warning and returned; it keeps nothing else from being written,
/// and does not change how the run ended. Without `settings` (the inputs were wrong) there is no comment.
pub async fn publish(report: &Report, runner: &Runner, settings: Option<&GithubSettings>, log: &mut Log) -> Vec<Fault> {
    let redactor = log.redactor().clone();
    let report = report.redacted(&redactor);
    annotations(&report).iter().for_each(|note| log.annotate(note));
    let mut faults = Vec::new();
    faults.extend(write_outputs(&report, runner).err());
    if settings.is_none_or(|settings| settings.summary == Policy::Allow) {
        faults.extend(write_summary(&report, runner, &redactor).err());
    }
    if let Some(settings) = settings {
        faults.extend(write_comment(&report, runner, settings, &redactor).await.err());
    }
    let at = Duration::from_millis(report.duration_ms);
    faults.iter().for_each(|fault| log.warn(fault, at));
    faults
}

fn write_outputs(report: &Report, runner: &Runner) -> Result<(), Fault> {
    match &runner.output_file {
        Some(path) => file::append_outputs(path, &outputs(report)),
        None => Ok(()),
    }
}

fn write_summary(report: &Report, runner: &Runner, redactor: &Redactor) -> Result<(), Fault> {
    let Some(path) = &runner.summary_file else { return Ok(()) };
    let room = file::summary_room(path)?;
    let text = within(room, redactor, |budget| summary(report, budget));
    file::append_summary(path, &text)
}

/// Renders within this many bytes, the last redaction included: `***` is at most three times as long as what it hides.
fn within(room: usize, redactor: &Redactor, render: impl Fn(usize) -> String) -> String {
    let text = redactor.redact(&render(room));
    if text.len() <= room { text } else { redactor.redact(&render(room / 3)) }
}

async fn write_comment(
    report: &Report,
    runner: &Runner,
    settings: &GithubSettings,
    redactor: &Redactor,
) -> Result<(), Fault> {
    let wanted = match settings.comment {
        CommentPolicy::Never => false,
        CommentPolicy::Plan => report.command == Some(Command::Plan),
        CommentPolicy::Always => true,
    };
    if !wanted {
        return Ok(());
    }
    let Some(conversation) = conversation(runner)? else { return Ok(()) };
    let Some(token) = &settings.token else {
        return Err(Fault::new(Code::CommentUnwritten, "can't write the comment: `github-token` is empty"));
    };
    let marker = marker(report.environment.as_deref());
    let room = COMMENT_LIMIT.saturating_sub(marker.len() + 1);
    let text = within(room, redactor, |budget| comment(report, budget));
    let patience = if report.outcome() == Outcome::Cancelled { PATIENCE_CANCELLED } else { PATIENCE };
    conversation.put(token, &marker, &text, patience).await
}

/// Where to comment; nowhere when the event is not about a pull request.
fn conversation(runner: &Runner) -> Result<Option<Conversation>, Fault> {
    let (Some(event), Some(api_url), Some(repository)) = (&runner.event_file, &runner.api_url, &runner.repository)
    else {
        return Ok(None);
    };
    let number = pull_request(&payload(event)?);
    Ok(number.map(|number| Conversation { api_url: api_url.clone(), repository: repository.clone(), number }))
}

fn payload(path: &Path) -> Result<serde_json::Value, Fault> {
    let unreadable = |error: &(dyn std::error::Error + 'static)| {
        Fault::new(Code::CommentUnwritten, "can't write the comment: the event (`GITHUB_EVENT_PATH`) can't be read")
            .because(error)
    };
    let text = std::fs::read_to_string(path).map_err(|error| unreadable(&error))?;
    serde_json::from_str(&text).map_err(|error| unreadable(&error))
}
