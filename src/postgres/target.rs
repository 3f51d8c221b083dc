//! Which database, as data.

use crate::secret::Secret;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

/// How much TLS, in libpq's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum SslMode {
    /// No TLS.
    Disable,
    /// TLS without a check of the certificate, unless a CA is given: then `verify-ca`, as in libpq.
    Require,
    /// TLS, certificate signed by the CA.
    VerifyCa,
    /// The same, and the certificate is for the database's own name.
    VerifyFull,
}

impl SslMode {
    /// As written in inputs.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Disable => "disable",
            Self::Require => "require",
            Self::VerifyCa => "verify-ca",
            Self::VerifyFull => "verify-full",
        }
    }
}

/// The database to migrate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// As the bastion resolves it; also the name that the certificate must be for.
    pub host: String,
    /// 5432 unless said.
    pub port: u16,
    /// The role.
    pub user: String,
    /// Its password.
    pub password: Option<Secret>,
    /// The database name.
    pub name: String,
    /// How much TLS.
    pub sslmode: SslMode,
    /// The CA in PEM form; without one the public CAs count.
    pub ca: Option<String>,
    /// `options` of the URL: the user's own start-up settings, which win over ours.
    pub options: Option<String>,
}

impl Target {
    /// What stands in a URL between `://` and `?`, with this place in the database's.
    #[must_use]
    pub fn address(&self, host: &str, port: u16) -> Secret {
        let encoded = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
        let password = self.password.as_ref().map(|password| format!(":{}", encoded(password.expose())));
        let (user, name) = (encoded(&self.user), encoded(&self.name));
        let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
        Secret::new(format!("{user}{}@{host}:{port}/{name}", password.unwrap_or_default()))
    }
}
