//! Sends files and statements in several chunks: the rows of a COPY can't be part of a query's text.

use super::{
    applier::Pipeline,
    error_location,
    migration::Migration,
    response::{read_body_response, read_control_response},
    transaction::{Commit, close_sql, open_sql},
};
use crate::{
    fault::Fault,
    postgres::fault::statement_fault,
    sql::{Span, SqlChunk},
};
use bytes::Bytes;
use futures_util::SinkExt as _;
use std::pin::pin;
use tokio_postgres::{CopyInSink, Error};

/// Size in bytes of one message of COPY data.
const COPY_DATA_BYTES: usize = 64 << 10;

pub(super) async fn apply_in_chunks(
    apply: &Pipeline<'_>,
    migration: &Migration,
    chunks: &[SqlChunk],
    previous: Option<&str>,
) -> Result<(), Fault> {
    match run_transaction(apply, migration, chunks, previous).await {
        Ok(()) => Ok(()),
        Err(fault) => Err(apply.roll_back_after(fault).await),
    }
}

async fn run_transaction(
    apply: &Pipeline<'_>,
    migration: &Migration,
    chunks: &[SqlChunk],
    previous: Option<&str>,
) -> Result<(), Fault> {
    let plainly = |error: Error| statement_fault(&error).in_file(migration.source().whole_file());
    let limit = apply.lock_timeout_of(migration, apply.attempt.get());
    let opening_sql = open_sql(apply.ledger, apply.fresh, (migration.id.index, migration.modes), previous, limit);
    let stream = apply.client.simple_query_raw(&opening_sql).await.map_err(plainly)?;
    let began = apply.check_opened(migration, read_control_response(Box::pin(stream)).await)?;
    send_chunks(apply, migration, chunks).await?;
    apply.commits.sent.set(apply.commits.committed.get() + 1);
    let close = close_sql(apply.ledger, migration.id.index, &apply.new_ledger_row(migration), Commit::Flushed);
    let stream = apply.send_close(&close).await.map_err(plainly)?;
    apply.check_recorded(migration, read_control_response(Box::pin(stream)).await, began)
}

/// Sends the chunks one after the other; each waits for the previous one to complete.
pub(super) async fn send_chunks(apply: &Pipeline<'_>, migration: &Migration, chunks: &[SqlChunk]) -> Result<(), Fault> {
    for chunk in chunks {
        match chunk {
            SqlChunk::Query(span) => {
                let sent = apply.client.simple_query_raw(span.slice_of(&migration.body)).await;
                let stream = sent.map_err(|error| statement_fault(&error).in_file(migration.source().whole_file()))?;
                let body = read_body_response(Box::pin(stream)).await;
                if let Some(error) = body.error {
                    return Err(error_location::body_fault(&error, migration, *span, body.completed));
                }
            }
            SqlChunk::Copy { statement, data } => {
                copy_rows(apply, migration, *statement, *data)
                    .await
                    .map_err(|error| copy_fault(&error, migration, *statement, *data))?;
            }
        }
    }
    Ok(())
}

async fn copy_rows(apply: &Pipeline<'_>, migration: &Migration, statement: Span, data: Span) -> Result<(), Error> {
    let sink: CopyInSink<Bytes> = apply.client.copy_in(statement.slice_of(&migration.body)).await?;
    let mut sink = pin!(sink);
    for chunk in data.slice_of(&migration.body).as_bytes().chunks(COPY_DATA_BYTES) {
        sink.send(Bytes::copy_from_slice(chunk)).await?;
    }
    sink.finish().await.map(drop)
}

/// Returns the fault of a COPY. Its context has the line within the data: `COPY t, line 2, column a` (PostgreSQL,
/// `CopyFromErrorCallback`).
fn copy_fault(error: &Error, migration: &Migration, statement: Span, data: Span) -> Fault {
    let source = migration.source();
    let line = error
        .as_db_error()
        .and_then(|server| server.where_())
        .and_then(|context| context.split_once(", line "))
        .and_then(|(_, rest)| rest.split(|character: char| !character.is_ascii_digit()).next())
        .and_then(|digits| digits.parse::<usize>().ok());
    match line {
        Some(line) => {
            let before: usize =
                data.slice_of(&migration.body).split_inclusive('\n').take(line.saturating_sub(1)).map(str::len).sum();
            statement_fault(error).in_file(source.place_at_byte(data.start + before))
        }
        None => error_location::body_fault(error, migration, statement, 0),
    }
}
