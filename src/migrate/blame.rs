//! A server's error → the fault, with its place in the migration's file.

use super::{Migration, span::Span};
use crate::{
    fault::{Fault, Place},
    postgres::fault::statement,
};
use tokio_postgres::error::{DbError, Error, ErrorPosition};

/// The fault for `sent`, a part of the file's body, of which `completed` statements ran before the error.
pub(super) fn fault(error: &Error, migration: &Migration, sent: Span, completed: usize) -> Fault {
    let fault = statement(error);
    match error.as_db_error() {
        Some(server) => fault.in_file(place(server, migration, sent, completed)),
        None => fault,
    }
}

/// The server gives a position for what it can't parse or name; for everything else, how many statements of the message it
/// had completed tells which one failed (each completed one is told by a message of its own).
fn place(server: &DbError, migration: &Migration, sent: Span, completed: usize) -> Place {
    let source = migration.source();
    if let Some(ErrorPosition::Original(position)) = server.position() {
        return source.at_position(sent, usize::try_from(*position).unwrap_or(usize::MAX));
    }
    let Some(failing) = migration.statements(sent).nth(completed) else {
        return source.file();
    };
    server
        .where_()
        .and_then(|context| source.in_block(failing, context))
        .unwrap_or_else(|| source.at_byte(failing.start))
}
