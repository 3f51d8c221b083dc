//! The only place where a database URL is cut, rewritten or composed.
//!
//! The crate `url` does none of this, because it would change what a user wrote: it encodes `^`, `|`, `=`, `[` and
//! non-ASCII letters in a password and in a host, removes an empty password and the dots in a database's name, refuses a
//! user without a host, can't change the host of a `jdbc:` URL, and writes a space in a parameter as `+`, which libpq
//! reads as a plus. The tests compare both where it changes nothing.

use super::{
    parsed_url::ParsedUrl,
    sslmode::SslRequest,
    target::{DatabaseTarget, SslMode, TlsStart},
    url_sections::UrlSections,
};
use crate::{fault::Fault, secret::Secret};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use std::{borrow::Cow, fmt};

/// Characters that are percent-encoded in a composed URL: all except the unreserved ones (RFC 3986, 2.3).
/// `SQLAlchemy`, for example, does not decode the database's name, so `shop%5Fprod` would be another database than
/// `shop_prod`.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A database URL: the text as the user wrote it, or as it was composed, and the values in it.
#[derive(Clone, PartialEq, Eq)]
pub struct DatabaseUrl {
    text: Secret,
    parsed: ParsedUrl,
}

impl DatabaseUrl {
    /// Parses a URL.
    ///
    /// # Errors
    ///
    /// `DatabaseUrlInvalid`, with the encoded form of the offending character if that is the reason.
    pub fn parse(text: &Secret) -> Result<Self, Fault> {
        Ok(Self { text: text.clone(), parsed: ParsedUrl::parse(text.expose())? })
    }

    /// Returns whether the text begins as a database URL does.
    #[must_use]
    pub fn is_url(text: &str) -> bool {
        ["postgres://", "postgresql://"].contains(&UrlSections::cut(text).scheme)
    }

    /// Composes the URL of a database. A TLS mode is its only parameter.
    #[must_use]
    pub fn of_target(target: &DatabaseTarget, sslmode: Option<SslMode>) -> Self {
        let encoded = |text: &str| utf8_percent_encode(text, RESERVED).to_string();
        let password = target.password.as_ref().map(|password| format!(":{}", encoded(password.expose())));
        let text = UrlSections {
            scheme: "postgresql://",
            userinfo: &format!("{}{}@", encoded(&target.user), password.unwrap_or_default()),
            server: &server_section(&target.host, target.port),
            path: &format!("/{}", encoded(&target.name)),
            query: &sslmode.map(|mode| format!("?sslmode={}", mode.name())).unwrap_or_default(),
        };
        let parsed = ParsedUrl {
            host: Some(target.host.clone()),
            port: Some(target.port),
            user: Some(target.user.clone()),
            password: target.password.clone(),
            name: Some(target.name.clone()),
            sslmode: sslmode.map(SslRequest::Mode),
            ..ParsedUrl::default()
        };
        Self { text: Secret::new(text.join()), parsed }
    }

    /// Returns the text.
    #[must_use]
    pub fn text(&self) -> &Secret {
        &self.text
    }

    /// Returns the values in it.
    #[must_use]
    pub fn parsed(&self) -> &ParsedUrl {
        &self.parsed
    }

    /// Returns the requested TLS mode.
    #[must_use]
    pub fn sslmode(&self) -> Option<SslRequest> {
        self.parsed.sslmode
    }

    /// Returns the part between `://` and `?`.
    #[must_use]
    pub fn address(&self) -> Secret {
        Secret::new(UrlSections::cut(self.text.expose()).address())
    }

    /// Returns the URL with this host and port in its address, and without parameters that name others; the rest of the
    /// text stays as it was written.
    #[must_use]
    pub fn redirected_to(&self, host: &str, port: u16) -> Self {
        let sections = UrlSections::cut(self.text.expose());
        let path = if sections.path.is_empty() { "/" } else { sections.path };
        let query = query_without_server(sections);
        let text = UrlSections { server: &server_section(host, port), path, query: &query, ..sections }.join();
        let parsed = ParsedUrl { host: Some(host.to_owned()), port: Some(port), ..self.parsed.clone() };
        Self { text: Secret::new(text), parsed }
    }

    /// Returns the URL without the parameters of TLS and of channel binding, for a client that sends plain text to the
    /// proxy.
    #[must_use]
    pub fn without_tls(&self) -> Self {
        let sections = UrlSections::cut(self.text.expose());
        let query = query_without(sections, |name| name.starts_with("ssl") || name == "channel_binding");
        let text = UrlSections { query: &query, ..sections }.join();
        let parsed =
            ParsedUrl { sslmode: None, tls_start: TlsStart::default(), root_cert: None, ..self.parsed.clone() };
        Self { text: Secret::new(text), parsed }
    }

