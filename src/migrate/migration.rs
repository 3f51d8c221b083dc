//! A migration file: its name, its body, and the way it is sent.

use crate::{
    fault::{Code, Fault, FilePosition},
    layout::Checksum,
    run::MigrationId,
    sql::{
        Execution, Span, SqlSource, Tokens, TransactionModes, decide_execution, directive, leaves_traces,
        split::split_statements,
    },
};

/// One migration, ready to be planned and sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Migration {
    /// Its version, name and file.
    pub id: MigrationId,
    /// The file's text, without a byte order mark. `\restrict` lines, and statements that our own SQL replaces, are
    /// overwritten with spaces, so that positions stay the same.
    pub body: String,
    /// The checksum of its content, for the ledger.
    pub checksum: Checksum,
    /// The way it is sent.
    pub execution: Execution,
    /// The modes that it requests for its transaction.
    pub modes: TransactionModes,
    /// A note for the log about the way it is sent.
    pub note: Option<String>,
    /// Set if it changes its session in a way that can't be undone.
    pub leaves_traces: bool,
}

impl Migration {
    /// Returns the name in the form of sqlx's ledger.
    #[must_use]
    pub fn sqlx_description(&self) -> String {
        self.id.name.replace('_', " ")
    }

    /// Returns the body with its file's name, to find places in it.
    #[must_use]
    pub fn source(&self) -> SqlSource<'_> {
        SqlSource { file: &self.id.file, text: &self.body }
    }
}

/// A file's text and the way it is sent, before the ledger is known.
#[derive(Debug)]
pub(super) struct ParsedFile {
    pub(super) body: String,
    pub(super) execution: Execution,
    pub(super) modes: TransactionModes,
    pub(super) note: Option<String>,
    pub(super) leaves_traces: bool,
}

impl ParsedFile {
    /// Parses a file's bytes.
    ///
    /// # Errors
    ///
    /// Every fault of its text.
    pub(super) fn from_bytes(file: &str, bytes: impl Into<Vec<u8>>) -> Result<Self, Vec<Fault>> {
        let body = decode_text(file, bytes.into()).map_err(|fault| vec![fault])?;
        let source = SqlSource { file, text: &body };
        let undo = directive::refuse_undo_section(source);
        let cut = split_statements(source)
            .and_then(|script| decide_execution(source, &script).map(|decision| (script, decision)));
        let (script, decision) = match (undo, cut) {
            (Ok(()), Ok(cut)) => cut,
            (Ok(()), Err(faults)) => return Err(faults),
            (Err(fault), Ok(_)) => return Err(vec![fault]),
            (Err(fault), Err(faults)) => return Err([fault].into_iter().chain(faults).collect()),
        };
        let replaced = decision.replaced.iter().flat_map(|span| word_spans(&body, *span));
        let blanks: Vec<Span> = script.ignored.iter().copied().chain(replaced).collect();
        let body = blank_spans(body, &blanks);
        let leaves_traces = leaves_traces(&body);
        Ok(Self { body, execution: decision.execution, modes: decision.modes, note: decision.note, leaves_traces })
    }
}

/// Returns the text of a file. NUL bytes are refused: PostgreSQL can't receive them in a query, and UTF-16 is full of
/// them.
fn decode_text(file: &str, bytes: Vec<u8>) -> Result<String, Fault> {
    let fault = |before: &[u8], problem: &str| {
        let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
        let position = FilePosition { file: file.to_owned(), line: Some(line), column: None, excerpt: None };
        Fault::new(Code::FileNotUtf8, format!("`{file}` is not UTF-8 text: {problem} on line {line}")).in_file(position)
    };
    if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
        return Err(fault(&[], "it begins with the mark of UTF-16"));
    }
    let mut text = String::from_utf8(bytes).map_err(|error| {
        let (valid, rest) = error.as_bytes().split_at(error.utf8_error().valid_up_to());
        fault(valid, &format!("byte 0x{:02x} at offset {}", rest.first().unwrap_or(&0), valid.len()))
    })?;
    if let Some((before, _)) = text.split_once('\0') {
        return Err(fault(before.as_bytes(), &format!("a NUL byte at offset {}", before.len())));
    }
    if text.starts_with('\u{feff}') {
        text.remove(0);
    }
    Ok(text)
}

/// Returns the spans of a statement's tokens, without the comments between them.
fn word_spans(text: &str, statement: Span) -> Vec<Span> {
    let shifted = |span: Span| Span { start: statement.start + span.start, end: statement.start + span.end };
    let tokens = Tokens::new(statement.slice_of(text)).filter(|token| token.is_significant());
    tokens.map(|token| shifted(token.span)).collect()
}

