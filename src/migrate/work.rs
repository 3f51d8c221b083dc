//! How a file is sent: whole, in pieces, or statement by statement.

use super::{
    classify::{Nature, nature},
    directive,
    locate::Source,
    name::QualifiedName,
    span::Span,
    split::{Raw, Script},
};
use crate::fault::{Code, Fault};

/// More than this goes piece by piece, whole statements each: a message stands in memory three times until it is sent.
const LONGEST_PIECE: usize = 1 << 20;

/// How a file's body is sent to the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Work {
    /// One transaction together with its ledger row; the body goes as one simple query.
    Whole,
    /// One transaction together with its ledger row; it is long, or there is `COPY … FROM STDIN` in it, which a simple query
    /// can't carry.
    Pieces(Vec<Piece>),
    /// No transaction: one statement at a time, so that a failed run can resume.
    Statements {
        /// The statements in order.
        statements: Vec<Statement>,
        /// Why there is no transaction, as a sentence without its full stop.
        why: String,
    },
}

/// A part of a file with rows in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// Statements, for one simple query.
    Sql(Span),
    /// A `COPY … FROM STDIN`.
    Copy {
        /// The statement.
        statement: Span,
        /// Its rows as they stand in the file, without the line that ends them.
        data: Span,
    },
}

/// One statement of a file without a transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement {
    /// Where it is in the body, with its semicolon.
    pub span: Span,
    /// What a crash in the middle of it means.
    pub kind: StatementKind,
}

/// What may be done with a statement of a file without a transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StatementKind {
    /// It may run in a transaction together with the row that says how far the file is.
    Transactional,
    /// It sets the session (`SET`, `RESET`): a run that resumes behind it has to run it again.
    Session,
    /// `CREATE INDEX CONCURRENTLY`: an interrupted one leaves an INVALID index of this name.
    CreateIndex {
        /// The index; its schema is the table's, if one is written.
        index: QualifiedName,
    },
    /// `DROP INDEX CONCURRENTLY`.
    DropIndex {
        /// The index.
        index: QualifiedName,
    },
    /// Running it twice leaves the same behind.
    Repeatable,
    /// After a crash only a person can say whether it ran.
    Opaque,
}

/// Decides how a file is sent.
///
/// # Errors
///
/// Every statement that can't be run where it stands.
pub(super) fn decide(source: Source<'_>, script: &Script) -> Result<Work, Vec<Fault>> {
    let opt_out = directive::opt_out(source);
    // Nothing is kept of the many statements of an ordinary file.
    if opt_out.is_none() && script.statements.iter().all(|raw| is_usual(&nature(raw.span.of(source.text)))) {
        return Ok(in_transaction(source, &script.statements));
    }
    let statements: Vec<Read> =
        script.statements.iter().map(|raw| Read { raw: *raw, nature: nature(raw.span.of(source.text)) }).collect();
    let alone = statements.iter().find(|statement| matches!(statement.nature, Nature::Alone { .. }));
    let reason = match (opt_out, alone) {
        (Some((comment, byte)), _) => Reason::OptedOut { comment: comment.trim(), line: source.line(byte) },
        (None, Some(alone)) => Reason::Found(alone),
        (None, None) => Reason::None,
    };
    let mut faults: Vec<Fault> = statements.iter().filter_map(|statement| statement.fault(source, &reason)).collect();
    if let Reason::Found(alone) = reason {
        faults.extend(mixed(source, alone, &statements));
    }
    if !faults.is_empty() {
        return Err(faults);
    }
    Ok(match reason.sentence(source) {
        Some(why) => Work::Statements { statements: statements.into_iter().map(Read::into_statement).collect(), why },
        None => in_transaction(source, &script.statements),
    })
}

/// Whether it may stand in a file that runs in one transaction.
fn is_usual(nature: &Nature) -> bool {
    match nature {
        Nature::Plain | Nature::Session | Nature::Harmless | Nature::Procedure | Nature::Savepoint | Nature::Rows => {
            true
        }
        Nature::Alone { .. } | Nature::Boundary(_) | Nature::Refused { .. } => false,
    }
}

fn in_transaction(source: Source<'_>, statements: &[Raw]) -> Work {
    let has_rows = statements.iter().any(|raw| raw.data.is_some());
    if has_rows || source.text.len() > LONGEST_PIECE { Work::Pieces(pieces(statements)) } else { Work::Whole }
}

/// A statement with what is known of it.
#[derive(Debug)]
struct Read {
    raw: Raw,
    nature: Nature,
}

