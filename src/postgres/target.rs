//! The connection data of a database.

use super::client_certificate::ClientCertificate;
use crate::{secret::Secret, token_login::TokenLogin};

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

/// The beginning of TLS, with libpq's names (`sslnegotiation`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TlsStart {
    /// `postgres`: the server is asked for TLS, and the handshake begins after its reply.
    #[default]
    Requested,
    /// `direct`: the connection begins with the handshake, which saves a round trip; PostgreSQL 17 or newer.
    Direct,
}

impl TlsStart {
    /// Parses libpq's values.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "postgres" => Some(Self::Requested),
            "direct" => Some(Self::Direct),
            _ => None,
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
    /// The beginning of TLS.
    pub tls_start: TlsStart,
    /// The CA in PEM form; without it the public CAs are trusted.
    pub ca: Option<String>,
    /// `options` of the URL: the user's own start-up settings, which win over ours.
    pub options: Option<String>,
    /// The role that our sessions, and those of a tool, take after the log-in.
    pub role: Option<String>,
    /// The log-in by other means than a password that every client knows.
    pub identity: ClientIdentity,
}

impl DatabaseTarget {
    /// Returns the target of a log-in without a password, with TLS and without further settings.
    #[must_use]
    pub fn new(host: impl Into<String>, port: u16, user: impl Into<String>, name: impl Into<String>) -> Self {
        Self {
            host: host.into(),
            port,
            user: user.into(),
            password: None,
            name: name.into(),
            sslmode: SslMode::Require,
            tls_start: TlsStart::Requested,
            ca: None,
            options: None,
            role: None,
            identity: ClientIdentity::default(),
        }
    }
}

/// The proof of a client's identity that this program alone presents to the server: for its own sessions, and for the
/// clients of its proxy.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ClientIdentity {
    /// A certificate, which TLS presents.
    pub certificate: Option<ClientCertificate>,
    /// The source of tokens that are sent in place of a password.
    pub token: Option<TokenLogin>,
}

impl ClientIdentity {
    /// Returns whether there is any: then the proxy terminates TLS, and logs its clients in.
    #[must_use]
    pub fn is_given(&self) -> bool {
        self.certificate.is_some() || self.token.is_some()
    }
}
