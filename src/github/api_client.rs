//! Requests to GitHub's API: octocrab over a connection that goes through the environment's proxy and trusts its CA.

use super::{
    api_failure::{ApiFailure, FailureKind},
    network::NetworkSettings,
};
use crate::secret::Secret;
use http::{HeaderMap, Method, Request, StatusCode, Uri, header};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::{
        legacy::{
            Client,
            connect::{HttpConnector, proxy::Tunnel},
        },
        proxy::matcher::Matcher,
    },
    rt::TokioExecutor,
};
use octocrab::{AuthState, OctoBody, Octocrab, OctocrabBuilder};
use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, pem::PemObject as _},
};
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::{error::Error as _, sync::Arc};

/// Version of the REST API, which GitHub keeps for two years after the next one.
const API_VERSION: &str = "2022-11-28";

/// Most redirects of one request: GitHub needs one for a repository that was renamed.
const MAX_REDIRECTS: usize = 3;

/// A client of one GitHub server.
#[derive(Debug)]
pub(super) struct ApiClient {
    octocrab: Octocrab,
    token: Secret,
}

impl ApiClient {
    /// Creates a client for the server at this URL. Connects when the first request is sent.
    pub(super) fn new(url: &str, network: &NetworkSettings, token: &Secret) -> Result<Self, ApiFailure> {
        let url = parse_url(url)?;
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        let direct = https_connector(tcp, network)?;
        let proxy = network.https_proxy.as_ref().and_then(|proxy| {
            let matcher = Matcher::builder().https(proxy.expose()).no(network.no_proxy.as_deref().unwrap_or_default());
            matcher.build().intercept(&url)
        });
        let builder = OctocrabBuilder::new_empty();
        let built = match proxy {
            None => {
                let client: Client<_, OctoBody> = Client::builder(TokioExecutor::new()).build(direct);
                builder.with_service(client).with_auth(AuthState::None).build()
            }
            Some(proxy) => {
                let tunnel = Tunnel::new(proxy.uri().clone(), direct);
                let tunnel = match proxy.basic_auth() {
                    Some(login) => tunnel.with_auth(login.clone()),
                    None => tunnel,
                };
                let connector = https_connector(tunnel, network)?;
                let client: Client<_, OctoBody> = Client::builder(TokioExecutor::new()).build(connector);
                builder.with_service(client).with_auth(AuthState::None).build()
            }
        };
        let Ok(octocrab) = built;
        Ok(Self { octocrab, token: token.clone() })
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
            if let Some(target) = response.redirect_target(&url) {
                if target.authority() != url.authority() || target.scheme() != url.scheme() {
                    let evidence = format!("it redirects to `{}`", server_of(&target));
                    return Err(ApiFailure::not_github(&server_of(&url), &evidence));
                }
                url = target;
                continue;
            }
            return response.parse(&url);
        }
        Err(ApiFailure::not_github(&server_of(&url), "it redirects in a circle"))
    }

    async fn send_once(&self, method: &Method, url: &Uri, body: Option<&Value>) -> Result<ApiResponse, ApiFailure> {
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
        // octocrab's own error only says that there is another one in it.
        let unreachable =
            |error: octocrab::Error| ApiFailure::unreachable(&server_of(url), error.source().unwrap_or(&error));
        let response = self.octocrab.send(request).await.map_err(unreachable)?;
        let (status, headers) = (response.status(), response.headers().clone());
        let text = self.octocrab.body_to_string(response).await.map_err(unreachable)?;
        Ok(ApiResponse { status, headers, text })
    }
}

/// A response, read to its end.
struct ApiResponse {
    status: StatusCode,
    headers: HeaderMap,
    text: String,
}

impl ApiResponse {
    /// Returns the target of a redirect, absolute; `None` if the response is none.
    fn redirect_target(&self, url: &Uri) -> Option<Uri> {
        let location = self.headers.get(header::LOCATION).filter(|_| self.status.is_redirection())?;
        let mut parts = location.to_str().ok()?.parse::<Uri>().ok()?.into_parts();
        parts.scheme = parts.scheme.or_else(|| url.scheme().cloned());
        parts.authority = parts.authority.or_else(|| url.authority().cloned());
        Uri::from_parts(parts).ok()
    }

    fn parse<T: DeserializeOwned>(&self, url: &Uri) -> Result<T, ApiFailure> {
        if !self.status.is_success() {
            return Err(ApiFailure::from_response(&server_of(url), self.status, &self.headers, &self.text));
        }
        // The response to a DELETE is empty.
        let text = if self.text.is_empty() { "null" } else { &self.text };
        let value: Value = serde_json::from_str(text)
            .map_err(|error| ApiFailure::not_github(&server_of(url), &format!("{error} in its response")))?;
        if let Some(failure) = ApiFailure::from_graphql(&value, &self.headers) {
            return Err(failure);
        }
        serde_json::from_value(value)
            .map_err(|error| ApiFailure::not_github(&server_of(url), &format!("{error} in its response")))
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

fn server_of(url: &Uri) -> String {
    format!("{}://{}", url.scheme_str().unwrap_or_default(), url.authority().map_or("", |authority| authority.as_str()))
}

/// Returns a connector that speaks TLS over the inner one where the URL asks for it.
fn https_connector<C>(inner: C, network: &NetworkSettings) -> Result<HttpsConnector<C>, ApiFailure> {
    let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    // A file that is not in the container belongs to the runner's host, where many images set the variable.
    if let Some(file) = network.ca_file.as_ref().filter(|file| file.exists()) {
        let unreadable = |error: &(dyn std::error::Error + 'static)| {
            let cause = format!("`{}` (`SSL_CERT_FILE`) has no certificates", file.display());
            ApiFailure::new(FailureKind::Unusable, cause).with_causes(error)
        };
        let found = CertificateDer::pem_file_iter(file).map_err(|error| unreadable(&error))?;
        let found = found.collect::<Result<Vec<_>, _>>().map_err(|error| unreadable(&error))?;
        roots.add_parsable_certificates(found);
    }
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| ApiFailure::new(FailureKind::Unusable, "no TLS version can be used").with_causes(&error))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(HttpsConnectorBuilder::new().with_tls_config(config).https_or_http().enable_http1().wrap_connector(inner))
}