/// Overwrites these spans with spaces. They are all ASCII, so the number of characters stays the same.
fn blank_spans(mut body: String, blanks: &[Span]) -> String {
    for span in blanks {
        body.replace_range(span.start..span.end, &" ".repeat(span.end - span.start));
    }
    body
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::split::statement_spans;

    fn refused(bytes: &[u8]) -> (String, Option<usize>) {
        let faults = ParsedFile::from_bytes("0001_a.sql", bytes).unwrap_err();
        assert_eq!((faults.len(), faults[0].code), (1, Code::FileNotUtf8));
        (faults[0].cause.clone(), faults[0].place.as_ref().and_then(|place| place.line))
    }

    #[test]
    fn strips_a_byte_order_mark_and_nothing_else() {
        let content = ParsedFile::from_bytes("0001_a.sql", "\u{feff}SELECT 1;\r\n".as_bytes()).unwrap();
        assert_eq!((content.body.as_str(), content.execution), ("SELECT 1;\r\n", Execution::SingleQuery));
    }

    #[test]
    fn an_opt_out_behind_a_byte_order_mark_counts() {
        let content = ParsedFile::from_bytes("0001_a.sql", "\u{feff}-- no-transaction\nSELECT 1;".as_bytes()).unwrap();
        assert!(matches!(content.execution, Execution::PerStatement { .. }));
    }

    #[test]
    fn blanks_the_psql_commands_of_pg_dump() {
        let content = ParsedFile::from_bytes("0001_a.sql", b"\\restrict k1\r\nSELECT 1;\n\\unrestrict k1").unwrap();
        assert_eq!(content.body, "            \r\nSELECT 1;\n              ");
    }

    #[test]
    fn blanks_statements_that_our_own_sql_replaces() {
        let text = "-- é\nBEGIN /* é */ ISOLATION LEVEL SERIALIZABLE;\nSET TRANSACTION READ WRITE; SELECT 'é';\nCOMMIT";
        let content = ParsedFile::from_bytes("0001_a.sql", text.as_bytes()).unwrap();
        let blanked = |removed: &str| " ".repeat(removed.len());
        let (level, write) = (blanked(" ISOLATION LEVEL SERIALIZABLE;"), blanked("SET TRANSACTION READ WRITE;"));
        let expected = format!("-- é\n      /* é */{level}\n{write} SELECT 'é';\n      ");
        assert_eq!(content.body, expected);
        assert_eq!(content.body.chars().count(), text.chars().count());
        assert_eq!(content.execution, Execution::SingleQuery);
    }

    #[test]
    fn names_the_line_that_is_not_utf8() {
        let (cause, line) = refused(b"SELECT 1;\nSELECT 'gr\xfc\xdfe';\n");
        assert_eq!(line, Some(2));
        assert_eq!(cause, "`0001_a.sql` is not UTF-8 text: byte 0xfc at offset 20 on line 2");
        assert_eq!(refused(b"SELECT 1;\n\n\0").1, Some(3));
        assert!(refused(b"\xff\xfeS\0E\0").0.contains("UTF-16"));
    }

    #[test]
    fn reports_an_undo_section_together_with_other_faults() {
        let text = b"-- migrate:up\nCOMMIT;\nCREATE TABLE t ();\n-- migrate:down\nDROP TABLE t;\n";
        let codes: Vec<_> =
            ParsedFile::from_bytes("1_a.sql", text).unwrap_err().into_iter().map(|fault| fault.code).collect();
        assert_eq!(codes, [Code::UndoSection, Code::OwnTransaction]);
    }

    #[test]
    fn finds_the_statements_that_the_server_counts() {
        let id = MigrationId {
            index: 1,
            version: "1".to_owned(),
            name: "a_b".to_owned(),
            file: "0001_a_b.sql".to_owned(),
            ..MigrationId::default()
        };
        let content =
            ParsedFile::from_bytes(&id.file, b"-- x\nSELECT 1;;\nCOPY t FROM STDIN;\n;\n\\.\nSELECT 2").unwrap();
        let migration = Migration {
            id,
            body: content.body,
            checksum: Checksum::sha384(b""),
            execution: content.execution,
            modes: content.modes,
            note: None,
            leaves_traces: false,
        };
        let texts: Vec<_> = statement_spans(migration.source(), Span::whole(&migration.body))
            .map(|span| span.slice_of(&migration.body))
            .collect();
        assert_eq!(texts, ["SELECT 1;", "COPY t FROM STDIN;", "SELECT 2"]);
        assert_eq!(migration.sqlx_description(), "a b");
    }
}
