//! Rendering of a text within a limit that counts its redaction, too.

use crate::secret::Redactor;

/// Renders at most this many bytes, including the final redaction: `***` is at most three times as long as the text
/// that it hides.
pub(super) fn render_within(room: usize, redactor: &Redactor, render: impl Fn(usize) -> String) -> String {
    let redacted = |room: usize| redactor.redact(&render(room)).into_owned();
    let text = redacted(room);
    if text.len() <= room { text } else { redacted(room / 3) }
}
