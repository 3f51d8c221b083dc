//! The server's responses to the messages of a migration, our own and the file's.

use futures_util::StreamExt as _;
use std::pin::Pin;
use tokio_postgres::{Error, SimpleQueryMessage, SimpleQueryStream};

/// The response to one of our own messages.
pub(super) struct ControlResponse {
    /// The first rows that have a single column.
    pub(super) rows: Vec<String>,
    /// The error that ended it.
    pub(super) error: Option<Error>,
}

/// The response to one message of a file.
pub(super) struct BodyResponse {
    /// Number of statements that the server completed.
    pub(super) completed: usize,
    /// The error of the next statement.
    pub(super) error: Option<Error>,
}

/// Number of rows to keep; none of our own queries returns more.
const MAX_ROWS: usize = 2;

/// Reads the whole response to one of our own messages. Only rows with a single column are kept: those of our queries.
pub(super) async fn read_control_response(mut messages: Pin<Box<SimpleQueryStream>>) -> ControlResponse {
    let mut response = ControlResponse { rows: Vec::new(), error: None };
    while let Some(message) = messages.next().await {
        match message.and_then(|message| first_column(&message)) {
            Ok(row) if response.rows.len() < MAX_ROWS => response.rows.extend(row),
            Ok(_) => {}
            Err(error) => {
                response.error = Some(error);
                break;
            }
        }
    }
    response
}

fn first_column(message: &SimpleQueryMessage) -> Result<Option<String>, Error> {
    match message {
        SimpleQueryMessage::Row(row) if row.len() == 1 => Ok(row.try_get(0)?.map(str::to_owned)),
        _ => Ok(None),
    }
}

/// Reads the whole response to one message of a file. Rows that its statements return are discarded.
pub(super) async fn read_body_response(mut messages: Pin<Box<SimpleQueryStream>>) -> BodyResponse {
    let mut outcome = BodyResponse { completed: 0, error: None };
    while let Some(message) = messages.next().await {
        match message {
            Ok(SimpleQueryMessage::CommandComplete(_)) => outcome.completed += 1,
            Ok(_) => {}
            Err(error) => {
                outcome.error = Some(error);
                break;
            }
        }
    }
    outcome
}
