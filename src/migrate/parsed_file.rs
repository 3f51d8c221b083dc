//! Parses a migration file.

use super::{
    blank::blank_text,
    blocks::BlockReader,
    body::Body,
    decode::{BYTE_ORDER_MARK, BytesOfFile},
    filled_text::Replacements,
    long_file::LongFile,
    section_fault::section_fault,
};
use crate::{
    fault::Fault,
    layout::{Layout, OwnTransactionTreatment, Sections},
    sql::{
        Decision, Detail, Execution, FileCheck, FileDecision, FileParser, FilePart, FileRules, MoreText, Span,
        SqlSource, TextStart, Tokens, TransactionModes, mark_session_setup,
    },
};
use std::{path::Path, sync::Arc};

/// A file's text and the way it is sent, before the ledger is known.
#[derive(Debug)]
pub(super) struct ParsedFile {
    pub(super) body: Body,
    pub(super) execution: Execution,
    pub(super) modes: TransactionModes,
    pub(super) note: Option<String>,
    pub(super) leaves_traces: bool,
    /// The byte of the first statement that returns to the search path that the session began with.
    pub(super) path_reset: Option<usize>,
    /// The checks that it demands.
    pub(super) checks: Vec<FileCheck>,
    /// The sections that undo the migration.
    pub(super) downs: Vec<Span>,
    /// The values that took the places of its placeholders.
    pub(super) replaced: Replacements,
}

impl ParsedFile {
    /// Parses a file's bytes. `opt_out` is the reason why something beside the file opts it out of its transaction.
    ///
    /// # Errors
    ///
    /// Every fault of its text.
    pub(super) fn from_bytes(
        file: &str,
        bytes: impl Into<Vec<u8>>,
        layout: Layout,
        opt_out: Option<String>,
    ) -> Result<Self, Vec<Fault>> {
        let mut text = BytesOfFile::whole(file).decode(bytes.into()).map_err(|fault| vec![fault])?;
        if text.starts_with(BYTE_ORDER_MARK) {
            text.remove(0);
        }
        let source = SqlSource::of_file(file, &text);
        let sections = layout.find_sections(&text).map_err(|problem| vec![section_fault(source, problem)])?;
        let opt_out = opt_out.or_else(|| opt_out_reason(source, &sections));
        let downs = sections.downs.iter().map(|down| Span { start: down.start, end: down.end }).collect();
        let parsed = Self::from_text(file, sections.keep_up(text), rules_of(layout, opt_out))?;
        Ok(Self { downs, ..parsed })
    }

    /// Adds the values that took the places of placeholders, and has the faults at their places in the file.
    pub(super) fn restored(result: Result<Self, Vec<Fault>>, replaced: Replacements) -> Result<Self, Vec<Fault>> {
        match result {
            Ok(parsed) => Ok(Self { replaced, ..parsed }),
            Err(faults) => Err(faults.into_iter().map(|fault| replaced.restore_fault(fault)).collect()),
        }
    }

    /// Parses the sections that undo a migration, or a file that does.
    ///
    /// # Errors
    ///
    /// Every fault of their text.
    pub(super) fn from_way_back(
        file: &str,
        bytes: Vec<u8>,
        (layout, opt_out): (Layout, Option<String>),
        sections: &[Span],
    ) -> Result<Self, Vec<Fault>> {
        let mut text = BytesOfFile::whole(file).decode(bytes).map_err(|fault| vec![fault])?;
        if text.starts_with(BYTE_ORDER_MARK) {
            text.remove(0);
        }
        let of_file = layout.find_sections(&text).unwrap_or_default();
        let of_file = opt_out.or_else(|| opt_out_reason(SqlSource::of_file(file, &text), &of_file));
        let down = sections.first().map_or("", |section| section.slice_of(&text));
        let opt_out = layout.opt_out_of_down(down, of_file);
        let text = if sections.is_empty() { text } else { keep_sections(&text, sections) };
        Self::from_text(file, text, rules_of(layout, opt_out))
    }

