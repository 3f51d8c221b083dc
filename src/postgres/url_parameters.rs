//! The parameters of a database URL: libpq's, and those that ORMs and JDBC add.
//!
//! An unknown parameter has no effect and is reported in a note: libpq would refuse it, but each ORM has its own
//! ones. A parameter that looks like a misspelt one of TLS or of the connection is refused, because without it the
//! run would be less secure, or connect elsewhere, than intended.

use super::{
    quote_identifier,
    sslmode::SslRequest,
    target::{SslMode, TlsStart},
    url_parts::{UrlForm, checked_host, invalid_url, parse_port, percent_decoded},
};
use crate::fault::Fault;

/// The source of the CAs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RootCert {
    /// `sslrootcert=system`: the public CAs.
    System,
    /// A file.
    File(String),
}

/// The values of the parameters.
#[derive(Debug, Default)]
pub(super) struct UrlParameters {
    pub(super) host: Option<String>,
    pub(super) port: Option<u16>,
    pub(super) user: Option<String>,
    pub(super) password: Option<String>,
    pub(super) name: Option<String>,
    pub(super) sslmode: Option<SslRequest>,
    pub(super) tls_start: Option<TlsStart>,
    pub(super) root_cert: Option<RootCert>,
    pub(super) client_cert: Option<String>,
    pub(super) client_key: Option<String>,
    pub(super) options: Option<String>,
    /// Start-up settings that were given as parameters of their own.
    settings: Vec<(String, String)>,
    pub(super) notes: Vec<String>,
    /// Set once a name may be a piece of the password behind an unescaped `&` or `?`: it must not be repeated in
    /// messages.
    password_began: bool,
}

/// Parameters of the client's own behaviour, such as pooling, retries and its name, which do not apply here.
const IGNORED: [&str; 31] = [
    "application_name",
    "ApplicationName",
    "channel_binding",
    "client_encoding",
    "connect_timeout",
    "connectTimeout",
    "connection_limit",
    "conn_max_age",
    "fallback_application_name",
    "gssencmode",
    "keepalives",
    "keepalives_count",
    "keepalives_idle",
    "keepalives_interval",
    "loginTimeout",
    "max_conns",
    "min_conns",
    "pgbouncer",
    "pool_max_conns",
    "pool_min_conns",
    "pool_size",
    "pool_timeout",
    "prepareThreshold",
    "socketTimeout",
    "socket_timeout",
    "sslcompression",
    "statement_cache_size",
    "target_session_attrs",
    "targetServerType",
    "tcpKeepAlive",
    "tcp_user_timeout",
];

/// Parameters that are not supported and must not be ignored, with the fix.
const REFUSED: [(&str, &str); 8] = [
    (
        "sslidentity",
        "remove `sslidentity`; put the certificate and its key in PEM form into `database-cert` and `database-key`",
    ),
    ("sslpassword", "remove `sslpassword`, and put the key without its passphrase into `database-key`"),
    ("sslcertmode", "remove `sslcertmode`: the certificate in `database-cert` is presented if the server requests one"),
    ("hostaddr", "put the address into the URL in place of the host"),
    ("service", "write the connection out: there is no service file here"),
    ("passfile", "use `database-password`: there is no password file here"),
    ("sslcrl", "remove `sslcrl`: revocation lists are not supported"),
    ("socketFactory", "remove `socketFactory`: name the database's host"),
];

/// Settings that lib/pq, pgx and sqlx accept as parameters and that affect where objects are created, or by which
/// role. Each is passed to the server as a start-up setting.
const STARTUP_SETTINGS: [&str; 12] = [
    "DateStyle",
    "IntervalStyle",
    "TimeZone",
    "datestyle",
    "default_table_access_method",
    "default_tablespace",
    "lock_timeout",
    "role",
    "search_path",
    "statement_timeout",
    "temp_tablespaces",
    "timezone",
];

