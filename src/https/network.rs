//! The way to servers outside that the environment prescribes: a proxy, and a CA of one's own.

use crate::secret::Secret;
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
    }
}