    fn from_text(file: &str, text: String, rules: FileRules) -> Result<Self, Vec<Fault>> {
        let source = SqlSource::of_file(file, &text);
        let mut parser = FileParser::new(Detail::EachStatement, rules);
        parser.read_part(FilePart { source, offset: 0, more: MoreText::Nothing });
        let FileDecision { mut decision, ignored, leaves_traces, path_reset, checks } =
            parser.decide(&source, text.len())?;
        if let Execution::PerStatement { statements, lost, .. } = &mut decision.execution {
            *lost = mark_session_setup(&text, statements);
        }
        let replaced = decision.replaced.iter().flat_map(|span| word_spans(span.slice_of(&text), span.start));
        let blanks: Vec<Span> = ignored.into_iter().chain(replaced).collect();
        let body = Body::InMemory(blank_text(text, &blanks).into());
        Ok(Self { path_reset, checks, ..Self::new(body, decision, leaves_traces) })
    }

    fn new(body: Body, decision: Decision, leaves_traces: bool) -> Self {
        let Decision { execution, modes, note, .. } = decision;
        Self {
            body,
            execution,
            modes,
            note,
            leaves_traces,
            path_reset: None,
            checks: Vec::new(),
            downs: Vec::new(),
            replaced: Replacements::default(),
        }
    }

    /// Parses a long file of a layout without sections block by block; `see_bytes` is called with all its bytes in
    /// order.
    ///
    /// # Errors
    ///
    /// Every fault of its text, or the reason why it can't be read.
    pub(super) fn from_long_file(
        path: &Path,
        file: &str,
        (layout, opt_out): (Layout, Option<String>),
        mut see_bytes: impl FnMut(&[u8]),
    ) -> Result<Self, Vec<Fault>> {
        let only = |fault| vec![fault];
        let rules = rules_of(layout, opt_out);
        let mut reader = BlockReader::open(path, file).map_err(only)?;
        let mut long = LongFile::new(path, file);
        let mut parts = PartReader::new(file, rules.clone());
        while let Some(text) = long.append_block(&mut reader, &mut see_bytes).map_err(only)? {
            parts.read_block(&text);
        }
        let FileDecision { decision, ignored, leaves_traces, path_reset, checks } =
            parts.into_parser().decide(&long, long.length())?;
        if let Execution::PerStatement { .. } = decision.execution {
            // Its statements refer to each other, however far apart.
            let text = long.read(Span { start: 0, end: long.length() }).map_err(only)?;
            return Self::from_text(file, text, rules);
        }
        let mut blanks = ignored;
        for span in &decision.replaced {
            blanks.extend(word_spans(&long.read(*span).map_err(only)?, span.start));
        }
        long.set_blanks(blanks);
        Ok(Self { path_reset, checks, ..Self::new(Body::OnDisk(Arc::new(long)), decision, leaves_traces) })
    }
}

/// Returns the text with everything outside of these sections blank, so that positions stay the same.
fn keep_sections(text: &str, sections: &[Span]) -> String {
    let is_kept = |byte: usize| sections.iter().any(|section| (section.start..section.end).contains(&byte));
    let kept = text.char_indices().flat_map(|(byte, character)| {
        let blank = if character == '\n' { '\n' } else { ' ' };
        let (shown, count) = if is_kept(byte) { (character, 1) } else { (blank, character.len_utf8()) };
        std::iter::repeat_n(shown, count)
    });
    kept.collect()
}

fn rules_of(layout: Layout, opt_out: Option<String>) -> FileRules {
    let sends_as_is = (layout.own_transactions() == OwnTransactionTreatment::OneMessage).then(|| layout.name());
    FileRules { opt_out, is_section: layout.has_sections(), sends_as_is }
}

fn opt_out_reason(source: SqlSource<'_>, sections: &Sections) -> Option<String> {
    let range = sections.opt_out.clone()?;
    let line = source.line_number(range.start);
    Some(format!("`{}` on line {line} asks for no transaction", source.text.get(range)?.trim()))
}

/// Passes a file to the parser as soon as there is a part with complete statements.
struct PartReader<'a> {
    file: &'a str,
    parser: FileParser,
    /// The text from the next part on.
    text: String,
    /// The byte of the file's text at which it begins.
    offset: usize,
    start: TextStart,
    /// The length of the text at which it is tried.
    length_to_try: usize,
}

