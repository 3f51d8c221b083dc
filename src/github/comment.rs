//! One comment on a pull request, created once and then updated in place.

use super::{
    api_client::ApiClient,
    api_failure::{ApiFailure, FailureKind},
    own_comments::{OwnComment, list_own_comments},
    pull_request::{CommitOrigin, PullRequestReference, find_by_commit},
    runner::Runner,
};
use crate::{
    fault::{Code, Fault},
    https::NetworkSettings,
    secret::Secret,
};
use http::Method;
use serde::de::IgnoredAny;
use serde_json::json;
use std::time::Duration;
use tokio::time::{Instant, sleep_until, timeout, timeout_at};

/// Most attempts in a row to connect again.
const MAX_RECONNECTS: u32 = 2;

/// The conversation of a pull request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conversation {
    /// `GITHUB_API_URL`.
    pub api_url: String,
    /// `GITHUB_GRAPHQL_URL`.
    pub graphql_url: String,
    /// The way to both.
    pub network: NetworkSettings,
    /// `owner/name`.
    pub repository: String,
    /// The pull request.
    pub pull_request: PullRequestReference,
    /// The origin of its commits.
    pub origin: CommitOrigin,
}

/// The comment to write, by the marker in its first line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MarkedComment<'a> {
    /// The comment with this marker.
    Marker(&'a str),
    /// The comment whose marker begins with this text, if the own comments have exactly one such marker.
    OnlyOne(&'a str),
}

/// The result of writing a comment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CommentOutcome {
    /// The comment is written.
    Written,
    /// No pull request contains the commit.
    NoPullRequest,
    /// There is no comment to replace.
    NothingToReplace,
    /// There are several comments, and it is unknown which one to replace.
    Ambiguous(usize),
}

impl Conversation {
    /// Creates the conversation about a pull request of the runner's repository; `None` outside of GitHub.
    #[must_use]
    pub fn of_run(runner: &Runner, pull_request: PullRequestReference, origin: CommitOrigin) -> Option<Self> {
        let (Some(api_url), Some(repository)) = (&runner.api_url, &runner.repository) else { return None };
        let api_url = api_url.trim_end_matches('/').to_owned();
        // A GitHub Enterprise Server has its two APIs below `/api`.
        let beside = || format!("{}/graphql", api_url.strip_suffix("/v3").unwrap_or(&api_url));
        Some(Self {
            graphql_url: runner.graphql_url.clone().unwrap_or_else(beside),
            network: runner.network.clone(),
            repository: repository.clone(),
            api_url,
            pull_request,
            origin,
        })
    }

    /// Writes the comment: replaces the existing one, or creates it. A failure that may pass is retried within
    /// `time_limit`.
    ///
    /// # Errors
    /// `comment-unwritten`, also if GitHub does not respond within `time_limit`.
    pub async fn write_comment(
        &self,
        token: &Secret,
        comment: MarkedComment<'_>,
        text: &str,
        time_limit: Duration,
    ) -> Result<CommentOutcome, Fault> {
        let deadline = Instant::now() + time_limit;
        let (mut attempts, mut reconnects, mut last_failure) = (0, 0, None);
        loop {
            let attempt = timeout_at(deadline, self.write_once(token, comment, text)).await;
            let failure = match attempt {
                Ok(Ok(outcome)) => return Ok(outcome),
                Ok(Err(failure)) => failure,
                // The error adds nothing, and a failure before it is the better cause.
                Err(_elapsed) => return Err(last_failure.unwrap_or_else(|| timeout_fault(time_limit))),
            };
            // Where there is no server, no number of attempts helps.
            reconnects = if failure.kind == FailureKind::Unreachable { reconnects + 1 } else { 0 };
            let next = failure.retry_after(attempts).filter(|_| reconnects <= MAX_RECONNECTS);
            let next = next.map(|wait| Instant::now() + wait);
            attempts += 1;
            let failure = if self.origin == CommitOrigin::Fork { failure.of_fork() } else { failure };
            let fault = failure.into_fault(attempts);
            match next.filter(|next| *next < deadline) {
                // GitHub names the time, or none is known: there is nothing else to wait for.
                Some(next) => sleep_until(next).await,
                None => return Err(fault),
            }
            last_failure = Some(fault);
        }
    }

    /// Reads what a comment needs, and writes nothing: the pull request and its comments. Returns the number of the pull
    /// request, if there is one. GitHub has no question for the right to write.
    ///
    /// # Errors
    /// `comment-unwritten`, also if GitHub does not respond within `time_limit`.
    pub async fn check_access(&self, token: &Secret, time_limit: Duration) -> Result<Option<u64>, Fault> {
        let reading = async {
            let client = ApiClient::new(&self.api_url, &self.network, token)?;
            let Some(number) = self.find_number(&client).await? else { return Ok(None) };
            self.list(&client, number).await.map(|_| Some(number))
        };
        match timeout(time_limit, reading).await {
            Ok(read) => read.map_err(|failure: ApiFailure| failure.into_fault(1)),
            Err(_elapsed) => Err(timeout_fault(time_limit)),
        }
    }

