//! The route to the database, as data.

use super::user_certificate::UserCertificate;
use crate::secret::Secret;
use std::{fmt, time::Duration};

/// One SSH server on the route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hop {
    /// Host name or address.
    pub host: String,
    /// TCP port, by default 22.
    pub port: u16,
    /// User name for the log-in.
    pub user: String,
}

impl fmt::Display for Hop {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            return write!(formatter, "[{}]:{}", self.host, self.port);
        }
        write!(formatter, "{}:{}", self.host, self.port)
    }
}

/// The credentials; the same for every hop.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Login {
    /// Private key, in OpenSSH or PEM format.
    pub key: Option<Secret>,
    /// Certificate of the private key.
    pub certificate: Option<UserCertificate>,
    /// Passphrase of the private key.
    pub passphrase: Option<Secret>,
    /// Password, also sent as the answer to keyboard-interactive prompts.
    pub password: Option<Secret>,
}

/// The complete route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// The hops in the order in which they are dialled; the last one is the bastion. Never empty.
    pub hops: Vec<Hop>,
    /// The credentials for every hop.
    pub login: Login,
    /// The text of a `known_hosts` file, for all hops.
    pub known_hosts: Option<String>,
    /// Fingerprint `SHA256:…`, the other way to pin the last hop.
    pub fingerprint: Option<String>,
    /// Time limit for each hop: TCP, key exchange and log-in together.
    pub connect_timeout: Duration,
    /// Interval of keepalives; the connection is dead after three without a reply.
    pub keepalive: Duration,
}
