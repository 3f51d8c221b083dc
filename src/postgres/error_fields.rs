//! Fields of an `ErrorResponse` or a `NoticeResponse` (PostgreSQL manual, 55.7 and 55.8): each a type and a text, up to a
//! NUL in place of a type. They are read from pieces of any size, and nothing of them is kept.

use super::wire_format::{push_c_string, split_c_string};

// Without the types that nothing here reads or writes.
pub(crate) const DETAIL: u8 = b'D';
pub(crate) const HINT: u8 = b'H';
pub(crate) const MESSAGE: u8 = b'M';
pub(crate) const SEVERITY: u8 = b'S';
pub(crate) const SEVERITY_NOT_LOCALIZED: u8 = b'V';
pub(crate) const SOURCE_FILE: u8 = b'F';
pub(crate) const SQLSTATE: u8 = b'C';

/// The position within the fields of one message.
#[derive(Debug, Default)]
pub(crate) struct ErrorFieldReader {
    position: FieldPosition,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum FieldPosition {
    #[default]
    Type,
    Text(u8),
    End,
}

/// A piece of a field's text, with the field's type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FieldPart<'a> {
    /// A piece that is not the end of the text; it may be empty.
    Text(u8, &'a [u8]),
    /// The last piece of the text, which may be empty.
    TextEnd(u8, &'a [u8]),
}

impl ErrorFieldReader {
    /// Takes the next part off `bytes`; none at their end, and behind the last field.
    pub(crate) fn next_part<'a>(&mut self, bytes: &mut &'a [u8]) -> Option<FieldPart<'a>> {
        let (first, after) = bytes.split_first()?;
        let kind = match self.position {
            FieldPosition::Type if *first == 0 => {
                self.position = FieldPosition::End;
                return None;
            }
            FieldPosition::Type => {
                *bytes = after;
                *first
            }
            FieldPosition::Text(kind) => kind,
            FieldPosition::End => return None,
        };
        if let Some((text, rest)) = split_c_string(bytes) {
            *bytes = rest;
            self.position = FieldPosition::Type;
            Some(FieldPart::TextEnd(kind, text))
        } else {
            self.position = FieldPosition::Text(kind);
            Some(FieldPart::Text(kind, std::mem::take(bytes)))
        }
    }

    /// Returns the type of the field whose end has not come yet.
    pub(crate) fn open_field(&self) -> Option<u8> {
        match self.position {
            FieldPosition::Text(kind) => Some(kind),
            FieldPosition::Type | FieldPosition::End => None,
        }
    }
}

/// Appends a field to the body of a message. The text contains no NUL.
pub(crate) fn push_field(body: &mut Vec<u8>, kind: u8, text: &[u8]) {
    body.push(kind);
    push_c_string(body, text);
}

/// Appends the end of the fields to the body of a message.
pub(crate) fn end_fields(body: &mut Vec<u8>) {
    body.push(0);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the fields in bytes that come in these pieces, and the type of the last one if it has no end.
    fn fields<'a>(chunks: impl IntoIterator<Item = &'a [u8]>) -> (Vec<(u8, Vec<u8>)>, Option<u8>) {
        let (mut reader, mut complete, mut text) = (ErrorFieldReader::default(), Vec::new(), Vec::new());
        for mut chunk in chunks {
            while let Some(part) = reader.next_part(&mut chunk) {
                match part {
                    FieldPart::Text(_, piece) => text.extend_from_slice(piece),
                    FieldPart::TextEnd(kind, piece) => {
                        text.extend_from_slice(piece);
                        complete.push((kind, std::mem::take(&mut text)));
                    }
                }
            }
        }
        (complete, reader.open_field())
    }

    #[test]
    fn finds_the_same_fields_for_any_split_of_the_bytes() {
        let mut body = Vec::new();
        push_field(&mut body, SEVERITY, b"ERROR");
        push_field(&mut body, HINT, b"");
        end_fields(&mut body);
        body.extend_from_slice(b"Mnothing of this\0");
        let expected = (vec![(SEVERITY, b"ERROR".to_vec()), (HINT, Vec::new())], None);
        for cut in 0..=body.len() {
            let (first, second) = body.split_at(cut);
            assert_eq!(fields([first, second]), expected, "{cut}");
        }
        assert_eq!(fields(body.chunks(1)), expected);
    }

    #[test]
    fn reports_a_field_that_is_cut_off() {
        assert_eq!(fields([b"SERROR\0Mhal".as_slice()]), (vec![(SEVERITY, b"ERROR".to_vec())], Some(MESSAGE)));
        let mut only_a_type = b"C".as_slice();
        assert_eq!(
            ErrorFieldReader::default().next_part(&mut only_a_type),
            Some(FieldPart::Text(SQLSTATE, b"".as_slice()))
        );
    }
}
