//! Failures of GitHub's API by their true cause, which the status alone does not show: a 403 has at least four.

use crate::fault::{Code, Fault};
use http::{HeaderMap, StatusCode};
use serde_json::Value;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The cause of a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FailureKind {
    /// No response: name, network, TLS, proxy, a closed connection.
    Unreachable,
    /// The server's certificate is not signed by a trusted CA.
    Untrusted,
    /// The settings of the connection are not usable.
    Unusable,
    /// A response that GitHub does not send.
    NotGithub,
    /// 401.
    TokenRejected,
    /// The token may not do this.
    Forbidden,
    /// 404, also for something that the token may not see.
    NotFound,
    /// A rate limit, with the time until the next request is allowed if the server sends it.
    RateLimited {
        /// The time to wait.
        wait: Option<Duration>,
    },
    /// The conversation is locked.
    Locked,
    /// 5xx.
    Unavailable {
        /// The time to wait, if the server sends it.
        wait: Option<Duration>,
    },
    /// 422.
    Invalid,
    /// Another refusal: the message is all that is known.
    Refused,
}

/// Time to wait after a secondary rate limit without any number (GitHub's documentation, "Rate limits for the REST
/// API").
const SECONDARY_LIMIT_WAIT: Duration = Duration::from_secs(60);

/// Waiting time before the second attempt; each further one waits twice as long.
const FIRST_BACKOFF: Duration = Duration::from_millis(500);

/// Maximum number of characters of a server's message.
const MAX_MESSAGE_LENGTH: usize = 300;

/// Fix for a token without the permission.
const PERMISSION_FIX: &str = "give the job `permissions: pull-requests: write`";

/// A failed request, as the fault to report.
#[derive(Debug)]
pub(super) struct ApiFailure {
    pub(super) kind: FailureKind,
    fault: Fault,
}

impl ApiFailure {
    pub(super) fn new(kind: FailureKind, cause: impl AsRef<str>) -> Self {
        let cause = format!("can't write the comment: {}", cause.as_ref());
        Self { kind, fault: Fault::new(Code::CommentUnwritten, cause).fix(kind.fix()) }
    }

    /// Creates the failure of a server that is not GitHub, by the evidence for it.
    pub(super) fn not_github(server: &str, evidence: &str) -> Self {
        let cause = format!("`{server}` does not respond like GitHub's API: {}", shorten(evidence));
        Self::new(FailureKind::NotGithub, cause)
    }

