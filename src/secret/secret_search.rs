//! The search for the secrets of a redactor in one text.

use super::{
    base_encodings,
    decoded_text::DecodedText,
    entities::Entities,
    escapes::Decodings,
    needles::Needles,
    prefilter::{Prefilter, PrefilterResult},
    search,
    skim::Skim,
    value::Secret,
};
use std::{
    ops::Range,
    sync::{Arc, OnceLock},
};

/// Number of nested levels that are decoded, of base encodings and of escapes each.
pub(super) const MAX_DEPTH: usize = 3;

/// The means of the search.
pub(super) struct SecretSearch {
    pub(super) needles: Needles,
    /// Parsed when a text first needs them.
    entities: OnceLock<Entities>,
    skim: Skim,
    pub(super) prefilter: Prefilter,
}

impl SecretSearch {
    /// Prepares the search; none without a secret.
    pub(super) fn new<'a>(secrets: impl IntoIterator<Item = &'a Secret>) -> Option<Arc<Self>> {
        let needles = Needles::from_secrets(secrets)?;
        let prefilter = Prefilter::new(&needles);
        let skim = Skim::new(&needles, prefilter.limits(&needles));
        Some(Arc::new(Self { needles, entities: OnceLock::new(), skim, prefilter }))
    }

    /// Returns whether a first look finds nothing that could be a secret.
    pub(super) fn is_free(&self, text: &[u8]) -> bool {
        self.skim.is_free(&self.needles, &self.prefilter, text)
    }

    /// Returns the ranges of secrets in the text, decoded to this depth.
    pub(super) fn find_in_text(&self, text: &[u8], depth: usize) -> Vec<Range<usize>> {
        if self.is_free(text) {
            return Vec::new();
        }
        let signs = self.prefilter.scan_text(&self.needles, text);
        let mut found = if signs.plain { self.needles.find_unescaped(text) } else { Vec::new() };
        if let Some(depth) = depth.checked_sub(1) {
            found.extend(self.find_in_plain_digits(text, signs, depth));
        }
        if signs.escapes {
            let mut decodings = self.decodings_of(text);
            if let Some(depth) = depth.checked_sub(1) {
                found.extend(self.find_in_escaped_digits(decodings.unescape(), depth));
            }
            decodings.add_nested(MAX_DEPTH - 1);
            found.extend(search::find_escaped(text, &self.needles, &decodings));
        }
        found
    }

    /// Finds secrets in base encodings that were escaped; `unescaped` is the text without its outermost escapes.
    fn find_in_escaped_digits(&self, unescaped: DecodedText, depth: usize) -> Vec<Range<usize>> {
        let (mut layer, mut found) = (unescaped, Vec::new());
        for _ in 0..MAX_DEPTH {
            let signs = self.prefilter.scan_text(&self.needles, layer.bytes());
            let inner_hits = self.find_in_plain_digits(layer.bytes(), signs, depth);
            found.extend(inner_hits.iter().filter_map(|hit| layer.source_of(hit)));
            if !signs.escapes {
                break;
            }
            layer = self.decodings_of(layer.bytes()).unescape().within(&layer);
        }
        found
    }

    fn decodings_of<'t>(&'t self, text: &'t [u8]) -> Decodings<'t> {
        let first = |letter: char| letter.encode_utf8(&mut [0; 4]).bytes().next().unwrap_or_default();
        let matters = |letter: char| letter.is_ascii() || self.needles.has_byte(first(letter));
        Decodings::from_text(text, &self.needles, self.entities.get_or_init(|| Entities::matching(matters)))
    }

    fn find_in_plain_digits(&self, text: &[u8], signs: PrefilterResult, depth: usize) -> Vec<Range<usize>> {
        if !signs.digits {
            return Vec::new();
        }
        let decoded =
            [base_encodings::decode_rows(text, &self.needles), base_encodings::decode_hex_pairs(text, &self.needles)];
        let hits = |decoded: DecodedText| {
            let hits = self.find_in_text(decoded.bytes(), depth);
            hits.iter().filter_map(|hit| decoded.source_of(hit)).collect::<Vec<_>>()
        };
        decoded.into_iter().flatten().flat_map(hits).collect()
    }
}
