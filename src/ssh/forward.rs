//! Explains why a server did not open a connection for us. libssh2 keeps only the number of the server's reply, and
//! OpenSSH has one number for a refused connection and for an unknown name: so the server is asked to resolve the name.

use super::{
    channel_open_queue::OpenRefusal,
    connection::{HopConnection, OpenError},
    libssh2::ConnectError,
    route::Hop,
    stream::ChannelStream,
};
use crate::fault::{Code, Fault};
use std::{net::IpAddr, time::Duration};
use tokio::{io::AsyncReadExt as _, time::timeout};

/// Time limit for resolving a name on the server.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(3);

/// Longest output that is read from `getent`, in bytes.
const MAX_LOOKUP_OUTPUT: u64 = 4096;

/// The reason why a server can't connect to an address.
#[derive(Debug)]
pub(super) enum Unreachable {
    /// Forwarding to this address is forbidden.
    Forbidden,
    /// The server can't resolve the name.
    UnknownHost,
    /// The server tried and failed.
    Refused(HostResolution),
    /// No reply came in time.
    TimedOut,
    /// Another reason, in libssh2's words.
    Other(String),
    /// The connection to the server itself is lost.
    Lost(Fault),
}

/// The resolution of a host that refused the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum HostResolution {
    /// The host is an address, or the server can resolve it.
    Resolved,
    /// The server could not resolve names for us.
    Unverified,
}

