//! The findings about GitHub: the event, the environment, and the token as far as a comment needs it.

use crate::{
    fault::{Code, Fault},
    github::{
        comment::Conversation,
        pull_request::{CommitOrigin, RunEvent},
        runner::Runner,
    },
    run::{Check, DoctorFinding},
    settings::{CommentPolicy, ReportSettings},
};
use std::{fs, time::Duration};

/// Time limit for requests to GitHub's API.
const API_TIMEOUT: Duration = Duration::from_secs(5);

const FORK_FIX: &str =
    "set `comment: never` for pull requests from forks, or comment in a workflow with `on: workflow_run`";

/// Returns the findings; outside of GitHub's runner there is only the environment.
pub(super) async fn examine_github(
    github: &ReportSettings,
    environment: Option<&str>,
    runner: &Runner,
) -> Vec<DoctorFinding> {
    let named = environment.map(|name| {
        let detail = format!("`{name}`: its section of the configuration file, and its variables, come first");
        DoctorFinding::good(Check::Environment, detail)
    });
    let Some(name) = runner.event_name.as_deref() else { return named.into_iter().collect() };
    let event = match read_event(runner, name) {
        Ok(event) => event,
        Err(fault) => {
            let unreadable = DoctorFinding::warning_of(Check::Event, fault);
            return [unreadable].into_iter().chain(named).collect();
        }
    };
    let mut findings = vec![describe_event(name, &event)];
    findings.extend(named);
    findings.push(examine_token(github, runner, event).await);
    findings
}

fn read_event(runner: &Runner, name: &str) -> Result<RunEvent, Fault> {
    let unreadable = |error: &(dyn std::error::Error + 'static)| {
        Fault::new(Code::CommentUnwritten, "the event (`GITHUB_EVENT_PATH`) can't be read").with_causes(error)
    };
    let path = runner.event_file.clone().unwrap_or_default();
    let text = fs::read_to_string(path).map_err(|error| unreadable(&error))?;
    let payload = serde_json::from_str(&text).map_err(|error| unreadable(&error))?;
    Ok(RunEvent::from_payload(name, &payload, runner.commit.as_deref()))
}

fn describe_event(name: &str, event: &RunEvent) -> DoctorFinding {
    match event.origin {
        CommitOrigin::Repository => DoctorFinding::good(Check::Event, format!("`{name}`")),
        CommitOrigin::Fork => DoctorFinding::warning(
            Check::Event,
            format!("`{name}` from a fork: GitHub gives it no secrets, and a token that only reads"),
            "run migrations on events of the repository itself, such as `push` or `workflow_dispatch`",
        ),
    }
}

async fn examine_token(github: &ReportSettings, runner: &Runner, event: RunEvent) -> DoctorFinding {
    if github.comment == CommentPolicy::Never {
        return DoctorFinding::good(Check::Token, "`comment: never` needs none");
    }
    let Some(token) = &github.token else {
        return DoctorFinding::warning(
            Check::Token,
            "there will be no comment: `github-token` has no value",
            "set `github-token`, or `comment: never`",
        );
    };
    if event.origin == CommitOrigin::Fork {
        return DoctorFinding::warning(
            Check::Token,
            "there will be no comment: the token of a pull request from a fork is read-only",
            FORK_FIX,
        );
    }
    let conversation = event.pull_request.and_then(|found| Conversation::of_run(runner, found, event.origin));
    let Some(conversation) = conversation else {
        return DoctorFinding::good(Check::Token, "this event has no pull request to comment on");
    };
    match conversation.check_access(token, API_TIMEOUT).await {
        Ok(Some(number)) => {
            let detail = format!("it reads the pull request {number}; whether it may write shows when it writes");
            DoctorFinding::good(Check::Token, detail)
        }
        Ok(None) => DoctorFinding::good(Check::Token, "no pull request contains the commit"),
        Err(fault) => DoctorFinding::warning_of(Check::Token, fault),
    }
}
