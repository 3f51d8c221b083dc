//! Server addresses in the form `user@host:port`.

use super::value::{self, InvalidValue};
use std::{fmt, net::Ipv6Addr};

/// A parsed server address; the caller fills in the missing parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Address {
    pub(crate) user: Option<String>,
    /// Name or IP address; an IPv6 address has no brackets.
    pub(crate) host: String,
    pub(crate) port: Option<u16>,
}

impl Address {
    /// Parses `host`, `host:port`, `user@host`, `user@host:port`; an IPv6 address with a port needs brackets.
    pub(crate) fn parse(text: &str) -> Result<Self, InvalidValue> {
        let (user, server) = match text.rsplit_once('@') {
            Some((user, server)) => (Some(user), server),
            None => (None, text),
        };
        let (host, port) = split_port(server).map_err(|invalid| suggest_address(text).unwrap_or(invalid))?;
        let port =
            port.map(value::parse_port).transpose().map_err(|invalid| suggest_address(text).unwrap_or(invalid))?;
        if !user.is_none_or(is_user_name) || !is_host(host) {
            return Err(suggest_address(text).unwrap_or_else(invalid_address));
        }
        Ok(Self { user: user.map(ToOwned::to_owned), host: host.to_owned(), port })
    }
}

fn invalid_address() -> InvalidValue {
    InvalidValue::new(
        "is not the address of a server",
        "`host`, `host:port` or `user@host:port`, without a scheme; an IPv6 address in brackets: `[2001:db8::1]:22`",
    )
}

/// Names the surplus that was pasted with an address, and suggests the address alone.
fn suggest_address(text: &str) -> Option<InvalidValue> {
    let (cause, rest) = strip_surplus(text.trim())?;
    // The rest may have a surplus, too, as in `https://host/`.
    let rest = strip_surplus(&rest).map_or(rest, |(_, rest)| rest);
    Address::parse(&rest).ok().map(|address| InvalidValue::new(cause, format!("`{address}`")))
}

fn strip_surplus(text: &str) -> Option<(&'static str, String)> {
    if let Some((scheme, rest)) = text.split_once("://") {
        let server = rest.split(['/', '?', '#']).next().unwrap_or(rest);
        // The port of a web page is not sshd's.
        let server = if scheme == "ssh" { server } else { server.split(':').next().unwrap_or(server) };
        return Some(("is a URL, not the address of a server", server.to_owned()));
    }
    if let Some(rest) = text.strip_prefix("ssh ").map(str::trim).filter(|rest| !rest.contains(char::is_whitespace)) {
        return Some(("is a command, not the address of a server", rest.to_owned()));
    }
    if let Some((_, rest)) = text.split_once('=').filter(|(name, _)| is_variable_name(name)) {
        return Some((
            "is a whole `NAME=value` line, not the address of a server",
            rest.trim_matches(['"', '\'']).to_owned(),
        ));
    }
    if let Some((server, _)) = text.split_once('/') {
        return Some(("has a path after the server's address", server.to_owned()));
    }
    if let Some((user, host)) = text.split_once('@')
        && let Some((first, second)) = host.split_once('@')
        && first.split(':').next() == second.split(':').next()
    {
        return Some(("names its host twice", format!("{user}@{second}")));
    }
    let (rest, last) = text.rsplit_once(':')?;
    let (_, port) = rest.rsplit_once(':')?;
    (port == last && !rest.starts_with('[')).then(|| ("names its port twice", rest.to_owned()))
}

fn is_variable_name(name: &str) -> bool {
    !name.is_empty() && name.chars().all(|character| character.is_ascii_alphanumeric() || character == '_')
}

fn split_port(server: &str) -> Result<(&str, Option<&str>), InvalidValue> {
    if let Some(bracketed) = server.strip_prefix('[') {
        let (host, rest) = bracketed.split_once(']').ok_or_else(invalid_address)?;
        if host.parse::<Ipv6Addr>().is_err() {
            return Err(invalid_address());
        }
        return match rest.strip_prefix(':') {
            Some(port) => Ok((host, Some(port))),
            None if rest.is_empty() => Ok((host, None)),
            None => Err(invalid_address()),
        };
    }
    if server.parse::<Ipv6Addr>().is_ok() {
        return Ok((server, None));
    }
    Ok(server.split_once(':').map_or((server, None), |(host, port)| (host, Some(port))))
}

fn is_user_name(text: &str) -> bool {
    !text.is_empty()
        && !text
            .chars()
            .any(|character| character.is_whitespace() || character.is_control() || "/@:,".contains(character))
}

/// Longest name in DNS (RFC 1035, 2.3.4).
const MAX_HOST_LENGTH: usize = 255;

/// Returns whether the text can be a host: an IPv6 address, a name or an IPv4 address.
fn is_host(text: &str) -> bool {
    let is_host_character = |character: char| character.is_alphanumeric() || "-._".contains(character);
    let is_name = (1..=MAX_HOST_LENGTH).contains(&text.len())
        && !text.starts_with(['-', '.'])
        && text.chars().all(is_host_character);
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
        fn parses_every_formatted_address(user in option::of("[a-zA-Z0-9._-]{1,10}"), host in host(), port in option::of(1..=u16::MAX)) {
            let address = Address { user, host, port };
            prop_assert_eq!(Address::parse(&address.to_string()), Ok(address));
        }

        #[test]
        fn never_panics(text in ".*") {
            drop(Address::parse(&text));
        }
    }

    #[test]
    fn parses_brackets() {
        let address = Address::parse("ops@[2001:db8::1]:2222").unwrap();
        assert_eq!((address.host.as_str(), address.port), ("2001:db8::1", Some(2222)));
        assert_eq!(Address::parse("[::1]").unwrap().port, None);
    }

    #[test]
    fn suggests_the_address_without_the_pasted_surplus() {
        for (text, address) in [
            ("https://h.example/", "`h.example`"),
            ("https://h.example:8443/a?b", "`h.example`"),
            ("ssh://ops@h.example:2222", "`ops@h.example:2222`"),
            ("h.example/", "`h.example`"),
            ("ssh ops@h.example", "`ops@h.example`"),
            ("DEV_HOST=h.example", "`h.example`"),
            ("ops@h.example@h.example", "`ops@h.example`"),
            ("h.example:2222:2222", "`h.example:2222`"),
        ] {
            assert_eq!(Address::parse(text).unwrap_err().fix, address, "{text}");
        }
    }

    #[test]
    fn rejects_invalid_addresses() {
        for text in [
            "", "@h", "u@", ":22", "h:", "h:0", "h:x", "ssh://h", "h/p", "h:1:2", "[::1", "[h]:22", "[::1]22", "a b",
            "-oProxy", "h,i",
        ] {
            assert!(Address::parse(text).is_err(), "{text}");
        }
    }
}
