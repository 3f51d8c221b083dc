//! The way to servers outside that the environment prescribes: a proxy, and a CA of one's own.

use crate::secret::Secret;
use http::Uri;
use hyper_util::client::proxy::matcher::Matcher;
use std::path::PathBuf;

/// The environment's variables for HTTPS connections.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NetworkSettings {
    /// `https_proxy` or `HTTPS_PROXY`, which may contain a password.
    pub https_proxy: Option<Secret>,
    /// `no_proxy` or `NO_PROXY`: hosts that are reached without the proxy.
    pub no_proxy: Option<String>,
    /// `SSL_CERT_FILE`: CAs that are trusted in addition to the public ones, in PEM form.
    pub ca_file: Option<PathBuf>,
}

impl NetworkSettings {
    /// Returns the proxy for this server, unless the environment excepts it.
    #[must_use]
    pub fn proxy_for(&self, host: &str, port: u16) -> Option<&Secret> {
        let proxy = self.https_proxy.as_ref()?;
        let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
        let url: Uri = format!("https://{host}:{port}").parse().ok()?;
        let excepted = self.no_proxy.as_deref().unwrap_or_default();
        let matcher = Matcher::builder().https(proxy.expose()).no(excepted).build();
        matcher.intercept(&url).map(|_| proxy)
    }

    /// Reads the variables. The spelling in small letters wins, as with curl.
    #[must_use]
    pub fn from_variables(text: impl Fn(&str) -> Option<String>) -> Self {
        let either = |name: &str| text(name).or_else(|| text(&name.to_uppercase()));
        Self {
            https_proxy: either("https_proxy").map(Secret::new),
            no_proxy: either("no_proxy"),
            ca_file: text("SSL_CERT_FILE").map(PathBuf::from),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_both_spellings_and_prefers_the_small_letters() {
        let read = |variables: &[(&str, &str)]| {
            NetworkSettings::from_variables(|name| {
                variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
            })
        };
        let found = read(&[("HTTPS_PROXY", "http://a:1"), ("https_proxy", "http://b:2"), ("NO_PROXY", "c")]);
        assert_eq!(found.https_proxy, Some(Secret::new("http://b:2")));
        assert_eq!(found.no_proxy.as_deref(), Some("c"));
        assert_eq!(read(&[("SSL_CERT_FILE", "/ca.pem")]).ca_file, Some("/ca.pem".into()));
        assert_eq!(read(&[("HTTP_PROXY", "http://a:1")]), NetworkSettings::default());
        let excepting = read(&[("https_proxy", "http://b:2"), ("no_proxy", ".internal,10.0.0.0/8")]);
        assert!(excepting.proxy_for("bastion.example.com", 22).is_some());
        assert!(excepting.proxy_for("2001:db8::1", 22).is_some());
        for host in ["bastion.internal", "10.1.2.3"] {
            assert_eq!(excepting.proxy_for(host, 22), None, "{host}");
        }
    }
}
