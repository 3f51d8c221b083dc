//! An error or a notice of the server, whose fields are cut to a readable length.

use super::error_fields::{ErrorFieldReader, FieldPart, SOURCE_FILE, end_fields, push_field};

/// Bytes kept of a field.
const MAX_FIELD: usize = 64 << 10;

/// Bytes kept of all fields.
const MAX_MESSAGE_BODY: usize = 256 << 10;

/// Bytes before the cut in which the end of a word is searched, so that no half of a word stays.
const MAX_WORD: usize = 4 << 10;

/// The part of the message that has come so far.
#[derive(Debug, Default)]
pub(super) struct ServerMessage {
    body: Vec<u8>,
    fields: ErrorFieldReader,
    /// The beginning of the current field.
    text: Vec<u8>,
    /// Bytes of the current field that were dropped.
    dropped: usize,
}

impl ServerMessage {
    /// Takes a piece of the message's body.
    pub(super) fn push_bytes(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        while let Some(part) = self.fields.next_part(&mut rest) {
            match part {
                FieldPart::Text(_, text) => self.append_text(text),
                FieldPart::TextEnd(kind, text) => {
                    self.append_text(text);
                    self.finish_field(kind);
                }
            }
        }
    }

    /// Returns the body to pass on: valid UTF-8, and of limited length.
    pub(super) fn into_body(self) -> Vec<u8> {
        self.finish_body(None)
    }

    /// Returns the body of a notice, with the migration in place of the source file of PostgreSQL, which is not needed.
    pub(super) fn into_notice_body(self, migration: Option<usize>) -> Vec<u8> {
        self.finish_body(Some(migration.map(|index| index.to_string()).unwrap_or_default()))
    }

    fn finish_body(mut self, file: Option<String>) -> Vec<u8> {
        if let Some(kind) = self.fields.open_field() {
            self.finish_field(kind);
        }
        // If a field comes twice, the driver keeps the last one.
        if let Some(file) = file {
            push_field(&mut self.body, SOURCE_FILE, file.as_bytes());
        }
        end_fields(&mut self.body);
        self.body
    }

    fn append_text(&mut self, text: &[u8]) {
        let (head, excess) = text.split_at(text.len().min(MAX_FIELD - self.text.len()));
        self.text.extend_from_slice(head);
        self.dropped += excess.len();
    }

    fn finish_field(&mut self, kind: u8) {
        let (mut text, mut dropped) = (std::mem::take(&mut self.text), std::mem::take(&mut self.dropped));
        if dropped > 0 {
            let end = end_of_word(&text);
            dropped += text.len() - end;
            text.truncate(end);
        }
        if self.body.len() + text.len() > MAX_MESSAGE_BODY {
            return;
        }
        let text = String::from_utf8_lossy(&text);
        let text = if dropped == 0 { text } else { format!("{text} … and {dropped} more bytes").into() };
        push_field(&mut self.body, kind, text.as_bytes());
    }
}

/// Returns the end of the last whole word, or else of the last whole character.
fn end_of_word(text: &[u8]) -> usize {
    let from = text.len().saturating_sub(MAX_WORD);
    let space = text.iter().rposition(u8::is_ascii_whitespace).filter(|space| *space >= from);
    space.unwrap_or_else(|| match std::str::from_utf8(text) {
        Err(error) if error.error_len().is_none() => error.valid_up_to(),
        _ => text.len(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(fields: &[(u8, &[u8])]) -> Vec<u8> {
        let mut body: Vec<u8> = fields.iter().flat_map(|(kind, text)| [&[*kind], *text, &[0]].concat()).collect();
        body.push(0);
        body
    }

    fn filtered_body<'a>(chunks: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
        let mut message = ServerMessage::default();
        chunks.into_iter().for_each(|chunk| message.push_bytes(chunk));
        message.into_body()
    }

    #[test]
    fn keeps_a_short_message_unchanged_for_any_split_of_the_bytes() {
        let body = fields(&[(b'S', b"ERROR"), (b'C', b"42P01"), (b'M', "kein größerer".as_bytes()), (b'H', b"")]);
        for cut in 0..=body.len() {
            let (first, second) = body.split_at(cut);
            assert_eq!(filtered_body([first, second]), body, "{cut}");
        }
    }

    #[test]
    fn replaces_invalid_bytes() {
        let body = fields(&[(b'M', b"Tabelle \xbbgr\xf6\xdfe\xab")]);
        assert_eq!(filtered_body([body.as_slice()]), fields(&[(b'M', "Tabelle �gr��e�".as_bytes())]));
    }

    #[test]
    fn keeps_the_beginning_of_a_long_field_and_counts_the_rest() {
        let long = "some words ".repeat(20_000);
        let body = fields(&[(b'M', long.as_bytes()), (b'C', b"00000")]);
        let text = String::from_utf8(filtered_body(body.chunks(1000))).unwrap();
        let (message, after) = text.split_once('\0').unwrap();
        let (beginning, count) = message.split_once(" … and ").unwrap();
        assert!(beginning.ends_with("words") || beginning.ends_with("some"));
        let count: usize = count.strip_suffix(" more bytes").unwrap().parse().unwrap();
        assert_eq!(beginning.len() - 1 + count, long.len());
        assert_eq!(after, "C00000\0\0");
    }

    #[test]
    fn does_not_cut_a_field_within_a_character() {
        let body = fields(&[(b'M', &[b"x".as_slice(), "ö".repeat(MAX_FIELD).as_bytes()].concat())]);
        assert!(!String::from_utf8(filtered_body([body.as_slice()])).unwrap().contains('\u{fffd}'));
    }

    #[test]
    fn a_notice_contains_its_migration() {
        let notice = |migration| {
            let mut message = ServerMessage::default();
            message.push_bytes(&fields(&[(b'M', b"x"), (b'F', b"9")]));
            message.into_notice_body(migration)
        };
        assert_eq!(notice(Some(7)), fields(&[(b'M', b"x"), (b'F', b"9"), (b'F', b"7")]));
        assert_eq!(notice(None), fields(&[(b'M', b"x"), (b'F', b"9"), (b'F', b"")]));
    }

    #[test]
    fn limits_the_length_of_all_fields() {
        let field = [b"W".as_slice(), &[b'x'; 1000], &[0]].concat();
        assert!(filtered_body(std::iter::repeat_n(field.as_slice(), 2000)).len() <= MAX_MESSAGE_BODY + 2000);
    }

    #[test]
    fn keeps_the_part_of_a_message_that_breaks_off() {
        assert_eq!(filtered_body([b"SERROR\0Mhal".as_slice()]), b"SERROR\0Mhal\0\0");
        assert_eq!(filtered_body([b"".as_slice()]), b"\0");
    }
}
