//! Parses the tenants: names, a query, or a mapping with one of them.

use super::{
    mapping::{MappingReader, YamlOrigin, fault_about, scalar_text},
    value::{self, InvalidValue},
};
use crate::{
    fault::{Code, Fault},
    settings::{OnFailure, TenantSettings, TenantSource},
};
use serde_yaml::Value;

const KEYS: [&str; 5] = ["names", "query", "canary", "parallel", "on-failure"];

/// The number of sessions if the user names none.
const DEFAULT_PARALLEL: usize = 4;

/// The largest number of sessions: more would only take connections from the application.
const MAX_PARALLEL: usize = 64;

const ON_FAILURE: [(&str, OnFailure); 2] = [("stop", OnFailure::Stop), ("continue", OnFailure::Continue)];

/// The words with which a query that returns rows begins (PostgreSQL manual, SELECT and VALUES).
const QUERY_WORDS: [&str; 4] = ["select", "with", "values", "table"];

/// Reports whether this text is a query, which need not be valid YAML.
pub(crate) fn is_query(text: &str) -> bool {
    let text = text.trim_start();
    let mut words = text.split_whitespace();
    let first = words.next().unwrap_or_default().to_ascii_lowercase();
    let is_word = QUERY_WORDS
        .iter()
        .any(|word| first.strip_prefix(word).is_some_and(|rest| rest.is_empty() || rest.starts_with('(')));
    text.starts_with("--") || text.starts_with("/*") || text.starts_with('(') || (is_word && text.len() > first.len())
}

/// Parses the input.
pub(crate) fn parse_tenants(value: &Value, origin: &YamlOrigin, faults: &mut Vec<Fault>) -> Option<TenantSettings> {
    let position = origin.positions.first().cloned();
    let mut fields = match value {
        Value::Mapping(mapping) => MappingReader::new(mapping, origin.title.clone(), position),
        _ => {
            let source = parse_source(value, origin, faults)?;
            return Some(TenantSettings {
                source,
                canary: None,
                parallel: DEFAULT_PARALLEL,
                on_failure: OnFailure::Stop,
            });
        }
    };
    fields.reject_unknown_keys(&KEYS);
    let canary = fields.read_text("canary");
    let parallel = fields.read_value("parallel", parse_parallel).unwrap_or(DEFAULT_PARALLEL);
    let on_failure =
        fields.read_value("on-failure", |text| value::parse_choice(text, &ON_FAILURE)).unwrap_or(OnFailure::Stop);
    let source = match (fields.has_key("names"), fields.has_key("query")) {
        (false, true) => fields.read_text("query").map(TenantSource::Query),
        (true, false) => match value.get("names").map(read_names) {
            Some(Ok(names)) => Some(TenantSource::Names(names)),
            Some(Err(())) | None => {
                fields.add_invalid("`names` is not a list of schemas", "write it as in `names: [acme, globex]`");
                None
            }
        },
        (has_names, _) => {
            let cause =
                if has_names { "it has both `names` and `query`" } else { "it has neither `names` nor `query`" };
            fields.add_invalid(cause, "name the schemas in `names`, or give a query for them in `query`");
            None
        }
    };
    let MappingReader { faults: found, .. } = fields;
    let is_valid = found.is_empty();
    faults.extend(found);
    Some(TenantSettings { source: source.filter(|_| is_valid)?, canary, parallel, on_failure })
}

/// Parses the short form: a query, or names.
fn parse_source(value: &Value, origin: &YamlOrigin, faults: &mut Vec<Fault>) -> Option<TenantSource> {
    match value {
        Value::String(text) if is_query(text) => return Some(TenantSource::Query(text.trim().to_owned())),
        _ => {}
    }
    let names = read_names(value).ok().filter(|names| !names.is_empty());
    if names.is_none() {
        let fault = fault_about(
            Code::InputInvalid,
            &origin.title,
            origin.positions.first(),
            "it is neither a list of schemas, nor a query, nor a mapping",
        );
        faults.push(fault.fix("write it as `tenants: [acme, globex]`, or as `tenants: { query: SELECT … }`"));
    }
    names.map(TenantSource::Names)
}

