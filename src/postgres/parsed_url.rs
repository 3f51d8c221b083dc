//! The values of a database URL, as libpq, ORMs and JDBC write it.
//!
//! The parser of tokio-postgres knows three TLS modes, fails at the parameters of ORMs, and silently misreads a
//! password with an unescaped `#` or `@`. This one refuses every ambiguous URL. No message repeats a part of the URL
//! except the names of parameters, because it may be unclear where the password ends.

use super::{
    sslmode::SslRequest,
    target::SslMode,
    target::TlsStart,
    url_parameters::{RootCert, UrlParameters},
    url_parts::{UrlForm, checked_host, invalid_url, parse_port, percent_decoded},
    url_sections::UrlSections,
};
use crate::{fault::Fault, secret::Secret};
use std::net::Ipv6Addr;

/// The values in a URL. The caller supplies the missing ones.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ParsedUrl {
    /// Host name or address; an IPv6 address without its brackets.
    pub host: Option<String>,
    /// Port.
    pub port: Option<u16>,
    /// Role.
    pub user: Option<String>,
    /// Its password, decoded.
    pub password: Option<Secret>,
    /// Database.
    pub name: Option<String>,
    /// The requested TLS mode.
    pub sslmode: Option<SslRequest>,
    /// `sslnegotiation`: the beginning of TLS.
    pub tls_start: TlsStart,
    /// `sslrootcert`.
    pub root_cert: Option<RootCert>,
    /// `sslcert`: the path of a client certificate.
    pub client_cert: Option<String>,
    /// `sslkey`: the path of its private key.
    pub client_key: Option<String>,
    /// `options`: start-up settings.
    pub options: Option<String>,
    /// Notes about parameters that unexpectedly have no effect here, a sentence each.
    pub notes: Vec<String>,
}

impl ParsedUrl {
    /// Parses a URL.
    ///
    /// # Errors
    ///
    /// `DatabaseUrlInvalid`, with the encoded form of the offending character if that is the reason.
    pub(super) fn parse(text: &str) -> Result<Self, Fault> {
        let text = text.trim();
        let (form, rest) = split_scheme(text)?;
        refuse_ambiguity(rest)?;
        let UrlSections { scheme: _, userinfo, server, path, query } = UrlSections::cut(text);
        let form = if form == UrlForm::Uri && server.is_empty() { UrlForm::Anonymous } else { form };
        let parameters = UrlParameters::parse(query.strip_prefix('?').unwrap_or_default(), form)?;
        let userinfo = userinfo.strip_suffix('@').unwrap_or_default();
        let (user, password) = userinfo.split_once(':').unwrap_or((userinfo, ""));
        let (host, port) = parse_server(server)?;
        let password = percent_decoded(password)?.or_else(|| parameters.password.clone());
        let name = percent_decoded(path.strip_prefix('/').unwrap_or_default())?;
        let parsed = Self {
            host: agreed_value("host", host, parameters.host)?,
            port: agreed_value("port", port, parameters.port)?,
            user: agreed_value("user", percent_decoded(user)?, parameters.user)?,
            password: agreed_value("password", password, parameters.password)?.map(Secret::new),
            name: agreed_value("dbname", name, parameters.name)?,
            sslmode: parameters.sslmode,
            tls_start: parameters.tls_start.unwrap_or_default(),
            root_cert: parameters.root_cert,
            client_cert: parameters.client_cert,
            client_key: parameters.client_key,
            options: parameters.options,
            notes: parameters.notes,
        };
        system_roots_need_a_name_check(parsed)
    }
}

const SCHEMES: [&str; 4] = ["postgres", "postgresql", "postgis", "pgsql"];

fn split_scheme(url: &str) -> Result<(UrlForm, &str), Fault> {
    if url.starts_with(['"', '\'']) {
        return Err(invalid_url("begins with a quotation mark").fix("write the URL without quotation marks around it"));
    }
    if let Some(fault) = pasted_prefix_fault(url) {
        return Err(fault);
    }
    let (form, uri) = match url.strip_prefix("jdbc:") {
        Some(uri) => (UrlForm::Jdbc, uri),
        None if url.contains('@') => (UrlForm::Uri, url),
        None => (UrlForm::Anonymous, url),
    };
    let (scheme, rest) = uri.split_once("://").ok_or_else(|| invalid_url("has no `://`"))?;
    let (family, driver) = scheme.split_once('+').unwrap_or((scheme, ""));
    let is_driver = driver.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '_');
    if !is_driver || !SCHEMES.contains(&family.to_ascii_lowercase().as_str()) {
        return Err(invalid_url("does not begin with `postgres://` or `postgresql://`"));
    }
    Ok((form, rest))
}

