//! Parses the input `notify`: the URL of a webhook, or a mapping. No fault repeats a part of it, because the URL is a
//! secret.

use super::mapping::{MappingReader, parse_error_lines, scalar_text};
use crate::{
    fault::{Code, Fault},
    input::names::nearest_candidate,
    settings::{MessageFormat, NotificationSettings, Occasion, Webhook},
};
use serde_yaml::{Mapping, Value};
use std::collections::BTreeSet;

const KEYS: [&str; 3] = ["url", "on", "format"];

const OCCASIONS: [Occasion; 4] = [Occasion::Blocked, Occasion::Failed, Occasion::InDoubt, Occasion::Succeeded];

const FORMATS: [(&str, MessageFormat); 4] = [
    ("json", MessageFormat::Json),
    ("slack", MessageFormat::Slack),
    ("teams", MessageFormat::Teams),
    ("discord", MessageFormat::Discord),
];

const FORM: &str = "write `notify: ${{ secrets.… }}` with the URL of a webhook, or the mapping `{ url: …, on: [failed], format: slack }` below `|`";

/// Parses the input. `label` names it in faults.
///
/// # Errors
/// All faults of the mapping, or the one of the URL.
pub(crate) fn parse_notify(text: &str, label: &str) -> Result<NotificationSettings, Vec<Fault>> {
    let text = text.trim();
    // A mapping has a space behind its first colon.
    if !text.contains(char::is_whitespace) && !text.starts_with('{') {
        return match Webhook::parse(text) {
            Ok(webhook) => Ok(with_usual_values(webhook)),
            Err((problem, fix)) => Err(vec![Fault::new(Code::InputInvalid, format!("{label} {problem}")).fix(fix)]),
        };
    }
    let parsed = serde_yaml::from_str(text).and_then(|mut value: Value| value.apply_merge().map(|()| value));
    match parsed {
        Ok(Value::Mapping(mapping)) => parse_mapping(&mapping, label),
        Ok(_) => {
            let cause = format!("{label} is neither the URL of a webhook nor a mapping");
            Err(vec![Fault::new(Code::InputInvalid, cause).fix(FORM)])
        }
        Err(error) => {
            let fault = Fault::new(Code::InputInvalid, format!("{label} is not valid YAML")).fix(FORM);
            Err(vec![parse_error_lines(&error).into_iter().fold(fault, Fault::detail)])
        }
    }
}

fn with_usual_values(webhook: Webhook) -> NotificationSettings {
    NotificationSettings { occasions: BTreeSet::from(Occasion::USUAL), format: webhook.usual_format(), webhook }
}

fn parse_mapping(mapping: &Mapping, label: &str) -> Result<NotificationSettings, Vec<Fault>> {
    let mut fields = MappingReader::new(mapping, label.to_owned(), None);
    fields.reject_unknown_keys(&KEYS);
    let webhook = read_webhook(&mut fields);
    let occasions = read_occasions(&mut fields, mapping.get("on"));
    let format = read_format(&mut fields);
    match (webhook, fields.faults.is_empty()) {
        (Some(webhook), true) => {
            let usual = with_usual_values(webhook);
            Ok(NotificationSettings {
                occasions: occasions.unwrap_or(usual.occasions),
                format: format.unwrap_or(usual.format),
                webhook: usual.webhook,
            })
        }
        _ => Err(fields.faults),
    }
}

fn read_webhook(fields: &mut MappingReader<'_>) -> Option<Webhook> {
    let is_plain = fields.faults.is_empty();
    match fields.read_text("url").as_deref().map(Webhook::parse) {
        Some(Ok(webhook)) => return Some(webhook),
        Some(Err((problem, fix))) => fields.add_invalid(&format!("`url` {problem}"), fix),
        // A value that is no text has its own fault.
        None if is_plain && !fields.faults.is_empty() => {}
        None => fields.add_invalid(
            "`url` has no value",
            "set `url` to the URL of a webhook, or remove `notify`; a secret that does not exist is empty",
        ),
    }
    None
}

