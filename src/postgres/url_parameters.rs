//! What stands behind the `?` of a database URL: libpq's parameters, and those that ORMs and JDBC add.
//!
//! A parameter that nobody here knows is told as a note and has no effect: libpq would refuse it, but each ORM has its own.
//! One that looks like a misspelt parameter of TLS or of the connection is refused, because without it the run would be less
//! safe, or somewhere else, than was asked for.

use super::{
    SslMode,
    sslmode::SslWish,
    url::{Form, checked_host, decoded, invalid, port_number},
};
use crate::fault::Fault;

/// Where the CAs come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RootCert {
    /// `sslrootcert=system`: the public CAs.
    System,
    /// A file.
    File(String),
}

/// What the parameters say.
#[derive(Debug, Default)]
pub(super) struct Parameters {
    pub(super) host: Option<String>,
    pub(super) port: Option<u16>,
    pub(super) user: Option<String>,
    pub(super) password: Option<String>,
    pub(super) name: Option<String>,
    pub(super) sslmode: Option<SslWish>,
    pub(super) root_cert: Option<RootCert>,
    pub(super) options: Option<String>,
    pub(super) notes: Vec<String>,
    /// From here on a name may be a piece of the password behind an unescaped `&` or `?`, and is not repeated.
    password_began: bool,
}

/// Parameters that are about the client's own ways: how it pools, retries, names itself. We have our own.
const IGNORED: [&str; 32] = [
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
    "sslnegotiation",
    "statement_cache_size",
    "target_session_attrs",
    "targetServerType",
    "tcpKeepAlive",
    "tcp_user_timeout",
];

/// Parameters that can't be honoured and must not be dropped, with what to do instead.
const REFUSED: [(&str, &str); 8] = [
    ("sslcert", "remove `sslcert` and `sslkey` and log in with a password: client certificates are not supported"),
    ("sslkey", "remove `sslcert` and `sslkey` and log in with a password: client certificates are not supported"),
    (
        "sslidentity",
        "remove `sslidentity`, and put the CA into `database-ca` if there is one: client certificates are not supported",
    ),
    ("hostaddr", "put the address into the URL in place of the host"),
    ("service", "write the connection out: there is no service file here"),
    ("passfile", "use `database-password`: there is no password file here"),
    ("sslcrl", "remove `sslcrl`: revocation lists are not supported"),
    ("socketFactory", "remove `socketFactory`: name the database's host"),
];

/// The parameters that have an effect.
const KNOWN: [&str; 10] =
    ["host", "port", "user", "password", "dbname", "sslmode", "ssl", "sslrootcert", "options", "currentSchema"];

/// Edits between two names that are one name, misspelt.
const MISSPELT: usize = 2;

impl Parameters {
    pub(super) fn parse(query: &str, form: Form) -> Result<Self, Fault> {
        let mut parameters = Self { password_began: form == Form::Anonymous, ..Self::default() };
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let Some((key, value)) = pair.split_once('=') else {
                return Err(invalid("has a parameter without `=`").fix("write `&` in a value as `%26`"));
            };
            parameters.password_began |= key == "password";
            let value = if form == Form::Jdbc { value.replace('+', "%20") } else { value.to_owned() };
            if let Some(value) = decoded(&value)? {
                parameters.set(key, value, form)?;
            }
        }
        Ok(parameters)
    }

    fn set(&mut self, key: &str, value: String, form: Form) -> Result<(), Fault> {
        match key {
            "host" => put(&mut self.host, key, checked_host(value)?),
            "port" => put(&mut self.port, key, port_number(&value)?),
            "user" => put(&mut self.user, key, value),
            "password" => put(&mut self.password, key, value),
            "dbname" => put(&mut self.name, key, value),
            "options" => put(&mut self.options, key, value),
            "sslmode" => put(&mut self.sslmode, key, sslmode(key, &value)?),
            "ssl" => put(&mut self.sslmode, key, ssl(&value, form)?),
            "sslrootcert" if value == "system" => put(&mut self.root_cert, key, RootCert::System),
            "sslrootcert" => put(&mut self.root_cert, key, RootCert::File(value)),
            _ => self.without_effect(key, &value),
        }
    }

    fn without_effect(&mut self, key: &str, value: &str) -> Result<(), Fault> {
        if let Some((_, fix)) = REFUSED.iter().find(|(refused, _)| *refused == key) {
            return Err(invalid(&format!("has the parameter `{key}`, which has no meaning here")).fix(*fix));
        }
        if IGNORED.contains(&key) || (matches!(key, "schema" | "currentSchema") && value == "public") {
            return Ok(());
        }
        if self.password_began {
            return Err(invalid("has an unknown parameter that could be a piece of the password")
                .fix("write `&` in the password as `%26` and `?` as `%3F`, or remove the parameter"));
        }
        if matches!(key, "schema" | "currentSchema") {
            self.notes.push(format!(
                "the parameter `{key}` of `database-url` has no effect on SQL files; to set the search path write \
                 `options=-csearch_path%3D…`"
            ));
            return Ok(());
        }
        let plain = key.to_lowercase().replace(['_', '-'], "");
        if let Some(meant) =
            KNOWN.iter().find(|known| strsim::damerau_levenshtein(&plain, known) <= MISSPELT && key.len() > 3)
        {
            return Err(invalid("has a parameter that looks misspelt").fix(format!("did you mean `{meant}`?")));
        }
        if plain.starts_with("ssl") {
            return Err(invalid("has a parameter of TLS that does not exist")
                .fix("use `sslmode` and `sslrootcert`, or the inputs `database-sslmode` and `database-ca`"));
        }
        self.notes.push(format!("the parameter `{key}` of `database-url` is unknown here and has no effect"));
        Ok(())
    }
}