/// Why a file runs without a transaction.
#[derive(Debug)]
enum Reason<'a> {
    None,
    OptedOut { comment: &'a str, line: usize },
    Found(&'a Read),
}

impl Reason<'_> {
    fn sentence(&self, source: Source<'_>) -> Option<String> {
        match self {
            Self::None => None,
            Self::OptedOut { comment, line } => Some(format!("`{comment}` on line {line} asks for no transaction")),
            Self::Found(alone) => {
                Some(format!("{} on line {} can't run in a transaction", alone.words(), alone.line(source)))
            }
        }
    }
}

impl Read {
    /// The words that decide, for a sentence about the statement.
    fn words(&self) -> &'static str {
        match self.nature {
            Nature::Alone { what, .. } | Nature::Boundary(what) => what,
            Nature::Rows => "COPY … FROM STDIN",
            _ => "the statement",
        }
    }

    /// Counted from the start of the file, so only for those few that have to be named.
    fn line(&self, source: Source<'_>) -> usize {
        source.line(self.raw.span.start)
    }

    fn fault(&self, source: Source<'_>, reason: &Reason<'_>) -> Option<Fault> {
        let opted_out = matches!(reason, Reason::OptedOut { .. });
        let in_place = match self.nature {
            Nature::Boundary(_) | Nature::Refused { .. } => false,
            Nature::Savepoint | Nature::Rows => !opted_out,
            Nature::Plain | Nature::Session | Nature::Harmless | Nature::Procedure | Nature::Alone { .. } => true,
        };
        if in_place {
            return None;
        }
        let (file, line) = (source.file, self.line(source));
        let fault = match &self.nature {
            Nature::Boundary(word) if opted_out => Fault::new(
                Code::OwnTransaction,
                format!("`{word}` on line {line} of `{file}`, which runs statement by statement without a transaction"),
            )
            .fix("put what belongs into one transaction into a file of its own, without the opt-out and without BEGIN"),
            Nature::Boundary(word) => Fault::new(
                Code::OwnTransaction,
                format!("`{word}` on line {line} of `{file}` ends or begins a transaction"),
            ),
            Nature::Savepoint if opted_out => Fault::new(
                Code::OwnTransaction,
                format!("a savepoint on line {line} of `{file}`, which runs without a transaction"),
            )
            .fix("remove it: each statement of this file is committed on its own"),
            Nature::Rows if opted_out => Fault::new(
                Code::StatementRefused,
                format!("`COPY … FROM STDIN` on line {line} of `{file}`, which runs without a transaction"),
            )
            .fix("put it into a file of its own, without the opt-out: half-loaded rows could not be told from all"),
            Nature::Refused { cause, fix } => {
                let fault = Fault::new(Code::StatementRefused, format!("line {line} of `{file}`: {cause}"));
                match fix {
                    Some(fix) => fault.fix(*fix),
                    None => fault,
                }
            }
            _ => return None,
        };
        Some(fault.in_file(source.at_byte(self.raw.span.start)))
    }

    fn into_statement(self) -> Statement {
        let kind = match self.nature {
            Nature::Alone { kind, .. } => kind,
            Nature::Session => StatementKind::Session,
            Nature::Harmless => StatementKind::Repeatable,
            Nature::Procedure => StatementKind::Opaque,
            Nature::Plain | Nature::Boundary(_) | Nature::Savepoint | Nature::Rows | Nature::Refused { .. } => {
                StatementKind::Transactional
            }
        };
        Statement { span: self.raw.span, kind }
    }
}

/// A file that did not opt out holds only what can't run in a transaction, or nothing of the kind: to commit the rest of it
/// statement by statement is for its author to decide.
fn mixed(source: Source<'_>, alone: &Read, statements: &[Read]) -> Option<Fault> {
    let goes_along = |nature: &Nature| {
        matches!(
            nature,
            Nature::Alone { .. } | Nature::Session | Nature::Harmless | Nature::Boundary(_) | Nature::Refused { .. }
        )
    };
    let other = statements.iter().find(|statement| !goes_along(&statement.nature))?;
    let cause = format!(
        "{} on line {} of `{}` can't run in a transaction, but {} on line {} should",
        alone.words(),
        alone.line(source),
        source.file,
        other.words(),
        other.line(source)
    );
    let fix = format!(
        "put the statement of line {} into a file of its own; or put `-- no-transaction` on the first line, and each \
         statement is committed on its own",
        alone.line(source)
    );
    Some(Fault::new(Code::MixedFile, cause).fix(fix).in_file(source.at_byte(alone.raw.span.start)))
}

