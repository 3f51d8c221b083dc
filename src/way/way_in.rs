//! The way to the first machine, as data.

use crate::secret::Secret;
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
    Command(ViaCommand),
}

/// A command that connects its standard input and output to the first machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ViaCommand {
    /// The program and its arguments, with `%h`, `%p` and `%%` (`ssh_config(5)`, TOKENS).
    pub argv: Vec<String>,
    /// The image in which it runs; without one it is a process on this machine.
    pub image: Option<String>,
    /// The variables that a process on this machine takes from ours.
    pub inherited: Vec<(String, Secret)>,
    /// The variables whose values are in the input.
    pub env: Vec<(String, Secret)>,
    /// The variables that are passed on, which are secrets.
    pub passed: Vec<(String, Secret)>,
}

impl ViaCommand {
    /// Returns the program's name, without the arguments.
    #[must_use]
    pub fn shown_program(&self) -> &str {
        self.argv.first().map(String::as_str).unwrap_or_default()
    }

    /// Returns its environment: in an image in addition to the image's own, on this machine all of it.
    #[must_use]
    pub fn environment(&self) -> Vec<(String, Secret)> {
        [self.inherited.as_slice(), &self.env, &self.passed].concat()
    }

    /// Returns the program and its arguments for this target.
    #[must_use]
    pub fn argv_for(&self, host: &str, port: u16) -> Vec<String> {
        self.argv.iter().map(|word| fill_in(word, host, port)).collect()
    }

    /// Returns the first token that stands for nothing, if there is one.
    #[must_use]
    pub fn unknown_token(argv: &[String]) -> Option<String> {
        argv.iter().find_map(|word| {
            let mut letters = word.chars();
            while let Some(letter) = letters.next() {
                if letter != '%' {
                    continue;
                }
                match letters.next() {
                    Some('h' | 'p' | '%') => {}
                    Some(other) => return Some(format!("%{other}")),
                    None => return Some("%".to_owned()),
                }
            }
            None
        })
    }
}

/// Fills in the tokens of a word. A token that is unknown stays as it is.
fn fill_in(word: &str, host: &str, port: u16) -> String {
    let mut filled = String::new();
    let mut letters = word.chars();
    while let Some(letter) = letters.next() {
        match (letter, letter == '%') {
            (_, false) => filled.push(letter),
            (_, true) => match letters.next() {
                Some('h') => filled.push_str(host),
                Some('p') => filled.push_str(&port.to_string()),
                Some('%') | None => filled.push('%'),
                Some(other) => filled.extend(['%', other]),
            },
        }
    }
    filled
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
            Self::Command(command) => command.image.is_some(),
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
            Self::Command(command) => {
                write!(formatter, "the command `{}`", command.shown_program())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(words: &[&str]) -> Vec<String> {
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    #[test]
    fn fills_in_the_tokens_of_a_proxy_command() {
        let command = ViaCommand {
            argv: words(&["ssh", "-W", "%h:%p", "100%%", "%x", "%"]),
            image: None,
            inherited: Vec::new(),
            env: Vec::new(),
            passed: Vec::new(),
        };
        assert_eq!(command.argv_for("db.internal", 5433), words(&["ssh", "-W", "db.internal:5433", "100%", "%x", "%"]));
    }

    #[test]
    fn finds_a_token_that_stands_for_nothing() {
        assert_eq!(ViaCommand::unknown_token(&words(&["a%%h", "%h%p"])), None);
        assert_eq!(ViaCommand::unknown_token(&words(&["%h", "%r@%h"])).as_deref(), Some("%r"));
        assert_eq!(ViaCommand::unknown_token(&words(&["50%"])).as_deref(), Some("%"));
    }

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
