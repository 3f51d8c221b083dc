//! Explains why a server did not open a connection for us. libssh2 keeps only the number of the server's reply, and
//! OpenSSH has one number for a refused connection and for an unknown name: so the server is asked to resolve the name.

use super::{
    connection::{Link, NoChannel},
    libssh2::Failure,
    open_queue::Refusal,
    route::Hop,
    stream::Stream,
};
use crate::fault::{Code, Fault};
use std::{net::IpAddr, time::Duration};
use tokio::{io::AsyncReadExt as _, time::timeout};

/// Time limit for resolving a name on the server.
const LOOKUP: Duration = Duration::from_secs(3);

/// Longest output that is read from `getent`, in bytes.
const LONGEST_ANSWER: u64 = 4096;

/// The reason why a server can't connect to an address.
#[derive(Debug)]
pub(super) enum Unreachable {
    /// Forwarding to this address is forbidden.
    Forbidden,
    /// The server can't resolve the name.
    Unknown,
    /// The server tried and failed.
    Refused(Name),
    /// No reply came in time.
    TimedOut,
    /// Another reason, in libssh2's words.
    Odd(String),
    /// The connection to the server itself is lost.
    Lost(Fault),
}

/// The resolution of a host that refused the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Name {
    /// The host is an address, or the server can resolve it.
    Known,
    /// The server could not resolve names for us.
    Undecided,
}

/// Asks a server to connect to an address.
pub(super) async fn reach(link: &Link, host: &str, port: u16, within: Duration) -> Result<Stream, Unreachable> {
    let refusal = match link.forward(host, port, within).await {
        Ok(stream) => return Ok(stream),
        Err(NoChannel::TimedOut) => return Err(Unreachable::TimedOut),
        Err(NoChannel::Lost(fault)) => return Err(Unreachable::Lost(fault)),
        Err(NoChannel::Refused(Refusal::Channel(said) | Refusal::Program(said))) => said,
    };
    if refusal.contains("administratively prohibited") {
        return Err(Unreachable::Forbidden);
    }
    if !refusal.contains("connect failed") {
        return Err(Unreachable::Odd(refusal));
    }
    Err(match look_up(link, host).await {
        Lookup::Found => Unreachable::Refused(Name::Known),
        Lookup::Missing => Unreachable::Unknown,
        Lookup::Unasked => Unreachable::Refused(Name::Undecided),
    })
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lookup {
    Found,
    Missing,
    Unasked,
}

async fn look_up(link: &Link, host: &str) -> Lookup {
    if host.parse::<IpAddr>().is_ok() {
        return Lookup::Found;
    }
    if !is_dns_name(host) {
        return Lookup::Unasked;
    }
    let question = format!("getent hosts {host}; echo $?");
    timeout(LOOKUP, async {
        let Ok(process) = link.run(&question, Vec::new(), LOOKUP).await else { return Lookup::Unasked };
        let mut said = String::new();
        let heard = process.stdio.take(LONGEST_ANSWER).read_to_string(&mut said).await;
        if heard.is_ok() { read_answer(&said) } else { Lookup::Unasked }
    })
    .await
    .unwrap_or(Lookup::Unasked)
}

/// Reads getent's exit status from the last line: 0 found, 2 not found (getent(1)); 127 means a server without getent.
fn read_answer(said: &str) -> Lookup {
    match said.trim_end().lines().last() {
        Some("0") => Lookup::Found,
        Some("2") => Lookup::Missing,
        Some(_) | None => Lookup::Unasked,
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
        let place = format!("`{host}:{port}`");
        match self {
            Self::Forbidden => {
                Fault::new(Code::ForwardingForbidden, format!("`{bastion}` does not forward connections to {place}"))
            }
            Self::Unknown => Fault::new(Code::DatabaseUnknown, format!("`{bastion}` can't resolve the name `{host}`")),
            Self::Refused(Name::Known) => {
                Fault::new(Code::DatabaseRefused, format!("`{bastion}` can't connect to {place}: refused or no route"))
            }
            Self::Refused(Name::Undecided) => Fault::new(
                Code::DatabaseRefused,
                format!("`{bastion}` can't connect to {place}: refused, no route, or the name is unknown there"),
            ),
            Self::TimedOut => Fault::new(Code::DatabaseTimeout, format!("{place} does not answer `{bastion}`")),
            Self::Odd(said) => {
                Fault::new(Code::DatabaseRefused, format!("`{bastion}` can't connect to {place}: {said}"))
            }
            Self::Lost(fault) => fault,
        }
    }

    /// Returns the error for a connection to the next hop.
    pub(super) fn for_hop(self, before: &Hop, hop: &Hop) -> Failure {
        let transport = |code, cause| Failure::Transport(Fault::new(code, cause));
        match self {
            Self::Forbidden => {
                let cause = format!("jump host `{before}` does not forward connections to `{hop}`");
                Failure::Final(Fault::new(Code::ForwardingForbidden, cause).at(Code::BastionRefused.stage()))
            }
            Self::Unknown => {
                let cause = format!("jump host `{before}` can't resolve the name of `{hop}`");
                let fix = "check the spelling of the host; it is resolved on the jump host, not on the runner";
                Failure::Final(Fault::new(Code::BastionUnknown, cause).fix(fix))
            }
            Self::Refused(Name::Known) => transport(
                Code::BastionRefused,
                format!("jump host `{before}` can't connect to `{hop}`: refused or no route"),
            ),
            Self::Refused(Name::Undecided) => transport(
                Code::BastionRefused,
                format!(
                    "jump host `{before}` can't connect to `{hop}`: refused, no route, or the name is unknown there"
                ),
            ),
            Self::TimedOut => transport(Code::BastionTimeout, format!("`{hop}` does not answer jump host `{before}`")),
            Self::Odd(said) => {
                transport(Code::BastionRefused, format!("jump host `{before}` can't connect to `{hop}`: {said}"))
            }
            Self::Lost(fault) => Failure::Final(fault.at(Code::BastionRefused.stage())),
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
        assert_eq!(read_answer("10.0.0.1 db\n0\n"), Lookup::Found);
        assert_eq!(read_answer("2\n"), Lookup::Missing);
        assert_eq!(read_answer("sh: getent: not found\n127\n"), Lookup::Unasked);
        assert_eq!(read_answer("This account is currently not available.\n"), Lookup::Unasked);
        assert_eq!(read_answer(""), Lookup::Unasked);
    }
}
