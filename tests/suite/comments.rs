//! The comment on the pull request: which one, on which pull request, over which network, and in which time.

use crate::{
    action::Action,
    lab::{
        Lab,
        certificate::{Certificate, Expired},
        github::{Answer, Author, Github, WriteAccess},
        http_proxy::HttpProxy,
    },
};
use rustix::process::Signal;
use serde_json::{Value, json};
use std::{
    sync::{Arc, Barrier},
    time::Duration,
};

/// The commit of the run, and the last one of the pull request.
const RUN_COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";
const HEAD_COMMIT: &str = "89abcdef0123456789abcdef0123456789abcdef";

fn users(lab: &Lab) -> Action<'_> {
    Action::new(lab).file("migrations/0001_users.sql", "create table users (id int);\n")
}

/// Returns the step in a run that this event started, with a comment for every command.
fn on_event<'a>(step: Action<'a>, github: &Github, name: &str, payload: &Value) -> Action<'a> {
    let step = step.input("comment", "always").file("event.json", payload.to_string());
    let event = step.workspace().join("event.json").display().to_string();
    step.env("GITHUB_EVENT_PATH", event).env("GITHUB_EVENT_NAME", name).env("GITHUB_API_URL", github.url())
}

fn on_pull_request<'a>(step: Action<'a>, github: &Github) -> Action<'a> {
    let payload = json!({ "pull_request": { "number": 3, "head": { "sha": HEAD_COMMIT } } });
    on_event(step, github, "pull_request", &payload)
}

#[test]
fn the_comment_is_written_once_and_then_updated_in_place() {
    let (lab, github) = (Lab::new(), Github::start(WriteAccess::Allowed));
    on_pull_request(users(&lab), &github)
        .input("command", "plan")
        .input("comment", "plan")
        .run()
        .has_pending()
        .pending(["0001_users"])
        .done();
    let [planned] = github.comments().try_into().expect("one comment");
    assert!(planned.contains("1 migration pending"), "{planned}");

    on_pull_request(users(&lab), &github).run().succeeds().applied(["0001_users"]).done();
    let [applied] = github.comments().try_into().expect("still one comment");
    assert!(applied.contains("Applied 1 migration"), "{applied}");

    on_pull_request(users(&lab), &github).input("comment", "plan").run().nothing_to_do().done();
    assert_eq!(github.comments(), [applied], "`comment: plan` concerns plans only");
    let token = "ghs_0123456789abcdefghijklmnopqrstuvwxyz";
    assert!(github.requests().iter().all(|request| request.head.contains(&format!("Bearer {token}"))));
}

#[test]
fn the_comment_shows_the_commit_and_the_time() {
    let (lab, github) = (Lab::new(), Github::start(WriteAccess::Allowed));
    on_pull_request(users(&lab), &github).run().succeeds().applied(["0001_users"]).done();
    let [comment] = github.comments().try_into().expect("one comment");
    let footer = comment.lines().last().expect("the comment has a footer");
    assert!(
        footer.contains(&format!("commit [89abcde](https://github.com/octo/app/commit/{HEAD_COMMIT})")),
        "{footer}"
    );
    let parts: Vec<&str> = footer.split(" · ").collect();
    let time = parts.iter().find(|part| part.ends_with(" UTC")).expect("the footer has a time");
    assert!(time.len() == "2026-11-29 20:22:15 UTC".len(), "{time}");
}

#[test]
fn two_databases_on_one_pull_request_have_two_comments() {
    let (lab, other, github) = (Lab::new(), Lab::new(), Github::start(WriteAccess::Allowed));
    let plan = |lab| on_pull_request(users(lab), &github).input("command", "plan");
    plan(&lab).run().has_pending().pending(["0001_users"]).done();
    on_pull_request(users(&other), &github).run().succeeds().applied(["0001_users"]).done();
    plan(&lab).run().has_pending().pending(["0001_users"]).done();
    plan(&other).run().nothing_to_do().done();
    let comments = github.comments();
    assert_eq!(comments.len(), 2, "{comments:#?}");
    assert!(comments[0].contains("1 migration pending") && comments[1].contains("Nothing is pending"), "{comments:#?}");

    plan(&lab).input("comment-key", "reports").run().has_pending().pending(["0001_users"]).done();
    let [_, _, third] = github.comments().try_into().expect("three comments");
    assert!(
        third.starts_with("<!-- bastion-migrate:reports -->\n") && third.contains("<code>reports</code>"),
        "{third}"
    );
}

#[test]
fn a_stale_plan_is_replaced_by_a_run_whose_inputs_are_wrong() {
    let (lab, github) = (Lab::new(), Github::start(WriteAccess::Allowed));
    let plan = || on_pull_request(users(&lab), &github).input("command", "plan").input("comment", "plan");
    plan().run().has_pending().pending(["0001_users"]).done();
    plan().input("timeout", "soon").run().fails("input-invalid", 2).done();
    let [comment] = github.comments().try_into().expect("still one comment");
    assert!(comment.contains("`timeout`") || comment.contains("<code>timeout</code>"), "{comment}");
    assert!(!comment.contains("1 migration pending"), "{comment}");

    plan().run().has_pending().pending(["0001_users"]).done();
    // A pull request from a fork has no secrets.
    let without_secrets = plan().input("database-url", "").input("ssh-private-key", "").run();
    without_secrets.fails("input-missing", 2).done();
    let [comment] = github.comments().try_into().expect("still one comment");
    assert!(comment.contains("database-url") && !comment.contains("1 migration pending"), "{comment}");
}

