//! Tests of the comment against a fake of GitHub's API.

use super::{
    comment::{CommentOutcome, Conversation, MarkedComment},
    fake_api::{Answer, Author, Github, WriteAccess},
    pull_request::{CommitOrigin, PullRequestReference},
};
use crate::{
    fault::{Code, Fault},
    https::NetworkSettings,
    secret::Secret,
};
use serde_json::json;
use std::{
    sync::{Arc, Barrier},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

const MARKER: &str = "<!-- bastion-migrate:dev -->";
const PATIENCE: Duration = Duration::from_secs(10);
const COMMIT: &str = "89abcdef0123456789abcdef0123456789abcdef";

fn conversation(url: &str) -> Conversation {
    Conversation {
        api_url: url.to_owned(),
        graphql_url: url.replace("/v3", "/graphql"),
        network: NetworkSettings::default(),
        repository: "octo/app".to_owned(),
        pull_request: PullRequestReference::Number(3),
        origin: CommitOrigin::Repository,
    }
}

async fn write_within(
    conversation: &Conversation,
    comment: MarkedComment<'_>,
    patience: Duration,
) -> Result<CommentOutcome, Fault> {
    conversation.write_comment(&Secret::new("ghs_token"), comment, "text", patience).await
}

async fn write(github: &Github) -> Result<CommentOutcome, Fault> {
    write_within(&conversation(&github.url()), MarkedComment::Marker(MARKER), PATIENCE).await
}

fn body() -> String {
    format!("{MARKER}\ntext")
}

#[tokio::test]
async fn creates_a_comment_where_there_is_none() {
    let github = Github::start(WriteAccess::Allowed);
    github.add_comment(Author::Other, "hello");
    assert_eq!(write(&github).await, Ok(CommentOutcome::Written));
    assert_eq!(github.comments(), ["hello".to_owned(), body()]);
    let lines = ["POST /graphql", "POST /repos/octo/app/issues/3/comments", "POST /graphql"];
    assert_eq!(github.lines(), lines);
    assert!(github.requests().iter().all(|request| request.head.contains("Bearer ghs_token")));
}

#[tokio::test]
async fn replaces_its_own_comment_and_no_other() {
    let github = Github::start(WriteAccess::Allowed);
    let copied = format!("{MARKER}\nby another app, or pasted by a maintainer");
    let own_others = ["<!-- bastion-migrate:prod -->\nold", "by another step", "> <!-- bastion-migrate:dev -->"];
    github.add_comment(Author::Other, &copied);
    for body in own_others {
        github.add_comment(Author::Viewer, body);
    }
    let id = github.add_comment(Author::Viewer, &format!("{MARKER}\nold"));
    github.add_comment(Author::Other, &copied);
    assert_eq!(write(&github).await, Ok(CommentOutcome::Written));
    let [first, second, third] = own_others.map(ToOwned::to_owned);
    assert_eq!(github.comments(), [copied.clone(), first, second, third, body(), copied]);
    assert_eq!(github.lines(), ["POST /graphql".to_owned(), format!("PATCH /repos/octo/app/issues/comments/{id}")]);
}

#[tokio::test]
async fn three_thousand_comments_cost_two_calls() {
    for own_at in [0, 2_999] {
        let github = Github::start(WriteAccess::Allowed);
        for number in 0..3_000 {
            let is_own = number == own_at;
            let (author, text) = if is_own { (Author::Viewer, body()) } else { (Author::Other, "hm".to_owned()) };
            github.add_comment(author, &text);
        }
        assert_eq!(write(&github).await, Ok(CommentOutcome::Written));
        assert_eq!((github.lines().len(), github.comments().len()), (2, 3_000));
    }
}

#[tokio::test]
async fn two_runs_at_once_leave_one_comment() {
    let github = Github::start(WriteAccess::Allowed);
    let both = Arc::new(Barrier::new(2));
    // Neither run sees the comment of the other before it creates its own.
    github.answer("POST /graphql", vec![Answer::Together(Arc::clone(&both)); 2]);
    github.answer("/issues/3/comments", vec![Answer::Together(both); 2]);
    let (first, second) = tokio::join!(write(&github), write(&github));
    assert_eq!((first, second), (Ok(CommentOutcome::Written), Ok(CommentOutcome::Written)));
    assert_eq!(github.comments(), [body()]);
}

#[tokio::test]
async fn comments_that_a_lost_race_left_are_deleted_by_the_next_run() {
    let github = Github::start(WriteAccess::Allowed);
    for _ in 0..3 {
        github.add_comment(Author::Viewer, &format!("{MARKER}\nold"));
    }
    assert_eq!(write(&github).await, Ok(CommentOutcome::Written));
    assert_eq!(github.comments(), [body()]);
}

#[tokio::test]
async fn a_comment_that_another_run_deleted_meanwhile_is_created_again() {
    let github = Github::start(WriteAccess::Allowed);
    let gone =
        json!([{"url": "https://github.com/octo/app/pull/3#issuecomment-42", "body": body(), "viewerDidAuthor": true}]);
    let ends = json!({"newest": {"nodes": gone}, "oldest": {"nodes": []}});
    let list = json!({"data": {"repository": {"pullRequest": ends}}}).to_string();
    github.answer("POST /graphql", [Answer::Response { status: 200, headers: Vec::new(), body: list }]);
    assert_eq!(write(&github).await, Ok(CommentOutcome::Written));
    assert_eq!(github.comments(), [body()]);
}

#[tokio::test]
async fn failures_that_pass_are_retried() {
    let reset = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() + 1;
    let passing = [
        Answer::page(502),
        Answer::message(503, "No server is currently available"),
        Answer::message(429, "Too many requests"),
        Answer::message(403, "You have exceeded a secondary rate limit").header("retry-after", "1"),
        Answer::message(403, "API rate limit exceeded for installation")
            .header("x-ratelimit-remaining", "0")
            .header("x-ratelimit-reset", reset.to_string()),
        Answer::Closed,
    ];
    for answer in passing {
        for request in ["POST /graphql", "/issues/3/comments"] {
            let github = Github::start(WriteAccess::Allowed);
            github.answer(request, [answer.clone()]);
            assert_eq!(write(&github).await, Ok(CommentOutcome::Written), "{answer:?} to {request}");
            assert_eq!(github.comments(), [body()], "{answer:?} to {request}");
        }
    }
}

#[tokio::test]
async fn a_comment_whose_response_was_lost_is_not_created_twice() {
    let github = Github::start(WriteAccess::Allowed);
    github.answer("/issues/3/comments", [Answer::Lost]);
    assert_eq!(write(&github).await, Ok(CommentOutcome::Written));
    assert_eq!(github.comments(), [body()]);
}

#[tokio::test]
async fn a_limit_that_outlasts_the_patience_is_reported_at_once() {
    let in_an_hour = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() + 3_600;
    let limits = [
        (Answer::message(403, "You have exceeded a secondary rate limit. Please wait"), "in 60 s"),
        (Answer::message(429, "Too many requests").header("retry-after", "120"), "in 120 s"),
        (
            Answer::message(403, "API rate limit exceeded for installation ID 7.")
                .header("x-ratelimit-remaining", "0")
                .header("x-ratelimit-reset", in_an_hour.to_string()),
            "in 3",
        ),
    ];
    for (answer, wait) in limits {
        let github = Github::start(WriteAccess::Allowed);
        github.answer("POST /graphql", [answer.clone()]);
        let started = Instant::now();
        let fault = write(&github).await.unwrap_err();
        assert!(started.elapsed() < Duration::from_secs(3) && github.lines().len() == 1, "{answer:?}");
        assert!(fault.fix.contains("the limit counts all requests"), "{}", fault.fix);
        assert!(fault.detail.iter().any(|line| line.contains(wait)), "{:?}", fault.detail);
    }
}

#[tokio::test]
async fn each_refusal_names_its_own_cause_and_is_not_retried() {
    let write_access = "permissions: pull-requests: write";
    let refusals = [
        (Answer::message(401, "Bad credentials"), "401 Bad credentials", "check `github-token`"),
        (Answer::message(403, "Resource not accessible by integration"), "403 Resource not accessible", write_access),
        (
            Answer::message(403, "Unable to create comment because issue is locked."),
            "because issue is locked",
            "unlock the conversation",
        ),
        (Answer::message(403, "`octo` has an IP allow list enabled"), "IP allow list", "see GitHub's message"),
        (Answer::message(404, "Not Found"), "404 Not Found", "that can see this repository"),
        (Answer::message(410, "This issue was deleted"), "410 This issue was deleted", "see GitHub's message"),
        (Answer::message(422, "Validation Failed"), "422 Validation Failed", "see GitHub's message"),
        (Answer::page(200), "does not respond like GitHub's API", "set `comment: never`"),
        (Answer::page(403), "does not respond like GitHub's API", "set `comment: never`"),
        (
            Answer::Response {
                status: 404,
                headers: Vec::new(),
                body: json!({"message": "not found", "url": "https://git.example/api/swagger"}).to_string(),
            },
            "its errors are those of Gitea",
            "set `comment: never`",
        ),
        (
            Answer::Response {
                status: 301,
                headers: vec![("location", "https://login.example/x".to_owned())],
                body: String::new(),
            },
            "it redirects to `https://login.example`",
            "set `comment: never`",
        ),
    ];
    for (answer, cause, fix) in refusals {
        let github = Github::start(WriteAccess::Allowed);
        github.answer("/issues/3/comments", [answer]);
        let fault = write(&github).await.unwrap_err();
        assert_eq!((fault.code, github.lines().len()), (Code::CommentUnwritten, 2), "{fault}");
        assert!(fault.cause.starts_with("can't write the comment: ") && fault.cause.contains(cause), "{fault}");
        assert!(fault.fix.contains(fix), "{}", fault.fix);
    }
}

#[tokio::test]
async fn the_errors_of_the_graphql_api_name_their_cause_too() {
    for (kind, message, fix) in [
        ("FORBIDDEN", "Resource not accessible by integration", "pull-requests: write"),
        ("NOT_FOUND", "Could not resolve to a Repository with the name 'octo/app'.", "can see this repository"),
        ("SOMETHING", "Field 'x' doesn't exist", "see GitHub's message"),
    ] {
        let github = Github::start(WriteAccess::Allowed);
        let body = json!({"data": null, "errors": [{"type": kind, "message": message}]}).to_string();
        github.answer("POST /graphql", [Answer::Response { status: 200, headers: Vec::new(), body }]);
        let fault = write(&github).await.unwrap_err();
        assert!(fault.cause.contains(message) && fault.fix.contains(fix), "{fault}: {}", fault.fix);
    }
}

#[tokio::test]
async fn the_token_of_a_fork_is_named_as_the_cause() {
    let github = Github::start(WriteAccess::Forbidden);
    let fork = Conversation { origin: CommitOrigin::Fork, ..conversation(&github.url()) };
    let fault = write_within(&fork, MarkedComment::Marker(MARKER), PATIENCE).await.unwrap_err();
    assert!(fault.cause.contains("from a fork is read-only") && fault.fix.contains("workflow_run"), "{fault}");
    let fault = write(&github).await.unwrap_err();
    assert!(!fault.cause.contains("fork") && fault.fix.contains("permissions: pull-requests: write"), "{fault}");
}

#[tokio::test]
async fn a_repository_that_was_renamed_is_found_by_its_redirect() {
    let github = Github::start(WriteAccess::Allowed);
    let target = "/api/v3/repos/octo/renamed/issues/3/comments";
    github.answer(
        "/repos/octo/app/issues/3/comments",
        [Answer::message(301, "Moved Permanently").header("location", target)],
    );
    assert_eq!(write(&github).await, Ok(CommentOutcome::Written));
    assert_eq!(github.lines()[2], "POST /repos/octo/renamed/issues/3/comments");
}

#[tokio::test]
async fn finds_the_pull_request_by_its_commit() {
    let github = Github::start(WriteAccess::Allowed);
    let by_commit =
        Conversation { pull_request: PullRequestReference::Commit(COMMIT.to_owned()), ..conversation(&github.url()) };
    let written = || write_within(&by_commit, MarkedComment::Marker(MARKER), PATIENCE);
    assert_eq!(written().await, Ok(CommentOutcome::NoPullRequest));
    github.answer("/pulls", [Answer::message(422, "No commit found for SHA")]);
    assert_eq!(written().await, Ok(CommentOutcome::NoPullRequest));
    let listed = |number: u64, state: &str, head: &str, merge: &str| {
        github.add_pull_request(
            COMMIT,
            json!({"number": number, "state": state, "head": {"sha": head}, "merge_commit_sha": merge}),
        );
    };
    listed(9, "open", "another", "another");
    listed(4, "closed", "another", COMMIT);
    assert_eq!(written().await, Ok(CommentOutcome::Written));
    assert!(github.lines().contains(&"POST /repos/octo/app/issues/4/comments".to_owned()), "{:?}", github.lines());
    listed(3, "closed", COMMIT, "another");
    let listed_line = format!("GET /repos/octo/app/commits/{COMMIT}/pulls?per_page=100");
    assert!(github.lines().contains(&listed_line), "{:?}", github.lines());
}

#[tokio::test]
async fn without_a_marker_only_the_one_comment_is_replaced() {
    let github = Github::start(WriteAccess::Allowed);
    let any = MarkedComment::OnlyOne("<!-- bastion-migrate:");
    let conversation = conversation(&github.url());
    let written = || write_within(&conversation, any, PATIENCE);
    github.add_comment(Author::Other, &body());
    github.add_comment(Author::Viewer, "by another step");
    assert_eq!(written().await, Ok(CommentOutcome::NothingToReplace));
    github.add_comment(Author::Viewer, &format!("{MARKER}\nold"));
    assert_eq!(written().await, Ok(CommentOutcome::Written));
    assert_eq!(github.comments(), [body(), "by another step".to_owned(), body()]);
    github.add_comment(Author::Viewer, "<!-- bastion-migrate:prod -->\nold");
    assert_eq!(written().await, Ok(CommentOutcome::Ambiguous(2)));
}

#[tokio::test]
async fn a_slow_api_is_waited_for_and_a_silent_one_is_a_fault_in_time() {
    let github = Github::start(WriteAccess::Allowed);
    github.answer("POST /graphql", [Answer::Late(Duration::from_millis(300))]);
    assert_eq!(write(&github).await, Ok(CommentOutcome::Written));
    github.answer("POST /graphql", [Answer::Late(Duration::from_secs(5))]);
    let conversation = conversation(&github.url());
    let short = Duration::from_millis(100);
    let fault = write_within(&conversation, MarkedComment::Marker(MARKER), short).await.unwrap_err();
    assert!(fault.cause.contains("did not answer within 0.1 s"), "{fault}");
}

#[tokio::test]
async fn a_failure_before_the_end_of_the_patience_is_the_cause() {
    let github = Github::start(WriteAccess::Allowed);
    github.answer("POST /graphql", [Answer::page(502), Answer::Late(Duration::from_secs(5))]);
    let conversation = conversation(&github.url());
    let fault = write_within(&conversation, MarkedComment::Marker(MARKER), Duration::from_secs(1)).await.unwrap_err();
    assert!(fault.cause.contains("502 Bad Gateway") && !fault.cause.contains("html"), "{fault}");
}

#[tokio::test]
async fn a_missing_api_is_unreachable() {
    let port = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    for url in [format!("http://127.0.0.1:{port}/api/v3"), format!("https://127.0.0.1:{port}/api/v3")] {
        let short = Duration::from_millis(700);
        let fault = write_within(&conversation(&url), MarkedComment::Marker(MARKER), short).await.unwrap_err();
        assert!(fault.cause.contains("can't be reached at `http") && fault.fix.contains("HTTPS_PROXY"), "{fault}");
        assert!(fault.detail.iter().any(|line| line.contains("refused")), "{:?}", fault.detail);
        assert!(fault.detail.iter().any(|line| line == "2 attempts"), "{:?}", fault.detail);
    }
    let fault =
        write_within(&conversation("not a url"), MarkedComment::Marker(MARKER), Duration::ZERO).await.unwrap_err();
    assert_eq!(fault.code, Code::CommentUnwritten);
}

#[tokio::test]
async fn a_token_with_a_line_break_is_a_fault() {
    let github = Github::start(WriteAccess::Allowed);
    let conversation = conversation(&github.url());
    let token = Secret::new("ghs_\ntoken");
    let written = conversation.write_comment(&token, MarkedComment::Marker(MARKER), "text", PATIENCE).await;
    assert!(written.unwrap_err().fix.contains("`github-token`"));
}

/// A server with a certificate of its own for `github.internal` and 127.0.0.1, and the file with the certificate.
fn private_server() -> (Github, tempfile::NamedTempFile) {
    let names = ["github.internal".to_owned(), "127.0.0.1".to_owned()];
    let rcgen::CertifiedKey { cert, signing_key } = rcgen::generate_simple_self_signed(names).unwrap();
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), cert.pem()).unwrap();
    (Github::start_with_tls(&cert.pem(), &signing_key.serialize_pem()), file)
}