impl<'a> PartReader<'a> {
    fn new(file: &'a str, rules: FileRules) -> Self {
        let parser = FileParser::new(Detail::WholeChunks, rules);
        Self { file, parser, text: String::new(), offset: 0, start: TextStart::OF_FILE, length_to_try: 0 }
    }

    fn read_block(&mut self, block: &str) {
        self.text.push_str(block);
        if self.text.len() < self.length_to_try {
            return;
        }
        let end = self.read_part(MoreText::Follows);
        // A statement that is not complete is tried again when the text is twice as long, so that a long one is not read
        // again with each block.
        self.length_to_try = if end == 0 { 2 * self.text.len() } else { 0 };
        self.start = self.start.after(self.text.get(..end).unwrap_or_default());
        self.text.drain(..end);
        self.offset += end;
    }

    fn read_part(&mut self, more: MoreText) -> usize {
        let source = SqlSource { file: self.file, text: &self.text, start: self.start };
        self.parser.read_part(FilePart { source, offset: self.offset, more })
    }

    /// Returns the parser after the end of the file.
    fn into_parser(mut self) -> FileParser {
        self.read_part(MoreText::Nothing);
        self.parser
    }
}

/// Returns the spans of a statement's tokens, without the comments between them. The statement begins at this byte.
fn word_spans(statement: &str, start: usize) -> Vec<Span> {
    let shifted = |span: Span| Span { start: start + span.start, end: start + span.end };
    Tokens::new(statement).filter(|token| token.is_significant()).map(|token| shifted(token.span)).collect()
}

#[cfg(test)]
mod tests {
    use super::{
        super::{migration::Migration, work::Work},
        *,
    };
    use crate::{fault::Code, run::MigrationId, sql::split::statement_spans};
    use proptest::prelude::*;

    fn parsed(bytes: impl Into<Vec<u8>>) -> Result<ParsedFile, Vec<Fault>> {
        ParsedFile::from_bytes("0001_a.sql", bytes, Layout::default(), None)
    }

    fn body(content: &ParsedFile) -> &str {
        content.body.in_memory().unwrap()
    }

    fn refused(bytes: &[u8]) -> (String, Option<usize>) {
        let faults = parsed(bytes).unwrap_err();
        assert_eq!((faults.len(), faults[0].code), (1, Code::FileNotUtf8));
        (faults[0].cause.clone(), faults[0].place.as_ref().and_then(|place| place.line))
    }

    #[test]
    fn strips_a_byte_order_mark_and_nothing_else() {
        let content = parsed("\u{feff}SELECT 1;\r\n".as_bytes()).unwrap();
        assert_eq!((body(&content), content.execution.clone()), ("SELECT 1;\r\n", Execution::SingleQuery));
    }

    #[test]
    fn an_opt_out_behind_a_byte_order_mark_counts() {
        let content = parsed("\u{feff}-- no-transaction\nSELECT 1;".as_bytes()).unwrap();
        assert!(matches!(content.execution, Execution::PerStatement { .. }));
    }

    #[test]
    fn blanks_the_psql_commands_of_pg_dump() {
        let content = parsed(*b"\\restrict k1\r\nSELECT 1;\n\\unrestrict k1").unwrap();
        assert_eq!(body(&content), "            \r\nSELECT 1;\n              ");
    }

    #[test]
    fn blanks_statements_that_our_own_sql_replaces() {
        let text = "-- é\nBEGIN /* é */ ISOLATION LEVEL SERIALIZABLE;\nSET TRANSACTION READ WRITE; SELECT 'é';\nCOMMIT";
        let content = parsed(text.as_bytes()).unwrap();
        let blanked = |removed: &str| " ".repeat(removed.len());
        let (level, write) = (blanked(" ISOLATION LEVEL SERIALIZABLE;"), blanked("SET TRANSACTION READ WRITE;"));
        let expected = format!("-- é\n      /* é */{level}\n{write} SELECT 'é';\n      ");
        assert_eq!(body(&content), expected);
        assert_eq!(body(&content).chars().count(), text.chars().count());
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
        let codes: Vec<_> = parsed(text).unwrap_err().into_iter().map(|fault| fault.code).collect();
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
        let content = parsed(*b"-- x\nSELECT 1;;\nCOPY t FROM STDIN;\n;\n\\.\nSELECT 2").unwrap();
        let migration = Migration {
            id,
            body: content.body,
            checksum: Layout::default().checksum(b""),
            execution: content.execution.into(),
            modes: content.modes,
            note: None,
            leaves_traces: false,
            path_reset: None,
            checks: Vec::new(),
            way_back: None,
            replaced: Replacements::default(),
            relative_path: String::new(),
            work: Work::Apply,
        };
        let texts: Vec<_> = statement_spans(migration.source(), Span::whole(migration.text()))
            .map(|span| span.slice_of(migration.text()))
            .collect();
        assert_eq!(texts, ["SELECT 1;", "COPY t FROM STDIN;", "SELECT 2"]);
    }

