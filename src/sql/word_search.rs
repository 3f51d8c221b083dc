//! A quick look for the letters of words in a text. It spares most texts a search among their tokens.

use aho_corasick::AhoCorasick;

/// Returns whether these letters, in any case, are somewhere in the text, be it within a comment or another word.
pub(super) fn contains_letters(text: &str, letters: &str) -> bool {
    text.as_bytes().windows(letters.len()).any(|part| part.eq_ignore_ascii_case(letters.as_bytes()))
}

/// Length in bytes of a text whose tokens are read as fast as the search is prepared.
const SHORT: usize = 4096;

/// Returns whether one of these words, in any case, may be in the text, be it within a comment or another word. In a
/// short text they always may.
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
        assert!(may_contain("select 1", &["reset"]), "the tokens of a short text are always read");
    }

    #[test]
    fn letters_are_found_in_any_case_and_anywhere() {
        assert!(contains_letters("/* PG_Sleep_for */", "pg_sleep"));
        assert!(!contains_letters("pg_slee", "pg_sleep") && !contains_letters("", "pg_sleep"));
    }
}
