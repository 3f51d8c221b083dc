//! The statements in a client's messages: those of simple queries, and those that are prepared, bound and executed.

use super::session_watch::SentStatement;
use crate::postgres::{frontend_messages as frontend, wire_format::split_c_string};
use std::{collections::HashMap, sync::Arc};

/// Bytes of a message that are read: no statement of a migration that a person reads is longer.
pub(super) const MAX_READ: usize = 256 << 10;

/// Bytes of all prepared statements of a session that are kept.
const MAX_PREPARED: usize = 16 << 20;

/// Number of parameters that are kept of one statement, and of bytes of each.
const MAX_VALUES: usize = 64;
const MAX_VALUE: usize = 1 << 10;

/// The text of a statement that was prepared and not kept.
const UNKNOWN: &str = "(a prepared statement)";

/// The statements that a session has prepared and bound.
#[derive(Debug, Default)]
pub(super) struct PreparedStatements {
    texts: HashMap<Vec<u8>, Arc<str>>,
    text_bytes: usize,
    portals: HashMap<Vec<u8>, (Arc<str>, Vec<String>)>,
}

impl PreparedStatements {
    /// Takes a message, whose body may be cut off. Returns the statement that it executes, if it does.
    pub(super) fn take_message(&mut self, kind: u8, body: &[u8]) -> Option<SentStatement> {
        match kind {
            frontend::QUERY => Some(SentStatement { text: first_text(body), values: Vec::new() }),
            frontend::FUNCTION_CALL => Some(SentStatement { text: "(a function call)".to_owned(), values: Vec::new() }),
            frontend::PARSE => {
                self.prepare(body);
                None
            }
            frontend::BIND => {
                self.bind(body);
                None
            }
            frontend::CLOSE => {
                self.close(body);
                None
            }
            frontend::EXECUTE => {
                let (portal, _) = split_c_string(body)?;
                let (text, values) = self.portals.get(portal)?;
                Some(SentStatement { text: text.to_string(), values: values.clone() })
            }
            _ => None,
        }
    }

    fn prepare(&mut self, body: &[u8]) {
        let Some((name, rest)) = split_c_string(body) else { return };
        let text = first_text(rest);
        let is_kept = self.text_bytes + text.len() <= MAX_PREPARED;
        let text: Arc<str> = if is_kept { text.into() } else { UNKNOWN.into() };
        self.text_bytes += text.len();
        if let Some(old) = self.texts.insert(name.to_vec(), text) {
            self.text_bytes -= old.len();
        }
    }

    fn bind(&mut self, body: &[u8]) {
        let Some((portal, rest)) = split_c_string(body) else { return };
        let Some((statement, rest)) = split_c_string(rest) else { return };
        let text = self.texts.get(statement).cloned().unwrap_or_else(|| UNKNOWN.into());
        self.portals.insert(portal.to_vec(), (text, text_values(rest).unwrap_or_default()));
    }

    fn close(&mut self, body: &[u8]) {
        let Some((kind, rest)) = body.split_first() else { return };
        let Some((name, _)) = split_c_string(rest) else { return };
        if *kind == b'S' {
            if let Some(old) = self.texts.remove(name) {
                self.text_bytes -= old.len();
            }
        } else {
            self.portals.remove(name);
        }
    }
}

/// Returns the text at the beginning of a query or of the rest of a `Parse`.
pub(super) fn first_text(body: &[u8]) -> String {
    let text = body.split(|byte| *byte == 0).next().unwrap_or_default();
    String::from_utf8_lossy(text).into_owned()
}

/// Returns the text with which a message begins a request, if it has one.
pub(super) fn opening_text(kind: u8, body: &[u8]) -> Option<String> {
    match kind {
        frontend::QUERY => Some(first_text(body)),
        frontend::PARSE => split_c_string(body).map(|(_, rest)| first_text(rest)),
        _ => None,
    }
}

/// Reads the parameters of a `Bind` behind its names (PostgreSQL manual, 55.7): those in text format, if all are.
fn text_values(bytes: &[u8]) -> Option<Vec<String>> {
    let (formats, mut rest) = split_count(bytes)?;
    for _ in 0..formats {
        let (format, after) = split_count(rest)?;
        if format != 0 {
            return None;
        }
        rest = after;
    }
    let (count, mut rest) = split_count(rest)?;
    let mut values = Vec::new();
    for _ in 0..count.min(MAX_VALUES) {
        let (length, after) = rest.split_first_chunk::<4>()?;
        let length = i32::from_be_bytes(*length);
        let Ok(length) = usize::try_from(length) else {
            rest = after;
            continue;
        };
        let (value, after) = after.split_at_checked(length)?;
        values.push(String::from_utf8_lossy(value.get(..value.len().min(MAX_VALUE)).unwrap_or_default()).into_owned());
        rest = after;
    }
    Some(values)
}

fn split_count(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let (count, rest) = bytes.split_first_chunk::<2>()?;
    Some((usize::from(u16::from_be_bytes(*count)), rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_statement_is_known_by_its_portal() {
        let mut prepared = PreparedStatements::default();
        let execute = |prepared: &mut PreparedStatements| prepared.take_message(b'E', b"\0\0\0\0\0");
        assert_eq!(execute(&mut prepared), None);
        assert_eq!(prepared.take_message(b'P', b"one\0insert into t values ($1)\0\0\0"), None);
        assert_eq!(prepared.take_message(b'B', b"\0one\0\0\0\0\x02\0\0\0\x02hi\xff\xff\xff\xff\0\0"), None);
        let text = "insert into t values ($1)".to_owned();
        assert_eq!(execute(&mut prepared), Some(SentStatement { text: text.clone(), values: vec!["hi".to_owned()] }));
        prepared.take_message(b'B', b"\0one\0\0\x01\0\x01\0\x01\0\0\0\x01\x07\0\0");
        assert_eq!(
            execute(&mut prepared),
            Some(SentStatement { text, values: Vec::new() }),
            "binary values are left out"
        );
        prepared.take_message(b'C', b"Sone\0");
        assert_eq!(prepared.text_bytes, 0);
        assert_eq!(
            prepared.take_message(b'Q', b"select 1; select 2\0").map(|sent| sent.text).as_deref(),
            Some("select 1; select 2")
        );
        assert_eq!(opening_text(b'P', b"\0select 3\0").as_deref(), Some("select 3"));
    }
}
