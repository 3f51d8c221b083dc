//! A client for one server: octocrab over a connection that goes through the environment's proxy and trusts its CA. It
//! follows no redirect.

use super::network::NetworkSettings;
use bytes::Bytes;
use http::{Request, Response, Uri};
use http_body_util::{BodyExt as _, Limited, combinators::BoxBody};
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
use std::{error::Error, sync::Arc};

/// The reason why there is no response, with its own causes as sources.
#[derive(Debug, thiserror::Error)]
pub enum HttpsError {
    /// The settings of the connection can't be used.
    #[error("{problem}")]
    Unusable {
        /// The problem, as a sentence without a full stop.
        problem: String,
        /// The cause.
        source: Box<dyn Error + Send + Sync>,
    },
    /// No response: name, network, TLS, proxy, a closed connection.
    #[error("{0}")]
    Unreachable(Box<dyn Error + Send + Sync>),
}

/// A client of one server.
#[derive(Debug)]
pub struct HttpsClient {
    octocrab: Octocrab,
}

impl HttpsClient {
    /// Creates a client for the server of this URL. Connects when the first request is sent.
    ///
    /// # Errors
    /// [`HttpsError::Unusable`].
    pub fn new(url: &Uri, network: &NetworkSettings) -> Result<Self, HttpsError> {
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        let direct = https_connector(tcp, network)?;
        let proxy = network.https_proxy.as_ref().and_then(|proxy| {
            let matcher = Matcher::builder().https(proxy.expose()).no(network.no_proxy.as_deref().unwrap_or_default());
            matcher.build().intercept(url)
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
        Ok(Self { octocrab })
    }

    /// Sends a request and returns the response with its body, of which at most `longest_body` bytes are read.
    ///
    /// # Errors
    /// [`HttpsError::Unreachable`], also for a longer body.
    pub async fn send(&self, request: Request<OctoBody>, longest_body: usize) -> Result<Response<String>, HttpsError> {
        // octocrab's own error only says that there is another one in it.
        let unreachable = |error: octocrab::Error| match error {
            octocrab::Error::Service { source, .. } => HttpsError::Unreachable(source),
            other => HttpsError::Unreachable(Box::new(other)),
        };
        let (head, body) = self.octocrab.send(request).await.map_err(unreachable)?.into_parts();
        Ok(Response::from_parts(head, read_body(body, longest_body).await?))
    }
}

async fn read_body(body: BoxBody<Bytes, octocrab::Error>, longest: usize) -> Result<String, HttpsError> {
    let bytes = Limited::new(body, longest).collect().await.map_err(HttpsError::Unreachable)?.to_bytes();
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Returns the part of a URL that names the server.
#[must_use]
pub fn server_of(url: &Uri) -> String {
    let port = url.port_u16().map_or(String::new(), |port| format!(":{port}"));
    format!("{}://{}{port}", url.scheme_str().unwrap_or_default(), url.host().unwrap_or_default())
}

/// Returns a connector that speaks TLS over the inner one where the URL asks for it.
fn https_connector<C>(inner: C, network: &NetworkSettings) -> Result<HttpsConnector<C>, HttpsError> {
    let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    // A file that is not in the container belongs to the runner's host, where many images set the variable.
    if let Some(file) = network.ca_file.as_ref().filter(|file| file.exists()) {
        let problem = || format!("`{}` (`SSL_CERT_FILE`) has no certificates", file.display());
        let found = CertificateDer::pem_file_iter(file).map_err(|error| unusable(problem(), error))?;
        let found = found.collect::<Result<Vec<_>, _>>().map_err(|error| unusable(problem(), error))?;
        roots.add_parsable_certificates(found);
    }
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| unusable("no TLS version can be used".to_owned(), error))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(HttpsConnectorBuilder::new().with_tls_config(config).https_or_http().enable_http1().wrap_connector(inner))
}

fn unusable(problem: String, error: impl Error + Send + Sync + 'static) -> HttpsError {
    HttpsError::Unusable { problem, source: Box::new(error) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_server_of_a_url_is_named_without_its_path_and_its_login() {
        for (url, server) in [
            ("https://hooks.slack.com/services/T0/B0/secret?x=y", "https://hooks.slack.com"),
            ("https://user:password@chat.internal:8443/hook", "https://chat.internal:8443"),
            ("http://[::1]:8080/", "http://[::1]:8080"),
        ] {
            assert_eq!(server_of(&url.parse().unwrap()), server);
        }
    }
}