    /// Returns the URL with another password.
    #[must_use]
    pub fn with_password(&self, password: &Secret) -> Self {
        let sections = UrlSections::cut(self.text.expose());
        let encoded = utf8_percent_encode(password.expose(), RESERVED);
        let user = sections.userinfo.split([':', '@']).next().unwrap_or_default();
        let userinfo = if user.is_empty() { String::new() } else { format!("{user}:{encoded}@") };
        let query = query_without(sections, |name| name == "password");
        let text = UrlSections { userinfo: &userinfo, query: &query, ..sections }.join();
        let parsed = ParsedUrl { password: Some(password.clone()), ..self.parsed.clone() };
        Self { text: Secret::new(text), parsed }
    }

    /// Returns the text with these start-up settings for a client, unless it has `options` of its own.
    #[must_use]
    pub fn text_with_options(&self, options: &str) -> Secret {
        let sections = UrlSections::cut(self.text.expose());
        if sections.parameters().any(|pair| pair.starts_with("options=")) {
            return self.text.clone();
        }
        let separator = match sections.query {
            "" => "?",
            query if query.ends_with(['?', '&']) => "",
            _ => "&",
        };
        let encoded = utf8_percent_encode(options, NON_ALPHANUMERIC);
        Secret::new(format!("{}{separator}options={encoded}", self.text.expose()))
    }

    /// Returns every part of the text that could be its password, encoded and decoded, to be masked. It works for
    /// invalid URLs, too.
    #[must_use]
    pub fn possible_passwords(text: &Secret) -> Vec<Secret> {
        let Some((_, rest)) = text.expose().split_once("//") else { return Vec::new() };
        let userinfo =
            rest.rsplit_once('@').and_then(|(userinfo, _)| userinfo.split_once(':')).map(|(_, password)| password);
        let query = rest.split_once('?').map_or("", |(_, query)| query);
        let parameters = query.split('&').filter_map(|pair| pair.strip_prefix("password="));
        let encoded = userinfo.into_iter().chain(parameters).map(str::trim).filter(|password| !password.is_empty());
        encoded
            // In JDBC a plus is a space.
            .flat_map(|encoded| [Some(encoded.to_owned()), encoded.contains('+').then(|| encoded.replace('+', " "))])
            .flatten()
            .flat_map(|written| {
                let decoded = percent_decode_str(&written).decode_utf8_lossy().into_owned();
                [written, decoded]
            })
            .map(Secret::new)
            .collect()
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("DatabaseUrl").finish_non_exhaustive()
    }
}

