//! Parses the input `rehearse`: the URL of a server, or a mapping. No fault repeats a part of the URL, because it is a
//! secret.

use super::{
    image_reference::parse_image_reference,
    mapping::{MappingReader, parse_error_lines, scalar_text},
    value::{self, InvalidValue},
};
use crate::{
    fault::{Code, Fault},
    postgres::{ClientIdentity, DatabaseTarget, DatabaseUrl, RootCert, SslRequest},
    secret::Secret,
    settings::{ColumnPattern, CopyContent, RehearsalSettings, SampleSettings, TablePattern},
};
use serde_yaml::{Mapping, Value};
use std::time::Duration;

const KEYS: [&str; 7] = ["url", "image", "data", "rows", "tables", "mask", "max-age"];

/// The keys about rows, which count with `data: sample` alone.
const SAMPLE_KEYS: [&str; 3] = ["rows", "tables", "mask"];

/// The values of `data`, and whether rows are copied.
const CONTENTS: [(&str, bool); 2] = [("none", false), ("sample", true)];

const FORM: &str = "write `rehearse: ${{ secrets.… }}` with the URL of a PostgreSQL server, or a mapping below `|`, as in `{ image: postgres:16, max-age: 24h }`";

/// PostgreSQL's default port.
const DEFAULT_PORT: u16 = 5432;

/// The parsed input `rehearse`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ParsedRehearsal {
    pub(crate) place: ParsedCopyPlace,
    pub(crate) content: CopyContent,
    pub(crate) max_age: Duration,
}

/// The place of the copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ParsedCopyPlace {
    /// A server of the user's.
    Server(Box<DatabaseTarget>),
    /// A container of this image, or of the usual one.
    Container(Option<String>),
}

impl ParsedRehearsal {
    fn at(place: ParsedCopyPlace) -> Self {
        Self { place, content: CopyContent::Schema, max_age: RehearsalSettings::USUAL_MAX_AGE }
    }

    /// Returns the rehearsal of a run that names nothing about it: a copy without rows, in a container.
    pub(crate) fn usual() -> Self {
        Self::at(ParsedCopyPlace::Container(None))
    }
}

