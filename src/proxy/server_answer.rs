//! The content of a server's answers, as a watch reads it.

use super::session_watch::{REPORT, TransactionState};
use crate::postgres::{
    Rows, backend_messages as backend,
    error_fields::{ErrorFieldReader, FieldPart, MESSAGE, SEVERITY, SQLSTATE},
    wire_format::split_c_string,
};

/// The most bytes of the rows of a query of ours.
pub(super) const MAX_ROWS: usize = 64 << 20;

/// The rows of a query of ours.
#[derive(Debug, Default)]
pub(super) struct ProbeRows {
    rows: Vec<Vec<Option<String>>>,
    bytes: usize,
}

impl ProbeRows {
    /// Adds a `DataRow`.
    pub(super) fn push(&mut self, body: &[u8]) {
        self.bytes += body.len();
        if self.bytes > MAX_ROWS {
            return;
        }
        let (_, mut rest) = body.split_at(body.len().min(2));
        let mut values = Vec::new();
        while let Some((length, after)) = rest.split_first_chunk::<4>() {
            rest = after;
            let Ok(length) = usize::try_from(i32::from_be_bytes(*length)) else {
                values.push(None);
                continue;
            };
            let (value, after) = rest.split_at(length.min(rest.len()));
            values.push(Some(String::from_utf8_lossy(value).into_owned()));
            rest = after;
        }
        self.rows.push(values);
    }

    pub(super) fn into_rows(self) -> Rows {
        self.rows.into_iter().collect()
    }
}

/// Returns the number of rows in a command tag, as in `UPDATE 7` and `INSERT 0 1`.
pub(super) fn completed_rows(body: &[u8]) -> Option<u64> {
    let (tag, _) = split_c_string(body)?;
    std::str::from_utf8(tag).ok()?.rsplit(' ').next()?.parse().ok()
}

/// Returns severity and text of an error or a notice.
pub(super) fn message_text(body: &[u8]) -> Option<(String, String)> {
    let (mut severity, mut message) = (String::new(), None);
    for (kind, text) in fields_of(body) {
        match kind {
            SEVERITY => severity = String::from_utf8_lossy(text).into_owned(),
            MESSAGE => message = Some(String::from_utf8_lossy(text).into_owned()),
            _ => {}
        }
    }
    message.map(|message| (severity, message))
}

/// Returns the rows of a notice in which the copy reports what a statement holds; none of any other notice.
pub(super) fn reported_rows(body: &[u8]) -> Option<Rows> {
    let (mut sqlstate, mut message) = (None, None);
    for (kind, text) in fields_of(body) {
        match kind {
            SQLSTATE => sqlstate = Some(text),
            MESSAGE => message = Some(text),
            _ => {}
        }
    }
    let report = message.filter(|_| sqlstate == Some(REPORT.as_bytes()))?;
    Some(serde_json::from_slice::<Vec<Vec<Option<String>>>>(report).unwrap_or_default().into_iter().collect())
}

/// Returns the fields of an error or a notice.
fn fields_of(mut rest: &[u8]) -> impl Iterator<Item = (u8, &[u8])> {
    let mut fields = ErrorFieldReader::default();
    std::iter::from_fn(move || {
        let (FieldPart::Text(kind, text) | FieldPart::TextEnd(kind, text)) = fields.next_part(&mut rest)?;
        Some((kind, text))
    })
}

/// Returns the status of a transaction in a `ReadyForQuery`.
pub(super) fn status_byte(state: TransactionState) -> u8 {
    match state {
        TransactionState::Idle => backend::IDLE,
        TransactionState::Open => b'T',
        TransactionState::Failed => b'E',
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_and_tags_are_read() {
        let mut rows = ProbeRows::default();
        rows.push(b"\0\x02\0\0\0\x01a\xff\xff\xff\xff");
        let rows = rows.into_rows();
        assert_eq!(rows.row(0).map(|row| (row.text(0), row.text(1))), Some((Some("a"), None)));
        assert_eq!([&b"UPDATE 7\0"[..], b"INSERT 0 3\0", b"BEGIN\0"].map(completed_rows), [Some(7), Some(3), None]);
        let notice = b"SNOTICE\0VNOTICE\0C00000\0Mhello\0\0";
        assert_eq!(message_text(notice), Some(("NOTICE".to_owned(), "hello".to_owned())));
        assert!(reported_rows(notice).is_none());
        let report = reported_rows(b"SNOTICE\0CBM009\0M[[\"a\", null], [\"b\", \"c\"]]\0\0").expect("it is a report");
        assert_eq!(report.row(1).map(|row| (row.text(0), row.text(1))), Some((Some("b"), Some("c"))));
        let states = [TransactionState::Idle, TransactionState::Open, TransactionState::Failed];
        assert_eq!(states.map(status_byte).map(TransactionState::of_status), states);
    }
}
