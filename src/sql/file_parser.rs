//! Parses a SQL file part by part, so that a long one need not be in memory.

use super::{
    classified_statement::ClassifiedStatement,
    directive::{self, OptOut},
    execution::Execution,
    file_check::{FileCheck, FoundCheck, find_checks},
    lasting_settings::leaves_traces,
    location::{FilePlaces, SqlSource},
    one_message::one_message_decision,
    path_reset::find_path_reset,
    span::Span,
    split::{FaultAt, MoreText, RawStatement, SplitPart, find_end_of_rows, split_part},
    statement::classify_statement,
    statement_class::StatementClass,
    transaction_mode::{ClassifiedFile, Decision, MAX_CHUNK_BYTES, decide_execution},
};
use crate::fault::{Code, Fault};

/// The rules of the layout to which a file belongs.
#[derive(Debug, Clone, Default)]
pub(crate) struct FileRules {
    /// The reason why something else than a leading comment opts the file out of its transaction.
    pub(crate) opt_out: Option<String>,
    /// Set if the text is a section of the file, so that marks of sections are no surprise.
    pub(crate) is_section: bool,
    /// The tool which sends a file with transactions of its own as it is.
    pub(crate) sends_as_is: Option<&'static str>,
}

/// The detail in which the statements are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Detail {
    /// Each statement is one of the list.
    EachStatement,
    /// Statements that are sent together are one of the list. A file without a transaction can't be decided this way.
    WholeChunks,
}

/// A part of a file's text.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FilePart<'a> {
    /// The part itself.
    pub(crate) source: SqlSource<'a>,
    /// The byte of the file's text at which it begins.
    pub(crate) offset: usize,
    /// What follows it.
    pub(crate) more: MoreText,
}

impl FilePart<'_> {
    fn in_file(&self, span: Span) -> Span {
        Span { start: self.offset + span.start, end: self.offset + span.end }
    }

    fn fault_in_file(&self, FaultAt { fault, byte }: FaultAt) -> FaultAt {
        FaultAt { fault, byte: self.offset + byte }
    }
}

/// What was found in the parts so far.
#[derive(Debug)]
pub(crate) struct FileParser {
    detail: Detail,
    rules: FileRules,
    statements: Vec<ClassifiedStatement>,
    ignored: Vec<Span>,
    opt_out: Option<OptOut>,
    undo_section: Option<FaultAt>,
    faults: Vec<FaultAt>,
    leaves_traces: bool,
    path_reset: Option<usize>,
    checks: Vec<FoundCheck>,
    rows_go_on: bool,
}

/// A file that has been parsed.
#[derive(Debug)]
pub(crate) struct FileDecision {
    pub(crate) decision: Decision,
    /// Lines that concern only psql.
    pub(crate) ignored: Vec<Span>,
    /// Set if it changes its session in a way that can't be undone.
    pub(crate) leaves_traces: bool,
    /// The byte of the first statement that returns to the search path that the session began with.
    pub(crate) path_reset: Option<usize>,
    /// The checks that the file demands.
    pub(crate) checks: Vec<FileCheck>,
}

impl FileParser {
    pub(crate) fn new(detail: Detail, rules: FileRules) -> Self {
        Self {
            detail,
            rules,
            statements: Vec::new(),
            ignored: Vec::new(),
            opt_out: None,
            undo_section: None,
            faults: Vec::new(),
            leaves_traces: false,
            path_reset: None,
            checks: Vec::new(),
            rows_go_on: false,
        }
    }

    /// Reads all that is complete in the part. Returns the byte after it, at which the next part begins.
    pub(crate) fn read_part(&mut self, part: FilePart<'_>) -> usize {
        if !self.rows_go_on {
            return self.read_statements(part);
        }
        let text = part.source.text;
        let (data_end, next) = find_end_of_rows(text, 0, part.more);
        self.extend_rows(part.offset + data_end);
        let Some(next) = next else { return data_end };
        let (rows, rest) = text.split_at_checked(next).unwrap_or((text, ""));
        let source = SqlSource { text: rest, start: part.source.start.after(rows), ..part.source };
        next + self.read_statements(FilePart { source, offset: part.offset + next, more: part.more })
    }

    fn read_statements(&mut self, part: FilePart<'_>) -> usize {
        let SplitPart { script, faults, psql_lines, end, rows_go_on } = split_part(part.source, part.more);
        self.rows_go_on = rows_go_on;
        self.faults.extend(faults.into_iter().map(|found| part.fault_in_file(found)));
        self.ignored.extend(script.ignored.into_iter().map(|span| part.in_file(span)));
        if part.offset == 0 {
            self.opt_out = directive::find_opt_out(part.source.text);
        }
        let rows = script.statements.iter().filter_map(|raw| raw.data);
        self.look_around(part, end, rows.chain(psql_lines).collect());
        for raw in script.statements {
            self.add_statement(part, raw);
        }
        end
    }

