//! Writing of the report at the end of a run: outputs, summary, comment.

use super::{
    comment::{COMMENT_LIMIT, comment_body, comment_marker},
    log::Log,
    outputs::step_outputs,
    run_report::RunReport,
    summary::render_summary,
};
use crate::{
    fault::{Class, Code, Fault},
    github::{
        command_file,
        comment::{Conversation, pull_request},
        runner::Runner,
    },
    run::event::Event,
    secret::Redactor,
    settings::{Command, CommentPolicy, GithubSettings, Policy},
};
use std::{path::Path, time::Duration};

/// Time limit for requests to GitHub's API.
const API_TIMEOUT: Duration = Duration::from_secs(10);

/// Time limit after a cancel: the runner kills the process ten seconds after its signal, and stopping the work in the
/// database takes most of them.
const API_TIMEOUT_CANCELLED: Duration = Duration::from_secs(1);

/// Writes every surface. One that can't be written is logged as a warning and returned as a fault; the others are
/// written all the same, and the outcome of the run is unchanged. Without `settings` (invalid inputs) there is no
/// comment.
pub async fn publish_report(
    report: &RunReport,
    runner: &Runner,
    settings: Option<&GithubSettings>,
    log: &mut Log,
) -> Vec<Fault> {
    let redactor = log.redactor().clone();
    let report = report.redacted(&redactor);
    let mut faults = Vec::new();
    faults.extend(write_outputs(&report, runner).err());
    if settings.is_none_or(|settings| settings.summary == Policy::Allow) {
        faults.extend(write_summary(&report, runner, &redactor).err());
    }
    if let Some(settings) = settings {
        faults.extend(write_comment(&report, runner, settings, &redactor).await.err());
    }
    let at = Duration::from_millis(report.duration_ms);
    faults.iter().for_each(|fault| log.log_event(&Event::Warning(fault.clone()), at));
    faults
}

fn write_outputs(report: &RunReport, runner: &Runner) -> Result<(), Fault> {
    match &runner.output_file {
        Some(path) => command_file::append_outputs(path, &step_outputs(report)),
        None => Ok(()),
    }
}

fn write_summary(report: &RunReport, runner: &Runner, redactor: &Redactor) -> Result<(), Fault> {
    let Some(path) = &runner.summary_file else { return Ok(()) };
    let room = command_file::summary_room(path)?;
    let text = render_within(room, redactor, |budget| render_summary(report, budget));
    command_file::append_summary(path, &text)
}

/// Renders at most this many bytes, including the final redaction: `***` is at most three times as long as the text
/// that it hides.
fn render_within(room: usize, redactor: &Redactor, render: impl Fn(usize) -> String) -> String {
    let text = redactor.redact(&render(room));
    if text.len() <= room { text } else { redactor.redact(&render(room / 3)) }
}

async fn write_comment(
    report: &RunReport,
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
    let Some(conversation) = find_conversation(runner)? else { return Ok(()) };
    let Some(token) = &settings.token else {
        return Err(Fault::new(Code::CommentUnwritten, "can't write the comment: `github-token` is empty"));
    };
    let marker = comment_marker(report.environment.as_deref());
    let room = COMMENT_LIMIT.saturating_sub(marker.len() + 1);
    let text = render_within(room, redactor, |budget| comment_body(report, budget));
    let stopped = report.faults.iter().any(|fault| fault.code.class() == Class::Cancelled);
    let patience = if stopped { API_TIMEOUT_CANCELLED } else { API_TIMEOUT };
    conversation.upsert_comment(token, &marker, &text, patience).await
}

/// Returns the conversation to comment on; none if the event is not about a pull request.
fn find_conversation(runner: &Runner) -> Result<Option<Conversation>, Fault> {
    let (Some(event), Some(api_url), Some(repository)) = (&runner.event_file, &runner.api_url, &runner.repository)
    else {
        return Ok(None);
    };
    let number = pull_request(&read_event_payload(event)?);
    Ok(number.map(|number| Conversation { api_url: api_url.clone(), repository: repository.clone(), number }))
}

fn read_event_payload(path: &Path) -> Result<serde_json::Value, Fault> {
    let unreadable = |error: &(dyn std::error::Error + 'static)| {
        Fault::new(Code::CommentUnwritten, "can't write the comment: the event (`GITHUB_EVENT_PATH`) can't be read")
            .with_causes(error)
    };
    let text = std::fs::read_to_string(path).map_err(|error| unreadable(&error))?;
    serde_json::from_str(&text).map_err(|error| unreadable(&error))
}

#[cfg(test)]
mod tests {
    use super::{
        super::{
            console::ConsoleKind,
            sample::{self, SharedBuffer},
        },
        *,
    };
    use crate::{github::fake_api::FakeGithub, secret::Secret};
    use serde_json::json;
    use std::fs;

