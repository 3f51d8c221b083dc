//! Requests to GitHub's API, with the redirects and the errors that are its own.

use super::api_failure::{ApiFailure, FailureKind};
use crate::{
    https::{HttpsClient, HttpsError, NetworkSettings, server_of},
    secret::Secret,
};
use http::{Method, Request, Response, Uri, header};
use octocrab::OctoBody;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// Version of the REST API, which GitHub keeps for two years after the next one.
const API_VERSION: &str = "2022-11-28";

/// Most redirects of one request: GitHub needs one for a repository that was renamed.
const MAX_REDIRECTS: usize = 3;

/// Longest response, in bytes: both ends of a conversation, 200 comments of 64 kB, are shorter.
const MAX_RESPONSE: usize = 64 << 20;

/// A client of one GitHub server.
#[derive(Debug)]
pub(super) struct ApiClient {
    https: HttpsClient,
    token: Secret,
}

impl ApiClient {
    /// Creates a client for the server at this URL. Connects when the first request is sent.
    pub(super) fn new(url: &str, network: &NetworkSettings, token: &Secret) -> Result<Self, ApiFailure> {
        let url = parse_url(url)?;
        let https = HttpsClient::new(&url, network).map_err(|error| connection_failure(&url, &error))?;
        Ok(Self { https, token: token.clone() })
    }

    /// Sends a request and returns the response's JSON. Follows redirects on the same server.
    pub(super) async fn send<T: DeserializeOwned>(
        &self,
        method: &Method,
        url: &str,
        body: Option<&Value>,
    ) -> Result<T, ApiFailure> {
        let mut url = parse_url(url)?;
        for _ in 0..=MAX_REDIRECTS {
            let response = self.send_once(method, &url, body).await?;
            if let Some(target) = redirect_target(&response, &url) {
                if target.authority() != url.authority() || target.scheme() != url.scheme() {
                    let evidence = format!("it redirects to `{}`", server_of(&target));
                    return Err(ApiFailure::not_github(&server_of(&url), &evidence));
                }
                url = target;
                continue;
            }
            return parse_response(&response, &url);
        }
        Err(ApiFailure::not_github(&server_of(&url), "it redirects in a circle"))
    }

    async fn send_once(
        &self,
        method: &Method,
        url: &Uri,
        body: Option<&Value>,
    ) -> Result<Response<String>, ApiFailure> {
        let request = Request::builder()
            .method(method)
            .uri(url)
            .header(header::ACCEPT, "application/vnd.github+json")
            .header(header::AUTHORIZATION, format!("Bearer {}", self.token.expose()))
            .header(header::USER_AGENT, "bastion-migrate")
            .header("x-github-api-version", API_VERSION);
        let request = match body {
            None => request.body(OctoBody::empty()),
            Some(body) => {
                let request = request.header(header::CONTENT_TYPE, "application/json");
                request.body(OctoBody::from(body.to_string()))
            }
        };
        let request = request.map_err(|error| {
            ApiFailure::new(FailureKind::TokenRejected, "`github-token` contains characters that no token has")
                .with_causes(&error)
        })?;
        self.https.send(request, MAX_RESPONSE).await.map_err(|error| connection_failure(url, &error))
    }
}

/// Returns the target of a redirect, absolute; `None` if the response is none.
fn redirect_target(response: &Response<String>, url: &Uri) -> Option<Uri> {
    let location = response.headers().get(header::LOCATION).filter(|_| response.status().is_redirection())?;
    let mut parts = location.to_str().ok()?.parse::<Uri>().ok()?.into_parts();
    parts.scheme = parts.scheme.or_else(|| url.scheme().cloned());
    parts.authority = parts.authority.or_else(|| url.authority().cloned());
    Uri::from_parts(parts).ok()
}

fn parse_response<T: DeserializeOwned>(response: &Response<String>, url: &Uri) -> Result<T, ApiFailure> {
    let (headers, text) = (response.headers(), response.body().as_str());
    if !response.status().is_success() {
        return Err(ApiFailure::from_response(&server_of(url), response.status(), headers, text));
    }
    // The response to a DELETE is empty.
    let text = if text.is_empty() { "null" } else { text };
    let value: Value = serde_json::from_str(text)
        .map_err(|error| ApiFailure::not_github(&server_of(url), &format!("{error} in its response")))?;
    if let Some(failure) = ApiFailure::from_graphql(&value, headers) {
        return Err(failure);
    }
    serde_json::from_value(value)
        .map_err(|error| ApiFailure::not_github(&server_of(url), &format!("{error} in its response")))
}

fn connection_failure(url: &Uri, error: &HttpsError) -> ApiFailure {
    match error {
        HttpsError::Unusable { problem, source } => {
            ApiFailure::new(FailureKind::Unusable, problem).with_causes(source.as_ref())
        }
        HttpsError::Unreachable(cause) => ApiFailure::unreachable(&server_of(url), cause.as_ref()),
    }
}

fn parse_url(url: &str) -> Result<Uri, ApiFailure> {
    let parsed: Uri = url.parse().map_err(|error: http::uri::InvalidUri| {
        ApiFailure::new(FailureKind::Unusable, format!("`{url}` is no URL of an API")).with_causes(&error)
    })?;
    match (parsed.scheme(), parsed.authority()) {
        (Some(_), Some(_)) => Ok(parsed),
        _ => Err(ApiFailure::new(FailureKind::Unusable, format!("`{url}` is no URL of an API"))),
    }
}
