//! Sends a notification to the webhook, once: a failure is a warning, and the run does not wait for a second attempt.

use super::{discord, json, message::NotificationMessage, slack, teams};
use crate::{
    fault::{Code, Fault},
    github::runner::Runner,
    https::{HttpsClient, HttpsError, NetworkSettings, server_of},
    report::{run_report::RunReport, visible_text::clip_text},
    secret::Redactor,
    settings::{Command, MessageFormat, NotificationSettings},
};
use http::{Method, Request, Response, Uri, header};
use octocrab::OctoBody;
use std::time::Duration;
use tokio::time::timeout;

/// Time limit for one message, from the first packet to the response.
const TIME_LIMIT: Duration = Duration::from_secs(5);

/// Longest response that is read, in bytes. Services answer with a few words.
const MAX_RESPONSE: usize = 16 << 10;

/// Longest part of a response that is shown, in characters.
const MAX_SHOWN: usize = 120;

/// Tells of the end of a run, if it is an occasion. The report must be redacted.
///
/// # Errors
/// `notification-unsent`, also if the webhook does not answer within `time_left` or the limit of a message.
pub(in super::super) async fn notify_of_outcome(
    report: &RunReport,
    runner: &Runner,
    settings: Option<&NotificationSettings>,
    redactor: &Redactor,
    time_left: Option<Duration>,
) -> Result<(), Fault> {
    let Some(settings) = settings.filter(|_| is_told_of(report.command)) else { return Ok(()) };
    match NotificationMessage::of_outcome(report, runner, redactor) {
        Some(message) => deliver(&message, settings, &runner.network, redactor, time_left).await,
        None => Ok(()),
    }
}

/// Returns whether people are told of runs with this command, because it writes. An invalid one could have been any.
pub(super) fn is_told_of(command: Option<Command>) -> bool {
    command.is_none_or(Command::may_write)
}

/// Sends the message, if its occasion was chosen.
///
/// # Errors
/// `notification-unsent`.
pub(super) async fn deliver(
    message: &NotificationMessage,
    settings: &NotificationSettings,
    network: &NetworkSettings,
    redactor: &Redactor,
    time_left: Option<Duration>,
) -> Result<(), Fault> {
    if !settings.occasions.contains(&message.occasion) {
        return Ok(());
    }
    let body = match settings.format {
        MessageFormat::Json => json::render(message),
        MessageFormat::Slack => slack::render(message),
        MessageFormat::Teams => teams::render(message),
        MessageFormat::Discord => discord::render(message),
    };
    let limit = time_left.unwrap_or(TIME_LIMIT).min(TIME_LIMIT);
    let server = settings.webhook.server();
    match timeout(limit, send(settings, network, body.to_string())).await {
        Ok(Ok(response)) => check_response(server, &response, redactor),
        Ok(Err(error)) => Err(connection_fault(server, &error)),
        Err(_elapsed) => {
            let tenths = limit.as_millis() / 100;
            let cause = format!("`{server}` did not answer within {}.{} s", tenths / 10, tenths % 10);
            Err(unsent(&cause, "check that the webhook's server can be reached from the runner"))
        }
    }
}

async fn send(
    settings: &NotificationSettings,
    network: &NetworkSettings,
    body: String,
) -> Result<Response<String>, HttpsError> {
    let unusable = |error: http::Error| HttpsError::Unusable {
        problem: "the URL in `notify` can't be used".to_owned(),
        source: Box::new(error),
    };
    let request = Request::builder()
        .method(Method::POST)
        .uri(settings.webhook.url().expose())
        .header(header::CONTENT_TYPE, "application/json")
        .header(header::USER_AGENT, "bastion-migrate")
        .body(OctoBody::from(body))
        .map_err(unusable)?;
    HttpsClient::new(request.uri(), network)?.send(request, MAX_RESPONSE).await
}

/// Returns the fault of a response that does not accept the message. A redirect is not followed: it would carry the
/// message to a server that nobody chose.
fn check_response(server: &str, response: &Response<String>, redactor: &Redactor) -> Result<(), Fault> {
    let status = response.status();
    if status.is_success() {
        return Ok(());
    }
    if status.is_redirection() {
        let location = response.headers().get(header::LOCATION).and_then(|value| value.to_str().ok());
        let target = location.and_then(|text| text.parse::<Uri>().ok()).filter(|url| url.host().is_some());
        let target = target.map_or_else(|| "another address".to_owned(), |url| format!("`{}`", server_of(&url)));
        let cause = format!("`{server}` redirects to {target}, and a redirect is not followed");
        return Err(unsent(&cause, "put the URL to which it redirects into `notify`"));
    }
    let text = redactor.redact(response.body());
    let line = text.lines().next().unwrap_or_default().trim();
    let is_page = line.starts_with('<') || line.starts_with('{');
    let line = if is_page { "" } else { line };
    let cause = format!("`{server}` answered {} {}", status.as_u16(), clip_text(line, MAX_SHOWN));
    Err(unsent(
        cause.trim_end(),
        match status.as_u16() {
            429 => "send fewer messages to this webhook, or choose fewer occasions in `on` of `notify`",
            400..500 => {
                "check that the webhook still exists, that `notify` has its whole URL, and that `format` of `notify` is the form that it expects"
            }
            _ => "look at the service of the webhook: it is in trouble",
        },
    ))
}

fn connection_fault(server: &str, error: &HttpsError) -> Fault {
    match error {
        HttpsError::Unusable { problem, source } => {
            unsent(problem, "correct `notify`, or the variable that is named").with_causes(source.as_ref())
        }
        HttpsError::Unreachable(cause) => {
            let fix = "check the network of the runner: `HTTPS_PROXY` and `NO_PROXY` apply, and `SSL_CERT_FILE` may name a file with your CA";
            unsent(&format!("`{server}` can't be reached"), fix).with_causes(cause.as_ref())
        }
    }
}

fn unsent(cause: &str, fix: &str) -> Fault {
    Fault::new(Code::NotificationUnsent, format!("can't send the notification: {cause}")).fix(fix)
}