    /// Returns what is decided about a text that is read in blocks of this length.
    fn decide_in_blocks(source: SqlSource<'_>, length: usize) -> Result<FileDecision, Vec<Fault>> {
        let mut parts = PartReader::new(source.file, FileRules::default());
        let characters: Vec<char> = source.text.chars().collect();
        characters.chunks(length).for_each(|block| parts.read_block(&block.iter().collect::<String>()));
        parts.into_parser().decide(&source, source.text.len())
    }

    proptest! {
        #[test]
        fn a_file_that_is_read_in_blocks_is_decided_as_in_one_piece(
            pieces in prop::collection::vec(prop::sample::select(PIECES), 0..24), length in 1_usize..30,
        ) {
            let text = pieces.concat();
            let source = SqlSource::of_file("0001_a.sql", &text);
            let whole = ParsedFile::from_text("0001_a.sql", text.clone(), FileRules::default());
            match (decide_in_blocks(source, length), whole) {
                (Err(faults), whole) => prop_assert_eq!(faults, whole.unwrap_err(), "{:?}", text),
                (Ok(found), whole) => {
                    let whole = whole.unwrap();
                    prop_assert_eq!(found.leaves_traces, whole.leaves_traces, "{:?}", &text);
                    prop_assert_eq!(found.decision.modes, whole.modes, "{:?}", &text);
                    let is_per_statement = |execution: &Execution| matches!(execution, Execution::PerStatement { .. });
                    if is_per_statement(&whole.execution) {
                        prop_assert!(is_per_statement(&found.decision.execution), "{:?}", &text);
                    } else {
                        prop_assert_eq!(found.decision.execution, whole.execution, "{:?}", &text);
                    }
                }
            }
        }
    }

    /// Pieces of texts in which the end of a block may be misread.
    const PIECES: &[&str] = &[
        "SELECT 1;",
        "SELECT 'a;b';",
        "COPY t FROM STDIN;",
        "COPY t FROM STDIN",
        "\n",
        "\r\n",
        "1\tx'y\n",
        "\\.",
        "\\.\n",
        "\\.x\n",
        ";",
        " ",
        "'",
        "\"",
        "$$",
        "$a$ ; $a$",
        "E'\\'",
        "/* ; ",
        "*/",
        "-- x;",
        "-- no-transaction\n",
        "-- migrate:down\n",
        "BEGIN;",
        "COMMIT;",
        "\\restrict k\n",
        "\\connect x\n",
        "SET a.b = 1;",
        "SET ROLE x;",
        "CREATE INDEX CONCURRENTLY i ON t (x);",
        "é",
        "\u{feff}",
        "CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT 1; END;",
        "(",
        ")",
        ":'v'",
        "SAVEPOINT a;",
    ];

    #[test]
    fn rows_of_a_copy_are_no_sql() {
        let text = "COPY t FROM STDIN;\nit's -- migrate:down\n-- migrate:down\n\\.\n";
        assert!(!parsed(text.as_bytes()).unwrap().leaves_traces);
        for (sql, expected) in [("SET a.b = 1;\n", Ok(true)), ("-- migrate:down\n", Err(Code::UndoSection))] {
            let found = parsed(format!("{text}{sql}").into_bytes());
            assert_eq!(found.map(|file| file.leaves_traces).map_err(|faults| faults[0].code), expected, "{sql}");
        }
        let data = parsed("COPY t FROM STDIN;\nSELECT setseed(1)\n\\.\n".as_bytes()).unwrap();
        assert!(!data.leaves_traces);
    }
}