/// Reads a list, or a text with names between commas or white space.
fn read_names(value: &Value) -> Result<Vec<String>, ()> {
    match value {
        Value::Sequence(list) => list.iter().map(|name| scalar_text(name).ok().flatten().ok_or(())).collect(),
        Value::String(text) => {
            let names = text.split(|letter: char| letter == ',' || letter.is_whitespace());
            Ok(names.filter(|name| !name.is_empty()).map(str::to_owned).collect())
        }
        _ => Err(()),
    }
}

fn parse_parallel(text: &str) -> Result<usize, InvalidValue> {
    match text.parse::<usize>() {
        Ok(number) if (1..=MAX_PARALLEL).contains(&number) => Ok(number),
        _ => Err(InvalidValue::new("is not a number of sessions", format!("a number from 1 to {MAX_PARALLEL}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse_text(text: &str) -> (Option<TenantSettings>, Vec<Fault>) {
        let origin = YamlOrigin { title: "`tenants`".to_owned(), positions: Vec::new() };
        let mut faults = Vec::new();
        (parse_tenants(&serde_yaml::from_str(text).unwrap(), &origin, &mut faults), faults)
    }

    fn names(names: &[&str]) -> TenantSource {
        TenantSource::Names(names.iter().map(|&name| name.to_owned()).collect())
    }

    #[test]
    fn tenants_are_names_or_a_query_or_a_mapping() {
        let plain = |source| TenantSettings { source, canary: None, parallel: 4, on_failure: OnFailure::Stop };
        let query = |text: &str| TenantSource::Query(text.to_owned());
        for (text, expected) in [
            ("[acme, \"The Shop\", a.b, 7]", plain(names(&["acme", "The Shop", "a.b", "7"]))),
            ("acme, globex", plain(names(&["acme", "globex"]))),
            ("acme\nglobex", plain(names(&["acme", "globex"]))),
            ("select", plain(names(&["select"]))),
            ("SELECT name FROM public.tenants", plain(query("SELECT name FROM public.tenants"))),
            ("values('a')", plain(names(&["values('a')"]))),
            ("{ query: TABLE tenants }", plain(query("TABLE tenants"))),
            (
                "{ names: a b, canary: b, parallel: 8, on-failure: continue }",
                TenantSettings {
                    source: names(&["a", "b"]),
                    canary: Some("b".to_owned()),
                    parallel: 8,
                    on_failure: OnFailure::Continue,
                },
            ),
        ] {
            assert_eq!(parse_text(text), (Some(expected), Vec::new()), "{text}");
        }
    }

    #[test]
    fn a_text_is_a_query_if_it_begins_like_one() {
        for text in [
            "select 1",
            " WITH x AS (…) SELECT",
            "values ('a')",
            "table t",
            "-- all\nselect 1",
            "(select 1)",
            "select('a') from t",
        ] {
            assert!(is_query(text), "{text}");
        }
        for text in ["", "acme", "select", "selected tenants", "[select, x]", "{ query: select 1 }"] {
            assert!(!is_query(text), "{text}");
        }
    }

    #[test]
    fn reports_faults_of_the_value() {
        for (text, cause) in [
            ("[]", "it is neither a list of schemas"),
            ("true", "it is neither a list of schemas"),
            ("[{}]", "it is neither a list of schemas"),
            ("{}", "neither `names` nor `query`"),
            ("{ names: [a], query: select 1 }", "both `names` and `query`"),
            ("{ names: {} }", "`names` is not a list of schemas"),
            ("{ names: [a], paralel: 3 }", "there is no key `paralel`"),
            ("{ names: [a], parallel: 0 }", "is not a number of sessions"),
            ("{ names: [a], parallel: 65 }", "is not a number of sessions"),
            ("{ names: [a], on-failure: ignore }", "`on-failure` is `ignore`"),
        ] {
            let (parsed, faults) = parse_text(text);
            assert!(parsed.is_none() && faults.len() == 1 && faults[0].cause.contains(cause), "{text}: {faults:#?}");
        }
    }
}
