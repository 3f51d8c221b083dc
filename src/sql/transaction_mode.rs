//! Decides how a file is sent, from the classes of its statements.
//!
//! A file that is a single `BEGIN … COMMIT` asks for what every file gets anyway, so our own BEGIN and COMMIT replace it. In a
//! file that opted out, each `BEGIN … COMMIT` is one unit and commits together with its progress row.

use super::{
    classified_statement::ClassifiedStatement,
    directive,
    execution::{Execution, SessionSetup, SqlChunk, Statement, StatementKind},
    location::SqlSource,
    refusal, session_setup,
    span::Span,
    split::SplitScript,
    statement::classify_statement,
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

/// Decides how a file is sent.
///
/// # Errors
///
/// Every statement that can't be run where it stands.
pub(crate) fn decide_execution(source: SqlSource<'_>, script: &SplitScript) -> Result<Decision, Vec<Fault>> {
    let statements: Vec<ClassifiedStatement> = script
        .statements
        .iter()
        .map(|raw| ClassifiedStatement { raw: *raw, class: classify_statement(raw.span.slice_of(source.text)) })
        .collect();
    let file = FileStatements { source, statements: &statements, blocks: OwnTransactions::find_blocks(&statements) };
    if let Some(block) = file.only_block() {
        return file.decide_single_transaction(Some(&block));
    }
    if let Some((comment, byte)) = directive::find_opt_out(source) {
        let why = format!("`{}` on line {} asks for no transaction", comment.trim(), source.line_number(byte));
        return file.decide_per_statement(why);
    }
    let alone = statements.iter().find(|statement| matches!(statement.class, StatementClass::NonTransactional { .. }));
    match alone {
        None if file.has_boundary() => Err(file.boundary_faults().chain(file.refused_faults()).collect()),
        None => file.decide_single_transaction(None),
        Some(alone) => {
            let mixed = file.mixed_file_fault(alone);
            let faults: Vec<Fault> = file.boundary_faults().chain(file.refused_faults()).chain(mixed).collect();
            if !faults.is_empty() {
                return Err(faults);
            }
            file.decide_per_statement(format!(
                "{} on line {} can't run in a transaction",
                alone.words(),
                alone.line(source)
            ))
        }
    }
}

/// The transactions that the file itself begins and ends.
#[derive(Debug, Default)]
struct OwnTransactions {
    /// From BEGIN to COMMIT, as indexes of statements.
    complete: Vec<RangeInclusive<usize>>,
    /// Indexes of all other statements that begin or end a transaction.
    unpaired: Vec<usize>,
}

impl OwnTransactions {
    fn find_blocks(statements: &[ClassifiedStatement]) -> Self {
        let (mut blocks, mut open) = (Self::default(), None);
        for (at, statement) in statements.iter().enumerate() {
            match (&statement.class, open) {
                (StatementClass::Begin(_), None) => open = Some(at),
                (StatementClass::Commit(_), Some(begin)) => {
                    blocks.complete.push(begin..=at);
                    open = None;
                }
                (StatementClass::Begin(_) | StatementClass::Commit(_) | StatementClass::TransactionControl(_), _) => {
                    blocks.unpaired.push(at);
                }
                _ => {}
            }
        }
        blocks.unpaired.extend(open);
        blocks
    }

    fn block_around(&self, at: usize) -> Option<&RangeInclusive<usize>> {
        self.complete.iter().find(|block| block.contains(&at))
    }
}

struct FileStatements<'a> {
    source: SqlSource<'a>,
    statements: &'a [ClassifiedStatement],
    blocks: OwnTransactions,
}

impl<'a> FileStatements<'a> {
    /// Finds the one `BEGIN … COMMIT` that contains the whole file, except for settings.
    fn only_block(&self) -> Option<RangeInclusive<usize>> {
        let [block] = self.blocks.complete.as_slice() else { return None };
        let fits = |(at, statement): (usize, &ClassifiedStatement)| match block.contains(&at) {
            true => !matches!(statement.class, StatementClass::NonTransactional { .. }),
            false => statement.is_session(),
        };
        (self.blocks.unpaired.is_empty() && self.statements.iter().enumerate().all(fits)).then(|| block.clone())
    }

