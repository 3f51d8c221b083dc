//! Decides how a file is sent, from the classes of its statements.
//!
//! A file that is a single `BEGIN … COMMIT` asks for what every file gets anyway, so our own BEGIN and COMMIT replace it. In a
//! file that opted out, each `BEGIN … COMMIT` is one unit and commits together with its progress row.

use super::{
    classified_statement::Read,
    directive,
    execution::{Again, Piece, Statement, StatementKind, Work},
    location::Source,
    refusal, session_setup,
    span::Span,
    split::Script,
    statement::nature,
    statement_class::Nature,
    transaction_options::Modes,
};
use crate::fault::Fault;
use std::ops::RangeInclusive;

/// The decision about one file.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Decision {
    /// The way in which it is sent.
    pub(crate) work: Work,
    /// The modes that it requests for its transaction.
    pub(crate) modes: Modes,
    /// Statements of the file that our own SQL replaces.
    pub(crate) ours: Vec<Span>,
    /// A note about that for the log.
    pub(crate) remark: Option<String>,
}

/// Decides how a file is sent.
///
/// # Errors
///
/// Every statement that can't be run where it stands.
pub(crate) fn decide(source: Source<'_>, script: &Script) -> Result<Decision, Vec<Fault>> {
    let statements: Vec<Read> =
        script.statements.iter().map(|raw| Read { raw: *raw, nature: nature(raw.span.of(source.text)) }).collect();
    let file = File { source, statements: &statements, blocks: Blocks::find(&statements) };
    if let Some(block) = file.only_block() {
        return file.in_one(Some(&block));
    }
    if let Some((comment, byte)) = directive::opt_out(source) {
        let why = format!("`{}` on line {} asks for no transaction", comment.trim(), source.line(byte));
        return file.one_by_one(why);
    }
    let alone = statements.iter().find(|statement| matches!(statement.nature, Nature::Alone { .. }));
    match alone {
        None if file.has_boundary() => Err(file.boundaries().chain(file.refused()).collect()),
        None => file.in_one(None),
        Some(alone) => {
            let mixed = file.mixed(alone);
            let faults: Vec<Fault> = file.boundaries().chain(file.refused()).chain(mixed).collect();
            if !faults.is_empty() {
                return Err(faults);
            }
            file.one_by_one(format!("{} on line {} can't run in a transaction", alone.words(), alone.line(source)))
        }
    }
}

/// The transactions that the file itself begins and ends.
#[derive(Debug, Default)]
struct Blocks {
    /// From BEGIN to COMMIT, as indexes of statements.
    whole: Vec<RangeInclusive<usize>>,
    /// Indexes of all other statements that begin or end a transaction.
    astray: Vec<usize>,
}

impl Blocks {
    fn find(statements: &[Read]) -> Self {
        let (mut blocks, mut open) = (Self::default(), None);
        for (at, statement) in statements.iter().enumerate() {
            match (&statement.nature, open) {
                (Nature::Begin(_), None) => open = Some(at),
                (Nature::Commit(_), Some(begin)) => {
                    blocks.whole.push(begin..=at);
                    open = None;
                }
                (Nature::Begin(_) | Nature::Commit(_) | Nature::Boundary(_), _) => blocks.astray.push(at),
                _ => {}
            }
        }
        blocks.astray.extend(open);
        blocks
    }

    fn around(&self, at: usize) -> Option<&RangeInclusive<usize>> {
        self.whole.iter().find(|block| block.contains(&at))
    }
}

struct File<'a> {
    source: Source<'a>,
    statements: &'a [Read],
    blocks: Blocks,
}

impl<'a> File<'a> {
    /// Finds the one `BEGIN … COMMIT` that contains the whole file, except for settings.
    fn only_block(&self) -> Option<RangeInclusive<usize>> {
        let [block] = self.blocks.whole.as_slice() else { return None };
        let fits = |(at, statement): (usize, &Read)| match block.contains(&at) {
            true => !matches!(statement.nature, Nature::Alone { .. }),
            false => statement.is_session(),
        };
        (self.blocks.astray.is_empty() && self.statements.iter().enumerate().all(fits)).then(|| block.clone())
    }

