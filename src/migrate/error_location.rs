//! A server's error → the fault, with its place in the migration's file and what to do there.

use super::{migration::Migration, transaction::had_ended};
use crate::{
    fault::{Code, Fault, Place},
    postgres::fault::{question, statement},
    sql::{Nature, Phrase, Source, Span, Work, nature, spans, template},
};
use tokio_postgres::error::{DbError, Error, ErrorPosition, SqlState};

/// The fault for `sent`, a part of the file's body, of which `completed` statements ran before the error.
pub(super) fn fault(error: &Error, migration: &Migration, sent: Span, completed: usize) -> Fault {
    let fault = statement(error);
    let Some(server) = error.as_db_error() else { return fault };
    let failing = failing(migration, sent, completed);
    let fault = fault.in_file(place(server, migration.source(), sent, failing));
    let of_transactions = fix(server, &migration.work, failing.map(|span| span.of(&migration.body)));
    match of_transactions.map(str::to_owned).or_else(|| of_placeholder(server, migration.source(), sent)) {
        Some(fix) => fault.fix(fix),
        None => fault,
    }
}

/// Returns what to do about a placeholder of another program, if that is what the server can't parse.
fn of_placeholder(server: &DbError, source: Source<'_>, sent: Span) -> Option<String> {
    let position = position(server).filter(|_| *server.code() == SqlState::SYNTAX_ERROR)?;
    template::fix(source.text, source.byte(sent, position))
}

/// Returns the server's position in what was sent to it, in characters from 1.
fn position(server: &DbError) -> Option<usize> {
    match server.position()? {
        ErrorPosition::Original(position) => Some(usize::try_from(*position).unwrap_or(usize::MAX)),
        ErrorPosition::Internal { .. } => None,
    }
}

/// The closing message fails for the file's sake: its deferred constraints, its transaction control.
pub(super) fn closing_fault(error: &Error, migration: &Migration) -> Fault {
    if had_ended(error) {
        let cause = "the file ended the transaction it ran in, so it is not recorded";
        return Fault::new(Code::TransactionEnded, cause).in_file(migration.source().file());
    }
    let fault = question(error).in_file(migration.source().file());
    match fault.sqlstate.as_deref() {
        Some(state) if state.starts_with("23") => {
            fault.detail("this was found when deferred constraints were checked at the end of the file")
        }
        _ => fault,
    }
}

/// Returns the statement that failed: the server has completed so many of the message's before it, each with a message of
/// its own.
fn failing(migration: &Migration, sent: Span, completed: usize) -> Option<Span> {
    spans(migration.source(), sent).nth(completed)
}

/// Returns the server's position, which it gives for what it can't parse or name, or else where the statement is.
pub(super) fn place(server: &DbError, source: Source<'_>, sent: Span, failing: Option<Span>) -> Place {
    if let Some(position) = position(server) {
        return source.at_position(sent, position);
    }
    let Some(failing) = failing else { return source.file() };
    server
        .where_()
        .and_then(|context| source.in_block(failing, context))
        .unwrap_or_else(|| source.at_byte(failing.start))
}

/// Returns what to do about transactions in the wrong place, which depends on how the file is sent.
fn fix(server: &DbError, work: &Work, failing: Option<&str>) -> Option<&'static str> {
    let one_by_one = matches!(work, Work::Statements { .. });
    match server.code().code() {
        "2D000" if one_by_one => Some(
            "COMMIT and ROLLBACK work in a DO block, or in a procedure that the file itself calls, and neither between BEGIN and \
             COMMIT, nor in a function, nor in a block with EXCEPTION: move them, or remove them",
        ),
        "2D000" => Some(
            "the statement commits by itself, which can't be in a transaction: put it into a file of its own with \
             `-- no-transaction` on the first line",
        ),
        "25001" if failing.is_some_and(asks_for_transaction) => {
            Some("say what the transaction should be like at the top of the file, before its first query")
        }
        "25001" if one_by_one || (server.where_().is_some() && failing.is_some_and(runs_code)) => Some(
            "what can't run in a transaction can't run in a function or in a block, either: write it as a statement of its own \
             into a file with `-- no-transaction` on the first line",
        ),
        _ => None,
    }
}

/// Whether what the statement runs can be a function's or a block's.
fn runs_code(statement: &str) -> bool {
    let words = ["do", "call", "select", "with", "insert", "update", "delete", "merge", "execute", "values"];
    words.into_iter().any(|word| Phrase::new(statement).eat(word))
}

fn asks_for_transaction(statement: &str) -> bool {
    match nature(statement) {
        Nature::Modes(_) => true,
        Nature::Plain => Phrase::new(statement).eat("set"),
        _ => false,
    }
}
