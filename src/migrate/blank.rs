//! Overwrites parts of a text that are not sent.

use crate::sql::Span;

/// Overwrites these spans with spaces. They are all ASCII, so the number of characters stays the same.
pub(super) fn blank_text(mut text: String, blanks: &[Span]) -> String {
    for span in blanks {
        text.replace_range(span.start..span.end, &" ".repeat(span.end - span.start));
    }
    text
}

/// Overwrites these spans with as many bytes of spaces, and keeps the ends of their lines.
pub(super) fn blank_lines(mut text: String, blanks: &[Span]) -> String {
    for span in blanks {
        let blank: String = span.slice_of(&text).bytes().map(|byte| if byte == b'\n' { '\n' } else { ' ' }).collect();
        text.replace_range(span.start..span.end, &blank);
    }
    text
}
