//! Properties of the redactor.

use crate::secret::{Redactor, Secret};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

/// Redacts a text that contains two secrets in several encodings: none is left, and redacting again changes nothing.
pub(super) fn check_redaction(one: &str, other: &str, pieces: &[String]) {
    // The replacement must not be a secret itself.
    if [one, other].iter().any(|secret| secret.contains('*') || secret.trim() != *secret) {
        return;
    }
    let secrets = [one, other].map(Secret::new);
    let written: Vec<String> = secrets.iter().filter(|secret| secret.can_be_hidden()).flat_map(spellings).collect();
    let mut text = String::new();
    for (piece, way) in pieces.iter().zip(written.iter().cycle().map(Some).chain([None])) {
        text.push_str(piece);
        text.push_str(way.map_or("", String::as_str));
    }
    let redactor = Redactor::new(&secrets);
    let redacted = redactor.redact(&text);
    for way in &written {
        assert!(!redacted.contains(way.as_str()), "{way:?} is left of {text:?}: {redacted:?}");
    }
    assert_eq!(redactor.redact(&redacted), redacted, "{text:?} redacted twice");
    assert_eq!(Redactor::new([]).redact(&text), text);
    assert!(written.is_empty() || pieces.is_empty() || redacted.contains("***"), "{text:?} has one");
}

fn spellings(secret: &Secret) -> Vec<String> {
    let plain = secret.expose();
    let json = serde_json::Value::from(plain).to_string();
    let inside = json.strip_prefix('"').and_then(|json| json.strip_suffix('"')).unwrap_or_default();
    vec![
        plain.to_owned(),
        utf8_percent_encode(plain, NON_ALPHANUMERIC).to_string(),
        inside.to_owned(),
        plain.replace('\'', "''"),
        STANDARD.encode(plain),
    ]
}