fn put<T: PartialEq>(place: &mut Option<T>, key: &str, value: T) -> Result<(), Fault> {
    if place.as_ref().is_some_and(|present| *present != value) {
        return Err(invalid(&format!("says `{key}` twice, with different values")).fix(format!("write `{key}` once")));
    }
    *place = Some(value);
    Ok(())
}

fn sslmode(key: &str, value: &str) -> Result<SslWish, Fault> {
    SslWish::parse(value).ok_or_else(|| {
        invalid(&format!("has a `{key}` that does not exist")).fix(format!("write `{key}` as {}", SslWish::WORDS))
    })
}

/// `ssl=true` is JDBC's word for a checked name and everybody else's for TLS; asyncpg takes the words of `sslmode`.
fn ssl(value: &str, form: Form) -> Result<SslWish, Fault> {
    match (value, form) {
        ("true" | "1", Form::Jdbc) => Ok(SslWish::Mode(SslMode::VerifyFull)),
        ("true" | "1", Form::Uri | Form::Anonymous) => Ok(SslWish::Mode(SslMode::Require)),
        ("false" | "0", _) => Ok(SslWish::Mode(SslMode::Disable)),
        _ => sslmode("ssl", value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::Code;

    fn read(query: &str) -> Result<Parameters, Fault> {
        Parameters::parse(query, Form::Uri)
    }

    #[test]
    fn ignores_what_orms_add_and_tells_what_it_does_not_know() {
        for key in IGNORED {
            assert!(read(&format!("{key}=1")).unwrap().notes.is_empty(), "{key}");
        }
        assert!(read("schema=public").unwrap().notes.is_empty());
        assert!(read("schema=tenant").unwrap().notes[0].contains("`schema`"));
        assert!(read("frobnicate=1").unwrap().notes[0].contains("`frobnicate`"));
    }

    #[test]
    fn refuses_what_it_can_not_honour() {
        for (key, fix) in REFUSED {
            let fault = read(&format!("{key}=x")).unwrap_err();
            assert_eq!((fault.code, fault.fix.as_str()), (Code::DatabaseUrlInvalid, fix));
        }
    }

    #[test]
    fn a_misspelt_parameter_of_tls_is_no_note() {
        for query in
            ["ssl_mode=verify-full", "sslmod=verify-full", "SSLMODE=verify-full", "ssl_root_cert=x", "sslfoo=1"]
        {
            assert!(read(query).is_err(), "{query}");
        }
        assert_eq!(read("sslmode=verify_full").unwrap_err().fix, format!("write `sslmode` as {}", SslWish::WORDS));
    }

    #[test]
    fn reads_tls_in_every_dialect() {
        let wish = |query, form| Parameters::parse(query, form).unwrap().sslmode;
        assert_eq!(wish("sslmode=prefer", Form::Uri), Some(SslWish::Usual));
        assert_eq!(wish("sslmode=verify-ca", Form::Uri), Some(SslWish::Mode(SslMode::VerifyCa)));
        assert_eq!(wish("ssl=true", Form::Uri), Some(SslWish::Mode(SslMode::Require)));
        assert_eq!(wish("ssl=true", Form::Jdbc), Some(SslWish::Mode(SslMode::VerifyFull)));
        assert_eq!(wish("ssl=require", Form::Uri), Some(SslWish::Mode(SslMode::Require)));
        assert_eq!(wish("ssl=false", Form::Uri), Some(SslWish::Mode(SslMode::Disable)));
    }

    #[test]
    fn decodes_values_and_takes_a_plus_for_a_space_in_jdbc_alone() {
        let options = |form| Parameters::parse("options=-csearch_path%3Da+b", form).unwrap().options;
        assert_eq!(options(Form::Uri).as_deref(), Some("-csearch_path=a+b"));
        assert_eq!(options(Form::Jdbc).as_deref(), Some("-csearch_path=a b"));
    }

    #[test]
    fn refuses_a_parameter_that_contradicts_itself() {
        assert!(read("sslmode=require&sslmode=disable").is_err());
        assert!(read("sslmode=require&ssl=false").is_err());
        assert!(read("sslmode=require&sslmode=require").is_ok());
        assert!(read("sslmode").is_err());
    }

    #[test]
    fn a_piece_of_the_password_is_not_told_as_an_unknown_parameter() {
        for query in ["user=u&password=a&hunter2=b", "password=&hunter2=b"] {
            let fault = read(query).unwrap_err();
            assert!(!format!("{fault:?}").contains("hunter2"), "{fault:?}");
            assert!(fault.fix.contains("%26"));
        }
    }
}