/// The parameters that have an effect.
const SUPPORTED: [&str; 14] = [
    "host",
    "port",
    "user",
    "password",
    "dbname",
    "sslmode",
    "sslnegotiation",
    "ssl",
    "sslrootcert",
    "sslcert",
    "sslkey",
    "options",
    "currentSchema",
    "searchpath",
];

/// Largest edit distance at which a name counts as misspelt.
const MAX_MISSPELLING: usize = 2;

impl UrlParameters {
    pub(super) fn parse(query: &str, form: UrlForm) -> Result<Self, Fault> {
        let mut parameters = Self { password_began: form == UrlForm::Anonymous, ..Self::default() };
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let Some((key, value)) = pair.split_once('=') else {
                return Err(invalid_url("has a parameter without `=`").fix("write `&` in a value as `%26`"));
            };
            let key = percent_decoded(key)?.unwrap_or_default();
            let key = key.as_str();
            parameters.password_began |= key == "password";
            let value = if form == UrlForm::Jdbc { value.replace('+', "%20") } else { value.to_owned() };
            if let Some(value) = percent_decoded(&value)? {
                parameters.set_parameter(key, value, form)?;
            }
        }
        parameters.with_settings()
    }

    fn set_parameter(&mut self, key: &str, value: String, form: UrlForm) -> Result<(), Fault> {
        match key {
            "host" => set_once(&mut self.host, key, checked_host(value)?),
            "port" => set_once(&mut self.port, key, parse_port(&value)?),
            "user" => set_once(&mut self.user, key, value),
            "password" => set_once(&mut self.password, key, value),
            "dbname" => set_once(&mut self.name, key, value),
            "options" => set_once(&mut self.options, key, value),
            "sslmode" => set_once(&mut self.sslmode, key, parse_sslmode(key, &value)?),
            "sslnegotiation" => set_once(&mut self.tls_start, key, parse_tls_start(key, &value)?),
            "ssl" => set_once(&mut self.sslmode, key, parse_ssl(&value, form)?),
            "sslrootcert" if value == "system" => set_once(&mut self.root_cert, key, RootCert::System),
            "sslrootcert" => set_once(&mut self.root_cert, key, RootCert::File(value)),
            "sslcert" => set_once(&mut self.client_cert, key, value),
            "sslkey" => set_once(&mut self.client_key, key, value),
            // Prisma's parameter is the name of one schema, JDBC's a list in PostgreSQL's syntax.
            "schema" => self.add_setting("search_path", quote_identifier(&value)),
            "currentSchema" => self.add_setting("search_path", value),
            _ if STARTUP_SETTINGS.contains(&key) => self.add_setting(key, value),
            _ if options_setting_name(key).is_some() => {
                self.add_setting(options_setting_name(key).unwrap_or_default(), value)
            }
            _ => self.check_unsupported(key),
        }
    }

    fn add_setting(&mut self, name: &str, value: String) -> Result<(), Fault> {
        let name = name.to_ascii_lowercase();
        let present = self.settings.iter().find(|(present, _)| *present == name);
        match present {
            Some((_, earlier)) if *earlier != value => {
                Err(invalid_url(&format!("sets `{name}` twice, with different values"))
                    .fix(format!("set `{name}` once")))
            }
            Some(_) => Ok(()),
            None => {
                self.settings.push((name, value));
                Ok(())
            }
        }
    }

    /// Appends the settings to those of `options`.
    fn with_settings(mut self) -> Result<Self, Fault> {
        for (name, value) in std::mem::take(&mut self.settings) {
            let options = self.options.get_or_insert_default();
            if options.contains(&name) {
                return Err(invalid_url(&format!("sets `{name}` in `options` and in a parameter of its own"))
                    .fix(format!("set `{name}` once")));
            }
            let blank = if options.is_empty() { "" } else { " " };
            *options = format!("{options}{blank}-c {name}={}", escape_option(&value));
        }
        Ok(self)
    }

    fn check_unsupported(&mut self, key: &str) -> Result<(), Fault> {
        if let Some((_, fix)) = REFUSED.iter().find(|(refused, _)| *refused == key) {
            return Err(invalid_url(&format!("has the parameter `{key}`, which has no meaning here")).fix(*fix));
        }
        if IGNORED.contains(&key) {
            return Ok(());
        }
        if self.password_began {
            return Err(invalid_url("has an unknown parameter that could be a piece of the password")
                .fix("write `&` in the password as `%26` and `?` as `%3F`, or remove the parameter"));
        }
        let plain = key.to_lowercase().replace(['_', '-'], "");
        if let Some(suggestion) = SUPPORTED
            .iter()
            .find(|supported| strsim::damerau_levenshtein(&plain, supported) <= MAX_MISSPELLING && key.len() > 3)
        {
            return Err(invalid_url("has a parameter that looks misspelt").fix(format!("did you mean `{suggestion}`?")));
        }
        if plain.starts_with("ssl") {
            return Err(invalid_url("has a parameter of TLS that does not exist")
                .fix("use `sslmode`, `sslrootcert`, `sslcert` and `sslkey`, or the inputs `database-sslmode`, `database-ca`, `database-cert` and `database-key`"));
        }
        self.notes.push(format!("the parameter `{key}` of `database-url` is unknown here and has no effect"));
        Ok(())
    }
}