/// Returns the fault for text pasted in front of a URL, such as the name of a variable or a command. It may be
/// repeated in the message because it is no part of a secret.
fn pasted_prefix_fault(url: &str) -> Option<Fault> {
    let (before, _) = url.split_once("://")?;
    let (prefix, quoted) = before.rsplit_once(['=', ' '])?;
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || "_ -".contains(letter);
    let is_url = SCHEMES.contains(&quoted.trim_start_matches(['"', '\'']));
    if !is_url || prefix.is_empty() || !prefix.chars().all(is_plain) {
        return None;
    }
    let separator = before.chars().nth(prefix.chars().count()).map(String::from).unwrap_or_default();
    let fix = "paste the URL alone, from `postgres` to its end, without the text before it and without quotation marks";
    Some(invalid_url(&format!("begins with `{}`", format!("{prefix}{separator}").trim_end())).fix(fix))
}

/// Refuses a URL with an unclear end of the password. Everything before the last `@` is user and password, so a
/// delimiter in front of it either belongs to the password, or the `@` is no separator.
fn refuse_ambiguity(rest: &str) -> Result<(), Fault> {
    if let Some(character) = rest.chars().find(|letter| letter.is_whitespace() || letter.is_control()) {
        return Err(must_be_encoded_fault("a space or a line break", &encoded_form(character)));
    }
    let userinfo = rest.rfind('@').and_then(|end| rest.get(..end)).unwrap_or_default();
    if let Some(character) = userinfo.chars().find(|letter| "@/?#".contains(*letter)) {
        let problem =
            if character == '@' { "more than one `@`".to_owned() } else { format!("`{character}` before an `@`") };
        return Err(must_be_encoded_fault(&problem, &encoded_form(character)));
    }
    if rest.contains('#') {
        return Err(must_be_encoded_fault("`#`", "%23"));
    }
    let after_percent = rest.split('%').skip(1);
    let mut escapes = after_percent.map(|tail| tail.bytes().take(2).filter(u8::is_ascii_hexdigit).count());
    if escapes.any(|digits| digits != 2) {
        return Err(must_be_encoded_fault("`%` that two hexadecimal digits do not follow", "%25"));
    }
    Ok(())
}

fn encoded_form(letter: char) -> String {
    percent_encoding::utf8_percent_encode(letter.encode_utf8(&mut [0; 4]), percent_encoding::NON_ALPHANUMERIC)
        .to_string()
}

fn must_be_encoded_fault(problem: &str, encoded: &str) -> Fault {
    let also = if encoded == "%40" { "" } else { " (and an `@` as `%40`)" };
    invalid_url(&format!("has {problem}, so it is unclear where the password ends")).fix(format!(
        "where the character belongs to the user, the password or a parameter, write it as `{encoded}`{also}; or give \
         `database-host`, `database-user`, `database-password` and `database-name` instead of `database-url`: they need no \
         encoding"
    ))
}

fn parse_server(server: &str) -> Result<(Option<String>, Option<u16>), Fault> {
    if server.contains(',') {
        return Err(invalid_url("names several hosts").fix("name only the primary"));
    }
    let (host, port) = match server.strip_prefix('[') {
        Some(bracketed) => bracketed
            .split_once(']')
            .filter(|(host, rest)| host.parse::<Ipv6Addr>().is_ok() && (rest.is_empty() || rest.starts_with(':')))
            .map(|(host, rest)| (host, rest.trim_start_matches(':')))
            .ok_or_else(|| invalid_url("has brackets around something that is no IPv6 address"))?,
        None => server.split_once(':').unwrap_or((server, "")),
    };
    let host = percent_decoded(host)?.map(checked_host).transpose()?;
    let port = (!port.is_empty()).then(|| parse_port(port)).transpose()?;
    Ok((host, port))
}

