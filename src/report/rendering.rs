//! Rendering of a text within a limit that counts its redaction, too.

use crate::secret::Redactor;

/// Renders at most this many bytes, including the final redaction: `***` is at most three times as long as the text
/// that it hides.
pub(super) fn render_within(room: usize, redactor: &Redactor, render: impl Fn(usize) -> String) -> String {
    let text = redactor.redact(&render(room));
    if text.len() <= room { text } else { redactor.redact(&render(room / 3)) }
}
