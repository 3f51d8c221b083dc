//! The way to the database, as data.

use crate::secret::Secret;
use std::{fmt, time::Duration};

/// One SSH server on the way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hop {
    /// Name or address.
    pub host: String,
    /// 22 unless said.
    pub port: u16,
    /// Whom to log in as.
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

/// How to log in; the same for every hop.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Login {
    /// A private key, in OpenSSH or PEM form.
    pub key: Option<Secret>,
    /// The key's passphrase.
    pub passphrase: Option<Secret>,
    /// A password, also the answer to a keyboard-interactive question.
    pub password: Option<Secret>,
}

/// The whole way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// In the order in which they are dialled; the last one is the bastion. Never empty.
    pub hops: Vec<Hop>,
    /// How to log in.
    pub login: Login,
    /// The text of a `known_hosts` file, for all hops.
    pub known_hosts: Option<String>,
    /// `SHA256:…`, the other way to pin the last hop.
    pub fingerprint: Option<String>,
    /// For each hop: TCP, key exchange and log-in together.
    pub connect_timeout: Duration,
    /// Interval of keepalives; the connection is dead after three without an answer.
    pub keepalive: Duration,
}