/// Returns the name in `options[name]`, sqlx's syntax for a start-up setting (sqlx 0.9,
/// `PgConnectOptions::parse_from_url`).
fn options_setting_name(key: &str) -> Option<&str> {
    let name = key.strip_prefix("options[")?.strip_suffix(']')?;
    let plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.".contains(&byte));
    (plain && !name.is_empty()).then_some(name)
}

/// Escapes a value in `options`, which ends at a blank without a backslash before it (PostgreSQL manual, 34.1.2).
fn escape_option(value: &str) -> String {
    value.replace('\\', "\\\\").replace(' ', "\\ ")
}

fn set_once<T: PartialEq>(slot: &mut Option<T>, key: &str, value: T) -> Result<(), Fault> {
    if slot.as_ref().is_some_and(|present| *present != value) {
        return Err(
            invalid_url(&format!("has `{key}` twice, with different values")).fix(format!("write `{key}` once"))
        );
    }
    *slot = Some(value);
    Ok(())
}

fn parse_sslmode(key: &str, value: &str) -> Result<SslRequest, Fault> {
    SslRequest::parse(value).ok_or_else(|| {
        invalid_url(&format!("has a `{key}` that does not exist"))
            .fix(format!("write `{key}` as {}", SslRequest::ACCEPTED))
    })
}

/// Parses `ssl`: `true` means a verified name in JDBC and just TLS elsewhere; asyncpg also accepts the values of
/// `sslmode`.
fn parse_tls_start(key: &str, value: &str) -> Result<TlsStart, Fault> {
    TlsStart::parse(value).ok_or_else(|| {
        invalid_url(&format!("has `{key}={value}`, which PostgreSQL does not know"))
            .fix(format!("write `{key}` as `postgres` or `direct`, or leave it out"))
    })
}

