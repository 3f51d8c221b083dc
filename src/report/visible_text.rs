//! Untrusted text made printable: without control characters, and cut to a length.

/// Replaces a control character: untrusted text must not move the cursor or change the terminal's title.
pub(super) fn replace_control(letter: char) -> char {
    if letter.is_control() && !matches!(letter, '\t' | '\n') { char::REPLACEMENT_CHARACTER } else { letter }
}

/// Cuts a text to a number of characters, and marks a cut with `…`.
pub(super) fn clip_text(text: &str, letters: usize) -> String {
    match text.char_indices().nth(letters) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cuts_between_characters() {
        assert_eq!(clip_text("üüü", 2), "üü…");
        assert_eq!(clip_text("üü", 2), "üü");
    }
}
