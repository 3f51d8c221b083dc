//! One request to a cloud, and its response as text or as JSON.

use crate::{
    fault::{Code, Fault},
    https::{HttpsClient, HttpsError, NetworkSettings, server_of},
    secret::{Redactor, Secret},
};
use http::{Request, Uri, header, request::Builder};
use octocrab::OctoBody;
use serde::de::DeserializeOwned;
use std::time::{Duration, SystemTime};
use tokio::time::timeout;

/// Time limit for one response. A metadata server of a cloud answers at once; elsewhere its address answers never.
const TIME_LIMIT: Duration = Duration::from_secs(15);

/// Longest response that is read, in bytes. A token has a few thousand.
const LONGEST_RESPONSE: usize = 256 << 10;

/// Longest part of an answer that is shown, in characters.
const LONGEST_SHOWN: usize = 300;

/// A request: a GET, or a POST with a body.
pub(super) struct CloudRequest<'a> {
    /// The purpose for messages, as in "to assume `arn:…`".
    pub(super) purpose: String,
    pub(super) url: String,
    pub(super) headers: Vec<(&'static str, Secret)>,
    /// The type and the text of the body.
    pub(super) body: Option<(&'static str, Secret)>,
    /// The fix for an answer that refuses the request.
    pub(super) refused_fix: &'a str,
}

/// The type of a form in a body (WHATWG URL, 5.2).
pub(super) const FORM: &str = "application/x-www-form-urlencoded";

impl CloudRequest<'_> {
    /// Sends it and returns the text of a successful response.
    ///
    /// # Errors
    /// `token-unavailable`.
    pub(super) async fn send(self, network: &NetworkSettings, redactor: &Redactor) -> Result<String, Fault> {
        let Self { purpose, url, headers, body, refused_fix } = self;
        let uri: Uri = url.parse().map_err(|error: http::uri::InvalidUri| {
            unavailable(&format!("the address of the request {purpose} is no URL")).with_causes(&error)
        })?;
        let server = server_of(&uri);
        let builder = Request::builder().uri(uri.clone()).header(header::USER_AGENT, "bastion-migrate");
        let builder = headers.iter().fold(builder, |builder, (name, value)| builder.header(*name, value.expose()));
        let request = with_body(builder, body)
            .map_err(|error| unavailable(&format!("the request {purpose} can't be written")).with_causes(&error))?;
        let unreachable = |error: HttpsError| unreachable_fault(&server, &purpose, &error);
        let client = HttpsClient::new(&uri, network).map_err(unreachable)?;
        let sent = timeout(TIME_LIMIT, client.send(request, LONGEST_RESPONSE)).await;
        let response = sent.map_err(|_late| {
            let seconds = TIME_LIMIT.as_secs();
            unavailable(&format!("`{server}`, asked {purpose}, did not answer within {seconds} s"))
                .fix("check the network of the runner; a metadata server answers only on a machine of its cloud")
        })?;
        let response = response.map_err(unreachable)?;
        let (status, text) = (response.status(), response.into_body());
        if status.is_success() {
            return Ok(text);
        }
        let shown: String = redactor.redact(&text).split_whitespace().collect::<Vec<_>>().join(" ");
        let shown: String = shown.chars().take(LONGEST_SHOWN).collect();
        let fault = unavailable(&format!("`{server}`, asked {purpose}, answered {}", status.as_u16()));
        Err(if shown.is_empty() { fault } else { fault.detail(shown) }.fix(refused_fix))
    }

    /// Sends it and returns the response, which is JSON.
    ///
    /// # Errors
    /// `token-unavailable`.
    pub(super) async fn send_for_json<T: DeserializeOwned>(
        self,
        network: &NetworkSettings,
        redactor: &Redactor,
    ) -> Result<T, Fault> {
        let purpose = self.purpose.clone();
        let text = Secret::new(self.send(network, redactor).await?);
        // The error would quote the text.
        serde_json::from_str(text.expose()).map_err(|_error| {
            unavailable(&format!("the answer to the request {purpose} is not the JSON that it should be"))
        })
    }
}

fn with_body(builder: Builder, body: Option<(&'static str, Secret)>) -> Result<Request<OctoBody>, http::Error> {
    match body {
        None => builder.method("GET").body(OctoBody::empty()),
        Some((kind, text)) => {
            builder.method("POST").header(header::CONTENT_TYPE, kind).body(OctoBody::from(text.expose().to_owned()))
        }
    }
}

fn unreachable_fault(server: &str, purpose: &str, error: &HttpsError) -> Fault {
    let source: &(dyn std::error::Error + 'static) = match error {
        HttpsError::Unusable { source, .. } | HttpsError::Unreachable(source) => source.as_ref(),
    };
    unavailable(&format!("`{server}`, to be asked {purpose}, can't be reached"))
        .fix("check the network of the runner: `HTTPS_PROXY` and `NO_PROXY` apply, and `SSL_CERT_FILE` may name a file with your CA")
        .with_causes(source)
}

/// Returns the fault for a token that can't be had.
pub(super) fn unavailable(cause: &str) -> Fault {
    Fault::new(Code::TokenUnavailable, cause)
}

/// A token in the response of an OAuth 2.0 server (RFC 6749, 5.1).
#[derive(serde::Deserialize)]
pub(super) struct AccessToken {
    access_token: String,
    /// Seconds. Azure's metadata server writes it as text.
    expires_in: LifetimeSeconds,
}

#[derive(serde::Deserialize)]
#[serde(untagged)]
enum LifetimeSeconds {
    Number(u64),
    Text(String),
}

impl AccessToken {
    /// Returns the token, and the time of its end.
    pub(super) fn into_token(self) -> (Secret, SystemTime) {
        let seconds = match self.expires_in {
            LifetimeSeconds::Number(seconds) => seconds,
            LifetimeSeconds::Text(text) => text.parse().unwrap_or_default(),
        };
        (Secret::new(self.access_token), SystemTime::now() + Duration::from_secs(seconds))
    }
}