    fn settings(comment: CommentPolicy) -> GithubSettings {
        GithubSettings { token: Some(Secret::new("ghs_token")), comment, summary: Policy::Allow }
    }

    fn runner(home: &Path) -> Runner {
        for name in ["output", "summary"] {
            fs::write(home.join(name), "").unwrap();
        }
        fs::write(home.join("event"), json!({"pull_request": {"number": 7}}).to_string()).unwrap();
        Runner {
            in_actions: true,
            output_file: Some(home.join("output")),
            summary_file: Some(home.join("summary")),
            event_file: Some(home.join("event")),
            repository: Some("owner/name".to_owned()),
            ..Runner::default()
        }
    }

    async fn published(report: &RunReport, runner: &Runner, settings: &GithubSettings) -> (Vec<Fault>, String) {
        let buffer = SharedBuffer::default();
        let mut log = Log::on_stream(Box::new(buffer.clone()), runner, ConsoleKind::Pipe, &[]);
        let faults = publish_report(report, runner, Some(settings), &mut log).await;
        (faults, buffer.text())
    }

    #[tokio::test]
    async fn writes_every_surface() {
        let github = FakeGithub::start(|request| match request.line.starts_with("GET") {
            true => (200, "[]".to_owned()),
            false => (201, json!({"id": 1}).to_string()),
        })
        .await;
        let home = tempfile::tempdir().unwrap();
        let runner = Runner { api_url: Some(github.url.clone()), ..runner(home.path()) };
        let report = sample::report_of(&sample::failed_events());
        let (faults, log) = published(&report, &runner, &settings(CommentPolicy::Always)).await;
        assert_eq!(faults, []);
        assert_eq!(log, "");
        assert!(fs::read_to_string(home.path().join("output")).unwrap().contains("\nstatement-failed\n"));
        assert!(fs::read_to_string(home.path().join("summary")).unwrap().starts_with("## Failed in stage migrate"));
        assert!(
            github.requests()[1].body.starts_with(r###"{"body":"<!-- bastion-migrate:prod -->\n## Failed in stage"###)
        );
    }

    #[tokio::test]
    async fn a_surface_that_can_not_be_written_does_not_prevent_the_others() {
        let github =
            FakeGithub::start(|_| (403, json!({"message": "Resource not accessible by integration"}).to_string()))
                .await;
        let home = tempfile::tempdir().unwrap();
        let runner =
            Runner { api_url: Some(github.url.clone()), output_file: Some("/dev/full".into()), ..runner(home.path()) };
        let report = sample::report_of(&sample::successful_events());
        let (faults, log) = published(&report, &runner, &settings(CommentPolicy::Always)).await;
        let codes: Vec<Code> = faults.iter().map(|fault| fault.code).collect();
        assert_eq!(codes, [Code::ReportUnwritten, Code::CommentUnwritten]);
        assert!(fs::read_to_string(home.path().join("summary")).unwrap().starts_with("## Applied 2 migrations"));
        let warned = |what: &str| log.matches(&format!("::warning title=bastion-migrate::{what}")).count();
        assert_eq!(warned("report-unwritten in report: can't write the outputs (`GITHUB_OUTPUT`)"), 1, "{log}");
        assert_eq!(warned("comment-unwritten in report: "), 1, "{log}");
        assert!(!log.contains("::error"), "{log}");
    }

    #[tokio::test]
    async fn comments_only_if_enabled_and_only_on_a_pull_request() {
        let github = FakeGithub::start(|_| (500, "{}".to_owned())).await;
        let home = tempfile::tempdir().unwrap();
        let runner = Runner { api_url: Some(github.url.clone()), ..runner(home.path()) };
        let report = sample::report_of(&sample::successful_events());
        for comment in [CommentPolicy::Never, CommentPolicy::Plan] {
            assert_eq!(published(&report, &runner, &settings(comment)).await.0, []);
        }
        fs::write(home.path().join("event"), json!({"ref": "refs/heads/main"}).to_string()).unwrap();
        assert_eq!(published(&report, &runner, &settings(CommentPolicy::Always)).await.0, []);
        assert!(github.requests().is_empty());
    }

    #[tokio::test]
    async fn stays_below_the_runners_limit_with_a_secret_of_one_letter() {
        let home = tempfile::tempdir().unwrap();
        let runner = runner(home.path());
        fs::write(home.path().join("summary"), "x".repeat(command_file::SUMMARY_LIMIT - 3_000)).unwrap();
        let mut log =
            Log::on_stream(Box::new(SharedBuffer::default()), &runner, ConsoleKind::Pipe, &[Secret::new("e")]);
        let faults = publish_report(&sample::report_of(&sample::successful_events()), &runner, None, &mut log).await;
        assert_eq!(faults, []);
        let written = fs::metadata(home.path().join("summary")).unwrap().len();
        assert!((1_045_577..=1_048_576).contains(&written), "{written}");
    }
}
