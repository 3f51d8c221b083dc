//! One type for every secret, one redactor for every surface.

use aho_corasick::{AhoCorasick, AhoCorasickKind, MatchKind};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use std::{collections::BTreeSet, fmt};
use zeroize::Zeroizing;

/// A value that must not be seen: no `Display`, a blind `Debug`, wiped from memory on drop.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Takes over a value that must not be seen.
    #[must_use]
    pub fn new(value: impl Into<String>) -> Self {
        Self(Zeroizing::new(value.into()))
    }

    /// The value itself. The only way out; every caller is a place to review.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether it is long enough to be told from ordinary text. Hiding a shorter one would blot out the whole log, and what
    /// is left of the log would spell the secret.
    #[must_use]
    pub fn can_be_hidden(&self) -> bool {
        self.0.trim().chars().count() >= SHORTEST
    }

    /// Every form in which the value could turn up in foreign text: itself, trimmed, each line of it, percent-encoded,
    /// escaped for JSON, XML and a command line, as a literal of SQL, and in base64 at the three alignments that a longer
    /// text can put it in. None of the forms that the runner hides (`ValueEncoders.cs`) is missing: an output in which it
    /// finds one is dropped as a whole.
    #[must_use]
    pub fn forms(&self) -> Vec<String> {
        if !self.can_be_hidden() {
            return Vec::new();
        }
        let whole = self.0.as_str();
        let lines = whole.lines().map(str::trim).filter(|line| line.len() >= SHORTEST_LINE);
        let mut forms = BTreeSet::new();
        for value in [whole, whole.trim()].into_iter().chain(lines) {
            if value.trim().is_empty() {
                continue;
            }
            let percent = utf8_percent_encode(value, NON_ALPHANUMERIC).to_string();
            let lenient = utf8_percent_encode(value, URL_USERINFO).to_string();
            forms.insert(percent.to_lowercase());
            forms.insert(lenient.to_lowercase());
            forms.extend([percent, lenient, json_escaped(value), value.replace('\'', "''"), value.to_owned()]);
            forms.extend([xml_escaped(value), value.replace('"', "\\\"")]);
            forms.extend(unquoted(value).into_iter().chain(ampersand_parts(value)).map(ToOwned::to_owned));
            forms.extend(base64_alignments(value.as_bytes()));
        }
        forms.into_iter().collect()
    }
}

/// See [`Secret::can_be_hidden`].
const SHORTEST: usize = 3;

/// A line of a multi-line secret shorter than this is no secret of its own (the last, ragged line of a key may be `=`).
const SHORTEST_LINE: usize = 4;

/// What RFC 3986 lets stand unescaped in a URL's user-info.
const URL_USERINFO: &percent_encoding::AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~')
    .remove(b'!')
    .remove(b'$')
    .remove(b'\'')
    .remove(b'(')
    .remove(b')')
    .remove(b'*')
    .remove(b',')
    .remove(b';');

fn json_escaped(value: &str) -> String {
    let quoted = serde_json::Value::from(value).to_string();
    quoted.trim_matches('"').to_owned()
}

fn xml_escaped(value: &str) -> String {
    let escapes = [('&', "&amp;"), ('<', "&lt;"), ('>', "&gt;"), ('"', "&quot;"), ('\'', "&apos;")];
    escapes.iter().fold(value.to_owned(), |text, (letter, escape)| text.replace(*letter, escape))
}

/// The inside of a value that was saved with its quotes, unless it is short.
fn unquoted(value: &str) -> Option<&str> {
    let inside = value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    inside.filter(|_| value.len() > 8)
}

/// The parts before and behind an ampersand, which `PowerShell` shows one by one, unless they are short.
fn ampersand_parts(value: &str) -> impl Iterator<Item = &str> {
    let at = value.find("&+").map(|at| at + 2).or_else(|| value.rfind('&').map(|at| at + 1));
    let parts = at.and_then(|at| value.split_at_checked(at));
    parts.into_iter().flat_map(|(before, behind)| [before, behind]).filter(|part| part.len() >= 6)
}

/// Base64 of the value as it appears inside a longer encoded text: the bytes before it shift it by 0, 1 or 2, and the
/// characters that mix with its neighbours are left away.
fn base64_alignments(value: &[u8]) -> Vec<String> {
    let mut forms = vec![STANDARD.encode(value)];
    for shift in 0..3 {
        let rest = value.get((3 - shift) % 3..).unwrap_or_default();
        let whole = rest.get(..rest.len() / 3 * 3).unwrap_or_default();
        if whole.len() >= 6 {
            forms.push(STANDARD.encode(whole));
        }
    }
    forms
}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("***")
    }
}