fn parse_ssl(value: &str, form: UrlForm) -> Result<SslRequest, Fault> {
    match (value, form) {
        ("true" | "1", UrlForm::Jdbc) => Ok(SslRequest::Mode(SslMode::VerifyFull)),
        ("true" | "1", UrlForm::Uri | UrlForm::Anonymous) => Ok(SslRequest::Mode(SslMode::Require)),
        ("false" | "0", _) => Ok(SslRequest::Mode(SslMode::Disable)),
        _ => parse_sslmode("ssl", value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::Code;

    fn read(query: &str) -> Result<UrlParameters, Fault> {
        UrlParameters::parse(query, UrlForm::Uri)
    }

    #[test]
    fn ignores_parameters_of_orms_and_notes_unknown_ones() {
        for key in IGNORED {
            assert!(read(&format!("{key}=1")).unwrap().notes.is_empty(), "{key}");
        }
        assert!(read("frobnicate=1").unwrap().notes[0].contains("`frobnicate`"));
    }

    #[test]
    fn passes_settings_that_affect_where_objects_are_created() {
        for (query, options) in [
            ("schema=App", "-c search_path=\"App\""),
            ("currentSchema=app,public", "-c search_path=app,public"),
            ("search_path=app, public", "-c search_path=app,\\ public"),
            ("options[search_path]=app", "-c search_path=app"),
            ("options%5Bsearch_path%5D=app", "-c search_path=app"),
            ("options=-cgeqo%3Doff&schema=app&role=owner", "-cgeqo=off -c search_path=\"app\" -c role=owner"),
            ("search_path=app&currentSchema=app", "-c search_path=app"),
            ("default_tablespace=fast", "-c default_tablespace=fast"),
        ] {
            assert_eq!(read(query).unwrap().options.as_deref(), Some(options), "{query}");
        }
        for query in ["search_path=a&schema=b", "options=-csearch_path%3Da&currentSchema=a", "search-path=a"] {
            assert!(read(query).is_err(), "{query}");
        }
    }

    #[test]
    fn refuses_unsupported_parameters() {
        for (key, fix) in REFUSED {
            let fault = read(&format!("{key}=x")).unwrap_err();
            assert_eq!((fault.code, fault.fix.as_str()), (Code::DatabaseUrlInvalid, fix));
        }
    }

    #[test]
    fn refuses_misspelt_tls_parameters() {
        for query in
            ["ssl_mode=verify-full", "sslmod=verify-full", "SSLMODE=verify-full", "ssl_root_cert=x", "sslfoo=1"]
        {
            assert!(read(query).is_err(), "{query}");
        }
        assert_eq!(
            read("sslmode=verify_full").unwrap_err().fix,
            format!("write `sslmode` as {}", SslRequest::ACCEPTED)
        );
    }

    #[test]
    fn reads_tls_in_every_dialect() {
        let sslmode = |query, form| UrlParameters::parse(query, form).unwrap().sslmode;
        assert_eq!(sslmode("sslmode=prefer", UrlForm::Uri), Some(SslRequest::Prefer));
        assert_eq!(sslmode("sslmode=verify-ca", UrlForm::Uri), Some(SslRequest::Mode(SslMode::VerifyCa)));
        assert_eq!(sslmode("ssl=true", UrlForm::Uri), Some(SslRequest::Mode(SslMode::Require)));
        assert_eq!(sslmode("ssl=true", UrlForm::Jdbc), Some(SslRequest::Mode(SslMode::VerifyFull)));
        assert_eq!(sslmode("ssl=require", UrlForm::Uri), Some(SslRequest::Mode(SslMode::Require)));
        assert_eq!(sslmode("ssl=false", UrlForm::Uri), Some(SslRequest::Mode(SslMode::Disable)));
    }

    #[test]
    fn decodes_values_and_reads_a_plus_as_a_space_only_in_jdbc() {
        let options = |form| UrlParameters::parse("options=-csearch_path%3Da+b", form).unwrap().options;
        assert_eq!(options(UrlForm::Uri).as_deref(), Some("-csearch_path=a+b"));
        assert_eq!(options(UrlForm::Jdbc).as_deref(), Some("-csearch_path=a b"));
    }

    #[test]
    fn refuses_a_parameter_that_contradicts_itself() {
        assert!(read("sslmode=require&sslmode=disable").is_err());
        assert!(read("sslmode=require&ssl=false").is_err());
        assert!(read("sslmode=require&sslmode=require").is_ok());
        assert!(read("sslmode").is_err());
    }

    #[test]
    fn does_not_repeat_a_piece_of_the_password_as_an_unknown_parameter() {
        for query in ["user=u&password=a&hunter2=b", "password=&hunter2=b"] {
            let fault = read(query).unwrap_err();
            assert!(!format!("{fault:?}").contains("hunter2"), "{fault:?}");
            assert!(fault.fix.contains("%26"));
        }
    }
}
