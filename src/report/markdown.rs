//! Foreign text in GitHub's Markdown.

use super::sink::visible;

/// The text as it is, wherever a line of Markdown may stand; line breaks become spaces.
pub(super) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '\n' | '\r' => escaped.push(' '),
            '\\' | '`' | '*' | '_' | '{' | '}' | '[' | ']' | '|' | '#' | '~' | '!' | '$' => {
                escaped.push('\\');
                escaped.push(letter);
            }
            _ => escaped.push(visible(letter)),
        }
    }
    escaped
}

/// A sentence in which backticks mark names: those become code, everything is escaped.
pub(super) fn prose(text: &str) -> String {
    if text.matches('`').count() % 2 == 1 {
        return escape(text);
    }
    let parts = text.split('`').enumerate();
    parts.map(|(at, part)| if at % 2 == 1 { code(part) } else { escape(part) }).collect()
}

/// A name. HTML, because a code span can't hold every text and breaks table cells.
pub(super) fn code(text: &str) -> String {
    format!("<code>{}</code>", escape(text))
}

/// Lines as they are, in a fence that is longer than any run of backticks inside.
pub(super) fn block(text: &str) -> String {
    let longest = text.split(|letter| letter != '`').map(str::len).max().unwrap_or(0);
    let fence = "`".repeat(longest.max(2) + 1);
    let text = text.replace("\r\n", "\n").replace('\r', "\n");
    let text: String = text.trim_end_matches('\n').chars().map(visible).collect();
    format!("{fence}text\n{text}\n{fence}\n")
}

/// The beginning of a text that may be of any length, and a sign that there was more.
pub(super) fn clipped(text: &str, letters: usize) -> String {
    match text.char_indices().nth(letters) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_a_hostile_text_is_markdown() {
        assert_eq!(escape("a|b `c` <img> *x* [y](z)\n# h"), r"a\|b \`c\` &lt;img&gt; \*x\* \[y\](z) \# h");
    }

    #[test]
    fn backticks_in_a_sentence_mark_names() {
        assert_eq!(prose("set `ssh_host` to <x>"), r"set <code>ssh\_host</code> to &lt;x&gt;");
        assert_eq!(prose("one ` alone"), r"one \` alone");
    }

    #[test]
    fn a_fence_is_longer_than_any_inside() {
        assert_eq!(block("a\n````\n"), "`````text\na\n````\n`````\n");
        assert_eq!(block("a"), "```text\na\n```\n");
    }

    #[test]
    fn clips_between_characters() {
        assert_eq!(clipped("üüü", 2), "üü…");
        assert_eq!(clipped("üü", 2), "üü");
    }
}
