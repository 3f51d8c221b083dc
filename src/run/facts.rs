//! Facts about the bastion, the database, the tunnel and the image, as reports show them.

/// Facts about the SSH connection.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct BastionFacts {
    /// Host of the last hop.
    pub host: String,
    /// Port of the last hop.
    pub port: u16,
    /// User on the last hop.
    pub user: String,
    /// Its SSH greeting, as in `SSH-2.0-OpenSSH_9.2p1`. Untrusted text.
    #[serde(default)]
    pub banner: String,
    /// The verified host key, as in `ssh-ed25519 SHA256:…`.
    pub host_key: String,
    /// The facts of the host's certificate, or the reason why it was not used; none if it has shown a key alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_certificate: Option<String>,
    /// Authentication method: `certificate`, `key`, `password`, `keyboard-interactive`.
    pub login: String,
    /// The facts of the user's certificate, if it was used: key id, principals, end, CA.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<String>,
}

/// Facts about the database.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct DatabaseFacts {
    /// Host, as the bastion resolves it.
    pub host: String,
    /// Port.
    pub port: u16,
    /// Database name.
    pub name: String,
    /// Role of the log-in.
    pub role: String,
    /// Role that the session has taken since, if it is another one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acting_role: Option<String>,
    /// Server version, as in `15.18`.
    pub version: String,
    /// TLS mode: `verify-full`, `verify-ca`, `require`, `disable`.
    pub tls: String,
    /// The mode of the connection pooler in between, `session`; none for a direct connection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pooler: Option<String>,
}

/// Address of the tunnel for later steps of the job.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct TunnelFacts {
    /// Host, as seen from the runner's machine.
    pub host: String,
    /// Port on that host.
    pub port: u16,
    /// Host name in the job's own network, where it listens on the database's port; empty if there is no such network.
    pub alias: String,
}

/// Facts about an image: a tag may name another image tomorrow.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct ImageFacts {
    /// The reference, as the user wrote it.
    pub reference: String,
    /// The engine's ID of the image, `sha256:…`.
    pub id: String,
    /// The registry's digest, `name@sha256:…`; `None` for an image that was never pushed or pulled.
    pub digest: Option<String>,
}

/// A backup before the migration, planned or made.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct BackupFacts {
    /// Its content, as in `the data of 3 tables`.
    pub content: String,
    /// Size of the tables and their indexes in bytes; `None` if no rows are dumped, or if it is unknown.
    pub estimate_bytes: Option<u64>,
    /// Its destination: the path of a file, or a command.
    pub destination: String,
    /// The proven backup; `None` before it is made.
    pub made: Option<MadeBackup>,
}

/// A proven backup.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct MadeBackup {
    /// The path of the file; `None` if a command has it.
    pub path: Option<String>,
    /// Size in bytes of the file, or of the dump that the command read; `None` for a command that made it itself.
    pub bytes: Option<u64>,
    /// SHA-256 of the same, in hexadecimal.
    pub sha256: Option<String>,
    /// The signs of its completeness, as a phrase.
    pub proof: String,
    /// The command that restores it.
    pub restore: Option<String>,
}

/// Resources that a container used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct ResourceUsage {
    /// Peak memory, sampled once per second.
    pub memory_bytes: u64,
    /// Processor time in milliseconds, as of the last sample.
    pub cpu_ms: u64,
}
