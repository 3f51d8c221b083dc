//! Search for leaked secrets in every encoding. Independent of the redactor, which is under test.

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD},
};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use std::collections::{BTreeMap, BTreeSet};

/// Length below which a line alone is not secret.
const SHORTEST: usize = 4;

/// Characters that JavaScript's `encodeURIComponent` does not escape.
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

/// Characters that Go does not escape in user and password.
const USER_INFO: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~')
    .remove(b'$')
    .remove(b'&')
    .remove(b'+')
    .remove(b',')
    .remove(b';')
    .remove(b'=');

/// Returns the form of the secret that the text contains; the secret itself before any other.
pub(crate) fn find_secret(text: &str, secret: &str) -> Option<String> {
    let itself = Some(secret.trim()).filter(|secret| !secret.is_empty()).map(str::to_owned);
    let forms: Vec<String> = itself.into_iter().chain(forms(secret)).collect();
    let is_letter = |form: &&String| form.len() < 2 && text.contains(form.as_str());
    let letter = forms.iter().find(is_letter).cloned();
    first_contained(text.as_bytes(), &forms).and_then(|first| forms.into_iter().nth(first)).or(letter)
}

/// Returns the index of the first form of two bytes or more that the text contains. All are looked for at once: a key has hundreds of them, and
/// a log may have megabytes.
fn first_contained(text: &[u8], forms: &[String]) -> Option<usize> {
    let mut by_begin: BTreeMap<&[u8], Vec<usize>> = BTreeMap::new();
    let mut begins = vec![false; 1 << 16];
    let number = |pair: &[u8]| pair.iter().fold(0, |number, byte| number << 8 | usize::from(*byte));
    for (index, form) in forms.iter().enumerate() {
        let Some(begin) = form.as_bytes().get(..2) else { continue };
        begins.get_mut(number(begin)).into_iter().for_each(|is_begin| *is_begin = true);
        by_begin.entry(begin).or_default().push(index);
    }
    let is_begin = |pair: &[u8]| begins.get(number(pair)).copied().unwrap_or_default();
    let candidates = text.windows(2).enumerate().filter(|(_, pair)| is_begin(pair));
    let contained = candidates.flat_map(|(at, pair)| {
        let is_here = move |index: &&usize| {
            let form = forms.get(**index).map(String::as_bytes).unwrap_or_default();
            text.get(at..).is_some_and(|rest| rest.starts_with(form))
        };
        by_begin.get(pair).into_iter().flatten().find(is_here)
    });
    contained.min().copied()
}

fn forms(secret: &str) -> BTreeSet<String> {
    let frame = |line: &&str| line.len() >= SHORTEST && !line.starts_with("-----");
    let mut values: Vec<&str> = secret.lines().map(str::trim).filter(frame).collect();
    values.push(secret.trim());
    values.retain(|value| !value.is_empty());
    values.into_iter().flat_map(encoded).collect()
}

fn encoded(value: &str) -> Vec<String> {
    let mut forms = escaped(value);
    // Escaped text is often escaped again: a traceback in JSON, a URL in HTML.
    forms.extend(forms.clone().iter().flat_map(|form| [json(form), percent(form, NON_ALPHANUMERIC), html(form)]));
    let bytes = value.bytes();
    forms.push(bytes.clone().map(|byte| format!("{byte:02x}")).collect());
    forms.push(bytes.map(|byte| format!("{byte:02X}")).collect());
    // In a longer base64 text the value begins at one of three offsets; its first and last groups of characters also
    // depend on its neighbours.
    for engine in [&STANDARD_NO_PAD, &URL_SAFE_NO_PAD] {
        let whole = engine.encode(value);
        forms.extend(whole.get(..whole.len() / 4 * 4).filter(|groups| groups.len() >= 8).map(str::to_owned));
        forms.push(whole);
        for before in ["x", "xx"] {
            let shifted = engine.encode(format!("{before}{value}"));
            let middle = shifted.get(4..shifted.len().saturating_sub(4)).filter(|middle| middle.len() >= 8);
            forms.extend(middle.map(str::to_owned));
        }
    }
    forms
}