    /// Decides to send the file in one transaction of ours.
    fn in_one(&self, block: Option<&RangeInclusive<usize>>) -> Result<Decision, Vec<Fault>> {
        let faults: Vec<Fault> = self.refused().collect();
        if !faults.is_empty() {
            return Err(faults);
        }
        let asked = asked_for(self.statements);
        let mut ours = asked.said;
        ours.extend(self.statements.iter().filter(|statement| statement.is_boundary()).map(|found| found.raw.span));
        let sent: Vec<&Read> = self.statements.iter().filter(|found| !ours.contains(&found.raw.span)).collect();
        let remark = block.map(|_| {
            format!(
                "{}: its BEGIN and COMMIT are replaced by those of the transaction in which every file runs",
                self.source.file
            )
        });
        let has_rows = sent.iter().any(|statement| statement.raw.data.is_some());
        let work = match has_rows || self.source.text.len() > LONGEST_PIECE {
            true => Work::Pieces(pieces(sent.into_iter())),
            false => Work::Whole,
        };
        Ok(Decision { work, modes: asked.modes, ours, remark })
    }

    /// Decides to send the file statement by statement; its own transactions stay.
    fn one_by_one(&self, why: String) -> Result<Decision, Vec<Fault>> {
        let faults: Vec<Fault> =
            self.statements.iter().enumerate().filter_map(|(at, found)| self.misplaced(at, found)).collect();
        if !faults.is_empty() {
            return Err(faults);
        }
        let (mut units, mut ours) = (Vec::new(), Vec::new());
        let mut at = 0;
        while let Some(first) = self.statements.get(at) {
            match self.blocks.around(at).and_then(|block| Some((block, self.statements.get(block.clone())?))) {
                Some((block, statements)) => {
                    let (unit, said) = block_of(statements);
                    units.push(unit);
                    ours.extend(said);
                    at = block.end() + 1;
                }
                None => {
                    units.push(single(first));
                    at += 1;
                }
            }
        }
        let lost = session_setup::keep(self.source.text, &mut units);
        Ok(Decision {
            work: Work::Statements { statements: units, lost, why },
            modes: Modes::default(),
            ours,
            remark: None,
        })
    }

    /// Returns the fault of a statement that can't be where it is in a file that opted out.
    fn misplaced(&self, at: usize, found: &Read) -> Option<Fault> {
        let inside = self.blocks.around(at);
        match &found.nature {
            Nature::Refused { cause, fix } => Some(refusal::refused(self.source, found, cause, *fix)),
            _ if self.blocks.astray.contains(&at) => Some(refusal::astray(self.source, found)),
            Nature::Savepoint if inside.is_none() => Some(refusal::savepoint(self.source, found)),
            Nature::Modes(_) if inside.is_none() => Some(refusal::modes(self.source, found)),
            Nature::Modes(modes) | Nature::Begin(modes) if modes.is_read_only() => {
                Some(refusal::read_only(self.source, found))
            }
            Nature::Alone { .. } if inside.is_some() => Some(refusal::alone_in_block(self.source, found)),
            _ => None,
        }
    }

    fn has_boundary(&self) -> bool {
        self.statements.iter().any(Read::is_boundary)
    }

    /// Reports whether the file would be valid if it opted out.
    fn could_opt_out(&self) -> bool {
        self.one_by_one(String::new()).is_ok()
    }

    fn refused(&self) -> impl Iterator<Item = Fault> {
        self.statements.iter().filter_map(|found| match &found.nature {
            Nature::Refused { cause, fix } => Some(refusal::refused(self.source, found, cause, *fix)),
            _ => None,
        })
    }

