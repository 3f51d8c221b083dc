//! GitHub's REST API: one comment, written once and then updated in place.

use crate::{
    fault::{Code, Fault},
    secret::Secret,
};
use octocrab::Octocrab;
use serde::Deserialize;
use std::time::Duration;

/// The pull request that an event is about, from the event's payload.
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
    /// Writes the comment that begins with this marker, in place of the one that is there.
    ///
    /// # Errors
    /// `comment-unwritten`, also when GitHub does not answer within `patience`.
    pub async fn put(&self, token: &Secret, marker: &str, text: &str, patience: Duration) -> Result<(), Fault> {
        let body = format!("{marker}\n{text}");
        match tokio::time::timeout(patience, self.put_body(token, marker, &body)).await {
            Ok(done) => done.map_err(|error| unwritten(&error)),
            // The elapsed time says nothing that the sentence does not.
            Err(_elapsed) => {
                let seconds = patience.as_secs_f32();
                let cause = format!("can't write the comment: GitHub's API did not answer within {seconds} s");
                Err(Fault::new(Code::CommentUnwritten, cause).fix("run again, or set `comment: never`"))
            }
        }
    }

    async fn put_body(&self, token: &Secret, marker: &str, body: &str) -> octocrab::Result<()> {
        let github = Octocrab::builder().base_uri(self.api_url.as_str())?.personal_token(token.expose()).build()?;
        let body = Body { body };
        let repository = format!("/repos/{}", self.repository);
        match self.find(&github, marker).await? {
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

    /// The newest comment with the marker. One written by a stranger is not ours, whatever it says: its author could
    /// change our words afterwards.
    async fn find(&self, github: &Octocrab, marker: &str) -> octocrab::Result<Option<u64>> {
        let mut found = None;
        for page in 1_u32.. {
            let (repository, number) = (&self.repository, self.number);
            let route = format!("/repos/{repository}/issues/{number}/comments?per_page={PAGE}&page={page}");
            let comments: Vec<Comment> = github.get(route, None::<&()>).await?;
            let last = comments.len() < PAGE;
            let ours = comments.into_iter().rfind(|comment| comment.is_trusted() && comment.begins_with(marker));
            found = ours.map(|comment| comment.id).or(found);
            if last {
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

fn unwritten(error: &octocrab::Error) -> Fault {
    let octocrab::Error::GitHub { source, .. } = error else {
        return Fault::new(Code::CommentUnwritten, "can't write the comment: GitHub's API can't be reached")
            .because(error);
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
