//! The way to the first machine, as data.

use crate::{program::UserProgram, secret::Secret};
use std::fmt;

/// The way to the first machine.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum WayIn {
    /// A TCP connection from here.
    #[default]
    Direct,
    /// A TCP connection from here or, where that is impossible, through the proxy that the environment names.
    DirectOrProxy(ProxyServer),
    /// Through a proxy.
    Proxy(ProxyServer),
    /// To a port on the loopback of the runner, at which an earlier step has opened a tunnel.
    Runner {
        /// The port.
        port: u16,
    },
    /// Over the standard input and output of a command.
    Command(UserProgram),
}

/// The protocol of a proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProxyProtocol {
    /// HTTP, with the method CONNECT (RFC 9110, 9.3.6).
    Http,
    /// SOCKS 5 (RFC 1928); the proxy resolves the name.
    Socks5,
}

/// The login at a proxy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProxyLogin {
    /// The user.
    pub user: String,
    /// The password; may be empty.
    pub password: Secret,
}

/// A proxy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProxyServer {
    /// Its protocol.
    pub protocol: ProxyProtocol,
    /// Its host, without brackets.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// The login, if it needs one.
    pub login: Option<ProxyLogin>,
    /// The input or the variable that names it.
    pub origin: String,
}

impl fmt::Display for ProxyServer {
    /// Writes the address, without the login.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match self.protocol {
            ProxyProtocol::Http => "http",
            ProxyProtocol::Socks5 => "socks5",
        };
        write!(formatter, "{scheme}://{}", shown_address(&self.host, self.port))
    }
}

/// Returns `host:port`, with the brackets of an IPv6 address.
pub(super) fn shown_address(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

impl WayIn {
    /// Returns whether connections go to the first machine as they would without any setting.
    #[must_use]
    pub fn is_direct(&self) -> bool {
        matches!(self, Self::Direct | Self::DirectOrProxy(_))
    }

    /// Returns whether a run in the action's container needs the Docker engine for it.
    #[must_use]
    pub fn needs_engine(&self) -> bool {
        match self {
            Self::Runner { .. } => true,
            Self::Command(program) => program.image.is_some(),
            Self::Direct | Self::DirectOrProxy(_) | Self::Proxy(_) => false,
        }
    }
}

impl fmt::Display for WayIn {
    /// Writes the way as a user would name it.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Direct | Self::DirectOrProxy(_) => formatter.write_str("a direct connection"),
            Self::Proxy(proxy) => write!(formatter, "the proxy `{proxy}`"),
            Self::Runner { port } => write!(formatter, "`runner:{port}`"),
            Self::Command(program) => {
                write!(formatter, "the command `{}`", program.argv.first().map(String::as_str).unwrap_or_default())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxy_is_shown_without_its_login() {
        let login = Some(ProxyLogin { user: "me".to_owned(), password: Secret::new("hidden") });
        let proxy = ProxyServer {
            protocol: ProxyProtocol::Socks5,
            host: "::1".to_owned(),
            port: 1080,
            login,
            origin: "`ssh-proxy`".to_owned(),
        };
        assert_eq!(proxy.to_string(), "socks5://[::1]:1080");
    }
}