/// Reads a list of occasions, or a text with their names between commas or white space; `None` if there is none, or a
/// fault.
fn read_occasions(fields: &mut MappingReader<'_>, value: Option<&Value>) -> Option<BTreeSet<Occasion>> {
    let names: Option<Vec<String>> = match value? {
        Value::Null => return None,
        Value::Sequence(list) => list.iter().map(|name| scalar_text(name).ok().flatten()).collect(),
        Value::String(text) => {
            let names = text.split(|letter: char| letter == ',' || letter.is_whitespace());
            Some(names.filter(|name| !name.is_empty()).map(str::to_owned).collect())
        }
        _ => None,
    };
    let fix = "write some of `blocked`, `failed`, `in-doubt` and `succeeded`, as in `on: [failed, in-doubt]`";
    let Some(names) = names.filter(|names| !names.is_empty()) else {
        fields.add_invalid("`on` is not a list of occasions", fix);
        return None;
    };
    let found: BTreeSet<Occasion> =
        OCCASIONS.into_iter().filter(|occasion| names.iter().any(|name| name == occasion.name())).collect();
    let unknown = names.iter().find(|name| OCCASIONS.iter().all(|occasion| occasion.name() != *name));
    if let Some(unknown) = unknown {
        let nearest = nearest_candidate(unknown, OCCASIONS.iter().map(|occasion| occasion.name()));
        let fix = nearest.map_or_else(|| fix.to_owned(), |name| format!("did you mean `{name}`?"));
        fields.add_invalid("`on` has a word that is no occasion", fix);
    }
    Some(found)
}

fn read_format(fields: &mut MappingReader<'_>) -> Option<MessageFormat> {
    let text = fields.read_text("format")?;
    let found = FORMATS.iter().find(|(name, _)| *name == text).map(|(_, format)| *format);
    if found.is_none() {
        fields.add_invalid("`format` is none that is known", "set `format` to `json`, `slack`, `teams` or `discord`");
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    const URL: &str = "https://hooks.slack.com/services/T0/B0/canary";

    fn parse(text: &str) -> Result<NotificationSettings, Vec<Fault>> {
        parse_notify(&text.replace("URL", URL), "`notify`")
    }

    #[test]
    fn it_is_a_url_or_a_mapping() {
        let usual = BTreeSet::from(Occasion::USUAL);
        for (text, occasions, format) in [
            ("URL", usual.clone(), MessageFormat::Slack),
            ("  URL\n", usual.clone(), MessageFormat::Slack),
            ("url: URL", usual.clone(), MessageFormat::Slack),
            ("{ url: URL, on: [failed], format: json }", BTreeSet::from([Occasion::Failed]), MessageFormat::Json),
            (
                "url: URL\non: succeeded, blocked",
                BTreeSet::from([Occasion::Blocked, Occasion::Succeeded]),
                MessageFormat::Slack,
            ),
            ("url: URL\non:\n  - in-doubt\nformat: teams\n", BTreeSet::from([Occasion::InDoubt]), MessageFormat::Teams),
            ("url: URL\non:\nformat:\n", usual, MessageFormat::Slack),
        ] {
            let parsed = parse(text).unwrap_or_else(|faults| panic!("{text}: {faults:#?}"));
            assert_eq!(parsed.webhook.url().expose(), URL, "{text}");
            assert_eq!((parsed.occasions, parsed.format), (occasions, format), "{text}");
        }
    }

    #[test]
    fn reports_faults_without_the_url() {
        for (text, cause, fix) in [
            ("canary", "is not a URL", "copy the whole URL"),
            ("http://chat.example.com/canary", "`http://`", "use `https://`"),
            ("{ url: http://chat.example.com/canary }", "`url` begins with `http://`", "use `https://`"),
            ("{ uri: URL, url: URL }", "there is no key `uri`", "did you mean `url`?"),
            ("{ on: [failed] }", "`url` has no value", "remove `notify`"),
            ("{ url: , on: [failed] }", "`url` has no value", "remove `notify`"),
            ("{ url: [URL] }", "`url` must be text", "single value"),
            ("{ url: URL, on: [] }", "`on` is not a list", "on: [failed"),
            ("{ url: URL, on: { a: b } }", "`on` is not a list", "on: [failed"),
            ("{ url: URL, on: [faild] }", "a word that is no occasion", "did you mean `failed`?"),
            ("{ url: URL, format: xml }", "`format` is none", "`discord`"),
            ("- URL", "neither the URL of a webhook nor a mapping", "secrets.…"),
            ("{ url: URL", "is not valid YAML", "secrets.…"),
        ] {
            let [fault] =
                <[Fault; 1]>::try_from(parse(text).unwrap_err()).unwrap_or_else(|all| panic!("{text}: {all:#?}"));
            assert!(fault.cause.contains(cause) && fault.fix.contains(fix), "{text}: {fault:#?}");
            assert!(!format!("{fault:?}").contains("canary"), "{text}: {fault:#?}");
        }
    }
}