#[test]
fn two_runs_at_once_leave_one_comment() {
    let (lab, github) = (Lab::new(), Github::start(WriteAccess::Allowed));
    let both = Arc::new(Barrier::new(2));
    github.answer("POST /graphql", vec![Answer::Together(Arc::clone(&both)); 2]);
    github.answer("/issues/3/comments", vec![Answer::Together(both); 2]);
    let plan = || on_pull_request(users(&lab), &github).input("command", "plan");
    let (first, second) = (plan().start(), plan().start());
    for running in [first, second] {
        running.finish().has_pending().pending(["0001_users"]).done();
    }
    assert_eq!(github.comments().len(), 1, "{:#?}", github.comments());
}

#[test]
fn a_comment_of_somebody_else_with_our_marker_is_left_alone() {
    let (lab, github) = (Lab::new(), Github::start(WriteAccess::Allowed));
    on_pull_request(users(&lab), &github).run().succeeds().applied(["0001_users"]).done();
    let [copied] = github.comments().try_into().expect("one comment");
    github.add_comment(Author::Other, &copied);
    on_pull_request(users(&lab), &github).run().nothing_to_do().done();
    let [own, others] = github.comments().try_into().expect("two comments");
    assert!(own != copied && others == copied, "{own}");
    assert_eq!(github.own_comments(), [own]);
}

#[test]
fn the_pull_request_is_found_for_every_event_that_has_one() {
    let lab = Lab::new();
    users(&lab).run().succeeds().applied(["0001_users"]).done();
    let queue = "refs/heads/gh-readonly-queue/main/pr-3-0123456";
    for (name, payload) in [
        ("pull_request_target", json!({ "pull_request": { "number": 3 } })),
        ("issue_comment", json!({ "issue": { "number": 3, "pull_request": {} } })),
        ("workflow_run", json!({ "workflow_run": { "head_sha": HEAD_COMMIT, "pull_requests": [{ "number": 3 }] } })),
        ("workflow_run", json!({ "workflow_run": { "head_sha": HEAD_COMMIT, "pull_requests": [] } })),
        ("merge_group", json!({ "merge_group": { "head_ref": queue, "head_sha": HEAD_COMMIT } })),
        ("push", json!({ "ref": "refs/heads/main" })),
        ("workflow_dispatch", json!({ "ref": "refs/heads/main" })),
    ] {
        let github = Github::start(WriteAccess::Allowed);
        for commit in [RUN_COMMIT, HEAD_COMMIT] {
            github.add_pull_request(commit, json!({ "number": 3, "state": "open", "head": { "sha": commit } }));
        }
        on_event(users(&lab), &github, name, &payload).run().nothing_to_do().never_logs("there is no comment").done();
        assert_eq!(github.comments().len(), 1, "{name}: {:?}", github.lines());
    }
}

#[test]
fn a_run_without_a_pull_request_says_so_in_the_log() {
    let lab = Lab::new();
    users(&lab).run().succeeds().applied(["0001_users"]).done();
    let github = Github::start(WriteAccess::Allowed);
    for (name, payload) in [
        ("push", json!({ "ref": "refs/heads/main" })),
        ("schedule", json!({ "schedule": "0 3 * * *" })),
        ("issue_comment", json!({ "issue": { "number": 3 } })),
    ] {
        let finished = on_event(users(&lab), &github, name, &payload).run().nothing_to_do();
        finished.logs(&format!("there is no comment: this run, on `{name}`, has no pull request")).done();
    }
    assert_eq!(github.comments(), Vec::<String>::new());
}

#[test]
fn without_a_comment_to_write_the_token_only_asks_who_approved() {
    let (lab, github) = (Lab::new(), Github::start(WriteAccess::Allowed));
    let step = on_pull_request(users(&lab), &github).input("comment", "never");
    step.run().succeeds().applied(["0001_users"]).never_logs("comment").done();
    on_pull_request(users(&lab), &github).input("comment", "plan").run().nothing_to_do().done();
    let scheduled = on_event(users(&lab), &github, "schedule", &json!({ "schedule": "0 3 * * *" }));
    scheduled.run().nothing_to_do().done();
    assert!(
        github.lines().iter().all(|line| line == "GET /repos/octo/app/actions/runs/4711/approvals"),
        "{:?}",
        github.lines()
    );
    let unrecorded = on_pull_request(users(&lab), &github).input("comment", "never").input("audit", "false");
    let asked = github.lines().len();
    unrecorded.run().nothing_to_do().done();
    assert_eq!(github.lines().len(), asked);
}