fn pieces(statements: &[Raw]) -> Vec<Piece> {
    let mut pieces = Vec::new();
    for raw in statements {
        match (raw.data, pieces.last_mut()) {
            (Some(data), _) => pieces.push(Piece::Copy { statement: raw.span, data }),
            (None, Some(Piece::Sql(span))) if raw.span.end - span.start <= LONGEST_PIECE => span.end = raw.span.end,
            (None, _) => pieces.push(Piece::Sql(raw.span)),
        }
    }
    pieces
}

#[cfg(test)]
mod tests {
    use super::{super::split::split, *};

    fn work(text: &str) -> Result<Work, Vec<Fault>> {
        let source = Source { file: "0001_a.sql", text };
        decide(source, &split(source).unwrap())
    }

    fn faults(text: &str) -> Vec<(Code, usize)> {
        let line = |fault: &Fault| fault.place.as_ref().and_then(|place| place.line).unwrap();
        work(text).unwrap_err().iter().map(|fault| (fault.code, line(fault))).collect()
    }

    fn kinds(text: &str) -> (Vec<StatementKind>, String) {
        match work(text).unwrap() {
            Work::Statements { statements, why } => (statements.into_iter().map(|s| s.kind).collect(), why),
            other => panic!("{other:?}"),
        }
    }

    fn index(name: &str) -> QualifiedName {
        QualifiedName { schema: None, name: name.to_owned() }
    }

    #[test]
    fn a_usual_file_goes_whole() {
        for text in ["CREATE TABLE t (); SET x = 1; DO $$ $$; SAVEPOINT a; CALL p();", "", "-- empty\n"] {
            assert_eq!(work(text), Ok(Work::Whole), "{text}");
        }
    }

    #[test]
    fn a_file_with_rows_goes_in_pieces() {
        let text = "SET a = 1;\nCREATE TABLE t ();\nCOPY t FROM stdin;\n1\n\\.\nSELECT 1;\nSELECT 2;\n";
        let Ok(Work::Pieces(pieces)) = work(text) else { panic!("{:?}", work(text)) };
        let shown: Vec<_> = pieces
            .iter()
            .map(|piece| match piece {
                Piece::Sql(span) => (span.of(text), ""),
                Piece::Copy { statement, data } => (statement.of(text), data.of(text)),
            })
            .collect();
        let expected =
            [("SET a = 1;\nCREATE TABLE t ();", ""), ("COPY t FROM stdin;", "1\n"), ("SELECT 1;\nSELECT 2;", "")];
        assert_eq!(shown, expected);
    }

    #[test]
    fn a_long_file_goes_in_pieces_of_whole_statements() {
        let row = "INSERT INTO t VALUES ('a;b');\n";
        let text = row.repeat(3 * LONGEST_PIECE / row.len());
        let Ok(Work::Pieces(pieces)) = work(&text) else { panic!("it goes at once") };
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
    fn an_opted_out_file_goes_statement_by_statement() {
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
    }

    #[test]
    fn refuses_a_files_own_transaction_with_every_line() {
        let text = "BEGIN;\nSELECT 1;\nCOMMIT;\n";
        assert_eq!(faults(text), [(Code::OwnTransaction, 1), (Code::OwnTransaction, 3)]);
        let opted_out = format!("-- no-transaction\n{text}");
        assert_eq!(faults(&opted_out), [(Code::OwnTransaction, 2), (Code::OwnTransaction, 4)]);
        assert!(!work(&opted_out).unwrap_err()[0].fix.contains("-- no-transaction"), "it already has that");
    }

    #[test]
    fn refuses_in_an_opted_out_file_what_needs_a_transaction() {
        assert_eq!(faults("-- no-transaction\nSAVEPOINT a;"), [(Code::OwnTransaction, 2)]);
        assert_eq!(faults("-- no-transaction\n\nCOPY t FROM STDIN;\n1\n\\.\n"), [(Code::StatementRefused, 3)]);
    }

    #[test]
    fn tells_all_that_is_wrong_at_once() {
        let text = "DISCARD ALL;\nCOMMIT;\nCREATE INDEX CONCURRENTLY ON t (x);\nVACUUM;\nCREATE TABLE t ();\n";
        let expected =
            [(Code::StatementRefused, 1), (Code::OwnTransaction, 2), (Code::StatementRefused, 3), (Code::MixedFile, 4)];
        assert_eq!(faults(text), expected);
    }
}
