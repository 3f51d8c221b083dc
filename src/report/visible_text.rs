//! Untrusted text made printable: without control characters, and cut to a length.

/// A server's message must not move the cursor or retitle the terminal.
pub(super) fn replace_control(letter: char) -> char {
    if letter.is_control() && !matches!(letter, '\t' | '\n') { char::REPLACEMENT_CHARACTER } else { letter }
}

/// The beginning of a text that may be of any length, and a sign that there was more.
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
    fn clips_between_characters() {
        assert_eq!(clip_text("üüü", 2), "üü…");
        assert_eq!(clip_text("üü", 2), "üü");
    }
}
