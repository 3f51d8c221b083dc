//! Values that the runner masks in the rest of a job. Source: `SecretMasker.cs`, `ValueEncoders.cs`, `HostContext.cs`.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use std::collections::{BTreeMap, BTreeSet};

/// Characters that `Uri.EscapeDataString` does not escape.
const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// The masked values of one job, in every encoding of the runner.
#[derive(Debug, Clone, Default)]
pub(crate) struct Masker(BTreeSet<String>);

impl Masker {
    /// Creates a masker for a job's secrets: each one trimmed, and each line of it.
    pub(crate) fn with_secrets<'a>(secrets: impl IntoIterator<Item = &'a str>) -> Self {
        let mut masker = Self::default();
        for secret in secrets {
            masker.add(secret.trim());
            secret.split(['\r', '\n']).for_each(|line| masker.add(line.trim()));
        }
        masker
    }

    /// Masks the value from now on, however short it is.
    pub(crate) fn add(&mut self, value: &str) {
        self.0.extend(encodings(value).into_iter().filter(|encoding| !encoding.is_empty()));
    }

    /// Replaces every match; overlapping and adjacent ones become one.
    pub(crate) fn mask(&self, text: &str) -> String {
        let mut matches: Vec<(usize, usize)> =
            self.0.iter().flat_map(|value| starts(text, value).map(|start| (start, start + value.len()))).collect();
        matches.sort_unstable();
        let mut merged: Vec<(usize, usize)> = Vec::new();
        for (start, end) in matches {
            match merged.last_mut() {
                Some((_, last)) if start <= *last => *last = end.max(*last),
                _ => merged.push((start, end)),
            }
        }
        let mut masked = text.to_owned();
        merged.into_iter().rev().for_each(|(start, end)| masked.replace_range(start..end, "***"));
        masked
    }

    /// Returns the outputs that a job may pass to another job, and the names of those that are dropped because they
    /// "may contain secret".
    pub(crate) fn job_outputs(&self, outputs: &BTreeMap<String, String>) -> (BTreeMap<String, String>, Vec<String>) {
        let hidden = |value: &str| self.mask(value) != value;
        let (dropped, kept): (Vec<_>, Vec<_>) = outputs.clone().into_iter().partition(|(_, value)| hidden(value));
        (kept.into_iter().collect(), dropped.into_iter().map(|(name, _)| name).collect())
    }
}

/// Returns every position of the value, also inside another match.
fn starts<'a>(text: &'a str, value: &'a str) -> impl Iterator<Item = usize> + 'a {
    text.char_indices().map(|(at, _)| at).filter(move |at| text.split_at(*at).1.starts_with(value))
}

/// Returns the value as it is, and in every encoding.
pub(crate) fn encodings(value: &str) -> Vec<String> {
    let bytes = value.as_bytes();
    let base64 = |shift: usize| STANDARD.encode(bytes.get(shift..).filter(|rest| !rest.is_empty()).unwrap_or(bytes));
    let json = serde_json::to_string(value).expect("a string is JSON");
    vec![
        value.to_owned(),
        base64(0),
        base64(1),
        base64(2),
        value.replace('"', "\\\""),
        value.replace('\'', "''"),
        json.get(1..json.len() - 1).expect("JSON strings are quoted").to_owned(),
        utf8_percent_encode(value, UNRESERVED).to_string(),
        xml(value),
        unquoted(value),
        powershell(value).0,
        powershell(value).1,
    ]
}

fn xml(value: &str) -> String {
    let escapes = [('&', "&amp;"), ('<', "&lt;"), ('>', "&gt;"), ('"', "&quot;"), ('\'', "&apos;")];
    escapes.iter().fold(value.to_owned(), |text, (letter, escape)| text.replace(*letter, escape))
}

fn unquoted(value: &str) -> String {
    let inner = value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    inner.filter(|_| value.len() > 8).unwrap_or_default().to_owned()
}

/// Returns the two parts in which `PowerShell` shows a command with an ampersand, unless they are short.
fn powershell(value: &str) -> (String, String) {
    let split = value.find("&+").map(|at| at + 2).or_else(|| value.rfind('&').map(|at| at + 1));
    let part = |text: &str| if text.len() >= 6 { text.to_owned() } else { String::new() };
    let (before, after) = value.split_at(split.unwrap_or(0));
    if split.is_some() { (part(before), part(after)) } else { Default::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn masked(secret: &str, text: &str) -> String {
        Masker::with_secrets([secret]).mask(text)
    }

    /// Uses the vectors of the runner's own tests (`HostContextL0.cs`).
    #[test]
    fn masks_every_encoding() {
        assert_eq!(masked("password123", "password123"), "***");
        assert_eq!(masked("pass word 123!", "pass%20word%20123%21"), "***");
        assert_eq!(masked("pass<word>123!", "pass&lt;word&gt;123!"), "***");
        assert_eq!(masked("pass''word''123!", "pass''''word''''123!"), "***");
        assert_eq!(masked("pass\"word\"123!", "pass\\\"word\\\"123!"), "***");
        assert_eq!(masked("\"password123!!\"", "password123!!"), "***");
        assert_eq!(masked("\"short\"", "short"), "short");
        assert_eq!(masked("a&b", "a&amp;b"), "***");
        assert_eq!(masked("first&second", "first& and second"), "*** and ***");
        assert_eq!(masked("secret1&+secret2", "secret1&+ secret2"), "*** ***");
    }

    #[test]
    fn masks_base64_at_three_offsets() {
        let secret = "password123";
        let inside = |before: &str| STANDARD.encode(format!("{before}{secret}"));
        for text in [inside(""), inside("us"), inside("u")] {
            assert!(masked(secret, &text).contains("***"), "{text}");
        }
        assert_eq!(masked("multi\nline secret", &STANDARD.encode("multi\nline secret")), "***");
    }

    #[test]
    fn does_not_mask_other_encodings() {
        for text in ["Password123", "321drowssap", "70617373", "passwor", "password 123"] {
            assert_eq!(masked("password123", text), text);
        }
    }

    #[test]
    fn merges_matches_that_overlap_or_touch() {
        let masker = Masker::with_secrets(["abcd", "cdef", "gh"]);
        assert_eq!(masker.mask("xabcdefghx abcd gh"), "x***x *** ***");
        assert_eq!(Masker::with_secrets(["aa"]).mask("aaa b"), "*** b");
        assert_eq!(masked("5", "55 of 15"), "*** of 1***");
        assert_eq!(masked("geheimnis", "ü"), "ü");
    }

    #[test]
    fn masks_every_line_of_a_secret() {
        assert_eq!(masked("  one \r\n two\n", "one two, one \r\n two"), "*** ***, ***");
    }

    #[test]
    fn a_job_drops_outputs_that_contain_a_secret() {
        let outputs = [("count", "15"), ("name", "shop")].map(|(name, value)| (name.to_owned(), value.to_owned()));
        let (kept, dropped) = Masker::with_secrets(["5"]).job_outputs(&outputs.into());
        assert_eq!(
            (kept.into_keys().collect::<Vec<_>>(), dropped),
            (vec!["name".to_owned()], vec!["count".to_owned()])
        );
    }
}
