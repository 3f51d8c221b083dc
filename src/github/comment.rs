//! GitHub's REST API: one comment, created once and then updated in place.

use crate::{
    fault::{Code, Fault},
    secret::Secret,
};
use octocrab::Octocrab;
use serde::Deserialize;
use std::time::Duration;

/// Returns the number of the pull request that an event is about, from the event's payload.
#[must_use]
pub fn pull_request(event: &serde_json::Value) -> Option<u64> {
    let issue = event.get("issue").filter(|issue| issue.get("pull_request").is_some());
    let subject = event.get("pull_request").or(issue);
    let number = match subject {
        Some(subject) => subject.get("number"),
        None => event.get("number"),
    };
    number?.as_u64()
}

/// A pull request's conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conversation {
    /// `GITHUB_API_URL`.
    pub api_url: String,
    /// `owner/name`.
    pub repository: String,
    /// The pull request's number.
    pub number: u64,
}

/// GitHub's largest page.
const PAGE: usize = 100;

#[derive(Deserialize)]
struct Comment {
    id: u64,
    body: Option<String>,
    user: Option<Author>,
    author_association: Option<String>,
}

#[derive(Deserialize)]
struct Author {
    r#type: String,
}

#[derive(serde::Serialize)]
struct Body<'a> {
    body: &'a str,
}

impl Conversation {
    /// Writes the comment that begins with this marker, replacing an existing one.
    ///
    /// # Errors
    /// `comment-unwritten`, also when GitHub does not respond within `time_limit`.
    pub async fn upsert_comment(
        &self,
        token: &Secret,
        marker: &str,
        text: &str,
        time_limit: Duration,
    ) -> Result<(), Fault> {
        let body = format!("{marker}\n{text}");
        match tokio::time::timeout(time_limit, self.send_comment(token, marker, &body)).await {
            Ok(done) => done.map_err(|error| api_fault(&error)),
            // The error adds nothing to this message.
            Err(_elapsed) => {
                let seconds = time_limit.as_secs_f32();
                let cause = format!("can't write the comment: GitHub's API did not answer within {seconds} s");
                Err(Fault::new(Code::CommentUnwritten, cause).fix("run again, or set `comment: never`"))
            }
        }
    }

    async fn send_comment(&self, token: &Secret, marker: &str, body: &str) -> octocrab::Result<()> {
        let github = Octocrab::builder().base_uri(self.api_url.as_str())?.personal_token(token.expose()).build()?;
        let body = Body { body };
        let repository = format!("/repos/{}", self.repository);
        match self.find_comment(&github, marker).await? {
            Some(id) => {
                let route = format!("{repository}/issues/comments/{id}");
                github.patch::<Comment, _, _>(route, Some(&body)).await?;
            }
            None => {
                let route = format!("{repository}/issues/{}/comments", self.number);
                github.post::<_, Comment>(route, Some(&body)).await?;
            }
        }
        Ok(())
    }

    /// Finds the newest comment with the marker. A comment by an untrusted author is ignored in any case: its
    /// author could change the text afterwards.
    async fn find_comment(&self, github: &Octocrab, marker: &str) -> octocrab::Result<Option<u64>> {
        let mut found = None;
        for page in 1_u32.. {
            let (repository, number) = (&self.repository, self.number);
            let route = format!("/repos/{repository}/issues/{number}/comments?per_page={PAGE}&page={page}");
            let comments: Vec<Comment> = github.get(route, None::<&()>).await?;
            let is_last_page = comments.len() < PAGE;
            let own_comment = comments.into_iter().rfind(|comment| comment.is_trusted() && comment.begins_with(marker));
            found = own_comment.map(|comment| comment.id).or(found);
            if is_last_page {
                break;
            }
        }
        Ok(found)
    }
}

impl Comment {
    fn begins_with(&self, marker: &str) -> bool {
        self.body.as_deref().is_some_and(|body| body.starts_with(marker))
    }

    fn is_trusted(&self) -> bool {
        let bot = self.user.as_ref().is_some_and(|user| user.r#type == "Bot");
        bot || matches!(self.author_association.as_deref(), Some("OWNER" | "MEMBER" | "COLLABORATOR"))
    }
}

fn api_fault(error: &octocrab::Error) -> Fault {
    let octocrab::Error::GitHub { source, .. } = error else {
        return Fault::new(Code::CommentUnwritten, "can't write the comment: GitHub's API can't be reached")
            .with_causes(error);
    };
    let status = source.status_code.as_u16();
    let cause = format!("can't write the comment: GitHub answered {status} {}", source.message);
    let fault = Fault::new(Code::CommentUnwritten, cause);
    match status {
        403 | 404 => fault.fix(
            "give the job `permissions: pull-requests: write`; a pull request from a fork has a read-only token: there, set `comment: never`",
        ),
        401 => fault.fix("check `github-token`: GitHub does not accept it"),
        _ => fault,
    }
}

#[cfg(test)]
mod tests {
    use super::super::fake_api::{FakeGithub, RecordedRequest};
    use super::*;
    use serde_json::json;

    const MARKER: &str = "<!-- bastion-migrate:dev -->";
    const PATIENCE: Duration = Duration::from_secs(10);

