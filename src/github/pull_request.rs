//! The pull request of a run: in the event's payload, or found by the commit.

use super::{
    api_client::ApiClient,
    api_failure::{ApiFailure, FailureKind},
};
use http::Method;
use serde::Deserialize;
use serde_json::Value;

/// The pull request as far as the event names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PullRequestReference {
    /// By its number.
    Number(u64),
    /// By a commit that belongs to it.
    Commit(String),
}

/// The event that started the run, as far as a comment depends on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunEvent {
    /// The pull request; `None` if an event like this one has none.
    pub pull_request: Option<PullRequestReference>,
    /// The commit that the run is about, as the author of the pull request knows it.
    pub commit: Option<String>,
    /// The origin of the pull request's commits.
    pub origin: CommitOrigin,
}

/// The origin of a pull request's commits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CommitOrigin {
    /// The repository itself, or unknown.
    Repository,
    /// A fork, and the token is read-only for that.
    Fork,
}

impl RunEvent {
    /// Reads an event from its name, its payload, and the commit of the run.
    #[must_use]
    pub fn from_payload(name: &str, payload: &Value, run_commit: Option<&str>) -> Self {
        let number = payload.pointer("/pull_request/number").and_then(Value::as_u64);
        let number = number.map(PullRequestReference::Number);
        let run_commit = run_commit.map(ToOwned::to_owned);
        let text = |path: &str| payload.pointer(path).and_then(Value::as_str).map(ToOwned::to_owned);
        let (pull_request, commit) = match name {
            "issue_comment" => (number.or_else(|| commented_pull_request(payload)), None),
            "workflow_run" => {
                let commit = text("/workflow_run/head_sha");
                let listed = payload.pointer("/workflow_run/pull_requests/0/number").and_then(Value::as_u64);
                let listed = listed.map(PullRequestReference::Number);
                (listed.or_else(|| commit.clone().map(PullRequestReference::Commit)), commit)
            }
            "merge_group" => (queued_pull_request(payload), text("/merge_group/head_sha")),
            "push" | "workflow_dispatch" => (run_commit.clone().map(PullRequestReference::Commit), None),
            _ => (number, text("/pull_request/head/sha")),
        };
        let origin = match name {
            "pull_request" | "pull_request_review" | "pull_request_review_comment" if is_from_fork(payload) => {
                CommitOrigin::Fork
            }
            _ => CommitOrigin::Repository,
        };
        Self { pull_request, commit: commit.or(run_commit), origin }
    }
}

/// Returns the pull request of a comment; an issue has none.
fn commented_pull_request(payload: &Value) -> Option<PullRequestReference> {
    let issue = payload.get("issue").filter(|issue| issue.get("pull_request").is_some())?;
    issue.get("number").and_then(Value::as_u64).map(PullRequestReference::Number)
}

/// Returns the pull request at the end of a merge queue's group, from the name of its branch:
/// `refs/heads/gh-readonly-queue/main/pr-7-<commit>`.
fn queued_pull_request(payload: &Value) -> Option<PullRequestReference> {
    let branch = payload.pointer("/merge_group/head_ref").and_then(Value::as_str)?;
    let (_, rest) = branch.rsplit_once("/pr-")?;
    rest.split('-').next()?.parse().ok().map(PullRequestReference::Number)
}

fn is_from_fork(payload: &Value) -> bool {
    let repository =
        |side: &str| payload.pointer(&format!("/pull_request/{side}/repo/full_name")).and_then(Value::as_str);
    repository("base").is_some_and(|base| repository("head") != Some(base))
}

#[derive(Deserialize)]
struct ListedPullRequest {
    number: u64,
    state: String,
    head: ListedHead,
    merge_commit_sha: Option<String>,
}

#[derive(Deserialize)]
struct ListedHead {
    sha: String,
}

/// Finds the pull request of a commit: one that ends with it before one that was merged with it, an open one before a
/// closed one, the newest of several.
///
/// # Errors
/// The failure of the request.
pub(super) async fn find_by_commit(
    client: &ApiClient,
    repository_url: &str,
    commit: &str,
) -> Result<Option<u64>, ApiFailure> {
    let url = format!("{repository_url}/commits/{commit}/pulls?per_page=100");
    let listed = client.send::<Vec<ListedPullRequest>>(&Method::GET, &url, None).await;
    let listed = match listed {
        Ok(listed) => listed,
        // A commit that is in no branch of the repository any more: 422, "No commit found for SHA".
        Err(failure) if failure.kind == FailureKind::Invalid => return Ok(None),
        Err(failure) => return Err(failure),
    };
    let rank = |found: &ListedPullRequest| {
        let merged = found.merge_commit_sha.as_deref() == Some(commit);
        (found.head.sha == commit, merged, found.state == "open", found.number)
    };
    Ok(listed.iter().max_by_key(|found| rank(found)).map(|found| found.number))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const RUN: &str = "0123456789abcdef0123456789abcdef01234567";

    fn event(name: &str, payload: &Value) -> RunEvent {
        RunEvent::from_payload(name, payload, Some(RUN))
    }

    #[test]
    fn finds_the_pull_request_of_every_event() {
        use PullRequestReference::{Commit, Number};
        let pull_request = json!({"pull_request": {"number": 2, "head": {"sha": "abc"}}});
        for name in ["pull_request", "pull_request_target", "pull_request_review", "pull_request_review_comment"] {
            let event = event(name, &pull_request);
            assert_eq!((event.pull_request, event.commit.as_deref()), (Some(Number(2)), Some("abc")), "{name}");
        }
        let found = |name: &str, payload: Value| event(name, &payload).pull_request;
        assert_eq!(found("issue_comment", json!({"issue": {"number": 3, "pull_request": {}}})), Some(Number(3)));
        assert_eq!(found("issue_comment", json!({"issue": {"number": 3}})), None);
        let workflow_run = |listed: Value| json!({"workflow_run": {"head_sha": "abc", "pull_requests": listed}});
        assert_eq!(found("workflow_run", workflow_run(json!([{"number": 4}]))), Some(Number(4)));
        assert_eq!(found("workflow_run", workflow_run(json!([]))), Some(Commit("abc".to_owned())));
        let branch = "refs/heads/gh-readonly-queue/main/pr-104-8b40e0f";
        assert_eq!(found("merge_group", json!({"merge_group": {"head_ref": branch}})), Some(Number(104)));
        for name in ["push", "workflow_dispatch"] {
            assert_eq!(found(name, json!({"ref": "refs/heads/main"})), Some(Commit(RUN.to_owned())), "{name}");
        }
        for name in ["schedule", "issues", "release"] {
            assert_eq!(found(name, json!({"number": 4})), None, "{name}");
        }
    }

    #[test]
    fn a_pull_request_from_another_repository_is_from_a_fork() {
        let payload = |head: Value| json!({"pull_request": {"number": 2, "head": {"repo": head}, "base": {"repo": {"full_name": "o/r"}}}});
        let origin = |name: &str, head: Value| event(name, &payload(head)).origin;
        assert_eq!(origin("pull_request", json!({"full_name": "o/r"})), CommitOrigin::Repository);
        assert_eq!(origin("pull_request", json!({"full_name": "stranger/r"})), CommitOrigin::Fork);
        assert_eq!(origin("pull_request", Value::Null), CommitOrigin::Fork, "the fork was deleted");
        // Its token is that of the repository.
        assert_eq!(origin("pull_request_target", json!({"full_name": "stranger/r"})), CommitOrigin::Repository);
    }
}
