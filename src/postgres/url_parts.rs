//! The parts of a database URL, each parsed and checked by itself.

use crate::fault::{Code, Fault};
use percent_encoding::percent_decode_str;
use std::net::Ipv6Addr;

/// The dialect of the parameters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum UrlForm {
    /// libpq's URI, possibly with the name of a driver.
    Uri,
    /// A URI without an `@`, or with no host after it: if the `@` before the host is missing, the text behind the `?`
    /// may be a piece of the password.
    Anonymous,
    /// JDBC: `+` is a space, `ssl=true` checks names.
    Jdbc,
}

/// Returns the text if it can be a host.
pub(super) fn checked_host(host: String) -> Result<String, Fault> {
    if host.starts_with(['/', '@']) {
        return Err(invalid_url("names a socket directory as its host")
            .fix("name the database's host: a socket can't be reached through a tunnel"));
    }
    let named = host.chars().all(|letter| letter.is_alphanumeric() || "-._".contains(letter));
    if named || host.parse::<Ipv6Addr>().is_ok() {
        return Ok(host);
    }
    Err(invalid_url("has a host that can't be a name or an address"))
}

/// Parses a port.
pub(super) fn parse_port(text: &str) -> Result<u16, Fault> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    let number = text.parse().ok().filter(|port| digits && *port > 0);
    number.ok_or_else(|| invalid_url("has a port that is no number from 1 to 65535"))
}

/// Decodes the percent escapes of a text; none if it is empty.
pub(super) fn percent_decoded(text: &str) -> Result<Option<String>, Fault> {
    let decoded = percent_decode_str(text).decode_utf8();
    let decoded =
        decoded.map_err(|error| invalid_url("is not UTF-8 once its `%` escapes are decoded").with_causes(&error))?;
    if decoded.contains('\0') {
        return Err(invalid_url("contains a zero byte"));
    }
    Ok((!decoded.is_empty()).then(|| decoded.into_owned()))
}

/// Returns a fault about the URL; `cause` follows the input's name.
pub(super) fn invalid_url(cause: &str) -> Fault {
    Fault::new(Code::DatabaseUrlInvalid, format!("`database-url` {cause}"))
}
