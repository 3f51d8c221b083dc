//! What is known of the places that a run has to do with, as far as the report tells it.

/// What is known of the SSH connection.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct BastionFacts {
    /// Host of the last hop.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// Whom we are there.
    pub user: String,
    /// `ssh-ed25519 SHA256:…`, as it was checked.
    pub host_key: String,
    /// `key`, `password`, `keyboard-interactive`.
    pub login: String,
}

/// What is known of the database.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct DatabaseFacts {
    /// Host, as the bastion resolves it.
    pub host: String,
    /// Port.
    pub port: u16,
    /// Database name.
    pub name: String,
    /// The role we are.
    pub role: String,
    /// As in `15.18`.
    pub version: String,
    /// `verify-full`, `verify-ca`, `require`, `disable`.
    pub tls: String,
}

/// Where later steps of the job find the database.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct TunnelFacts {
    /// On the runner's machine.
    pub host: String,
    /// The port.
    pub port: u16,
    /// Its name in the job's own network, at the database's own port; empty where there is no such network.
    pub alias: String,
}

/// Which image it is: a tag can mean another one tomorrow.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct ImageFacts {
    /// As the user wrote it.
    pub reference: String,
    /// The engine's own name of it, `sha256:…`.
    pub id: String,
    /// As the registry knows it, `name@sha256:…`; an image that was never pushed or pulled has none.
    pub digest: Option<String>,
}

/// What containers used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Usage {
    /// The most memory at one time, as far as a look each second sees it.
    pub memory_bytes: u64,
    /// Time of processors, in milliseconds, up to the last look.
    pub cpu_ms: u64,
}
