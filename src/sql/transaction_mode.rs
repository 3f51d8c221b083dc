//! Decides how a file is sent, from the classes of its statements.
//!
//! A file that is a single `BEGIN … COMMIT` asks for what every file gets anyway, so our own BEGIN and COMMIT replace it. In a
//! file that opted out, each `BEGIN … COMMIT` is one unit and commits together with its progress row.

use super::{
    classified_statement::ClassifiedStatement,
    directive::OptOut,
    execution::{Execution, SessionSetup, SqlChunk, Statement, StatementKind},
    location::FilePlaces,
    refusal,
    span::Span,
    statement_class::StatementClass,
    transaction_options::TransactionModes,
};
use crate::fault::Fault;
use std::ops::RangeInclusive;

/// The decision about one file.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Decision {
    /// The way in which it is sent.
    pub(crate) execution: Execution,
    /// The modes that it requests for its transaction.
    pub(crate) modes: TransactionModes,
    /// Statements of the file that our own SQL replaces.
    pub(crate) replaced: Vec<Span>,
    /// A note about that for the log.
    pub(crate) note: Option<String>,
}

/// A file whose statements are known.
pub(crate) struct ClassifiedFile<'a> {
    /// The places of the statements.
    pub(crate) places: &'a dyn FilePlaces,
    /// The length of the text in bytes.
    pub(crate) length: usize,
    /// The statements in order.
    pub(crate) statements: &'a [ClassifiedStatement],
    /// The comment by which the file opts out of its transaction.
    pub(crate) opt_out: Option<&'a OptOut>,
    /// The reason why something else than a leading comment opts it out.
    pub(crate) opt_out_reason: Option<&'a str>,
}

/// Decides how a file is sent. The session setup of a file without a transaction is not marked yet.
///
/// # Errors
///
/// Every statement that can't be run where it stands.
pub(crate) fn decide_execution(file: &ClassifiedFile<'_>) -> Result<Decision, Vec<Fault>> {
    let ClassifiedFile { places, statements, .. } = *file;
    let blocks = OwnTransactions::find_blocks(statements);
    let decided = FileStatements { places, length: file.length, statements, blocks };
    if let Some(block) = decided.only_block() {
        return decided.decide_single_transaction(Some(&block));
    }
    if let Some(reason) = file.opt_out_reason {
        return decided.decide_per_statement(reason.to_owned());
    }
    if let Some(OptOut { comment, byte }) = file.opt_out {
        let reason = format!("`{}` on line {} asks for no transaction", comment.trim(), places.line_number(*byte));
        return decided.decide_per_statement(reason);
    }
    let non_transactional =
        statements.iter().find(|statement| matches!(statement.class, StatementClass::NonTransactional { .. }));
    match non_transactional {
        None if decided.has_boundary() => Err(decided.boundary_faults().chain(decided.refused_faults()).collect()),
        None => decided.decide_single_transaction(None),
        Some(non_transactional) => {
            let mixed = decided.mixed_file_fault(non_transactional);
            let faults: Vec<Fault> = decided.boundary_faults().chain(decided.refused_faults()).chain(mixed).collect();
            if !faults.is_empty() {
                return Err(faults);
            }
            decided.decide_per_statement(format!(
                "{} on line {} can't run in a transaction",
                non_transactional.words(),
                non_transactional.line(places)
            ))
        }
    }
}

/// The transactions that the file itself begins and ends.
#[derive(Debug, Default)]
pub(super) struct OwnTransactions {
    /// From BEGIN to COMMIT, as indexes of statements.
    complete: Vec<RangeInclusive<usize>>,
    /// Indexes of all other statements that begin or end a transaction.
    pub(super) unpaired: Vec<usize>,
}

impl OwnTransactions {
    pub(super) fn find_blocks(statements: &[ClassifiedStatement]) -> Self {
        let (mut blocks, mut begin_index) = (Self::default(), None);
        for (index, statement) in statements.iter().enumerate() {
            match (&statement.class, begin_index) {
                (StatementClass::Begin(_), None) => begin_index = Some(index),
                (StatementClass::Commit(_), Some(begin)) => {
                    blocks.complete.push(begin..=index);
                    begin_index = None;
                }
                (StatementClass::Begin(_) | StatementClass::Commit(_) | StatementClass::TransactionControl(_), _) => {
                    blocks.unpaired.push(index);
                }
                _ => {}
            }
        }
        blocks.unpaired.extend(begin_index);
        blocks
    }

