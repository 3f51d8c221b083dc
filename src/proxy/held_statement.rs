//! A client's statement that is held back until its form is decided.

use crate::postgres::{
    frontend_messages::PARSE,
    waits_for_transactions,
    wire_format::{encode_header, split_c_string},
};

/// Bytes to hold back before the form of a statement is decided.
const MAX_HELD: usize = 8 << 10;

/// The beginning of a `Query` or a `Parse`.
#[derive(Debug)]
pub(crate) struct HeldStatement {
    kind: u8,
    length: usize,
    body: Vec<u8>,
}

impl HeldStatement {
    /// Starts behind the header of the message.
    pub(crate) fn new(kind: u8, length: usize) -> Self {
        Self { kind, length, body: Vec::new() }
    }

    /// Appends a piece of the body.
    pub(crate) fn push_bytes(&mut self, chunk: &[u8]) {
        self.body.extend_from_slice(chunk);
    }

    /// Reports whether the bytes held so far decide the form.
    pub(crate) fn is_decided(&self) -> bool {
        self.body.len() >= MAX_HELD
    }

    /// Returns the type of the message.
    pub(crate) fn kind(&self) -> u8 {
        self.kind
    }

    /// Reports whether the statement waits for other transactions by design.
    pub(crate) fn waits_for_transactions(&self) -> bool {
        self.text().is_some_and(|text| waits_for_transactions(text).is_some())
    }

    /// Returns the bytes held back.
    pub(crate) fn into_bytes(self) -> Vec<u8> {
        [encode_header(self.kind, self.length).as_slice(), &self.body].concat()
    }

    fn text(&self) -> Option<&str> {
        let body = if self.kind == PARSE { split_c_string(&self.body)?.1 } else { self.body.as_slice() };
        let text = body.split(|byte| *byte == 0).next()?;
        // A text cut within a character is read up to that character.
        match std::str::from_utf8(text) {
            Ok(text) => Some(text),
            Err(error) => std::str::from_utf8(text.split_at_checked(error.valid_up_to())?.0).ok(),
        }
    }
}
