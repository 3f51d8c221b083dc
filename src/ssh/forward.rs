//! What it means when a server can't open a connection for us. libssh2 keeps of the server's answer only its number, and
//! OpenSSH has one number for a refused connection and for an unknown name: the server is asked about the name.

use super::{
    connection::{Link, NoChannel},
    open_queue::Refusal,
    route::Hop,
    session::Failure,
    stream::Stream,
};
use crate::fault::{Code, Fault};
use std::{net::IpAddr, time::Duration};
use tokio::{io::AsyncReadExt as _, time::timeout};

/// For the question about a name, with the answer.
const LOOKUP: Duration = Duration::from_secs(3);

/// No answer to that question is longer.
const LONGEST_ANSWER: u64 = 4096;

/// Why a server can't connect to a place.
#[derive(Debug)]
pub(super) enum Unreachable {
    /// It does not forward to there.
    Forbidden,
    /// It can't resolve the name.
    Unknown,
    /// It tried and failed.
    Refused(Name),
    /// No answer in time.
    TimedOut,
    /// Something else, in libssh2's words.
    Odd(String),
    /// The connection to the server itself is gone.
    Lost(Fault),
}

/// What is known about the name of a place that refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Name {
    /// It is an address, or the server can resolve it.
    Known,
    /// The server could not be asked.
    Undecided,
}

/// Has the server behind the link connect to a place.
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

/// The last line is getent's exit status: 0 found, 2 not found (getent(1)); 127 would be a server without getent.
fn read_answer(said: &str) -> Lookup {
    match said.trim_end().lines().last() {
        Some("0") => Lookup::Found,
        Some("2") => Lookup::Missing,
        Some(_) | None => Lookup::Unasked,
    }
}

/// What may stand unquoted in a shell's line: letters, digits, dots, hyphens, underscores, and no option.
fn is_dns_name(host: &str) -> bool {
    host.starts_with(|first: char| first.is_ascii_alphanumeric())
        && host.chars().all(|letter| letter.is_ascii_alphanumeric() || ".-_".contains(letter))
}

impl Unreachable {
    /// As it concerns the database.
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

    /// As it concerns the next hop.
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
    fn sends_only_names_that_dns_can_have() {
        assert!(is_dns_name("db-1.internal_x.example"));
        for hostile in ["", "-x", "a b", "a;reboot", "$(id)", "a\nb", "ä.example"] {
            assert!(!is_dns_name(hostile), "{hostile}");
        }
    }

    #[test]
    fn believes_only_the_exit_status_of_getent() {
        assert_eq!(read_answer("10.0.0.1 db\n0\n"), Lookup::Found);
        assert_eq!(read_answer("2\n"), Lookup::Missing);
        assert_eq!(read_answer("sh: getent: not found\n127\n"), Lookup::Unasked);
        assert_eq!(read_answer("This account is currently not available.\n"), Lookup::Unasked);
        assert_eq!(read_answer(""), Lookup::Unasked);
    }
}