    /// Decides to send the file in one transaction of ours.
    fn decide_single_transaction(&self, block: Option<&RangeInclusive<usize>>) -> Result<Decision, Vec<Fault>> {
        let faults: Vec<Fault> = self.refused_faults().collect();
        if !faults.is_empty() {
            return Err(faults);
        }
        let asked = requested_modes(self.statements);
        let mut ours = asked.spans;
        ours.extend(self.statements.iter().filter(|statement| statement.is_boundary()).map(|found| found.raw.span));
        let sent: Vec<&ClassifiedStatement> =
            self.statements.iter().filter(|found| !ours.contains(&found.raw.span)).collect();
        let remark = block.map(|_| {
            format!(
                "{}: its BEGIN and COMMIT are replaced by those of the transaction in which every file runs",
                self.source.file
            )
        });
        let has_rows = sent.iter().any(|statement| statement.raw.data.is_some());
        let work = match has_rows || self.source.text.len() > MAX_CHUNK_BYTES {
            true => Execution::Chunked(group_into_chunks(sent.into_iter())),
            false => Execution::SingleQuery,
        };
        Ok(Decision { execution: work, modes: asked.modes, replaced: ours, note: remark })
    }

    /// Decides to send the file statement by statement; its own transactions stay.
    fn decide_per_statement(&self, why: String) -> Result<Decision, Vec<Fault>> {
        let faults: Vec<Fault> =
            self.statements.iter().enumerate().filter_map(|(at, found)| self.misplaced_fault(at, found)).collect();
        if !faults.is_empty() {
            return Err(faults);
        }
        let (mut units, mut ours) = (Vec::new(), Vec::new());
        let mut at = 0;
        while let Some(first) = self.statements.get(at) {
            match self.blocks.block_around(at).and_then(|block| Some((block, self.statements.get(block.clone())?))) {
                Some((block, statements)) => {
                    let (unit, said) = unit_of_block(statements);
                    units.push(unit);
                    ours.extend(said);
                    at = block.end() + 1;
                }
                None => {
                    units.push(unit_of_statement(first));
                    at += 1;
                }
            }
        }
        let lost = session_setup::mark_session_setup(self.source.text, &mut units);
        Ok(Decision {
            execution: Execution::PerStatement { statements: units, lost, why },
            modes: TransactionModes::default(),
            replaced: ours,
            note: None,
        })
    }

    /// Returns the fault of a statement that can't be where it is in a file that opted out.
    fn misplaced_fault(&self, at: usize, found: &ClassifiedStatement) -> Option<Fault> {
        let inside = self.blocks.block_around(at);
        match &found.class {
            StatementClass::Refused { cause, fix } => Some(refusal::refused_statement(self.source, found, cause, *fix)),
            _ if self.blocks.unpaired.contains(&at) => Some(refusal::unpaired_boundary(self.source, found)),
            StatementClass::Savepoint if inside.is_none() => {
                Some(refusal::savepoint_outside_transaction(self.source, found))
            }
            StatementClass::SetTransaction(_) if inside.is_none() => {
                Some(refusal::modes_outside_transaction(self.source, found))
            }
            StatementClass::SetTransaction(modes) | StatementClass::Begin(modes) if modes.is_read_only() => {
                Some(refusal::read_only_transaction(self.source, found))
            }
            StatementClass::NonTransactional { .. } if inside.is_some() => {
                Some(refusal::non_transactional_in_block(self.source, found))
            }
            _ => None,
        }
    }

    fn has_boundary(&self) -> bool {
        self.statements.iter().any(ClassifiedStatement::is_boundary)
    }

    /// Reports whether the file would be valid if it opted out.
    fn could_opt_out(&self) -> bool {
        self.decide_per_statement(String::new()).is_ok()
    }

    fn refused_faults(&self) -> impl Iterator<Item = Fault> {
        self.statements.iter().filter_map(|found| match &found.class {
            StatementClass::Refused { cause, fix } => Some(refusal::refused_statement(self.source, found, cause, *fix)),
            _ => None,
        })
    }

    fn boundary_faults(&self) -> impl Iterator<Item = Fault> {
        let several =
            if self.could_opt_out() { refusal::OwnTransactionFix::OptOut } else { refusal::OwnTransactionFix::Remove };
        let found = self.statements.iter().filter(|statement| statement.is_boundary());
        found.map(move |statement| refusal::own_transaction(self.source, statement, several))
    }

    /// Refuses a file that mixes statements that can't run in a transaction with others and did not opt out: only its author can
    /// decide to commit the others one by one.
    fn mixed_file_fault(&self, alone: &ClassifiedStatement) -> Option<Fault> {
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
        let other = self.statements.iter().find(|found| !goes_along(found))?;
        let way =
            if self.could_opt_out() { refusal::OwnTransactionFix::OptOut } else { refusal::OwnTransactionFix::Remove };
        Some(refusal::mixed_file(self.source, alone, other, way))
    }
}