/// Parses the input. `label` names it in faults.
///
/// # Errors
/// All faults of the mapping, or the one of the URL.
pub(crate) fn parse_rehearse(text: &str, label: &str) -> Result<ParsedRehearsal, Vec<Fault>> {
    let text = text.trim();
    // A mapping has a space behind its first colon.
    if !text.contains(char::is_whitespace) && !text.starts_with('{') {
        let server = parse_server(text, label).map_err(|fault| vec![fault])?;
        return Ok(ParsedRehearsal::at(ParsedCopyPlace::Server(Box::new(server))));
    }
    match parse_yaml(text) {
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

/// Returns whether the input is a mapping without a URL, in which nothing is secret.
pub(crate) fn is_rehearsal_without_url(text: &str) -> bool {
    let without_url = |mapping: &Mapping| {
        mapping.keys().all(|key| key.as_str().is_some_and(|key| key != "url" && KEYS.contains(&key)))
    };
    matches!(parse_yaml(text.trim()), Ok(Value::Mapping(mapping)) if without_url(&mapping))
}

fn parse_yaml(text: &str) -> Result<Value, serde_yaml::Error> {
    serde_yaml::from_str(text).and_then(|mut value: Value| value.apply_merge().map(|()| value))
}

fn parse_mapping(mapping: &Mapping, label: &str) -> Result<ParsedRehearsal, Vec<Fault>> {
    let mut fields = MappingReader::new(mapping, label.to_owned(), None);
    fields.reject_unknown_keys(&KEYS);
    let max_age = fields.read_value("max-age", value::parse_positive_duration);
    let place = read_place(&mut fields, label);
    let content = read_content(&mut fields);
    match (place, fields.faults.is_empty()) {
        (Some(place), true) => {
            Ok(ParsedRehearsal { place, content, max_age: max_age.unwrap_or(RehearsalSettings::USUAL_MAX_AGE) })
        }
        _ => Err(fields.faults),
    }
}

fn read_place(fields: &mut MappingReader<'_>, label: &str) -> Option<ParsedCopyPlace> {
    let image = fields.read_value("image", parse_image_reference);
    if fields.value("url").is_none() {
        return Some(ParsedCopyPlace::Container(image));
    }
    if fields.has_value("image") {
        fields.add_invalid("`url` and `image` are two places for one copy", "remove one of them");
        return None;
    }
    let faults_before = fields.faults.len();
    match fields.read_text("url").map(|url| parse_server(&url, &format!("{label}: `url`"))) {
        Some(Ok(server)) => return Some(ParsedCopyPlace::Server(Box::new(server))),
        Some(Err(fault)) => fields.faults.push(fault),
        // A value that is no text has its own fault.
        None if fields.faults.len() > faults_before => {}
        None => {
            let fix = "set `url` to the URL of a PostgreSQL server in which a database can be created (a secret that does not exist is empty); \
                       or remove it, and the copy is made in a container";
            fields.add_invalid("`url` has no value", fix);
        }
    }
    None
}

fn read_content(fields: &mut MappingReader<'_>) -> CopyContent {
    let has_rows = fields.read_value("data", |text| value::parse_choice(text, &CONTENTS)).unwrap_or(false);
    if !has_rows {
        let idle = SAMPLE_KEYS.into_iter().find(|key| fields.has_key(key));
        if let Some(key) = idle.filter(|_| fields.faults.is_empty()) {
            fields.add_invalid(
                &format!("`{key}` has no effect: the copy gets no rows"),
                format!("set `data: sample`, or remove `{key}`"),
            );
        }
        return CopyContent::Schema;
    }
    CopyContent::Sample(SampleSettings {
        rows: fields.read_value("rows", parse_rows).unwrap_or(SampleSettings::USUAL_ROWS),
        tables: read_names(fields, "tables", parse_table_pattern),
        mask: read_names(fields, "mask", parse_column_pattern),
    })
}

fn parse_rows(text: &str) -> Result<u32, InvalidValue> {
    let rows = text.replace('_', "").parse().ok().filter(|rows| (1..=SampleSettings::MAX_ROWS).contains(rows));
    rows.ok_or_else(|| {
        let form = format!("a number from 1 to {}", SampleSettings::MAX_ROWS);
        InvalidValue::new("is not the number of rows that are copied of each table", form)
    })
}

/// Reads a list of names, or a text with names between commas.
fn read_names<T>(fields: &mut MappingReader<'_>, key: &str, parse: impl Fn(&str) -> Result<T, InvalidValue>) -> Vec<T> {
    let names: Vec<String> = match fields.value(key) {
        None | Some(Value::Null) => return Vec::new(),
        Some(Value::Sequence(list)) => {
            list.iter().map(|name| scalar_text(name).ok().flatten().unwrap_or_default().trim().to_owned()).collect()
        }
        Some(_) => {
            let text = fields.read_text(key).unwrap_or_default();
            text.split([',', '\n']).map(|name| name.trim().to_owned()).filter(|name| !name.is_empty()).collect()
        }
    };
    let mut parsed = Vec::new();
    for name in &names {
        match parse(name) {
            Ok(pattern) => parsed.push(pattern),
            Err(InvalidValue { cause, fix }) => {
                fields.add_invalid(&format!("`{key}` has `{name}`, which {cause}"), format!("write it as {fix}"));
            }
        }
    }
    parsed
}

/// Parses `table` or `schema.table`.
fn parse_table_pattern(text: &str) -> Result<TablePattern, InvalidValue> {
    let parts: Vec<&str> = text.split('.').collect();
    let (schema, table) = match parts.as_slice() {
        [table] => (None, *table),
        [schema, table] => (Some(*schema), *table),
        _ => (None, ""),
    };
    if table.is_empty() || schema.is_some_and(str::is_empty) {
        return Err(InvalidValue::new(
            "is not the name of a table",
            "a name as in `orders`, `shop.orders` or `auth_*`",
        ));
    }
    Ok(TablePattern { schema: schema.map(str::to_owned), table: table.to_owned() })
}

/// Parses `table.column` or `schema.table.column`.
fn parse_column_pattern(text: &str) -> Result<ColumnPattern, InvalidValue> {
    let invalid =
        || InvalidValue::new("is not the name of a column with its table", "a name as in `users.email` or `*.phone`");
    let (table, column) = text.rsplit_once('.').filter(|(_, column)| !column.is_empty()).ok_or_else(invalid)?;
    let table = parse_table_pattern(table).map_err(|_form| invalid())?;
    Ok(ColumnPattern { table, column: column.to_owned() })
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

    fn parse(text: &str) -> Result<ParsedRehearsal, Vec<Fault>> {
        parse_rehearse(&text.replace("URL", URL), "`rehearse`")
    }

    #[test]
    fn it_is_a_url_or_a_mapping() {
        for (text, hours) in
            [("URL", 24), (" URL\n", 24), ("{ url: URL, max-age: 1h }", 1), ("url: URL\nmax-age:\n", 24)]
        {
            let parsed = parse(text).unwrap_or_else(|faults| panic!("{text}: {faults:#?}"));
            let ParsedCopyPlace::Server(server) = parsed.place else { panic!("{text}: {:#?}", parsed.place) };
            let DatabaseTarget { host, port, user, name, .. } = *server;
            assert_eq!(
                (host.as_str(), port, user.as_str(), name.as_str()),
                ("copies.internal", 5432, "maker", "postgres")
            );
            assert_eq!(parsed.max_age, Duration::from_secs(hours * 3_600), "{text}");
        }
    }

    #[test]
    fn without_a_url_it_is_a_container() {
        for (text, image) in
            [("{}", None), ("{ max-age: 1h }", None), ("image: postgis/postgis:16-3.4", Some("postgis/postgis:16-3.4"))]
        {
            let parsed = parse(text).unwrap_or_else(|faults| panic!("{text}: {faults:#?}"));
            assert_eq!(parsed.place, ParsedCopyPlace::Container(image.map(str::to_owned)), "{text}");
            assert_eq!(parsed.content, CopyContent::Schema);
            assert!(is_rehearsal_without_url(text), "{text}");
        }
        for text in ["URL", "{ url: URL }", "{ url: , image: a }", "secret", "{ password: secret }", "[image]"] {
            assert!(!is_rehearsal_without_url(text), "{text}");
        }
    }

    #[test]
    fn a_sample_has_rows_tables_and_masks() {
        let sample = |text: &str| match parse(text).unwrap_or_else(|faults| panic!("{text}: {faults:#?}")).content {
            CopyContent::Sample(sample) => sample,
            CopyContent::Schema => panic!("{text}"),
        };
        let usual = sample("{ data: sample }");
        assert_eq!((usual.rows, usual.tables.len(), usual.mask.len()), (1_000, 0, 0));
        let named = sample("data: sample\nrows: 50\ntables: [orders, 'shop.*']\nmask: users.email, shop.*.phone");
        let shown = |patterns: &[TablePattern]| patterns.iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!((named.rows, shown(&named.tables)), (50, vec!["orders".to_owned(), "shop.*".to_owned()]));
        let mask: Vec<String> = named.mask.iter().map(ToString::to_string).collect();
        assert_eq!(mask, ["users.email", "shop.*.phone"]);
    }

    #[test]
    fn reports_faults_without_the_url() {
        for (text, cause, fix) in [
            ("canary", "`rehearse` has no `://`", "postgres://"),
            ("postgres://copies.internal/canary", "`rehearse` has no user", "postgres://user"),
            ("{ url: postgres://maker:canary@host }", "`url` has no database", "postgres://user"),
            ("{ url: 'URL?sslrootcert=/ca.pem' }", "`sslrootcert`", "postgres://user"),
            ("{ uri: URL, url: URL }", "there is no key `uri`", "did you mean `url`?"),
            ("{ url: , max-age: 1h }", "`url` has no value", "a secret that does not exist"),
            ("{ url: URL, image: postgres }", "two places for one copy", "remove one"),
            ("{ image: Postgres:16 }", "capital letters", "`postgres:16`"),
            ("{ data: all }", "`data`", "`none` or `sample`"),
            ("{ rows: 10 }", "`rows` has no effect", "`data: sample`"),
            ("{ data: sample, rows: 0 }", "not the number of rows", "from 1 to"),
            ("{ data: sample, mask: email }", "`mask` has `email`", "`users.email`"),
            ("{ data: sample, tables: [a.b.c] }", "`tables` has `a.b.c`", "`shop.orders`"),
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