    fn block_around(&self, index: usize) -> Option<&RangeInclusive<usize>> {
        self.complete.iter().find(|block| block.contains(&index))
    }
}

struct FileStatements<'a> {
    places: &'a dyn FilePlaces,
    length: usize,
    statements: &'a [ClassifiedStatement],
    blocks: OwnTransactions,
}

impl<'a> FileStatements<'a> {
    /// Finds the one `BEGIN … COMMIT` that contains the whole file, except for settings.
    fn only_block(&self) -> Option<RangeInclusive<usize>> {
        let [block] = self.blocks.complete.as_slice() else { return None };
        let is_inside = |(index, statement): (usize, &ClassifiedStatement)| match block.contains(&index) {
            true => !matches!(statement.class, StatementClass::NonTransactional { .. }),
            false => statement.is_session(),
        };
        (self.blocks.unpaired.is_empty() && self.statements.iter().enumerate().all(is_inside)).then(|| block.clone())
    }

    /// Decides to send the file in one transaction of ours.
    fn decide_single_transaction(&self, block: Option<&RangeInclusive<usize>>) -> Result<Decision, Vec<Fault>> {
        let faults: Vec<Fault> = self.refused_faults().collect();
        if !faults.is_empty() {
            return Err(faults);
        }
        let requested = requested_modes(self.statements);
        let mut replaced = requested.spans;
        replaced.extend(self.statements.iter().filter(|statement| statement.is_boundary()).map(|found| found.raw.span));
        let sent: Vec<&ClassifiedStatement> =
            self.statements.iter().filter(|found| !replaced.contains(&found.raw.span)).collect();
        let note = block.map(|_| {
            format!(
                "{}: its BEGIN and COMMIT are replaced by those of the transaction in which every file runs",
                self.places.file()
            )
        });
        let has_rows = sent.iter().any(|statement| statement.raw.data.is_some());
        let execution = match has_rows || self.length > MAX_CHUNK_BYTES {
            true => Execution::Chunked(group_into_chunks(sent.into_iter())),
            false => Execution::SingleQuery,
        };
        Ok(Decision { execution, modes: requested.modes, replaced, note })
    }

    /// Decides to send the file statement by statement; its own transactions stay.
    fn decide_per_statement(&self, reason: String) -> Result<Decision, Vec<Fault>> {
        let faults: Vec<Fault> = self.misplaced_faults().collect();
        if !faults.is_empty() {
            return Err(faults);
        }
        let (mut groups, mut replaced) = (Vec::new(), Vec::new());
        let mut index = 0;
        while let Some(first) = self.statements.get(index) {
            match self.blocks.block_around(index).and_then(|block| Some((block, self.statements.get(block.clone())?))) {
                Some((block, statements)) => {
                    let (group, to_replace) = unit_of_block(statements);
                    groups.push(group);
                    replaced.extend(to_replace);
                    index = block.end() + 1;
                }
                None => {
                    groups.push(unit_of_statement(first));
                    index += 1;
                }
            }
        }
        Ok(Decision {
            execution: Execution::PerStatement { statements: groups, lost: Vec::new(), why: reason },
            modes: TransactionModes::default(),
            replaced,
            note: None,
        })
    }

    /// Returns the faults of all statements that can't be where they are in a file that opted out.
    fn misplaced_faults(&self) -> impl Iterator<Item = Fault> {
        self.statements.iter().enumerate().filter_map(|(index, found)| self.misplaced_fault(index, found))
    }