/// The modes requested for a transaction before its first query.
struct RequestedModes {
    modes: TransactionModes,
    /// The statements that request them, except for BEGIN.
    spans: Vec<Span>,
}

fn requested_modes(statements: &[ClassifiedStatement]) -> RequestedModes {
    let (mut defaults, mut modes, mut said) = (TransactionModes::default(), TransactionModes::default(), Vec::new());
    for statement in statements {
        match statement.class {
            StatementClass::Session => {}
            StatementClass::DefaultModes(more) => defaults = defaults.overridden_by(more),
            StatementClass::Begin(more) => modes = modes.overridden_by(more),
            StatementClass::SetTransaction(more) => {
                modes = modes.overridden_by(more);
                said.push(statement.raw.span);
            }
            _ => break,
        }
    }
    RequestedModes { modes: defaults.overridden_by(modes), spans: said }
}

fn unit_of_statement(found: &ClassifiedStatement) -> Statement {
    let piece = match found.raw.data {
        Some(data) => SqlChunk::Copy { statement: found.raw.span, data },
        None => SqlChunk::Query(found.raw.span),
    };
    let again =
        if found.is_session() { vec![SessionSetup { span: found.raw.span, needed_until: None }] } else { Vec::new() };
    Statement {
        span: found.span(),
        kind: found.kind(),
        chunks: vec![piece],
        modes: TransactionModes::default(),
        session_setup: again,
    }
}

/// Returns the unit of one of the file's own transactions, and the statements that our own SQL replaces.
fn unit_of_block(statements: &[ClassifiedStatement]) -> (Statement, Vec<Span>) {
    let asked = requested_modes(statements);
    let mut said = asked.spans;
    said.extend(statements.iter().filter(|found| found.is_boundary()).map(|found| found.raw.span));
    let inner = || statements.iter().filter(|found| !said.contains(&found.raw.span));
    let again = inner()
        .filter(|found| found.is_session())
        .map(|found| SessionSetup { span: found.raw.span, needed_until: None });
    let span = Span {
        start: statements.first().map_or(0, |first| first.raw.span.start),
        end: statements.last().map_or(0, |last| last.raw.span.end),
    };
    let unit = Statement {
        span,
        kind: StatementKind::Transactional,
        chunks: group_into_chunks(inner()),
        modes: asked.modes,
        session_setup: again.collect(),
    };
    (unit, said)
}

fn group_into_chunks<'r>(statements: impl Iterator<Item = &'r ClassifiedStatement>) -> Vec<SqlChunk> {
    let mut pieces = Vec::new();
    for ClassifiedStatement { raw, .. } in statements {
        match (raw.data, pieces.last_mut()) {
            (Some(data), _) => pieces.push(SqlChunk::Copy { statement: raw.span, data }),
            (None, Some(SqlChunk::Query(span))) if raw.span.end - span.start <= MAX_CHUNK_BYTES => {
                span.end = raw.span.end;
            }
            (None, _) => pieces.push(SqlChunk::Query(raw.span)),
        }
    }
    pieces
}

