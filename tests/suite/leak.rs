//! Whether a secret has got out, in any form that it can take. Independent of the redactor: that is what is tested.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// Lines shorter than this are not secret by themselves.
const SHORTEST: usize = 4;

/// What JavaScript's `encodeURIComponent` leaves alone.
const COMPONENT: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'!')
    .remove(b'~')
    .remove(b'*')
    .remove(b'\'')
    .remove(b'(')
    .remove(b')');

/// The form of the secret that the text has in it.
pub(crate) fn found(text: &str, secret: &str) -> Option<String> {
    forms(secret).into_iter().find(|form| text.contains(form))
}

fn forms(secret: &str) -> Vec<String> {
    let frame = |line: &&str| line.len() >= SHORTEST && !line.starts_with("-----");
    let mut values: Vec<&str> = secret.lines().map(str::trim).filter(frame).collect();
    values.push(secret.trim());
    values.retain(|value| !value.is_empty());
    values.into_iter().flat_map(encoded).collect()
}

fn encoded(value: &str) -> Vec<String> {
    let json = serde_json::to_string(value).expect("a string is JSON");
    let percent = [NON_ALPHANUMERIC, COMPONENT].map(|set| utf8_percent_encode(value, set).to_string());
    let json = json.strip_prefix('"').and_then(|json| json.strip_suffix('"')).expect("JSON strings are quoted");
    let sql = value.replace('\'', "''");
    let mut forms = vec![value.to_owned(), json.to_owned(), sql, STANDARD.encode(value)];
    forms.extend(percent.iter().map(|form| form.to_lowercase()));
    forms.extend(percent);
    // Inside of a longer encoded text the value begins at any of three offsets; its first and last group of characters
    // mix with its neighbours.
    for before in ["x", "xx"] {
        let shifted = STANDARD.encode(format!("{before}{value}"));
        if let Some(middle) = shifted.get(4..shifted.len() - 4).filter(|middle| middle.len() >= 8) {
            forms.push(middle.to_owned());
        }
    }
    forms
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_a_secret_in_every_form() {
        let secret = "pa55 w\"rd/of@lab";
        let inside = |text: &str| STANDARD.encode(text);
        for text in [
            format!("x{secret}y"),
            "pa55%20w%22rd%2Fof%40lab".to_owned(),
            "pa55%20w%22rd%2fof%40lab".to_owned(),
            r#"{"password":"pa55 w\"rd/of@lab"}"#.to_owned(),
            inside(secret),
            inside(&format!("u{secret}@host")),
            inside(&format!("us{secret}@host")),
        ] {
            assert!(found(&text, secret).is_some(), "{text}");
        }
        assert_eq!(found("pa55 word", secret), None);
    }

    #[test]
    fn finds_one_line_of_a_key_but_not_its_frame() {
        let key = "-----BEGIN KEY-----\nabcdefgh\nijkl\n=\n-----END KEY-----\n";
        assert_eq!(found("see ijkl", key).as_deref(), Some("ijkl"));
        assert_eq!(found("it must begin with -----BEGIN KEY-----", key), None);
    }
}