    fn boundaries(&self) -> impl Iterator<Item = Fault> {
        let several = if self.could_opt_out() { refusal::Way::OptOut } else { refusal::Way::Remove };
        let found = self.statements.iter().filter(|statement| statement.is_boundary());
        found.map(move |statement| refusal::boundary(self.source, statement, several))
    }

    /// Refuses a file that mixes statements that can't run in a transaction with others and did not opt out: only its author can
    /// decide to commit the others one by one.
    fn mixed(&self, alone: &Read) -> Option<Fault> {
        let goes_along = |found: &&Read| {
            found.is_boundary()
                || found.is_session()
                || matches!(found.nature, Nature::Alone { .. } | Nature::Harmless | Nature::Refused { .. })
        };
        let other = self.statements.iter().find(|found| !goes_along(found))?;
        let way = if self.could_opt_out() { refusal::Way::OptOut } else { refusal::Way::Remove };
        Some(refusal::mixed(self.source, alone, other, way))
    }
}

/// The modes requested for a transaction before its first query.
struct Asked {
    modes: Modes,
    /// The statements that request them, except for BEGIN.
    said: Vec<Span>,
}

fn asked_for(statements: &[Read]) -> Asked {
    let (mut defaults, mut modes, mut said) = (Modes::default(), Modes::default(), Vec::new());
    for statement in statements {
        match statement.nature {
            Nature::Session => {}
            Nature::Defaults(more) => defaults = defaults.and(more),
            Nature::Begin(more) => modes = modes.and(more),
            Nature::Modes(more) => {
                modes = modes.and(more);
                said.push(statement.raw.span);
            }
            _ => break,
        }
    }
    Asked { modes: defaults.and(modes), said }
}

fn single(found: &Read) -> Statement {
    let piece = match found.raw.data {
        Some(data) => Piece::Copy { statement: found.raw.span, data },
        None => Piece::Sql(found.raw.span),
    };
    let again = if found.is_session() { vec![Again { span: found.raw.span, until: None }] } else { Vec::new() };
    Statement { span: found.span(), kind: found.kind(), pieces: vec![piece], modes: Modes::default(), again }
}

/// Returns the unit of one of the file's own transactions, and the statements that our own SQL replaces.
fn block_of(statements: &[Read]) -> (Statement, Vec<Span>) {
    let asked = asked_for(statements);
    let mut said = asked.said;
    said.extend(statements.iter().filter(|found| found.is_boundary()).map(|found| found.raw.span));
    let inner = || statements.iter().filter(|found| !said.contains(&found.raw.span));
    let again = inner().filter(|found| found.is_session()).map(|found| Again { span: found.raw.span, until: None });
    let span = Span {
        start: statements.first().map_or(0, |first| first.raw.span.start),
        end: statements.last().map_or(0, |last| last.raw.span.end),
    };
    let unit = Statement {
        span,
        kind: StatementKind::Transactional,
        pieces: pieces(inner()),
        modes: asked.modes,
        again: again.collect(),
    };
    (unit, said)
}

fn pieces<'r>(statements: impl Iterator<Item = &'r Read>) -> Vec<Piece> {
    let mut pieces = Vec::new();
    for Read { raw, .. } in statements {
        match (raw.data, pieces.last_mut()) {
            (Some(data), _) => pieces.push(Piece::Copy { statement: raw.span, data }),
            (None, Some(Piece::Sql(span))) if raw.span.end - span.start <= LONGEST_PIECE => span.end = raw.span.end,
            (None, _) => pieces.push(Piece::Sql(raw.span)),
        }
    }
    pieces
}

