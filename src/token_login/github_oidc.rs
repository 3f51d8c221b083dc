//! The `OpenID` Connect token by which GitHub vouches for a job (GitHub, "`OpenID` Connect reference": the request has the
//! audience in its query and the job's own token in its header).

use super::cloud_request::{CloudRequest, unavailable};
use crate::{
    fault::{Code, Fault},
    https::NetworkSettings,
    secret::{Redactor, Secret},
};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

/// The runner's address for such tokens, which a job has only with `id-token: write`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OidcEndpoint {
    /// `ACTIONS_ID_TOKEN_REQUEST_URL`.
    pub url: String,
    /// `ACTIONS_ID_TOKEN_REQUEST_TOKEN`.
    pub token: Secret,
}

#[derive(serde::Deserialize)]
struct IdTokenResponse {
    value: String,
}

/// Returns a token of the job for this audience.
///
/// # Errors
/// `oidc-unavailable` without the permission, `token-unavailable`.
pub(super) async fn request_id_token(
    endpoint: Option<&OidcEndpoint>,
    audience: &str,
    network: &NetworkSettings,
    redactor: &Redactor,
) -> Result<Secret, Fault> {
    let Some(endpoint) = endpoint else {
        return Err(Fault::new(Code::OidcUnavailable, "the job can't get an OpenID Connect token from GitHub"));
    };
    let separator = if endpoint.url.contains('?') { '&' } else { '?' };
    let audience = utf8_percent_encode(audience, NON_ALPHANUMERIC);
    let request = CloudRequest {
        purpose: "for the job's OpenID Connect token".to_owned(),
        url: format!("{}{separator}audience={audience}", endpoint.url),
        headers: vec![("authorization", Secret::new(format!("Bearer {}", endpoint.token.expose())))],
        body: None,
        refused_fix: Code::OidcUnavailable.fix(),
    };
    let IdTokenResponse { value } = request.send_for_json(network, redactor).await?;
    if value.is_empty() {
        return Err(unavailable("GitHub's answer contains no OpenID Connect token"));
    }
    let token = Secret::new(value);
    redactor.hide(&token);
    Ok(token)
}
