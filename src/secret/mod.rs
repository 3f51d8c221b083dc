//! One type for every secret, and one redactor for all output.
//!
//! A secret can appear in more forms than anyone can list: escaped for a URL, for JSON, for HTML, by the quoting of
//! some language, by several of these at once, and in base64 and the like. So the redactor looks for no such form, but
//! for the secret itself in every possible decoding of the text: `prefilter` finds out whether there is anything to
//! decode, `escapes` decodes escapes, `base_encodings` base64 and the like, `search` searches all decodings at once,
//! and each hit is hidden where it stands in the text.

mod base_encodings;
mod byte_classes;
mod decoded_bytes;
mod decoded_text;
#[cfg(test)]
mod encoders;
mod entities;
mod escape_signs;
mod escapes;
mod hidden_secrets;
mod needles;
mod prefilter;
mod search;
mod secret_search;
mod skim;
#[cfg(test)]
mod tests;
mod value;

pub use value::Secret;

use hidden_secrets::HiddenSecrets;
use secret_search::MAX_DEPTH;
use std::{
    borrow::Cow,
    fmt,
    ops::{Range, RangeInclusive},
};

/// Size of one window, in bytes. A longer text is searched window by window, because the search needs more memory than
/// the text.
const WINDOW_SIZE: usize = 64 << 10;

/// Bounds of the length of an encoded secret, in bytes.
const ENCODED_LENGTHS: RangeInclusive<usize> = 4 << 10..=1 << 20;

/// Factor by which encoding may lengthen a secret: hexadecimal entities, percent-encoded.
const MAX_EXPANSION: usize = 16;

/// Replaces every secret by `***`, however it is encoded. All output passes through it, and is truncated only
/// afterwards. Clones share their secrets, of which there may be more in the course of a run.
#[derive(Clone, Default)]
pub struct Redactor(HiddenSecrets);

impl Redactor {
    /// Creates a redactor for these secrets.
    #[must_use]
    pub fn new<'a>(secrets: impl IntoIterator<Item = &'a Secret>) -> Self {
        Self(HiddenSecrets::new(secrets))
    }

    /// Hides this secret, too, from now on. It is obtained in the course of the run and lives for minutes, so only the
    /// last hundreds of such secrets are kept.
    pub fn hide(&self, secret: &Secret) {
        self.0.add(secret);
    }

    /// Returns the secrets that were added since the last call, for the runner to mask.
    #[must_use]
    pub fn take_added(&self) -> Vec<Secret> {
        self.0.take_added()
    }

    /// Returns the text with every secret replaced; overlapping and adjacent hits become one `***`.
    #[must_use]
    pub fn redact<'t>(&self, text: &'t str) -> Cow<'t, str> {
        // Most texts. The others are scanned, which takes far longer than a second look.
        if self.0.search().is_none_or(|search| text.len() <= WINDOW_SIZE && search.is_free(text.as_bytes())) {
            return Cow::Borrowed(text);
        }
        self.redact_with_position(text, 0).0
    }

    /// Redacts the text, and returns the new position of the byte at `position`.
    #[must_use]
    pub fn redact_with_position<'t>(&self, text: &'t str, position: usize) -> (Cow<'t, str>, usize) {
        let hits = self.find_secrets(text.as_bytes());
        if hits.is_empty() {
            return (Cow::Borrowed(text), position);
        }
        let (mut redacted, mut moved, mut copied_to) = (String::new(), None, 0);
        for hit in hits {
            let (start, end) = (text.floor_char_boundary(hit.start), text.ceil_char_boundary(hit.end));
            if position < end && moved.is_none() {
                moved = Some(redacted.len() + position.min(start) - copied_to);
            }
            redacted.push_str(text.get(copied_to..start).unwrap_or_default());
            redacted.push_str("***");
            copied_to = end;
        }
        let moved = moved.unwrap_or_else(|| redacted.len() + position.saturating_sub(copied_to));
        redacted.push_str(text.get(copied_to..).unwrap_or_default());
        (Cow::Owned(redacted), moved)
    }

    /// Redacts the beginning of a text that continues. Returns it with the number of bytes that it covers:
    /// `length` or a few more, so that it does not end within a secret. No secret is missed if at least
    /// [`Self::longest_encoded`] bytes follow.
    #[must_use]
    pub fn redact_prefix(&self, text: &[u8], length: usize) -> (String, usize) {
        let hits = self.find_secrets(text);
        let is_middle = |end: &usize| text.get(*end).is_some_and(|byte| (0x80..0xc0).contains(byte));
        let end = (length..text.len()).find(|end| !is_middle(end)).unwrap_or(text.len());
        let end = hits.iter().find(|hit| hit.start < end && hit.end > end).map_or(end, |hit| hit.end);
        let (mut redacted, mut copied_to) = (String::new(), 0);
        for hit in hits.iter().filter(|hit| hit.end <= end).chain([&(end..end)]) {
            redacted.push_str(&String::from_utf8_lossy(text.get(copied_to..hit.start).unwrap_or_default()));
            redacted.push_str(if hit.is_empty() { "" } else { "***" });
            copied_to = hit.end;
        }
        (redacted, end)
    }

    /// Returns the greatest length, in bytes, of an encoded secret.
    #[must_use]
    pub fn longest_encoded(&self) -> usize {
        self.0.search().map_or(0, |search| {
            let longest = search.needles.longest * MAX_EXPANSION;
            longest.clamp(*ENCODED_LENGTHS.start(), *ENCODED_LENGTHS.end())
        })
    }

    /// Returns the ranges of secrets, in order; no two of them touch.
    fn find_secrets(&self, text: &[u8]) -> Vec<Range<usize>> {
        let Some(search) = self.0.search() else { return Vec::new() };
        let mut found = Vec::new();
        for start in (0..text.len()).step_by(WINDOW_SIZE) {
            let end = text.len().min(start + WINDOW_SIZE + self.longest_encoded());
            let window = search.find_in_text(text.get(start..end).unwrap_or_default(), MAX_DEPTH);
            found.extend(window.into_iter().map(|hit| hit.start + start..hit.end + start));
        }
        merge_ranges(found)
    }
}

fn merge_ranges(mut ranges: Vec<Range<usize>>) -> Vec<Range<usize>> {
    ranges.sort_unstable_by_key(|hit| (hit.start, hit.end));
    let mut hits: Vec<Range<usize>> = Vec::new();
    for hit in ranges {
        match hits.last_mut().filter(|last| last.end >= hit.start) {
            Some(last) => last.end = last.end.max(hit.end),
            None => hits.push(hit),
        }
    }
    hits
}

impl fmt::Debug for Redactor {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Redactor")
    }
}