/// Returns the value in the escapes of related programs: URLs, JSON, Python, JavaScript, shells, SQL, HTML.
fn escaped(value: &str) -> Vec<String> {
    let mut forms =
        vec![value.to_owned(), json(value), html(value), value.replace('\'', "''"), value.replace('"', "\"\"")];
    forms.extend([NON_ALPHANUMERIC, COMPONENT, USER_INFO].map(|set| percent(value, set)));
    // The percent escapes again, with their hexadecimal digits in lower case.
    forms.extend(forms.clone().iter().skip(5).map(|form| lowercase_escapes(form)));
    forms.push(percent(value, COMPONENT).replace("%20", "+"));
    forms.push(json(value).replace('/', "\\/"));
    forms.push(
        ['&', '<', '>', '\'']
            .iter()
            .fold(json(value), |text, sign| text.replace(*sign, &format!("\\u{:04x}", u32::from(*sign)))),
    );
    forms.push(value.encode_utf16().map(escape_unit).collect());
    let quoted = value.replace('\\', "\\\\");
    forms.extend([
        quoted.replace('\'', "\\'"),
        quoted.replace('"', "\\\""),
        format!("{value:?}").trim_matches('"').to_owned(),
    ]);
    forms.push(value.replace('\'', r"'\''"));
    forms.push(value.replace('\'', "'\"'\"'"));
    forms.push(
        quoted
            .bytes()
            .map(|byte| if byte.is_ascii() { char::from(byte).to_string() } else { format!("\\x{byte:02x}") })
            .collect(),
    );
    forms
}

fn json(value: &str) -> String {
    let json = serde_json::to_string(value).expect("a string is JSON");
    json.strip_prefix('"').and_then(|json| json.strip_suffix('"')).expect("JSON strings are quoted").to_owned()
}

fn percent(value: &str, set: &'static AsciiSet) -> String {
    utf8_percent_encode(value, set).to_string()
}

fn html(value: &str) -> String {
    let text = value.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    text.replace('"', "&quot;").replace('\'', "&#x27;")
}

/// Escapes one unit of UTF-16 as JSON allows.
fn escape_unit(unit: u16) -> String {
    match u8::try_from(unit) {
        Ok(letter @ (b'"' | b'\\')) => format!("\\{}", char::from(letter)),
        Ok(letter @ 0x20..0x7f) => char::from(letter).to_string(),
        _ => format!("\\u{unit:04x}"),
    }
}

/// Converts the digits of percent escapes to lower case.
fn lowercase_escapes(form: &str) -> String {
    let mut parts = form.split('%');
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| {
        let (digits, rest) = part.split_at_checked(2).unwrap_or((part, ""));
        format!("{text}%{}{rest}", digits.to_lowercase())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_a_secret_in_every_form() {
        let secret = "pa55 w\"rd/of@lab";
        let inside = |text: &str| STANDARD_NO_PAD.encode(text);
        for text in [
            format!("x{secret}y"),
            "pa55%20w%22rd%2Fof%40lab".to_owned(),
            "pa55%20w%22rd%2fof%40lab".to_owned(),
            r#"{"password":"pa55 w\"rd/of@lab"}"#.to_owned(),
            inside(secret),
            inside(&format!("u{secret}@host")),
            inside(&format!("us{secret}@host")),
            "pa55+w%22rd%2Fof%40lab".to_owned(),
            "pa55%2520w%2522rd%252Fof%2540lab".to_owned(),
            r#"pa55 w\\\"rd/of@lab"#.to_owned(),
            r#"pa55 w\"rd\/of@lab"#.to_owned(),
            "pa55 w&quot;rd/of@lab".to_owned(),
            "pa55 w\"\"rd/of@lab".to_owned(),
            secret.bytes().map(|byte| format!("{byte:02x}")).collect(),
        ] {
            assert!(find_secret(&text, secret).is_some(), "{text}");
        }
        assert_eq!(find_secret("pa55 word", secret), None);
        assert_eq!(find_secret("only x", "x").as_deref(), Some("x"));
        assert_eq!(find_secret("", secret), None);
    }

    #[test]
    fn finds_the_secret_itself_before_any_other_form_of_it() {
        let text = format!("{} and later {}", percent("two words", NON_ALPHANUMERIC), "two words");
        assert_eq!(find_secret(&text, "two words").as_deref(), Some("two words"));
    }

    #[test]
    fn finds_one_line_of_a_key_but_not_its_frame() {
        let key = "-----BEGIN KEY-----\nabcdefgh\nijkl\n=\n-----END KEY-----\n";
        assert_eq!(find_secret("see ijkl", key).as_deref(), Some("ijkl"));
        assert_eq!(find_secret("it must begin with -----BEGIN KEY-----", key), None);
    }
}