    /// Returns the decision about the file, whose text has this length in bytes.
    ///
    /// # Errors
    ///
    /// Every fault of its text.
    pub(crate) fn decide(self, places: &dyn FilePlaces, length: usize) -> Result<FileDecision, Vec<Fault>> {
        let Self {
            rules, statements, ignored, opt_out, undo_section, faults, leaves_traces, path_reset, checks, ..
        } = self;
        let in_file = |found: FaultAt| found.fault.in_file(places.place_at_byte(found.byte));
        let (opt_out, opt_out_reason) = (opt_out.as_ref(), rules.opt_out.as_deref());
        let file = ClassifiedFile { places, length, statements: &statements, opt_out, opt_out_reason };
        let decided = match faults.is_empty() {
            true => decide_execution(&file).or_else(|faults| decide_as_is(&file, &rules, faults)),
            false => Err(faults.into_iter().map(in_file).collect()),
        };
        match (undo_section.map(in_file), decided) {
            (None, Ok(decision)) => {
                let checks = locate_checks(checks, &decision.execution, places)?;
                Ok(FileDecision { decision, ignored, leaves_traces, path_reset, checks })
            }
            (None, Err(faults)) => Err(faults),
            (Some(undo_section), decided) => {
                Err([undo_section].into_iter().chain(decided.err().into_iter().flatten()).collect())
            }
        }
    }

    /// Looks for comments and changes of the session in the text up to this byte, except for these spans.
    fn look_around(&mut self, part: FilePart<'_>, end: usize, mut others: Vec<Span>) {
        others.sort_by_key(|span| span.start);
        let mut start = 0;
        for other in others.into_iter().chain([Span { start: end, end }]) {
            let sql = Span { start, end: other.start };
            if self.undo_section.is_none() && !self.rules.is_section {
                self.undo_section =
                    directive::refuse_undo_section(part.source, sql).map(|found| part.fault_in_file(found));
            }
            let text = sql.slice_of(part.source.text);
            self.leaves_traces = self.leaves_traces || leaves_traces(text);
            self.path_reset = self.path_reset.or_else(|| Some(part.offset + sql.start + find_path_reset(text)?));
            let checks =
                find_checks(text).map(|check| FoundCheck { byte: part.offset + sql.start + check.byte, ..check });
            self.checks.extend(checks);
            start = other.end;
        }
    }

    fn add_statement(&mut self, part: FilePart<'_>, raw: RawStatement) {
        let class = classify_statement(raw.span.slice_of(part.source.text));
        let raw = RawStatement { span: part.in_file(raw.span), data: raw.data.map(|rows| part.in_file(rows)) };
        let joined = self.statements.last_mut().filter(|before| {
            self.detail == Detail::WholeChunks
                && (&before.class, &class) == (&StatementClass::Plain, &StatementClass::Plain)
                && raw.span.end - before.raw.span.start <= MAX_CHUNK_BYTES
        });
        match joined {
            Some(before) => before.raw.span.end = raw.span.end,
            None => self.statements.push(ClassifiedStatement { raw, class }),
        }
    }

    fn extend_rows(&mut self, end: usize) {
        if let Some(rows) = self.statements.last_mut().and_then(|statement| statement.raw.data.as_mut()) {
            rows.end = end;
        }
    }
}

/// Returns the checks with their lines. They are made in the file's transaction, so they need one.
fn locate_checks(
    found: Vec<FoundCheck>,
    execution: &Execution,
    places: &dyn FilePlaces,
) -> Result<Vec<FileCheck>, Vec<Fault>> {
    if let (Execution::PerStatement { why, .. }, Some(check)) = (execution, found.first()) {
        let cause = format!("the check is made in the transaction of its file, and this file has none: {why}");
        let fault = Fault::new(Code::StatementRefused, cause).in_file(places.place_at_byte(check.byte));
        return Err(vec![
            fault
                .fix("put the check into a file of its own, before or after this one: `SELECT 1;` is enough beside it"),
        ]);
    }
    let located = found.into_iter().map(|FoundCheck { moment, query, byte }| {
        let line = places.line_number(byte);
        FileCheck { moment, query, line }
    });
    Ok(located.collect())
}

/// Decides to send a file with transactions of its own as it is, if its tool does that and nothing else is wrong.
fn decide_as_is(file: &ClassifiedFile<'_>, rules: &FileRules, faults: Vec<Fault>) -> Result<Decision, Vec<Fault>> {
    let is_only_that = faults.iter().all(|fault| fault.code == Code::OwnTransaction);
    let tool = rules.sends_as_is.filter(|_| is_only_that);
    tool.and_then(|tool| one_message_decision(file, tool)).ok_or(faults)
}
