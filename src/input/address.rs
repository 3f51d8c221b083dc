//! `user@host:port`, the way of writing a server.

use super::value::{self, Misfit};
use std::{fmt, net::Ipv6Addr};

/// A server as it is written; what is left out is to be filled in by whoever asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Address {
    pub(super) user: Option<String>,
    /// Name or IP address, an IPv6 address without its brackets.
    pub(super) host: String,
    pub(super) port: Option<u16>,
}

impl Address {
    /// Reads `host`, `host:port`, `user@host`, `user@host:port`; an IPv6 address with a port needs brackets.
    pub(super) fn parse(text: &str) -> Result<Self, Misfit> {
        let (user, server) = match text.rsplit_once('@') {
            Some((user, server)) => (Some(user), server),
            None => (None, text),
        };
        let (host, port) = split_port(server)?;
        let port = port.map(value::port).transpose()?;
        if !user.is_none_or(is_word) || !is_host(host) {
            return Err(unreadable());
        }
        Ok(Self { user: user.map(ToOwned::to_owned), host: host.to_owned(), port })
    }
}

fn unreadable() -> Misfit {
    Misfit::new(
        "is not the address of a server",
        "`host`, `host:port` or `user@host:port`, without a scheme; an IPv6 address in brackets: `[2001:db8::1]:22`",
    )
}

fn split_port(server: &str) -> Result<(&str, Option<&str>), Misfit> {
    if let Some(bracketed) = server.strip_prefix('[') {
        let (host, rest) = bracketed.split_once(']').ok_or_else(unreadable)?;
        if host.parse::<Ipv6Addr>().is_err() {
            return Err(unreadable());
        }
        return match rest.strip_prefix(':') {
            Some(port) => Ok((host, Some(port))),
            None if rest.is_empty() => Ok((host, None)),
            None => Err(unreadable()),
        };
    }
    if server.parse::<Ipv6Addr>().is_ok() {
        return Ok((server, None));
    }
    Ok(server.split_once(':').map_or((server, None), |(host, port)| (host, Some(port))))
}

fn is_word(text: &str) -> bool {
    !text.is_empty()
        && !text.chars().any(|letter| letter.is_whitespace() || letter.is_control() || "/@:,".contains(letter))
}

/// The longest name that DNS has (RFC 1035, 2.3.4).
const LONGEST: usize = 255;

/// Whether this can be a host: an IPv6 address, or what could be a name or an IPv4 address.
fn is_host(text: &str) -> bool {
    let named = |letter: char| letter.is_alphanumeric() || "-._".contains(letter);
    let is_name = (1..=LONGEST).contains(&text.len()) && !text.starts_with(['-', '.']) && text.chars().all(named);
    text.parse::<Ipv6Addr>().is_ok() || is_name
}

impl fmt::Display for Address {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(user) = &self.user {
            write!(formatter, "{user}@")?;
        }
        match (self.host.contains(':'), self.port) {
            (true, Some(port)) => write!(formatter, "[{}]:{port}", self.host),
            (false, Some(port)) => write!(formatter, "{}:{port}", self.host),
            (_, None) => formatter.write_str(&self.host),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::{option, prelude::*};

    fn host() -> impl Strategy<Value = String> {
        prop_oneof!["[a-z0-9][a-z0-9.-]{0,20}", any::<Ipv6Addr>().prop_map(|address| address.to_string())]
    }

    proptest! {
        #[test]
        fn reads_what_it_writes(user in option::of("[a-zA-Z0-9._-]{1,10}"), host in host(), port in option::of(1..=u16::MAX)) {
            let address = Address { user, host, port };
            prop_assert_eq!(Address::parse(&address.to_string()), Ok(address));
        }

        #[test]
        fn never_panics(text in ".*") {
            drop(Address::parse(&text));
        }
    }

    #[test]
    fn reads_brackets() {
        let address = Address::parse("ops@[2001:db8::1]:2222").unwrap();
        assert_eq!((address.host.as_str(), address.port), ("2001:db8::1", Some(2222)));
        assert_eq!(Address::parse("[::1]").unwrap().port, None);
    }

    #[test]
    fn refuses_what_is_no_server() {
        for text in [
            "", "@h", "u@", ":22", "h:", "h:0", "h:x", "ssh://h", "h/p", "h:1:2", "[::1", "[h]:22", "[::1]22", "a b",
            "-oProxy", "h,i",
        ] {
            assert!(Address::parse(text).is_err(), "{text}");
        }
    }
}