    fn misplaced_fault(&self, index: usize, found: &ClassifiedStatement) -> Option<Fault> {
        let inside = self.blocks.block_around(index);
        match &found.class {
            StatementClass::Refused { cause, fix } => Some(refusal::refused_statement(self.places, found, cause, *fix)),
            _ if self.blocks.unpaired.contains(&index) => Some(refusal::unpaired_boundary(self.places, found)),
            StatementClass::Savepoint if inside.is_none() => {
                Some(refusal::savepoint_outside_transaction(self.places, found))
            }
            StatementClass::SetTransaction(_) if inside.is_none() => {
                Some(refusal::modes_outside_transaction(self.places, found))
            }
            StatementClass::SetTransaction(modes) | StatementClass::Begin(modes) if modes.is_read_only() => {
                Some(refusal::read_only_transaction(self.places, found))
            }
            StatementClass::NonTransactional { .. } if inside.is_some() => {
                Some(refusal::non_transactional_in_block(self.places, found))
            }
            _ => None,
        }
    }

    fn has_boundary(&self) -> bool {
        self.statements.iter().any(ClassifiedStatement::is_boundary)
    }

    /// Reports whether the file would be valid if it opted out.
    fn could_opt_out(&self) -> bool {
        self.misplaced_faults().next().is_none()
    }

    fn refused_faults(&self) -> impl Iterator<Item = Fault> {
        self.statements.iter().filter_map(|found| match &found.class {
            StatementClass::Refused { cause, fix } => Some(refusal::refused_statement(self.places, found, cause, *fix)),
            _ => None,
        })
    }

    fn boundary_faults(&self) -> impl Iterator<Item = Fault> {
        let advice =
            if self.could_opt_out() { refusal::OwnTransactionFix::OptOut } else { refusal::OwnTransactionFix::Remove };
        let found = self.statements.iter().filter(|statement| statement.is_boundary());
        found.map(move |statement| refusal::own_transaction(self.places, statement, advice))
    }

    /// Refuses a file that mixes statements that can't run in a transaction with others and did not opt out: only its author can
    /// decide to commit the others one by one.
    fn mixed_file_fault(&self, non_transactional: &ClassifiedStatement) -> Option<Fault> {
        let goes_along = |found: &&ClassifiedStatement| {
            found.is_boundary()
                || found.is_session()
                || matches!(
                    found.class,
                    StatementClass::NonTransactional { .. }
                        | StatementClass::Idempotent
                        | StatementClass::Refused { .. }
                )
        };
        let transactional = self.statements.iter().find(|found| !goes_along(found))?;
        let advice =
            if self.could_opt_out() { refusal::OwnTransactionFix::OptOut } else { refusal::OwnTransactionFix::Remove };
        Some(refusal::mixed_file(self.places, non_transactional, transactional, advice))
    }
}

/// The modes requested for a transaction before its first query.
struct RequestedModes {
    modes: TransactionModes,
    /// The statements that request them, except for BEGIN.
    spans: Vec<Span>,
}

fn requested_modes(statements: &[ClassifiedStatement]) -> RequestedModes {
    let (mut defaults, mut modes, mut to_replace) =
        (TransactionModes::default(), TransactionModes::default(), Vec::new());
    for statement in statements {
        match statement.class {
            StatementClass::Session => {}
            StatementClass::DefaultModes(requested) => defaults = defaults.overridden_by(requested),
            StatementClass::Begin(requested) => modes = modes.overridden_by(requested),
            StatementClass::SetTransaction(requested) => {
                modes = modes.overridden_by(requested);
                to_replace.push(statement.raw.span);
            }
            _ => break,
        }
    }
    RequestedModes { modes: defaults.overridden_by(modes), spans: to_replace }
}

fn unit_of_statement(found: &ClassifiedStatement) -> Statement {
    let chunk = match found.raw.data {
        Some(data) => SqlChunk::Copy { statement: found.raw.span, data },
        None => SqlChunk::Query(found.raw.span),
    };
    let setup =
        if found.is_session() { vec![SessionSetup { span: found.raw.span, needed_until: None }] } else { Vec::new() };
    Statement {
        span: found.span(),
        kind: found.kind(),
        chunks: vec![chunk],
        modes: TransactionModes::default(),
        session_setup: setup,
    }
}