#[tokio::test]
async fn trusts_a_private_ca_from_the_environment() {
    let (github, ca) = private_server();
    let mut conversation = conversation(&github.url());
    let short = Duration::from_millis(400);
    let fault = write_within(&conversation, MarkedComment::Marker(MARKER), short).await.unwrap_err();
    assert!(fault.detail.iter().any(|line| line.contains("UnknownIssuer")), "{:?}", fault.detail);
    assert!(fault.fix.contains("SSL_CERT_FILE"), "{}", fault.fix);
    conversation.network.ca_file = Some(ca.path().to_owned());
    assert_eq!(write_within(&conversation, MarkedComment::Marker(MARKER), PATIENCE).await, Ok(CommentOutcome::Written));
}

#[tokio::test]
async fn a_ca_file_that_is_not_in_the_container_is_not_needed() {
    let github = Github::start(WriteAccess::Allowed);
    let mut conversation = conversation(&github.url());
    conversation.network.ca_file = Some("/nonexistent/ca.pem".into());
    assert_eq!(write_within(&conversation, MarkedComment::Marker(MARKER), PATIENCE).await, Ok(CommentOutcome::Written));
    conversation.network.ca_file = Some("/proc/self/mem".into());
    let fault = write_within(&conversation, MarkedComment::Marker(MARKER), Duration::ZERO).await.unwrap_err();
    assert!(fault.cause.contains("`SSL_CERT_FILE`"), "{fault}");
}
