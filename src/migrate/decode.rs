//! Decodes the text of a file.

use crate::fault::{Code, Fault, FilePosition};

/// At the beginning of a file it is no part of the text.
pub(super) const BYTE_ORDER_MARK: char = '\u{feff}';

/// The place of bytes in a file.
#[derive(Debug, Clone, Copy)]
pub(super) struct BytesOfFile<'a> {
    pub(super) file: &'a str,
    /// The 1-based line in which they begin.
    pub(super) line: usize,
    /// The number of bytes before them.
    pub(super) offset: usize,
}

impl<'a> BytesOfFile<'a> {
    pub(super) fn whole(file: &'a str) -> Self {
        Self { file, line: 1, offset: 0 }
    }

    /// Returns the bytes as text. NUL bytes are refused: PostgreSQL can't receive them in a query, and UTF-16 is full of
    /// them.
    ///
    /// # Errors
    ///
    /// `file-not-utf8`, at the line of the first byte that is no text.
    pub(super) fn decode(self, bytes: Vec<u8>) -> Result<String, Fault> {
        if self.offset == 0 && (bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff])) {
            return Err(self.fault(&[], "it begins with the mark of UTF-16"));
        }
        let text = String::from_utf8(bytes).map_err(|error| {
            let (valid, rest) = error.as_bytes().split_at(error.utf8_error().valid_up_to());
            let offset = self.offset + valid.len();
            self.fault(valid, &format!("byte 0x{:02x} at offset {offset}", rest.first().unwrap_or(&0)))
        })?;
        match text.split_once('\0') {
            Some((before, _)) => {
                let offset = self.offset + before.len();
                Err(self.fault(before.as_bytes(), &format!("a NUL byte at offset {offset}")))
            }
            None => Ok(text),
        }
    }

    fn fault(self, before: &[u8], problem: &str) -> Fault {
        let Self { file, line, .. } = self;
        let line = line + before.iter().filter(|byte| **byte == b'\n').count();
        let position = FilePosition { file: file.to_owned(), line: Some(line), column: None, excerpt: None };
        Fault::new(Code::FileNotUtf8, format!("`{file}` is not UTF-8 text: {problem} on line {line}")).in_file(position)
    }
}

/// Removes the bytes at the end that are the beginning of a character, and returns them.
pub(super) fn split_incomplete_character(bytes: &mut Vec<u8>) -> Vec<u8> {
    match std::str::from_utf8(bytes) {
        // Without a length, the error is that the bytes end too early.
        Err(error) if error.error_len().is_none() => bytes.split_off(error.valid_up_to()),
        _ => Vec::new(),
    }
}
