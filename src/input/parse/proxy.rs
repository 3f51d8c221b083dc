//! Parses the URL of a proxy.

use super::{address::Address, value::InvalidValue};
use crate::{
    secret::Secret,
    way::{ProxyLogin, ProxyProtocol, ProxyServer},
};
use percent_encoding::percent_decode_str;

const FORM: &str = "`socks5://host:port` or `http://host:port`, with a login as in `socks5://user:password@host:port`";

/// Longest user and longest password in bytes (RFC 1929, 2).
const MAX_LOGIN_PART: usize = 255;

/// Parses the URL. `origin` is the input or the variable, for messages.
///
/// # Errors
/// The reason why it is none; it repeats no part of the login.
pub(crate) fn parse_proxy(text: &str, origin: &str) -> Result<ProxyServer, InvalidValue> {
    let invalid = |cause: &str| InvalidValue::new(cause, FORM);
    let (scheme, rest) = text.split_once("://").ok_or_else(|| invalid("has no scheme, as in `socks5://`"))?;
    let (protocol, usual_port) = match scheme.to_ascii_lowercase().as_str() {
        "http" => (ProxyProtocol::Http, 80),
        "socks5" | "socks5h" => (ProxyProtocol::Socks5, 1080),
        "https" => {
            let cause = "is a proxy that is spoken to over TLS, which is not supported (what passes through it is encrypted by SSH)";
            return Err(InvalidValue::new(cause, "the proxy's plain port, as in `http://host:3128`"));
        }
        "socks4" | "socks4a" => return Err(invalid("is a SOCKS 4 proxy, which knows no login and no IPv6 address")),
        _ => return Err(invalid("has another scheme than `socks5` and `http`")),
    };
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    let (login, server) = match rest.rsplit_once('@') {
        Some((login, server)) => (Some(parse_login(login)?), server),
        None => (None, rest),
    };
    let Ok(Address { user: None, host, port }) = Address::parse(server) else {
        return Err(invalid("has no host, or something behind the port"));
    };
    Ok(ProxyServer { protocol, host, port: port.unwrap_or(usual_port), login, origin: origin.to_owned() })
}

fn parse_login(text: &str) -> Result<ProxyLogin, InvalidValue> {
    let decode = |part: &str| {
        let decoded = percent_decode_str(part).decode_utf8().map(std::borrow::Cow::into_owned);
        decoded.ok().filter(|part| part.len() <= MAX_LOGIN_PART)
    };
    let (user, password) = text.split_once(':').unwrap_or((text, ""));
    match (decode(user).filter(|user| !user.is_empty()), decode(password)) {
        (Some(user), Some(password)) => Ok(ProxyLogin { user, password: Secret::new(password) }),
        _ => Err(InvalidValue::new("has a login that can't be used", FORM)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<ProxyServer, InvalidValue> {
        parse_proxy(text, "`ssh-proxy`")
    }

    #[test]
    fn parses_a_proxy_with_and_without_a_login() {
        let proxy = parse("socks5://me:p%40ss@proxy.corp:1081").unwrap();
        assert_eq!((proxy.protocol, proxy.host.as_str(), proxy.port), (ProxyProtocol::Socks5, "proxy.corp", 1081));
        let login = proxy.login.unwrap();
        assert_eq!((login.user.as_str(), login.password.expose()), ("me", "p@ss"));
        assert_eq!(parse("socks5h://[2001:db8::1]").unwrap().port, 1080);
        let plain = parse("HTTP://proxy:3128/").unwrap();
        assert_eq!((plain.protocol, plain.port, plain.login), (ProxyProtocol::Http, 3128, None));
    }

    #[test]
    fn refuses_what_is_no_proxy_without_repeating_the_login() {
        for text in [
            "proxy:1080",
            "https://me:hunter2@proxy:443",
            "socks4://proxy",
            "ftp://me:hunter2@proxy",
            "http://",
            "http://proxy:0",
            "http://proxy:3128/path",
            "http://:hunter2@proxy",
            "http://me:%ff@proxy",
        ] {
            let invalid = parse(text).unwrap_err();
            assert!(!format!("{invalid:?}").contains("hunter2"), "{invalid:?}");
        }
        assert!(parse("https://proxy").unwrap_err().cause.contains("TLS"));
    }
}