/// Returns the unit of one of the file's own transactions, and the statements that our own SQL replaces.
fn unit_of_block(statements: &[ClassifiedStatement]) -> (Statement, Vec<Span>) {
    let requested = requested_modes(statements);
    let mut to_replace = requested.spans;
    to_replace.extend(statements.iter().filter(|found| found.is_boundary()).map(|found| found.raw.span));
    let inner = || statements.iter().filter(|found| !to_replace.contains(&found.raw.span));
    let setup = inner()
        .filter(|found| found.is_session())
        .map(|found| SessionSetup { span: found.raw.span, needed_until: None });
    let span = Span {
        start: statements.first().map_or(0, |first| first.raw.span.start),
        end: statements.last().map_or(0, |last| last.raw.span.end),
    };
    let group = Statement {
        span,
        kind: StatementKind::Transactional,
        chunks: group_into_chunks(inner()),
        modes: requested.modes,
        session_setup: setup.collect(),
    };
    (group, to_replace)
}

fn group_into_chunks<'r>(statements: impl Iterator<Item = &'r ClassifiedStatement>) -> Vec<SqlChunk> {
    let mut chunks = Vec::new();
    for ClassifiedStatement { raw, .. } in statements {
        match (raw.data, chunks.last_mut()) {
            (Some(data), _) => chunks.push(SqlChunk::Copy { statement: raw.span, data }),
            (None, Some(SqlChunk::Query(span))) if raw.span.end - span.start <= MAX_CHUNK_BYTES => {
                span.end = raw.span.end;
            }
            (None, _) => chunks.push(SqlChunk::Query(raw.span)),
        }
    }
    chunks
}

