//! Writing of the report at the end of a run: outputs, summary, comment, notification.

use super::{
    log::Log,
    notification::notify_of_outcome,
    outputs::{cut_lists_remark, step_outputs},
    pull_request_comment::write_pull_request_comment,
    rendering::render_within,
    run_report::RunReport,
    summary::render_summary,
};
use crate::{
    fault::Fault,
    github::{command_file, runner::Runner},
    run::event::Event,
    secret::Redactor,
    settings::{Policy, ReportSettings},
};
use futures_util::future::join;
use std::time::Duration;

/// Part of the time that is left for reporting that it was too short.
const TIMEOUT_MARGIN: Duration = Duration::from_millis(100);

/// Time limit for requests to GitHub's API, if the run does not have to end.
const API_TIMEOUT: Duration = Duration::from_secs(10);

/// Writes every surface. One that can't be written is logged as a warning and returned as a fault; the others are
/// written all the same, and the outcome of the run is unchanged. Without `settings` (they were not read yet) there is
/// neither comment nor notification. They get no more than the `time_left`, if the run has to end.
pub async fn publish_report(
    report: &RunReport,
    runner: &Runner,
    settings: Option<&ReportSettings>,
    time_left: Option<Duration>,
    log: &mut Log,
) -> Vec<Fault> {
    let redactor = log.redactor().clone();
    let report = report.redacted(&redactor);
    let at = Duration::from_millis(report.duration_ms);
    let mut faults = Vec::new();
    faults.extend(write_outputs(&report, runner).err());
    if let Some(remark) = cut_lists_remark(&report).filter(|_| runner.output_file.is_some()) {
        log.log_event(&Event::Note(remark), at);
    }
    if settings.is_none_or(|settings| settings.summary == Policy::Allow) {
        faults.extend(write_summary(&report, runner, &redactor).err());
    }
    if let Some(settings) = settings {
        let time_left = time_left.map(|left| left.saturating_sub(TIMEOUT_MARGIN));
        let time_limit = time_left.map_or(API_TIMEOUT, |left| left.min(API_TIMEOUT));
        let notification = settings.notification.as_ref();
        let (commented, notified) = join(
            write_pull_request_comment(&report, runner, settings, &redactor, time_limit),
            notify_of_outcome(&report, runner, notification, &redactor, time_left),
        )
        .await;
        // The same may have prevented a message during the run.
        faults.extend(notified.err().filter(|fault| !report.warnings.contains(fault)));
        match commented {
            Ok(remark) => remark.into_iter().for_each(|remark| log.log_event(&Event::Note(remark), at)),
            Err(fault) => faults.push(fault),
        }
    }
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

#[cfg(test)]
mod tests {
    use super::{
        super::{
            console::ConsoleKind,
            sample::{self, SharedBuffer},
        },
        *,
    };
    use crate::{
        fault::Code,
        github::fake_api::{Github, WriteAccess},
        secret::Secret,
        settings::{Command, CommentPolicy},
    };
    use serde_json::json;
    use std::{fs, path::Path};

    fn settings(comment: CommentPolicy) -> ReportSettings {
        ReportSettings {
            token: Some(Secret::new("ghs_token")),
            comment,
            comment_key: Some("prod".to_owned()),
            summary: Policy::Allow,
            notification: None,
        }
    }

    fn runner(home: &Path) -> Runner {
        for name in ["output", "summary"] {
            fs::write(home.join(name), "").unwrap();
        }
        fs::write(home.join("event"), json!({"pull_request": {"number": 3}}).to_string()).unwrap();
        Runner {
            in_actions: true,
            event_name: Some("pull_request".to_owned()),
            output_file: Some(home.join("output")),
            summary_file: Some(home.join("summary")),
            event_file: Some(home.join("event")),
            repository: Some("owner/name".to_owned()),
            ..Runner::default()
        }
    }

    async fn published(report: &RunReport, runner: &Runner, settings: &ReportSettings) -> (Vec<Fault>, String) {
        let buffer = SharedBuffer::default();
        let mut log = Log::on_stream(Box::new(buffer.clone()), runner, ConsoleKind::Pipe, &[]);
        let faults = publish_report(report, runner, Some(settings), None, &mut log).await;
        (faults, buffer.text())
    }

    #[tokio::test]
    async fn writes_every_surface() {
        let github = Github::start(WriteAccess::Allowed);
        let home = tempfile::tempdir().unwrap();
        let runner = Runner { api_url: Some(github.url()), ..runner(home.path()) };
        let report = sample::report_of(&sample::failed_events());
        let (faults, log) = published(&report, &runner, &settings(CommentPolicy::Always)).await;
        assert_eq!(faults, []);
        assert_eq!(log, "");
        assert!(fs::read_to_string(home.path().join("output")).unwrap().contains("\nstatement-failed\n"));
        assert!(
            fs::read_to_string(home.path().join("summary"))
                .unwrap()
                .starts_with("## ❌ bastion-migrate · prod · Failed: ")
        );
        let [comment] = github.comments().try_into().unwrap();
        assert!(comment.starts_with("<!-- bastion-migrate:prod -->\n## ❌ bastion-migrate"), "{comment}");
    }

    #[tokio::test]
    async fn a_surface_that_can_not_be_written_does_not_prevent_the_others() {
        let github = Github::start(WriteAccess::Forbidden);
        let home = tempfile::tempdir().unwrap();
        let runner =
            Runner { api_url: Some(github.url()), output_file: Some("/dev/full".into()), ..runner(home.path()) };
        let report = sample::report_of(&sample::successful_events());
        let (faults, log) = published(&report, &runner, &settings(CommentPolicy::Always)).await;
        let codes: Vec<Code> = faults.iter().map(|fault| fault.code).collect();
        assert_eq!(codes, [Code::ReportUnwritten, Code::CommentUnwritten]);
        assert!(
            fs::read_to_string(home.path().join("summary"))
                .unwrap()
                .starts_with("## ✅ bastion-migrate · prod · Applied 2 migrations")
        );
        let warned = |what: &str| log.matches(&format!("::warning title=bastion-migrate::{what}")).count();
        assert_eq!(warned("report-unwritten in report: can't write the outputs (`GITHUB_OUTPUT`)"), 1, "{log}");
        assert_eq!(warned("comment-unwritten in report: "), 1, "{log}");
        assert!(!log.contains("::error"), "{log}");
    }

    #[tokio::test]
    async fn comments_only_if_enabled_and_only_on_a_pull_request() {
        let github = Github::start(WriteAccess::Allowed);
        let home = tempfile::tempdir().unwrap();
        let runner = Runner { api_url: Some(github.url()), ..runner(home.path()) };
        let report = RunReport { command: Some(Command::Migrate), ..sample::report_of(&sample::successful_events()) };
        for comment in [CommentPolicy::Never, CommentPolicy::Plan] {
            assert_eq!(published(&report, &runner, &settings(comment)).await, (Vec::new(), String::new()));
        }
        let without_token = ReportSettings { token: None, ..settings(CommentPolicy::Always) };
        // The inputs have caused a warning already.
        assert_eq!(published(&report, &runner, &without_token).await, (Vec::new(), String::new()));
        let runner = Runner { event_name: Some("schedule".to_owned()), ..runner };
        fs::write(home.path().join("event"), json!({"schedule": "0 3 * * *"}).to_string()).unwrap();
        let (faults, log) = published(&report, &runner, &settings(CommentPolicy::Always)).await;
        assert_eq!((faults, github.lines().len()), (Vec::new(), 0));
        assert!(log.contains("there is no comment: this run, on `schedule`, has no pull request"), "{log}");
    }

    #[tokio::test]
    async fn the_key_of_a_comment_contains_no_secret() {
        let github = Github::start(WriteAccess::Allowed);
        let home = tempfile::tempdir().unwrap();
        let runner = Runner { api_url: Some(github.url()), ..runner(home.path()) };
        let settings =
            ReportSettings { comment_key: Some("shop-hunter2".to_owned()), ..settings(CommentPolicy::Always) };
        let mut log =
            Log::on_stream(Box::new(SharedBuffer::default()), &runner, ConsoleKind::Pipe, &[Secret::new("hunter2")]);
        let report = sample::report_of(&sample::successful_events());
        assert_eq!(publish_report(&report, &runner, Some(&settings), None, &mut log).await, []);
        let [comment] = github.comments().try_into().unwrap();
        assert!(
            comment.starts_with("<!-- bastion-migrate:shop-*** -->\n") && !comment.contains("hunter2"),
            "{comment}"
        );
    }

    #[tokio::test]
    async fn a_stale_comment_is_replaced_if_the_inputs_are_invalid() {
        let github = Github::start(WriteAccess::Allowed);
        let home = tempfile::tempdir().unwrap();
        let runner = Runner { api_url: Some(github.url()), ..runner(home.path()) };
        let report = sample::report_of(&sample::unpinned_events());
        let unknown = ReportSettings { comment_key: None, ..settings(CommentPolicy::Always) };
        let (faults, log) = published(&report, &runner, &unknown).await;
        assert_eq!((faults, github.comments()), (Vec::new(), Vec::new()));
        assert!(log.contains("there is none of an earlier run to replace"), "{log}");
        github.add_comment(crate::github::fake_api::Author::Viewer, "<!-- bastion-migrate:shop -->\n## 3 pending");
        assert_eq!(published(&report, &runner, &unknown).await, (Vec::new(), String::new()));
        let [comment] = github.comments().try_into().unwrap();
        assert!(comment.starts_with("<!-- bastion-migrate:shop -->\n## ⏸️ bastion-migrate"), "{comment}");
    }

    #[tokio::test]
    async fn stays_below_the_runners_limit_with_a_secret_of_one_letter() {
        let home = tempfile::tempdir().unwrap();
        let runner = runner(home.path());
        fs::write(home.path().join("summary"), "x".repeat(command_file::SUMMARY_LIMIT - 3_000)).unwrap();
        let mut log =
            Log::on_stream(Box::new(SharedBuffer::default()), &runner, ConsoleKind::Pipe, &[Secret::new("e")]);
        let faults =
            publish_report(&sample::report_of(&sample::successful_events()), &runner, None, None, &mut log).await;
        assert_eq!(faults, []);
        let written = fs::metadata(home.path().join("summary")).unwrap().len();
        assert!((1_045_577..=1_048_576).contains(&written), "{written}");
    }
}