/// Replaces every form of every secret by `***`. All that leaves the program passes through it.
#[derive(Clone, Default)]
pub struct Redactor(Option<AhoCorasick>);

impl Redactor {
    /// A redactor for these secrets.
    #[must_use]
    pub fn new<'a>(secrets: impl IntoIterator<Item = &'a Secret>) -> Self {
        let forms: BTreeSet<String> = secrets.into_iter().flat_map(Secret::forms).collect();
        if forms.is_empty() {
            return Self(None);
        }
        // The DFA that is chosen by itself takes minutes and gigabytes for a secret of 100 KiB.
        let kind = Some(AhoCorasickKind::ContiguousNFA);
        Self(AhoCorasick::builder().kind(kind).match_kind(MatchKind::Standard).build(forms).ok())
    }

    /// The text with every secret in it replaced; overlapping and touching hits become one `***`.
    #[must_use]
    pub fn redact(&self, text: &str) -> String {
        let Some(matcher) = &self.0 else { return text.to_owned() };
        let mut hits: Vec<(usize, usize)> =
            matcher.find_overlapping_iter(text).map(|hit| (hit.start(), hit.end())).collect();
        hits.sort_unstable();
        let mut redacted = String::with_capacity(text.len());
        let mut kept_to = 0;
        for (start, end) in hits {
            if start > kept_to || (start == 0 && kept_to == 0) {
                redacted.push_str(text.get(kept_to..start).unwrap_or_default());
                redacted.push_str("***");
            }
            kept_to = kept_to.max(end);
        }
        redacted.push_str(text.get(kept_to..).unwrap_or_default());
        redacted
    }
}

impl fmt::Debug for Redactor {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Redactor")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hides_a_secret_in_every_encoding() {
        let secret = Secret::new("p@ss w\"rd/ü:1");
        let redactor = Redactor::new([&secret]);
        let encoded = STANDARD.encode(b"user:p@ss w\"rd/\xc3\xbc:1@host");
        for text in [
            "plain p@ss w\"rd/ü:1 end".to_owned(),
            "url p%40ss%20w%22rd%2F%C3%BC%3A1 end".to_owned(),
            "url p%40ss%20w%22rd%2f%c3%bc%3a1 end".to_owned(),
            r#"json "p@ss w\"rd/ü:1" end"#.to_owned(),
            "xml p@ss w&quot;rd/ü:1 end".to_owned(),
        ] {
            let redacted = redactor.redact(&text);
            assert!(redacted.contains("***") && !redacted.contains("rd"), "{redacted}");
        }
        assert!(redactor.redact(&encoded).contains("***"), "{encoded}");
    }

    #[test]
    fn hides_the_parts_that_the_runner_hides() {
        let hidden = |secret: &str, text: &str| Redactor::new([&Secret::new(secret)]).redact(text);
        assert_eq!(hidden("\"quoted pass\"", "quoted pass"), "***");
        assert_eq!(hidden("\"short\"", "short"), "short");
        assert_eq!(hidden("first1&second", "first1& or second"), "*** or ***");
        assert_eq!(hidden("first1&+a&second", "first1&+ or a&second"), "*** or ***");
        assert_eq!(hidden("a&b", "a& or b"), "a& or b");
        assert_eq!(hidden(r#"back\sl"ash"#, r#"back\sl\"ash"#), "***");
    }

    #[test]
    fn hides_every_line_of_a_key() {
        let key = Secret::new("-----BEGIN KEY-----\nabcdefgh\nijklmnop\n-----END KEY-----\n");
        assert_eq!(Redactor::new([&key]).redact("x ijklmnop y"), "x *** y");
    }

    #[test]
    fn merges_touching_hits_and_keeps_the_rest() {
        let (a, b) = (Secret::new("alpha"), Secret::new("beta"));
        assert_eq!(Redactor::new([&a, &b]).redact("alphabeta, alpha!"), "***, ***!");
        assert_eq!(Redactor::new([]).redact("alpha"), "alpha");
    }

    #[test]
    fn leaves_the_text_readable_when_a_secret_is_too_short_to_hide() {
        let secret = Secret::new("a ");
        assert!(!secret.can_be_hidden() && Secret::new("abc").can_be_hidden());
        assert_eq!(Redactor::new([&secret]).redact("database a"), "database a");
    }

    #[test]
    fn debug_shows_nothing() {
        assert_eq!(format!("{:?}", Secret::new("alpha")), "***");
    }
}