/// Returns the value of a part that can be in the address or in the parameters, or in both with the same value.
fn agreed_value<T: PartialEq>(name: &str, address: Option<T>, parameter: Option<T>) -> Result<Option<T>, Fault> {
    match (address, parameter) {
        (Some(address), Some(parameter)) if address != parameter => {
            Err(invalid_url(&format!("has one value in its address and another in its parameter `{name}`"))
                .fix(format!("remove the parameter `{name}`")))
        }
        (address, parameter) => Ok(address.or(parameter)),
    }
}

/// Requires `verify-full` with the public CAs, as libpq 16 does: they sign certificates for everybody, so trusting
/// them is useless without a check of the name.
fn system_roots_need_a_name_check(mut url: ParsedUrl) -> Result<ParsedUrl, Fault> {
    const FULL: SslRequest = SslRequest::Mode(SslMode::VerifyFull);
    if url.root_cert == Some(RootCert::System) && *url.sslmode.get_or_insert(FULL) != FULL {
        return Err(invalid_url("has `sslrootcert=system` with a weaker mode than `verify-full`")
            .fix("write `sslmode=verify-full`, or remove `sslrootcert`"));
    }
    Ok(url)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::Code;
    use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
    use proptest::prelude::*;

    fn read(url: &str) -> Result<ParsedUrl, Fault> {
        ParsedUrl::parse(url)
    }

    fn fault(url: &str) -> Fault {
        let fault = read(url).expect_err(url);
        assert_eq!(fault.code, Code::DatabaseUrlInvalid, "{url}");
        fault
    }

    fn everything_said(fault: &Fault) -> String {
        serde_json::to_string(fault).unwrap()
    }

    #[test]
    fn an_at_sign_without_a_host_may_belong_to_the_password() {
        for url in ["postgres://u:@?hunter2=h:5432/db", "postgres://u:x@/?hunter2=h:5432/db"] {
            assert!(!everything_said(&fault(url)).contains("hunter2"), "{url}");
        }
        assert_eq!(read("postgres://u:x@/db?host=h").unwrap().host.as_deref(), Some("h"));
    }

    proptest! {
        #[test]
        fn a_password_survives_its_encoding(password in "[^\0]{1,30}") {
            let encoded = utf8_percent_encode(&password, NON_ALPHANUMERIC);
            let url = read(&format!("postgres://u:{encoded}@h:5432/db")).unwrap();
            prop_assert_eq!(url.password, Some(Secret::new(password.clone())));
            let url = read(&format!("jdbc:postgresql://h:5432/db?user=u&password={encoded}")).unwrap();
            prop_assert_eq!(url.password, Some(Secret::new(password)));
        }

        #[test]
        fn an_unencoded_password_is_read_whole_or_refused(password in "[a-c@/?#:&=%\\[\\], é]{1,12}") {
            match read(&format!("postgres://u:{password}@h:5432/db")) {
                Ok(url) => {
                    let decoded = percent_decode_str(&password).decode_utf8_lossy().into_owned();
                    prop_assert_eq!(url.password, Some(Secret::new(decoded)));
                    prop_assert_eq!(url.host.as_deref(), Some("h"));
                }
                Err(fault) => prop_assert_eq!(fault.code, Code::DatabaseUrlInvalid),
            }
        }

        #[test]
        fn no_fault_shows_the_password(before in "[@/?#:&=% ]{0,3}", after in "[@/?#:&=% ]{0,3}", tail in "[@/?#:&=% a]{0,8}") {
            for url in [
                format!("postgres://u:{before}hunter2{after}@h:5432/db{tail}"),
                format!("postgres://u:{before}hunter2{after}h:5432/db{tail}"),
                format!("jdbc:postgresql://h/db?password={before}hunter2{after}{tail}"),
                format!("jdbc:postgresql://h/db?password=x&hunter2{after}{tail}"),
                format!("{before}hunter2{after}://{tail}"),
            ] {
                match read(&url) {
                    Err(fault) => prop_assert!(!everything_said(&fault).contains("hunter2"), "{}: {:?}", url, fault),
                    Ok(parsed) => prop_assert!(!parsed.notes.concat().contains("hunter2"), "{}", url),
                }
            }
        }

        #[test]
        fn never_panics(url in "(jdbc:)?(postgres://)?.*") {
            drop(read(&url));
        }
    }

    #[test]
    fn reads_every_form_of_the_same_database() {
        for url in [
            "postgres://u:p%40w@h:6000/db",
            "postgresql://u:p%40w@h:6000/db",
            "PostgreSQL://u:p%40w@h:6000/db",
            "postgresql+psycopg2://u:p%40w@h:6000/db",
            "postgresql+asyncpg://u:p%40w@h:6000/db",
            "postgis://u:p%40w@h:6000/db",
            "jdbc:postgresql://h:6000/db?user=u&password=p%40w",
            " postgres://u:p%40w@h:6000/db\n",
            "postgres://h/?user=u&password=p%40w&dbname=db&port=6000",
        ] {
            let parsed = read(url).unwrap_or_else(|fault| panic!("{url}: {fault:?}"));
            assert_eq!(parsed.host.as_deref(), Some("h"), "{url}");
            assert_eq!(parsed.port, Some(6000), "{url}");
            assert_eq!(parsed.user.as_deref(), Some("u"), "{url}");
            assert_eq!(parsed.password, Some(Secret::new("p@w")), "{url}");
            assert_eq!(parsed.name.as_deref(), Some("db"), "{url}");
        }
    }

    #[test]
    fn everything_may_be_left_out() {
        for url in ["postgres://", "postgresql:///", "postgres://:@:/"] {
            assert_eq!(read(url).unwrap(), ParsedUrl::default(), "{url}");
        }
    }

    #[test]
    fn reads_ipv6_in_brackets() {
        let parsed = read("postgres://u@[2001:db8::1]:6000/db").unwrap();
        assert_eq!((parsed.host.as_deref(), parsed.port), (Some("2001:db8::1"), Some(6000)));
        assert_eq!(read("postgres://u@[::1]/db").unwrap().port, None);
        for url in ["postgres://[h]/db", "postgres://[::1/db", "postgres://[::1]5/db", "postgres://::1/db"] {
            fault(url);
        }
    }

    #[test]
    fn names_the_encoded_form_of_the_offending_character() {
        for (password, encoded) in [
            ("a#b", "`%23`"),
            ("a@b", "`%40`"),
            ("a/b", "`%2F`"),
            ("a?b", "`%3F`"),
            ("a b", "`%20`"),
            ("a%b", "`%25`"),
            ("100%", "`%25`"),
        ] {
            let fault = fault(&format!("postgres://u:{password}@h/db"));
            assert!(fault.fix.contains(encoded), "{password}: {fault:?}");
            assert!(!everything_said(&fault).contains(password), "{fault:?}");
        }
    }

    #[test]
    fn never_reads_a_part_of_the_password_as_the_host() {
        for url in ["postgres://u:x@evil/@h/db", "postgres://u:x@evil?a=@h/db", "postgres://u:x@evil#@h/db"] {
            fault(url);
        }
    }

    #[test]
    fn refuses_several_hosts_sockets_and_other_databases() {
        for url in [
            "postgres://u@a,b/db",
            "postgres://u@a:1,b:2/db",
            "postgres://u@%2Fvar%2Frun/db",
            "postgres:///db?host=/var/run",
            "mysql://u@h/db",
            "postgresql+psy//u:p@copg2://u:p@h/db",
            "host=h user=u",
            "\"postgres://u@h/db\"",
            "postgres://u@h:0/db",
            "postgres://u@h:99999/db",
            "postgres://u@h:+1/db",
            "postgres://u@h/db#x",
            "postgres://u:%ff@h/db",
            "postgres://u:%00@h/db",
            "postgres://u@a/db?host=b",
        ] {
            fault(url);
        }
    }

    #[test]
    fn system_roots_check_the_name() {
        let full = Some(SslRequest::Mode(SslMode::VerifyFull));
        assert_eq!(read("postgres://h/db?sslrootcert=system").unwrap().sslmode, full);
        fault("postgres://h/db?sslrootcert=system&sslmode=require");
    }
}
