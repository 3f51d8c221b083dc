//! Finds secrets inside other texts: passwords in URLs, values of names that suggest a secret.

use super::{names::InputName, parse::is_rehearsal_without_url};
use crate::{postgres::DatabaseUrl, secret::Secret, ssh::hidden_forms};
use percent_encoding::percent_decode_str;
use std::collections::BTreeSet;

/// Words that mark a name as a secret's wherever they occur in it.
const SECRET_WORDS: &str = "SECRET PASSWORD PASSWD PASSPHRASE PASSCODE TOKEN KEY CREDENTIAL PRIVATE BEARER COOKIE SIGNATURE DSN _URL \
    CONNECTION_STRING CONNSTR";

/// Endings that mark a name, or a word in it, as a secret's: inside a word they mean something else (`PASSENGER`,
/// `AUTHOR`).
const SECRET_ENDINGS: &str = "PASS PWD AUTH CRED PSK PIN OTP SALT JWT SAS NETRC CONNINFO";

/// Values that describe a secret rather than being one.
const NOT_SECRET_VALUES: &str = "true false yes no on off none null undefined disabled enabled";

/// Longest user name in front of an `@`, in bytes: a longer one is taken for a token.
const MAX_USER_LENGTH: usize = 15;

/// Returns whether the value of a variable with this name should be hidden.
pub(super) fn names_a_secret(name: &str) -> bool {
    let name = name.to_uppercase().replace('-', "_");
    let has_secret_ending = |has_secret_ending: &str| {
        let has_secret_ending = has_secret_ending.trim_end_matches(|character: char| character.is_ascii_digit());
        let has_secret_ending = [has_secret_ending, has_secret_ending.strip_suffix('S').unwrap_or(has_secret_ending)];
        SECRET_ENDINGS
            .split_whitespace()
            .any(|ending| has_secret_ending.iter().any(|has_secret_ending| has_secret_ending.ends_with(ending)))
    };
    SECRET_WORDS.split_whitespace().any(|secret_word| name.contains(secret_word))
        || name.split('_').any(has_secret_ending)
}

/// Returns whether the value can be a secret: a shorter one can't be hidden.
pub(super) fn may_be_secret(value: &str) -> bool {
    let is_description = NOT_SECRET_VALUES.split_whitespace().any(|word| value.trim().eq_ignore_ascii_case(word));
    !is_description && Secret::new(value).can_be_hidden()
}

/// Returns the passwords of the URLs in a text, as written and decoded. If the end of a password is ambiguous, returns
/// all candidates.
pub(super) fn secrets_in_urls(text: &str) -> Vec<Secret> {
    let ends_url = |character: char| character.is_whitespace() || "\"'`<>".contains(character);
    let urls = text.split("://").skip(1).filter_map(|rest| rest.split(ends_url).next());
    urls.flat_map(secrets_in_url)
        .flat_map(|password| raw_and_decoded(password).into_iter().filter(|text| may_be_secret(text)))
        .map(Secret::new)
        .collect()
}

/// Returns the parts of a URL, after its `://`, that should be hidden.
fn secrets_in_url(rest: &str) -> Vec<&str> {
    let authority = rest.split(['/', '?', '#']).next().unwrap_or(rest);
    // A password may contain a `/` that is not encoded.
    let userinfos = [authority, rest].map(|part| part.rsplit_once('@').map(|(userinfo, _)| userinfo));
    let password = |userinfo: &'_ str| match userinfo.split_once(':') {
        Some((_, password)) => Some(password.len()),
        // A token in place of a user.
        None => Some(userinfo.len()).filter(|length| *length > MAX_USER_LENGTH && !userinfo.contains('/')),
    };
    let passwords = userinfos.into_iter().flatten().filter_map(|userinfo| {
        let length = password(userinfo)?;
        userinfo.get(userinfo.len() - length..)
    });
    let parameters = rest.split_once('?').map_or("", |(_, query)| query).split(['&', ';', '#']);
    let values = parameters.filter_map(|pair| pair.split_once('=')).filter(|(name, _)| names_a_secret(name));
    passwords.chain(values.map(|(_, value)| value)).collect()
}