/// Asks a server to connect to an address.
pub(super) async fn connect_through(
    connection: &HopConnection,
    host: &str,
    port: u16,
    limit: Duration,
) -> Result<ChannelStream, Unreachable> {
    let refusal = match connection.open_forward(host, port, limit).await {
        Ok(stream) => return Ok(stream),
        Err(OpenError::TimedOut) => return Err(Unreachable::TimedOut),
        Err(OpenError::Lost(fault)) => return Err(Unreachable::Lost(fault)),
        Err(OpenError::Refused(OpenRefusal::Channel(message) | OpenRefusal::Program(message))) => message,
    };
    if refusal.contains("administratively prohibited") {
        return Err(Unreachable::Forbidden);
    }
    if !refusal.contains("connect failed") {
        return Err(Unreachable::Other(refusal));
    }
    Err(match look_up_name(connection, host).await {
        NameLookup::Found => Unreachable::Refused(HostResolution::Resolved),
        NameLookup::Missing => Unreachable::UnknownHost,
        NameLookup::Inconclusive => Unreachable::Refused(HostResolution::Unverified),
    })
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum NameLookup {
    Found,
    Missing,
    Inconclusive,
}

async fn look_up_name(connection: &HopConnection, host: &str) -> NameLookup {
    if host.parse::<IpAddr>().is_ok() {
        return NameLookup::Found;
    }
    if !is_dns_name(host) {
        return NameLookup::Inconclusive;
    }
    let command = format!("getent hosts {host}; echo $?");
    timeout(LOOKUP_TIMEOUT, async {
        let Ok(process) = connection.start_program(&command, Vec::new(), LOOKUP_TIMEOUT).await else {
            return NameLookup::Inconclusive;
        };
        let mut output = String::new();
        let result = process.stdio.take(MAX_LOOKUP_OUTPUT).read_to_string(&mut output).await;
        if result.is_ok() { parse_getent_output(&output) } else { NameLookup::Inconclusive }
    })
    .await
    .unwrap_or(NameLookup::Inconclusive)
}

/// Reads getent's exit status from the last line: 0 found, 2 not found (getent(1)); 127 means a server without getent.
fn parse_getent_output(output: &str) -> NameLookup {
    match output.trim_end().lines().last() {
        Some("0") => NameLookup::Found,
        Some("2") => NameLookup::Missing,
        Some(_) | None => NameLookup::Inconclusive,
    }
}

/// Returns whether a host is safe unquoted in a shell command: letters, digits, dots, hyphens and underscores, and not
/// an option.
fn is_dns_name(host: &str) -> bool {
    host.starts_with(|first: char| first.is_ascii_alphanumeric())
        && host.chars().all(|letter| letter.is_ascii_alphanumeric() || ".-_".contains(letter))
}

impl Unreachable {
    /// Returns the fault for a connection to the database.
    pub(super) fn for_database(self, bastion: &Hop, host: &str, port: u16) -> Fault {
        let address = format!("`{host}:{port}`");
        match self {
            Self::Forbidden => {
                Fault::new(Code::ForwardingForbidden, format!("`{bastion}` does not forward connections to {address}"))
            }
            Self::UnknownHost => {
                Fault::new(Code::DatabaseUnknown, format!("`{bastion}` can't resolve the name `{host}`"))
            }
            Self::Refused(HostResolution::Resolved) => Fault::new(
                Code::DatabaseRefused,
                format!("`{bastion}` can't connect to {address}: the connection is refused, or there is no route"),
            ),
            Self::Refused(HostResolution::Unverified) => Fault::new(
                Code::DatabaseRefused,
                format!(
                    "`{bastion}` can't connect to {address}: the connection is refused, there is no route, or the name is unknown there"
                ),
            ),
            Self::TimedOut => Fault::new(Code::DatabaseTimeout, format!("{address} does not answer `{bastion}`")),
            Self::Other(message) => {
                Fault::new(Code::DatabaseRefused, format!("`{bastion}` can't connect to {address}: {message}"))
            }
            Self::Lost(fault) => fault,
        }
    }

    /// Returns the error for a connection to the next hop.
    pub(super) fn for_hop(self, before: &Hop, hop: &Hop) -> ConnectError {
        let transport = |code, cause| ConnectError::Transient(Fault::new(code, cause));
        match self {
            Self::Forbidden => {
                let cause = format!("jump host `{before}` does not forward connections to `{hop}`");
                ConnectError::Permanent(
                    Fault::new(Code::ForwardingForbidden, cause).in_stage(Code::BastionRefused.stage()),
                )
            }
            Self::UnknownHost => {
                let cause = format!("jump host `{before}` can't resolve the name of `{hop}`");
                let fix = "check the spelling of the host; it is resolved on the jump host, not on the runner";
                ConnectError::Permanent(Fault::new(Code::BastionUnknown, cause).fix(fix))
            }
            Self::Refused(HostResolution::Resolved) => transport(
                Code::BastionRefused,
                format!(
                    "jump host `{before}` can't connect to `{hop}`: the connection is refused, or there is no route"
                ),
            ),
            Self::Refused(HostResolution::Unverified) => transport(
                Code::BastionRefused,
                format!(
                    "jump host `{before}` can't connect to `{hop}`: the connection is refused, there is no route, or the name is unknown there"
                ),
            ),
            Self::TimedOut => transport(Code::BastionTimeout, format!("`{hop}` does not answer jump host `{before}`")),
            Self::Other(message) => {
                transport(Code::BastionRefused, format!("jump host `{before}` can't connect to `{hop}`: {message}"))
            }
            Self::Lost(fault) => ConnectError::Permanent(fault.in_stage(Code::BastionRefused.stage())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sends_only_valid_dns_names() {
        assert!(is_dns_name("db-1.internal_x.example"));
        for hostile in ["", "-x", "a b", "a;reboot", "$(id)", "a\nb", "ä.example"] {
            assert!(!is_dns_name(hostile), "{hostile}");
        }
    }

    #[test]
    fn trusts_only_the_exit_status_of_getent() {
        assert_eq!(parse_getent_output("10.0.0.1 db\n0\n"), NameLookup::Found);
        assert_eq!(parse_getent_output("2\n"), NameLookup::Missing);
        assert_eq!(parse_getent_output("sh: getent: not found\n127\n"), NameLookup::Inconclusive);
        assert_eq!(parse_getent_output("This account is currently not available.\n"), NameLookup::Inconclusive);
        assert_eq!(parse_getent_output(""), NameLookup::Inconclusive);
    }
}
