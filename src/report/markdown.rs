//! Escaping of untrusted text for GitHub's Markdown.

use super::visible_text::replace_control;
use std::ops::RangeInclusive;

/// Inserted where GitHub would detect a link, to prevent it. Neither visible nor copied.
const LINK_BREAK: &str = "<!-- -->";

/// Numbers of hexadecimal digits that GitHub takes for a commit hash.
const COMMIT_HASH_LENGTHS: RangeInclusive<usize> = 7..=40;

/// The Markdown context of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum EscapeContext {
    Sentence,
    /// Mentions and issue references are inactive here, but URLs still become links.
    CodeSpan,
}

/// Escapes a text for use within a line of Markdown, so that it is shown literally; line breaks become spaces. It
/// mentions no user and contains no link: no URL, no address, no issue, no commit.
pub(super) fn escape_markdown(text: &str) -> String {
    escape_for(text, EscapeContext::Sentence)
}

fn escape_for(text: &str, around: EscapeContext) -> String {
    let mut escaped = String::with_capacity(text.len());
    let mut rest = text.chars();
    let mut before = ' ';
    let mut digits = 0;
    while let Some(letter) = rest.next() {
        let behind = rest.as_str();
        let refers = is_issue_number(before, letter) || splits_commit_hash(before, letter, behind, &mut digits);
        if completes_link(before, letter, behind) || (refers && around == EscapeContext::Sentence) {
            escaped.push_str(LINK_BREAK);
        }
        before = letter;
        match letter {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '\n' | '\r' => escaped.push(' '),
            '\\' | '`' | '*' | '_' | '{' | '}' | '[' | ']' | '|' | '#' | '~' | '!' | '$' => {
                escaped.push('\\');
                escaped.push(letter);
            }
            _ => escaped.push(replace_control(letter)),
        }
    }
    escaped
}

/// Returns whether this character starts an issue number, after `#` or `GH-`.
fn is_issue_number(before: char, letter: char) -> bool {
    matches!(before, '#' | '-') && letter.is_ascii_digit()
}

/// Returns whether a link has to be broken before this character: a name after `@`, the `:` after a URL's scheme, the
/// second letter of `www.`.
fn completes_link(before: char, letter: char, behind: &str) -> bool {
    match (before, letter) {
        ('@', _) => letter.is_alphanumeric() || letter == '_',
        (_, ':') => before.is_alphanumeric() && behind.starts_with("//"),
        ('w' | 'W', 'w' | 'W') => behind.get(..2).is_some_and(|behind| behind.eq_ignore_ascii_case("w.")),
        _ => false,
    }
}

/// Returns whether a possible commit hash has to be broken here. It is broken often enough that no part can be one.
fn splits_commit_hash(before: char, letter: char, behind: &str, digits: &mut usize) -> bool {
    let is_digit = |letter: char| letter.is_ascii_hexdigit();
    if !is_digit(letter) {
        *digits = 0;
        return false;
    }
    if *digits == 0 && !before.is_alphanumeric() {
        let length = 1 + behind.chars().take_while(|letter| is_digit(*letter)).count();
        let is_word = !behind.chars().nth(length - 1).is_some_and(|next| next.is_alphanumeric() || next == '_');
        *digits = if COMMIT_HASH_LENGTHS.contains(&length) && is_word { length } else { 0 };
        return false;
    }
    *digits = digits.saturating_sub(1);
    *digits > 0 && digits.is_multiple_of(COMMIT_HASH_LENGTHS.start() - 1)
}

/// Escapes a sentence in which backticks mark names; those become code.
pub(super) fn sentence_with_names(text: &str) -> String {
    if text.matches('`').count() % 2 == 1 {
        return escape_markdown(text);
    }
    let parts = text.split('`').enumerate();
    parts.map(|(at, part)| if at % 2 == 1 { code_html(part) } else { escape_markdown(part) }).collect()
}

/// Formats a name as code. HTML, because a code span can't contain every text and breaks table cells.
pub(super) fn code_html(text: &str) -> String {
    format!("<code>{}</code>", escape_for(text, EscapeContext::CodeSpan))
}

/// Formats lines literally, in a fence that is longer than any run of backticks inside.
pub(super) fn fenced_block(text: &str) -> String {
    fenced_code(text, "text")
}

/// Formats the lines of a diff literally, as [`fenced_block`] does.
pub(super) fn diff_block(text: &str) -> String {
    fenced_code(text, "diff")
}

/// Formats lines literally, highlighted as this language.
pub(super) fn fenced_code(text: &str, language: &str) -> String {
    let longest = text.split(|letter| letter != '`').map(str::len).max().unwrap_or(0);
    let fence = "`".repeat(longest.max(2) + 1);
    let text = text.replace("\r\n", "\n").replace('\r', "\n");
    let text: String = text.trim_end_matches('\n').chars().map(replace_control).collect();
    format!("{fence}{language}\n{text}\n{fence}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_untrusted_text_contains_no_active_markdown() {
        assert_eq!(escape_markdown("a|b `c` <img> *x* [y](z)\n# h"), r"a\|b \`c\` &lt;img&gt; \*x\* \[y\](z) \# h");
    }

    #[test]
    fn an_escaped_text_mentions_no_user_and_contains_no_link() {
        for (text, escaped) in [
            ("ask @octocat, @org/team", "ask @<!-- -->octocat, @<!-- -->org/team"),
            ("see #12, o/r#1, GH-3", r"see \#<!-- -->12, o/r\#<!-- -->1, GH-<!-- -->3"),
            ("https://a.example/?x=1", "https<!-- -->://a.example/?x=1"),
            ("WWW.a.example www.b.example", "W<!-- -->WW.a.example w<!-- -->ww.b.example"),
            ("mail to a@b.example", "mail to a@<!-- -->b.example"),
            ("a @ b: c # d - 1", r"a @ b: c \# d - 1"),
            ("deadbee is", "d<!-- -->eadbee is"),
            (
                "at 0123456789abcdef0123456789abcdef01234567.",
                "at 0123<!-- -->456789<!-- -->abcdef<!-- -->012345<!-- -->6789ab<!-- -->cdef01<!-- -->234567.",
            ),
            ("facade deadbeefs 123456", "facade deadbeefs 123456"),
        ] {
            assert_eq!(escape_markdown(text), escaped, "{text}");
        }
        assert_eq!(sentence_with_names("set `a@b` to https://x"), "set <code>a@<!-- -->b</code> to https<!-- -->://x");
    }

    #[test]
    fn backticks_in_a_sentence_mark_names() {
        assert_eq!(sentence_with_names("set `ssh_host` to <x>"), r"set <code>ssh\_host</code> to &lt;x&gt;");
        assert_eq!(sentence_with_names("one ` alone"), r"one \` alone");
    }

    #[test]
    fn a_fence_is_longer_than_any_inside() {
        assert_eq!(fenced_block("a\n````\n"), "`````text\na\n````\n`````\n");
        assert_eq!(fenced_block("a"), "```text\na\n```\n");
    }
}