/// The largest body in bytes that is sent as one query. A longer one is sent in chunks of whole statements, as a message is in memory
/// three times until it is sent.
pub(crate) const MAX_CHUNK_BYTES: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use super::{
        super::{
            file_parser::{Detail, FileParser, FilePart, FileRules},
            identifier::QualifiedName,
            location::SqlSource,
            phrase::Phrase,
            session_setup::mark_session_setup,
            split::MoreText,
        },
        *,
    };
    use crate::fault::Code;

    fn decision(text: &str) -> Result<Decision, Vec<Fault>> {
        let source = SqlSource::of_file("0001_a.sql", text);
        let mut parser = FileParser::new(Detail::EachStatement, FileRules::default());
        parser.read_part(FilePart { source, offset: 0, more: MoreText::Nothing });
        let mut decision = parser.decide(&source, text.len())?.decision;
        if let Execution::PerStatement { statements, lost, .. } = &mut decision.execution {
            *lost = mark_session_setup(text, statements);
        }
        Ok(decision)
    }

    fn work(text: &str) -> Result<Execution, Vec<Fault>> {
        decision(text).map(|decision| decision.execution)
    }

    fn faults(text: &str) -> Vec<(Code, usize)> {
        let line = |fault: &Fault| fault.place.as_ref().and_then(|place| place.line).unwrap();
        work(text).unwrap_err().iter().map(|fault| (fault.code, line(fault))).collect()
    }

    fn fix(text: &str) -> String {
        work(text).unwrap_err()[0].fix.clone()
    }

    fn units(text: &str) -> (Vec<Statement>, String) {
        match work(text).unwrap() {
            Execution::PerStatement { statements, why: reason, .. } => (statements, reason),
            execution => panic!("{execution:?}"),
        }
    }

    fn kinds(text: &str) -> (Vec<StatementKind>, String) {
        let (statements, reason) = units(text);
        (statements.into_iter().map(|statement| statement.kind).collect(), reason)
    }

    fn sent_texts<'t>(text: &'t str, chunks: &[SqlChunk]) -> Vec<(&'t str, &'t str)> {
        let text_and_data = |chunk: &SqlChunk| match chunk {
            SqlChunk::Query(span) => (span.slice_of(text), ""),
            SqlChunk::Copy { statement, data } => (statement.slice_of(text), data.slice_of(text)),
        };
        chunks.iter().map(text_and_data).collect()
    }

    fn index(name: &str) -> QualifiedName {
        QualifiedName { schema: None, name: name.to_owned() }
    }

    #[test]
    fn an_ordinary_file_is_one_query() {
        for text in ["CREATE TABLE t (); SET x = 1; DO $$ $$; SAVEPOINT a; CALL p();", "", "-- empty\n"] {
            assert_eq!(work(text), Ok(Execution::SingleQuery), "{text}");
        }
    }

    #[test]
    fn a_file_with_copy_rows_is_sent_in_chunks() {
        let text = "SET a = 1;\nCREATE TABLE t ();\nCOPY t FROM stdin;\n1\n\\.\nSELECT 1;\nSELECT 2;\n";
        let Ok(Execution::Chunked(chunks)) = work(text) else { panic!("{:?}", work(text)) };
        let expected =
            [("SET a = 1;\nCREATE TABLE t ();", ""), ("COPY t FROM stdin;", "1\n"), ("SELECT 1;\nSELECT 2;", "")];
        assert_eq!(sent_texts(text, &chunks), expected);
    }

    #[test]
    fn a_long_file_is_sent_in_chunks_of_whole_statements() {
        let row = "INSERT INTO t VALUES ('a;b');\n";
        let text = row.repeat(3 * MAX_CHUNK_BYTES / row.len());
        let Ok(Execution::Chunked(chunks)) = work(&text) else { panic!("it is one query") };
        let spans = chunks.iter().map(|chunk| match chunk {
            SqlChunk::Query(span) => span.slice_of(&text),
            SqlChunk::Copy { .. } => panic!("there are no rows"),
        });
        let spans: Vec<&str> = spans.collect();
        assert!(spans.len() >= 3 && spans.iter().all(|span| span.len() <= MAX_CHUNK_BYTES && span.ends_with(';')));
        assert_eq!(spans.join("\n") + "\n", text);
    }

    #[test]
    fn a_file_of_concurrent_indexes_needs_no_opt_out() {
        let text =
            "SET lock_timeout = 0;\n\nCREATE INDEX CONCURRENTLY a ON t (x);\nDROP INDEX CONCURRENTLY b;\nANALYZE t;";
        let (kinds, reason) = kinds(text);
        assert_eq!(
            kinds,
            [
                StatementKind::Session,
                StatementKind::CreateIndex { index: index("a") },
                StatementKind::DropIndex { index: index("b") },
                StatementKind::Repeatable,
            ]
        );
        assert_eq!(reason, "CREATE INDEX CONCURRENTLY on line 3 can't run in a transaction");
    }

    #[test]
    fn an_opted_out_file_is_sent_statement_by_statement() {
        let (kinds, reason) =
            kinds("-- no-transaction\nCREATE TABLE t ();\nDO $$ $$;\nVACUUM t;\nSET x = 1;\nCALL p();\n");
        assert_eq!(
            kinds,
            [
                StatementKind::Transactional,
                StatementKind::Opaque,
                StatementKind::Repeatable,
                StatementKind::Session,
                StatementKind::Opaque,
            ]
        );
        assert_eq!(reason, "`-- no-transaction` on line 1 asks for no transaction");
    }

    #[test]
    fn refuses_a_mixed_file_and_names_both_lines() {
        let faults = work("CREATE TABLE t ();\nCREATE INDEX CONCURRENTLY a ON t (x);\n").unwrap_err();
        assert_eq!(faults.len(), 1);
        assert_eq!(faults[0].code, Code::MixedFile);
        assert_eq!(
            faults[0].cause,
            "CREATE INDEX CONCURRENTLY on line 2 of `0001_a.sql` can't run in a transaction, but the statement on line 1 \
             should"
        );
        assert!(faults[0].fix.contains("line 2") && faults[0].fix.contains("-- no-transaction"), "{}", faults[0].fix);
        let fix = fix("SAVEPOINT a;\nCREATE INDEX CONCURRENTLY a ON t (x);\n");
        assert!(!fix.contains("-- no-transaction"), "it would be refused with that: {fix}");
    }

    #[test]
    fn a_file_that_is_one_transaction_runs_in_our_transaction() {
        for (text, begin) in [
            ("BEGIN;\nSELECT 1;\nCOMMIT;\n", "BEGIN"),
            ("-- no-transaction\nBEGIN WORK;\nSELECT 1;\nEND TRANSACTION AND NO CHAIN;\n", "BEGIN"),
            (
                "SET x = 1;\nSTART TRANSACTION ISOLATION LEVEL SERIALIZABLE;\nSELECT 1; SAVEPOINT a; COMMIT; RESET x",
                "BEGIN ISOLATION LEVEL SERIALIZABLE",
            ),
            ("BEGIN; SET x = 1; SET TRANSACTION READ WRITE; SELECT 1; COMMIT", "BEGIN READ WRITE"),
            ("BEGIN;COMMIT", "BEGIN"),
        ] {
            let decision = decision(text).unwrap();
            assert_eq!(
                (decision.execution, decision.modes.begin_sql().as_str()),
                (Execution::SingleQuery, begin),
                "{text}"
            );
            assert!(decision.note.unwrap().contains("BEGIN and COMMIT"));
            let replaced: Vec<_> =
                decision.replaced.iter().map(|span| Phrase::new(span.slice_of(text)).next().unwrap().text()).collect();
            assert!(
                replaced.iter().all(|word| ["BEGIN", "START", "COMMIT", "END", "SET"].contains(word)),
                "{replaced:?}"
            );
        }
        let text = "BEGIN;\nCOPY t FROM STDIN;\n1\n\\.\nCOMMIT;\n";
        let Ok(Execution::Chunked(chunks)) = work(text) else { panic!("{:?}", work(text)) };
        assert_eq!(sent_texts(text, &chunks), [("COPY t FROM STDIN;", "1\n")]);
    }

    #[test]
    fn each_transaction_of_an_opted_out_file_is_one_unit() {
        let text = "-- no-transaction\nVACUUM t;\nBEGIN ISOLATION LEVEL SERIALIZABLE;\nSET x = 1;\nCREATE TABLE a ();\n\
                    COPY a FROM STDIN;\n1\n\\.\nCOMMIT;\nCOPY b FROM STDIN;\n2\n\\.\nBEGIN; END;";
        let (units, _) = units(text);
        let kinds: Vec<_> = units.iter().map(|unit| &unit.kind).collect();
        let transactional = &StatementKind::Transactional;
        assert_eq!(kinds, [&StatementKind::Repeatable, transactional, transactional, transactional]);
        assert_eq!(units[1].modes.begin_sql(), "BEGIN ISOLATION LEVEL SERIALIZABLE");
        assert_eq!(
            sent_texts(text, &units[1].chunks),
            [("SET x = 1;\nCREATE TABLE a ();", ""), ("COPY a FROM STDIN;", "1\n")]
        );
        assert_eq!(
            units[1].session_setup.iter().map(|setup| setup.span.slice_of(text)).collect::<Vec<_>>(),
            ["SET x = 1;"]
        );
        assert_eq!(units[2].span.slice_of(text), "COPY b FROM STDIN;\n2\n");
        assert_eq!(units[3].chunks, []);
    }

    #[test]
    fn refuses_other_own_transactions_with_a_fix_that_works() {
        let two_transactions = "BEGIN;\nSELECT 1;\nCOMMIT;\nBEGIN;\nSELECT 2;\nCOMMIT;\n";
        assert_eq!(faults(two_transactions), [1, 3, 4, 6].map(|line| (Code::OwnTransaction, line)));
        assert!(fix(two_transactions).contains("put `-- no-transaction`"), "{}", fix(two_transactions));
        assert!(work(&format!("-- no-transaction\n{two_transactions}")).is_ok());
        for unpaired in ["SELECT 1;\nCOMMIT;", "BEGIN;\nSELECT 1;", "BEGIN;\nROLLBACK;", "BEGIN;\nCOMMIT AND CHAIN;"] {
            assert!(faults(unpaired).iter().all(|(code, _)| *code == Code::OwnTransaction), "{unpaired}");
            assert!(!fix(unpaired).contains("put `-- no-transaction`"), "{}", fix(unpaired));
            let opted_out = format!("-- no-transaction\n{unpaired}");
            assert!(faults(&opted_out).iter().all(|(code, _)| *code == Code::OwnTransaction), "{opted_out}");
            assert!(!fix(&opted_out).contains("put `-- no-transaction`"), "it already has that");
        }
    }

    #[test]
    fn refuses_statements_that_need_a_transaction_in_an_opted_out_file() {
        assert_eq!(faults("-- no-transaction\nSAVEPOINT a;"), [(Code::OwnTransaction, 2)]);
        assert_eq!(
            faults("-- no-transaction\nSET TRANSACTION ISOLATION LEVEL SERIALIZABLE;\nSELECT 1;"),
            [(Code::StatementRefused, 2)]
        );
        assert_eq!(
            faults("-- no-transaction\nBEGIN READ ONLY;\nSELECT 1;\nCOMMIT;SELECT 2"),
            [(Code::StatementRefused, 2)]
        );
        assert_eq!(
            faults("-- no-transaction\nBEGIN;\nVACUUM;\nCOMMIT;"),
            [(Code::OwnTransaction, 3)],
            "it can't be between BEGIN and COMMIT"
        );
    }

    #[test]
    fn reports_all_faults_at_once() {
        let text = "DISCARD ALL;\nCOMMIT;\nCREATE INDEX CONCURRENTLY ON t (x);\nVACUUM;\nCREATE TABLE t ();\n";
        let mut found = faults(text);
        found.sort_by_key(|(_, line)| *line);
        let expected =
            [(Code::StatementRefused, 1), (Code::OwnTransaction, 2), (Code::StatementRefused, 3), (Code::MixedFile, 4)];
        assert_eq!(found, expected);
    }

    fn restored_objects(statements: &str) -> (Vec<(usize, Option<usize>)>, Vec<String>) {
        let text = format!("-- no-transaction\n{statements}");
        match work(&text).unwrap() {
            Execution::PerStatement { statements, lost, .. } => (
                (1..)
                    .zip(&statements)
                    .flat_map(|(n, unit)| unit.session_setup.iter().map(move |a| (n, a.needed_until)))
                    .collect(),
                lost.into_iter().map(|lost| lost.name).collect(),
            ),
            execution => panic!("{execution:?}"),
        }
    }

    #[test]
    fn session_objects_are_restored_for_as_long_as_they_are_used() {
        let build = "CREATE INDEX CONCURRENTLY i ON a (x);";
        for (statements, restored) in [
            (
                format!("CREATE TEMP TABLE todo AS SELECT 1; {build} UPDATE a SET x = 1 FROM todo; SELECT 1;"),
                vec![(1, Some(3))],
            ),
            (
                format!("CREATE TEMP TABLE todo AS SELECT 1; {build} UPDATE a SET x = 1 FROM todo; DROP TABLE todo;"),
                vec![(1, Some(4))],
            ),
            (
                format!(
                    "CREATE TEMP TABLE a AS SELECT 1; CREATE TEMP TABLE b AS SELECT * FROM a; {build} DELETE FROM t USING b;"
                ),
                vec![(1, Some(4)), (2, Some(4))],
            ),
            (format!("CREATE TEMP TABLE todo (x int); {build}"), vec![]),
            (format!("PREPARE p AS SELECT 1; DELETE FROM t; {build} EXECUTE p;"), vec![(1, Some(4))]),
            (format!("SET x = 1; {build}"), vec![(1, None)]),
        ] {
            assert_eq!(restored_objects(&statements), (restored, Vec::new()), "{statements}");
        }
    }

    #[test]
    fn finds_session_objects_that_could_not_be_restored() {
        let build = "CREATE INDEX CONCURRENTLY i ON a (x);";
        for statements in [
            format!("CREATE TEMP TABLE todo AS SELECT 1; DELETE FROM t; {build} UPDATE a SET x = 1 FROM todo;"),
            format!(
                "CREATE TEMP TABLE todo (x int); INSERT INTO todo VALUES (1); {build} UPDATE a SET x = 1 FROM todo;"
            ),
            format!(
                "BEGIN; CREATE TEMP TABLE todo AS SELECT 1; DELETE FROM t; COMMIT; {build} DO $$ DELETE FROM todo $$;"
            ),
        ] {
            assert_eq!(restored_objects(&statements).1, ["todo"], "{statements}");
        }
    }
}
