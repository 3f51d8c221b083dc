//! A quick look for words in a long text. It spares most texts a search among their tokens.

use aho_corasick::AhoCorasick;

/// Length in bytes of a text whose tokens are read as fast as the search is prepared.
const SHORT: usize = 4096;

/// Returns whether one of these words, in any case, may be in the text, be it within a comment or another word. It may be
/// in any text that is short.
pub(super) fn may_contain(text: &str, words: &[&str]) -> bool {
    text.len() <= SHORT
        || AhoCorasick::builder().ascii_case_insensitive(true).build(words).map_or(true, |search| search.is_match(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_found_in_any_case_and_anywhere() {
        let long = "select 1;\n".repeat(SHORT / 5);
        assert!(!may_contain(&long, &["reset", "discard"]));
        for word in ["reset", "DISCARD", "preSets", "-- reset"] {
            assert!(may_contain(&format!("{long}{word};{long}"), &["reset", "discard"]), "{word}");
        }
        assert!(may_contain("select 1", &["reset"]), "tokens of a short text are read in any case");
    }
}