    /// Creates the failure of a connection.
    pub(super) fn unreachable(server: &str, error: &(dyn std::error::Error + 'static)) -> Self {
        let cause = format!("GitHub's API can't be reached at `{server}`");
        let failure = Self::new(FailureKind::Unreachable, &cause).with_causes(error);
        match failure.fault.detail.iter().any(|line| line.contains("invalid peer certificate")) {
            true => Self::new(FailureKind::Untrusted, cause).with_causes(error),
            false => failure,
        }
    }

    /// Adds the causes of an error.
    pub(super) fn with_causes(mut self, error: &(dyn std::error::Error + 'static)) -> Self {
        self.fault = self.fault.with_causes(error);
        self
    }

    /// Classifies a response with an error status.
    pub(super) fn from_response(server: &str, status: StatusCode, headers: &HeaderMap, text: &str) -> Self {
        let body: Value = serde_json::from_str(text).unwrap_or_default();
        let unavailable = status.is_server_error();
        if !body.is_object() && !unavailable && status != StatusCode::TOO_MANY_REQUESTS {
            return Self::not_github(server, &format!("{status} with a page in place of JSON"));
        }
        // The field is Gitea's and Forgejo's; GitHub's is `documentation_url`.
        if body.get("url").and_then(Value::as_str).is_some_and(|url| url.ends_with("/api/swagger")) {
            return Self::not_github(server, "its errors are those of Gitea");
        }
        // Of a page from a proxy or a load balancer, the status says it all.
        let message = body.get("message").and_then(Value::as_str).unwrap_or(status.canonical_reason().unwrap_or("?"));
        let wait = waiting_time(headers, message, SystemTime::now());
        let kind = match status.as_u16() {
            429 => FailureKind::RateLimited { wait },
            403 if is_rate_limit(headers, message) => FailureKind::RateLimited { wait },
            403 if message.contains("locked") => FailureKind::Locked,
            403 if message.starts_with("Resource not accessible by") => FailureKind::Forbidden,
            401 => FailureKind::TokenRejected,
            404 => FailureKind::NotFound,
            422 => FailureKind::Invalid,
            _ if unavailable => FailureKind::Unavailable { wait },
            _ => FailureKind::Refused,
        };
        let details = body.get("errors").and_then(Value::as_array).into_iter().flatten();
        let failure = Self::new(kind, format!("GitHub answered {} {}", status.as_u16(), shorten(message)));
        details.fold(failure, |failure, detail| failure.with_detail(&detail.to_string())).with_waiting_time()
    }

    /// Returns the failure in a response of the GraphQL API, whose status is 200 all the same.
    pub(super) fn from_graphql(body: &Value, headers: &HeaderMap) -> Option<Self> {
        let error = body.get("errors").and_then(Value::as_array)?.first()?;
        let text = |key: &str| error.get(key).and_then(Value::as_str).unwrap_or_default();
        let message = text("message");
        let wait = waiting_time(headers, message, SystemTime::now());
        let kind = match text("type") {
            "FORBIDDEN" | "INSUFFICIENT_SCOPES" => FailureKind::Forbidden,
            "NOT_FOUND" => FailureKind::NotFound,
            "RATE_LIMITED" | "RATE_LIMIT" => FailureKind::RateLimited { wait },
            _ if is_rate_limit(headers, message) => FailureKind::RateLimited { wait },
            // GitHub's message for a query that took too long, with an invitation to try again.
            _ if message.starts_with("Something went wrong") => FailureKind::Unavailable { wait: None },
            _ => FailureKind::Refused,
        };
        Some(Self::new(kind, format!("GitHub answered: {}", shorten(message))).with_waiting_time())
    }

    /// Returns the time until another attempt may succeed; `None` if it would fail in the same way.
    pub(super) fn retry_after(&self, attempt: u32) -> Option<Duration> {
        let backoff = FIRST_BACKOFF.saturating_mul(2_u32.saturating_pow(attempt));
        match self.kind {
            FailureKind::Unreachable => Some(backoff),
            FailureKind::RateLimited { wait } | FailureKind::Unavailable { wait } => Some(wait.unwrap_or(backoff)),
            FailureKind::Untrusted
            | FailureKind::Unusable
            | FailureKind::NotGithub
            | FailureKind::TokenRejected
            | FailureKind::Forbidden
            | FailureKind::NotFound
            | FailureKind::Locked
            | FailureKind::Invalid
            | FailureKind::Refused => None,
        }
    }

    /// Returns the fault after this number of attempts.
    pub(super) fn into_fault(self, attempts: u32) -> Fault {
        match attempts {
            0 | 1 => self.fault,
            _ => self.fault.detail(format!("{attempts} attempts")),
        }
    }

    /// Returns the failure with the reason that every pull request from a fork has.
    pub(super) fn of_fork(mut self) -> Self {
        if self.kind == FailureKind::Forbidden {
            self.fault.cause.push_str(": the token of a pull request from a fork is read-only");
            "set `comment: never` for pull requests from forks, or comment in a workflow with `on: workflow_run`"
                .clone_into(&mut self.fault.fix);
        }
        self
    }

    fn with_detail(mut self, line: &str) -> Self {
        self.fault = self.fault.detail(shorten(line));
        self
    }

    fn with_waiting_time(self) -> Self {
        match self.kind {
            FailureKind::RateLimited { wait: Some(wait) } => {
                self.with_detail(&format!("the next request is allowed in {} s", wait.as_secs()))
            }
            _ => self,
        }
    }
}

impl FailureKind {
    fn fix(self) -> &'static str {
        match self {
            Self::Unreachable => {
                "check the network of the runner (`HTTPS_PROXY` and `NO_PROXY` apply), or set `comment: never`"
            }
            Self::Untrusted => "let `SSL_CERT_FILE` name a file with your CA that is in the workspace",
            Self::Unusable => "check `GITHUB_API_URL` and `SSL_CERT_FILE`, or set `comment: never`",
            Self::NotGithub => "set `comment: never`: comments need the API of GitHub",
            Self::TokenRejected => "check `github-token`: GitHub does not accept it",
            Self::Forbidden => PERMISSION_FIX,
            Self::NotFound => {
                "give the job `permissions: pull-requests: write`, and a `github-token` that can see this repository"
            }
            Self::RateLimited { .. } => "run again later: the limit counts all requests with this token",
            Self::Locked => "unlock the conversation of the pull request, or set `comment: never`",
            Self::Unavailable { .. } => "run again later: GitHub is in trouble, see its status page",
            Self::Invalid | Self::Refused => "see GitHub's message; the migration itself is not affected",
        }
    }
}

fn shorten(text: &str) -> String {
    let line = text.lines().next().unwrap_or_default();
    match line.char_indices().nth(MAX_MESSAGE_LENGTH) {
        Some((end, _)) => format!("{}…", line.get(..end).unwrap_or_default()),
        None => line.to_owned(),
    }
}

fn header_number(headers: &HeaderMap, name: &str) -> Option<u64> {
    headers.get(name)?.to_str().ok()?.trim().parse().ok()
}

fn is_secondary_limit(message: &str) -> bool {
    let message = message.to_lowercase();
    message.contains("secondary rate limit") || message.contains("abuse detection")
}

fn is_rate_limit(headers: &HeaderMap, message: &str) -> bool {
    header_number(headers, "x-ratelimit-remaining") == Some(0)
        || headers.contains_key("retry-after")
        || is_secondary_limit(message)
        || message.to_lowercase().contains("rate limit exceeded")
}

/// Returns the time until GitHub accepts the next request, in the order of its documentation: `retry-after`, then
/// `x-ratelimit-reset`, then a minute after a secondary limit.
fn waiting_time(headers: &HeaderMap, message: &str, now: SystemTime) -> Option<Duration> {
    if let Some(seconds) = header_number(headers, "retry-after") {
        return Some(Duration::from_secs(seconds));
    }
    let reset = header_number(headers, "x-ratelimit-reset")
        .filter(|_| header_number(headers, "x-ratelimit-remaining") == Some(0))
        .map(|seconds| UNIX_EPOCH + Duration::from_secs(seconds));
    match reset {
        Some(reset) => Some(reset.duration_since(now).unwrap_or_default()),
        None => is_secondary_limit(message).then_some(SECONDARY_LIMIT_WAIT),
    }
}