fn raw_and_decoded(text: &str) -> [String; 2] {
    [text.to_owned(), percent_decode_str(text).decode_utf8_lossy().into_owned()]
}

/// Returns the secrets in the value of an input that is one.
pub(super) fn secrets_of(name: InputName, value: &str) -> Vec<Secret> {
    match name {
        InputName::Notify => secrets_in_webhook(value),
        InputName::SshPrivateKey => {
            let key = Secret::new(value);
            hidden_forms(&key).into_iter().chain([key]).collect()
        }
        InputName::Rehearse if is_rehearsal_without_url(value) => Vec::new(),
        InputName::Rehearse => secrets_in_server_url(value),
        _ => vec![Secret::new(value)],
    }
}

/// Returns the secrets in the URL of a server, which is a text or in a mapping: the URL as a whole and its passwords. A text
/// without a URL is a secret itself.
fn secrets_in_server_url(text: &str) -> Vec<Secret> {
    let words = text.split(|letter: char| letter.is_whitespace() || "\"'<>".contains(letter));
    let urls = words.filter(|word| word.contains("://")).map(|word| word.trim_end_matches([',', '}', ']']));
    let whole = urls.flat_map(|url| {
        let url = Secret::new(url);
        let passwords = DatabaseUrl::possible_passwords(&url);
        std::iter::once(url).chain(passwords)
    });
    let secrets: Vec<Secret> = whole.collect();
    if secrets.is_empty() { vec![Secret::new(text)] } else { secrets }
}

/// Length of the shortest part of a webhook's URL that is a secret of its own, in bytes: shorter ones are words of the
/// path, or the number of a channel.
const MIN_WEBHOOK_PART: usize = 16;

/// Returns the secrets in a webhook, which is a URL or a mapping with one: each URL as a whole, what follows its host,
/// and each long part of that, as written and decoded. A text without a URL is a secret itself.
fn secrets_in_webhook(text: &str) -> Vec<Secret> {
    let words = text.split(|letter: char| letter.is_whitespace() || "\"'<>".contains(letter));
    let urls = words.filter(|word| word.contains("://")).map(|word| word.trim_end_matches([',', '}', ']']));
    let secrets: Vec<Secret> = urls.flat_map(webhook_parts).map(Secret::new).collect();
    if secrets.is_empty() { vec![Secret::new(text)] } else { secrets }
}

fn webhook_parts(url: &str) -> BTreeSet<String> {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let behind_host = rest.split_once('/').map_or("", |(_, path)| path);
    let parts = behind_host.split(['/', '?', '&', '=', '#', ';']).chain([behind_host]);
    let long = parts.filter(|part| part.len() >= MIN_WEBHOOK_PART).flat_map(raw_and_decoded);
    std::iter::once(url.to_owned()).chain(long).collect()
}