/// Returns the query without the parameters `host` and `port`, which take precedence over the address in libpq.
fn query_without_server(sections: UrlSections<'_>) -> Cow<'_, str> {
    query_without(sections, |name| ["host", "port"].contains(&name))
}

/// Returns the query without the parameters of these names.
fn query_without(sections: UrlSections<'_>, is_removed: impl Fn(&str) -> bool) -> Cow<'_, str> {
    let is_removed = |pair: &str| {
        let encoded_name = pair.split_once('=').map_or(pair, |(name, _)| name);
        is_removed(&percent_decode_str(encoded_name).decode_utf8_lossy())
    };
    if !sections.parameters().any(is_removed) {
        return Cow::Borrowed(sections.query);
    }
    let kept: Vec<&str> = sections.parameters().filter(|pair| !is_removed(pair)).collect();
    let delimiter = if kept.is_empty() { "" } else { "?" };
    Cow::Owned(format!("{delimiter}{}", kept.join("&")))
}

/// Composes host and port; an IPv6 address gets its brackets.
fn server_section(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::{prelude::*, sample::select};
    use tokio_postgres::{Config, config::Host};

    fn url(text: &str) -> DatabaseUrl {
        DatabaseUrl::parse(&Secret::new(text)).unwrap_or_else(|fault| panic!("{text}: {fault:?}"))
    }

    /// Encodes only what has to be encoded in each part of a URL.
    fn lightly_encoded(text: &str) -> String {
        let is_delimiter = |letter: char| "%@:/?#&=+[],".contains(letter) || letter.is_whitespace();
        let encoded = |letter: char| match is_delimiter(letter) || letter.is_control() {
            true => utf8_percent_encode(letter.encode_utf8(&mut [0; 4]), NON_ALPHANUMERIC).to_string(),
            false => letter.to_string(),
        };
        text.chars().map(encoded).collect()
    }

    fn fully_encoded(text: &str) -> String {
        utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
    }

    /// The values that a client reads, except host and port.
    fn kept_values(config: &Config) -> impl PartialEq + fmt::Debug {
        let owned = |text: Option<&str>| text.map(str::to_owned);
        let password = config.get_password().map(<[u8]>::to_vec);
        let (user, name) = (owned(config.get_user()), owned(config.get_dbname()));
        let timeout = config.get_connect_timeout().copied();
        (user, password, name, owned(config.get_application_name()), timeout, config.get_ssl_mode())
    }

    prop_compose! {
        fn written_url()(
            user in "[^\0]{1,8}", password in proptest::option::of("[^\0]{1,12}"), name in "[^\0]{1,8}",
            application in "[^\0]{1,8}", scheme in select(vec!["postgres", "postgresql"]),
            server in select(vec!["db", "db:6000", "db.internal:", "[2001:db8::1]:6000", "[::1]", "10.0.0.1:1"]),
            mode in select(vec!["", "&sslmode=require", "&connect_timeout=7"]), is_light in any::<bool>(),
        ) -> String {
            let encoded = if is_light { lightly_encoded } else { fully_encoded };
            let password = password.map(|password| format!(":{}", encoded(&password))).unwrap_or_default();
            let (user, name, application) = (encoded(&user), encoded(&name), encoded(&application));
            format!("{scheme}://{user}{password}@{server}/{name}?application_name={application}{mode}")
        }
    }

    proptest! {
        #[test]
        fn a_client_of_a_rewritten_url_reads_another_server_and_the_rest_as_it_was(
            text in written_url(), port in 1_u16.., host in select(vec!["127.0.0.1", "h-1.internal", "::1"]),
        ) {
            let written: Config = text.parse().unwrap();
            let rewritten = url(&text).redirected_to(host, port).text_with_options("-c a=b c");
            let read: Config = rewritten.expose().parse().unwrap();
            prop_assert_eq!(kept_values(&read), kept_values(&written));
            prop_assert_eq!(read.get_options(), Some("-c a=b c"));
            prop_assert_eq!((read.get_hosts(), read.get_ports()), (&[Host::Tcp(host.to_owned())][..], &[port][..]));
        }

        #[test]
        fn the_text_behind_and_before_the_server_is_kept_to_the_byte(text in written_url()) {
            let (before, rest) = text.rsplit_once('@').unwrap();
            let (_, after) = rest.split_once('/').unwrap();
            let redirected = url(&text).redirected_to("127.0.0.1", 5433);
            prop_assert_eq!(redirected.text().expose(), format!("{before}@127.0.0.1:5433/{after}"));
        }

        #[test]
        fn the_values_of_a_rewritten_url_are_those_in_its_text(text in written_url()) {
            let redirected = url(&text).redirected_to("127.0.0.1", 5433);
            prop_assert_eq!(&url(redirected.text().expose()), &redirected);
        }

        #[test]
        fn a_parser_that_changes_nothing_in_a_url_redirects_it_to_the_same_text(text in written_url()) {
            let mut parsed = ::url::Url::parse(&text).unwrap();
            prop_assume!(parsed.as_str() == text);
            parsed.set_host(Some("127.0.0.1")).unwrap();
            parsed.set_port(Some(5433)).unwrap();
            let redirected = url(&text).redirected_to("127.0.0.1", 5433);
            prop_assert_eq!(redirected.text().expose(), parsed.as_str());
        }

        #[test]
        fn a_composed_url_has_the_values_of_its_parts(
            user in "[^\0]{1,8}", password in proptest::option::of("[^\0]{1,12}"), name in "[^\0]{1,8}",
            host in select(vec!["db-1.internal", "höst", "10.0.0.1", "2001:db8::1"]), port in 1_u16..,
        ) {
            let password = password.map(Secret::new);
            let (host, sslmode) = (host.to_owned(), SslMode::VerifyFull);
            let target = DatabaseTarget { password, sslmode, ..DatabaseTarget::new(host, port, user, name) };
            for sslmode in [None, Some(sslmode)] {
                let composed = DatabaseUrl::of_target(&target, sslmode);
                prop_assert_eq!(&url(composed.text().expose()), &composed);
            }
        }

        #[test]
        fn any_text_has_its_possible_passwords(text in "(jdbc:)?(postgres://)?.*") {
            drop(DatabaseUrl::possible_passwords(&Secret::new(text)));
        }
    }

    #[test]
    fn a_redirected_url_keeps_what_other_parsers_would_change() {
        for (written, redirected) in [
            ("postgres://u:p^w|ä{}@höst:1/db", "postgres://u:p^w|ä{}@127.0.0.1:5433/db"),
            ("postgres://u:@h/db", "postgres://u:@127.0.0.1:5433/db"),
            ("postgres://u:p%4aw@h", "postgres://u:p%4aw@127.0.0.1:5433/"),
            ("postgres://u@h/..?loginTimeout=\"1", "postgres://u@127.0.0.1:5433/..?loginTimeout=\"1"),
            ("postgres://u:x@/db", "postgres://u:x@127.0.0.1:5433/db"),
            ("PostgreSQL+asyncpg://u@[2001:DB8::0:1]:1/a/b", "PostgreSQL+asyncpg://u@127.0.0.1:5433/a/b"),
            ("jdbc:postgresql://h/db?user=u&password=a+b", "jdbc:postgresql://127.0.0.1:5433/db?user=u&password=a+b"),
        ] {
            assert_eq!(url(written).redirected_to("127.0.0.1", 5433).text().expose(), redirected);
        }
        assert_eq!(url("postgres://h/db").redirected_to("::1", 1).text().expose(), "postgres://[::1]:1/db");
    }

    #[test]
    fn a_redirected_url_names_its_server_in_the_address_alone() {
        for (written, redirected) in [
            ("postgres:///db?host=h&user=u&port=1", "postgres://127.0.0.1:5433/db?user=u"),
            ("postgres://u@h/db?host=h", "postgres://u@127.0.0.1:5433/db"),
            ("postgres://u@h/db?role=r&ho%73t=h&ssl=true", "postgres://u@127.0.0.1:5433/db?role=r&ssl=true"),
        ] {
            let url = url(written).redirected_to("127.0.0.1", 5433);
            assert_eq!(url.text().expose(), redirected);
            assert_eq!(DatabaseUrl::parse(url.text()).unwrap(), url);
        }
    }

    #[test]
    fn options_are_added_to_a_url_that_has_none() {
        let with_options = |text: &str| url(text).text_with_options("-c a=1").expose().to_owned();
        assert_eq!(with_options("postgres://h/d"), "postgres://h/d?options=%2Dc%20a%3D1");
        assert_eq!(with_options("postgres://h/d?role=y"), "postgres://h/d?role=y&options=%2Dc%20a%3D1");
        assert_eq!(with_options("postgres://h/d?"), "postgres://h/d?options=%2Dc%20a%3D1");
        let own_options = "postgres://h/d?options=-c%20b%3D2";
        assert_eq!(with_options(own_options), own_options);
    }

    #[test]
    fn unreserved_characters_are_not_encoded_in_a_composed_url() {
        let target = DatabaseTarget {
            password: Some(Secret::new("a_b-c.d~e/f@g")),
            ..DatabaseTarget::new("db-1.internal", 5432, "app_owner", "shop_prod-2.x~y")
        };
        let address = "app_owner:a_b-c.d~e%2Ff%40g@db-1.internal:5432/shop_prod-2.x~y";
        assert_eq!(DatabaseUrl::of_target(&target, None).address().expose(), address);
        let url = DatabaseUrl::of_target(&target, Some(SslMode::VerifyFull));
        assert_eq!(url.text().expose(), format!("postgresql://{address}?sslmode=verify-full"));
        assert_eq!(url.address().expose(), address);
    }

    #[test]
    fn nothing_of_a_url_is_shown() {
        assert_eq!(format!("{:?}", url("postgres://u:hunter2@h/db")), "DatabaseUrl { .. }");
    }

    #[test]
    fn masks_the_password_encoded_and_decoded_even_if_the_url_is_refused() {
        let passwords = |url: &str| -> Vec<String> {
            DatabaseUrl::possible_passwords(&Secret::new(url))
                .iter()
                .map(|password| password.expose().to_owned())
                .collect()
        };
        assert_eq!(passwords("postgres://u:p%40w@h/db"), ["p%40w", "p@w"]);
        assert_eq!(passwords("postgres://u:a@b#c@h/db"), ["a@b#c", "a@b#c"]);
        assert_eq!(passwords("jdbc:postgresql://h/db?user=u&password=p%40w"), ["p%40w", "p@w"]);
        let decoded = passwords("jdbc:postgresql://h/db?user=u&password=correct+horse%2B");
        assert!(decoded.contains(&"correct horse+".to_owned()), "{decoded:?}");
        assert!(passwords("postgres://u@h/db").is_empty());
        assert!(passwords("hunter2").is_empty());
    }
}