#[test]
fn a_comment_that_may_not_be_written_is_one_warning() {
    let (lab, github) = (Lab::new(), Github::start(WriteAccess::Forbidden));
    let finished = on_pull_request(users(&lab), &github).run().succeeds().applied(["0001_users"]);
    finished.warning("can't write the comment: GitHub answered 403").logs("permissions: pull-requests: write").done();
    assert_eq!(github.comments(), Vec::<String>::new());
}

#[test]
fn a_missing_token_is_one_warning() {
    let (lab, github) = (Lab::new(), Github::start(WriteAccess::Allowed));
    let finished = on_pull_request(users(&lab), &github).input("github-token", "").run().succeeds();
    finished.applied(["0001_users"]).warning("`github-token` has no value").done();
    assert_eq!(github.lines(), Vec::<String>::new());
}

#[test]
fn the_warning_about_a_pull_request_from_a_fork_names_the_fork() {
    let (lab, github) = (Lab::new(), Github::start(WriteAccess::Forbidden));
    let payload = json!({ "pull_request": {
        "number": 3,
        "head": { "sha": HEAD_COMMIT, "repo": { "full_name": "stranger/app" } },
        "base": { "repo": { "full_name": "octo/app" } },
    } });
    let finished = on_event(users(&lab), &github, "pull_request", &payload).run().succeeds().applied(["0001_users"]);
    finished.warning("the token of a pull request from a fork is read-only").logs("`on: workflow_run`").done();
}

#[test]
fn no_answer_of_the_api_changes_the_result() {
    let lab = Lab::new();
    users(&lab).run().succeeds().applied(["0001_users"]).done();
    for (answer, warning) in [
        (Answer::message(401, "Bad credentials"), "GitHub answered 401"),
        (Answer::message(403, "You have exceeded a secondary rate limit"), "GitHub answered 403 You have exceeded"),
        (Answer::message(410, "Gone"), "GitHub answered 410"),
        (Answer::page(200), "does not respond like GitHub's API"),
        (Answer::page(404), "does not respond like GitHub's API"),
    ] {
        let github = Github::start(WriteAccess::Allowed);
        github.answer("POST /graphql", [answer]);
        on_pull_request(users(&lab), &github).run().nothing_to_do().warning(warning).done();
    }
    let github = Github::start(WriteAccess::Allowed);
    let limit = Answer::message(429, "Too many requests").header("retry-after", "1");
    github.answer("POST /graphql", [Answer::page(502), Answer::Closed, limit]);
    github.answer("/issues/3/comments", [Answer::Lost]);
    on_pull_request(users(&lab), &github).run().nothing_to_do().done();
    assert_eq!(github.comments().len(), 1);
}

#[test]
fn after_a_cancel_the_comment_gets_the_time_that_is_left() {
    let (lab, github) = (Lab::new(), Github::start(WriteAccess::Allowed));
    // Together they take longer than the second that the stop always leaves.
    for request in ["POST /graphql", "/issues/3/comments"] {
        github.answer(request, [Answer::Late(Duration::from_millis(700))]);
    }
    let step = Action::new(&lab).file("migrations/0001_one.sql", "select pg_sleep(60);\n");
    let running = on_pull_request(step, &github).start();
    let waiting = "select count(*) from pg_stat_activity where datname = current_database() and wait_event = 'PgSleep'";
    lab.database.wait_for(waiting, "1");
    running.signal(Signal::INT);
    running.finish().fails("cancelled", 130).pending(["0001_one"]).within(Duration::from_secs(7)).done();
    let [comment] = github.comments().try_into().expect("one comment");
    assert!(comment.contains("ancelled"), "{comment}");
}

#[test]
fn a_proxy_and_a_private_ca_of_the_environment_are_used() {
    let lab = Lab::new();
    let certificate = Certificate::named("github.internal", Expired::Nothing);
    let github = Github::start_with_tls(&certificate.certificate, &certificate.key);
    let proxy = HttpProxy::start(github.port());
    let step = || {
        let step = on_pull_request(users(&lab), &github).file("ca.pem", &certificate.ca);
        let ca = step.workspace().join("ca.pem").display().to_string();
        step.env("GITHUB_API_URL", "https://github.internal/api/v3")
            .env("SSL_CERT_FILE", ca)
            .env("HTTPS_PROXY", proxy.url())
            .hides("proxy-password")
    };
    step().run().succeeds().applied(["0001_users"]).done();
    assert_eq!(github.comments().len(), 1);
    let first = proxy.requests().concat();
    assert!(first.starts_with("CONNECT github.internal:443 HTTP/1.1\r\n"), "{first}");
    assert!(first.to_lowercase().contains("proxy-authorization: basic "), "{first}");

    let count = proxy.requests().len();
    let finished = step().env("NO_PROXY", "localhost,.internal").run().nothing_to_do();
    finished.warning("can't be reached at `https://github.internal`").done();
    assert_eq!(proxy.requests().len(), count, "`NO_PROXY` names the host");

    let untrusted = step().env("SSL_CERT_FILE", "/nonexistent.pem").run().nothing_to_do();
    untrusted.warning("can't be reached at `https://github.internal`").logs("let `SSL_CERT_FILE` name a file").done();
}
