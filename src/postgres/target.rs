//! The connection data of a database.

use crate::secret::Secret;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// Characters that are percent-encoded in a URL: all except the unreserved ones (RFC 3986, 2.3). `SQLAlchemy`, for
/// example, does not decode the database's name, so `shop%5Fprod` would be another database than `shop_prod`.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The TLS mode, with libpq's names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum SslMode {
    /// No TLS.
    Disable,
    /// TLS without a check of the certificate. With a CA it means `verify-ca`, as in libpq.
    Require,
    /// TLS, certificate signed by the CA.
    VerifyCa,
    /// TLS, certificate signed by the CA and valid for the database's own name.
    VerifyFull,
}

impl SslMode {
    /// Returns the name used in inputs.
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
pub struct DatabaseTarget {
    /// Host name as the bastion resolves it; the certificate must be valid for it.
    pub host: String,
    /// Port, 5432 by default.
    pub port: u16,
    /// The role.
    pub user: String,
    /// Its password.
    pub password: Option<Secret>,
    /// The database name.
    pub name: String,
    /// The TLS mode.
    pub sslmode: SslMode,
    /// The CA in PEM form; without it the public CAs are trusted.
    pub ca: Option<String>,
    /// `options` of the URL: the user's own start-up settings, which win over ours.
    pub options: Option<String>,
}

impl DatabaseTarget {
    /// Returns the part of a URL between `://` and `?`, with this host and port in place of the database's own.
    #[must_use]
    pub fn address_via(&self, host: &str, port: u16) -> Secret {
        let encoded = |text: &str| utf8_percent_encode(text, RESERVED).to_string();
        let password = self.password.as_ref().map(|password| format!(":{}", encoded(password.expose())));
        let (user, name) = (encoded(&self.user), encoded(&self.name));
        let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
        Secret::new(format!("{user}{}@{host}:{port}/{name}", password.unwrap_or_default()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unreserved_characters_are_not_encoded_in_a_url() {
        let target = DatabaseTarget {
            host: "db-1.internal".to_owned(),
            port: 5432,
            user: "app_owner".to_owned(),
            password: Some(Secret::new("a_b-c.d~e/f@g")),
            name: "shop_prod-2.x~y".to_owned(),
            sslmode: SslMode::Require,
            ca: None,
            options: None,
        };
        let address = "app_owner:a_b-c.d~e%2Ff%40g@db-1.internal:5432/shop_prod-2.x~y";
        assert_eq!(target.address_via(&target.host, target.port).expose(), address);
    }
}