/// The largest body in bytes that is sent as one query. A longer one is sent in chunks of whole statements, as a message is in memory
/// three times until it is sent.
const LONGEST_PIECE: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use super::{
        super::{identifier::QualifiedName, phrase::Phrase, split::split},
        *,
    };
    use crate::fault::Code;

    fn decision(text: &str) -> Result<Decision, Vec<Fault>> {
        let source = Source { file: "0001_a.sql", text };
        decide(source, &split(source).unwrap())
    }

    fn work(text: &str) -> Result<Work, Vec<Fault>> {
        decision(text).map(|decision| decision.work)
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
            Work::Statements { statements, why, .. } => (statements, why),
            other => panic!("{other:?}"),
        }
    }

    fn kinds(text: &str) -> (Vec<StatementKind>, String) {
        let (statements, why) = units(text);
        (statements.into_iter().map(|statement| statement.kind).collect(), why)
    }

    fn shown<'t>(text: &'t str, pieces: &[Piece]) -> Vec<(&'t str, &'t str)> {
        let one = |piece: &Piece| match piece {
            Piece::Sql(span) => (span.of(text), ""),
            Piece::Copy { statement, data } => (statement.of(text), data.of(text)),
        };
        pieces.iter().map(one).collect()
    }

    fn index(name: &str) -> QualifiedName {
        QualifiedName { schema: None, name: name.to_owned() }
    }

    #[test]
    fn an_ordinary_file_is_one_query() {
        for text in ["CREATE TABLE t (); SET x = 1; DO $$ $$; SAVEPOINT a; CALL p();", "", "-- empty\n"] {
            assert_eq!(work(text), Ok(Work::Whole), "{text}");
        }
    }

    #[test]
    fn a_file_with_copy_rows_is_sent_in_chunks() {
        let text = "SET a = 1;\nCREATE TABLE t ();\nCOPY t FROM stdin;\n1\n\\.\nSELECT 1;\nSELECT 2;\n";
        let Ok(Work::Pieces(pieces)) = work(text) else { panic!("{:?}", work(text)) };
        let expected =
            [("SET a = 1;\nCREATE TABLE t ();", ""), ("COPY t FROM stdin;", "1\n"), ("SELECT 1;\nSELECT 2;", "")];
        assert_eq!(shown(text, &pieces), expected);
    }

    #[test]
    fn a_long_file_is_sent_in_chunks_of_whole_statements() {
        let row = "INSERT INTO t VALUES ('a;b');\n";
        let text = row.repeat(3 * LONGEST_PIECE / row.len());
        let Ok(Work::Pieces(pieces)) = work(&text) else { panic!("it is one query") };
        let spans = pieces.iter().map(|piece| match piece {
            Piece::Sql(span) => span.of(&text),
            Piece::Copy { .. } => panic!("there are no rows"),
        });
        let spans: Vec<&str> = spans.collect();
        assert!(spans.len() >= 3 && spans.iter().all(|span| span.len() <= LONGEST_PIECE && span.ends_with(';')));
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
            assert_eq!((decision.work, decision.modes.begin_sql().as_str()), (Work::Whole, begin), "{text}");
            assert!(decision.remark.unwrap().contains("BEGIN and COMMIT"));
            let ours: Vec<_> =
                decision.ours.iter().map(|span| Phrase::new(span.of(text)).next().unwrap().text()).collect();
            assert!(ours.iter().all(|word| ["BEGIN", "START", "COMMIT", "END", "SET"].contains(word)), "{ours:?}");
        }
        let text = "BEGIN;\nCOPY t FROM STDIN;\n1\n\\.\nCOMMIT;\n";
        let Ok(Work::Pieces(pieces)) = work(text) else { panic!("{:?}", work(text)) };
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
            shown(text, &units[1].pieces),
            [("SET x = 1;\nCREATE TABLE a ();", ""), ("COPY a FROM STDIN;", "1\n")]
        );
        assert_eq!(units[1].again.iter().map(|again| again.span.of(text)).collect::<Vec<_>>(), ["SET x = 1;"]);
        assert_eq!(units[2].span.of(text), "COPY b FROM STDIN;\n2\n");
        assert_eq!(units[3].pieces, []);
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
            Work::Statements { statements, lost, .. } => (
                (1..).zip(&statements).flat_map(|(n, unit)| unit.again.iter().map(move |a| (n, a.until))).collect(),
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
