//! Converts a server's error into a fault with its place in the migration's file and a fix.

use super::{check::with_check_place, migration::Migration, transaction::had_transaction_ended};
use crate::{
    fault::{Code, Fault, FilePosition},
    postgres::fault::{query_fault, statement_fault},
    sql::{Execution, Phrase, Span, SqlSource, StatementClass, classify_statement, split::statement_spans, template},
};
use tokio_postgres::error::{DbError, Error, ErrorPosition, SqlState};

/// Returns the fault for `sent`, a part of the file's body, of which `completed` statements succeeded before the error.
pub(super) async fn body_fault(error: &Error, migration: &Migration, sent: Span, completed: usize) -> Fault {
    let fault = statement_fault(error);
    let Some(server) = error.as_db_error() else { return fault };
    let Ok(text) = migration.body.surroundings(sent).await else { return fault.in_file(migration.whole_file()) };
    let (source, sent) = (text.source(migration.sent_file()), text.span(sent));
    // The server sends a `CommandComplete` for each statement before the one that failed.
    let failing = statement_spans(source, sent).nth(completed);
    let fault = fault.in_file(error_place(server, source, sent, failing));
    let of_transactions = transaction_fix(server, &migration.execution, failing.map(|span| span.slice_of(source.text)));
    let fault = migration.replaced.restore_fault(fault);
    match of_transactions.map(str::to_owned).or_else(|| fix_for_placeholder(server, source, sent)) {
        Some(fix) => fault.fix(fix),
        None => fault,
    }
}

/// Returns the fix for a placeholder of another program, if the server failed to parse one.
fn fix_for_placeholder(server: &DbError, source: SqlSource<'_>, sent: Span) -> Option<String> {
    let position = sent_position(server).filter(|_| *server.code() == SqlState::SYNTAX_ERROR)?;
    template::placeholder_fix(source.text, source.byte_at_position(sent, position))
}

/// Returns the server's position in the text that was sent, in characters from 1.
fn sent_position(server: &DbError) -> Option<usize> {
    match server.position()? {
        ErrorPosition::Original(position) => Some(usize::try_from(*position).unwrap_or(usize::MAX)),
        ErrorPosition::Internal { .. } => None,
    }
}

/// Returns the fault for a failed closing message. The file causes such a failure, by deferred constraints or its own
/// transaction control.
pub(super) fn closing_fault(error: &Error, migration: &Migration) -> Fault {
    if had_transaction_ended(error) {
        let cause = "the file ended the transaction it ran in, so it is not recorded";
        return Fault::new(Code::TransactionEnded, cause).in_file(migration.whole_file());
    }
    let fault = with_check_place(query_fault(error).in_file(migration.whole_file()), migration);
    match fault.sqlstate.as_deref() {
        Some(state) if state.starts_with("23") => {
            fault.detail("this was found when deferred constraints were checked at the end of the file")
        }
        _ => fault,
    }
}

/// Returns the place of the server's position, which it reports for syntax errors and unknown names, or else that of
/// the statement.
pub(super) fn error_place(server: &DbError, source: SqlSource<'_>, sent: Span, failing: Option<Span>) -> FilePosition {
    if let Some(position) = sent_position(server) {
        return source.place_at_position(sent, position);
    }
    let Some(failing) = failing else { return source.whole_file() };
    server
        .where_()
        .and_then(|context| source.place_in_do_block(failing, context))
        .unwrap_or_else(|| source.place_at_byte(failing.start))
}

/// Returns the fix for an error about transactions, which depends on how the file is sent.
fn transaction_fix(server: &DbError, execution: &Execution, failing: Option<&str>) -> Option<&'static str> {
    let one_by_one = matches!(execution, Execution::PerStatement { .. });
    match server.code().code() {
        "2D000" if one_by_one => Some(
            "COMMIT and ROLLBACK work in a DO block, or in a procedure that the file itself calls, but not between BEGIN and COMMIT, \
             in a function, or in a block with EXCEPTION: move them, or remove them",
        ),
        "2D000" => Some(
            "the statement commits by itself, which is not possible in a transaction: put it into a file of its own with \
             `-- no-transaction` on the first line",
        ),
        "25001" if failing.is_some_and(sets_transaction_modes) => {
            Some("set the modes of the transaction at the top of the file, before its first query")
        }
        "25001" if one_by_one || (server.where_().is_some() && failing.is_some_and(runs_code)) => Some(
            "a command that can't run in a transaction can't run in a function or in a block, either: write it as a statement of \
             its own in a file with `-- no-transaction` on the first line",
        ),
        _ => None,
    }
}

/// Reports whether the statement may run the code of a function or of a block.
fn runs_code(statement: &str) -> bool {
    let keywords = ["do", "call", "select", "with", "insert", "update", "delete", "merge", "execute", "values"];
    keywords.into_iter().any(|keyword| Phrase::new(statement).eat(keyword))
}

fn sets_transaction_modes(statement: &str) -> bool {
    match classify_statement(statement) {
        StatementClass::SetTransaction(_) => true,
        StatementClass::Plain => Phrase::new(statement).eat("set"),
        _ => false,
    }
}
