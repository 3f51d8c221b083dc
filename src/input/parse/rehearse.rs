//! Parses the input `rehearse`: the URL of a server, or a mapping. No fault repeats a part of it, because the URL is a
//! secret.

use super::{
    mapping::{MappingReader, parse_error_lines},
    value,
};
use crate::{
    fault::{Code, Fault},
    postgres::{ClientIdentity, DatabaseTarget, DatabaseUrl, RootCert, SslRequest},
    secret::Secret,
    settings::RehearsalSettings,
};
use serde_yaml::{Mapping, Value};

const KEYS: [&str; 2] = ["url", "max-age"];

const FORM: &str = "write `rehearse: ${{ secrets.… }}` with the URL of a PostgreSQL server, or the mapping `{ url: …, max-age: 24h }` below `|`";

/// PostgreSQL's default port.
const DEFAULT_PORT: u16 = 5432;

/// Parses the input. `label` names it in faults.
///
/// # Errors
/// All faults of the mapping, or the one of the URL.
pub(crate) fn parse_rehearse(text: &str, label: &str) -> Result<RehearsalSettings, Vec<Fault>> {
    let text = text.trim();
    // A mapping has a space behind its first colon.
    if !text.contains(char::is_whitespace) && !text.starts_with('{') {
        let server = parse_server(text, label).map_err(|fault| vec![fault])?;
        return Ok(RehearsalSettings { server, max_age: RehearsalSettings::USUAL_MAX_AGE });
    }
    let parsed = serde_yaml::from_str(text).and_then(|mut value: Value| value.apply_merge().map(|()| value));
    match parsed {
        Ok(Value::Mapping(mapping)) => parse_mapping(&mapping, label),
        Ok(_) => {
            let cause = format!("{label} is neither the URL of a server nor a mapping");
            Err(vec![Fault::new(Code::InputInvalid, cause).fix(FORM)])
        }
        Err(error) => {
            let fault = Fault::new(Code::InputInvalid, format!("{label} is not valid YAML")).fix(FORM);
            Err(vec![parse_error_lines(&error).into_iter().fold(fault, Fault::detail)])
        }
    }
}

fn parse_mapping(mapping: &Mapping, label: &str) -> Result<RehearsalSettings, Vec<Fault>> {
    let mut fields = MappingReader::new(mapping, label.to_owned(), None);
    fields.reject_unknown_keys(&KEYS);
    let max_age = fields.read_value("max-age", value::parse_positive_duration);
    let is_plain = fields.faults.is_empty();
    let server = match fields.read_text("url").map(|url| parse_server(&url, &format!("{label}: `url`"))) {
        Some(Ok(server)) => Some(server),
        Some(Err(fault)) => {
            fields.faults.push(fault);
            None
        }
        // A value that is no text has its own fault.
        None if is_plain && !fields.faults.is_empty() => None,
        None => {
            let fix = "set `url` to the URL of a PostgreSQL server in which a database can be created; a secret that does not exist is empty";
            fields.add_invalid("`url` has no value", fix);
            None
        }
    };
    match (server, fields.faults.is_empty()) {
        (Some(server), true) => {
            Ok(RehearsalSettings { server, max_age: max_age.unwrap_or(RehearsalSettings::USUAL_MAX_AGE) })
        }
        _ => Err(fields.faults),
    }
}

/// Parses the URL. It has to be whole: there are no other inputs about this server.
fn parse_server(text: &str, label: &str) -> Result<DatabaseTarget, Fault> {
    let invalid = |problem: &str| {
        Fault::new(Code::InputInvalid, format!("{label} {problem}")).fix(
            "write it as postgres://user:password@host:5432/postgres, with special characters in the password percent-encoded",
        )
    };
    let url = DatabaseUrl::parse(&Secret::new(text))
        .map_err(|fault| Fault { cause: fault.cause.replace("`database-url`", label), ..fault })?;
    let url = url.parsed();
    if matches!(url.root_cert, Some(RootCert::File(_))) {
        return Err(invalid("names a CA in a file (`sslrootcert`), which is not read for it"));
    }
    let host = url.host.clone().ok_or_else(|| invalid("has no host"))?;
    let sslmode = url.sslmode.unwrap_or(SslRequest::Prefer).mode_for_host(&host);
    Ok(DatabaseTarget {
        port: url.port.unwrap_or(DEFAULT_PORT),
        user: url.user.clone().ok_or_else(|| invalid("has no user"))?,
        password: url.password.clone(),
        name: url.name.clone().ok_or_else(|| invalid("has no database"))?,
        sslmode,
        tls_start: url.tls_start,
        ca: None,
        options: url.options.clone(),
        role: None,
        host,
        identity: ClientIdentity::default(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const URL: &str = "postgres://maker:canary@copies.internal/postgres";

    fn parse(text: &str) -> Result<RehearsalSettings, Vec<Fault>> {
        parse_rehearse(&text.replace("URL", URL), "`rehearse`")
    }

    #[test]
    fn it_is_a_url_or_a_mapping() {
        for (text, hours) in
            [("URL", 24), (" URL\n", 24), ("{ url: URL, max-age: 1h }", 1), ("url: URL\nmax-age:\n", 24)]
        {
            let parsed = parse(text).unwrap_or_else(|faults| panic!("{text}: {faults:#?}"));
            let DatabaseTarget { host, port, user, name, .. } = parsed.server;
            assert_eq!(
                (host.as_str(), port, user.as_str(), name.as_str()),
                ("copies.internal", 5432, "maker", "postgres")
            );
            assert_eq!(parsed.max_age, Duration::from_secs(hours * 3_600), "{text}");
        }
    }

    #[test]
    fn reports_faults_without_the_url() {
        for (text, cause, fix) in [
            ("canary", "`rehearse` has no `://`", "postgres://"),
            ("postgres://copies.internal/canary", "`rehearse` has no user", "postgres://user"),
            ("{ url: postgres://maker:canary@host }", "`url` has no database", "postgres://user"),
            ("{ url: 'URL?sslrootcert=/ca.pem' }", "`sslrootcert`", "postgres://user"),
            ("{ uri: URL, url: URL }", "there is no key `uri`", "did you mean `url`?"),
            ("{ max-age: 1h }", "`url` has no value", "a secret that does not exist"),
            ("{ url: [URL] }", "`url` must be text", "single value"),
            ("{ url: URL, max-age: soon }", "it is not a duration", "30s"),
            ("- URL", "neither the URL of a server nor a mapping", "secrets.…"),
            ("{ url: URL", "is not valid YAML", "secrets.…"),
        ] {
            let [fault] =
                <[Fault; 1]>::try_from(parse(text).unwrap_err()).unwrap_or_else(|all| panic!("{text}: {all:#?}"));
            assert!(fault.cause.contains(cause) && fault.fix.contains(fix), "{text}: {fault:#?}");
            assert!(!format!("{fault:?}").contains("canary"), "{text}: {fault:#?}");
        }
    }
}
