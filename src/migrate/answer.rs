//! What the server answers to the messages of a migration, ours and the file's.

use futures_util::StreamExt as _;
use std::pin::Pin;
use tokio_postgres::{Error, SimpleQueryMessage, SimpleQueryStream};

/// The answer to one message of ours.
pub(super) struct Answer {
    /// The first rows of one column.
    pub(super) rows: Vec<String>,
    /// Why it did not come to its end.
    pub(super) error: Option<Error>,
}

/// What became of one message of a file's.
pub(super) struct Outcome {
    /// How many statements the server completed.
    pub(super) completed: usize,
    /// Why the next one was not.
    pub(super) error: Option<Error>,
}

/// So many rows are worth keeping: no question of ours brings more.
const ROWS: usize = 2;

/// Waits for the whole answer to a message of ours. Only rows of one column are kept: those that we asked for.
pub(super) async fn answer(mut messages: Pin<Box<SimpleQueryStream>>) -> Answer {
    let mut answer = Answer { rows: Vec::new(), error: None };
    while let Some(message) = messages.next().await {
        match message.and_then(|message| first_column(&message)) {
            Ok(row) if answer.rows.len() < ROWS => answer.rows.extend(row),
            Ok(_) => {}
            Err(error) => {
                answer.error = Some(error);
                break;
            }
        }
    }
    answer
}

fn first_column(message: &SimpleQueryMessage) -> Result<Option<String>, Error> {
    match message {
        SimpleQueryMessage::Row(row) if row.len() == 1 => Ok(row.try_get(0)?.map(str::to_owned)),
        _ => Ok(None),
    }
}

/// Waits for the end of a message of a file's. What its statements return is for nobody, and is not looked at.
pub(super) async fn outcome(mut messages: Pin<Box<SimpleQueryStream>>) -> Outcome {
    let mut outcome = Outcome { completed: 0, error: None };
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
