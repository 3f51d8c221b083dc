//! Sends files and statements in several chunks: the rows of a COPY can't be part of a query's text.

use super::{
    applier::Pipeline,
    error_location,
    migration::Migration,
    planned_migration::PlannedMigration,
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
    migration: &PlannedMigration,
    chunks: &[SqlChunk],
    previous: Option<&PlannedMigration>,
) -> Result<(), Fault> {
    match run_transaction(apply, migration, chunks, previous).await {
        Ok(()) => Ok(()),
        Err(fault) => Err(apply.roll_back_after(fault).await),
    }
}

async fn run_transaction(
    apply: &Pipeline<'_>,
    migration: &PlannedMigration,
    chunks: &[SqlChunk],
    previous: Option<&PlannedMigration>,
) -> Result<(), Fault> {
    let plainly = |error: Error| statement_fault(&error).in_file(migration.whole_file());
    let limit = apply.lock_timeout_of(migration, apply.attempt.get());
    let opening_sql = open_sql(migration, apply.guard(), previous, limit);
    let stream = apply.client.simple_query_raw(&opening_sql).await.map_err(plainly)?;
    let began = apply.check_opened(migration, read_control_response(Box::pin(stream)).await)?;
    send_chunks(apply, migration, chunks).await?;
    apply.commits.sent.set(apply.commits.committed.get() + 1);
    let record = apply.record_sql(migration, &apply.new_ledger_row(migration));
    let close = close_sql(migration, &apply.fresh.defaults, &record, Commit::Flushed);
    let stream = apply.send_close(&close).await.map_err(plainly)?;
    apply.check_recorded(migration, read_control_response(Box::pin(stream)).await, began)
}

/// Sends the chunks one after the other; each waits for the previous one to complete.
pub(super) async fn send_chunks(apply: &Pipeline<'_>, migration: &Migration, chunks: &[SqlChunk]) -> Result<(), Fault> {
    for chunk in chunks {
        match chunk {
            SqlChunk::Query(span) => send_query(apply, migration, *span).await?,
            SqlChunk::Copy { statement, data } => copy_rows(apply, migration, *statement, *data).await?,
        }
    }
    Ok(())
}

async fn send_query(apply: &Pipeline<'_>, migration: &Migration, span: Span) -> Result<(), Fault> {
    let sql = migration.body.read(span).await?;
    let sent = apply.client.simple_query_raw(&sql).await;
    drop(sql);
    let stream = sent.map_err(|error| statement_fault(&error).in_file(migration.whole_file()))?;
    let body = read_body_response(Box::pin(stream)).await;
    match body.error {
        Some(error) => Err(error_location::body_fault(&error, migration, span, body.completed).await),
        None => Ok(()),
    }
}

async fn copy_rows(apply: &Pipeline<'_>, migration: &Migration, statement: Span, data: Span) -> Result<(), Fault> {
    let sql = migration.body.read(statement).await?;
    let sink: CopyInSink<Bytes> = match apply.client.copy_in(sql.as_ref()).await {
        Ok(sink) => sink,
        Err(error) => return Err(copy_fault(&error, migration, statement, data).await),
    };
    let mut sink = pin!(sink);
    for piece in migration.body.pieces(data) {
        // Without its end, the COPY fails.
        let rows = migration.body.read(piece).await?;
        for chunk in rows.as_bytes().chunks(COPY_DATA_BYTES) {
            if let Err(error) = sink.send(Bytes::copy_from_slice(chunk)).await {
                return Err(copy_fault(&error, migration, statement, data).await);
            }
        }
    }
    match sink.finish().await {
        Ok(_) => Ok(()),
        Err(error) => Err(copy_fault(&error, migration, statement, data).await),
    }
}

/// Returns the fault of a COPY. Its context has the line within the data: `COPY t, line 2, column a` (PostgreSQL,
/// `CopyFromErrorCallback`).
async fn copy_fault(error: &Error, migration: &Migration, statement: Span, data: Span) -> Fault {
    let line = error
        .as_db_error()
        .and_then(|server| server.where_())
        .and_then(|context| context.split_once(", line "))
        .and_then(|(_, rest)| rest.split(|character: char| !character.is_ascii_digit()).next())
        .and_then(|digits| digits.parse::<usize>().ok());
    match line {
        Some(line) => statement_fault(error).in_file(migration.place_of_line(data, line).await),
        None => error_location::body_fault(error, migration, statement, 0).await,
    }
}