    async fn find_number(&self, client: &ApiClient) -> Result<Option<u64>, ApiFailure> {
        match &self.pull_request {
            PullRequestReference::Number(number) => Ok(Some(*number)),
            PullRequestReference::Commit(commit) => find_by_commit(client, &self.repository_url(), commit).await,
        }
    }

    /// Makes one attempt. Each begins with the list, so a comment that was created in spite of an error is found.
    async fn write_once(
        &self,
        token: &Secret,
        comment: MarkedComment<'_>,
        text: &str,
    ) -> Result<CommentOutcome, ApiFailure> {
        let client = ApiClient::new(&self.api_url, &self.network, token)?;
        let Some(number) = self.find_number(&client).await? else { return Ok(CommentOutcome::NoPullRequest) };
        let own = self.list(&client, number).await?;
        let marker = match comment {
            MarkedComment::Marker(marker) => marker.to_owned(),
            MarkedComment::OnlyOne(beginning) => {
                let mut markers: Vec<&str> = own.iter().map(OwnComment::first_line).collect();
                markers.retain(|marker| marker.starts_with(beginning));
                markers.sort_unstable();
                markers.dedup();
                match markers.as_slice() {
                    [] => return Ok(CommentOutcome::NothingToReplace),
                    [marker] => (*marker).to_owned(),
                    several => return Ok(CommentOutcome::Ambiguous(several.len())),
                }
            }
        };
        let body = format!("{marker}\n{text}");
        let mut marked = with_marker(own, &marker);
        if let Some(newest) = marked.pop() {
            match self.update(&client, newest.id, &body).await {
                Ok(()) => {
                    self.delete(&client, &marked).await;
                    return Ok(CommentOutcome::Written);
                }
                // Another run may have deleted it meanwhile.
                Err(failure) if failure.kind == FailureKind::NotFound => {
                    let now = with_marker(self.list(&client, number).await?, &marker);
                    if now.iter().any(|comment| comment.id == newest.id) {
                        return Err(failure);
                    }
                }
                Err(failure) => return Err(failure),
            }
        }
        self.create(&client, number, &body).await?;
        // Another run may have created one at the same time. Both runs keep the newest.
        let mut marked = with_marker(self.list(&client, number).await?, &marker);
        marked.pop();
        self.delete(&client, &marked).await;
        Ok(CommentOutcome::Written)
    }

    fn repository_url(&self) -> String {
        format!("{}/repos/{}", self.api_url, self.repository)
    }

    async fn list(&self, client: &ApiClient, number: u64) -> Result<Vec<OwnComment>, ApiFailure> {
        list_own_comments(client, &self.graphql_url, &self.repository, number).await
    }

    async fn create(&self, client: &ApiClient, number: u64, body: &str) -> Result<(), ApiFailure> {
        let url = format!("{}/issues/{number}/comments", self.repository_url());
        client.send::<IgnoredAny>(&Method::POST, &url, Some(&json!({ "body": body }))).await.map(drop)
    }

    async fn update(&self, client: &ApiClient, id: u64, body: &str) -> Result<(), ApiFailure> {
        let url = format!("{}/issues/comments/{id}", self.repository_url());
        client.send::<IgnoredAny>(&Method::PATCH, &url, Some(&json!({ "body": body }))).await.map(drop)
    }

    /// Deletes comments that a newer one replaces. Another run may have done so already; if it fails, the next run
    /// tries again.
    async fn delete(&self, client: &ApiClient, outdated: &[OwnComment]) {
        for comment in outdated {
            let url = format!("{}/issues/comments/{}", self.repository_url(), comment.id);
            drop(client.send::<IgnoredAny>(&Method::DELETE, &url, None).await);
        }
    }
}

/// Returns the comments with the marker, the newest last.
fn with_marker(mut own: Vec<OwnComment>, marker: &str) -> Vec<OwnComment> {
    own.retain(|comment| comment.first_line() == marker);
    own.sort_unstable_by_key(|comment| comment.id);
    own
}

fn timeout_fault(time_limit: Duration) -> Fault {
    let tenths = time_limit.as_millis() / 100;
    let cause =
        format!("can't write the comment: GitHub's API did not answer within {}.{} s", tenths / 10, tenths % 10);
    Fault::new(Code::CommentUnwritten, cause).fix("run again, or set `comment: never`")
}