    fn conversation(github: &FakeGithub) -> Conversation {
        Conversation { api_url: github.url.clone(), repository: "owner/name".to_owned(), number: 7 }
    }

    async fn put(github: &FakeGithub) -> Result<(), Fault> {
        conversation(github).upsert_comment(&Secret::new("ghs_token"), MARKER, "text", PATIENCE).await
    }

    fn lines(github: &FakeGithub) -> Vec<String> {
        github.requests().into_iter().map(|request| request.line).collect()
    }

    fn created_response() -> String {
        json!({"id": 1, "body": "x"}).to_string()
    }

    #[tokio::test]
    async fn writes_a_comment_where_there_is_none() {
        let github = FakeGithub::start(|request: &RecordedRequest| match request.line.starts_with("GET") {
            true => (200, json!([{"id": 3, "body": "hello", "user": {"type": "User"}}]).to_string()),
            false => (201, created_response()),
        })
        .await;
        put(&github).await.unwrap();
        let requests = github.requests();
        assert_eq!(requests[1].line, "POST /api/v3/repos/owner/name/issues/7/comments");
        assert_eq!(requests[1].body, json!({"body": format!("{MARKER}\ntext")}).to_string());
        assert!(requests[1].headers.contains("ghs_token"));
    }

    #[tokio::test]
    async fn updates_its_own_comment_on_the_last_page_and_no_other() {
        let github = FakeGithub::start(|request: &RecordedRequest| {
            let foreign = json!({"id": 666, "body": format!("{MARKER}\nmine"), "user": {"type": "User"}, "author_association": "NONE"});
            let quote = json!({"id": 667, "body": format!("> {MARKER}"), "user": {"type": "Bot"}});
            let ours = json!({"id": 42, "body": format!("{MARKER}\nold"), "user": {"type": "Bot"}, "author_association": "NONE"});
            let body = if request.line.starts_with("PATCH") {
                return (200, created_response());
            } else if request.line.ends_with("&page=1") {
                json!(vec![foreign; 100])
            } else {
                json!([ours, quote, foreign])
            };
            (200, body.to_string())
        })
        .await;
        put(&github).await.unwrap();
        let comments = "GET /api/v3/repos/owner/name/issues/7/comments?per_page=100&page=";
        let expected = [
            format!("{comments}1"),
            format!("{comments}2"),
            "PATCH /api/v3/repos/owner/name/issues/comments/42".to_owned(),
        ];
        assert_eq!(lines(&github), expected);
    }

    #[tokio::test]
    async fn a_token_without_the_right_names_the_permission() {
        let github = FakeGithub::start(|request: &RecordedRequest| match request.line.starts_with("GET") {
            true => (200, "[]".to_owned()),
            false => (
                403,
                json!({"message": "Resource not accessible by integration", "documentation_url": "x"}).to_string(),
            ),
        })
        .await;
        let fault = put(&github).await.unwrap_err();
        assert_eq!(fault.code, Code::CommentUnwritten);
        assert!(fault.cause.contains("403 Resource not accessible by integration"), "{fault}");
        assert!(fault.fix.contains("permissions: pull-requests: write"), "{}", fault.fix);
    }

    #[tokio::test]
    async fn a_silent_or_missing_api_is_a_fault_in_time() {
        let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut conversation = Conversation {
            api_url: format!("http://{}", silent.local_addr().unwrap()),
            repository: "owner/name".to_owned(),
            number: 7,
        };
        let token = Secret::new("t");
        let fault = conversation.upsert_comment(&token, MARKER, "x", Duration::from_millis(100)).await.unwrap_err();
        assert!(fault.cause.contains("did not answer within 0.1 s"), "{fault}");
        drop(silent);
        let fault = conversation.upsert_comment(&token, MARKER, "x", PATIENCE).await.unwrap_err();
        assert!(fault.cause.contains("can't be reached"), "{fault}");
        assert!(fault.detail.iter().any(|line| line.contains("refused")), "{:?}", fault.detail);
        conversation.api_url = "not a url".to_owned();
        assert_eq!(
            conversation.upsert_comment(&token, MARKER, "x", PATIENCE).await.unwrap_err().code,
            Code::CommentUnwritten
        );
    }

    #[tokio::test]
    async fn needs_no_crypto_provider_of_the_process_for_https() {
        // Nothing speaks TLS there: what counts is that the client is built and reports.
        let port = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
        let conversation =
            Conversation { api_url: format!("https://127.0.0.1:{port}"), repository: "o/n".to_owned(), number: 1 };
        let fault = conversation.upsert_comment(&Secret::new("t"), MARKER, "x", PATIENCE).await.unwrap_err();
        assert_eq!(fault.code, Code::CommentUnwritten);
    }

    #[test]
    fn finds_the_pull_request_of_every_event() {
        assert_eq!(pull_request(&json!({"number": 1, "pull_request": {"number": 2}})), Some(2));
        assert_eq!(pull_request(&json!({"issue": {"number": 3, "pull_request": {}}})), Some(3));
        assert_eq!(pull_request(&json!({"issue": {"number": 3}})), None);
        assert_eq!(pull_request(&json!({"number": 4})), Some(4));
        assert_eq!(pull_request(&json!({"ref": "refs/heads/main"})), None);
    }
}