/// Returns the values that a command line assigns to names that suggest a secret, as in `PGPASSWORD=… psql` and
/// `--token=…`. A value that a shell still has to expand is not known.
pub(super) fn secrets_in_commands(text: &str) -> Vec<Secret> {
    let is_name = |character: char| character.is_ascii_alphanumeric() || "_-".contains(character);
    let values = text.match_indices('=').filter_map(|(index, _)| {
        let (before, after) = (text.get(..index)?, text.get(index + 1..)?);
        let name = before.rsplit(|character| !is_name(character)).next().filter(|name| names_a_secret(name))?;
        let value = match after.chars().next()? {
            quote @ ('"' | '\'') => after.get(1..)?.split(quote).next()?,
            _ => after
                .split(|character: char| character.is_whitespace() || ";|&\"'`()<>\\,]}".contains(character))
                .next()?,
        };
        (!name.is_empty() && !value.contains(['$', '`'])).then_some(value)
    });
    values.filter(|value| may_be_secret(value)).map(Secret::new).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exposed(secrets: &[Secret]) -> Vec<&str> {
        secrets.iter().map(Secret::expose).collect()
    }

    #[test]
    fn a_name_reveals_whether_its_value_is_a_secret() {
        for name in [
            "DB_PASS",
            "PGPASS",
            "PGPASSWORD",
            "AUTH",
            "PASSPHRASE",
            "MYSQL_PWD",
            "API_KEYS",
            "TOKEN_2",
            "db-pass",
            "OAUTH",
            "PROXY_AUTH",
            "SERVICE_CREDENTIALS",
            "DB_PASS2",
            "REDIS_URL",
            "AZURE_SAS",
            "dbPass",
            "CREDS",
            "SENTRY_DSN",
        ] {
            assert!(names_a_secret(name), "{name}");
        }
        for name in
            ["PASSENGER_APP_ENV", "AUTHOR", "DJANGO_SETTINGS_MODULE", "LANG", "DEBUG", "COMPASSION", "SPINNER", "PATH"]
        {
            assert!(!names_a_secret(name), "{name}");
        }
        assert!(!may_be_secret("True") && !may_be_secret("ab") && may_be_secret("abc"));
    }

    #[test]
    fn finds_a_password_in_a_url_in_every_notation() {
        for (text, expected) in [
            ("redis://:hunter2@cache:6379/0", &["hunter2"][..]),
            ("amqp://app:p%40ss@mq/vhost", &["p%40ss", "p@ss"]),
            ("smtp://u:a/b@c@mail", &["a/b@c"]),
            ("git clone 'https://x:ghp_abc@github.com/o/r' && x", &["ghp_abc"]),
            ("https://ghp_0123456789abcdef@github.com/o/r", &["ghp_0123456789abcdef"]),
            ("postgres://app@db/x?sslmode=require&password=hunter2", &["hunter2"]),
            ("one redis://:first@a, two redis://:second@b", &["first", "second"]),
        ] {
            let found = secrets_in_urls(text);
            let mut found = exposed(&found);
            found.dedup();
            assert!(expected.iter().all(|secret| found.contains(secret)), "{text}: {found:?}");
        }
        for text in ["postgres://app@db/x", "git@github.com:o/r", "http://h:8080/x", "a://u:x@h", "https://h/a@b"] {
            assert_eq!(exposed(&secrets_in_urls(text)), [""; 0], "{text}");
        }
    }

    #[test]
    fn a_webhook_is_secret_in_its_parts() {
        let url = "https://hooks.slack.com/services/T0123/B0123/0123456789abcdefghijklmn";
        let expected = [url, "services/T0123/B0123/0123456789abcdefghijklmn", "0123456789abcdefghijklmn"];
        for text in [url.to_owned(), format!("{{ url: {url}, on: [failed] }}"), format!("url: '{url}'\nformat: json")] {
            let found = secrets_in_webhook(&text);
            let found = exposed(&found);
            assert!(expected.iter().all(|part| found.contains(part)), "{text}: {found:?}");
            assert!(found.iter().all(|part| !part.contains("format") && part.len() > 15), "{text}: {found:?}");
        }
        let signed = secrets_in_webhook("https://x.logic.azure.com:443/workflows/a?sp=run&sig=0123456789abcd%2Bfg");
        assert!(exposed(&signed).contains(&"0123456789abcd+fg"), "{:?}", exposed(&signed));
        assert_eq!(exposed(&secrets_in_webhook("0123")), ["0123"]);
    }

    #[test]
    fn finds_values_that_a_command_assigns_to_a_secrets_name() {
        let text = "PGPASSWORD=hunter2 psql; export API_TOKEN='two words' X=1\nrun --auth=\"a'b\" DB_PASS=$PASS KEY_FILE=`id` AUTH=on";
        assert_eq!(exposed(&secrets_in_commands(text)), ["hunter2", "two words", "a'b"]);
        assert_eq!(exposed(&secrets_in_commands("a == b; TOKEN=; =x; PASSENGER=many")), [""; 0]);
    }
}