/// The largest body in bytes that is sent as one query. A longer one is sent in chunks of whole statements, as a message is in memory
/// three times until it is sent.
const MAX_CHUNK_BYTES: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use super::{
        super::{identifier::QualifiedName, phrase::Phrase, split::split_statements},
        *,
    };
    use crate::fault::Code;

    fn decision(text: &str) -> Result<Decision, Vec<Fault>> {
        let source = SqlSource { file: "0001_a.sql", text };
        decide_execution(source, &split_statements(source).unwrap())
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
            Execution::PerStatement { statements, why, .. } => (statements, why),
            other => panic!("{other:?}"),
        }
    }

    fn kinds(text: &str) -> (Vec<StatementKind>, String) {
        let (statements, why) = units(text);
        (statements.into_iter().map(|statement| statement.kind).collect(), why)
    }

    fn shown<'t>(text: &'t str, pieces: &[SqlChunk]) -> Vec<(&'t str, &'t str)> {
        let one = |piece: &SqlChunk| match piece {
            SqlChunk::Query(span) => (span.slice_of(text), ""),
            SqlChunk::Copy { statement, data } => (statement.slice_of(text), data.slice_of(text)),
        };
        pieces.iter().map(one).collect()
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
        let Ok(Execution::Chunked(pieces)) = work(text) else { panic!("{:?}", work(text)) };
        let expected =
            [("SET a = 1;\nCREATE TABLE t ();", ""), ("COPY t FROM stdin;", "1\n"), ("SELECT 1;\nSELECT 2;", "")];
        assert_eq!(shown(text, &pieces), expected);
    }

    #[test]
    fn a_long_file_is_sent_in_chunks_of_whole_statements() {
        let row = "INSERT INTO t VALUES ('a;b');\n";
        let text = row.repeat(3 * MAX_CHUNK_BYTES / row.len());
        let Ok(Execution::Chunked(pieces)) = work(&text) else { panic!("it is one query") };
        let spans = pieces.iter().map(|piece| match piece {
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
        let (kinds, why) = kinds(text);
        assert_eq!(
            kinds,
            [
                StatementKind::Session,
                StatementKind::CreateIndex { index: index("a") },
                StatementKind::DropIndex { index: index("b") },
                StatementKind::Repeatable,
            ]
        );
        assert_eq!(why, "CREATE INDEX CONCURRENTLY on line 3 can't run in a transaction");
    }

    #[test]
    fn an_opted_out_file_is_sent_statement_by_statement() {
        let (kinds, why) =
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
        assert_eq!(why, "`-- no-transaction` on line 1 asks for no transaction");
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
            let ours: Vec<_> =
                decision.replaced.iter().map(|span| Phrase::new(span.slice_of(text)).next().unwrap().text()).collect();
            assert!(ours.iter().all(|word| ["BEGIN", "START", "COMMIT", "END", "SET"].contains(word)), "{ours:?}");
        }
        let text = "BEGIN;\nCOPY t FROM STDIN;\n1\n\\.\nCOMMIT;\n";
        let Ok(Execution::Chunked(pieces)) = work(text) else { panic!("{:?}", work(text)) };
        assert_eq!(shown(text, &pieces), [("COPY t FROM STDIN;", "1\n")]);
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
            shown(text, &units[1].chunks),
            [("SET x = 1;\nCREATE TABLE a ();", ""), ("COPY a FROM STDIN;", "1\n")]
        );
        assert_eq!(
            units[1].session_setup.iter().map(|again| again.span.slice_of(text)).collect::<Vec<_>>(),
            ["SET x = 1;"]
        );
        assert_eq!(units[2].span.slice_of(text), "COPY b FROM STDIN;\n2\n");
        assert_eq!(units[3].chunks, []);
    }

    #[test]
    fn refuses_other_own_transactions_with_a_fix_that_works() {
        let several = "BEGIN;\nSELECT 1;\nCOMMIT;\nBEGIN;\nSELECT 2;\nCOMMIT;\n";
        assert_eq!(faults(several), [1, 3, 4, 6].map(|line| (Code::OwnTransaction, line)));
        assert!(fix(several).contains("put `-- no-transaction`"), "{}", fix(several));
        assert!(work(&format!("-- no-transaction\n{several}")).is_ok());
        for astray in ["SELECT 1;\nCOMMIT;", "BEGIN;\nSELECT 1;", "BEGIN;\nROLLBACK;", "BEGIN;\nCOMMIT AND CHAIN;"] {
            assert!(faults(astray).iter().all(|(code, _)| *code == Code::OwnTransaction), "{astray}");
            assert!(!fix(astray).contains("put `-- no-transaction`"), "{}", fix(astray));
            let opted_out = format!("-- no-transaction\n{astray}");
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

    fn kept(statements: &str) -> (Vec<(usize, Option<usize>)>, Vec<String>) {
        let text = format!("-- no-transaction\n{statements}");
        match work(&text).unwrap() {
            Execution::PerStatement { statements, lost, .. } => (
                (1..)
                    .zip(&statements)
                    .flat_map(|(n, unit)| unit.session_setup.iter().map(move |a| (n, a.needed_until)))
                    .collect(),
                lost.into_iter().map(|lost| lost.name).collect(),
            ),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn session_objects_are_restored_for_as_long_as_they_are_used() {
        let build = "CREATE INDEX CONCURRENTLY i ON a (x);";
        for (statements, again) in [
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
            assert_eq!(kept(&statements), (again, Vec::new()), "{statements}");
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
            assert_eq!(kept(&statements).1, ["todo"], "{statements}");
        }
    }
}
